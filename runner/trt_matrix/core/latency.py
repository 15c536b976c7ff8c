"""Latency over rounds and samples, with its interval; seeded, so that the same samples give the same report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SEED = 20190617
DRAWS = 1000
FEWEST = 20
"""Samples that every repeat must have, for its own spread to be known."""
LEAST_SCATTER = 0.02
"""Of the median: repeats that differ by less are told as one number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Seconds per inference at `batch` images, over the samples of all rounds that count.

    Those on a disturbed GPU do not, unless there are no others.
    """

    median_s: float
    low_s: float
    high_s: float
    """95 % bootstrap interval of the median."""
    p90_s: float
    p99_s: float
    samples: int
    batch: int
    p5_s: float | None = None
    p25_s: float | None = None
    p75_s: float | None = None
    rounds_s: tuple[float, ...] = ()
    """Median of each repeat, in their order."""
    scatters: bool = False
    """Whether the medians of repeats differ by more than samples of one repeat do: `scattered`."""

    @property
    def image_s(self) -> float:
        """Median for one image of the batch."""
        return self.median_s / self.batch


def latency(rounds: Sequence[Sequence[float]], batch: int) -> Latency | None:
    """Returns the latency over all samples of all rounds; None where there is no sample.

    The interval is a percentile bootstrap of the median (Efron and Tibshirani 1993, ch. 13) that
    draws whole rounds first and samples within them second: samples of one round share a process
    and its clocks, so they are not independent.
    `rounds` are seconds per inference of `batch` images, one sequence a repeat.
    """
    arrays = [np.asarray(samples, dtype=np.float64) for samples in rounds if len(samples)]
    if not arrays:
        return None
    pooled = np.concatenate(arrays)
    low, high = map(float, np.percentile(_medians(arrays), [2.5, 97.5]))
    p5, p25, p75, p90, p99 = map(float, np.percentile(pooled, [5, 25, 75, 90, 99]))
    return Latency(
        median_s=float(np.median(pooled)),
        low_s=low,
        high_s=high,
        p5_s=p5,
        p25_s=p25,
        p75_s=p75,
        p90_s=p90,
        p99_s=p99,
        rounds_s=tuple(float(np.median(array)) for array in arrays),
        scatters=scattered(arrays),
        samples=len(pooled),
        batch=batch,
    )


def scattered(rounds: Sequence[npt.NDArray[np.float64]]) -> bool:
    """Says whether repeats scatter more than the samples within them.

    By their standard deviations: that of the repeats' medians, against the median over repeats of that within,
    the interquartile range / 1.349 (as of a normal distribution, so that a few slow samples do not count). A
    median of twenty samples scatters by 0.3 of it, so no number of repeats reaches 1 by luck.
    `rounds` are seconds per inference, one array a repeat; False where one has less than `FEWEST`.
    """
    if len(rounds) < 2 or min(len(samples) for samples in rounds) < FEWEST:
        return False
    medians = np.array([np.median(samples) for samples in rounds])
    within = [float(np.subtract(*np.percentile(samples, [75, 25]))) / 1.349 for samples in rounds]
    between = float(np.std(medians, ddof=1))
    return between > max(float(np.median(within)), LEAST_SCATTER * float(np.median(medians)))


def _medians(rounds: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Returns the median of each bootstrap draw, shape (DRAWS,); all draws are made at once."""
    generator = np.random.default_rng(SEED)
    lengths = np.array([len(samples) for samples in rounds])
    width = lengths.max()
    padded = np.stack([np.resize(samples, width) for samples in rounds])
    chosen = generator.integers(len(rounds), size=(DRAWS, len(rounds)))
    sizes = lengths[chosen][..., None]
    positions = (generator.random((DRAWS, len(rounds), width)) * sizes).astype(np.intp)
    drawn = padded[chosen[..., None], positions]
    # A round gives as many samples as it has; what is drawn beyond goes behind all of them.
    drawn[np.arange(width) >= sizes] = np.inf
    ordered = np.sort(drawn.reshape(DRAWS, -1), axis=1)
    counts = sizes.sum(axis=(1, 2))
    row = np.arange(DRAWS)
    lower, upper = ordered[row, (counts - 1) // 2], ordered[row, counts // 2]
    medians: npt.NDArray[np.float64] = (lower + upper) / 2
    return medians
