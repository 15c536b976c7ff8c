"""All that was found of one head, in the order in which a person must deal with it."""

from collections.abc import Sequence

from runner.core.answer import Finding
from runner.core.answers.causes import causes
from runner.core.answers.plain import (
    behind,
    broken,
    did_not_run,
    reference,
    tables,
    unexplained,
    unquantised,
)
from runner.core.answers.rows import Row
from runner.core.judgement import CellResult
from runner.core.verdicts.verdict import Kind

FIRST = (Kind.BROKEN_OUTPUT, Kind.FP32_REGRESSION)
"""What is wrong before any quantisation."""
LAST = (Kind.PRECISION_FALLBACK, Kind.COULD_NOT_RUN)
"""No cause of this head's error, unless the run fails for it."""


def findings(
    rows: Sequence[Row],
    results: Sequence[CellResult],
    baseline: str,
    problem: str | None = None,
) -> tuple[Finding, ...]:
    """Returns everything that was found of a head.

    Broken outputs and fp32 first, then what fails, then what matters most; a table that another one beats
    after all others, and what was never meant to run last.

    Args:
        rows: Every cell that has this head.
        results: Every planned cell.
        baseline: The environment that the others are compared with.
        problem: What is wrong with the reference of this head.
    """
    made = [
        *reference(problem),
        *broken(rows),
        *unquantised(rows),
        *causes(rows, baseline),
        *tables(rows),
        *behind(rows, baseline),
        *unexplained(rows),
        *did_not_run(results),
    ]
    return tuple(sorted(made, key=_order))


def _order(one: Finding) -> tuple[int, bool, bool, int]:
    place = 0 if one.kind in FIRST else 2 if one.kind in LAST and not one.fails else 1
    return (place, one.beaten, not one.fails, -one.severity.rank)
