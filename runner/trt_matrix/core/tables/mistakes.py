"""Tables that can be read and are wrong: held against the ranges that the reference sees; pure.

Of every tensor that both know, ln(range of the table / range of the reference) is taken: its median tells a
common factor, its spread (1.4826 · median absolute deviation) whether the two are of one network at all.
Entropy clips: against largest magnitudes real caches (TensorRT 8.5.3 and 8.6, three networks) have medians
of 0.44 to 1, single tensors 0.08 to 1.8, a spread of 0.16 to 0.73 and rank correlations from 0.65 on;
against entropy's own ranges of the same images 0.998 to 1.03, 0.01 to 0.10 and 0.82. So a table is taken for
right where it fits any of the reference's tables: of calibration or evaluation images, largest or clipped.
"""

import math
import statistics
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from trt_matrix.core.tables.table import LEVELS, why_unusable
from trt_matrix.core.tables.trt_cache import from_bits, to_bits

PLAUSIBLE = 3.0
"""A median ratio within 1/3 and 3 is that of other images, or of another algorithm."""
LEAST_TENSORS = 8
"""With fewer nothing is sure."""
LEAST_FOR_NETWORK = 16
"""With fewer a rank correlation of none is chance: 0.3 is exceeded by one in eight."""
UNRELATED = 0.3
"""A rank correlation below is that of another network; of real caches it is 0.65 and more."""
AS_SHUFFLED = 0.7
"""A spread of so much of that between tensors put together at random tells nothing of this network; of real
caches it is up to 0.66 against largest magnitudes, and 0.2 against clipped ones."""
RELATED = 0.5
"""A rank correlation from here on is that of one network."""
NARROW = math.log(1.25)
"""A spread up to here is that of one factor, whatever the correlation."""
WIDE = math.log(2.2)
"""A spread up to here is that of other images or another algorithm too: of real caches it is up to 0.73, and
where the ranges of a network lie as near to each other, their ranks say nothing."""
SAME_FACTOR = 1.35
"""Two factors nearer than this are one: 127 and 255 are 2.0 apart."""
UNSIGNED = LEVELS / 255
EXACT = 0.03
"""Deviation from 127 / 255, and spread, up to which that factor is no chance."""
NOTABLE = math.log(1.5)
"""A common factor from here on is worth a word."""
FAR = 5.0
"""A single range so many times the largest magnitude of all images; in real caches it is up to 1.8 times."""
MAD_TO_DEVIATION = 1.4826
"""Of a normal distribution: its standard deviation over its median absolute deviation."""
SHIFTS = 16
"""Other tensors that each is put together with, to know the spread of what has nothing in common."""

Ranges = Mapping[str, float]
"""Tensor → largest magnitude."""


