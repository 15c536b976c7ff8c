"""The calibration tables as rows: which there are, who made and ran them, where they part."""

from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.tables.clipping import sentence
from trt_matrix.core.tables.differences import TableReport, TableUse, TensorRanges, called, title
from trt_matrix.core.words import capital

MOST_COLUMNS = 8
"""Tables beside each other; more do not fit a page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    use: TableUse
    title: str
    """`shared entropy`, `minmax of ort-1.18.1 and 5 more`."""
    column: str
    """`entropy, shared`: what fits above a column."""
    simulated_db: tuple[float | None, ...]
    """For each head: what its simulation keeps; None where no cell ran with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    report: TableReport
    rows: tuple[TableRow, ...]
    columns: tuple[TableRow, ...]
    """Tables that cells ran with, as far as they fit beside each other."""
    left_out: int
    """How many more there are."""
    tensors: tuple[TensorRanges, ...]
    clipped: tuple[str, ...]
    """What tables clip much, a sentence each; the names in it are the network's."""
    rules: tuple[str, ...]
    """How tables that TensorRT made differ from its known rule, a sentence each."""


def tables(judgement: Judgement) -> Tables | None:
    """Returns None where nothing was asked about tables, or there is none."""
    report = judgement.tables
    if report is None or not (report.tables or report.missing):
        return None
    cells = {result.id: result for result in judgement.cells}
    rows = tuple(
        TableRow(
            use=use,
            title=title(use),
            column=f"{use.algorithm}, {'shared' if use.shared else 'own'}",
            simulated_db=tuple(_simulated(use, head, cells) for head in judgement.heads),
        )
        for use in report.tables
    )
    used = [row for row in rows if row.use.cells]
    return Tables(
        report=report,
        rows=rows,
        columns=tuple(used[:MOST_COLUMNS]),
        left_out=max(0, len(used) - MOST_COLUMNS),
        tensors=report.tensors,
        clipped=tuple(
            capital(f"{sentence(called(use), use.clipped, judgement.heads)}.")
            for use in report.tables
            if use.clipped
        ),
        rules=tuple(
            capital(f"{called(use)}: {use.rule.sentence()}.") for use in report.tables if use.rule
        ),
    )


def _simulated(use: TableUse, head: str, cells: Mapping[str, CellResult]) -> float | None:
    """Returns the SQNR that exact arithmetic keeps with the table, from any cell that ran with it."""
    results = [cells[cell] for cell in use.cells if cell in cells]
    # One scale a weight costs extra, which is none of the table's.
    for result in sorted(results, key=lambda result: result.pass_.per_tensor):
        row = result.head(head)
        if row and row.budget:
            return sqnr_db(row.budget.limit + row.budget.calibration)
    return None
