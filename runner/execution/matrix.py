"""The loop: reference → calibrate → simulate → measure, then one record for every planned cell.

A failure is a fact about a cell and never stops the others. What an equal fingerprint already
measured is not measured again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from runner.core.graph import GraphError
from runner.core.tables import Table
from runner.core.trt_cache import parse, to_table
from runner.environments.base import Environment, Identity
from runner.errors import EnvironmentUnavailableError
from runner.execution.implicit import calibrated_inside, carried
from runner.execution.jobs import Jobs
from runner.execution.lanes import Lane, Variant, lanes_of
from runner.execution.limit_tables import limit_tables
from runner.execution.progress import Progress
from runner.execution.wanted import FP32, Site, Wants
from runner.execution.watch import Watch, unwatched
from runner.plan import Cell, Status, TableSource
from runner.records import Calibration, Measurement, Record
from runner.store import Run

REFERENCE_DEVICE = "cpu"
PREPARED_AT_ONCE = 4


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
        self.jobs = Jobs(run, wants, progress, fresh=fresh, watch=watch)
        self.lanes = lanes_of(cells)
        self.reference: Measurement | None = None
        self.shared: Table | str = "there is no shared table"
        """The table given to all, or why there is none."""
        self.tables: dict[str, Table] = {}
        """digest → every table that a cell uses or that is a candidate for the limit."""
        self.simulations: list[Measurement] = []

    def run(self) -> None:
        """Does all of it.

        Raises:
            EnvironmentUnavailableError: the reference could not run this network.
        """
        self.wants.network.put_into(self.store)
        site = self.measure_reference()
        self.prepare()
        self.calibrate()
        self.make_limit_tables(site)
        self.simulate(site)
        settings = self.wants.settings
        for repeat in range(settings.repeats):
            for lane in self.lanes.values():
                self.measure(lane, repeat)
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
        if shared is not None:
            calibration = self.jobs.calibrate(site, self.wants.calibration(site, [shared]))
            if calibration.status is Status.OK:
                self.shared = self._use(self.wants.table(site, calibration, shared))
            else:
                self.shared = f"there is no shared table: {calibration.reason}"
                self.progress.warn(self.shared)
        return site

    def make_limit_tables(self, site: Site) -> None:
        """Adds candidates for the limit of 8 bits that do not depend on the calibration images."""
        if not self.tables:  # nothing runs in int8
            return
        self.progress.expect(1)
        made = limit_tables(self.jobs, self.wants, site)
        if isinstance(made, str):
            self.progress.warn(made)
            return
        for table in made:
            self._use(table)

    def simulate(self, site: Site) -> None:
        """Computes, in exact float32 arithmetic, what every table must cost in every placement.

        Does those that are not done yet: TensorRT's own tables are known after its passes only.
        """
        done = {(one.placement, one.table) for one in self.simulations}
        engines = dict.fromkeys(
            lane.site.environment.engine for lane in self.lanes.values() if lane.site
        )
        wanted = []
        for engine in engines:
            for table in self.tables.values():
                if (engine, table.digest) in done:
                    continue
                name = f"simulation-{engine}-{table.digest[:12]}"
                try:
                    model = self.wants.network.quantised(self.store, table, engine, simulated=True)
                except GraphError as error:
                    self.progress.warn(f"{name}: {error}")
                    continue
                wanted.append(
                    self.wants.measurement(
                        site, name, 0, model=model, table=table, placement=engine
                    )
                )
        self.progress.expect(len(wanted))
        for made in self.jobs.measure(site, wanted):
            if made.measurement.status is Status.OK:
                self.simulations.append(made.measurement)
            else:
                self.progress.warn(f"{made.measurement.name}: {made.measurement.reason}")

    # Environments

    def prepare(self) -> None:
        """Makes all environments, several at a time."""
        names = dict.fromkeys(lane.environment for lane in self.lanes.values() if lane.runnable)
        with ThreadPoolExecutor(PREPARED_AT_ONCE) as pool:
            identities = pool.map(self._prepared, map(self.environments.__getitem__, names))
            prepared = dict(zip(names, identities, strict=True))
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
                )
                steps = len(lane.runnable) * lane.repeats(self.wants.settings.repeats)
                self.progress.expect(steps + bool(lane.own))

    def _prepared(self, environment: Environment) -> Identity | str:
        self.progress.stage(environment.name, "prepare")
        try:
            return environment.prepare(
                offline=self.offline,
                transfer=lambda what, done, total: self.progress.transfer(
                    f"{environment.name}: {what}", done, total
                ),
            )
        except EnvironmentUnavailableError as error:
            return str(error)

    def _shapes(self) -> Mapping[str, tuple[int, ...]]:
        outputs = self.reference.outputs if self.reference else {}
        return {head: self.store.array(output).shape for head, output in outputs.items()}

    # Calibration

    def calibrate(self) -> None:
        """Lets every environment make its own tables, once, and gives every cell its network."""
        for lane in self.lanes.values():
            if lane.site is None:
                continue
            own = [name for name in self.wants.settings.algorithms if name in lane.own]
            calibration = (
                self.jobs.calibrate(lane.site, self.wants.calibration(lane.site, own))
                if own
                else None
            )
            for cell in lane.runnable:
                self._give(lane, lane.site, cell, calibration)

    def _give(self, lane: Lane, site: Site, cell: Cell, calibration: Calibration | None) -> None:
        """Decides which network a cell runs, or why it runs none."""
        name, network = cell.pass_.name, self.wants.network
        table = self._table(site, cell, calibration)
        try:
            match table:
                case None:
                    inside = cell.pass_.made_inside
                    implicit = calibrated_inside(cell.pass_, self.wants) if inside else None
                    lane.variants[name] = Variant(
                        network.fp32, precision=cell.pass_.precision, implicit=implicit
                    )
                case Table() if cell.pass_.implicit:
                    implicit, content = carried(self._use(table), self.wants)
                    self.store.put(content, ".json")
                    lane.variants[name] = Variant(network.fp32, table, implicit=implicit)
                case Table():
                    engine = site.environment.engine
                    model = network.quantised(self.store, table, engine, simulated=False)
                    lane.variants[name] = Variant(model, self._use(table))
                case str():
                    lane.refused[name] = table
        except GraphError as error:
            lane.refused[name] = f"its table cannot be written into the network: {error}"
        if name in lane.refused:
            self.progress.done(
                cell.id,
                Status.NOT_RUN,
                lane.refused[name],
                steps=lane.repeats(self.wants.settings.repeats),
            )

    def _table(self, site: Site, cell: Cell, calibration: Calibration | None) -> Table | str | None:
        """Returns the cell's table, None where it needs none, or why it has none."""
        if cell.pass_.source is None or cell.pass_.made_inside:
            return None
        if cell.pass_.source is TableSource.SHARED:
            return self.shared
        if calibration is None or calibration.status is not Status.OK:
            return f"its calibration failed: {calibration.reason if calibration else 'not run'}"
        return self.wants.table(site, calibration, cell.pass_.algorithm or "")

    def _use(self, table: Table) -> Table:
        """Returns the table that all use which have the same ranges: the first."""
        return self.tables.setdefault(table.digest, table)

    # Measurement

    def measure_again(self, cells: Collection[str], repeat: int) -> None:
        """Runs one repeat more of `cells` (ids)."""
        for lane in self.lanes.values():
            wanted = {cell.pass_.name for cell in lane.cells if cell.id in cells}
            names = {name for name in wanted if not lane.failed(name)}
            if names and repeat < lane.repeats(repeat + 1):
                self.progress.expect(len(names))
                self.measure(lane, repeat, names)

    def measure(self, lane: Lane, repeat: int, names: Collection[str] | None = None) -> None:
        """Runs one repeat of a lane's passes in one start; no more of those that failed.

        Args:
            lane: An environment on a device.
            repeat: From 0.
            names: The passes; all where None.
        """
        site = lane.site
        if site is None or repeat >= lane.repeats(repeat + 1):
            return
        wanted = [
            self.wants.measurement(
                site,
                name,
                repeat,
                model=variant.model,
                table=variant.table,
                precision=variant.precision,
                placement=site.environment.engine if variant.table or variant.implicit else None,
                implicit=variant.implicit,
            )
            for name, variant in lane.variants.items()
            if not lane.failed(name) and (names is None or name in names)
        ]
        for made in self.jobs.measure(site, wanted):
            lane.add(made.measurement, reused=made.reused)
            self._take_table(site, made.measurement)
            if made.measurement.status is not Status.OK:
                left = lane.repeats(self.wants.settings.repeats) - repeat - 1
                self.progress.expect(-max(left, 0))

    def _take_table(self, site: Site, measurement: Measurement) -> None:
        """Takes in the table that TensorRT made of the calibration images, for its simulation."""
        if measurement.cache and measurement.table and measurement.table not in self.tables:
            text = self.store.path(measurement.cache).read_text("utf-8")
            self._use(to_table(parse(text), environment=site.environment.name))


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
