import signal

import pytest

from trt_matrix.core.cells import Status
from trt_matrix.environments.base import Ending
from trt_matrix.execution.classify import classify


@pytest.mark.parametrize(
    ("ending", "stage", "answer", "status", "words"),
    [
        (Ending(exit_code=None, error="no such file: /x"), None, None, Status.UNAVAILABLE, "/x"),
        (
            Ending(exit_code=None, timed_out=True, signal=signal.SIGKILL, wall_s=60.2),
            "infer int8-own-entropy",
            None,
            Status.TIMED_OUT,
            "no end after 60 s, in stage 'infer int8-own-entropy'",
        ),
        (
            Ending(exit_code=None, signal=signal.SIGKILL, oom_killed=True),
            "build fp32",
            None,
            Status.CRASHED,
            "killed for memory in stage 'build fp32'",
        ),
        (
            Ending(exit_code=None, signal=signal.SIGSEGV),
            "infer fp32",
            None,
            Status.CRASHED,
            "ended by SIGSEGV in stage 'infer fp32'",
        ),
        (Ending(exit_code=None, signal=250), None, None, Status.CRASHED, "signal 250 before"),
        (Ending(exit_code=3), "probe", None, Status.CRASHED, "exit code 3 in stage 'probe'"),
        (Ending(exit_code=0), "probe", None, Status.CRASHED, "no valid answer"),
        (
            Ending(exit_code=0),
            "probe",
            "probe: ImportError: no numpy",
            Status.JOB_FAILED,
            "no numpy",
        ),
    ],
)
def test_evidence_becomes_a_status_and_a_reason(
    ending: Ending, stage: str | None, answer: str | None, status: Status, words: str
) -> None:
    found, reason = classify(ending, stage, answer)
    assert found is status
    assert words in reason


def test_a_job_that_died_after_its_answer_is_not_believed() -> None:
    """An answer counts only with exit code 0: the process may have died while writing more."""
    status, _ = classify(Ending(exit_code=None, signal=signal.SIGABRT), "time fp32", "told")
    assert status is Status.CRASHED
