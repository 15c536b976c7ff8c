"""Student's t with several parts: against scipy, and by its level."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trt_matrix.core.verdicts.student import half_width, one_sided, p_value


def test_many_images_do_not_lend_the_few_builds_their_degrees_of_freedom() -> None:
    """Unequal variances without any effect: Banerjee's test holds its level, Satterthwaite's does not."""
    generator = np.random.default_rng(4)
    level, few, many = 0.001, 2, 31
    found = {"banerjee": 0, "satterthwaite": 0}
    for _ in range(tries := 8000):
        s = generator.chisquare(few) / few
        z = 0.02 * generator.chisquare(many) / many
        value = generator.normal(0, math.sqrt(1.02))
        degrees = (s + z) ** 2 / (s**2 / few + z**2 / many)
        found["banerjee"] += p_value(value, (s, few), (z, many)) < level
        found["satterthwaite"] += 2 * stats.t.sf(abs(value) / math.sqrt(s + z), degrees) < level
    assert found["banerjee"] <= stats.binom.ppf(0.999, tries, level)
    assert found["satterthwaite"] > stats.binom.ppf(0.999, tries, level)


@given(
    st.floats(1e-6, 1e6),
    st.tuples(st.floats(1e-9, 1e3), st.integers(1, 300)),
    st.tuples(st.floats(1e-9, 1e3), st.integers(1, 300)),
)
def test_the_p_value_is_the_level_whose_interval_reaches_zero(
    value: float, one: tuple[float, int], other: tuple[float, int]
) -> None:
    p = p_value(value, one, other)
    assert p == p_value(-value, other, one)
    if 1e-11 < p < 0.999:  # above, the width falls to 0 faster than p is exact

        def width(level: float) -> float:
            parts = (s * stats.t.isf(level / 2, degrees) ** 2 for s, degrees in (one, other))
            return math.sqrt(sum(parts))

        assert width(p * (1 + 2e-4)) <= value <= width(p * (1 - 2e-4))
    alone = p_value(value, one)
    assert alone == pytest.approx(2 * stats.t.sf(value / math.sqrt(one[0]), one[1]), rel=1e-6)
    assert p >= alone * (1 - 2e-4)


@given(
    st.floats(-1e3, 1e3), st.tuples(st.floats(1e-9, 1e3), st.integers(1, 300)), st.floats(1e-9, 1e3)
)
def test_one_sided_falls_with_the_value_and_its_two_sides_add_up(
    value: float, one: tuple[float, int], known: float
) -> None:
    parts = (one, (known, math.inf))
    assert one_sided(value, *parts) + one_sided(-value, *parts) == pytest.approx(1, abs=1e-9)
    assert one_sided(value + 1, *parts) <= one_sided(value, *parts) * (1 + 2e-4)


def test_a_known_variance_is_the_normal_distribution() -> None:
    assert one_sided(1.96, (1.0, math.inf)) == pytest.approx(stats.norm.sf(1.96), rel=1e-9)
    assert half_width((4.0, math.inf)) == pytest.approx(2 * stats.norm.isf(0.025))


def test_where_nothing_varies_any_difference_is_certain() -> None:
    assert one_sided(1e-9, (0.0, math.inf)) == 0.0
    assert one_sided(0.0, (0.0, math.inf)) == 1.0
    assert one_sided(-1e-9) == 1.0
    assert half_width((0.0, 3)) == 0.0
    assert (p_value(0.0), p_value(1e-9)) == (1.0, 0.0)


def test_where_a_variance_is_unknown_nothing_is() -> None:
    assert one_sided(1e9, (math.inf, 1)) == 0.5
    assert half_width((math.inf, 1), (0.0, 3)) == math.inf


def test_a_part_without_variance_lends_no_degrees() -> None:
    assert one_sided(3.0, (1.0, 2), (0.0, 300)) == one_sided(3.0, (1.0, 2))
