"""Intervals and spreads; seeded, so that the same samples give the same report."""

from collections.abc import Sequence

import numpy as np

from runner.core.judgement import Latency

SEED = 20190617
DRAWS = 1000


def latency(rounds: Sequence[Sequence[float]], batch: int) -> Latency | None:
    """Returns the latency over all samples of all rounds; None where there is no sample.

    The interval is a percentile bootstrap of the median (Efron and Tibshirani 1993, ch. 13) that
    draws whole rounds first and samples within them second: samples of one round share a process
    and its clocks, so they are not independent.

    Args:
        rounds: Seconds per inference, one sequence a repeat.
        batch: Images per inference.
    """
    arrays = [np.asarray(samples, dtype=np.float64) for samples in rounds if len(samples)]
    if not arrays:
        return None
    pooled = np.concatenate(arrays)
    generator = np.random.default_rng(SEED)
    medians = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = generator.integers(len(arrays), size=len(arrays))
        medians[draw] = np.median(
            np.concatenate(
                [generator.choice(arrays[index], len(arrays[index])) for index in chosen]
            )
        )
    low, high = np.percentile(medians, [2.5, 97.5])
    p90, p99 = np.percentile(pooled, [90, 99])
    return Latency(
        median_s=float(np.median(pooled)),
        low_s=float(low),
        high_s=float(high),
        p90_s=float(p90),
        p99_s=float(p99),
        samples=len(pooled),
        batch=batch,
    )
