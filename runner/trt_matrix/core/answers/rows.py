"""The cells of one head, and which of them a verdict was told of."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict

Row = tuple[CellResult, HeadResult]


class ToldVerdict(NamedTuple):
    """A verdict with the result that it is about."""

    result: CellResult
    head: HeadResult
    verdict: Verdict


def rows_of(head: str, results: Iterable[CellResult]) -> list[Row]:
    """Returns every cell that has this head, but those in which layers are tried in float: a remedy, no fault."""
    return [
        (result, head_result)
        for result in results
        if not result.pass_.mixed
        for head_result in result.heads
        if head_result.head == head
    ]


def int8_of(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row[0].pass_.is_int8]


def says_something(head: HeadResult) -> bool:
    """Whether its error is that of int8: not of ranked rows, half a table, a broken output, or float."""
    nothing = (Kind.NOT_COMPARABLE, Kind.BROKEN_OUTPUT, Kind.NOTHING_QUANTISED)
    return not any(verdict.kind in nothing for verdict in head.verdicts)


def told_of(rows: Sequence[Row], *kinds: Kind) -> list[ToldVerdict]:
    return [
        ToldVerdict(result, head, verdict)
        for result, head in rows
        for verdict in head.verdicts
        if verdict.kind in kinds
    ]


def environments(rows: Iterable[ToldVerdict]) -> list[str]:
    return distinct(_name(row.result, row.verdict) for row in rows)


def losses(rows: Iterable[ToldVerdict]) -> list[float]:
    """Returns what each verdict costs, in dB: of SQNR, or of the typical image where only that shows it."""
    return [loss for row in rows if (loss := loss_db(row.verdict)) is not None]


def loss_db(verdict: Verdict) -> float | None:
    effect = verdict.effect
    if effect is None or not math.isfinite(effect.db):
        return None
    if effect.typical is not None and effect.db < effect.typical_db / 2:
        return effect.typical_db
    return effect.db


def _name(result: CellResult, verdict: Verdict) -> str:
    """Returns the environment; with its device where that is what the comparison is about."""
    cell = result.cell
    itself = (verdict.against or "").startswith(f"{cell.environment}/")
    across = itself and Kind.IMPLICIT_REGRESSION not in (verdict.kind, verdict.suspected)
    return f"{cell.environment} on {cell.device}" if across else cell.environment
