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
from typing import Any

from trt_matrix.core.cells import Cell, Status, TableSource
from trt_matrix.core.plan import mixed_cells
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.environments.base import Environment, Identity
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.execution.cell_networks import CellNetworks
from trt_matrix.execution.host_tables import HostTables
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.lanes import DeviceLane, NamedReference, lanes_of
from trt_matrix.execution.left import Take, untaken
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.reference import check_variants, measured, reference_site
from trt_matrix.execution.rounds import Rounds
from trt_matrix.execution.simulations import Simulations, quantised, searched_placement
from trt_matrix.execution.table_checks import RecordedTables
from trt_matrix.execution.used_tables import UsedTables
from trt_matrix.execution.value_ranges import TypedNetworks
from trt_matrix.execution.wanted import FP32, JobSite, OutputUse, PassRequests, Variant
from trt_matrix.execution.watch import Watch, unwatched
from trt_matrix.execution.workers import Workers
from trt_matrix.store.results import RunFolder

AT_ONCE = 4
"""Environments that are made at once: downloads share one line, and builds the processors."""

UNMADE = Identity(fingerprint="", facts={})
"""Of an environment that is not made yet, as long as nothing runs in it."""

Outputs = Mapping[str, StoredObject]
SettledBeside = Callable[[Outputs, Outputs, OutputUse], bool]
"""(the reference's outputs, others, what is asked of these) → whether that is known without them."""


