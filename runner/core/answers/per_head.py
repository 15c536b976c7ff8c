"""Whose fault is it: the answer for each head that stands first in every report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from runner.core.answer import Answer, Finding
from runner.core.answers.findings import Row, findings
from runner.core.answers.sentences import int8_of, kept, rows_of, unharmed
from runner.core.judgement import CellResult
from runner.core.verdicts.verdict import Kind
from runner.core.words import span

SURE = frozenset(Kind) - {Kind.OK, Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE}
"""What only a test over images and builds says."""


def answers(
    heads: Sequence[str],
    results: Sequence[CellResult],
    baseline: str,
    blame: Mapping[str, str],
    error_rate: float,
) -> tuple[Answer, ...]:
    """Returns an answer a head.

    Args:
        heads: In the order of matrix.yaml.
        results: Every planned cell.
        baseline: The environment that the others are compared with.
        blame: Head → which calibration images made its table bad.
        error_rate: Chance that any verdict of one kind in the matrix is false.
    """
    return tuple(
        _answer(
            head,
            rows_of(head, results),
            baseline,
            blame.get(head, ""),
            error_rate,
        )
        for head in heads
    )


def _answer(head: str, rows: Sequence[Row], baseline: str, blame: str, error_rate: float) -> Answer:
    found = findings(rows, baseline)
    told = tuple(
        replace(one, text=f"{one.text} {blame}")
        if blame and one.kind is Kind.CALIBRATION_PROBLEM
        else one
        for one in found
    )
    int8 = int8_of(rows)
    gated = [one.passed for _, one in int8 if one.passed is not None]
    passed = all(gated) if gated else None
    first = next(iter(told), None)
    return Answer(
        head=head,
        fault=first.fault if first else _no_fault(int8, passed),
        findings=told,
        text=first.text if first else _nothing(int8, baseline, passed),
        advice=first.advice if first else _advice(int8, passed),
        confidence=confidence(first, error_rate) if first else "",
        passed=passed,
    )


def confidence(finding: Finding, error_rate: float) -> str:
    """Returns `99.5 % sure, 3.1 to 4.2 times the noise floor`; of what no test says, that it is open."""
    if finding.kind not in SURE:
        return "not decided"
    sure = f"{100 * (1 - error_rate):g} % sure"
    finite = [one for one in finding.multiples if math.isfinite(one)]
    if finite:
        return f"{sure}: {span(finite)} times the noise floor"
    return f"{sure}: builds are bit-identical" if finding.multiples else sure


def _no_fault(int8: Sequence[Row], passed: bool | None) -> str:
    if not int8:
        return "nothing to judge"
    if passed is False:
        return "below the gate, no cause found"
    return "nobody's: nothing is wrong" if passed else "nobody's: no cause found"


def _nothing(int8: Sequence[Row], baseline: str, passed: bool | None) -> str:
    if not int8:
        return "No int8 cell gave a result."
    text = " ".join(filter(None, (unharmed(int8, baseline), kept(int8, baseline))))
    return text or ("A gate does not hold." if passed is False else "No cause was found.")


def _advice(int8: Sequence[Row], passed: bool | None) -> str:
    if not int8:
        return "See below why cells did not run."
    if passed is False:
        return "Compare the budget and the boxes below: what a gate counts no verdict explains."
    if passed is None:
        return "Set a gate: nobody has said how much this head may lose."
    return "Nothing to do."
