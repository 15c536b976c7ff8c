"""One plain sentence a head: what its numbers say, in the order in which a person asks."""

import math
from collections.abc import Iterable, Mapping, Sequence

from runner.core.judgement import Budget, CellResult, HeadResult
from runner.plan import Precision, TableSource

WORTH_TELLING_DB = 0.05
"""Smaller differences between versions at the same scales are called agreement."""

NOISE_MULTIPLE = 3.0
"""A difference must also be this many times the spread over repeats."""


def sentences(
    heads: Sequence[str], results: Sequence[CellResult], baseline: str
) -> Mapping[str, str]:
    """Returns head → sentence."""
    return {head: _sentence(_rows(head, results), baseline) for head in heads}


_Row = tuple[CellResult, HeadResult]


def _rows(head: str, results: Sequence[CellResult]) -> list[_Row]:
    return [(result, one) for result in results for one in result.heads if one.head == head]


def _sentence(rows: Sequence[_Row], baseline: str) -> str:
    int8 = [row for row in rows if row[0].cell.pass_.precision is Precision.INT8]
    if not int8:
        return "No int8 result to judge."
    parts = [_nonfinite(rows), _version(int8, baseline), _cause(int8, baseline), _gate(int8)]
    return " ".join(part for part in parts if part)


def _nonfinite(rows: Sequence[_Row]) -> str:
    cells = [result.cell.id for result, head in rows if head.error.nonfinite]
    return f"NaN or infinite outputs in {_listed(cells)}." if cells else ""


def _version(int8: Sequence[_Row], baseline: str) -> str:
    """Says whether versions differ at the same scales: only the engine changed there."""
    heads = {
        result.cell.environment: head
        for result, head in int8
        if result.cell.pass_.source is TableSource.SHARED and head.budget
    }
    shared = {name: head.budget for name, head in heads.items() if head.budget}
    base = shared.get(baseline)
    if base is None or base.observed <= 0:
        return (
            "The baseline has no int8 result with the shared table, so versions cannot be compared."
        )
    if len(shared) < 2:
        return ""
    losses = {
        name: _db(one.observed / base.observed)
        for name, one in shared.items()
        if name != baseline and _beyond_noise(one, base)
    }
    parts = []
    for word, chosen in (
        ("loses", {name: loss for name, loss in losses.items() if loss >= WORTH_TELLING_DB}),
        ("gains", {name: -loss for name, loss in losses.items() if loss <= -WORTH_TELLING_DB}),
    ):
        if chosen:
            verb = word if len(chosen) == 1 else word[:-1]
            parts.append(
                f"At the same scales {_listed(list(chosen))} {verb} {_range(chosen.values())} dB "
                f"against {baseline}: the engine changed, not the calibration."
                + _moved([heads[name] for name in chosen], heads[baseline])
            )
    if parts:
        return " ".join(parts)
    return (
        f"All {len(shared)} environments agree within {WORTH_TELLING_DB:g} dB at the same scales."
    )


def _moved(others: Sequence[HeadResult], base: HeadResult) -> str:
    """Says which operators all of `others` ran on integers and the baseline did not, or inversely."""
    for before, after, words in (
        ("integer_operators", "float_operators", "on integers, the baseline in float"),
        ("float_operators", "integer_operators", "in float, the baseline on integers"),
    ):
        kinds = [
            kind
            for kind in getattr(base, after)
            if all(kind in getattr(one, before) for one in others)
            and kind not in getattr(base, before)
        ]
        if kinds:
            return f" They run {_listed(kinds)} {words}."
    return ""


def _beyond_noise(one: Budget, base: Budget) -> bool:
    noise = math.hypot(one.noise or 0.0, base.noise or 0.0)
    return abs(one.observed - base.observed) > NOISE_MULTIPLE * noise


def _cause(int8: Sequence[_Row], baseline: str) -> str:
    """Says what the error of the baseline's shared table is made of."""
    shared = next(
        (
            (result, head.budget)
            for result, head in int8
            if result.cell.environment == baseline
            and result.cell.pass_.source is TableSource.SHARED
            and head.budget
        ),
        None,
    )
    if shared is None:
        return ""
    result, budget = shared
    observed, limit = -_db(budget.observed), -_db(budget.limit)
    table = f"the shared {result.cell.pass_.algorithm} table"
    if budget.calibration > budget.limit:
        return (
            f"In {baseline} {table} keeps {observed:.1f} dB where the best table would keep "
            f"{limit:.1f} dB: the calibration is the larger part of the loss."
        )
    if budget.engine > max(budget.limit, budget.calibration):
        return (
            f"In {baseline} {table} keeps {observed:.1f} dB where its scales allow "
            f"{-_db(budget.limit + budget.calibration):.1f} dB: the engine is the larger part."
        )
    return (
        f"In {baseline} {table} keeps {observed:.1f} dB; 8 bits with the best table known would "
        f"keep {limit:.1f} dB, so most of the loss is 8 bits' own."
    )


def _gate(int8: Sequence[_Row]) -> str:
    gated = [(result.cell.id, head) for result, head in int8 if head.passed is not None]
    failed = [name for name, head in gated if not head.passed]
    if not gated:
        return ""
    gate = gated[0][1].gate_sqnr_db
    if not failed:
        return f"Every int8 cell holds the gate of {gate:g} dB."
    if len(failed) == len(gated):
        return f"Every int8 cell is below the gate of {gate:g} dB."
    return f"Below the gate of {gate:g} dB: {_listed(failed)}."


def _db(ratio: float) -> float:
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def _range(values: Iterable[float]) -> str:
    numbers = sorted(values)
    low, high = f"{numbers[0]:.1f}", f"{numbers[-1]:.1f}"
    return low if low == high else f"{low} to {high}"


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Joins names as a person would; says how many more there are."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
