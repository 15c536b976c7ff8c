import tracemalloc
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from job.histogram import BINS, BLOCK, Histogram


def histogram_of(*parts: np.ndarray) -> Histogram:
    histogram = Histogram("x")
    for part in parts:
        histogram.add(part)
    return histogram


def literal(values: np.ndarray, width: float) -> np.ndarray:
    index = np.floor(np.abs(values.astype(np.float64)) / width).astype(int).reshape(-1)
    return np.bincount(index, minlength=BINS)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
parts = st.lists(hnp.arrays(np.float32, hnp.array_shapes(min_side=0), elements=finite), max_size=5)


@given(parts, st.randoms())
def test_counts_are_those_of_the_final_width_in_any_order(
    values: list[np.ndarray], random: Random
) -> None:
    histogram = histogram_of(*values)
    everything = np.concatenate([np.zeros(0, np.float32), *(part.reshape(-1) for part in values)])
    assert histogram.amax == np.abs(everything).max(initial=0)
    np.testing.assert_array_equal(histogram.counts, literal(everything, histogram.width))
    random.shuffle(values)
    shuffled = histogram_of(*values)
    assert (shuffled.width, shuffled.amax) == (histogram.width, histogram.amax)
    np.testing.assert_array_equal(shuffled.counts, histogram.counts)


@given(st.floats(min_value=2.0**-100, width=32, allow_nan=False, allow_infinity=False))
def test_half_to_all_of_the_bins_are_in_use(amax: float) -> None:
    histogram = histogram_of(np.array([amax / 3, amax], np.float32))
    assert BINS // 2 < histogram.used <= BINS
    assert histogram.counts[histogram.used - 1] > 0
    assert np.log2(histogram.width) % 1 == 0


def test_growing_over_the_whole_range_of_float32_loses_no_count() -> None:
    steps = [np.full(7, 2.0**k, np.float32) for k in range(-149, 128)]
    histogram = histogram_of(*steps)
    assert histogram.counts.sum() == 7 * len(steps)
    np.testing.assert_array_equal(histogram.counts, histogram_of(*reversed(steps)).counts)


def test_larger_than_a_block() -> None:
    values = np.random.default_rng(0).standard_normal((3, BLOCK + 17)).astype(np.float32)
    histogram = histogram_of(values)
    np.testing.assert_array_equal(histogram.counts, literal(values, histogram.width))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_point_types(dtype: type) -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(dtype)
    as_float32 = histogram_of(values.astype(np.float32))
    np.testing.assert_array_equal(histogram_of(values).counts, as_float32.counts)


@pytest.mark.parametrize("values", [[], [0.0], [0.0, -0.0]])
def test_zeros_have_no_range(values: list[float]) -> None:
    histogram = histogram_of(np.array(values, np.float32))
    assert histogram.amax == 0
    assert histogram.counts.sum() == len(values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_names_its_tensor(value: float) -> None:
    histogram = Histogram("neck/conv: 3")
    values = np.zeros(2 * BLOCK, np.float32)
    values[BLOCK + 1] = value
    with pytest.raises(ValueError, match="'neck/conv: 3' holds NaN or infinite"):
        histogram.add(values)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.uint8])
def test_integers_are_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match="'shape' is .*only floating-point"):
        Histogram("shape").add(np.ones(3, dtype))


def test_memory_is_constant() -> None:
    values = np.random.default_rng(0).standard_normal(2_000_000).astype(np.float32)
    tracemalloc.start()
    try:
        histogram_of(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 < values.nbytes / 4
