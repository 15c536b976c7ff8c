"""Which cells a head is judged by, and what each remedy alone would reach in the worst of them."""

import math
from collections.abc import Iterable, Sequence

from runner.cells import TableSource
from runner.core.answers.rows import Row, says_something
from runner.core.judgement import CellResult, HeadResult
from runner.core.shares import Remedy
from runner.core.verdicts.equivalence import Equivalence

WORTH_DB = 0.5
"""A remedy that gains less is not told."""


def table_name(result: CellResult) -> str:
    pass_ = result.cell.pass_
    if pass_.source is TableSource.SHIPPED:
        return "the network's own scales"
    if pass_.source is TableSource.SHARED or pass_.algorithm is not None:
        weights = ", weights per tensor" if pass_.per_tensor else ""
        return f"the {' '.join(filter(None, (pass_.source, pass_.algorithm)))} table{weights}"
    return f"the {pass_.source or 'own'} table of {result.cell.environment}"


def speaking(rows: Iterable[Row], *, everywhere: bool = True) -> tuple[Row, ...]:
    """Returns the cells that the head is judged by, the worst first.

    Of each way to int8 (Q/DQ, implicit scales) those with the best table that ran: a table that another one
    beats in the same way is no reason to call int8 bad, but one not to use that table. An environment that the
    best table did not run in is judged by the best one that did, unless not asked `everywhere`: a table is
    beaten wherever the better one ran.
    """
    ways: dict[bool, dict[str, list[Row]]] = {}
    for row in rows:
        if row[1].error.nmse is not None and says_something(row[1]):
            pass_ = row[0].cell.pass_
            ways.setdefault(pass_.implicit, {}).setdefault(pass_.name, []).append(row)
    found: list[Row] = []
    for passes in ways.values():
        seen: set[tuple[str, str]] = set()
        for some in sorted(
            passes.values(), key=lambda rows: _mean_log(one.error.nmse for _, one in rows)
        ):
            new = [row for row in some if _place(row) not in seen]
            new = new if everywhere or not seen else []
            seen.update(_place(row) for row in new)
            found += new
    return tuple(sorted(found, key=lambda row: -(row[1].error.nmse or 0.0)))


def _place(row: Row) -> tuple[str, str]:
    return row[0].cell.environment, row[0].cell.device


def remedies(
    row: Row, rows: Sequence[Row], equal: Sequence[Equivalence] = ()
) -> tuple[Remedy, ...]:
    """Returns what each change alone would reach in one cell, the best first.

    Args:
        row: The cell, and the head in it.
        rows: Every int8 cell of the head; those whose numbers say nothing are no remedy.
        equal: Versions that lose the same: none of them is a remedy for another.
    """
    result, head = row
    rows = [one for one in rows if says_something(one[1])]
    alike = {
        name
        for one in equal
        if (one.pass_, one.device) == (result.cell.pass_.name, result.cell.device)
        and result.cell.environment in one.environments
        for name in one.environments
    }
    now = head.error.sqnr_db
    if now is None:
        return ()
    found = [
        *_tables(row, rows),
        *_versions(row, [one for one in rows if one[0].cell.environment not in alike]),
        *_ways(row, rows),
    ]
    worth = [one for one in found if one.reaches_db - now >= WORTH_DB]
    return tuple(sorted(worth, key=lambda one: -one.reaches_db))


def _tables(row: Row, rows: Sequence[Row]) -> Iterable[Remedy]:
    result, head = row
    here = (result.cell.environment, result.cell.device)
    measured = [
        (other_head.error.sqnr_db, other)
        for other, other_head in rows
        if (other.cell.environment, other.cell.device) == here
        and other.cell.pass_.implicit == result.cell.pass_.implicit
        and other is not result
        and other_head.error.sqnr_db is not None
    ]
    best = max(measured, key=lambda one: one[0], default=None)
    if best and best[0] - (head.error.sqnr_db or 0.0) >= WORTH_DB:
        yield _remedy(table_name(best[1]), best[0], head, measured=True)
        return
    budget = head.budget
    if budget and budget.calibration > 0:
        error = budget.limit + max(budget.engine, 0.0)
        if error > 0:
            yield _remedy("the best table known", -10 * math.log10(error), head)


def _versions(row: Row, rows: Sequence[Row]) -> Iterable[Remedy]:
    result, head = row
    same = [
        (one.error.sqnr_db, other.cell.environment)
        for other, one in rows
        if other.cell.pass_ == result.cell.pass_
        and other.cell.device == result.cell.device
        and one.error.sqnr_db is not None
    ]
    best = max(same, default=None)
    if best and best[1] != result.cell.environment:
        yield _remedy(best[1], best[0], head, measured=True)


def _ways(row: Row, rows: Sequence[Row]) -> Iterable[Remedy]:
    result, head = row
    if not result.cell.pass_.implicit:
        return
    explicit = [
        one.error.sqnr_db
        for other, one in rows
        if other.cell.environment == result.cell.environment
        and other.cell.device == result.cell.device
        and not other.cell.pass_.implicit
        and one.error.sqnr_db is not None
    ]
    if explicit:
        yield _remedy("Q/DQ nodes in place of implicit scales", max(explicit), head, measured=True)


def _remedy(what: str, reaches_db: float, head: HeadResult, *, measured: bool = False) -> Remedy:
    gate = head.gate_sqnr_db
    return Remedy(
        what=what,
        reaches_db=reaches_db,
        measured=measured,
        holds=None if gate is None else reaches_db >= gate,
    )


def _mean_log(values: Iterable[float | None]) -> float:
    logs = [math.log(max(value, 1e-30)) for value in values if value is not None]
    return sum(logs) / len(logs)
