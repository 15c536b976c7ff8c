"""The loop: reference → calibrate → simulate → measure, then one record for every planned cell.

A failure is a fact about a cell and never stops the others. What an equal fingerprint already
measured is not measured again.
"""

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from runner.cells import Cell, Status, TableSource
from runner.core.network.graph import GraphError
from runner.core.qdq.placements import Placed
from runner.core.tables.table import Table
from runner.core.tables.trt_cache import parse, to_table
from runner.environments.base import Environment, Identity
from runner.errors import ConfigError, EnvironmentUnavailableError
from runner.execution import alternatives
from runner.execution.implicit import calibrated_inside, carried
from runner.execution.jobs import Jobs
from runner.execution.lanes import Lane, Variant, lanes_of
from runner.execution.limit_tables import limit_tables
from runner.execution.preparing import prepare
from runner.execution.progress import Progress
from runner.execution.rounds import Rounds
from runner.execution.table_checks import RecordedTables
from runner.execution.wanted import FP32, Site, Wants
from runner.execution.watch import Watch, unwatched
from runner.execution.workers import Workers
from runner.records import Calibration, Measurement, Object, Record
from runner.store import Run

REFERENCE_DEVICE = "cpu"


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
        engine_options: Mapping[str, Mapping[str, Any]],
        offline: bool,
        fresh: bool = False,
        watch: Watch = unwatched,
        undecided: Callable[["Matrix"], Collection[str]] = lambda _: (),
    ) -> None:
        """Plans it.

        Args:
            run: Takes the logs; its store takes the answers.
            progress: Told what is done.
            wants: What to ask of a job.
            cells: In the order of the plan.
            environments: id → environment.
            reference: Where the reference and the simulations are computed.
            engine_options: environment → options handed to its engine.
            offline: Whether environments are made without a network.
            fresh: Whether what earlier runs measured is measured again.
            watch: Looks at the device before and after each start.
            undecided: Says which cells (ids) more repeats would decide; asked after every round
                from the least number of repeats on.
        """
        self.store = run.store
        self.progress = progress
        self.wants = wants
        self.cells = tuple(cells)
        self.environments = environments
        self.reference_environment = reference
        self.engine_options = engine_options
        self.offline = offline
        self.undecided = undecided
        self.workers = Workers()
        self.jobs = Jobs(run, wants, progress, fresh=fresh, watch=watch, check=self.workers.check)
        self.rounds = Rounds(self.jobs, wants, progress, self.workers)
        self.lanes = lanes_of(cells)
        self.reference: Measurement | None = None
        self.shared: Table | str = "there is no shared table"
        """The table given to all, or why there is none."""
        self.tables: dict[str, Table] = {}
        """digest → every table that a cell uses or that is a candidate for the limit."""
        self.recorded = RecordedTables(self.jobs, wants, progress)
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
        site = self.recorded.site = self.measure_reference()
        self.prepare()
        self.calibrate()
        self.make_limit_tables(site)
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

    def table_facts(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns table digest → who made it, how, and what it could not cover."""
        return {
            name: {
                **asdict(table.provenance),
                "tensors": len(table.amax),
                "unusable": dict(table.unusable),
            }
            for name, table in self.tables.items()
        }

    # Reference and simulation

    def measure_reference(self) -> Site:
        """Computes the reference outputs and the shared table, on the host.

        Raises:
            EnvironmentUnavailableError: without a reference nothing can be compared.
            ConfigError: the network's variants are not one function.
        """
        shared = self.wants.settings.shared
        self.progress.expect(1 if shared is None else 2)
        environment = self.reference_environment
        identity = environment.prepare(offline=True)
        site = reference_site(environment, identity, self.engine_options)
        wanted = self.wants.measurement(site, FP32.name, 0, model=self.wants.network.fp32)
        (made,) = self.jobs.measure(site, [wanted])
        self.reference = made.measurement
        if self.reference.status is not Status.OK:
            message = (
                f"the reference ({environment.name}) could not run this network: "
                f"{self.reference.reason}\n{self.reference.log_tail or ''}".rstrip()
            )
            raise EnvironmentUnavailableError(message)
        self._check_variants(site, self.reference)
        if shared is not None:
            calibration = self.jobs.calibrate(site, self.wants.calibration(site, [shared]))
            if calibration.status is Status.OK:
                self.shared = self._use(self.wants.table(site, calibration, shared))
                self.recorded.seen.append(self.shared.amax)
            else:
                self.shared = f"there is no shared table: {calibration.reason}"
                self.progress.warn(self.shared)
        return site

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

    def make_limit_tables(self, site: Site) -> None:
        """Adds candidates for the limit of 8 bits that do not depend on the calibration images."""
        if not self.tables or not self.wants.network.is_float:  # nothing runs in int8, or is float
            return
        self.progress.expect(1)
        made = limit_tables(self.jobs, self.wants, site)
        if isinstance(made, str):
            self.progress.warn(made)
            return
        for table in made:
            self._use(table)
            self.recorded.seen.append(table.amax)

    def simulate(self, site: Site) -> None:
        """Computes, in exact float32 arithmetic, what every table must cost in every placement.

        Does those that are not done yet: TensorRT's own tables are known after its passes only.
        """
        done = {(one.placement, one.table) for one in self.simulations}
        placements = dict.fromkeys(
            placed
            for lane in self.lanes.values()
            for variant in lane.variants.values()
            if variant.placed
            # What one scale a weight costs is told against a scale a channel.
            for placed in (variant.placed, variant.placed.per_channel)
        )
        wanted = []
        for placed in placements:
            for table in self.tables.values():
                if (placed.name, table.digest) in done:
                    continue
                name = f"simulation-{placed.name}-{table.digest[:12]}"
                try:
                    model = self._simulation_of(table, placed)
                except GraphError as error:
                    self.progress.warn(f"{name}: {error}")
                    continue
                wanted.append(
                    self.wants.measurement(
                        site, name, 0, model=model, table=table, placement=placed.name
                    )
                )
        self.progress.expect(len(wanted))
        for made in self.jobs.measure(site, wanted):
            if made.measurement.status is Status.OK:
                self.simulations.append(made.measurement)
            else:
                self.progress.warn(f"{made.measurement.name}: {made.measurement.reason}")

    def _simulation_of(self, table: Table, placed: Placed) -> Object:
        """Returns the network that says what a table must cost: what came quantised is its own.

        Raises:
            GraphError: see `Network.quantised`.
        """
        shipped = self.wants.network.shipped
        if shipped and shipped.table.digest == table.digest:
            return shipped.object
        return self.wants.network.quantised(self.store, table, placed, simulated=True)

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
        shapes = self._shapes()
        for lane in self.lanes.values():
            found = prepared.get(lane.environment)
            if isinstance(found, str):
                lane.obstacle = (Status.UNAVAILABLE, found)
            elif found and lane.runnable:
                lane.site = Site(
                    environment=self.environments[lane.environment],
                    identity=found,
                    device=lane.device,
                    engine_options=self.engine_options[lane.environment],
                    timing=None if lane.recorded else self.wants.settings.timing,
                    shapes=shapes,
                    recorded=lane.recorded,
                )
                steps = len(lane.runnable) * lane.repeats(self.wants.settings.repeats)
                self.progress.expect(steps + bool(lane.own))

    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        outputs = self.reference.outputs if self.reference else {}
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
                    implicit, content = carried(self._use(table), self.wants)
                    self.store.put(content, ".json")
                    lane.variants[name] = Variant(
                        network.fp32,
                        table,
                        implicit=implicit,
                        alternatives=alternatives.floats(network, engine),
                        placed=placed,
                    )
                case Table() if placed:
                    model = network.quantised(self.store, table, placed, simulated=False)
                    others = alternatives.quantised(self.store, network, table, placed)
                    lane.variants[name] = Variant(
                        model, self._use(table), alternatives=others, placed=placed
                    )
                case str():
                    lane.refused[name] = table
        except GraphError as error:
            lane.refused[name] = f"its table cannot be written into the network: {error}"
        if name in lane.refused:
            self.progress.done(
                cell.id,
                Status.JOB_FAILED,
                lane.refused[name],
                steps=lane.repeats(self.wants.settings.repeats),
            )

    def _table(self, site: Site, cell: Cell, calibration: Calibration | None) -> Table | str | None:
        """Returns the cell's table, None where it needs none, or why it has none."""
        if cell.pass_.source is None or cell.pass_.made_inside:
            return None
        if cell.pass_.source is TableSource.SHARED:
            return self.shared
        if cell.pass_.source is TableSource.SHIPPED:
            shipped = self.wants.network.shipped
            return shipped.table if shipped else "the network has no quantisation of its own"
        if calibration is None or calibration.status is not Status.OK:
            return f"its calibration failed: {calibration.reason if calibration else 'not run'}"
        return self.wants.table(site, calibration, cell.pass_.algorithm or "")

    def _use(self, table: Table) -> Table:
        """Returns the table that all use which have the same ranges: the first."""
        return self.tables.setdefault(table.digest, table)

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
        if measurement.cache and measurement.table and measurement.table not in self.tables:
            text = self.store.path(measurement.cache).read_text("utf-8")
            self._use(to_table(parse(text), environment=environment))


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
