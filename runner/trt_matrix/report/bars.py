"""Where the marks of the charts stand: pure geometry in percent of a chart's width, no markup."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trt_matrix.core.latency import Latency
from trt_matrix.core.verdicts.budget import Budget

OUTLIER = 6
"""A scale ends at this multiple of the median at the latest, or one broken build flattens all else."""
TICKS = 6
"""Steps an axis has at most, its open end left out."""
ROOM = 1.04
"""Share of the scale beyond the largest mark."""
INTERVAL_REACH = 1.25
"""An interval is drawn to this multiple of its value at the least, further where there is room."""
GATE_REACH = 1.5
"""A gate is drawn where it lies within this multiple of the largest value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BarScale:
    """A linear axis from 0 to `end`, shared by every bar of one chart."""

    end: float
    ticks: tuple[float, ...]
    """Round values from 0 to at most `end`, in the unit of the data."""
    exponent: int
    """Power of ten, a multiple of 3, that numbers beside the chart are divided by."""
    decimals: int
    """Digits after the point of numbers beside the chart: the largest has 4 significant ones, all align."""

    def at(self, value: float) -> float:
        """Returns the place of `value` in percent of the width, kept inside the chart."""
        if math.isnan(value):
            message = "NaN has no place on a scale"
            raise ValueError(message)
        return round(100 * min(max(value / self.end, 0.0), 1.0), 2)

    def scaled(self, value: float) -> float:
        """Returns `value` divided by the axis' power of ten."""
        return float(value / 10.0**self.exponent)

    @property
    def tick_decimals(self) -> int:
        """Digits after the point that tell neighbouring ticks apart."""
        step = self.scaled(self.ticks[1]) if len(self.ticks) > 1 else 1.0
        return max(0, -math.floor(math.log10(step) + 1e-9))


def scale(values: Iterable[float]) -> BarScale:
    """Returns an axis that holds `values`, outliers left out; from 0 to 1 where there is none.

    What is not finite or not positive does not count.
    """
    positive = sorted(value for value in values if math.isfinite(value) and value > 0)
    if not positive:
        return BarScale(end=1.0, ticks=(0.0, 0.5, 1.0), exponent=0, decimals=2)
    largest = min(positive[-1], OUTLIER * statistics.median(positive))
    end = largest * ROOM
    step = round_step(end / TICKS)
    magnitude = math.floor(math.log10(largest))
    exponent = 3 * (magnitude // 3)
    return BarScale(
        end=end,
        ticks=tuple(index * step for index in range(math.floor(end / step + 1e-9) + 1)),
        exponent=exponent,
        decimals=3 - (magnitude - exponent),
    )


def round_step(least: float) -> float:
    """Returns the smallest of 1, 2, 5 × 10ⁿ that is at least `least`."""
    magnitude = 10.0 ** math.floor(math.log10(least))
    return next(
        factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= least * (1 - 1e-9)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BarSegment:
    kind: str
    """`limit`, `calibration`, `engine`, or `gain` where the engine did better than simulated."""
    start: float
    width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetBar:
    """One stacked bar; all places in percent of the chart's width."""

    segments: tuple[BarSegment, ...]
    observed: float
    whisker: tuple[float, float] | None
    """95 % interval of the observed error; None where it is unknown."""
    beyond: bool
    """The bar goes on past the end of the scale."""


def budget_scale(budgets: Sequence[Budget], gate_nmse: float | None) -> BarScale:
    """Returns one NMSE axis for all `budgets` of a head, with the gate on it where it lies near."""
    ends = [max(_end(budget), budget.limit + budget.calibration) for budget in budgets]
    axis = scale(ends)
    if gate_nmse is not None and ends and axis.end < gate_nmse <= GATE_REACH * axis.end:
        return scale([gate_nmse])
    return axis


def _end(budget: Budget) -> float:
    """Returns how far a bar and its interval reach; a wide interval is cut, or it flattens all bars."""
    high = budget.intervals.get("observed", (0.0, budget.observed))[1]
    return max(budget.observed, min(high, INTERVAL_REACH * budget.observed))


def budget_bar(budget: Budget, axis: BarScale) -> BudgetBar:
    """Stacks limit, calibration and engine from the left.

    A negative engine part runs back from the simulated error to the observed one and gets a kind of
    its own (`gain`): it is drawn over what it takes away.
    """
    simulated = budget.limit + budget.calibration
    observed = simulated + budget.engine
    interval = budget.intervals.get("observed")
    kind = "engine" if budget.engine >= 0 else "gain"
    return BudgetBar(
        segments=tuple(
            _segment(kind, start, end, axis)
            for kind, start, end in (
                ("limit", 0.0, budget.limit),
                ("calibration", budget.limit, simulated),
                (kind, min(simulated, observed), max(simulated, observed)),
            )
        ),
        observed=axis.at(observed),
        whisker=None if interval is None else (axis.at(interval[0]), axis.at(interval[1])),
        beyond=max(simulated, observed) > axis.end,
    )


def _segment(kind: str, start: float, end: float, axis: BarScale) -> BarSegment:
    left, right = axis.at(start), axis.at(end)
    return BarSegment(kind=kind, start=left, width=round(max(right - left, 0.0), 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyMark:
    """How the samples spread, in percent of the chart's width."""

    median: float
    spread: tuple[float, float] | None
    """5th to 90th percentile; None in runs that kept no more than medians."""
    middle: tuple[float, float] | None
    """The middle half: 25th to 75th percentile."""
    tail: float
    """99th percentile."""
    beyond: bool
    """The 99th percentile lies past the end of the scale."""
    rounds: tuple[float, ...]
    """Median of each repeat; empty with one."""

    @property
    def width(self) -> float:
        """Of the middle half."""
        return round(self.middle[1] - self.middle[0], 2) if self.middle else 0.0


def latency_scale(latencies: Iterable[Latency]) -> BarScale:
    """Returns an axis that holds nine samples of ten; a rare slow one may lie beyond."""
    return scale(max(latency.high_s, latency.p90_s) for latency in latencies)


def latency_mark(latency: Latency, axis: BarScale) -> LatencyMark:
    low, quarter, three = latency.p5_s, latency.p25_s, latency.p75_s
    return LatencyMark(
        median=axis.at(latency.median_s),
        spread=None if low is None else (axis.at(low), axis.at(latency.p90_s)),
        middle=None if quarter is None or three is None else (axis.at(quarter), axis.at(three)),
        tail=axis.at(latency.p99_s),
        beyond=latency.p99_s > axis.end,
        rounds=tuple(axis.at(median) for median in latency.rounds_s)
        if len(latency.rounds_s) > 1
        else (),
    )
