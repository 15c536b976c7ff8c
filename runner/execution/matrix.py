"""The loop: reference → calibrate → simulate → measure, then one record for every planned cell.

A failure is a fact about a cell and never stops the others. What an equal fingerprint already
measured is not measured again.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.core.qdq import QdqError
from runner.core.tables import Provenance, Table, from_ranges
from runner.environments.base import Environment, Identity
from runner.errors import EnvironmentUnavailableError
from runner.execution.inputs import Data, Network
from runner.execution.progress import Progress
from runner.execution.shares import shares_of
from runner.execution.start import JobStart, Site, WantedCalibration, WantedPass
from runner.plan import Cell, Pass, Precision, Status, TableSource
from runner.records import Calibration, Measurement, Record, digest
from runner.store import Store

FP32 = Pass(precision=Precision.FP32)
REFERENCE_DEVICE = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides the numbers of every cell alike."""

    input: str
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    algorithms: Mapping[str, Mapping[str, Any]]
    """algorithm → its options."""
    shared: str | None
    repeats: int
    timing: Mapping[str, Any]
    deadline_s: float
    program: str
    """Hash of the job's own files."""
    host: str
    """Hash of what the processor is."""
    preprocess: str
    """Hash of the preprocessing settings."""


@dataclass(slots=True)
class Outcome:
    """What became of the cells of one environment on one device."""

    site: Site | None = None
    obstacle: tuple[Status, str] | None = None
    calibration: Calibration | None = None
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    """pass name → one a repeat."""
    reused: dict[str, int] = field(default_factory=dict)
    unplaced: dict[str, str] = field(default_factory=dict)
    """pass name → why its table could not be written into the network."""


