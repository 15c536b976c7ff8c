"""From the histogram of |x| of a tensor to its amax: the magnitude that int8 maps to 127.

Pure functions of a histogram; no data is seen again.
"""

import numpy as np

LEVELS = 128  # magnitudes 0 .. 127 of symmetric int8
CANDIDATES_AT_ONCE = 512  # keeps the work arrays within a level-2 cache


def threshold(histogram, algorithm, options):
    """Returns amax (float, 0 < amax <= histogram.amax) by `algorithm`, one of ALGORITHMS.

    Raises:
        ValueError: the algorithm or an option is unknown, an option is out of range, or the
            histogram holds nothing but zeros.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(
            "unknown calibration algorithm %r; known: %s" % (algorithm, ", ".join(sorted(ALGORITHMS)))
        )
    unknown = sorted(set(options) - set(OPTIONS.get(algorithm, ())))
    if unknown:
        raise ValueError(
            "calibration algorithm %s has no option %s; it has: %s"
            % (algorithm, ", ".join(unknown), ", ".join(OPTIONS.get(algorithm, ())) or "none")
        )
    if histogram.amax == 0:
        raise ValueError("tensor %r is zero in every image: it has no range" % histogram.tensor)
    return float(min(ALGORITHMS[algorithm](histogram, **options), histogram.amax))


def clipped(histogram, amax):
    """Returns the share (0 to 1) of the nonzero values whose magnitude lies above `amax`.

    Linear within a bin; 0.0 where there is no nonzero value.
    """
    nonzero = int(histogram.counts.sum()) - histogram.zeros
    if amax >= histogram.amax or nonzero == 0:
        return 0.0
    below = _cumulative(histogram.counts[: histogram.used])
    within = float(np.interp(amax / histogram.width, np.arange(below.size), below))
    return min(max(float(below[-1]) - within, 0.0) / nonzero, 1.0)


def minmax(histogram):
    """Returns the largest magnitude seen: nothing is clipped."""
    return histogram.amax


def percentile(histogram, percentile=99.99):
    """Returns the magnitude that `percentile` percent of all elements do not exceed.

    Linear within a bin.
    """
    if isinstance(percentile, bool) or not isinstance(percentile, (int, float)):
        raise ValueError("option percentile is %r, expected a number" % (percentile,))
    if not 0 < percentile <= 100:
        raise ValueError("option percentile is %r, expected 0 < percentile <= 100" % (percentile,))
    below = _cumulative(histogram.counts[: histogram.used])
    wanted = below[-1] * (percentile / 100.0)
    return float(np.interp(wanted, below, np.arange(below.size))) * histogram.width


def entropy(histogram):
    """Returns the threshold whose 128-level quantisation keeps most of the distribution (KL divergence).

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017, S7310, slide "Pseudocode: conversion". As in
    NVIDIA's pytorch-quantization, bin 0 is given the count of bin 1 first: zero is exact with any
    scale, and the many zeros behind a ReLU would otherwise decide everything.
    """
    counts = histogram.counts[: histogram.used].astype(np.float64)
    if counts.size <= LEVELS:  # amax below 2**-104
        return histogram.amax
    counts[0] = counts[1]
    candidates = np.arange(LEVELS, counts.size + 1)
    best = candidates[np.argmin(divergences(counts, candidates))]
    return (best + 0.5) * histogram.width


def divergences(counts, candidates):
    """Returns KL(P || Q) for each number of bins i kept, float64 as `candidates`.

    P is counts[:i] with everything beyond added to its last bin. Q is counts[:i] shared out to 128
    levels, each level spread evenly over those of its bins that are not empty. With S and N the sum
    and the number of non-empty bins of a level, M its sum in P, and T and C the sums of P and Q before
    they are normalised:

        KL = (sum P log P - sum over levels M log(S / N)) / T - log T + log C

    so cumulative sums of the counts, at the edges of the levels, give all candidates at once.

    Args:
        counts: float64 (bins,); the last one is not empty.
        candidates: int (n,), each within LEVELS .. bins.
    """
    below = _cumulative(counts)
    below_filled = _cumulative(counts > 0)
    below_entropy = _cumulative(_x_log_x(counts))
    total = below[-1]

    kept = below[candidates]
    clipped = total - kept
    last = counts[candidates - 1]
    entropy_p = below_entropy[candidates - 1] + _x_log_x(last + clipped)
    cross = np.concatenate(
        [
            _cross(below, below_filled, candidates[start : start + CANDIDATES_AT_ONCE])
            for start in range(0, candidates.size, CANDIDATES_AT_ONCE)
        ]
    )
    # Q is zero where P holds the clipped mass: infinitely far apart.
    possible = (last > 0) | (clipped == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = (entropy_p - cross) / total - np.log(total) + np.log(kept)
    return np.where(possible, result, np.inf)


def _cross(below, below_filled, candidates):
    """Returns the sum over levels of M log(S / N) for each candidate, float64 (n,)."""
    edges = -(-np.outer(candidates, np.arange(LEVELS + 1)) // LEVELS)
    sums = np.diff(below[edges])
    filled = np.diff(below_filled[edges])
    logs = np.log(np.where(sums > 0, sums, 1) / np.maximum(filled, 1))
    clipped = below[-1] - below[candidates]
    return np.einsum("ij,ij->i", sums, logs) + clipped * logs[:, -1]


def mse(histogram):
    """Returns the threshold with the smallest expected squared error of rounding and clipping.

    Elements are taken to lie evenly within each bin. Candidates fall from amax to amax / 32 in 64
    steps an octave (1.1 %); the minimum is far flatter than that.
    """
    candidates = histogram.amax * 2.0 ** (-np.arange(5 * 64 + 1) / 64.0)
    counts = histogram.counts[: histogram.used].astype(np.float64)
    errors = squared_errors(counts, candidates / histogram.width)
    return float(candidates[np.argmin(errors)])


def squared_errors(counts, thresholds):
    """Returns the summed squared error of each threshold, float64 (n,), in units of bin width squared.

    Args:
        counts: float64 (bins,).
        thresholds: float64 (n,), in bin widths, each > 0.
    """
    steps = thresholds[:, None] / (LEVELS - 1)
    levels = np.arange(LEVELS)
    # Level l takes what lies between (l - 1/2) and (l + 1/2) steps; the last one all beyond.
    edges = np.maximum(np.arange(LEVELS + 1) - 0.5, 0) * steps
    edges[:, -1] = counts.size
    number, first, second = (np.diff(moment) for moment in _moments(counts, edges))
    values = levels * steps
    return (second - 2 * values * first + values**2 * number).sum(axis=1)


def _moments(counts, x):
    """Returns the integrals of density, density * t and density * t^2 from 0 to `x`, as `x` each.

    The density is counts[k] on [k, k + 1).
    """
    x = np.minimum(x, counts.size)
    k = np.minimum(x.astype(np.intp), counts.size - 1)
    density = counts[k]
    moments = []
    borders = np.arange(counts.size + 1, dtype=np.float64)
    for power in (1, 2, 3):
        below = _cumulative(counts * np.diff(borders**power)) / power
        moments.append(below[k] + density * (x**power - borders[k] ** power) / power)
    return moments


def _cumulative(values):
    """Returns the sums of the first 0, 1, .. n values, float64 (n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _x_log_x(x):
    return x * np.log(np.where(x > 0, x, 1))


ALGORITHMS = {"minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse}
OPTIONS = {"percentile": ("percentile",)}
