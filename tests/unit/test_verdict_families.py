"""A few dozen matrices of each family, with the limits of `python -m benchmarks.verdicts --check`."""

import dataclasses

import numpy as np
import pytest

from benchmarks.verdicts.core import judged, told
from benchmarks.verdicts.count import Row, counted
from benchmarks.verdicts.families import FAMILIES
from benchmarks.verdicts.limits import broken
from benchmarks.verdicts.made import Matrix
from benchmarks.verdicts.score import Claims, Score, score

MATRICES = 24
"""A family's, over all its rows."""

JUDGED = (
    "gate-at-value",
    "baseline-fell-back",
    "engine-one",
    "all-alike",
    "implicit-own-alone",
    "implicit-all",
    "table",
    "limit-held",
)
"""Families in which answers have gone wrong beside right verdicts."""


def rows_of(name: str) -> list[Row]:
    """Every variant at 3 repeats, and one of them at the others."""
    family = FAMILIES[name]
    variants = list(family.variants)
    three = [(variant, 3 if 3 in family.repeats else family.repeats[0]) for variant in variants]
    others = [
        (variants[number % len(variants)], repeats)
        for number, repeats in enumerate(
            repeat for repeat in family.repeats if repeat != 3 and repeat <= 5
        )
    ]
    chosen = list(dict.fromkeys(three + others))
    each = max(1, round(MATRICES * family.weight / len(chosen)))
    sums, whole = (0, 1) if family.judged else (each, 0)
    return [counted(name, variant, repeats, sums, whole, 7) for variant, repeats in chosen]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_keeps_its_limits(name: str) -> None:
    assert broken(rows_of(name)) == []


@pytest.mark.parametrize("name", JUDGED)
def test_a_whole_judgement_keeps_the_limits_and_acquits_nobody(name: str) -> None:
    family = FAMILIES[name]
    repeats = 3 if 3 in family.repeats else 2
    assert broken([counted(name, variant, repeats, 0, 3, 11) for variant in family.variants]) == []


POWER = [
    (name, variant, repeats)
    for name, family in FAMILIES.items()
    for variant, repeats in family.power
]


@pytest.mark.parametrize(("name", "variant", "repeats"), POWER)
def test_what_must_be_found_is_found(name: str, variant: str, repeats: int) -> None:
    assert broken([counted(name, variant, repeats, 40, 0, 5)]) == []


def test_one_build_of_an_engine_that_may_build_otherwise_accuses_nobody() -> None:
    make = FAMILIES["loud"].variants["sd 0.1, 3 dB"]
    generator = np.random.default_rng(3)
    kinds = [{kind for _, _, kind in told(make(generator, 1)).kinds} for _ in range(10)]
    assert all(kind <= {"ok", "inconclusive"} for kind in kinds)
    assert sum("inconclusive" in kind for kind in kinds) >= 8


def matrix(name: str = "engine-one", variant: str = "6 dB", seed: int = 1) -> Matrix:
    return FAMILIES[name].variants[variant](np.random.default_rng(seed), 3)


def scored(made: Matrix, *claims: tuple[str, str, str], clean: str = "") -> Score:
    return score(made, Claims(kinds=frozenset(claims), clean=frozenset(filter(None, [clean]))))


def test_the_same_seed_makes_the_same_matrix() -> None:
    one, other, third = matrix(), matrix(), matrix(seed=2)
    assert all(
        np.array_equal(a.errors, b.errors) for a, b in zip(one.cells, other.cells, strict=True)
    )
    assert one.energy.shape != third.energy.shape or not np.array_equal(one.energy, third.energy)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_variant_makes_matrices_whose_truth_is_about_their_cells(name: str) -> None:
    for variant, make in FAMILIES[name].variants.items():
        made = make(np.random.default_rng(3), 2)
        cells = {cell.id for cell in made.cells}
        assert len(cells) == len(made.cells), variant
        assert {cell for cell, _ in made.guilty} <= cells
        assert {cell for cell, _ in made.allowed} <= cells
        for cell in made.cells:
            assert np.isfinite(cell.errors).all()
            assert (cell.errors >= 0).all()


def test_scores_tell_false_from_wrong_and_missed_from_left_open() -> None:
    made = dataclasses.replace(matrix())
    (cell,) = made.plants[0].cells
    (head, *_) = made.plants[0].heads
    innocent = next(one.id for one in made.cells if one.id != cell)
    plants = (dataclasses.replace(made.plants[0], findable=True),)
    made = dataclasses.replace(made, plants=plants)
    said = scored(made, (cell, head, "engine_regression"))
    assert (said.found, said.false, said.wrong, said.missed) == (
        True,
        frozenset(),
        frozenset(),
        False,
    )
    said = scored(made, (cell, head, "int8_limit"), (innocent, head, "engine_loss"))
    assert said.wrong == {"int8_limit"}
    assert said.false == {"engine_loss"}
    assert said.missed
    said = scored(made, (cell, head, "inconclusive"))
    assert not said.found
    assert not said.missed
    assert not said.undecided
    assert scored(made, (innocent, head, "inconclusive")).undecided
    assert scored(made, (cell, head, "ok"), clean=head).acquitted
    also = scored(made, (cell, head, "engine_loss"))
    assert not also.wrong
    assert not also.found


def test_limits_break_on_counts_that_chance_does_not_give() -> None:
    def row(repeats: int, **outcomes: int) -> Row:
        one = Row(family="equal", variant="sd 0.1", repeats=repeats, matrices=200)
        one.outcomes.update(outcomes)
        return one

    assert broken([row(2, false=3), row(3, undecided=14)]) == []
    assert "false" in broken([row(2, false=12)])[0]
    assert "undecided" in broken([row(2, undecided=30)])[0]


def test_sums_and_whole_judgements_say_the_same_of_cells() -> None:
    """The made-up records carry the made-up numbers: float32 and the sums of outputs lose nothing."""
    for seed in range(4):
        made = matrix("engine-several", "20 dB", seed)
        by_sums = {(c, h, k) for c, h, k in told(made).kinds if k != "ok" and "fp32" not in c}
        by_records = {(c, h, k) for c, h, k in judged(made).kinds if k != "ok" and "fp32" not in c}
        assert by_sums == by_records
