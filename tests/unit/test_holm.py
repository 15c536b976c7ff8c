"""Holm's test against its definition."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.verdicts.holm import holm


@given(st.lists(st.floats(0, 1), max_size=7), st.floats(0.001, 0.5))
def test_rejected_are_those_of_the_closed_bonferroni_test(
    p_values: list[float], rate: float
) -> None:
    """Marcus, Peritz and Gabriel (1976): rejected where every set that holds it is rejected."""
    everything = range(len(p_values))
    sets = [c for size in everything for c in combinations(everything, size + 1)]

    def rejected(one: tuple[int, ...]) -> bool:
        return min(p_values[index] for index in one) <= rate / len(one)

    expected = tuple(all(rejected(one) for one in sets if index in one) for index in everything)
    assert holm(p_values, rate) == expected


@pytest.mark.parametrize(("share", "first"), [(0.99, True), (1.0, True), (1.01, False)])
def test_the_smallest_must_stand_for_all(share: float, *, first: bool) -> None:
    assert holm([0.9, share * 0.005 / 3, 0.9], 0.005) == (False, first, False)


def test_nothing_is_found_among_nothing() -> None:
    assert holm([], 0.01) == ()
