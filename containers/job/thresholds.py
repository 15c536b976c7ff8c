"""From the histogram of |x| of a tensor to its amax: the magnitude that int8 maps to 127.

Pure functions of a histogram (`job.histogram.Histogram`); no data is seen again.
"""

import numpy as np

from .histogram import DOUBLING, ORDER_FREE

LEVELS = 128  # magnitudes 0 .. 127 of symmetric int8
ROUNDING = 1e-12  # divergences that differ by less are equal: those of one grouping of the same bins
WORSE = 10**0.1  # of `robust`: 1 dB
CANDIDATES_AT_ONCE = 512  # keeps the work arrays within a level-2 cache


def threshold(histogram, algorithm, options):
    """Returns amax (float, above zero) by `algorithm`, one of ALGORITHMS.

    It is at most the largest magnitude seen, but for `entropy`: as TensorRT's, that may be up to
    twice it and half a bin, since empty bins beyond the largest magnitude are candidates too.

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
    return float(ALGORITHMS[algorithm](histogram, **options))


def kept(algorithms):
    """Returns which bins of a histogram these algorithms need, as its `kept`; unknown ones need none."""
    return {READS[name] for name in algorithms if name in READS}


def clipped(histogram, amax):
    """Returns the share (0 to 1) of the nonzero values whose magnitude lies above `amax`.

    Linear within a bin; 0.0 where there is no nonzero value.
    """
    nonzero = histogram.elements - histogram.zeros
    if amax >= histogram.amax or nonzero == 0:
        return 0.0
    bins = histogram.order_free or histogram.doubling
    below = _cumulative(bins.counts)
    within = float(np.interp(amax / bins.width, np.arange(below.size), below))
    return min(max(histogram.elements - within, 0.0) / nonzero, 1.0)


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
    bins = histogram.order_free
    below = _cumulative(bins.counts[: bins.used])
    wanted = below[-1] * (percentile / 100.0)
    found = float(np.interp(wanted, below, np.arange(below.size))) * bins.width
    return min(found, histogram.amax)  # the last bin reaches beyond the largest value


def entropy(histogram):
    """Returns the threshold of TensorRT's entropy calibrators (KL divergence over 128 levels).

    The method is that of S. Migacz, "8-bit Inference with TensorRT", GTC 2017, S7310, slide "Pseudocode:
    conversion". What the slides leave open was found from calibration caches that TensorRT 8.5 wrote
    (docs/concepts/calibration.md): bin 0 is given the count of bin 1; the candidates go on over empty bins to the end
    of the range; one that clips, and keeps a single filled bin, does not count (its P and Q are equal);
    of equal candidates the widest is taken; and the result is not held below the largest magnitude.
    """
    bins = histogram.doubling
    candidates = np.arange(LEVELS, bins.BINS + 1)
    found = _real_divergences(bins.counts.astype(np.float64), candidates)
    best = candidates[found <= found.min() + ROUNDING][-1]
    return (best + 0.5) * bins.width


def _real_divergences(counts, candidates):
    """Returns `divergences` with bin 0 given the count of bin 1, infinite where they say nothing.

    Zero is exact with any scale, and the many zeros behind a ReLU would decide everything. Where a
    candidate clips and keeps a single filled bin, P = Q: nothing would seem lost.
    """
    counts = counts.copy()
    counts[0] = counts[1]
    clips = _cumulative(counts)[candidates] < counts.sum()
    lone = _cumulative(counts > 0)[candidates] == 1
    return np.where(clips & lone, np.inf, divergences(counts, candidates))


def divergences(counts, candidates):
    """Returns KL(P || Q) for each number of bins i kept, float64 as `candidates`.

    P is counts[:i] with everything beyond added to its last bin. Q is counts[:i] shared out to 128
    levels, each level spread evenly over those of its bins that are not empty. With S and N the sum
    and the number of non-empty bins of a level, M its sum in P, and T and C the sums of P and Q before
    they are normalised:

        KL = (sum P log P - sum over levels M log(S / N)) / T - log T + log C

    so cumulative sums of the counts, at the edges of the levels, give all candidates at once.

    Args:
        counts: float64 (bins,).
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

    Elements are taken to lie evenly within each bin.
    """
    candidates, _, errors = _candidates(histogram)
    return candidates[np.argmin(errors)]


def robust(histogram):
    """Returns, of the thresholds that cost little squared error, the one of least KL divergence.

    Of our own. The divergence knows nothing of magnitudes: it gives up the few large values that carry a
    head (of a softmax, behind a SiLU) for the many small ones. So the squared error of the tensor, of
    rounding and clipping, bounds what may be given up: at most WORSE times the least of all thresholds
    that do not clip to a lone bin (none of those is taken), and no more than where nothing is clipped.
    The order of the images plays no part.
    """
    candidates, counts, errors = _candidates(histogram)
    filled = np.flatnonzero(counts) + 1
    inside = (candidates / histogram.order_free.width).astype(np.intp) + 1  # with the bin it lies in
    kept = np.append(0, filled)[np.searchsorted(filled, inside, side="right")]
    wide = kept >= LEVELS
    candidates, errors, kept = candidates[wide], errors[wide], kept[wide]
    if not candidates.size:  # amax below 2**-104
        return histogram.amax
    found = _real_divergences(counts, kept)
    errors = np.where(np.isfinite(found), errors, np.inf)
    found[errors > min(errors[0], WORSE * errors.min())] = np.inf
    return candidates[np.argmin(found)]


def _candidates(histogram):
    """Returns (thresholds, counts, squared errors of the thresholds).

    Thresholds fall from amax to amax / 32 in 64 steps an octave (1.1 %); the minima are far flatter.
    """
    candidates = histogram.amax * 2.0 ** (-np.arange(5 * 64 + 1) / 64.0)
    bins = histogram.order_free
    counts = bins.counts[: bins.used].astype(np.float64)
    return candidates, counts, squared_errors(counts, candidates / bins.width)


def squared_errors(counts, thresholds):
    """Returns the summed squared error of each threshold, float64 (n,), in units of bin width squared.

    Thresholds are in bin widths, each > 0.
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


ALGORITHMS = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
    "robust": robust,
}
OPTIONS = {"percentile": ("percentile",)}
READS = {"percentile": ORDER_FREE, "entropy": DOUBLING, "mse": ORDER_FREE, "robust": ORDER_FREE}
