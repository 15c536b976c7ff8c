"""Differences as a reader finds them: of two rounded numbers that stand beside each other."""

from typing import NamedTuple

AP_DECIMALS = 3
FEW = 2
LARGE_AP = 0.05
"""A change of AP from which on two digits tell it."""
DB_DECIMALS = 1


def difference(after: float, before: float, decimals: int) -> float:
    """Returns `after` − `before`, each as it is shown: 22.74 and 22.46 dB are 22.7 and 22.5, 0.2 apart."""
    return round(round(after, decimals) - round(before, decimals), decimals)


def db_apart(after: float, before: float) -> float:
    return difference(after, before, DB_DECIMALS)


def ap_drop(ap: float | None, drop: float) -> float:
    """Returns what AP fell by to `ap`, of the two as they are shown; `drop` rounded where `ap` is not known."""
    if ap is None:
        return round(drop, AP_DECIMALS)
    return -difference(ap, ap + drop, AP_DECIMALS)


class ApChange(NamedTuple):
    before: str
    after: str
    drop: str
    """`0.007`, without a sign where it is a loss; `0` is no loss."""


def ap_change(before: float, drop: float) -> ApChange:
    """Returns AP before and after with as many digits as tell what was lost, and what those two differ by."""
    decimals = FEW if drop >= LARGE_AP else AP_DECIMALS
    after = before - drop
    lost = -difference(after, before, decimals)
    return ApChange(f"{before:.{decimals}f}", f"{after:.{decimals}f}", f"{lost:.{decimals}f}")
