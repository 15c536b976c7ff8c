"""How much a loss matters, before how sure it is: from boxes and AP where they exist, and from dB.

The borders are choices: below the first nobody would see it, from the second on a detector is spoilt.
"""

from collections.abc import Iterable
from enum import StrEnum

from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.collecting import present


class Severity(StrEnum):
    NONE = "none"
    HARMLESS = "harmless"
    VISIBLE = "visible"
    SEVERE = "severe"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)

    @property
    def matters(self) -> bool:
        """Whether anybody would see it."""
        return self in (Severity.VISIBLE, Severity.SEVERE)


AP = (0.01, 0.15)
"""Loss of AP from which on it is visible, and severe."""
LOST = (0.005, 0.05)
"""The same of the share of boxes that are lost."""
LEAST_AP = 0.0005
"""Smaller losses of AP round to nothing."""
ENOUGH = 20
"""Boxes of one size range that the reference must have, before their share says something."""
SQNR_DB = (0.5, 3.0)
"""The same of dB."""


def of_db(loss_db: float | None) -> Severity:
    return _of(loss_db, SQNR_DB)


def box_harm(boxes: BoxErrors) -> list[str]:
    """Returns what became of boxes, in words: what anybody would see, so that a severity is never told bare."""
    changes = boxes.total
    parts = []
    if changes.lost:
        parts.append(
            f"{changes.lost:g} of {changes.reference:g} boxes {'is' if changes.lost == 1 else 'are'} lost"
        )
    if _of(changes.new_share, LOST).matters:
        parts.append(f"{changes.new:g} new boxes beside {changes.reference:g}")
    whole = _of(changes.lost_share, LOST)
    parts += [
        f"of {size} ones {change.lost:g} of {change.reference:g} {'is' if change.lost == 1 else 'are'} lost"
        for size, change in boxes.changes.items()
        if size != ALL
        and change.reference >= ENOUGH
        and _of(change.lost_share, LOST).rank > whole.rank
    ]
    if boxes.ap_drop is not None and boxes.ap_drop >= LEAST_AP:
        parts.append(f"AP falls by {boxes.shown_drop:.3f}")
    return parts


def of_boxes(boxes: BoxErrors | None) -> Severity:
    """Returns the worst of what AP, lost and new boxes say; NONE where nothing is known.

    Boxes of one size range count by themselves where there are enough: small ones can all be lost and be few.
    """
    if boxes is None:
        return Severity.NONE
    shares = [
        share
        for size, changes in boxes.changes.items()
        if size == ALL or changes.reference >= ENOUGH
        for share in (changes.lost_share, changes.new_share)
    ]
    return worst((_of(boxes.ap_drop, AP), *(_of(share, LOST) for share in shares)))


def boxes_apart(cell: BoxErrors | None, other: BoxErrors | None) -> Severity:
    """Returns how much worse the boxes of one cell are than those of another."""
    if cell is None or other is None:
        return Severity.NONE
    ap = None if cell.ap_drop is None or other.ap_drop is None else cell.ap_drop - other.ap_drop
    shares = present(errors.total.lost_share for errors in (cell, other) if ALL in errors.changes)
    return worst((_of(ap, AP), _of(shares[0] - shares[1] if len(shares) == 2 else None, LOST)))


def worst(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=lambda severity: severity.rank, default=Severity.NONE)


def _of(value: float | None, borders: tuple[float, float]) -> Severity:
    if value is None or value <= 0:
        return Severity.NONE
    if value < borders[0]:
        return Severity.HARMLESS
    return Severity.VISIBLE if value < borders[1] else Severity.SEVERE
