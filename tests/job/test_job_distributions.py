"""No algorithm gives a degenerate table, whatever a tensor's values are like.

What that means, of each: the range is a number above zero within the values; `mse` and `robust` cost
no more squared error than clipping nothing, nor more than 1 dB above the least; `entropy` and `robust`
never clip to a lone bin, where nothing is left of the tensor but one magnitude (thresholds that would
are none that `robust` is compared with); and `percentile` clips no more than it says.
"""

import math
from collections.abc import Callable
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from job.histogram import Histogram, OrderFree
from job.thresholds import ALGORITHMS, threshold

Values = npt.NDArray[np.float64]

SIZE = 4000


def silu(x: Values) -> Values:
    return x / (1 + np.exp(-x))


SHAPES: dict[str, Callable[[np.random.Generator, float], Values]] = {
    # a made-up distribution by name; the second argument is a size between 0 and 1
    "normal": lambda rng, _: rng.standard_normal(SIZE),
    "one-sided": lambda rng, _: np.abs(rng.standard_normal(SIZE)),
    "relu": lambda rng, a: np.maximum(rng.standard_normal(SIZE) - 3 * a, 0),
    "silu": lambda rng, a: silu(rng.standard_normal(SIZE) * 4 - 8 * a),
    "silu, rarely on": lambda rng, a: silu(
        np.where(rng.random(SIZE) < 0.02, 7, -2) + a * rng.standard_normal(SIZE)
    ),
    "sigmoid": lambda rng, a: 1 / (1 + np.exp(-rng.standard_normal(SIZE) * 4 + 16 * a)),
    "softmax of two": lambda rng, a: np.where(
        rng.random(SIZE) < 0.5, 1 - 0.001 * a, 0.001 * rng.random(SIZE)
    ),
    "mostly zero": lambda rng, a: np.where(
        rng.random(SIZE) < 0.01 * a, rng.standard_normal(SIZE), 0
    ),
    "spiked": lambda rng, a: np.where(rng.random(SIZE) < 0.01, 10, a),
    "spiked and spread": lambda rng, a: np.where(
        rng.random(SIZE) < 0.9, a, rng.standard_normal(SIZE)
    ),
    "constant": lambda _, a: np.full(SIZE, a + 0.1),
    "few values": lambda rng, a: rng.choice([0, 0.1, a, 2 * a, 5], SIZE),
    "two far apart": lambda rng, a: np.where(rng.random(SIZE) < 0.001, 7.0, 0.01 + 0.5 * a),
    "uniform": lambda rng, a: rng.uniform(-1, 1, SIZE) + a,
    "wide tails": lambda rng, a: rng.standard_t(1.2 + 3 * a, SIZE),
    "wider tails": lambda rng, _: np.exp(3 * rng.standard_normal(SIZE)),
    "one outlier": lambda rng, a: np.append(rng.standard_normal(SIZE), 1e4 * a),
    "tiny": lambda rng, a: 1e-30 * rng.standard_normal(SIZE) * (a + 0.1),
    "huge": lambda rng, a: 1e30 * rng.standard_normal(SIZE) * (a + 0.1),
}


@st.composite
def images(draw: st.DrawFn) -> list[npt.NDArray[np.float32]]:
    """Draws a tensor's values in 1 to 4 images, some value of which is not zero."""
    shape = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = shape(rng, draw(st.floats(0, 1))).astype(np.float32)
    values[0] = values[0] or np.float32(0.5)
    rng.shuffle(values)
    return np.array_split(values, draw(st.integers(1, 4)))


def histogram_of(parts: list[npt.NDArray[np.float32]]) -> Histogram:
    histogram = Histogram("x")
    for part in parts:
        histogram.add(part)
    return histogram


def error(values: npt.NDArray[np.float32], amax: float) -> float:
    """Returns the root of the mean squared error of 8 bits, in float64."""
    scale = amax / 127
    exact = values.astype(np.float64)
    quantised = np.clip(np.round(exact / scale), -127, 127) * scale
    return math.sqrt(np.mean((exact - quantised) ** 2))


@given(images())
def test_every_range_is_a_number_within_the_values(parts: list[npt.NDArray[np.float32]]) -> None:
    histogram = histogram_of(parts)
    amax = float(np.abs(np.concatenate(parts)).max())
    for algorithm in ALGORITHMS:
        found = threshold(histogram, algorithm, {})
        # TensorRT's entropy looks at the whole of its range, which doubles.
        most = 2 * amax * (1 + 2**-11) if algorithm == "entropy" else amax
        assert 0 < found <= most, algorithm
    assert threshold(histogram, "minmax", {}) == amax