class MistakeKind(Enum):
    FACTOR = auto()
    """One in all tensors."""
    BYTES = auto()
    INVERSE = auto()
    NETWORK = auto()


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is likely wrong with a table."""

    text: str
    """What is seen, the likely mistake and what to do: `its scales are 127 times …`."""
    sure: bool
    """Whether the table is not to be used; else it is a warning."""
    kind: MistakeKind

    def seen_from(self, ranges: str, preprocessing: str) -> str:
        """Returns the text where it was held against other ranges than the reference's: `B's ranges`."""
        return self.text.replace(REFERENCE, ranges).replace(PREPROCESSING, preprocessing)


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a table lies to one of the reference's."""

    tensors: int
    median: float
    """Ratio of a range of the table to the reference's."""
    spread: float
    """Of ln ratio, robust, as a standard deviation."""
    shuffled: float
    """The same of tensors put together at random."""
    rank: float | None
    """Spearman's correlation of the ranges; None where one side is constant."""

    @property
    def related(self) -> bool:
        """Whether both are of one network, whatever the factor."""
        if self.spread <= NARROW:
            return True
        return self.rank is not None and self.rank >= RELATED

    @property
    def unrelated(self) -> bool:
        if self.tensors < LEAST_FOR_NETWORK or self.rank is None or self.rank >= UNRELATED:
            return False
        # Ranges in reverse order are no chance, however near they lie to each other.
        least = NARROW if self.rank <= -UNRELATED else WIDE
        return self.spread > max(AS_SHUFFLED * self.shuffled, least)

    @property
    def plausible(self) -> bool:
        return 1 / PLAUSIBLE <= self.median <= PLAUSIBLE and not self.unrelated


_Explained = tuple[_Fit, Mistake]
"""What a table is after a mistake is put right, and the mistake."""

REFERENCE = "the reference's ranges"
PREPROCESSING = "the preprocessing of matrix.yaml"
"""Both stand so in every text: `Mistake.seen_from` puts others in their place."""

OTHER_FACTOR = (
    "one factor in all tensors, as another preprocessing or another unit gives; calibrate with "
    f"{PREPROCESSING}, or put the unit right"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FarAbove:
    """A range far above everything that was ever seen of its tensor: most of its steps go to nothing."""

    tensor: str
    amax: float
    seen: float
    """Largest magnitude in any image."""

    @property
    def ratio(self) -> float:
        return self.amax / self.seen


def compared(values: Ranges, seen: Sequence[Ranges]) -> int:
    """Returns how many tensors of a table can be held against ranges; with few nothing is sure."""
    return max((fit.tensors for fit in _fits(values, seen)), default=0)


def far_above(values: Ranges, seen: Sequence[Ranges]) -> tuple[FarAbove, ...]:
    """Returns single ranges that lie far above what was seen, and above the table's others, the furthest first.

    What lies below is clipped, which may be right: nothing is said of it.

    `values` are of tensors whose range is used, `seen` is as of `mistake`, the largest magnitudes among it.
    """
    ranges = [
        FarAbove(tensor=name, amax=amax, seen=max(largest))
        for name, amax in values.items()
        if why_unusable(amax) is None
        and (
            largest := [known[name] for known in seen if why_unusable(known.get(name, 0.0)) is None]
        )
    ]
    if not ranges:
        return ()
    # A factor in all of them is another preprocessing's or other images', and no single range's.
    least = FAR * max(1.0, statistics.median(each.ratio for each in ranges))
    far = [each for each in ranges if each.ratio > least]
    return tuple(sorted(far, key=lambda each: -each.ratio))


def plausible(values: Ranges, seen: Sequence[Ranges]) -> bool:
    """Returns whether a table fits one of the reference's: nothing more is to be looked at."""
    return any(fit.plausible for fit in _fits(values, seen))


def mistake(values: Ranges, seen: Sequence[Ranges], *, scales: bool) -> Mistake | None:
    """Returns what is likely wrong with a table; None where nothing is, or nothing can be told.

    Args:
        values: Tensor → largest magnitude as the table has it, 127 · scale where it has scales; also what
            cannot be a range: negative, NaN.
        seen: The same of the reference, a mapping for each algorithm and set of images. With largest
            magnitudes alone a table that clips much is hard to tell from one that is off by a factor.
        scales: Whether the table holds scales, in bits; else it holds largest magnitudes.
    """
    fits = _fits(values, seen)
    if any(fit.plausible for fit in fits):
        return _small_factor(fits, scales=scales)
    if fits and all(fit.unrelated for fit in fits):
        explanations = [_other_network(_closest(fits), scales=scales)]
    else:
        explanations = [_factor(_closest(fits), scales=scales)] if fits else []
    explanations += _bytes(values, seen) if scales else []
    explanations += _inverse(values, seen, scales=scales)
    # Each explains the table; the one that leaves least is right.
    return min(explanations, key=lambda explained: explained[0].spread)[1] if explanations else None


def _bytes(values: Ranges, seen: Sequence[Ranges]) -> list[_Explained]:
    """Floats that were written in the order of the machine."""
    fits = [fit for fit in _fits(_swapped(values), seen) if fit.plausible and fit.related]
    if not fits:
        return []
    best = _closest(fits)
    text = (
        f"the bytes of its scales stand in reverse: read so, {best.tensors} of {len(values)} are "
        f"{_times(best.median)} what {REFERENCE} ask for, and as they stand they make no sense; "
        "write them big-endian (struct.pack('>f', scale).hex())"
    )
    return [(best, _told(text, best, MistakeKind.BYTES))]


def _swapped(values: Ranges) -> dict[str, float]:
    swapped = {}
    for name, value in values.items():
        try:
            bits = to_bits(value / LEVELS)
        except OverflowError:
            continue
        swapped[name] = LEVELS * from_bits(struct.unpack("<I", struct.pack(">I", bits))[0])
    return swapped


def _inverse(values: Ranges, seen: Sequence[Ranges], *, scales: bool) -> list[_Explained]:
    """Ranges that are small where the reference's are large."""
    usable = {name: value for name, value in values.items() if why_unusable(value) is None}
    right = "scale" if scales else "largest magnitude"
    explanations = []
    for unit, what in (
        (LEVELS**2 if scales else LEVELS, f"1 / scale ({LEVELS} / amax)"),
        (LEVELS if scales else 1, "1 / amax"),
    ):
        inverse = {name: unit / value for name, value in usable.items()}
        fits = [fit for fit in _fits(inverse, seen) if fit.plausible and fit.related]
        if fits:
            best = _closest(fits)
            text = (
                f"its values are small where {REFERENCE} are large: {what} was written where a "
                f"{right} belongs (turned over, {best.tensors} tensors are {_times(best.median)} what "
                f"{REFERENCE} ask for); write {'amax / 127' if scales else 'amax'}"
            )
            explanations.append((best, _told(text, best, MistakeKind.INVERSE)))
    # They differ by 127 alone: the nearer to what is asked for is meant.
    return sorted(explanations, key=lambda explained: abs(math.log(explained[0].median)))[:1]


def _other_network(best: _Fit, *, scales: bool) -> _Explained:
    text = (
        f"its {_subject(scales)} have nothing to do with {REFERENCE}: the ratios of "
        f"{best.tensors} tensors go all over the place (two thirds within a factor of "
        f"{math.exp(best.spread):.1f} about {best.median:.3g}, rank correlation {best.rank or 0:.2f}); "
        "it is likely another network's, or another training's: take the table of this one"
    )
    return best, _told(text, best, MistakeKind.NETWORK)


def _factor(best: _Fit, *, scales: bool) -> _Explained:
    """One factor in all tensors; sure where it is a known one, or hardly varies."""
    cause = _cause(best.median, scales=scales)
    explained = _told(f"{_ratio(best, scales=scales)}: {cause or OTHER_FACTOR}", best)
    sure = explained.sure and (cause is not None or best.spread <= NARROW)
    return best, replace(explained, sure=sure)


def _ratio(fit: _Fit, *, scales: bool) -> str:
    return (
        f"its {_subject(scales)} are {_times(fit.median)} what {REFERENCE} ask for (median of "
        f"{fit.tensors} tensors, two thirds within a factor of {math.exp(fit.spread):.2f})"
    )


def _subject(scales: bool) -> str:
    return "scales" if scales else "ranges"


def _cause(ratio: float, *, scales: bool) -> str | None:
    held, other = (
        ("amax was written where a scale belongs", "it was divided by 127 twice")
        if scales
        else ("they were multiplied by 127 twice", "scales were written where amax belongs")
    )
    for factor, cause in (
        (LEVELS, f"{held}; divide by 127"),
        (1 / LEVELS, f"{other}; multiply by 127"),
        (255, f"it was likely calibrated with pixels of 0 to 255 and not of 0 to 1; calibrate with {PREPROCESSING}"),
        (1 / 255, f"it was likely calibrated with pixels divided by 255 twice; calibrate with {PREPROCESSING}"),
    ):  # fmt: skip
        if 1 / SAME_FACTOR <= ratio / factor <= SAME_FACTOR:
            return cause
    return None


def _small_factor(fits: Sequence[_Fit], *, scales: bool) -> Mistake | None:
    """A factor that other images may also give: told, and the table used; but not 127 / 255 in every tensor."""
    best = _closest(fits)
    if abs(best.median / UNSIGNED - 1) <= EXACT and best.spread <= EXACT:
        text = (
            f"{_ratio(best, scales=scales)}, which is 127 / 255: amax was divided by 255, as for unsigned "
            "numbers, and not by 127; multiply by 255 / 127"
        )
        return _told(text, best)
    if (
        best.tensors >= LEAST_TENSORS
        and best.spread <= NARROW
        and abs(math.log(best.median)) >= NOTABLE
    ):
        text = f"{_ratio(best, scales=scales)}: other images, or another preprocessing; it "
        text += "is used" if best.plausible else "fits other ranges of the reference, and is used"
        return Mistake(text, sure=False, kind=MistakeKind.FACTOR)
    return None


def _told(text: str, fit: _Fit, kind: MistakeKind = MistakeKind.FACTOR) -> Mistake:
    if fit.tensors < LEAST_TENSORS:
        return Mistake(f"{text} (not sure: of {fit.tensors} tensors only)", sure=False, kind=kind)
    return Mistake(text, sure=fit.related or fit.unrelated, kind=kind)


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio >= 0.01 else f"1/{1 / ratio:.3g} of"


def _closest(fits: Sequence[_Fit]) -> _Fit:
    return min(fits, key=lambda fit: (-min(fit.tensors, LEAST_TENSORS), fit.spread))


def _fits(values: Ranges, seen: Sequence[Ranges]) -> list[_Fit]:
    """Returns how a table lies to each of the reference's with which it has a tensor in common."""
    usable = {name: value for name, value in values.items() if why_unusable(value) is None}
    fits = []
    for ranges in seen:
        pairs = [
            (math.log(value), math.log(ranges[name]))
            for name, value in usable.items()
            if name in ranges and why_unusable(ranges[name]) is None
        ]
        # Where most of what both name cannot be used, the rest is chance.
        common = sum(name in ranges for name in values)
        if pairs and 2 * len(pairs) > common:
            fits.append(_fit(pairs))
    return fits


def _fit(pairs: Sequence[tuple[float, float]]) -> _Fit:
    logs = [a - b for a, b in pairs]
    middle = statistics.median(logs)
    # Every tensor against others, here and there in the table: without chance, the same each time.
    shifts = sorted({1 + (len(pairs) - 1) * step // SHIFTS for step in range(SHIFTS)})
    apart = [
        log - pairs[(index + shift) % len(pairs)][1]
        for shift in shifts
        for index, (log, _) in enumerate(pairs)
    ]
    return _Fit(
        tensors=len(pairs),
        median=math.exp(middle),
        spread=spread(logs),
        shuffled=spread(apart),
        rank=_rank_correlation(pairs),
    )


def spread(values: Sequence[float]) -> float:
    """Returns the deviation of values about their median, robust: a normal distribution's standard deviation."""
    middle = statistics.median(values)
    return MAD_TO_DEVIATION * statistics.median(abs(value - middle) for value in values)


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    ones, others = _ranks([a for a, _ in pairs]), _ranks([b for _, b in pairs])
    try:
        return statistics.correlation(ones, others)
    except statistics.StatisticsError:  # constant, or one alone
        return None


def _ranks(values: Sequence[float]) -> list[float]:
    """Returns the rank of each value, of equal ones their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + end - 1) / 2
        start = end
    return ranks
