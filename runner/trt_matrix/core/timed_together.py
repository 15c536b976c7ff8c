"""Whether the times of two cells say something of each other, or of what else the machine did."""

from datetime import UTC, datetime, timedelta

from trt_matrix.core.judgement import CellResult

MOST_APART = timedelta(minutes=3)
"""Between the newest rounds of two cells of one device, whose times are compared."""


def timed_together(result: CellResult, other: CellResult) -> bool:
    """Tells whether two cells were timed while the machine did the same.

    Rounds of all cells are interleaved but those in which layers are tried in float: these come when all
    else is done. A GPU that was watched around both tells of other work; a processor does not.
    """
    late = result.pass_.mixed != other.pass_.mixed
    if late and not (result.watched and other.watched):
        return False
    if (result.environment, result.device) != (other.environment, other.device):
        return True
    starts = [
        _moment(each.run.started) for each in (result, other) if each.run and each.run.started
    ]
    if len(starts) < 2:
        return True
    first, last = starts
    return first is not None and last is not None and abs(last - first) <= MOST_APART


def _moment(started: str) -> datetime | None:
    """Returns when a start was; None where what another machine wrote is no time."""
    try:
        found = datetime.fromisoformat(started)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
