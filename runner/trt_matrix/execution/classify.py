"""Whose failure was it: pure functions from evidence to status and reason."""

import signal
from collections.abc import Sequence

from trt_matrix.core.cells import Status
from trt_matrix.environments.base import Ending


def classify(
    ending: Ending, stage: str | None, answer: str | None, problem: str | None = None
) -> tuple[Status, str]:
    """Names how a job ended that left at least one pass without an answer.

    `stage` is the last that it entered, None where it entered none; `answer` the error in its own valid result, None
    where there was none; `problem` why that could not be read, where it wrote one.
    """
    where = f"in stage '{stage}'" if stage else "before its first stage"
    if ending.error:
        return Status.UNAVAILABLE, ending.error
    if ending.stopped:
        return Status.CRASHED, f"stopped {where}: {ending.stopped}"
    if ending.timed_out:
        return Status.TIMED_OUT, f"no end after {ending.wall_s:.0f} s, {where}; see deadline_s"
    if ending.oom_killed:
        return Status.CRASHED, f"killed for memory {where}"
    if ending.signal is not None:
        return Status.CRASHED, f"ended by {_signal_name(ending.signal)} {where}"
    if ending.exit_code != 0:
        return Status.CRASHED, f"exit code {ending.exit_code} {where}, without an answer"
    if answer is None:
        detail = f": {problem}" if problem else ""
        return Status.CRASHED, f"exit code 0 {where}, but no valid answer was written{detail}"
    return Status.JOB_FAILED, answer


def blamed(
    status: Status, stage: str | None, missing: Sequence[str], *, progressed: bool
) -> tuple[str, ...]:
    """Returns which of the passes without an answer failed with this start; the others had no turn.

    A start that ended none of its passes always gets the blame for one, so that starting again with
    the others comes to an end. `stage` is the last that the job entered: those of a pass end with its name.
    `progressed` tells whether this start ended a pass.
    """
    if status in (Status.JOB_FAILED, Status.UNAVAILABLE):
        return tuple(missing)  # the job's, or its environment's, own refusal holds for all
    in_work = (stage or "").partition(" ")[2]
    if in_work in missing:
        return (in_work,)
    return () if progressed else tuple(missing)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