class ExperimentRun:
    """One run of the experiment; `run` may be interrupted and leaves whole records all the same."""

    def __init__(
        self,
        *,
        run: RunFolder,
        progress: Progress,
        wants: PassRequests,
        cells: Sequence[Cell],
        environments: Mapping[str, Environment],
        reference: Environment,
        named: NamedReference | None = None,
        engine_options: Mapping[str, Mapping[str, Any]],
        offline: bool,
        fresh: bool = False,
        watch: Watch = unwatched,
        undecided: Callable[["ExperimentRun"], Collection[str]] = lambda _: (),
        kept_in_float: Callable[["ExperimentRun"], Mapping[bool, Sequence[str]]] = lambda _: {},
        settled: SettledBeside = lambda *_: False,
        take: Take = untaken,
    ) -> None:
        """Plans it; `cells` are in the order of the plan; `watch` and `take` are as `Jobs` takes them.

        The reference and the simulations are computed in `reference`; `named` says whose outputs are it, where it is not
        computed there. `undecided` says which cells (ids) more repeats would decide; it is asked after every round from the
        least number of repeats on. `kept_in_float` says, when all is measured, which layers to try in float: whether int8 is
        implicit → their names; nothing where nothing is to be tried.
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
        self.used = UsedTables(self.store, self.host)
        self.recorded = RecordedTables(self.jobs.store, wants, progress, self.host)
        self.typed = TypedNetworks(self.jobs, wants)
        self.networks = CellNetworks(wants, progress, self.used, self.typed)
        self.simulated = Simulations(self.jobs, wants, progress, self.used)
        self.foreign: dict[str, str] = {}
        """digest → environment whose own program made the table, of images that nobody here knows."""
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

    def mix(self, site: JobSite, layers: Mapping[bool, Sequence[str]]) -> None:
        """Measures the pass in which layers are kept in float, beside every cell that has it without."""
        added = mixed_cells(self.cells, layers)
        for cell in added:
            lane = self.lanes[cell.environment, cell.device]
            lane.cells = (*lane.cells, cell)
            if lane.site and cell.obstacle is None:
                self.progress.expect(lane.repeats(self.wants.settings.repeats))
                self.networks.give(lane, lane.site, cell)
        self.cells = tuple(cell for lane in self.lanes.values() for cell in lane.cells)
        self.simulate(site)
        self.measure(range(self.wants.settings.repeats), {cell.id for cell in added})

    def records(self, *, stopped: str | None = None) -> list[Record]:
        """Returns one record for every planned cell, whatever became of it; `stopped` is why `run` ended early."""
        repeats = self.wants.settings.repeats
        return [
            self.lanes[cell.environment, cell.device].record(cell, repeats, stopped)
            for cell in self.cells
        ]

    @property
    def tables(self) -> Mapping[str, Table]:
        """Returns digest → every table that a cell uses or that is a candidate for the limit."""
        return self.used.all

    @property
    def simulations(self) -> Sequence[Measurement]:
        return self.simulated.made

    # Reference and simulation

    def measure_reference(self) -> JobSite:
        """Computes the reference outputs: on the host, and where another is named, there; returns the host's site.

        Raises:
            EnvironmentUnavailableError: without a reference nothing can be compared.
            ConfigError: the network's variants are not one function.
        """
        environment = self.reference_environment
        identity = environment.prepare(offline=True)
        site = self.typed.site = reference_site(environment, identity, self.engine_options)
        wanted = self.wants.measurement(site, FP32.name, 0, Variant(self.wants.network.fp32))
        self.reference = measured(self.jobs, self.progress, site, wanted)
        check_variants(self.jobs, self.wants, self.progress, site, self.reference)
        if self.named:
            host, self.reference = self.reference, None
            self.reference = self._measured_by(self.named, host)
        return site

    def _measured_by(self, named: NamedReference, host: Measurement) -> Measurement:
        """Measures a cell as the reference: apart from its own repeats, which have their turn among the others."""
        environment = named.environment
        identity = self._prepare(environment)
        if isinstance(identity, str):
            raise EnvironmentUnavailableError(f"the reference cannot be made: {identity}")
        lane = DeviceLane(environment.name, named.cell.device, (named.cell,))
        shapes = self._shapes(host)
        site = dataclasses.replace(
            self._site(lane, identity), environment=environment, timing=None, shapes=shapes
        )
        self.networks.give(lane, site, named.cell)
        (wanted,) = self.rounds.wanted(lane, site, 0)
        return measured(self.jobs, self.progress, site, wanted)

    def make_tables(self, site: JobSite) -> None:
        """Makes the shared table and candidates for the limit, where anything runs in int8, and simulates them."""
        if not quantised(self.lanes.values()):
            return
        options = searched_placement(self.wants, self.environments.values())
        self.host.make(site, limit=self.wants.network.is_float, options=options)
        given = self.wants.settings.given
        if given and any(cell.pass_.source is TableSource.SHARED for cell in self.cells):
            self.host.shared = self.recorded.given(given)
        if isinstance(self.host.shared, Table):
            self.used.use(self.host.shared)
        self.simulate(site)

    def simulate(self, site: JobSite) -> None:
        """Computes what every table must cost: TensorRT's own tables are known after its passes only."""
        self.simulated.make(site, self.lanes.values(), self._site)

    # Environments

    def prepare(self) -> None:
        """Makes all environments, several at a time."""
        needed = dict.fromkeys(lane.environment for lane in self.lanes.values() if lane.runnable)
        started = time.perf_counter()
        identities = self.workers.all(
            [functools.partial(self._prepare, self.environments[name]) for name in needed],
            at_once=AT_ONCE,
        )
        prepared = dict(zip(needed, identities, strict=True))
        self.preparing_s = time.perf_counter() - started
        for identity in prepared.values():
            if isinstance(identity, str):
                self.progress.warn(identity)
        for lane in self.lanes.values():
            identity_or_reason = prepared.get(lane.environment)
            if isinstance(identity_or_reason, str):
                lane.obstacle = (Status.UNAVAILABLE, identity_or_reason)
            elif identity_or_reason and lane.runnable:
                lane.site = self._site(lane, identity_or_reason)
                steps = len(lane.runnable) * lane.repeats(self.wants.settings.repeats)
                self.progress.expect(steps + bool(lane.own))

    def _prepare(self, environment: Environment) -> Identity | str:
        """Returns what the environment is, or why it cannot be made."""

        def transfer(what: str, done: int, total: int) -> None:
            self.workers.check()
            self.progress.transfer(f"{environment.name}: {what}", done, total)

        self.progress.stage(environment.name, "prepare")
        try:
            return environment.prepare(offline=self.offline, transfer=transfer)
        except EnvironmentUnavailableError as error:
            return str(error)
        finally:
            self.progress.ended(environment.name)

    def _site(self, lane: DeviceLane, identity: Identity | None = None) -> JobSite:
        environment = self.environments[lane.environment]
        return JobSite(
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
                    self.networks.give(lane, lane.site, cell)

    # Measurement

    def measure(self, repeats: Iterable[int], cells: Collection[str] | None = None) -> None:
        """Measures repeats of `cells` (ids), of all cells where None."""
        try:
            self.rounds.measure(self.lanes.values(), repeats, cells)
        finally:  # in the order of the plan, whichever device was first
            for lane in self.lanes.values():
                if not lane.recorded:
                    for measurement in itertools.chain.from_iterable(lane.measurements.values()):
                        self.used.take(lane.environment, measurement)
        for lane in self.lanes.values():
            if lane.recorded:
                for measurement in self.recorded.checked(lane):
                    self.used.take(lane.environment, measurement)
                    self.foreign[measurement.table or ""] = lane.environment

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
