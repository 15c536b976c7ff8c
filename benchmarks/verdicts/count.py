"""Counts scores over many matrices of one row: a family's variant at a number of repeats."""

import zlib
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.verdicts.core import judged, told
from benchmarks.verdicts.families import FAMILIES
from benchmarks.verdicts.made import Matrix
from benchmarks.verdicts.score import score

OUTCOMES = ("false", "wrong", "undecided", "found", "whole", "missed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    family: str
    variant: str
    repeats: int
    matrices: int
    outcomes: Counter[str] = field(default_factory=Counter)
    """Outcome → matrices."""
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(`false` or `wrong`, kind) → matrices."""
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(`guilty` or `innocent`, kind) → cells and heads."""
    judged: int = 0
    """Matrices that were judged as a whole, of which `acquitted` counts."""

    def __add__(self, other: "Row") -> "Row":
        return Row(
            family=self.family,
            variant=self.variant,
            repeats=self.repeats,
            matrices=self.matrices + other.matrices,
            outcomes=self.outcomes + other.outcomes,
            kinds=self.kinds + other.kinds,
            told=self.told + other.told,
            judged=self.judged + other.judged,
        )


def with_wide_gates(matrix: Matrix) -> Matrix:
    """Gives heads without a gate one that every cell holds: nobody may be acquitted for that."""
    wide = {}
    for head, name in enumerate(matrix.heads):
        worst = max(
            (
                float(cell.errors[head].sum(axis=1).max() / matrix.energy[head].sum())
                for cell in matrix.cells
                if cell.int8 and cell.errors.shape[1]
            ),
            default=1.0,
        )
        wide[name] = 2 * worst
    return replace(matrix, gates=wide | dict(matrix.gates))


def counted(
    name: str, variant: str, repeats: int, count: int, whole: int, seed: int = 1, chunk: int = 0
) -> Row:
    """Judges `count` matrices by their sums, and `whole` more as a whole judgement each."""
    family = FAMILIES[name]
    key = zlib.crc32(f"{name} {variant}".encode())
    generator = np.random.default_rng([seed, key, repeats, chunk])
    outcomes: Counter[str] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    said: Counter[tuple[str, str]] = Counter()
    by_sums = 0 if family.judged else count
    for number in range(by_sums + whole):
        matrix = family.variants[variant](generator, repeats)
        if number >= by_sums and number % 2:
            matrix = with_wide_gates(matrix)
        one = score(matrix, (told if number < by_sums else judged)(matrix))
        outcomes.update(outcome for outcome in (*OUTCOMES, "acquitted") if getattr(one, outcome))
        kinds.update(("false", kind) for kind in one.false)
        kinds.update(("wrong", kind) for kind in one.wrong)
        said += one.told
    return Row(
        family=name,
        variant=variant,
        repeats=repeats,
        matrices=by_sums + whole,
        outcomes=outcomes,
        kinds=kinds,
        told=said,
        judged=whole,
    )
