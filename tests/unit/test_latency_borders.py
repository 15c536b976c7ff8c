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
    return [0.01 * math.exp(mean + spread * one) for one in PATTERN]


def pair(seconds: Sequence[float]) -> Verdict | None:
    return told(matrix({"base": [0.01] * ROUNDS, "slow": seconds})).get("slow")


def mean_at(p: float, least: float = 0.0) -> float:
    return least + float(stats.t.isf(p, ROUNDS - 1)) * SPREAD / math.sqrt(ROUNDS)


@pytest.mark.parametrize("share", SIDES)
def test_a_slowdown_counts_from_5_percent_on(share: float) -> None:
    verdict = pair(apart(math.log1p(0.05 * share), spread=1e-4))
    assert (verdict is not None) is (share > 1)
    assert verdict is None or verdict.kind is Kind.LATENCY_REGRESSION


@pytest.mark.parametrize("share", SIDES)
@pytest.mark.parametrize("looks", [1, 2])
def test_it_is_found_where_more_than_2_percent_is_certain_but_for_1_of_200(
    share: float, looks: int
) -> None:
    mean = mean_at(share * 0.005 / looks, LEAST)
    records = matrix({"base": [0.01] * ROUNDS, "slow": apart(mean)})
    (verdict,) = latency_verdicts(records, "base", Rules(looks=looks)).values()
    assert verdict.effect
    assert verdict.effect.p == pytest.approx(share * 0.005 / looks)
    assert verdict.kind is (Kind.LATENCY_REGRESSION if share < 1 else Kind.INCONCLUSIVE)


@pytest.mark.parametrize("share", SIDES)
def test_it_is_looked_into_where_any_slowdown_is_certain_but_for_1_of_50(share: float) -> None:
    verdict = pair(apart(mean_at(share * 0.02)))
    assert (verdict is not None) is (share < 1)
    assert verdict is None or verdict.kind is Kind.INCONCLUSIVE


@pytest.mark.parametrize(("devices", "found"), [(1, True), (2, True), (3, False)])
def test_luck_may_make_a_find_in_9_of_1000_matrices(devices: int, *, found: bool) -> None:
    """Four slow rounds against four fast ones are 1 of 256 by luck, on every device anew."""
    records = [
        record
        for number in range(devices)
        for record in matrix({"base": [0.01] * 4, "slow": [0.02] * 4}, device=f"gpu:{number}")
    ]
    kinds = {verdict.kind for verdict in latency_verdicts(records, "base", Rules()).values()}
    assert kinds == {Kind.LATENCY_REGRESSION if found else Kind.INCONCLUSIVE}


@pytest.mark.parametrize("mean", [0.058, 0.07, 0.085])
def test_as_many_repeats_are_asked_for_as_decide_if_what_is_seen_goes_on(mean: float) -> None:
    verdict = pair(apart(mean))

    def p(rounds: int) -> float:
        return float(stats.t.sf((mean - LEAST) * math.sqrt(rounds) / SPREAD, rounds - 1))

    more = next(rounds for rounds in range(ROUNDS + 1, 200) if p(rounds) <= 0.005) - ROUNDS
    assert verdict
    assert (verdict.kind, verdict.needs) == (
        Kind.INCONCLUSIVE, f"{more} more repeat{'s' if more > 1 else ''}",
    )  # fmt: skip


@pytest.mark.parametrize("share", SIDES)
def test_of_what_all_noise_speaks_for_its_own_must_not_do_as_much_once_in_ten(share: float) -> None:
    """Ten steady cells make the noise of all small; the pair's own is its own."""
    mean = float(stats.t.isf(share * 0.1, ROUNDS - 1)) * 0.15 / math.sqrt(ROUNDS)
    steady = {name: [0.01] * ROUNDS for name in "abcdefghij"}
    rows = {"base": [0.01] * ROUNDS, "slow": apart(mean, 0.15)} | steady
    verdict = told(matrix(rows)).get("slow")
    assert (verdict is not None) is (share < 1)
    assert verdict is None or verdict.kind is Kind.INCONCLUSIVE


@pytest.mark.parametrize("share", SIDES)
def test_others_that_wander_by_half_of_a_slowdown_are_luck_in_sight(share: float) -> None:
    """Three rounds are enough beside four steady versions, and not beside four that have both states."""
    log = math.log(2)
    half = share * log / 4
    wandering = 0.01 * np.exp(np.array([[half, 0, -half], [-half, 0, half]]))
    rows: dict[str, Sequence[float]] = {"base": [0.01] * 3, "slow": [0.02] * 3}
    rows |= {name: wandering[place % 2].tolist() for place, name in enumerate("abcd")}
    kind = told(matrix(rows))["slow"].kind
    assert kind is (Kind.LATENCY_REGRESSION if share < 1 else Kind.INCONCLUSIVE)


def test_two_rounds_of_equal_times_are_a_test_and_one_is_none() -> None:
    steady = {name: [0.01, 0.01] for name in ("base", "a", "b", "c")}
    verdict = told(matrix(steady | {"slow": [0.02, 0.02]}))["slow"]
    assert verdict.effect
    assert (verdict.effect.known, verdict.effect.builds) == (True, 2)
    once = {name: seconds[:1] for name, seconds in steady.items()}
    (alone,) = told(matrix(once | {"slow": [0.02]})).values()
    assert alone.effect
    assert not alone.effect.known


@pytest.mark.parametrize(("looks", "kind"), [(1, Kind.LATENCY_REGRESSION), (2, Kind.INCONCLUSIVE)])
def test_each_look_has_its_share_of_what_luck_may_do(looks: int, kind: Kind) -> None:
    """Four rounds of two cells: 1 of 256 is less than 9 of 1,000, and not than half of that twice over."""
    records = [
        record
        for device in ("gpu:0", "gpu:1")
        for record in matrix({"base": [0.01] * 4, "slow": [0.02] * 4}, device=device)
    ]
    found = latency_verdicts(records, "base", Rules(looks=looks)).values()
    assert {verdict.kind for verdict in found} == {kind}


@pytest.mark.parametrize(
    ("devices", "steady", "rest", "kind"),
    [
        (2, 2, 1, Kind.LATENCY_REGRESSION),  # 7 pairs: 0.995 of what luck may do
        (5, 4, 4, Kind.INCONCLUSIVE),  # 29 pairs: 1.001 of it
    ],
)
def test_three_rounds_are_enough_up_to_what_luck_may_do_over_all_pairs(
    devices: int, steady: int, rest: int, kind: Kind
) -> None:
    quiet = [0.01] * 3
    rows: dict[str, Sequence[float]] = {"base": quiet, "slow": [0.02] * 3}
    rows |= {f"v{number}": quiet for number in range(steady)}
    others: dict[str, Sequence[float]] = {"base": quiet}
    others |= {f"v{number}": quiet for number in range(rest)}
    records = [
        record for number in range(devices) for record in matrix(rows, device=f"gpu:{number}")
    ]
    records += matrix(others, device="gpu:last")
    verdicts = latency_verdicts(records, "base", Rules())
    assert {verdict.kind for verdict in verdicts.values()} == {kind}
    assert len(verdicts) == devices
