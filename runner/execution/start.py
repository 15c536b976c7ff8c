"""One start of the job: write the request, run it, take each pass in as it ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job import protocol
from runner.environments.base import Environment, Identity
from runner.execution.answers import AnswerError, PassAnswer, ResultFolder, log_tail
from runner.execution.classify import classify
from runner.plan import Precision, Status
from runner.records import Calibration, Measurement, Object, Share, Start, Timing
from runner.store import Store, same_file_system_link, utc_now


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedPass:
    """A pass to run, and the fingerprint under which its measurement is stored."""

    fingerprint: str
    name: str
    precision: Precision
    model: Object
    table: str | None
    """Digest of the table."""
    placement: str | None
    repeat: int
    compare_with: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedCalibration:
    fingerprint: str
    model: Object
    images: Object
    tensors: tuple[str, ...]
    algorithms: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where jobs are started, and what all of them there share."""

    environment: Environment
    identity: Identity
    device: str
    engine_options: Mapping[str, Any]
    input: str
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    evaluation: Object
    images: int
    deadline_s: float


Progress = Callable[[str], None]
"""Called with the stage that the job is in, whenever that may have changed."""

ShareOf = Callable[[Path], Mapping[str, Share]]
"""From the graph that the engine really ran to each head's share of integer kernels."""


