"""How builds differ: by hand, and noisy cells kept apart."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trt_matrix.core.verdicts.build_noise import EXACT, MOST, Noise, assumed, build_noise
from trt_matrix.core.verdicts.sample import Sample

IMAGES = 6


def built(*logs: float, images: int = IMAGES) -> Sample:
    """Returns builds whose errors have these logarithms, alike on every image."""
    errors = np.exp(np.array(logs))[:, np.newaxis] * np.ones(images)
    return Sample(errors, np.full(images, 10.0))


def noises(fixed: Any = False, **cells: Sample) -> Mapping[str, Noise]:
    found = build_noise({"h": cells}, fixed=fixed)
    return {cell: found["h", cell] for cell in cells}


def test_equal_noise_is_pooled_by_degrees() -> None:
    found = noises(a=built(0, 0.1), b=built(5, 5.1, 5.2), c=built(-3, -3.1))
    expected = (0.005 + 2 * 0.01 + 0.005) / 4
    for noise in found.values():
        assert noise.pooled_sqnr == pytest.approx((expected, 4))
        assert noise.sqnr == pytest.approx(noise.image), "images are alike"
    assert found["b"].sqnr == pytest.approx((0.01, 4)), "its own is larger"
    assert found["a"].sqnr == pytest.approx((expected, 1)), "one degree stays one"


def test_the_variance_is_at_least_that_of_the_pass() -> None:
    found = noises(quiet=built(0, 0, 0), loud=built(0, 0.1, 0.2))
    assert found["quiet"].sqnr == pytest.approx((0.005, 4))


@pytest.mark.parametrize(("share", "apart"), [(0.99, False), (1.01, True)])
def test_a_cell_is_noisy_beyond_the_99_percent_point_of_f(share: float, *, apart: bool) -> None:
    """Five builds each: F_.99(4, 8), one cell's variance against that of two others."""
    bound = float(stats.f.ppf(0.99, 4, 8))
    base = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    found = noises(loud=built(*(base * math.sqrt(share * bound))), a=built(*base), b=built(*base))
    assert found["loud"].sqnr[1] == (4 if apart else 12)
    assert found["a"].sqnr[1] == 12
    own = share * bound * 0.025
    assert found["loud"].sqnr[0] == pytest.approx(own)


@pytest.mark.parametrize(("ratio", "apart"), [(4 * 0.99, False), (4 * 1.01, True)])
def test_with_few_builds_four_times_the_variance_is_noisy(ratio: float, *, apart: bool) -> None:
    base = np.array([-0.1, 0.0, 0.1])
    found = noises(loud=built(*(base * math.sqrt(ratio))), a=built(*base), b=built(*base))
    assert found["loud"].sqnr[1] == (2 if apart else 6)


def test_a_cell_that_is_noisy_in_all_heads_is_noisy_in_each() -> None:
    """Its ratio, averaged over heads, times the rest of the head: never the pool that it is in itself."""
    base = np.array([-0.1, 0.0, 0.1])
    heads = {
        head: {"loud": built(*(base * loud)), "a": built(*base), "b": built(*base)}
        for head, loud in (("one", 10.0), ("other", 1.0))
    }
    found = build_noise(heads, fixed=False)
    assert found["other", "loud"].sqnr == pytest.approx((0.01 * (100 + 1) / 2, 2))
    assert found["one", "loud"].sqnr == pytest.approx((1.0, 2))
    assert found["one", "a"].sqnr[1] == 6


def test_a_loud_cell_among_those_that_are_equal_to_the_bit_is_noisy() -> None:
    found = noises(loud=built(0, 0.2), a=built(1, 1), b=built(2, 2), c=built(3, 3))
    assert found["loud"].sqnr[1] == 1
    assert found["loud"].sqnr[0] == pytest.approx(0.02)
    assert found["a"].sqnr[0] == pytest.approx(0.02 / 4)
    assert MOST == 1e6


def test_one_build_leaves_the_noise_unknown() -> None:
    found = noises(a=built(1.0), b=built(2.0))
    assert not found["a"].known
    assert not noises(a=built(1.0), b=built(2.0, 2.1))["a"].known, "another cell tells it nothing"


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5), st.integers(2, 5))
def test_equal_bits_give_exactly_zero(values: list[float], builds: int) -> None:
    row = np.array([values])
    sample = Sample(np.repeat(row, builds, axis=0), np.full(len(values), 10.0))
    for fixed in (False, True):
        noise = noises(fixed=fixed, a=sample, b=sample)["a"]
        assert (noise.sqnr[0], noise.image[0]) == (0.0, 0.0)
    assert noises(fixed=True, a=sample)["a"] is EXACT


def test_only_where_builds_cannot_differ_equal_bits_are_no_noise() -> None:
    cells = {"same": built(1, 1, 1), "other": built(0, 0.1, 0.2)}
    assert noises(fixed=True, **cells)["same"] is EXACT
    assert noises(fixed=False, **cells)["same"].sqnr[0] > 0
    assert noises(fixed=True, **cells)["other"].sqnr[0] > 0, "its bits differ all the same"


def test_the_two_views_are_estimated_apart() -> None:
    """One image swings, all others stand: the typical image hardly moves."""
    errors = np.ones((3, 100))
    errors[:, 0] = [100, 1000, 10000]
    noise = noises(a=Sample(errors, np.full(100, 1e6)))["a"]
    assert noise.sqnr[0] == pytest.approx(np.log(errors.sum(axis=1)).var(ddof=1))
    assert noise.image[0] == pytest.approx((math.log(10) / 100) ** 2)


def test_an_assumed_noise_is_known() -> None:
    assert assumed(0.3).sqnr == pytest.approx((0.09, math.inf))
    assert assumed(0.3).known


def test_few_equal_cells_are_hardly_ever_called_noisy() -> None:
    generator = np.random.default_rng(8)
    noisy = 0
    for _ in range(tries := 400):
        found = noises(**{f"c{i}": built(*generator.normal(0, 0.1, 5), images=1) for i in range(5)})
        noisy += sum(noise.sqnr[1] == 4 for noise in found.values())
    assert noisy <= stats.binom.ppf(0.999, 5 * tries, 0.01)
