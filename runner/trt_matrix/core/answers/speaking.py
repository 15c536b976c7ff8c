"""Which cells a head is judged by, and what their tables are called."""

import math
from collections.abc import Iterable, Sequence

from trt_matrix.core.answers.rows import HeadRow, says_something
from trt_matrix.core.cells import CellPlace, TableSource
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import CellResult


def table_name(result: CellResult) -> str:
    pass_ = result.pass_
    if pass_.source is TableSource.SHIPPED:
        return "the network's own scales"
    if pass_.source is TableSource.SHARED or pass_.algorithm is not None:
        weights = ", weights per tensor" if pass_.per_tensor else ""
        return f"the {' '.join(filter(None, (pass_.source, pass_.algorithm)))} table{weights}"
    return f"the {pass_.source or 'own'} table of {result.environment}"


def speaking(rows: Iterable[HeadRow], *, everywhere: bool = True) -> tuple[HeadRow, ...]:
    """Returns the cells that the head is judged by, the worst first.

    Of each way to int8 (Q/DQ, implicit scales) those with the best table that ran: a table that another one
    beats in the same way is no reason to call int8 bad, but one not to use that table. An environment that the
    best table did not run in is judged by the best one that did, unless not asked `everywhere`: a table is
    beaten wherever the better one ran. Of heads that make boxes together the best table is the one that loses
    fewest: by SQNR alone one head would be blamed for the boxes that another loses with that table.
    """
    ways = grouped(
        (row.result.pass_.implicit, row)
        for row in rows
        if row.head.error.nmse is not None and says_something(row.head)
    )
    spoken: list[HeadRow] = []
    for of_way in ways.values():
        by_boxes = all(map(_makes_boxes_with_others, of_way))

        def loss(rows: Sequence[HeadRow], *, boxes: bool = by_boxes) -> tuple[float, float]:
            logs = [math.log(max(row.head.error.nmse or 0.0, 1e-30)) for row in rows]
            return _mean_lost(rows) if boxes else 0.0, sum(logs) / len(logs)

        places: set[CellPlace] = set()
        passes = grouped((row.result.pass_.name, row) for row in of_way)
        for of_pass in sorted(passes.values(), key=loss):
            if everywhere or not places:
                new = [row for row in of_pass if row.result.place not in places]
                places.update(row.result.place for row in new)
                spoken += new
    return tuple(sorted(spoken, key=lambda row: -(row.head.error.nmse or 0.0)))


def _makes_boxes_with_others(row: HeadRow) -> bool:
    """Whether what became of a head's boxes is told of other heads alike."""
    result, head = row
    return head.boxes is not None and any(
        other.head != head.head and other.boxes == head.boxes for other in result.heads
    )


def _mean_lost(rows: Iterable[HeadRow]) -> float:
    """Returns the mean share of boxes that are lost."""
    shares = [row.boxes.total.lost_share or 0.0 for _, row in rows if row.boxes]
    return sum(shares) / len(shares)
