import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from job.histogram import DOUBLING, ORDER_FREE, Histogram
from job.thresholds import ALGORITHMS, LEVELS, clipped, divergences, kept, squared_errors, threshold


def slides_divergence(bins: list[float], i: int) -> float:
    """KL divergence of candidate `i` step by step as in GTC 2017 S7310, "Pseudocode: conversion"."""
    p = list(bins[:i])
    p[i - 1] += sum(bins[i:])
    q = [0.0] * i
    for level in range(LEVELS):
        members = [k for k in range(i) if k * LEVELS // i == level and bins[k] > 0]
        for k in members:
            q[k] = sum(bins[m] for m in members) / len(members)
    if not sum(q):
        return math.inf
    p = [x / sum(p) for x in p]
    q = [x / sum(q) for x in q]
    if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
        return math.inf
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


counts = hnp.arrays(
    np.float64,
    st.integers(LEVELS + 1, 500),
    elements=st.one_of(st.just(0.0), st.integers(0, 10**6).map(float)),
)


@given(counts, st.data())
def test_divergences_are_those_of_the_slides(bins: np.ndarray, data: st.DataObject) -> None:
    bins[-1] = max(bins[-1], 1)  # something is left, whatever is clipped
    candidates = np.array([data.draw(st.integers(LEVELS, bins.size)), bins.size])
    wanted = [slides_divergence(bins.tolist(), i) for i in candidates]
    np.testing.assert_allclose(divergences(bins, candidates), wanted, rtol=1e-9, atol=1e-12)


def test_entropy_takes_the_candidate_that_the_slides_take() -> None:
    first, second = np.random.default_rng(0).laplace(size=(2, 20_000)).astype(np.float32)
    histogram = histogram_of(first, second)
    bins = histogram.doubling.counts.astype(float)
    bins[0] = bins[1]
    candidates = [*range(LEVELS, bins.size, 97), bins.size]
    wanted = [slides_divergence(bins.tolist(), i) for i in candidates]
    every = divergences(bins, np.arange(LEVELS, bins.size + 1))
    np.testing.assert_allclose(every[np.array(candidates) - LEVELS], wanted, rtol=1e-9, atol=1e-12)
    best = LEVELS + int(np.argmin(every))
    assert entropy_bins(histogram) == best + 0.5
    assert threshold(histogram, "entropy", {}) < histogram.amax


def entropy_bins(histogram: Histogram) -> float:
    """Returns the threshold of entropy in bins: a candidate and a half."""
    return threshold(histogram, "entropy", {}) / histogram.doubling.width


def test_entropy_takes_the_widest_of_equal_candidates_over_empty_bins_as_well() -> None:
    """Two magnitudes are exact from 1537 bins on: the whole range is taken, though 1.5 is the largest."""
    histogram = histogram_of(np.ones(99), np.array([1.5]))
    assert histogram.doubling.range == 2.0
    assert threshold(histogram, "entropy", {}) == 2048.5 * 2 / 2048 > histogram.amax


def test_entropy_does_not_take_a_lone_value_for_everything() -> None:
    """25,599 equal values and one large one: with the former alone P = Q, as if nothing were lost."""
    values = np.append(np.full(25_599, 0.5), 7.0)
    bins = histogram_of(values).doubling.counts.astype(float)
    lone = int(0.5 * 2048 / 7) + 1
    assert divergences(bins, np.array([lone]))[0] == pytest.approx(0, abs=1e-12)
    assert entropy_bins(histogram_of(values)) == 2048.5


def test_a_first_image_of_zeros_leaves_entropy_to_the_next() -> None:
    zeros = np.zeros_like(GAUSS)
    with_zeros, without = histogram_of(zeros, GAUSS), histogram_of(GAUSS)
    assert entropy_bins(with_zeros) == entropy_bins(without)
    assert with_zeros.doubling.range == without.doubling.range


def test_the_first_image_is_part_of_entropy_and_of_nothing_else() -> None:
    images = [GAUSS[:1000], GAUSS[1000:]]
    histogram, other = histogram_of(*images), histogram_of(*reversed(images))
    for algorithm in ALGORITHMS:
        same = threshold(histogram, algorithm, {}) == threshold(other, algorithm, {})
        assert same == (algorithm != "entropy")


def histogram_of(*images: np.ndarray) -> Histogram:
    histogram = Histogram("x")
    for values in images:
        histogram.add(values.astype(np.float32))
    return histogram


def quantisation_error(values: np.ndarray, amax: float) -> float:
    scale = amax / 127
    quantised = np.clip(np.round(values / scale), -127, 127) * scale
    return float(((values - quantised) ** 2).mean())


rng = np.random.default_rng(7)
GAUSS = rng.standard_normal(400_000).astype(np.float32)
LAPLACE = rng.laplace(size=400_000).astype(np.float32)
DATA = {
    "gauss": GAUSS,
    "half-normal": np.abs(GAUSS),
    "relu": np.maximum(GAUSS, 0),
    "laplace": LAPLACE,
    "uniform": rng.uniform(-3, 3, 400_000).astype(np.float32),
    "outlier": np.append(GAUSS, np.float32(60)),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_thresholds_are_sensible(name: str, algorithm: str) -> None:
    values = DATA[name]
    found = threshold(histogram_of(values), algorithm, {})
    amax = float(np.abs(values).max())
    assert 0 < found <= (1 + 1 / 4096) * amax
    if algorithm == "minmax":
        assert found == amax
    else:  # never much worse than not clipping at all
        assert quantisation_error(values, found) <= 1.05 * quantisation_error(values, amax)


@pytest.mark.parametrize(
    ("name", "sigmas"), [("gauss", 3.92), ("half-normal", 3.92), ("relu", 3.92), ("laplace", 9.89)]
)
def test_mse_finds_the_known_optimum(name: str, sigmas: float) -> None:
    """Banner et al., "Post training 4-bit quantization" (ACIQ), 2019: optimal clipping for 8 bits."""
    assert threshold(histogram_of(DATA[name]), "mse", {}) == pytest.approx(sigmas, rel=0.05)


@pytest.mark.parametrize("name", DATA)
def test_mse_is_no_worse_than_any_other_threshold(name: str) -> None:
    values = DATA[name]
    histogram = histogram_of(values)
    found = quantisation_error(values, threshold(histogram, "mse", {}))
    others = [
        quantisation_error(values, histogram.amax * share) for share in np.linspace(0.05, 1, 60)
    ]
    assert found <= 1.01 * min(others)


def test_squared_errors_are_those_of_the_data() -> None:
    histogram = histogram_of(GAUSS)
    thresholds = np.array([1.0, 2.5, 4.0, histogram.amax])
    width = histogram.order_free.width
    bins = histogram.order_free.counts[: histogram.order_free.used].astype(float)
    found = squared_errors(bins, thresholds / width) * width**2 / GAUSS.size
    wanted = [quantisation_error(GAUSS, amax) for amax in thresholds]
    np.testing.assert_allclose(found, wanted, rtol=0.01)


def test_entropy_cuts_an_outlier_off_where_minmax_does_not() -> None:
    histogram = histogram_of(DATA["outlier"])
    assert threshold(histogram, "minmax", {}) == 60
    assert 3 < threshold(histogram, "entropy", {}) < 6


def test_zeros_do_not_move_entropy() -> None:
    values = np.abs(GAUSS)
    with_zeros = np.concatenate([values, np.zeros(9 * values.size, np.float32)])
    plain, sparse = (threshold(histogram_of(x), "entropy", {}) for x in (values, with_zeros))
    assert sparse == plain


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(st.floats(min_value=2.0**-149, width=32, allow_infinity=False))
def test_a_single_value_is_its_own_threshold(algorithm: str, value: float) -> None:
    histogram = histogram_of(np.full(3, -value, np.float32))
    found = threshold(histogram, algorithm, {})
    assert 0 < found <= (1 + 1 / 4096) * histogram.amax
    if histogram.amax > 2.0**-100:
        assert found == pytest.approx(histogram.amax, rel=1e-3)


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.99, 100])
def test_percentile_is_that_of_the_magnitudes(percentile: float) -> None:
    histogram = histogram_of(GAUSS)
    found = threshold(histogram, "percentile", {"percentile": percentile})
    width = histogram.order_free.width
    assert found == pytest.approx(np.percentile(np.abs(GAUSS), percentile), abs=2 * width)


