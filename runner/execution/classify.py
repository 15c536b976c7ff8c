"""Whose failure was it: pure functions from evidence to status and reason."""

import signal

from runner.environments.base import Ending
from runner.plan import Status


def classify(ending: Ending, stage: str | None, answer: str | None) -> tuple[Status, str]:
    """Names how a job ended that left at least one pass without an answer.

    Args:
        ending: What was seen from outside.
        stage: The stage that the job entered last, None where it entered none.
        answer: The error in the job's own valid result; None where there was no such answer.
    """
    where = f"in stage '{stage}'" if stage else "before its first stage"
    if ending.error:
        return Status.UNAVAILABLE, ending.error
    if ending.timed_out:
        return Status.TIMED_OUT, f"no end after {ending.wall_s:.0f} s, {where}; see deadline_s"
    if ending.oom_killed:
        return Status.CRASHED, f"killed for memory {where}"
    if ending.signal is not None:
        return Status.CRASHED, f"ended by {_signal_name(ending.signal)} {where}"
    if ending.exit_code != 0:
        return Status.CRASHED, f"exit code {ending.exit_code} {where}, without an answer"
    if answer is None:
        return Status.CRASHED, f"exit code 0 {where}, but no valid answer was written"
    return Status.JOB_FAILED, answer


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
