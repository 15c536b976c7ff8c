"""The learning curve: what a table of 1, 4, 16, … calibration images keeps, over several draws; pure.

Of each size but the whole set several subsets are drawn. What the last four times as many images gained, from
a quarter to the whole set, is the most that the next four times gain, as long as the curve flattens: so "more
images of this kind will not help" is a bound on that last gain, and "still gaining" its test. Draws of a
quarter scatter with variance s²; the whole set is one draw of a larger world, with four times the images and
so about s² / 4. Rare images that no draw held are in no curve.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trt_matrix.core.verdicts.student import half_width

QUADRUPLE = 4
DRAWS = 4
"""Of each size but the whole set."""
LEAST_IMAGES = 4
"""Of the last draws but one: draws of fewer scatter by what one image shows, and few of them are different."""
LEVEL = 0.05
"""Of each side of a claim."""


class Trend(StrEnum):
    ENOUGH = "enough"
    """More images of this kind gain less than the least effect."""
    GAINS = "gains"
    """The last four times as many gained more than that."""
    WORSE = "worse"
    """They lost more than that: the widest images decide."""
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    images: int
    sqnr_db: tuple[float, ...]
    """A draw each."""

    @property
    def mean_db(self) -> float:
        return statistics.fmean(self.sqnr_db)

    @property
    def half_db(self) -> float | None:
        """Returns half of the 95 % interval of one draw's mean; None with one draw."""
        if len(self.sqnr_db) < 2:
            return None
        variance = statistics.variance(self.sqnr_db) / len(self.sqnr_db)
        return half_width((variance, len(self.sqnr_db) - 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """How one head fares with more images."""

    head: str
    points: tuple[Point, ...]
    """The fewest images first; the last is the whole set."""
    trend: Trend
    gain_db: float
    """From the last but one to the whole set; above 0 where more images helped."""
    bound_db: float
    """The most that it may be (ENOUGH, UNDECIDED), or the least (GAINS), or the least loss (WORSE)."""


def counts(images: int) -> tuple[int, ...]:
    """Returns the sizes to try: the whole set, a quarter of it, and so on to one to three images."""
    sizes = [images]
    while sizes[-1] >= QUADRUPLE or (len(sizes) == 1 and images > 1):
        sizes.append(max(1, sizes[-1] // QUADRUPLE))
    return tuple(reversed(sizes))


def curve(head: str, points: Sequence[Point], least_db: float) -> Curve | None:
    """Returns what a head's curve says; None where it has no two sizes.

    A gain below `least_db` is none.
    """
    ordered = tuple(sorted(points, key=lambda point: point.images))
    if len(ordered) < 2 or not all(math.isfinite(db) for point in ordered for db in point.sqnr_db):
        return None
    before, whole = ordered[-2], ordered[-1]
    gain = whole.mean_db - before.mean_db
    if len(before.sqnr_db) < 2 or before.images < LEAST_IMAGES:
        return Curve(
            head=head, points=ordered, trend=Trend.UNDECIDED, gain_db=gain, bound_db=math.inf
        )
    scatter = statistics.variance(before.sqnr_db)
    # The mean of the draws, and the whole set as one draw.
    parts = (scatter / len(before.sqnr_db) + scatter / QUADRUPLE, len(before.sqnr_db) - 1)
    half = half_width(parts, level=LEVEL)
    trend, bound = Trend.UNDECIDED, gain + half
    if gain + half < least_db and gain - half > -least_db:
        trend = Trend.ENOUGH
    elif gain - half > least_db:
        trend, bound = Trend.GAINS, gain - half
    elif gain + half < -least_db:
        trend, bound = Trend.WORSE, -(gain + half)
    return Curve(head=head, points=ordered, trend=trend, gain_db=gain, bound_db=bound)


def curves(
    draws: Mapping[str, Mapping[int, Sequence[float]]], least_db: float
) -> tuple[Curve, ...]:
    """Returns the curves of all heads; head → images → SQNR of each draw, in dB."""
    of_heads = (
        curve(
            head,
            [Point(images=number, sqnr_db=tuple(dbs)) for number, dbs in points.items() if dbs],
            least_db,
        )
        for head, points in draws.items()
    )
    return tuple(of_head for of_head in of_heads if of_head)
