"""Builds that choose: by hand, by simulation, and what docs/concepts/method.md says of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trt_matrix.core.verdicts.guard import SHARES, builds_needed, chance
from trt_matrix.core.verdicts.sample import Floats

LIMIT = 0.009


def good(builds: int) -> Floats:
    return np.zeros(builds)


def bad(builds: int) -> Floats:
    return np.ones(builds)


@pytest.mark.parametrize("builds", [1, 2, 3, 5, 10])
def test_all_bad_against_all_good_is_a_fair_coin_at_most(builds: int) -> None:
    assert chance(bad(builds), good(builds), []) == pytest.approx(0.5 ** (2 * builds))


def test_it_is_the_maximum_over_every_share_of_bad_builds() -> None:
    cell, base = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.1])
    others = [np.array([0.0, 1.0, 1.0]), good(3)]
    expected = max(
        stats.binom.sf(1, 3, share)
        * stats.binom.cdf(0, 4, share)
        * stats.binom.cdf(1, 2, 1 - share**3 - (1 - share) ** 3)
        for share in np.arange(1, 100) / 100
    )
    assert chance(cell, base, others) == pytest.approx(expected)
    assert pytest.approx(np.arange(1, 100) / 100) == SHARES


def test_versions_that_never_mix_speak_against_builds_that_choose() -> None:
    alone = chance(bad(3), good(3), [])
    assert chance(bad(3), good(3), [good(3)]) < alone
    assert chance(bad(3), good(3), [np.array([0.0, 1.0, 1.0])]) > chance(bad(3), good(3), [good(3)])
    assert chance(bad(3), good(3), [good(1)]) == alone, "one build cannot mix"


@pytest.mark.parametrize(("share", "mixes"), [(0.99, False), (1.01, True)])
def test_a_version_mixes_from_half_of_the_difference_on(share: float, *, mixes: bool) -> None:
    other = np.array([0.0, share / 2])
    never = chance(bad(2), good(2), [good(2)])
    assert (chance(bad(2), good(2), [other]) > never) is mixes


def test_what_all_errors_have_in_common_changes_nothing() -> None:
    """They are logarithms: of what is above the middle, and of half the difference, not of their size."""
    cell, base = np.array([1.0, 1.0, 0.2]), np.array([0.0, 0.6, 0.0])
    others = [np.array([0.0, 0.6]), np.array([0.0, 0.1, 0.2]), good(1)]
    known = chance(cell, base, others)
    for common in (-7.0, 3.0):
        assert chance(cell + common, base + common, [one + common for one in others]) == known


def test_a_version_of_one_build_is_no_evidence_beside_others() -> None:
    assert chance(bad(3), good(3), [good(3), good(1)]) == chance(bad(3), good(3), [good(3)])


def test_builds_are_asked_for_from_one_to_a_hundred() -> None:
    assert builds_needed(2, 1, 0.25) == 1
    assert builds_needed(2, 1, 0.24) == 2
    assert builds_needed(2, 1, 1e-80) == 100


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 6))
def test_it_is_a_probability_that_falls_with_builds(cell: int, base: int, others: int) -> None:
    more = [good(2)] * others
    one = chance(bad(cell), good(base), more)
    assert 0 < one <= 1
    assert chance(bad(cell + 1), good(base), more) <= one
    assert chance(bad(cell), good(base), [*more, good(2)]) <= one


@pytest.mark.parametrize(
    ("versions", "heads", "passes", "builds"),
    [
        (2, 3, 1, 5),
        (2, 1, 1, 4),
        (2, 2, 1, 4),
        (3, 3, 1, 4),
        (5, 3, 1, 3),
        (5, 3, 2, 4),
        (12, 9, 1, 3),
        (20, 9, 1, 3),
    ],
)
def test_a_side_needs_so_many_clean_builds(
    versions: int, heads: int, passes: int, builds: int
) -> None:
    """The table of step 5: E = 2: 5 (1 to 2 heads: 4); E = 3: 4; E = 5: 3 (two free passes: 4); E ≥ 12: 3."""
    assert builds_needed(versions, (versions - 1) * heads * passes, LIMIT) == builds


def test_two_builds_a_side_never_decide_between_two_versions() -> None:
    assert builds_needed(2, 1, LIMIT) > 2
    assert builds_needed(2, 1000, 1e-300, most=7) == 7, "more are not asked for"


def test_equal_versions_whose_builds_choose_are_rarely_held_for_different() -> None:
    """Simulated: the guard holds its limit whatever the share of bad builds."""
    generator = np.random.default_rng(3)
    versions, heads, builds, tries = 5, 3, 3, 1500
    for share in (0.1, 0.3, 0.5, 0.9):
        accused = 0
        for _ in range(tries):
            x = (generator.random((heads, versions, builds)) < share) + 0.0
            accused += any(
                x[head, version].mean() > x[head, 0].mean()
                and (versions - 1)
                * heads
                * chance(
                    x[head, version],
                    x[head, 0],
                    [x[head, one] for one in range(1, versions) if one != version],
                )
                <= LIMIT
                for head in range(heads)
                for version in range(1, versions)
            )
        assert accused <= stats.binom.ppf(0.9999, tries, LIMIT), share


def test_nothing_apart_is_no_surprise() -> None:
    assert chance(good(2), good(2), []) == pytest.approx(1, abs=0.05)
    assert math.isfinite(chance(good(1), good(1), []))
