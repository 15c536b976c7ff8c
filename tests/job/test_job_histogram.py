import tracemalloc
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from job.histogram import BLOCK, DOUBLING, ORDER_FREE, Doubling, Histogram, OrderFree


def histogram_of(*parts: np.ndarray) -> Histogram:
    histogram = Histogram("x")
    for part in parts:
        histogram.add(part)
    return histogram


def together(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *(part.reshape(-1) for part in parts)])


def order_free(values: np.ndarray, width: float) -> np.ndarray:
    index = np.floor(np.abs(values.astype(np.float64)) / width).astype(int).reshape(-1)
    return np.bincount(index, minlength=OrderFree.BINS)


def doubled(parts: list[np.ndarray]) -> tuple[float, list[int]]:
    """Range and counts by the rule, one value at a time (docs/concepts/calibration.md)."""
    reach, counts = 0.0, [0] * 2048
    for part in parts:
        magnitudes = [abs(float(x)) for x in part.reshape(-1)]
        largest = max(magnitudes, default=0.0)
        if reach == 0:
            reach = largest
        while largest > reach * (1 + 2**-23):
            counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)] + [0] * 1024
            reach *= 2
        for x in magnitudes:
            with np.errstate(over="ignore", under="ignore"):
                scaled = float(np.float32(x) * np.float32(2048 / reach)) if x else 0.0
            counts[min(int(scaled), 2047)] += 1
    return reach, counts


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
parts = st.lists(hnp.arrays(np.float32, hnp.array_shapes(min_side=0), elements=finite), max_size=5)
# Above what the rule as it stands can scale in float32, and not yet where twice it overflows that.
usual = st.floats(2.0**-90, 2.0**90, width=32) | st.just(0.0) | st.floats(-8, 8, width=16)
usual_parts = st.lists(hnp.arrays(np.float32, st.integers(0, 20), elements=usual), max_size=5)


@given(parts, st.randoms())
def test_order_free_counts_are_those_of_the_final_width_in_any_order(
    values: list[np.ndarray], random: Random
) -> None:
    histogram = histogram_of(*values)
    everything = together(values)
    bins = histogram.order_free
    assert histogram.amax == np.abs(everything).max(initial=0)
    assert histogram.elements == everything.size
    assert histogram.zeros == (everything == 0).sum()
    np.testing.assert_array_equal(bins.counts, order_free(everything, bins.width))
    random.shuffle(values)
    shuffled = histogram_of(*values)
    assert (shuffled.order_free.width, shuffled.amax) == (bins.width, histogram.amax)
    np.testing.assert_array_equal(shuffled.order_free.counts, bins.counts)


@given(st.floats(min_value=2.0**-100, width=32, allow_nan=False, allow_infinity=False))
def test_half_to_all_of_the_order_free_bins_are_in_use(amax: float) -> None:
    bins = histogram_of(np.array([amax / 3, amax], np.float32)).order_free
    assert OrderFree.BINS // 2 < bins.used <= OrderFree.BINS
    assert bins.counts[bins.used - 1] > 0
    assert np.log2(bins.width) % 1 == 0


def test_growing_over_the_whole_range_of_float32_loses_no_count() -> None:
    steps = [np.full(7, 2.0**k, np.float32) for k in range(-149, 128)]
    histogram, reverse = histogram_of(*steps), histogram_of(*reversed(steps))
    for bins in (histogram.order_free, histogram.doubling, reverse.doubling):
        assert bins.counts.sum() == 7 * len(steps)
    np.testing.assert_array_equal(histogram.order_free.counts, reverse.order_free.counts)
    # Each step was the range when it was counted, so it was in the last bin: one below its own.
    np.testing.assert_array_equal(histogram.doubling.counts[[0, 1, 2047]], [7 * 266, 7, 7])


@given(usual_parts)
def test_doubling_counts_are_those_of_the_rule(values: list[np.ndarray]) -> None:
    bins = histogram_of(*values).doubling
    reach, counts = doubled(values)
    assert bins.range == reach
    assert bins.counts.tolist() == counts


