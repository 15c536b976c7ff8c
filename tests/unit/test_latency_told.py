"""What is said of latencies that are not decided, and what other cells of the pass may change about one."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from tests.unit.test_latency_borders import ROUNDS, SIDES, apart, mean_at
from tests.unit.test_latency_verdicts import BASE, SLOW, matrix, told
from trt_matrix.core.records import Record
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.latency import (
    LEAST,
    latency_sentence,
    latency_verdicts,
    slower_than,
)
from trt_matrix.core.verdicts.verdict import Kind, Verdict

QUIET = [0.01] * 3


def renumbered(record: Record, repeats: Sequence[int]) -> Record:
    """Returns a record whose repeats have these numbers."""
    pairs = zip(record.measurements, repeats, strict=True)
    kept = tuple(one.model_copy(update={"repeat": number}) for one, number in pairs)
    return record.model_copy(update={"measurements": kept})


def disturbed(record: Record) -> Record:
    kept = tuple(
        one.model_copy(update={"start": one.start.model_copy(update={"disturbed": "heat"})})
        for one in record.measurements
        if one.start
    )
    return record.model_copy(update={"measurements": kept})


# Not compared


@pytest.mark.parametrize("which", [{"base"}, {"slow"}, {"base", "slow"}])
def test_what_ran_on_a_disturbed_gpu_alone_accuses_nobody(which: set[str]) -> None:
    records = [
        disturbed(record) if record.environment in which else record
        for record in matrix({"base": BASE, "slow": SLOW})
    ]
    verdict = told(records)["slow"]
    assert (verdict.kind, verdict.needs) == (
        Kind.INCONCLUSIVE,
        "measuring again (--fresh) with the GPU to itself",
    )


def test_repeats_without_a_number_in_common_are_beside_each_other_by_their_means_alone() -> None:
    base, slow = matrix({"base": [0.010, 0.011, 0.012], "slow": [0.020, 0.024]})
    verdict = told([base, renumbered(slow, (3, 4))])["slow"]
    assert (verdict.kind, verdict.needs) == (
        Kind.INCONCLUSIVE,
        "measuring both in one run (--fresh)",
    )
    expected = np.log([0.020, 0.024]).mean() - np.log([0.010, 0.011, 0.012]).mean()
    assert verdict.effect
    assert verdict.effect.log == pytest.approx(expected)
    assert (verdict.effect.low, verdict.effect.high) == (-math.inf, math.inf)
    assert (verdict.effect.p, verdict.effect.builds, verdict.effect.known) == (1.0, 2, False)


def test_of_one_round_in_common_that_round_is_told() -> None:
    base, slow = matrix({"base": [0.010, 0.011], "slow": [0.020, 0.030]})
    verdict = told([base, renumbered(slow, (1, 2))])["slow"]
    assert verdict.effect
    assert verdict.effect.log == pytest.approx(math.log(0.020 / 0.011))
    assert not verdict.effect.known


# How many more


@pytest.mark.parametrize(("others", "needs"), [(0, 3), (1, 2), (2, 2)])
def test_one_more_version_whose_rounds_are_alike_saves_a_round(others: int, needs: int) -> None:
    """Three slow rounds beside three fast ones are enough where one other cell is in no state but one."""
    rows = {"base": [0.010], "slow": [0.020]} | {f"v{n}": [0.010] for n in range(others)}
    assert told(matrix(rows))["slow"].needs == f"{needs} more repeats"


@pytest.mark.parametrize(("others", "needs"), [(0, "2 more repeats"), (4, "1 more repeat")])
def test_what_luck_may_do_is_asked_for_where_the_noise_has_decided(others: int, needs: str) -> None:
    """Two rounds that hardly scatter: a third would decide, but for luck, a fourth where there are no others."""
    rows: dict[str, Sequence[float]] = {"base": [0.01, 0.010001], "slow": [0.02, 0.020001]}
    rows |= {f"v{number}": [0.01, 0.010001] for number in range(others)}
    verdict = told(matrix(rows))["slow"]
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, needs)


def test_two_hundred_rounds_are_the_most_that_are_thought_of() -> None:
    """It is just over 2 %, which no number of rounds tells from 2 %."""
    records = matrix({"base": [0.01] * ROUNDS, "slow": apart(LEAST * 1.001, spread=0.01)})
    (verdict,) = latency_verdicts(records, "base", Rules(least_slowdown=0.02)).values()
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, "194 more repeats")


# What others change


@pytest.mark.parametrize("fast", [0.5, 1.0, 1.019])
def test_cells_that_are_not_slower_do_not_help_to_accuse_another(fast: float) -> None:
    """Of five questions the first has a fifth of the level: no p of those that are faster is small."""
    rows: dict[str, Sequence[float]] = {"base": [0.01] * ROUNDS}
    rows["slow"] = apart(mean_at(0.003, LEAST))
    scatter = apart(math.log(fast), spread=0.002)
    rows |= {f"v{place}": np.roll(scatter, place).tolist() for place in range(4)}
    verdict = told(matrix(rows))["slow"]
    assert verdict.effect
    assert 0.001 < verdict.effect.p < 0.005
    assert verdict.kind is Kind.INCONCLUSIVE
    alone = told(matrix({name: rows[name] for name in ("base", "slow")}))["slow"]
    assert alone.kind is Kind.LATENCY_REGRESSION


@pytest.mark.parametrize(("others", "place_cost"), [(1, 0.06), (2, 0.0)])
def test_four_cells_tell_what_a_place_in_the_round_costs_and_three_do_not(
    others: int, place_cost: float
) -> None:
    """Every place later takes 13 % longer; the slow one twice as long besides."""
    names = ["base", *[f"v{number}" for number in range(others)], "slow"]
    orders = [names, ["slow", *names[:-1]]] * 3
    rows: dict[str, list[float]] = {name: [] for name in names}
    for order in orders:
        for place, name in enumerate(order):
            rows[name].append(0.01 * math.exp(0.12 * place) * (2 if name == "slow" else 1))
    effect = told(matrix(rows, orders))["slow"].effect
    assert effect
    assert effect.log == pytest.approx(math.log(2) + place_cost)


@pytest.mark.parametrize("share", SIDES)
@pytest.mark.parametrize("beyond", [3, 4])
def test_a_baseline_apart_from_most_has_its_own_few_rounds_alone(share: float, beyond: int) -> None:
    """Apart: by more than half of the slowdown. Most: more than half of the others."""
    log, noise = math.log(1.09), 0.01
    patterns = [(1, -1, 0), (0, 1, -1), (-1, 0, 1), (1, 0, -1), (-1, 1, 0), (0, -1, 1)]
    rows = {"base": QUIET, "slow": [0.01 * math.exp(log)] * 3}
    for place, pattern in enumerate(patterns):
        level = share * log / 2 if place < beyond else 0.0
        rows[f"v{place}"] = [0.01 * math.exp(level + noise * step) for step in pattern]
    verdict = told(matrix(rows))["slow"]
    own = share > 1 and beyond == 4
    assert verdict.kind is (Kind.INCONCLUSIVE if own else Kind.LATENCY_REGRESSION)


def test_a_step_of_three_rounds_is_luck_between_two_and_none_beside_a_third() -> None:
    def slower(rows: Mapping[str, Sequence[float]]) -> bool:
        return slower_than("slow/cpu/fp32", "base/cpu/fp32", matrix(rows), Rules())

    rows: dict[str, Sequence[float]] = {"base": QUIET, "slow": [0.02] * 3}
    assert not slower(rows)
    assert slower(rows | {"third": QUIET})


# The sentence


def slow(name: str, relative: float) -> Verdict:
    log = math.log1p(relative)
    effect = Effect(log=log, low=log, high=log, p=0.0, builds=4)
    return Verdict(
        kind=Kind.LATENCY_REGRESSION, cell=name, head=None, against="base", effect=effect
    )


def test_cells_as_slow_as_each_other_are_told_in_their_order() -> None:
    assert latency_sentence([slow("a", 0.2), slow("b", 0.2), slow("c", 0.3)], "base") == (
        "Slower than base, beyond the noise: c takes 30 % longer than base; a takes 20 % longer than base; "
        "b takes 20 % longer than base."
    )


def test_five_cells_are_all_named_and_of_six_it_is_said_how_many_are_not() -> None:
    five = [slow(name, 0.2) for name in "abcde"]
    assert "more" not in latency_sentence(five, "base")
    assert latency_sentence([*five, slow("f", 0.1)], "base").endswith("; and 1 more.")


def test_of_two_things_that_would_decide_either_is_named() -> None:
    open_ = [
        Verdict(kind=Kind.INCONCLUSIVE, cell=name, head=None, needs=needs)
        for name, needs in (("a", "2 more repeats"), ("b", "1 more repeat"))
    ]
    assert latency_sentence(open_, "base") == (
        "2 cells may be slower: 1 more repeat or 2 more repeats would decide."
    )
