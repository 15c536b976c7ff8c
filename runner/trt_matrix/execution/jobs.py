"""Measures and calibrates at a site: what is known already is taken from the store, the rest is run."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from trt_matrix.core.cells import Status
from trt_matrix.core.records import Calibration, Measurement, StoredObject
from trt_matrix.execution.left import Take, untaken
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.shares import shares_of
from trt_matrix.execution.start import JobStart
from trt_matrix.execution.wanted import (
    FP32,
    JobSite,
    OutputUse,
    PassRequests,
    WantedCalibration,
    WantedPass,
)
from trt_matrix.execution.watch import Watch, unwatched
from trt_matrix.store.results import RunFolder, Store


@dataclass(frozen=True, slots=True)
class MeasuredPass:
    measurement: Measurement
    reused: bool
    """Whether an earlier run, or another one at the same time, made it."""


Settled = Callable[[Mapping[str, StoredObject], OutputUse], bool]
"""Whether all that is asked of outputs (head → output) is known without them."""


def unsettled(outputs: Mapping[str, StoredObject], use: OutputUse) -> bool:
    """Is a `Settled` that knows nothing without them."""
    del outputs, use
    return False


def known_measurement(
    store: Store, wanted: WantedPass, settled: Settled = unsettled
) -> Measurement | None:
    """Returns what is stored, under the name wanted now; None where an output is gone that is needed."""
    measurement = store.get(Measurement, wanted.fingerprint)
    if measurement is None:
        return None
    outputs = measurement.outputs.values()
    if not store.has_all(outputs):
        damaged = any(store.is_there(output) and not store.has(output) for output in outputs)
        if damaged or not settled(measurement.outputs, wanted.use):
            return None
    return _asked_as(measurement, wanted)


def _asked_as(measurement: Measurement, wanted: WantedPass) -> Measurement:
    """Returns a measurement under the name, of the table and the placement that were asked for.

    Two tables that differ by rounding can give one network, and so one measurement; and a network that
    came quantised is its own simulation for every engine. Recorded outputs may be of another table than
    was asked for.
    """
    return measurement.model_copy(
        update={
            "name": wanted.name,
            "table": None
            if measurement.table_problem
            else wanted.variant.digest or measurement.table,
            "placement": wanted.variant.placement or measurement.placement,
        }
    )


@dataclass(eq=False)
class Jobs:
    """The jobs of one run."""

    run: RunFolder
    wants: PassRequests
    progress: Progress
    _: KW_ONLY
    fresh: bool = False
    """Whether what earlier runs measured is measured again."""
    watch: Watch = unwatched
    """Tells what the GPU of a device does now."""
    check: Callable[[], None] = lambda: None
    """What it raises ends the job in work."""
    settled: Settled = unsettled
    """Says of outputs that were not kept whether they are needed again."""
    take: Take = untaken
    """Takes what came in place of outputs that stayed elsewhere."""
    engine_s: float = field(default=0.0, init=False)
    """Seconds that jobs of this run spent in their stages."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _ours: set[str] = field(default_factory=set, init=False)
    """Fingerprints that this run measured."""

    @property
    def store(self) -> Store:
        return self.run.store

    def measure(
        self, site: JobSite, wanted: Sequence[WantedPass], *, computed: bool = False
    ) -> list[MeasuredPass]:
        """Returns one measurement for each of `wanted`, in that order.

        `computed` are exact arithmetic, and no measurement of an engine: what is known of them is taken even where all is
        measured again.
        """
        passes = self._known(wanted, computed=computed)
        if len(passes) < len(wanted):
            with self.turn(site):
                # Another run may have measured them while this one waited for its turn.
                passes = self._known(wanted, computed=computed)
                missing = [wanted_pass for wanted_pass in wanted if wanted_pass.name not in passes]
                passes |= self._measured(site, missing, self._own(passes))
        for name, measured in passes.items():
            measurement = measured.measurement
            detail = (
                "reused"
                if measured.reused
                else measurement.reason or f"{sum(measurement.stages.values()):.1f} s"
            )
            self.progress.done(
                f"{site.where}/{name}", measurement.status, detail, reused=measured.reused
            )
        return [passes[wanted_pass.name] for wanted_pass in wanted]

    def calibrate(
        self, site: JobSite, wanted: WantedCalibration, name: str = "calibrate"
    ) -> Calibration:
        with contextlib.ExitStack() as holding:
            if self.store.get(Calibration, wanted.fingerprint) is None:
                holding.enter_context(self.turn(site))
            return self._known_or_made(site, wanted, name)

    def calibrate_together(
        self,
        asked: Sequence[tuple[JobSite, WantedCalibration]],
        all_of: Callable[[Sequence[Callable[[], Calibration]]], list[Calibration]],
    ) -> list[Calibration]:
        """Returns the calibration of each site; nothing is timed, so several, of one device, may run at once.

        `all_of` does several things, in threads or one after the other.
        """
        with contextlib.ExitStack() as holding:
            if any(self.store.get(Calibration, wanted.fingerprint) is None for _, wanted in asked):
                holding.enter_context(self.turn(asked[0][0]))
            # Two names of one environment calibrate once.
            first = {
                wanted.fingerprint: index for index, (_, wanted) in reversed(list(enumerate(asked)))
            }
            turns = sorted(first.values())
            made = all_of([functools.partial(self._known_or_made, *asked[turn]) for turn in turns])
            calibrations = dict(zip(turns, made, strict=True))
            return [
                calibrations[index] if index in calibrations else self._known_or_made(site, wanted)
                for index, (site, wanted) in enumerate(asked)
            ]

    def _known_or_made(
        self, site: JobSite, wanted: WantedCalibration, name: str = "calibrate"
    ) -> Calibration:
        """Returns what another run may have made while this one waited for its turn, or makes it."""
        what = f"{site.where}/{name}"
        known = self.store.get(Calibration, wanted.fingerprint)
        if known is not None:
            self.progress.done(what, Status.OK, "reused", reused=True)
            return known
        try:
            calibration = self._start(site, name).calibration(wanted)
        finally:
            self.progress.ended(site.where)
        self._spent(calibration.seconds)
        if calibration.status is Status.OK:
            self.store.keep(calibration, wanted.fingerprint)
        detail = calibration.reason or f"{calibration.seconds:.1f} s"
        self.progress.done(what, calibration.status, detail)
        return calibration

    def _known(self, wanted: Sequence[WantedPass], *, computed: bool) -> dict[str, MeasuredPass]:
        """Returns pass name → its measurement, where that is known already."""
        return {
            wanted_pass.name: MeasuredPass(known, known.fingerprint not in self._ours)
            for wanted_pass in wanted
            if computed or not self.fresh or wanted_pass.fingerprint in self._ours
            if (known := known_measurement(self.store, wanted_pass, self.settled))
        }

    def _own(self, passes: Mapping[str, MeasuredPass]) -> Mapping[str, StoredObject] | None:
        """Returns the outputs of the environment's own fp32, where that is known and kept."""
        known = passes.get(FP32.name)
        outputs = known.measurement.outputs if known else {}
        return outputs if outputs and self.store.has_all(outputs.values()) else None

    def _measured(
        self, site: JobSite, wanted: Sequence[WantedPass], own: Mapping[str, StoredObject] | None
    ) -> dict[str, MeasuredPass]:
        """Runs `wanted`; passes with one fingerprint (an own table equal to the shared) run once.

        After a crash the passes that had no turn get a new start; the one in work does not. Where
        another used the GPU meanwhile, or it was throttled, all are run again, once.
        """
        first = {wanted_pass.fingerprint: wanted_pass for wanted_pass in reversed(wanted)}
        pending = list(first.values())[::-1]
        measurements: dict[str, Measurement] = {}
        starts, again = 0, True
        while pending:
            starts += 1
            what = f"repeat-{pending[0].repeat}" + (f"-start-{starts}" if starts > 1 else "")
            ended = self._start(site, what).passes(pending, own)
            if again and (reason := _disturbance(ended)):
                again = False
                self.progress.note(f"{site.where}: {reason}; it is measured again")
                continue
            if reason := _disturbance(ended):
                self.progress.warn(f"{site.where}: {reason}; do not trust its latency")
            measurements |= {measurement.fingerprint: measurement for measurement in ended}
            pending = [
                wanted_pass
                for wanted_pass in pending
                if wanted_pass.fingerprint not in measurements
            ]
        self._spent(sum(sum(measurement.stages.values()) for measurement in measurements.values()))
        self._ours |= {
            measurement.fingerprint
            for measurement in measurements.values()
            if measurement.status is Status.OK
        }
        return {
            wanted_pass.name: MeasuredPass(
                _asked_as(measurements[wanted_pass.fingerprint], wanted_pass), False
            )
            for wanted_pass in wanted
        }

    def _spent(self, seconds: float) -> None:
        with self._lock:  # jobs on several devices end at any time
            self.engine_s += seconds

    def _start(self, site: JobSite, what: str) -> JobStart:
        heads = self.wants.settings.heads
        here = not self.wants.settings.machine(site.environment.name).name

        def told(stage: str) -> None:
            self.check()
            self.progress.stage(site.where, stage)

        self.check()
        return JobStart(
            self.run,
            self.wants,
            site,
            share_of=lambda executed, model: shares_of(executed, self.store.path(model), heads),
            progress=told,
            log=f"{site.where}/{what}",
            watch=self.watch if site.timing and here else unwatched,
            take=self.take,
        )

    @contextlib.contextmanager
    def turn(self, site: JobSite) -> Iterator[None]:
        """Holds a site's device as long as jobs run there."""
        has_told = False

        def waiting() -> None:
            nonlocal has_told
            self.check()
            if not has_told:
                self.progress.note(f"{site.where}: waiting for another run to end")
            has_told = True

        with self.store.turn(self.wants.place(site), waiting):
            try:
                yield
            finally:
                self.progress.ended(site.where)


def _disturbance(ended: Sequence[Measurement]) -> str | None:
    """Returns why the start that these passes share cannot be trusted."""
    return next(
        (
            measurement.start.disturbed
            for measurement in ended
            if measurement.start and measurement.start.disturbed
        ),
        None,
    )