class JobStart:
    """Runs passes in one process; `measurements` grows as they end."""

    def __init__(
        self,
        store: Store,
        site: Site,
        *,
        timing: Mapping[str, Any] | None,
        share_of: ShareOf,
        progress: Progress,
        log: Path,
    ) -> None:
        self.store = store
        self.site = site
        self.timing = timing
        self.share_of = share_of
        self.progress = progress
        self.log = log

    def passes(self, wanted: Sequence[WantedPass]) -> list[Measurement]:
        """Returns one measurement for each wanted pass.

        After a crash the passes that had no turn get a new start; the one in work does not.
        """
        done: list[Measurement] = []
        pending = list(wanted)
        while pending:
            done += self._start(pending)
            names = {measurement.name for measurement in done}
            pending = [one for one in pending if one.name not in names]
        return done

    def calibration(self, wanted: WantedCalibration) -> Calibration:
        with self.store.workspace() as folder:
            request, result = self._folders(folder, [wanted.model, wanted.images])
            self._write_request(request, (), wanted)
            started = utc_now()
            ending = self.site.environment.run(
                request,
                result,
                self.log,
                deadline_s=self.site.deadline_s,
                tick=self._tick(ResultFolder(result), []),
            )
            answers = ResultFolder(result)
            start = self._facts(answers, ending.command, started.isoformat(), ending.wall_s)
            problem = None
            try:
                answer = answers.calibration()
            except AnswerError as error:
                answer, problem = None, str(error)
            if answer is None:
                job = answers.job()
                told = job.sentence() if job and job.error else problem
                status, reason = classify(ending, answers.stage(), told)
                return Calibration(
                    fingerprint=wanted.fingerprint,
                    status=status,
                    reason=reason,
                    log_tail=log_tail(self.log),
                    start=start,
                )
            return Calibration(
                fingerprint=wanted.fingerprint,
                status=Status.OK,
                tables=answer.algorithms,
                unusable=answer.unusable,
                seconds=answer.seconds,
                start=start,
            )

    def _start(self, wanted: Sequence[WantedPass]) -> list[Measurement]:
        with self.store.workspace() as folder:
            request, result = self._folders(folder, [one.model for one in wanted])
            self._write_request(request, wanted, None)
            answers = ResultFolder(result)
            started = utc_now().isoformat()
            taken: list[Measurement] = []
            ending = self.site.environment.run(
                request,
                result,
                self.log,
                deadline_s=self.site.deadline_s,
                tick=self._tick(answers, taken, wanted, started),
            )
            start = self._facts(answers, ending.command, started, ending.wall_s)
            self._take(answers, taken, wanted, start)
            missing = [one for one in wanted if one.name not in {t.name for t in taken}]
            if missing:
                job = answers.job()
                told = job.sentence() if job and job.error else None
                status, reason = classify(ending, answers.stage(), told)
                # The job's own refusal holds for every pass; a crash only for the one in work.
                blamed = (
                    missing if status in (Status.JOB_FAILED, Status.UNAVAILABLE) else missing[:1]
                )
                taken += [
                    self._failed(one, status, reason, start, log_tail(self.log)) for one in blamed
                ]
            # Passes taken while the job ran knew neither its length nor its last probe.
            taken = [one.model_copy(update={"start": start}) for one in taken]
            for measurement in taken:
                if measurement.status is Status.OK:
                    self.store.keep(measurement, measurement.fingerprint)
            return taken

    def _tick(
        self,
        answers: ResultFolder,
        taken: list[Measurement],
        wanted: Sequence[WantedPass] = (),
        started: str = "",
    ) -> Callable[[], None]:
        def tick() -> None:
            self.progress(answers.stage() or "start")
            if any(
                answers.finished(one.name)
                for one in wanted
                if one.name not in {measurement.name for measurement in taken}
            ):
                self._take(answers, taken, wanted, self._facts(answers, (), started, 0.0))

        return tick

    def _take(
        self,
        answers: ResultFolder,
        taken: list[Measurement],
        wanted: Sequence[WantedPass],
        start: Start,
    ) -> None:
        """Moves what finished passes left into the store."""
        names = {measurement.name for measurement in taken}
        for one in wanted:
            if one.name in names:
                continue
            try:
                answer = answers.answer(one.name)
                if answer is None:
                    continue
                measurement = self._measurement(answers, answer, one, start)
            except AnswerError as error:
                measurement = self._failed(
                    one, Status.CRASHED, str(error), start, log_tail(self.log)
                )
            if measurement.status is Status.OK:
                self.store.keep(measurement, measurement.fingerprint)
            taken.append(measurement)

    def _measurement(
        self, answers: ResultFolder, answer: PassAnswer, wanted: WantedPass, start: Start
    ) -> Measurement:
        if answer.error is not None:
            reason = answer.error.sentence()
            return self._failed(wanted, Status.JOB_FAILED, reason, start, log_tail(self.log))
        files = {
            head: answers.output(wanted.name, head, answer, self.site.images)
            for head, _ in self.site.heads
        }
        shares = (
            self.share_of(answers.file(wanted.name, answer.executed)) if answer.executed else None
        )
        latency = answer.latency
        return Measurement(
            fingerprint=wanted.fingerprint,
            name=wanted.name,
            repeat=wanted.repeat,
            status=Status.OK,
            model_sha256=wanted.model.sha256,
            table=wanted.table,
            placement=wanted.placement,
            outputs={head: self.store.adopt(path) for head, path in files.items()},
            latency=Timing(
                batch=latency.batch, samples_s=latency.samples_s, warm_up=latency.warm_up
            )
            if latency
            else None,
            stages=answer.stages,
            shares=shares,
            start=start,
        )

    @staticmethod
    def _failed(
        wanted: WantedPass, status: Status, reason: str, start: Start, tail: str
    ) -> Measurement:
        return Measurement(
            fingerprint=wanted.fingerprint,
            name=wanted.name,
            repeat=wanted.repeat,
            status=status,
            reason=reason,
            model_sha256=wanted.model.sha256,
            table=wanted.table,
            placement=wanted.placement,
            log_tail=tail,
            start=start,
        )

    def _facts(
        self, answers: ResultFolder, command: tuple[str, ...], started: str, wall_s: float
    ) -> Start:
        return Start(
            environment=self.site.environment.name,
            device=self.site.device,
            identity=self.site.identity.facts,
            probe=answers.probe(),
            command=command,
            started=started,
            wall_s=wall_s,
        )

    def _folders(self, folder: Path, objects: Sequence[Object]) -> tuple[Path, Path]:
        request, result = folder / "request", folder / "result"
        request.mkdir()
        result.mkdir()
        for one in {stored.file: stored for stored in (*objects, self.site.evaluation)}.values():
            same_file_system_link(self.store.path(one), request / one.file)
        return request, result

    def _write_request(
        self,
        folder: Path,
        wanted: Sequence[WantedPass],
        calibration: WantedCalibration | None,
    ) -> None:
        protocol.write_json(
            str(folder / protocol.REQUEST),
            {
                "schema_version": protocol.SCHEMA_VERSION,
                "engine": self.site.environment.engine,
                "engine_options": dict(self.site.engine_options),
                "input": self.site.input,
                "heads": [list(pair) for pair in self.site.heads],
                "evaluation": self.site.evaluation.file,
                "calibration": {
                    "model": calibration.model.file,
                    "images": calibration.images.file,
                    "tensors": list(calibration.tensors),
                    "algorithms": [dict(one) for one in calibration.algorithms],
                }
                if calibration
                else None,
                "passes": [
                    {
                        "name": one.name,
                        "precision": str(one.precision),
                        "model": one.model.file,
                        "table": None,
                        "compare_with": one.compare_with
                        if one.compare_with in {other.name for other in wanted}
                        else None,
                    }
                    for one in wanted
                ],
                "timing": dict(self.timing) if self.timing else None,
            },
        )