@given(usual_parts, st.randoms())
def test_only_the_first_maximum_makes_the_order_part_of_doubling(
    values: list[np.ndarray], random: Random
) -> None:
    """After the first image the others may come in any order: pairs of bins merge exactly.

    But for values that equal a range to the last bit or two: they are in its last bin, not one further.
    """
    assume(values and np.abs(values[0]).max(initial=0) > 0)
    first, *others = values
    mantissas = np.frexp(np.abs(together(others)))[0]
    assume(not np.isclose(mantissas, np.frexp(np.abs(first).max())[0], rtol=1e-6).any())
    random.shuffle(others)
    bins, shuffled = histogram_of(*values).doubling, histogram_of(first, *others).doubling
    assert bins.range == shuffled.range
    np.testing.assert_array_equal(bins.counts, shuffled.counts)


@given(parts)
def test_doubling_covers_all_and_less_than_twice_of_it(values: list[np.ndarray]) -> None:
    """Whatever is in an image, subnormal or near the end of float32: no count is lost."""
    histogram = histogram_of(*values)
    bins = histogram.doubling
    assert bins.counts.sum() == histogram.elements
    assert bins.range / 2 < histogram.amax <= bins.range * Doubling.SLACK or histogram.amax == 0
    if histogram.amax:
        assert bins.counts[Doubling.BINS // 2 - 1 :].sum() > 0


def test_another_first_image_gives_other_bins() -> None:
    small, large = np.array([0.3, 0.7], np.float32), np.array([0.1, 1.0], np.float32)
    assert histogram_of(large, small).doubling.range == 1.0
    assert histogram_of(small, large).doubling.range == 2 * float(np.float32(0.7))


@pytest.mark.parametrize(
    ("first", "second", "reach"),
    [
        (1.0, 1.0 + 2**-23, 1.0),  # the last bit of another engine's sigmoid
        (1.0, 1.0 + 2**-22, 2.0),
        (0.999999, 1.0, 2 * float(np.float32(0.999999))),
        (1.0, 4.0, 4.0),
        (1.0, 4.5, 8.0),
        (0.0, 0.75, 0.75),  # an image of zeros sets no range
    ],
)
def test_the_range_doubles_where_a_value_lies_above_it(
    first: float, second: float, reach: float
) -> None:
    images = [np.array([value], np.float32) for value in (first, second)]
    bins = histogram_of(*images).doubling
    assert bins.range == reach
    assert bins.counts.sum() == 2


def test_only_what_is_read_is_kept() -> None:
    values = np.array([1.0, -3.0], np.float32)
    for kept, left in (((), 0), ((ORDER_FREE,), 1), ((DOUBLING,), 1)):
        histogram = Histogram("x", kept)
        histogram.add(values)
        assert histogram.amax == 3.0
        assert sum(bins is not None for bins in (histogram.order_free, histogram.doubling)) == left


def test_larger_than_a_block() -> None:
    values = np.random.default_rng(0).standard_normal((3, BLOCK + 17)).astype(np.float32)
    histogram = histogram_of(values)
    bins = histogram.order_free
    np.testing.assert_array_equal(bins.counts, order_free(values, bins.width))
    assert histogram.doubling.range == np.abs(values).max()  # of all blocks, before any is counted


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_floating_point_types(dtype: str) -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(dtype)
    mine, as_float32 = histogram_of(values), histogram_of(values.astype(np.float32))
    np.testing.assert_array_equal(mine.order_free.counts, as_float32.order_free.counts)
    np.testing.assert_array_equal(mine.doubling.counts, as_float32.doubling.counts)


@pytest.mark.parametrize("values", [[], [0.0], [0.0, -0.0]])
def test_zeros_have_no_range(values: list[float]) -> None:
    histogram = histogram_of(np.array(values, np.float32))
    assert histogram.amax == histogram.doubling.range == 0
    assert histogram.order_free.counts.sum() == histogram.doubling.counts.sum() == len(values)
    assert histogram.zeros == len(values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_names_its_tensor(value: float) -> None:
    histogram = Histogram("neck/conv: 3")
    values = np.zeros(2 * BLOCK, np.float32)
    values[BLOCK + 1] = value
    with pytest.raises(ValueError, match="'neck/conv: 3' holds NaN or infinite"):
        histogram.add(values)
    assert histogram.elements == histogram.doubling.counts.sum() == 0


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
