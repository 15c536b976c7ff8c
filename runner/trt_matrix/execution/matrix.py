"""The loop: reference → calibrate → simulate → measure, then one record for every planned cell.

What the host computes itself, it does while environments are made: nothing is timed then.

A failure is a fact about a cell and never stops the others. What an equal fingerprint already
measured is not measured again.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trt_matrix.core.cells import Cell, Precision, Status, TableSource
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.plan import mixed_cells
from trt_matrix.core.qdq.explicit import PlacementOptions
from trt_matrix.core.qdq.placements import ENGINES, Placed
from trt_matrix.core.records import Calibration, Measurement, Object, Record
from trt_matrix.core.tables.table import Table
from trt_matrix.core.tables.trt_cache import parse, to_table
from trt_matrix.environments.base import Environment, Identity
from trt_matrix.errors import ConfigError, EnvironmentUnavailableError
from trt_matrix.execution import alternatives
from trt_matrix.execution.host_tables import HostTables, clipped_by
from trt_matrix.execution.implicit import calibrated_inside, carried
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.lanes import Lane, NamedReference, Variant, lanes_of
from trt_matrix.execution.left import Take, untaken
from trt_matrix.execution.preparing import prepare
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.rounds import Rounds
from trt_matrix.execution.table_checks import RecordedTables
from trt_matrix.execution.value_ranges import TypedNetworks
from trt_matrix.execution.wanted import FP32, Site, Use, WantedPass, Wants
from trt_matrix.execution.watch import Watch, unwatched
from trt_matrix.execution.workers import Workers
from trt_matrix.store.results import Run

UNMADE = Identity(fingerprint="", facts={})
"""Of an environment that is not made yet, as long as nothing runs in it."""
REFERENCE_DEVICE = "cpu"

Outputs = Mapping[str, Object]
SettledBeside = Callable[[Outputs, Outputs, Use], bool]
"""(the reference's outputs, others, what is asked of these) → whether that is known without them."""


class Matrix:
    """One run of the experiment; `run` may be interrupted and leaves whole records all the same."""

    def __init__(
        self,
        *,
        run: Run,
        progress: Progress,
        wants: Wants,
        cells: Sequence[Cell],
        environments: Mapping[str, Environment],
        reference: Environment,
        named: NamedReference | None = None,
        engine_options: Mapping[str, Mapping[str, Any]],
        offline: bool,
        fresh: bool = False,
        watch: Watch = unwatched,
        undecided: Callable[["Matrix"], Collection[str]] = lambda _: (),
        kept_in_float: Callable[["Matrix"], Mapping[bool, Sequence[str]]] = lambda _: {},
        settled: SettledBeside = lambda *_: False,
        take: Take = untaken,
    ) -> None:
        """Plans it.

        Args:
            run: Takes the logs; its store takes the answers.
            progress: Told what is done.
            wants: What to ask of a job.
            cells: In the order of the plan.
            environments: id → environment.
            reference: Where the reference and the simulations are computed.
            named: Whose outputs the reference is, where it is not computed there.
            engine_options: environment → options handed to its engine.
            offline: Whether environments are made without a network.
            fresh: Whether what earlier runs measured is measured again.
            watch: Looks at the device before and after each start.
            undecided: Says which cells (ids) more repeats would decide; asked after every round
                from the least number of repeats on.
            kept_in_float: Says, when all is measured, which layers to try in float: whether int8 is implicit →
                their names; nothing where nothing is to be tried.
            settled: Says of outputs that were not kept whether they are needed again.
            take: Takes what came in place of outputs that stayed elsewhere.
        """
        self.store = run.store
        self.progress = progress
        self.wants = wants
        self.cells = tuple(cells)
        self.environments = environments
        self.reference_environment = reference
        self.named = named
        self.engine_options = engine_options
        self.offline = offline
        self.undecided = undecided
        self.kept_in_float = kept_in_float
        self.workers = Workers()
        self.reference: Measurement | None = None
        self.jobs = Jobs(
            run,
            wants,
            progress,
            fresh=fresh,
            watch=watch,
            check=self.workers.check,
            settled=lambda outputs, use: (
                self.reference is not None and settled(self.reference.outputs, outputs, use)
            ),
            take=take,
        )
        self.rounds = Rounds(self.jobs, wants, progress, self.workers)
        self.lanes = lanes_of(cells)
        self.host = HostTables(self.jobs, wants, progress)
        self.used: dict[str, Table] = {}
        """digest → every table that a cell uses."""
        self.recorded = RecordedTables(self.jobs.store, wants, progress, self.host)
        self.typed = TypedNetworks(self.jobs, wants)
        self.foreign: dict[str, str] = {}
        """digest → environment whose own program made the table, of images that nobody here knows."""
        self.simulations: list[Measurement] = []
        self.preparing_s = 0.0
        """Wall time in which environments were made."""

    def run(self) -> None:
        """Does all of it.

        Raises:
            EnvironmentUnavailableError: the reference could not run this network.
            ConfigError: the network's variants are not one function.
        """
        self.wants.network.put_into(self.store)
        for plugin in self.wants.plugins:
            plugin.put_into(self.store)
        for functions in self.wants.functions.values():
            functions.put_into(self.store)
        site = self.measure_reference()
        both: list[Callable[[], None]] = [self.prepare, functools.partial(self.make_tables, site)]
        self.workers.all(both)
        self.calibrate()
        self.simulate(site)
        settings = self.wants.settings
        self.measure(range(settings.repeats))
        self.simulate(site)
        for repeat in range(settings.repeats, settings.most_repeats):
            cells = self.undecided(self)
            if not cells:
                break
            self.measure_again(cells, repeat)
            self.simulate(site)
        if layers := self.kept_in_float(self):
            self.mix(site, layers)

    def mix(self, site: Site, layers: Mapping[bool, Sequence[str]]) -> None:
        """Measures the pass in which layers are kept in float, beside every cell that has it without."""
        added = mixed_cells(self.cells, layers)
        for cell in added:
            lane = self.lanes[cell.environment, cell.device]
            lane.cells = (*lane.cells, cell)
            if lane.site and cell.obstacle is None:
                self.progress.expect(lane.repeats(self.wants.settings.repeats))
                self._give(lane, lane.site, cell)
        self.cells = tuple(cell for lane in self.lanes.values() for cell in lane.cells)
        self.simulate(site)
        self.measure(range(self.wants.settings.repeats), {cell.id for cell in added})

    def records(self, *, stopped: str | None = None) -> list[Record]:
        """Returns one record for every planned cell, whatever became of it.

        Args:
            stopped: Why `run` ended early, None where it did not.
        """
        repeats = self.wants.settings.repeats
        return [
            self.lanes[cell.environment, cell.device].record(cell, repeats, stopped)
            for cell in self.cells
        ]

    @property
    def tables(self) -> Mapping[str, Table]:
        """Returns digest → every table that a cell uses or that is a candidate for the limit."""
        return {
            **self.used,
            **{name: one for name, one in self.host.candidates.items() if name not in self.used},
        }

    def table_facts(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns table digest → who made it, how, and what it could not cover."""
        return {
            name: {
                **asdict(table.provenance),
                "tensors": len(table.amax),
                "unusable": dict(table.unusable),
                **({"clipped": dict(self.host.clipped[name])} if name in self.host.clipped else {}),
            }
            for name, table in self.tables.items()
        }

    # Reference and simulation

    def measure_reference(self) -> Site:
        """Computes the reference outputs: on the host, and where another is named, there; returns the host's site.

        Raises:
            EnvironmentUnavailableError: without a reference nothing can be compared.
            ConfigError: the network's variants are not one function.
        """
        environment = self.reference_environment
        identity = environment.prepare(offline=True)
        site = self.typed.site = reference_site(environment, identity, self.engine_options)
        wanted = self.wants.measurement(site, FP32.name, 0, model=self.wants.network.fp32)
        self.reference = self._reference(site, wanted)
        self._check_variants(site, self.reference)
        if self.named:
            host, self.reference = self.reference, None
            self.reference = self._measured_by(self.named, host)
        return site

    def _reference(self, site: Site, wanted: WantedPass) -> Measurement:
        self.progress.expect(1)
        (made,) = self.jobs.measure(site, [wanted])
        found = made.measurement
        if found.status is not Status.OK:
            message = (
                f"the reference ({site.environment.name}) could not run this network: "
                f"{found.reason}\n{found.log_tail or ''}".rstrip()
            )
            raise EnvironmentUnavailableError(message)
        return found

    def _measured_by(self, named: NamedReference, host: Measurement) -> Measurement:
        """Measures a cell as the reference: apart from its own repeats, which have their turn among the others."""
        one = named.environment
        made = prepare(
            {one.name: one}, offline=self.offline, progress=self.progress, workers=self.workers
        )[one.name]
        if isinstance(made, str):
            message = f"the reference cannot be made: {made}"
            raise EnvironmentUnavailableError(message)
        lane = Lane(one.name, named.cell.device, (named.cell,))
        shapes = self._shapes(host)
        site = dataclasses.replace(
            self._site(lane, made), environment=one, timing=None, shapes=shapes
        )
        self._give(lane, site, named.cell)
        (wanted,) = self.rounds.wanted(lane, site, 0)
        return self._reference(site, wanted)

    def _check_variants(self, site: Site, reference: Measurement) -> None:
        """Computes every variant of the network on the host; it must give what the reference gives.

        Raises:
            ConfigError: one gives something else; names each such.
        """
        network = self.wants.network
        wanted = [
            self.wants.measurement(site, f"variant-{number}", 0, model=one.fp32)
            for number, one in enumerate(network.variants)
        ]
        self.progress.expect(len(wanted))
        problems = []
        for one, made in zip(network.variants, self.jobs.measure(site, wanted), strict=True):
            found = made.measurement
            reason = found.reason
            if found.status is Status.OK:
                reason = alternatives.unlike(self.store, reference.outputs, found.outputs)
            if reason:
                problems.append(f"{one.name} is not the function of {network.name}: {reason}")
        if problems:
            source = "model.variants"
            raise ConfigError(source, problems)

    def make_tables(self, site: Site) -> None:
        """Makes the shared table and candidates for the limit, where anything runs in int8, and simulates them."""
        if not self._quantised():
            return
        options = searched_placement(self.wants, self.environments.values())
        self.host.make(site, limit=self.wants.network.is_float, options=options)
        given = self.wants.settings.given
        if given and any(cell.pass_.source is TableSource.SHARED for cell in self.cells):
            self.host.shared = self.recorded.given(given)
        if isinstance(self.host.shared, Table):
            self._use(self.host.shared)
        self.simulate(site)

    def _quantised(self) -> Sequence[Lane]:
        """Returns the lanes with cells in int8, less those that could not be made."""
        return [
            lane
            for lane in self.lanes.values()
            if lane.obstacle is None
            and any(cell.pass_.precision is Precision.INT8 for cell in lane.runnable)
        ]

    def simulate(self, site: Site) -> None:
        """Computes, in exact float32 arithmetic, what every table must cost in every placement.

        Does those that are not done yet: TensorRT's own tables are known after its passes only.
        """
        done = {(one.placement, one.table) for one in self.simulations}
        wanted = []
        for placed, (exclude, tables) in self._placements().items():
            for table in tables:
                if (placed.name, table.digest) in done:
                    continue
                name = f"simulation-{placed.name}-{table.digest[:12]}"
                try:
                    model = self._simulation_of(table, placed, exclude)
                except GraphError as error:
                    self.progress.warn(f"{name}: {error}")
                    continue
                wanted.append(
                    self.wants.measurement(
                        site,
                        name,
                        0,
                        model=model,
                        table=table,
                        placement=placed.name,
                        use=Use.COMPARED,
                    )
                )
        self.progress.expect(len(wanted))
        for made in self.jobs.measure(site, wanted, computed=True):
            if made.measurement.status is Status.OK:
                self.simulations.append(made.measurement)
            else:
                self.progress.warn(f"{made.measurement.name}: {made.measurement.reason}")

    def _placements(self) -> Mapping[Placed, tuple[Sequence[str], Sequence[Table]]]:
        """Returns the placements of all int8 cells; known before environments are made.

        Returns:
            Placement → the layers that it keeps in float, and the tables to simulate there: all that are known;
            where layers are only tried in float, the one that they are tried with.
        """
        every = tuple(self.tables.values())
        found: dict[Placed, tuple[Sequence[str], Sequence[Table]]] = {}
        for lane in self._quantised():
            for cell in lane.runnable:
                if cell.pass_.source is None:
                    continue
                placed = self.wants.placed(lane.site or self._site(lane), cell.pass_)
                shared = self.host.shared
                mixed = cell.pass_.mixed and isinstance(shared, Table)
                tables = (shared,) if mixed and isinstance(shared, Table) else every
                # What one scale a weight costs is told against a scale a channel.
                for one in (placed, placed.per_channel):
                    found.setdefault(one, (cell.pass_.exclude, tables))
        return found

    def _simulation_of(self, table: Table, placed: Placed, exclude: Sequence[str]) -> Object:
        """Returns the network that says what a table must cost: what came quantised is its own.

        Raises:
            GraphError: see `Network.quantised`.
        """
        shipped = self.wants.network.shipped
        if shipped and shipped.table.digest == table.digest:
            return shipped.object
        return self.wants.network.quantised(self.store, table, placed, exclude, simulated=True)

    # Environments

    def prepare(self) -> None:
        """Makes all environments, several at a time."""
        needed = {
            lane.environment: self.environments[lane.environment]
            for lane in self.lanes.values()
            if lane.runnable
        }
        started = time.perf_counter()
        prepared = prepare(
            needed, offline=self.offline, progress=self.progress, workers=self.workers
        )
        self.preparing_s = time.perf_counter() - started
        for identity in prepared.values():
            if isinstance(identity, str):
                self.progress.warn(identity)
        for lane in self.lanes.values():
            found = prepared.get(lane.environment)
            if isinstance(found, str):
                lane.obstacle = (Status.UNAVAILABLE, found)
            elif found and lane.runnable:
                lane.site = self._site(lane, found)
                steps = len(lane.runnable) * lane.repeats(self.wants.settings.repeats)
                self.progress.expect(steps + bool(lane.own))

    def _site(self, lane: Lane, identity: Identity | None = None) -> Site:
        environment = self.environments[lane.environment]
        return Site(
            environment=environment,
            identity=identity or environment.identity() or UNMADE,
            device=lane.device,
            engine_options=self.engine_options[lane.environment],
            timing=None if lane.recorded else self.wants.settings.timing,
            shapes=self._shapes(self.reference),
            reference=self.reference.outputs if self.reference else {},
            recorded=lane.recorded,
        )

    def _shapes(self, reference: Measurement | None) -> Mapping[str, tuple[int, ...]]:
        outputs = reference.outputs if reference else {}
        return {head: self.store.array(output).shape for head, output in outputs.items()}

    # Calibration

    def calibrate(self) -> None:
        """Lets every environment make its own tables, once, and gives every cell its network."""
        self.rounds.calibrate(self.lanes.values())
        for lane in self.lanes.values():
            if lane.site:
                for cell in lane.runnable:
                    self._give(lane, lane.site, cell)

    def _give(self, lane: Lane, site: Site, cell: Cell) -> None:
        """Decides which network a cell runs, or why it runs none."""
        name, network, engine = cell.pass_.name, self.wants.network, site.environment.engine
        placed = None if cell.pass_.source is None else self.wants.placed(site, cell.pass_)
        table = self._table(site, cell, lane.calibration)
        try:
            match table:
                case None:
                    inside = cell.pass_.made_inside
                    implicit = calibrated_inside(cell.pass_, self.wants) if inside else None
                    lane.variants[name] = Variant(
                        network.fp32,
                        precision=cell.pass_.precision,
                        implicit=implicit,
                        alternatives=alternatives.floats(network, engine),
                        typed=self.typed.of(site, cell.pass_.precision),
                        placed=placed,
                    )
                case Table() if cell.pass_.source is TableSource.SHIPPED:
                    assert network.shipped  # noqa: S101 - its table is
                    lane.variants[name] = Variant(
                        network.shipped.object,
                        self._use(table),
                        alternatives=alternatives.shipped(network, engine),
                        placed=placed,
                    )
                case Table() if cell.pass_.implicit:
                    implicit, content = carried(self._use(table), self.wants, cell.pass_)
                    self.store.put(content, ".json")
                    lane.variants[name] = Variant(
                        network.fp32,
                        table,
                        implicit=implicit,
                        alternatives=alternatives.floats(network, engine),
                        placed=placed,
                    )
                case Table() if placed:
                    exclude = cell.pass_.exclude
                    model = network.quantised(self.store, table, placed, exclude, simulated=False)
                    others = alternatives.quantised(self.store, network, table, placed, exclude)
                    lane.variants[name] = Variant(
                        model, self._use(table), alternatives=others, placed=placed
                    )
                case str() if lane.recorded:
                    # What was recorded is there; it is judged without a table.
                    lane.variants[name] = Variant(
                        network.fp32, precision=cell.pass_.precision, placed=placed
                    )
                case str():
                    mine = cell.pass_.source is TableSource.SHARED and self.wants.settings.given
                    status = Status.UNAVAILABLE if mine else Status.JOB_FAILED
                    lane.refused[name] = status, table
        except GraphError as error:
            reason = f"its table cannot be written into the network: {error}"
            lane.refused[name] = Status.JOB_FAILED, reason
        if name in lane.refused:
            self.progress.done(
                cell.id,
                *lane.refused[name],
                steps=lane.repeats(self.wants.settings.repeats),
            )

    def _table(self, site: Site, cell: Cell, calibration: Calibration | None) -> Table | str | None:
        """Returns the cell's table, None where it needs none, or why it has none."""
        if cell.pass_.source is None or cell.pass_.made_inside:
            return None
        if cell.pass_.source is TableSource.SHARED:
            return self.host.shared
        if cell.pass_.source is TableSource.SHIPPED:
            shipped = self.wants.network.shipped
            return shipped.table if shipped else "the network has no quantisation of its own"
        if calibration is None or calibration.status is not Status.OK:
            return f"its calibration failed: {calibration.reason if calibration else 'not run'}"
        algorithm = cell.pass_.algorithm or ""
        table = self.wants.table(site, calibration, algorithm)
        if (clipped := clipped_by(calibration, algorithm)) is not None:
            self.host.clipped.setdefault(table.digest, clipped)
        return table

    def _use(self, table: Table) -> Table:
        """Returns the table that all use which have the same ranges: the first."""
        return self.used.setdefault(table.digest, table)

    # Measurement

    def measure(self, repeats: Iterable[int], cells: Collection[str] | None = None) -> None:
        """Measures repeats of `cells` (ids), of all cells where None."""
        try:
            self.rounds.measure(self.lanes.values(), repeats, cells)
        finally:  # in the order of the plan, whichever device was first
            for lane in self.lanes.values():
                if not lane.recorded:
                    for made in itertools.chain.from_iterable(lane.measurements.values()):
                        self._take_table(lane.environment, made)
        for lane in self.lanes.values():
            if lane.recorded:
                for made in self.recorded.checked(lane):
                    self._take_table(lane.environment, made)
                    self.foreign[made.table or ""] = lane.environment

    def measure_again(self, cells: Collection[str], repeat: int) -> None:
        """Measures one repeat more of `cells` (ids)."""
        able = [
            cell.id
            for lane in self.lanes.values()
            for cell in lane.cells
            if cell.id in cells
            and not lane.failed(cell.pass_.name)
            and repeat < lane.repeats(repeat + 1)
        ]
        self.progress.expect(len(able))
        self.measure([repeat], able)

    def _take_table(self, environment: str, measurement: Measurement) -> None:
        """Takes in the table that TensorRT made of the calibration images, for its simulation."""
        if measurement.cache and measurement.table and measurement.table not in self.used:
            text = self.store.path(measurement.cache).read_text("utf-8")
            self._use(to_table(parse(text), environment=environment))


def searched_placement(wants: Wants, environments: Iterable[Environment]) -> PlacementOptions:
    """Returns the placement in which the table `best` is looked for: the first environment's.

    Of the whole matrix, so that the table is the same whichever cells are selected.
    """
    engine = next((one.engine for one in environments if one.engine in ENGINES), "tensorrt")
    return wants.explicit(engine).options()


def reference_site(
    environment: Environment,
    identity: Identity,
    engine_options: Mapping[str, Mapping[str, Any]],
) -> Site:
    """Returns where the reference is computed; its latency is of no interest."""
    return Site(
        environment=environment,
        identity=identity,
        device=REFERENCE_DEVICE,
        engine_options=engine_options[environment.name],
        timing=None,
        shapes={},
    )
