"""Which cells a head is judged by, and what their tables are called."""

import math
from collections.abc import Iterable

from trt_matrix.core.answers.rows import Row, says_something
from trt_matrix.core.cells import TableSource
from trt_matrix.core.judgement import CellResult


def table_name(result: CellResult) -> str:
    pass_ = result.pass_
    if pass_.source is TableSource.SHIPPED:
        return "the network's own scales"
    if pass_.source is TableSource.SHARED or pass_.algorithm is not None:
        weights = ", weights per tensor" if pass_.per_tensor else ""
        return f"the {' '.join(filter(None, (pass_.source, pass_.algorithm)))} table{weights}"
    return f"the {pass_.source or 'own'} table of {result.environment}"


def speaking(rows: Iterable[Row], *, everywhere: bool = True) -> tuple[Row, ...]:
    """Returns the cells that the head is judged by, the worst first.

    Of each way to int8 (Q/DQ, implicit scales) those with the best table that ran: a table that another one
    beats in the same way is no reason to call int8 bad, but one not to use that table. An environment that the
    best table did not run in is judged by the best one that did, unless not asked `everywhere`: a table is
    beaten wherever the better one ran. Of heads that make boxes together the best table is the one that loses
    fewest: by SQNR alone one head would be blamed for the boxes that another loses with that table.
    """
    ways: dict[bool, dict[str, list[Row]]] = {}
    for row in rows:
        if row[1].error.nmse is not None and says_something(row[1]):
            pass_ = row[0].pass_
            ways.setdefault(pass_.implicit, {}).setdefault(pass_.name, []).append(row)
    found: list[Row] = []
    for passes in ways.values():
        seen: set[tuple[str, str]] = set()
        together = all(_makes_boxes_with_others(row) for some in passes.values() for row in some)

        def loss(rows: list[Row], *, boxes: bool = together) -> tuple[float, float]:
            lost = _mean_lost(rows) if boxes else 0.0
            return lost, _mean_log(row.error.nmse for _, row in rows)

        for some in sorted(passes.values(), key=loss):
            new = [row for row in some if _place(row) not in seen]
            new = new if everywhere or not seen else []
            seen.update(_place(row) for row in new)
            found += new
    return tuple(sorted(found, key=lambda row: -(row[1].error.nmse or 0.0)))


def _makes_boxes_with_others(row: Row) -> bool:
    """Whether what became of a head's boxes is told of other heads alike."""
    result, head = row
    return head.boxes is not None and any(
        other.head != head.head and other.boxes == head.boxes for other in result.heads
    )


def _mean_lost(rows: Iterable[Row]) -> float:
    """Returns the mean share of boxes that are lost."""
    shares = [row.boxes.total.lost_share or 0.0 for _, row in rows if row.boxes]
    return sum(shares) / len(shares)


def _place(row: Row) -> tuple[str, str]:
    return row[0].environment, row[0].device


def _mean_log(values: Iterable[float | None]) -> float:
    logs = [math.log(max(value, 1e-30)) for value in values if value is not None]
    return sum(logs) / len(logs)