@pytest.mark.parametrize("amax", [0.01, 0.5, 2.0, 3.9])
def test_the_share_clipped_is_that_of_the_nonzero_values(amax: float) -> None:
    values = np.concatenate([GAUSS, np.zeros(GAUSS.size, np.float32)])
    wanted = (np.abs(GAUSS) > amax).mean()
    histogram = histogram_of(values)
    assert clipped(histogram, amax) == pytest.approx(wanted, abs=2 * histogram.order_free.width)


@pytest.mark.parametrize("values", [[0.0], [], [3.0, -3.0, 0.0]])
def test_nothing_is_clipped_by_the_largest_magnitude(values: list[float]) -> None:
    assert clipped(histogram_of(np.array(values)), 3.0) == 0.0


@given(
    hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(-4, 4, width=32)),
    st.floats(0, 8),
    st.sampled_from(["entropy", "mse", "minmax"]),
)
def test_the_share_clipped_is_a_share(values: np.ndarray, amax: float, algorithm: str) -> None:
    histogram = Histogram("x", kept([algorithm]))
    histogram.add(values)
    if algorithm == "minmax":
        amax = histogram.amax  # no other is asked of a histogram that has no bins
    assert 0 <= clipped(histogram, amax) <= 1


def test_each_algorithm_reads_what_is_kept_for_it() -> None:
    for algorithm in ALGORITHMS:
        histogram = Histogram("x", kept([algorithm, "of another program"]))
        histogram.add(GAUSS)
        assert threshold(histogram, algorithm, {}) == threshold(histogram_of(GAUSS), algorithm, {})
    assert kept(ALGORITHMS) == {ORDER_FREE, DOUBLING}


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        (
            "kl",
            {},
            "unknown calibration algorithm 'kl'; known: entropy, minmax, mse, percentile, robust",
        ),
        ("entropy", {"bins": 3}, "entropy has no option bins; it has: none"),
        ("percentile", {"percent": 99}, "has no option percent; it has: percentile"),
        ("percentile", {"percentile": 0}, "0 < percentile <= 100"),
        ("percentile", {"percentile": 100.1}, "0 < percentile <= 100"),
        ("percentile", {"percentile": float("nan")}, "0 < percentile <= 100"),
        ("percentile", {"percentile": "99"}, "expected a number"),
        ("percentile", {"percentile": True}, "expected a number"),
    ],
)
def test_wrong_algorithms_and_options(
    algorithm: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        threshold(histogram_of(GAUSS[:100]), algorithm, options)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_zeros_have_no_threshold(algorithm: str) -> None:
    with pytest.raises(ValueError, match="'x' is zero in every image"):
        threshold(histogram_of(np.zeros(5)), algorithm, {})
