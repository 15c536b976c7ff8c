"""Which repeats of two cells can be compared: those of one round, in which both had their turn.

What a round has in common (clocks, heat, neighbours) is in both cells alike and cancels. What a place
within the round costs does not: whichever cell ran later may be slower for that alone. So the rounds
in which one cell ran first and those in which the other did count alike, however many there are of each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trt_matrix.core.cells import Status
from trt_matrix.core.evidence import timed
from trt_matrix.core.records import Measurement, Record


@dataclass(frozen=True, slots=True)
class Repeat:
    """One repeat of one cell."""

    log: float
    """ln of the median of its samples, in seconds per inference."""
    started: datetime | None
    """None where nobody knows."""


@dataclass(frozen=True, slots=True)
class TimedCell:
    """One cell's latency."""

    record: Record
    repeats: Mapping[int, Repeat]
    """Number of the repeat → what it gave; those on a disturbed GPU are left out, unless all are."""
    disturbed: bool
    """Whether its GPU was, in every repeat."""
    batch: int
    """Images per inference."""

    def at(self, logs: Mapping[int, float]) -> "TimedCell":
        """Returns it with other logarithms: repeat → x."""
        repeats = {at: replace(repeat, log=logs[at]) for at, repeat in self.repeats.items()}
        return replace(self, repeats=repeats)

    @property
    def group(self) -> tuple[str, str]:
        """Device and pass: cells of one group are compared with each other."""
        return self.record.device, self.record.pass_.name

    @property
    def key(self) -> tuple[str, ...]:
        """The same for cells that share their measurements."""
        return tuple(measurement.fingerprint for measurement in self.record.measurements)


def timed_cell(record: Record) -> TimedCell | None:
    """Returns a cell's latency; None where nothing of it was timed."""
    measured = timed(record)
    if record.status is not Status.OK or not measured:
        return None
    medians = {
        measurement.repeat: float(np.median(measurement.latency.samples_s))
        for measurement in measured
        if measurement.latency
    }
    if not all(median > 0 and math.isfinite(median) for median in medians.values()):
        return None
    return TimedCell(
        record,
        {
            measurement.repeat: Repeat(math.log(medians[measurement.repeat]), _started(measurement))
            for measurement in measured
        },
        disturbed=all(
            measurement.start and measurement.start.disturbed for measurement in measured
        ),
        batch=next(measurement.latency.batch for measurement in measured if measurement.latency),
    )


def _started(measurement: Measurement) -> datetime | None:
    try:
        started = datetime.fromisoformat(measurement.start.started if measurement.start else "")
    except ValueError:
        return None
    return started if started.tzinfo else started.replace(tzinfo=UTC)


def places(cells: Sequence[TimedCell], numbers: Sequence[int]) -> npt.NDArray[np.float64]:
    """Returns how many of the cells were before each in its round, shape (cells, rounds).

    NaN where a cell was not measured in a round, and in a whole round where nobody knows when.
    """
    before = np.full((len(cells), len(numbers)), np.nan)
    for column, number in enumerate(numbers):
        repeats = {row: cell.repeats.get(number) for row, cell in enumerate(cells)}
        begun = {row: repeat.started for row, repeat in repeats.items() if repeat}
        known = sorted((when, row) for row, when in begun.items() if when is not None)
        if len(known) == len(begun):
            for place, (_, row) in enumerate(known):
                before[row, column] = place
    return before


@dataclass(frozen=True)
class LatencyPair:
    """A cell and what it is compared with."""

    cell: TimedCell
    base: TimedCell

    @cached_property
    def common(self) -> tuple[int, ...]:
        """Repeats that both have."""
        return tuple(sorted(self.cell.repeats.keys() & self.base.repeats.keys()))

    @cached_property
    def after(self) -> Mapping[int, bool]:
        """Round → whether the cell ran after the base in it; only repeats that were one round.

        They were not where another repeat of either began between the two: then they belong to
        different runs, and what changed from one to the other is in their difference.
        """
        begun = [
            (repeat.started, number)
            for side in (self.cell, self.base)
            for number, repeat in side.repeats.items()
            if repeat.started is not None
        ]
        # Two of one repeat that are next to each other in time.
        beside = {
            number for (_, number), (_, following) in pairwise(sorted(begun)) if number == following
        }
        after = {}
        for number in self.common:
            mine, its = self.cell.repeats[number].started, self.base.repeats[number].started
            if number in beside and mine is not None and its is not None and mine != its:
                after[number] = mine > its
        return after

    @property
    def alike(self) -> bool:
        """Whether they were timed in the same way, and neither was disturbed."""
        disturbed = self.cell.disturbed or self.base.disturbed
        return self.cell.batch == self.base.batch and not disturbed

    @property
    def together(self) -> bool:
        """Whether two rounds or more hold both; else they can only be suspected of a difference."""
        return len(self.after) > 1

    @property
    def rounds(self) -> tuple[int, ...]:
        """Those that are looked at: what was measured apart is, where there is nothing else."""
        return tuple(self.after) if self.together else self.common

    @property
    def balanced(self) -> bool:
        """Whether the cell ran both before and after the base."""
        return self.together and len(set(self.after.values())) > 1

    @cached_property
    def apart(self) -> Mapping[int, float]:
        """Round → x of the cell less x of the base, of `rounds`."""
        mine, its = self.cell.repeats, self.base.repeats
        return {number: mine[number].log - its[number].log for number in self.rounds}

    @cached_property
    def log(self) -> float:
        """How many times longer the cell takes, as ln: half from rounds of either order."""
        return self.mean(self.apart)

    def mean(self, by_round: Mapping[int, float]) -> float:
        """Returns the mean over rounds, half from those of either order."""
        return sum(
            sum(by_round[number] for number in order) / len(order) / len(self._orders)
            for order in self._orders
        )

    @cached_property
    def share(self) -> float:
        """Variance of `log` in variances of the difference of one round: 1/K where balanced."""
        return sum(1 / len(order) for order in self._orders) / max(len(self._orders), 1) ** 2

    @cached_property
    def own(self) -> tuple[float, int]:
        """Variance of the difference between rounds, and its degrees of freedom."""
        values = list(self.apart.values())
        # From the first one, so that equal rounds have no spread, not that of rounding.
        shifted = np.array(values) - values[0] if values else np.zeros(0)
        return (float(np.var(shifted, ddof=1)) if len(values) > 1 else 0.0), max(len(values) - 1, 0)

    @cached_property
    def _orders(self) -> list[list[int]]:
        """Returns the rounds of each order."""
        by_order: dict[bool, list[int]] = {}
        for number in self.rounds:
            by_order.setdefault(self.together and self.after[number], []).append(number)
        return list(by_order.values())
