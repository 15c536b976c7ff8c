"""Which cells a head is judged by, and what their tables are called."""

import math
from collections.abc import Iterable

from trt_matrix.core.answers.rows import Row, says_something
from trt_matrix.core.cells import TableSource
from trt_matrix.core.judgement import CellResult


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


def _mean_log(values: Iterable[float | None]) -> float:
    logs = [math.log(max(value, 1e-30)) for value in values if value is not None]
    return sum(logs) / len(logs)
