"""One start of the job: write the request, run it, take each pass in as it ends."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trt_matrix.containers.job import protocol
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.gpus import GpuState, disturbed
from trt_matrix.core.records import Calibration, Measurement, Start, StoredObject
from trt_matrix.core.tables import pooled
from trt_matrix.environments.base import Ending, JobRun
from trt_matrix.execution.answer_models import JobError
from trt_matrix.execution.answers import AnswerError, ResultFolder, log_of_failure, log_tail, taking
from trt_matrix.execution.classify import blamed, classify
from trt_matrix.execution.left import Take, untaken
from trt_matrix.execution.pass_answers import PassTaker, ShareOf, asked_of
from trt_matrix.execution.quota import Quota, QuotaError
from trt_matrix.execution.request import request_of
from trt_matrix.execution.wanted import JobSite, PassRequests, WantedCalibration, WantedPass
from trt_matrix.execution.watch import Watch, facts, settled, unwatched
from trt_matrix.store.results import RunFolder, Store, explained, same_file_system_link, utc_now
from trt_matrix.store.untrusted import extent

LOGS_BYTES = 1 << 20
"""Room for what a start writes beside its outputs."""


class JobStart:
    """One process of the job; what it answers is in the store as soon as it is there."""

    def __init__(
        self,
        run: RunFolder,
        wants: PassRequests,
        site: JobSite,
        *,
        share_of: ShareOf,
        progress: Callable[[str], None],
        log: str,
        watch: Watch = unwatched,
        take: Take = untaken,
    ) -> None:
        """Starts nothing yet; `progress` is called with each stage, `watch` and `take` are as `Jobs` has them.

        `share_of` reads the graph that the engine saved of a network; `log` is a name as `RunFolder.log` takes it.
        """
        self.store: Store = run.store
        self.taker = PassTaker(
            store=run.store, wants=wants, site=site, share_of=share_of, take=take
        )
        self.run_id = run.id
        self.wants = wants
        self.site = site
        self.progress = progress
        self.log = run.log(log)
        self.log_name = self.log.relative_to(run.folder).as_posix()
        self.taken: dict[str, Measurement] = {}
        """pass name → what became of it, in the order in which they ended."""
        self.started = ""
        self.watch = watch
        self.states: tuple[GpuState | None, GpuState | None] = (None, None)
        """Of the GPU, before and after."""

    def passes(
        self, wanted: Sequence[WantedPass], own: Mapping[str, StoredObject] | None = None
    ) -> list[Measurement]:
        """Returns a measurement of each pass that ended or failed; the others had no turn.

        `own` is as `PassRequests.settle_at` takes it.
        """
        with self.store.workspace() as folder:
            answers = self._answers(folder)
            asked = request_of(self.wants, self.site, passes=wanted, own=own)
            ending = self._run(
                folder, asked,
                [
                    *(file for wanted_pass in wanted for file in wanted_pass.variant.objects),
                    *([*self.site.reference.values(), *(own or {}).values()] if "settle" in asked else []),
                ],
                lambda: self._take_finished(answers, wanted),
            )  # fmt: skip
            start = self._facts(answers, ending)
            self._take(answers, wanted, start, ended=True)
            missing = [wanted_pass for wanted_pass in wanted if wanted_pass.name not in self.taken]
            if missing:
                status, reason = self._explain(ending, answers)
                names = blamed(
                    status,
                    answers.stage(),
                    [wanted_pass.name for wanted_pass in missing],
                    progressed=len(missing) < len(wanted),
                )
                for wanted_pass in missing:
                    if wanted_pass.name in names:
                        self.taken[wanted_pass.name] = self._failed(
                            wanted_pass, status, reason, start
                        )
            if any(measurement.status is not Status.OK for measurement in self.taken.values()):
                self._require(answers)
        # Passes taken while the job ran knew neither its length nor its last probe, nor all that it said of them.
        measurements = [
            taken.model_copy(update={"start": start, "log_tail": self._log_of(taken)})
            for taken in self.taken.values()
        ]
        for measurement in measurements:
            self._keep(measurement)
        return measurements

    def calibration(self, wanted: WantedCalibration) -> Calibration:
        with self.store.workspace() as folder:
            answers = self._answers(folder)
            request = request_of(self.wants, self.site, calibration=wanted)
            ending = self._run(folder, request, [wanted.model, wanted.images], lambda: None)
            start = self._facts(answers, ending)
            problem = None
            try:
                answer = answers.calibration()
                if answer:
                    _check_algorithms(wanted, answer.algorithms)
            except AnswerError as error:
                answer, problem = None, str(error)
            if answer is None:
                self._require(answers)
                status, reason = self._explain(ending, answers, problem)
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
                tables=self._with_pools(answer.algorithms),
                unusable=answer.unusable,
                seen=answer.seen,
                clipped=self._with_pools(answer.clipped),
                seconds=answer.seconds,
                start=start,
            )

    def _with_pools(
        self, by_algorithm: Mapping[str, Mapping[str, float]]
    ) -> Mapping[str, Mapping[str, float]]:
        """Returns algorithm → tensor → value as TensorRT has it of a MaxPool's output."""
        pools = self.wants.network.max_pools
        return {
            name: pooled.take_inputs(values, pools) if name in pooled.ALGORITHMS else values
            for name, values in by_algorithm.items()
        }

    @property
    def _needed_bytes(self) -> int:
        """Returns how much free disk a start needs at least: for one pass's outputs and its logs."""
        outputs = sum(math.prod(shape) for shape in self.site.shapes.values())
        return LOGS_BYTES + np.dtype(np.float32).itemsize * outputs

    def _answers(self, folder: Path) -> ResultFolder:
        return ResultFolder(folder / "result", self.wants.settings.results_bytes)

    def _require(self, answers: ResultFolder) -> None:
        """Raises StoreError where a start failed for want of room that it did not take itself."""
        self.store.require(self._needed_bytes - extent(answers.folder).size_bytes)

    def _run(
        self,
        folder: Path,
        request: Mapping[str, Any],
        objects: Sequence[StoredObject],
        collect: Callable[[], None],
    ) -> Ending:
        """Runs the job in `folder`, which gets request/ and result/; calls `collect` meanwhile."""
        asked, result = folder / "request", folder / "result"
        with explained(folder):
            asked.mkdir()
            result.mkdir()
            for name, stored in {
                stored.file: stored
                for stored in (
                    *objects,
                    *self.wants.files_at(self.site),
                    self.wants.data.evaluation,
                )
            }.items():
                same_file_system_link(self.store.path(stored), asked / name)
            protocol.write_json(str(asked / protocol.REQUEST), request)
        answers = self._answers(folder)
        quota = Quota(result, self.wants.settings.results_bytes)

        def tick() -> None:
            self.progress(answers.stage() or "start")
            quota.check()
            collect()

        before = settled(self.watch, self.site.device)
        self.started = utc_now().isoformat()
        try:
            ending = self.site.environment.run(
                JobRun(
                    request=asked,
                    result=result,
                    log=self.log,
                    deadline_s=self.wants.settings.deadline_s,
                    tick=tick,
                    device=self.site.device,
                    run_id=self.run_id,
                )
            )
        except QuotaError as error:
            ending = Ending(exit_code=None, stopped=str(error))
        self.states = before, self.watch(self.site.device)
        return ending

    def _take_finished(self, answers: ResultFolder, wanted: Sequence[WantedPass]) -> None:
        waiting = [wanted_pass.name for wanted_pass in wanted if wanted_pass.name not in self.taken]
        if any(answers.finished(name) for name in waiting):
            start = self._facts(answers, Ending(exit_code=None))
            self._take(answers, wanted, start, ended=False)

    def _take(
        self, answers: ResultFolder, wanted: Sequence[WantedPass], start: Start, *, ended: bool
    ) -> None:
        """Moves what finished passes left into the store."""
        for wanted_pass in wanted:
            if wanted_pass.name in self.taken:
                continue
            try:
                with taking(f"the answer of {wanted_pass.name}"):
                    answer = answers.answer(wanted_pass.name, ended=ended)
                    if answer is None:
                        continue
                    measurement = (
                        self.taker.measurement(answers, answer, wanted_pass, start)
                        if answer.error is None
                        else self._failure(answer.status, answer.error, wanted_pass, start)
                    )
            except AnswerError as error:
                measurement = self._failed(
                    wanted_pass, Status.CRASHED, self._see_log(str(error)), start
                )
            self._keep(measurement)
            self.taken[wanted_pass.name] = measurement

    def _keep(self, measurement: Measurement) -> None:
        """Stores a success; a failure is tried again by the next run."""
        if measurement.status is Status.OK:
            self.store.keep(measurement, measurement.fingerprint)

    def _failure(
        self, status: str, error: JobError, wanted: WantedPass, start: Start
    ) -> Measurement:
        """Returns the failure that the job told of."""
        if Status(status) is Status.UNSUPPORTED:
            return self._failed(wanted, Status.UNSUPPORTED, error.message, start)
        return self._failed(wanted, Status(status), self._see_log(error.sentence()), start)

    def _log_of(self, taken: Measurement) -> str | None:
        if taken.log_tail is None:
            return None
        return log_of_failure(self.log, taken.name) or taken.log_tail

    def _failed(self, wanted: WantedPass, status: Status, reason: str, start: Start) -> Measurement:
        return Measurement(
            **asked_of(wanted),
            status=status,
            reason=reason,
            log_tail=log_tail(self.log),
            start=start,
        )

    def _explain(
        self, ending: Ending, answers: ResultFolder, problem: str | None = None
    ) -> tuple[Status, str]:
        """Says how a start ended that left something without an answer."""
        by_job = None
        try:
            job = answers.job()
            by_job = job.sentence() if job and job.status == "job_failed" else None
        except AnswerError as error:
            problem = problem or str(error)
        status, reason = classify(ending, answers.stage(), by_job, problem)
        return status, reason if status is Status.UNAVAILABLE else self._see_log(reason)

    def _see_log(self, reason: str) -> str:
        return f"{reason}; see {self.log_name}"

    def _facts(self, answers: ResultFolder, ending: Ending) -> Start:
        before, after = self.states
        return Start(
            environment=self.site.environment.name,
            device=self.site.device,
            identity=self.site.identity.facts,
            probe=answers.probe(),
            command=ending.command,
            started=self.started if ending.started is None else ending.started,
            wall_s=ending.wall_s,
            gpu=facts(before, after),
            disturbed=disturbed(before, after) if before and after else None,
        )


def _check_algorithms(wanted: WantedCalibration, tables: Mapping[str, Any]) -> None:
    missing = [
        algorithm["name"] for algorithm in wanted.algorithms if algorithm["name"] not in tables
    ]
    if missing:
        raise AnswerError(f"{protocol.CALIBRATION} lacks the algorithms {', '.join(missing)}")
