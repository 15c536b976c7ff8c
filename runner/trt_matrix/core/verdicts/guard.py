"""Builds that choose: may all builds of one version have chosen badly, and all of the baseline well?

An engine that chooses its layers anew in every build can be good or bad by chance. With X of K builds beyond the
middle between two versions, and M other versions whose own builds spread over half of the difference,

    p = max over π of P(Bin(K, π) ≥ X_e) · P(Bin(K', π) ≤ X_b) · P(Bin(E − 2, 1 − π^K − (1 − π)^K) ≤ M)

π being the unknown share of bad builds (unconditional, as Barnard 1945). Times the comparisons that are made it
bounds how often a matrix of equal versions is accused for it.
"""

import math
from collections.abc import Sequence

import numpy as np

from trt_matrix.core.verdicts.sample import Floats

SHARES: Floats = np.arange(1, 100) / 100
"""π."""


def chance(cell: Floats, baseline: Floats, others: Sequence[Floats]) -> float:
    """Returns p for two versions' builds.

    Args:
        cell: Logarithms of the errors of its builds, shape (K,).
        baseline: The same, shape (K',).
        others: The same of every other version.
    """
    middle = (cell.mean() + baseline.mean()) / 2
    apart = cell.mean() - baseline.mean()
    above, wrong = int((cell > middle).sum()), int((baseline > middle).sum())
    spread = [other for other in others if len(other) > 1]
    mixed = sum(float(np.ptp(array)) >= apart / 2 for array in spread)
    fewest = min((len(array) for array in spread), default=1)
    both = 1 - SHARES**fewest - (1 - SHARES) ** fewest
    likelihood = (
        _at_least(len(cell), SHARES, above)
        * _at_most(len(baseline), SHARES, wrong)
        * _at_most(len(spread), both, mixed)
    )
    return float(likelihood.max())


def builds_needed(versions: int, comparisons: int, limit: float, most: int = 100) -> int:
    """Returns how many clean builds of every version decide between two of them."""
    for builds in range(1, most):
        good, bad = np.zeros(builds), np.ones(builds)
        p = chance(bad, good, [np.zeros(builds)] * max(versions - 2, 0))
        if comparisons * p <= limit:
            return builds
    return most


def _at_most(count: int, share: Floats, most: int) -> Floats:
    terms = [math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(most + 1)]
    return np.asarray(np.minimum(np.sum(terms, axis=0), 1.0), np.float64)


def _at_least(count: int, share: Floats, least: int) -> Floats:
    return _at_most(count, 1 - share, count - least)