class Matrix:
    """One run of the experiment; `run` may be interrupted and leaves whole records all the same."""

    def __init__(
        self,
        *,
        store: Store,
        progress: Progress,
        settings: Settings,
        network: Network,
        data: Data,
        cells: Sequence[Cell],
        environments: Mapping[str, Environment],
        reference: Environment,
        engine_options: Mapping[str, Mapping[str, Any]],
        offline: bool,
    ) -> None:
        self.store = store
        self.progress = progress
        self.settings = settings
        self.network = network
        self.data = data
        self.cells = tuple(cells)
        self.environments = environments
        self.reference_environment = reference
        self.engine_options = engine_options
        self.offline = offline
        self.outcomes: dict[tuple[str, str], Outcome] = {
            (cell.environment, cell.device): Outcome() for cell in cells
        }
        self.reference: Measurement | None = None
        self.logs = Path()
        self.engine_s = 0.0
        """Seconds that jobs of this run spent in their stages."""
        self.shared: Table | None = None
        self.tables: dict[str, Table] = {}
        """digest → every table that a cell uses."""
        self.simulations: list[Measurement] = []

    def run(self, logs: Path) -> None:
        """Does all of it; jobs log into `logs`.

        Raises:
            EnvironmentUnavailableError: the reference could not run this network.
        """
        self.logs = logs
        self.prepare()
        self.expect()
        self.measure_reference()
        self.calibrate()
        self.simulate()
        for repeat in range(self.settings.repeats):
            for outcome in self.runnable():
                self.measure(outcome, repeat)

    # Environments

    def prepare(self) -> None:
        """Makes all environments, several at a time."""
        names = [name for name, _ in self.outcomes]
        runnable = {cell.environment for cell in self.cells if cell.obstacle is None}
        wanted = [self.environments[name] for name in dict.fromkeys(names) if name in runnable]
        with ThreadPoolExecutor(max_workers=4) as pool:
            prepared = dict(
                zip(
                    [environment.name for environment in wanted],
                    pool.map(self._prepared, wanted),
                    strict=True,
                )
            )
        for (name, device), outcome in self.outcomes.items():
            if name not in prepared:
                continue
            identity = prepared[name]
            if isinstance(identity, str):
                outcome.obstacle = (Status.UNAVAILABLE, identity)
                self.progress.warn(identity)
            else:
                outcome.site = self._site(self.environments[name], identity, device)

    def expect(self) -> None:
        """Tells how many steps there are: reference, calibrations, then every repeat.

        How many simulations there are shows when tables are made.
        """
        sites = self.runnable()
        calibrations = sum(
            any(cell.pass_.source is TableSource.OWN for cell in self._cells_of(outcome.site))
            for outcome in sites
            if outcome.site
        )
        cells = sum(len(self._cells_of(outcome.site)) for outcome in sites if outcome.site)
        shared = 1 if self.settings.shared else 0
        self.progress.expect(1 + shared + calibrations + cells * self.settings.repeats)

    def _prepared(self, environment: Environment) -> Identity | str:
        self.progress.stage(environment.name, "prepare")
        try:
            return environment.prepare(offline=self.offline)
        except EnvironmentUnavailableError as error:
            return str(error)

    def _site(self, environment: Environment, identity: Identity, device: str) -> Site:
        return Site(
            environment=environment,
            identity=identity,
            device=device,
            engine_options=self.engine_options[environment.name],
            input=self.settings.input,
            heads=self.settings.heads,
            evaluation=self.data.evaluation,
            images=self.data.evaluation_images,
            deadline_s=self.settings.deadline_s,
        )

    def runnable(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes.values() if outcome.site]

    # Reference and simulation

    @functools.cached_property
    def reference_site(self) -> Site:
        environment = self.reference_environment
        return self._site(environment, environment.prepare(offline=True), REFERENCE_DEVICE)

    def measure_reference(self) -> None:
        """Computes the reference outputs and the shared table, on the host.

        Raises:
            EnvironmentUnavailableError: without a reference nothing can be compared.
        """
        site = self.reference_site
        (self.reference,) = self._start(site, [self._wanted(site, FP32.name, None, 0)])
        if self.reference.status is not Status.OK:
            message = (
                f"the reference ({site.environment.name}) could not run this network: "
                f"{self.reference.reason}\n{self.reference.log_tail or ''}".rstrip()
            )
            raise EnvironmentUnavailableError(message)
        if self.settings.shared is None:
            return
        calibration = self._calibration(site, [self.settings.shared])
        if calibration.status is not Status.OK:
            self.progress.warn(f"no shared table: {calibration.reason}")
            return
        self.shared = self._table(site, calibration, self.settings.shared)

    def simulate(self) -> None:
        """Computes, in exact float32 arithmetic, what every table must cost in every placement."""
        site = self.reference_site
        engines = dict.fromkeys(
            outcome.site.environment.engine for outcome in self.runnable() if outcome.site
        )
        wanted = [
            self._wanted(site, f"simulation-{engine}-{digest_[:12]}", table, 0, placement=engine)
            for engine in engines
            for digest_, table in self.tables.items()
        ]
        self.progress.expect(len(wanted))
        for measurement in self._start(site, wanted):
            if measurement.status is Status.OK:
                self.simulations.append(measurement)
            else:
                self.progress.warn(f"{measurement.name}: {measurement.reason}")

    # Calibration

    def calibrate(self) -> None:
        """Lets every environment make its own tables, once."""
        for (name, device), outcome in self.outcomes.items():
            own = {
                cell.pass_.algorithm
                for cell in self.cells
                if (cell.environment, cell.device) == (name, device)
                and cell.pass_.source is TableSource.OWN
            }
            algorithms = [one for one in self.settings.algorithms if one in own]
            if outcome.site is None or not algorithms:
                continue
            outcome.calibration = self._calibration(outcome.site, algorithms)
            if outcome.calibration.status is Status.OK:
                for algorithm in algorithms:
                    self._table(outcome.site, outcome.calibration, algorithm)

    def _calibration(self, site: Site, algorithms: Sequence[str]) -> Calibration:
        chosen = tuple(
            {"name": name, "options": dict(self.settings.algorithms[name])} for name in algorithms
        )
        key = {
            "calibration": 1,
            "site": self._site_key(site),
            "model": self.network.calibration.sha256,
            "images": self.data.calibration.sha256,
            "tensors": self.network.tensors,
            "algorithms": chosen,
        }
        fingerprint = digest(key)
        where = f"{site.environment.name}/{site.device}"
        known = self.store.get(Calibration, fingerprint)
        if known:
            self.progress.done(f"{where}/calibrate", Status.OK, "reused")
            return known
        with self._turn(site):
            calibration = self._job(site, "calibrate").calibration(
                WantedCalibration(
                    fingerprint=fingerprint,
                    model=self.network.calibration,
                    images=self.data.calibration,
                    tensors=self.network.tensors,
                    algorithms=chosen,
                )
            )
        self.engine_s += calibration.seconds
        if calibration.status is Status.OK:
            self.store.keep(calibration, fingerprint)
        self.progress.done(
            f"{where}/calibrate",
            calibration.status,
            calibration.reason or f"{calibration.seconds:.1f} s",
        )
        return calibration

    def _table(self, site: Site, calibration: Calibration, algorithm: str) -> Table:
        table = from_ranges(
            calibration.tables[algorithm],
            Provenance(
                algorithm=algorithm,
                environment=site.environment.name,
                images_sha256=self.data.calibration.sha256,
                preprocess_sha256=self.settings.preprocess,
                model_sha256=self.network.fp32.sha256,
            ),
        )
        return self.tables.setdefault(table.digest, table)

    # Measurement

    def measure(self, outcome: Outcome, repeat: int) -> None:
        """Runs one repeat of all passes of one environment on one device: one start."""
        site = outcome.site
        if site is None:
            return
        wanted = []
        for cell in self._cells_of(site):
            found = self._table_for(cell, outcome)
            if isinstance(found, str):
                continue
            try:
                wanted.append(self._wanted(site, cell.pass_.name, found, repeat))
            except QdqError as error:
                outcome.unplaced[cell.pass_.name] = str(error)
        before = {one.fingerprint for one in self._known(wanted)}
        for measurement in self._start(site, wanted):
            outcome.measurements.setdefault(measurement.name, []).append(measurement)
            if measurement.fingerprint in before:
                outcome.reused[measurement.name] = outcome.reused.get(measurement.name, 0) + 1

    def _cells_of(self, site: Site) -> list[Cell]:
        return [
            cell
            for cell in self.cells
            if (cell.environment, cell.device) == (site.environment.name, site.device)
            and cell.obstacle is None
        ]

    def _table_for(self, cell: Cell, outcome: Outcome) -> Table | str | None:
        """Returns the cell's table, None where it needs none, or why it has none."""
        if cell.pass_.source is None:
            return None
        if cell.pass_.source is TableSource.SHARED:
            return self.shared or "there is no shared table: the reference could not calibrate"
        calibration = outcome.calibration
        if calibration is None or outcome.site is None:
            return "this environment made no table"
        if calibration.status is not Status.OK:
            return f"its calibration failed: {calibration.reason}"
        return self._table(outcome.site, calibration, cell.pass_.algorithm or "")

    def _wanted(
        self,
        site: Site,
        name: str,
        table: Table | None,
        repeat: int,
        *,
        placement: str | None = None,
    ) -> WantedPass:
        """Says what to measure.

        Args:
            site: Where.
            name: Of the pass.
            table: None for fp32.
            repeat: From 0.
            placement: Simulate this engine's placement; None to measure the site's own engine.
        """
        engine = placement or site.environment.engine
        model = (
            self.network.quantised(table, engine, simulated=placement is not None)
            if table
            else self.network.fp32
        )
        precision = Precision.INT8 if table else Precision.FP32
        key = {
            "measurement": 1,
            "site": self._site_key(site),
            "model": model.sha256,
            "precision": precision,
            "evaluation": self.data.evaluation.sha256,
            "timing": self._timing(site),
            "repeat": repeat,
        }
        return WantedPass(
            fingerprint=digest(key),
            name=name,
            precision=precision,
            model=model,
            table=table.digest if table else None,
            placement=engine if table else None,
            repeat=repeat,
            compare_with=FP32.name if table else None,
        )

    def _timing(self, site: Site) -> Mapping[str, Any] | None:
        """Returns how latency is measured; the reference's is of no interest."""
        return None if site is self.reference_site else self.settings.timing

    def _site_key(self, site: Site) -> Mapping[str, Any]:
        return {
            "environment": site.identity.fingerprint,
            "engine": site.environment.engine,
            "options": site.engine_options,
            "device": site.device,
            "host": self.settings.host,
            "program": self.settings.program,
            "input": site.input,
            "heads": site.heads,
        }

    def _known(self, wanted: Iterable[WantedPass]) -> list[Measurement]:
        """Returns the measurements that are there already, under the names wanted now."""
        known = []
        for one in wanted:
            found = self.store.get(Measurement, one.fingerprint)
            if found and all(self.store.has(output) for output in found.outputs.values()):
                known.append(found.model_copy(update={"name": one.name}))
        return known

    def _start(self, site: Site, wanted: Sequence[WantedPass]) -> list[Measurement]:
        """Returns one measurement for each wanted pass: what is known, and what a start gives."""
        known = self._known(wanted)
        fresh: list[Measurement] = []
        if len(known) < len(wanted):
            with self._turn(site):
                # Another run may have measured them while this one waited for its turn.
                known = self._known(wanted)
                names = {one.name for one in known}
                missing = [one for one in wanted if one.name not in names]
                fresh = self._measured(site, missing) if missing else []
        where = f"{site.environment.name}/{site.device}"
        for one in known:
            self.progress.done(f"{where}/{one.name}", one.status, "reused")
        for one in fresh:
            detail = one.reason or f"{sum(one.stages.values()):.1f} s"
            self.progress.done(f"{where}/{one.name}", one.status, detail)
        order = {one.name: index for index, one in enumerate(wanted)}
        return sorted([*known, *fresh], key=lambda one: order[one.name])

    def _measured(self, site: Site, wanted: Sequence[WantedPass]) -> list[Measurement]:
        """Starts a job; passes with one fingerprint (an own table equal to the shared) run once."""
        unique = {one.fingerprint: one for one in reversed(wanted)}
        passes = [one for one in wanted if unique[one.fingerprint] is one]
        made = self._job(site, f"repeat-{passes[0].repeat}").passes(passes)
        self.engine_s += sum(sum(one.stages.values()) for one in made)
        by_fingerprint = {one.fingerprint: one for one in made}
        return [
            by_fingerprint[one.fingerprint].model_copy(update={"name": one.name}) for one in wanted
        ]

    def _turn(self, site: Site) -> Any:
        where = f"{site.environment.name}/{site.device}"
        return self.store.turn(
            site.device, lambda: self.progress.note(f"{where}: waiting for another run to end")
        )

    def _job(self, site: Site, what: str) -> JobStart:
        where = f"{site.environment.name}/{site.device}"
        return JobStart(
            self.store,
            site,
            timing=self._timing(site),
            share_of=lambda executed: shares_of(executed, self.network.model, site.heads),
            progress=lambda stage: self.progress.stage(where, stage),
            log=self._log(where, what),
        )

    def _log(self, where: str, what: str) -> Path:
        path = self.logs / where / f"{what}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # Records

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

    def records(self, *, interrupted: bool = False) -> list[Record]:
        """Returns one record for every planned cell, whatever became of it."""
        return [self._record(cell, interrupted=interrupted) for cell in self.cells]

    def _record(self, cell: Cell, *, interrupted: bool) -> Record:
        outcome = self.outcomes[cell.environment, cell.device]
        name = cell.pass_.name
        measurements = tuple(outcome.measurements.get(name, ()))
        record = Record(
            cell=cell.id,
            environment=cell.environment,
            device=cell.device,
            pass_=cell.pass_,
            status=Status.NOT_RUN,
            measurements=measurements,
            reused=outcome.reused.get(name, 0),
        )
        status, reason = self._ending(cell, outcome, measurements, interrupted=interrupted)
        return record.model_copy(update={"status": status, "reason": reason})

    def _ending(
        self,
        cell: Cell,
        outcome: Outcome,
        measurements: Sequence[Measurement],
        *,
        interrupted: bool,
    ) -> tuple[Status, str | None]:
        if cell.obstacle is not None:
            return cell.obstacle
        if outcome.obstacle is not None:
            return outcome.obstacle
        failed = [one for one in measurements if one.status is not Status.OK]
        if failed:
            return failed[0].status, failed[0].reason
        if len(measurements) == self.settings.repeats:
            return Status.OK, None
        if interrupted:
            return Status.NOT_RUN, "interrupted; run again to go on from here"
        if cell.pass_.name in outcome.unplaced:
            return Status.NOT_RUN, outcome.unplaced[cell.pass_.name]
        why = self._table_for(cell, outcome)
        return Status.NOT_RUN, why if isinstance(why, str) else "it had no turn"