@given(images())
def test_what_minds_squared_error_costs_no_more_than_clipping_nothing(
    parts: list[npt.NDArray[np.float32]],
) -> None:
    histogram, values = histogram_of(parts), np.concatenate(parts)
    # Within a bin values are taken to lie evenly: of any root mean square a histogram sees no more than
    # to a bin's width, of the one that is found and of those that it is compared with.
    width = histogram.order_free.width
    unseen = (1 + 10**0.05) * width
    unclipped = error(values, histogram.amax)
    errors = {
        amax: error(values, amax) for amax in (histogram.amax * 2 ** (-k / 8) for k in range(32))
    }
    filled = np.flatnonzero(histogram.order_free.counts)
    several = {amax for amax in errors if np.sum((filled > 0) & (filled < amax / width - 1)) > 1}
    for algorithm, compared in (("mse", set(errors)), ("robust", several)):
        found = error(values, threshold(histogram, algorithm, {}))
        assert found <= unclipped + unseen, algorithm
        least = min((errors[amax] for amax in compared), default=unclipped)
        assert found <= 10**0.05 * least + unseen, algorithm


@given(images())
def test_no_divergence_clips_to_a_lone_bin(parts: list[npt.NDArray[np.float32]]) -> None:
    """Of what is below the threshold two magnitudes are left at least, or nothing is clipped.

    Bin 0 counts as bin 1 does, so what lies in it alone is nothing.
    """
    histogram = histogram_of(parts)
    for algorithm, bins in (("entropy", histogram.doubling), ("robust", histogram.order_free)):
        kept = int(threshold(histogram, algorithm, {}) / bins.width) + (algorithm == "robust")
        counts = bins.counts.copy()
        counts[0] = counts[1]
        assert (counts[:kept] > 0).sum() > 1 or counts[kept:].sum() == 0, algorithm


@given(images(), st.floats(90, 100))
def test_percentile_clips_what_it_says(
    parts: list[npt.NDArray[np.float32]], percentile: float
) -> None:
    histogram, values = histogram_of(parts), np.abs(np.concatenate(parts))
    found = threshold(histogram, "percentile", {"percentile": percentile})
    above = np.mean(values > found + histogram.order_free.width)
    assert above <= 1 - percentile / 100 + 1e-9


@given(images(), st.randoms())
def test_only_entropy_knows_the_order_of_the_images(
    parts: list[npt.NDArray[np.float32]], random: Random
) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)
    histogram, other = histogram_of(parts), histogram_of(shuffled)
    for algorithm in set(ALGORITHMS) - {"entropy"}:
        assert threshold(histogram, algorithm, {}) == threshold(other, algorithm, {}), algorithm
    if shuffled[0].size and np.abs(shuffled[0]).max() == np.abs(parts[0]).max() > 0:
        assert other.doubling.range == histogram.doubling.range


@given(images(), st.integers(-20, 20))
def test_sign_and_unit_do_not_matter(parts: list[npt.NDArray[np.float32]], power: int) -> None:
    histogram = histogram_of(parts)
    # Below 2**LOWEST the width of a bin stays as it is.
    assume(histogram.amax * 2.0 ** min(power, 0) >= 2.0**OrderFree.LOWEST)
    other = histogram_of([part * np.float32(-(2.0**power)) for part in parts])
    for algorithm in ALGORITHMS:
        found = threshold(other, algorithm, {})
        assert found == threshold(histogram, algorithm, {}) * 2.0**power, algorithm


def test_an_image_of_zeros_does_not_coarsen_what_follows() -> None:
    zeros, small = np.zeros(100, np.float32), np.full(1, 2.0**-5, np.float32)
    first, last = histogram_of([zeros, small]), histogram_of([small, zeros])
    assert first.order_free.width == last.order_free.width == 2.0**-4 / OrderFree.BINS
    for algorithm in ALGORITHMS:
        assert threshold(first, algorithm, {}) == threshold(last, algorithm, {}), algorithm


def test_no_silu_is_clipped_to_its_own_minimum() -> None:
    """Rarely on, mostly near its minimum of -0.278: the divergence over all bins would keep only that."""
    rng = np.random.default_rng(3)
    values = silu(np.where(rng.random(25_600) < 0.004, 7, -1.28)).astype(np.float32)
    for algorithm in ("entropy", "mse", "robust"):
        assert threshold(histogram_of([values]), algorithm, {}) > 6


@pytest.mark.parametrize("count", [1, 1000])
def test_robust_gives_up_a_large_value_only_where_rounding_gains_more(count: int) -> None:
    """One value of a million is given up; so many that clipping them costs more than it gains are not."""
    rng = np.random.default_rng(5)
    values = np.append(rng.standard_normal(1_000_000), np.full(count, 12.0)).astype(np.float32)
    found = threshold(histogram_of([values]), "robust", {})
    assert (found < 6) == (count == 1)
