"""Which cells the page tells in detail, where there are too many to tell all; pure.

The matrix always has every cell. What stands below it, and the embedded data, would make a page of
10,000 cells 90 MB, which no browser opens at once and nobody reads.
"""

from collections.abc import Collection

from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.verdicts.verdict import FAULTS, Kind

MOST = 80
"""Cells up to which all are told in detail: a page of 2 MB."""
FEW = 40
"""Cells told in detail of a run that has more: some 15,000 elements, which a browser has ready in half a second."""


def detailed(judgement: Judgement, most: int | None = None) -> Collection[str]:
    """Returns the ids of the cells to tell in detail: all, or those that a reader asks for first.

    The baseline's, those that broke, those for which the run fails, those with a verdict, those not decided,
    then the others; each in the order of the plan.
    So many as `most`; None: all, or of more than `MOST` the first `FEW`.
    """
    cells = judgement.cells
    if most is None:
        most = len(cells) if len(cells) <= MOST else FEW
    if len(cells) > most:
        failing = frozenset(cell for finding in judgement.failing for cell in finding.cells)
        rank = {result.id: _rank(result, judgement.baseline, failing) for result in cells}
        cells = tuple(sorted(cells, key=lambda result: rank[result.id]))[:most]
    return {result.id for result in cells}


def _rank(result: CellResult, baseline: str, failing: Collection[str]) -> int:
    kinds = {verdict.kind for verdict in result.all_verdicts}
    reasons = (
        result.environment == baseline,
        result.status.failed,
        result.id in failing
        or result.passed is False
        or any(head.passed is False for head in result.heads),
        bool(kinds & FAULTS),
        bool(kinds - {Kind.OK}),
        True,
    )
    return reasons.index(True)
