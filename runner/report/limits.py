"""Which cells the page tells in detail, where there are too many to tell all; pure.

The matrix always has every cell. What stands below it, and the embedded data, would make a page of
10,000 cells 90 MB, which no browser opens at once and nobody reads.
"""

from collections.abc import Collection

from runner.core.judgement import CellResult, Judgement
from runner.core.verdicts import Kind

MOST = 500
"""Cells told in detail: a page of some megabytes."""


def detailed(judgement: Judgement, most: int) -> Collection[str]:
    """Returns the ids of the cells to tell in detail: all, or those that a reader asks for first.

    The baseline's, those that broke, those with a verdict, then the others in the order of the plan.
    """
    cells = judgement.cells
    if len(cells) > most:
        cells = tuple(sorted(cells, key=lambda one: _rank(one, judgement.baseline)))[:most]
    return {one.cell.id for one in cells}


def _rank(result: CellResult, baseline: str) -> int:
    if result.cell.environment == baseline:
        return 0
    if result.log_tail:
        return 1
    return 2 if any(one.kind is not Kind.OK for one in result.all_verdicts) else 3
