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
from trt_matrix.core.answers.rows import Row
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind

BOXES = "what became of boxes"
"""Not looked at: the outputs are not decoded, so nobody knows whether an error matters."""
BEARABLE = "how much error the application bears"
"""Not known, where the network makes no boxes and no gate says it: nobody knows whether an error matters."""
HARM_UNKNOWN = frozenset({BOXES, BEARABLE})
"""With one of these unseen, an error is a number and no harm."""
GATE_SAYS = "give each head a gate (`gate: {sqnr_db: …}`)"
DECODE_SAYS = "say how outputs become boxes, or that they become none (`decode`)"
"""Its second half also suits runs made before `decode: none`, which could not say it."""
FIRST = (Kind.BROKEN_OUTPUT, Kind.FP32_REGRESSION)
"""What is wrong before any quantisation."""
LAST = (Kind.PRECISION_FALLBACK, Kind.COULD_NOT_RUN)
"""No cause of this head's error, unless the run fails for it."""


def findings(
    rows: Sequence[Row],
    results: Sequence[CellResult],
    baseline: str,
    problem: str | None = None,
    *,
    boxless: bool = False,
) -> tuple[Finding, ...]:
    """Returns everything that was found of a head.

    Broken outputs and fp32 first, then what fails, then what matters most; a table that another one beats
    after all others, and what was never meant to run last.

    Args:
        rows: Every cell that has this head.
        results: Every planned cell.
        baseline: The environment that the others are compared with.
        problem: What is wrong with the reference of this head.
        boxless: Whether the network is known to make no boxes.
    """
    made = [
        *reference(problem),
        *broken(rows),
        *unquantised(rows),
        *causes(rows, baseline, boxless=boxless),
        *tables(rows),
        *behind(rows, baseline),
        *unexplained(rows),
        *did_not_run(results),
    ]
    return tuple(sorted(made, key=_order))


def planned(finding: Finding) -> bool:
    """Whether it only says that cells were never meant to run here."""
    return finding.kind is Kind.COULD_NOT_RUN and finding.severity is Severity.NONE


def lead(found: Sequence[Finding], unseen: Sequence[str] = ()) -> Finding | None:
    """Returns what an answer speaks of first; None where there is nothing to blame.

    What is better than 8 bits, or was never meant to run here, is no fault. A table that another one beats leads
    only where all else was looked at: with the other table the head may be as bad, and nobody knows whether that
    matters.
    """
    wrong = (
        finding
        for finding in found
        if finding.kind is not Kind.PRECISION_FALLBACK
        and not planned(finding)
        and not (finding.beaten and HARM_UNKNOWN.intersection(unseen))
    )
    return next(wrong, None)


def _order(finding: Finding) -> tuple[int, bool, bool, int]:
    place = 0 if finding.kind in FIRST else 2 if finding.kind in LAST and not finding.fails else 1
    return (place, finding.beaten, not finding.fails, -finding.severity.rank)
