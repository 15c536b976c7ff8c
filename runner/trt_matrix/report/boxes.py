"""Which rows of the tables of boxes say something: cells that changed none are told together."""

from collections.abc import Iterable
from typing import NamedTuple

from trt_matrix.core.boxes.results import ALL, CellBoxes
from trt_matrix.report.views import PassGroup, Row

UNMOVED = 0.9995
"""Mean IoU from which boxes are where they were, to three digits."""


class BoxRows(NamedTuple):
    group: PassGroup
    rows: tuple[Row, ...]
    """Those with boxes, but for the unchanged."""
    unchanged: tuple[Row, ...]
    """Those in which no box was lost, new or moved."""


def box_rows(groups: Iterable[PassGroup]) -> tuple[BoxRows, ...]:
    """Returns the groups in which any cell has boxes."""
    rowses = []
    for group in groups:
        sides: tuple[list[Row], list[Row]] = ([], [])
        for row in group.rows:
            if row.result.boxes:
                sides[is_unchanged(row.result.boxes)].append(row)
        changed, unchanged = sides
        if changed or unchanged:
            rowses.append(BoxRows(group, tuple(changed), tuple(unchanged)))
    return tuple(rowses)


def is_unchanged(boxes: CellBoxes | None) -> bool:
    """Whether every box of the reference is there, where it was, and no other."""
    whole = boxes.whole.changes.get(ALL) if boxes and boxes.whole else None
    if whole is None or not whole.reference:
        return False
    iou = whole.mean_iou
    return whole.lost == 0 and whole.new == 0 and iou is not None and iou >= UNMOVED
