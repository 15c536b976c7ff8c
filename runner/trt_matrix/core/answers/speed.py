"""Is int8 worth its time? It is compared with the fp32 of the same place, by the intervals of both medians."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from trt_matrix.core.cells import FP32
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import CellResult, Judgement, SlowCause, SlowInt8
from trt_matrix.core.latency import Latency
from trt_matrix.core.words import listed, span

TEN_MS = 0.01
"""Where all take less, times are told to a hundredth of a millisecond."""
SLOWER = 1.02
"""Beyond so many times fp32's time, with intervals apart, int8 is called slower; the inverse is faster."""

ANY_GPU = "gpu:*"
"""What a device is called where it is not told which GPU it was."""
FAR = 1.5
"""Times fp32's time from which on it is told how many."""
MOST_CAUSES = 2
"""Told of a device."""


MOST_APART = timedelta(minutes=3)
"""Between the newest rounds of two cells of one device, whose times are compared."""


class SpeedPair(NamedTuple):
    """An int8 cell with the fp32 of its environment and device, both timed with one batch."""

    result: CellResult
    int8: Latency
    fp32: Latency

    @property
    def ratio(self) -> float:
        return self.int8.median_s / self.fp32.median_s

    @property
    def slower(self) -> bool:
        return self.ratio > SLOWER and self.int8.low_s > self.fp32.high_s

    @property
    def faster(self) -> bool:
        return self.ratio < 1 / SLOWER and self.int8.high_s < self.fp32.low_s


def pairs(results: Sequence[CellResult]) -> tuple[SpeedPair, ...]:
    """Returns every int8 cell that can be held against its own fp32, in the order of the matrix."""
    fp32 = {result.place: result.latency for result in results if result.pass_ == FP32}
    return tuple(
        SpeedPair(result, result.latency, base)
        for result in results
        if result.pass_.is_int8
        and result.status.ok
        and not result.pass_.mixed
        and result.latency
        and (base := fp32.get(result.place))
        and base.median_s > 0
        and base.batch == result.latency.batch
    )


def cost(judgement: Judgement) -> str:
    """Returns what int8's time is beside fp32's, over all places; empty where nothing was timed.

    A device a sentence, since what is slow on one says nothing of another.
    """
    by_device = grouped((pair.result.device, pair) for pair in pairs(judgement.cells))
    why = {int8.cell: int8 for int8 in judgement.slow}
    told = [
        text
        for device, on_device in by_device.items()
        for text in (_device(device, on_device, why), *_why(on_device, why))
    ]
    busy = [result.id for result in judgement.cells if result.latency_disturbed]
    if busy:
        told.append(
            f"Something else ran on the machine while {listed(busy, 1)} was timed: do not trust "
            f"{'its time' if len(busy) == 1 else 'those times'}."
        )
    return " ".join(told)


def _device(device: str, some: Sequence[SpeedPair], why: Mapping[str, SlowInt8]) -> str:
    slower = [pair for pair in some if pair.slower]
    faster = [pair for pair in some if pair.faster]
    ratios = f"{span(pair.ratio for pair in some)} times FP32's time"
    int8, fp32 = [pair.int8.median_s for pair in some], [pair.fp32.median_s for pair in some]
    batch = some[0].int8.batch
    decimals = 2 if max(*int8, *fp32) < TEN_MS else 1
    milliseconds = f"{_ms(int8, decimals)} against {_ms(fp32, decimals)} ms"
    of = "" if batch == 1 else f" of {batch} images"
    where = f"on {'a GPU' if device == ANY_GPU else device} ({milliseconds} an inference{of})"
    if len(slower) == len(some):
        far = min(pair.ratio for pair in some) >= FAR
        by = f"{span(pair.ratio for pair in some)} times " if far else ""
        return f"INT8 is {by}slower than FP32 {where}: as it is, it is not worth it."
    if len(faster) == len(some):
        return f"INT8 takes {ratios} {where}."
    open_ = [pair for pair in some if not pair.slower and not pair.faster]
    scattered = [
        slow_int8 for slow_int8 in _known(open_, why) if slow_int8.cause is SlowCause.SCATTER
    ]
    since = f": {_clause(scattered, of=len(open_))}" if scattered else ""
    if len(open_) == len(some):
        # A median that is far below, with intervals that overlap, is no "no faster".
        if scattered or min(pair.ratio for pair in some) * SLOWER < 1:
            return f"Whether INT8 is faster than FP32 {where} is not decided{since}."
        return f"INT8 is no faster than FP32 {where}."
    rest = f"; in {len(open_)} that is not decided{since}" if open_ else ""
    named = [f"{pair.result.environment}, {pair.result.pass_.name}" for pair in slower]
    which = f" ({named[0]})" if len(named) == 1 else ""
    if not faster:
        return (
            f"INT8 is slower than FP32 in {len(slower)} of {len(some)} cells{which} {where}{rest}."
        )
    and_ = f" and slower in {len(slower)}{which}" if slower else ""
    return f"INT8 is faster than FP32 in {len(faster)} of {len(some)} cells{and_} {where}{rest}."


def _why(some: Sequence[SpeedPair], why: Mapping[str, SlowInt8]) -> Iterable[str]:
    """Yields what was measured of why int8 is not faster, a cause a sentence; nothing where nothing explains it."""
    # That repeats scatter is told already, and what else ran at the time is told last.
    told = (None, SlowCause.DISTURBED, SlowCause.SCATTER)
    causes = grouped((int8.cause, int8) for int8 in _known(some, why) if int8.cause not in told)
    for those in sorted(causes.values(), key=len, reverse=True)[:MOST_CAUSES]:
        yield f"Why: {_clause(those, of=len(some))}."


def _known(some: Iterable[SpeedPair], why: Mapping[str, SlowInt8]) -> list[SlowInt8]:
    cells = [pair.result.id for pair in some if not pair.faster]
    return [why[cell] for cell in cells if cell in why]


def _clause(those: Sequence[SlowInt8], *, of: int) -> str:
    """Returns a cause with the numbers of the slowest cell that has it, and in how many of so many cells it is."""
    worst = max(those, key=lambda int8: int8.ratio)
    if of == 1:
        return worst.clause
    if len({int8.clause for int8 in those}) == 1:
        number = "both" if of == 2 else f"all {of}"
        return f"{worst.clause}, in {number if len(those) == of else f'{len(those)} of {of}'} cells"
    rest = len(those) - 1
    others = f"all {rest} others" if rest == of - 1 else f"{rest} more of {of}"
    return f"{worst.clause}, and the like in {'the other' if of == 2 else others}"


def milliseconds(*seconds: float) -> tuple[str, ...]:
    """Returns times in milliseconds, all with the digits that the longest of them needs."""
    decimals = 2 if max(seconds) < TEN_MS else 1
    return tuple(f"{1e3 * second:.{decimals}f}" for second in seconds)


def _ms(seconds: Iterable[float], decimals: int) -> str:
    values = sorted(1e3 * second for second in seconds)
    low, high = f"{values[0]:.{decimals}f}", f"{values[-1]:.{decimals}f}"
    return low if low == high else f"{low} to {high}"


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
        _moment(cell.run.started) for cell in (result, other) if cell.run and cell.run.started
    ]
    if len(starts) < 2:
        return True
    first, last = starts
    return first is not None and last is not None and abs(last - first) <= MOST_APART


def _moment(started: str) -> datetime | None:
    """Returns when a start was; None where what another machine wrote is no time."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
