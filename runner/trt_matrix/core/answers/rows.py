"""The cells of one head, and which of them a verdict was told of."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict


class HeadRow(NamedTuple):
    """A head of a cell."""

    result: CellResult
    head: HeadResult


class HeadVerdict(NamedTuple):
    """A verdict with the result that it is about."""

    result: CellResult
    head: HeadResult
    verdict: Verdict


def rows_of(head: str, results: Iterable[CellResult]) -> list[HeadRow]:
    """Returns every cell that has this head, but those in which layers are tried in float: a remedy, no fault."""
    heads = ((result, result.head(head)) for result in results if not result.pass_.mixed)
    return [HeadRow(result, head_result) for result, head_result in heads if head_result]


def int8_of(rows: Iterable[HeadRow]) -> list[HeadRow]:
    return [row for row in rows if row.result.pass_.is_int8]


def says_something(head: HeadResult) -> bool:
    """Whether its error is that of int8: not of ranked rows, half a table, a broken output, or float."""
    return head.kinds.isdisjoint((Kind.NOT_COMPARABLE, Kind.BROKEN_OUTPUT, Kind.NOTHING_QUANTISED))


def told_of(rows: Sequence[HeadRow], kind: Kind) -> list[HeadVerdict]:
    return [
        HeadVerdict(result, head, verdict)
        for result, head in rows
        for verdict in head.verdicts
        if verdict.kind is kind
    ]


def losses(rows: Iterable[HeadVerdict]) -> list[float]:
    """Returns what each verdict costs, in dB: of SQNR, or of the typical image where only that shows it."""
    return [loss for row in rows if (loss := loss_db(row.verdict)) is not None]


def loss_db(verdict: Verdict) -> float | None:
    effect = verdict.effect
    if effect is None or not math.isfinite(effect.db):
        return None
    if effect.typical is not None and effect.db < effect.typical_db / 2:
        return effect.typical_db
    return effect.db


def environments_of(results: Iterable[CellResult]) -> list[str]:
    """Returns their environments, each once."""
    return distinct(result.environment for result in results)


def environments(rows: Iterable[HeadVerdict]) -> list[str]:
    """Returns their environments; with the device where that is what the comparison is about."""
    return distinct(map(_name, rows))


def _name(row: HeadVerdict) -> str:
    cell, verdict = row.result.cell, row.verdict
    itself = (verdict.against or "").startswith(f"{cell.environment}/")
    across = itself and Kind.IMPLICIT_REGRESSION not in (verdict.kind, verdict.suspected)
    return f"{cell.environment} on {cell.device}" if across else cell.environment
