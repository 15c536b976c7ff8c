"""All that was found of one head, in the order in which a person must deal with it."""

from collections.abc import Sequence

from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.causes import causes
from trt_matrix.core.answers.plain import (
    behind,
    broken,
    did_not_run,
    reference,
    tables,
    unexplained,
    unquantised,
)
from trt_matrix.core.answers.rows import HeadRow
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.verdicts.verdict import Kind

GATE_SAYS = "give each head a gate (`gate: {sqnr_db: …}`)"
DECODE_SAYS = "say how outputs become boxes, or that they become none (`decode`)"
"""Its second half also suits runs made before `decode: none`, which could not say it."""
FIRST = (Kind.BROKEN_OUTPUT, Kind.FP32_REGRESSION)
"""What is wrong before any quantisation."""
LAST = (Kind.PRECISION_FALLBACK, Kind.COULD_NOT_RUN)
"""No cause of this head's error, unless the run fails for it."""


def findings(
    rows: Sequence[HeadRow],
    results: Sequence[CellResult],
    baseline: str,
    problem: str | None = None,
    *,
    boxless: bool = False,
) -> tuple[Finding, ...]:
    """Returns everything that was found of a head.

    Broken outputs and fp32 first, then what fails, then what matters most; a table that another one beats
    after all others, and what was never meant to run last.
    `rows` are the cells of this head, `results` all that were planned; `problem` is what is wrong with its reference.
    """
    every = [
        *reference(problem),
        *broken(rows),
        *unquantised(rows),
        *causes(rows, baseline, boxless=boxless),
        *tables(rows),
        *behind(rows, baseline),
        *unexplained(rows),
        *did_not_run(results),
    ]
    return tuple(sorted(every, key=_order))


def _order(finding: Finding) -> tuple[int, bool, bool, int]:
    place = 0 if finding.kind in FIRST else 2 if finding.kind in LAST and not finding.fails else 1
    return (place, finding.beaten, not finding.fails, -finding.severity.rank)
