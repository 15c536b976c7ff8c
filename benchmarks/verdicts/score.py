"""What was said of a matrix against what is true of it."""

from collections import Counter
from dataclasses import dataclass, field

from benchmarks.verdicts.made import NO_CLAIM, Matrix, Plant


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    kinds: frozenset[tuple[str, str | None, str]]
    """(cell, head, kind of verdict); without a head it is about the whole cell."""
    findings: frozenset[tuple[str, str | None, str]] = frozenset()
    """(environment, head, kind) of an answer; only of a whole judgement."""
    clean: frozenset[str] = frozenset()
    """Heads of which it was said that nothing is wrong; only of a whole judgement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Of one matrix."""

    false: frozenset[str]
    """Kinds that accuse innocent cells."""
    wrong: frozenset[str]
    """Kinds that accuse guilty cells of what they did not do."""
    undecided: bool
    """Something innocent is left open."""
    found: bool
    """Every cause is named, in one of its cells at least."""
    whole: bool
    """Every cause is named in each of its cells and heads."""
    missed: bool
    """Harm of 1 dB or more that could be found is neither named nor left open."""
    acquitted: bool
    """Nothing is said to be wrong with a head that has such harm; only of a whole judgement."""
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(`guilty` or `innocent`, kind) → how many cells and heads."""


def score(matrix: Matrix, claims: Claims) -> Score:
    false: set[str] = set()
    wrong: set[str] = set()
    guilty = matrix.guilty
    told: Counter[tuple[str, str]] = Counter()
    undecided = False
    for cell, head, kind in claims.kinds:
        at_fault = (cell, head) in guilty
        told["guilty" if at_fault else "innocent", kind] += 1
        if kind in NO_CLAIM:
            undecided |= kind == "inconclusive" and not at_fault
        elif kind not in _allowed(matrix, cell, head):
            (wrong if at_fault else false).add(kind)
    environments = {cell.id: cell.environment for cell in matrix.cells}
    for environment, head, kind in claims.findings:
        cells = [cell for cell, one in environments.items() if one == environment]
        true = frozenset().union(*(_allowed(matrix, cell, head) for cell in cells))
        if kind not in NO_CLAIM and kind not in true:
            at_fault = any((cell, head) in guilty for cell in cells)
            (wrong if at_fault else false).add(kind)
    plants = matrix.plants
    return Score(
        false=frozenset(false),
        wrong=frozenset(wrong),
        undecided=undecided,
        found=bool(plants) and all(_named(plant, claims, environments) for plant in plants),
        whole=bool(plants) and all(_named_everywhere(plant, claims) for plant in plants),
        missed=any(
            plant.findable
            and plant.size_db >= 1
            and not _named(plant, claims, environments)
            and not _open(plant, claims, environments)
            for plant in plants
        ),
        acquitted=any(
            plant.findable and plant.size_db >= 1 and plant.heads & claims.clean for plant in plants
        ),
        told=told,
    )


def _allowed(matrix: Matrix, cell: str, head: str | None) -> frozenset[str]:
    if head is not None:
        return matrix.allowed.get((cell, head), frozenset())
    return frozenset().union(*(matrix.allowed.get((cell, head), ()) for head in matrix.heads))


def _said(plant: Plant, claims: Claims, environments: dict[str, str]) -> frozenset[str]:
    """Returns what was said of its cells, or of their environments as a whole."""
    where = {environments[cell] for cell in plant.cells}
    return frozenset(
        kind for cell, head, kind in claims.kinds
        if cell in plant.cells and (head is None or head in plant.heads)
    ) | frozenset(
        kind for environment, head, kind in claims.findings
        if environment in where and (head is None or head in plant.heads)
    )  # fmt: skip


def _named(plant: Plant, claims: Claims, environments: dict[str, str]) -> bool:
    return bool(plant.named & _said(plant, claims, environments))


def _open(plant: Plant, claims: Claims, environments: dict[str, str]) -> bool:
    return "inconclusive" in _said(plant, claims, environments)


def _named_everywhere(plant: Plant, claims: Claims) -> bool:
    named = {(cell, head) for cell, head, kind in claims.kinds if kind in plant.named}
    return all((cell, head) in named for cell in plant.cells for head in plant.heads)
