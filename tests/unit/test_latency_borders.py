"""Where a cell begins to be called slower: every level and share at 0.99 and 1.01 of it, by Student's own test."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from tests.unit.test_latency_verdicts import matrix, told
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.latency import LEAST, latency_verdicts
from trt_matrix.core.verdicts.verdict import Kind, Verdict

SIDES = (0.99, 1.01)
ROUNDS = 6
PATTERN = np.array([1, 1, 0, 0, -1, -1]) / math.sqrt(4 / 5)
"""Of mean 0 and standard deviation 1, in the rounds of either order."""
SPREAD = 0.05


def apart(mean: float, spread: float = SPREAD) -> list[float]:
    """Returns seconds that are beside those of the baseline, 10 ms, by so much in ln."""
    return (0.01 * np.exp(mean + spread * PATTERN)).tolist()


def pair(seconds: Sequence[float]) -> Verdict | None:
    return told(matrix({"base": [0.01] * ROUNDS, "slow": seconds})).get("slow")


def mean_at(p: float, least: float = 0.0) -> float:
    return least + float(stats.t.isf(p, ROUNDS - 1)) * SPREAD / math.sqrt(ROUNDS)


@pytest.mark.parametrize("share", SIDES)
def test_a_slowdown_counts_from_5_percent_on(share: float) -> None:
    found = pair(apart(math.log1p(0.05 * share), spread=1e-4))
    assert (found is not None) is (share > 1)
    assert found is None or found.kind is Kind.LATENCY_REGRESSION


@pytest.mark.parametrize("share", SIDES)
@pytest.mark.parametrize("looks", [1, 2])
def test_it_is_found_where_more_than_2_percent_is_certain_but_for_1_of_200(
    share: float, looks: int
) -> None:
    mean = mean_at(share * 0.005 / looks, LEAST)
    records = matrix({"base": [0.01] * ROUNDS, "slow": apart(mean)})
    (found,) = latency_verdicts(records, "base", Rules(looks=looks)).values()
    assert found.effect
    assert found.effect.p == pytest.approx(share * 0.005 / looks)
    assert found.kind is (Kind.LATENCY_REGRESSION if share < 1 else Kind.INCONCLUSIVE)


@pytest.mark.parametrize("share", SIDES)
def test_it_is_looked_into_where_any_slowdown_is_certain_but_for_1_of_50(share: float) -> None:
    found = pair(apart(mean_at(share * 0.02)))
    assert (found is not None) is (share < 1)
    assert found is None or found.kind is Kind.INCONCLUSIVE


@pytest.mark.parametrize(("devices", "found"), [(1, True), (2, True), (3, False)])
def test_luck_may_make_a_find_in_9_of_1000_matrices(devices: int, *, found: bool) -> None:
    """Four slow rounds against four fast ones are 1 of 256 by luck, on every device anew."""
    records = [
        record
        for number in range(devices)
        for record in matrix({"base": [0.01] * 4, "slow": [0.02] * 4}, device=f"gpu:{number}")
    ]
    kinds = {one.kind for one in latency_verdicts(records, "base", Rules()).values()}
    assert kinds == {Kind.LATENCY_REGRESSION if found else Kind.INCONCLUSIVE}


@pytest.mark.parametrize("mean", [0.058, 0.07, 0.085])
def test_as_many_repeats_are_asked_for_as_decide_if_what_is_seen_goes_on(mean: float) -> None:
    found = pair(apart(mean))

    def p(rounds: int) -> float:
        return float(stats.t.sf((mean - LEAST) * math.sqrt(rounds) / SPREAD, rounds - 1))

    more = next(rounds for rounds in range(ROUNDS + 1, 200) if p(rounds) <= 0.005) - ROUNDS
    assert found
    assert (found.kind, found.needs) == (
        Kind.INCONCLUSIVE, f"{more} more repeat{'s' if more > 1 else ''}",
    )  # fmt: skip
