"""Whose fault is it: hypotheses about one matrix, tested together, and the verdicts they give.

The method, its formulae and its limits are in docs/method.md.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from runner.core.rules import Rules
from runner.core.verdicts.cell_errors import CellError, HeadErrors
from runner.core.verdicts.effects import Effect, discoveries
from runner.core.verdicts.hypotheses import Hypothesis, hypotheses, simulation
from runner.core.verdicts.verdict import Kind, Verdict

DECISIVE = 4.0
"""An effect of so many standard errors is found among some hundred hypotheses."""


def verdicts(heads: Iterable[HeadErrors], baseline: str, rules: Rules) -> tuple[Verdict, ...]:
    """Returns the verdicts of every cell and head; `ok` where nothing is wrong."""
    heads = list(heads)
    made = [one for head in heads for one in hypotheses(head, baseline, rules)]
    told = [
        verdict
        for kind in Kind
        for hypothesis, discovered in _tested(made, kind, rules)
        if (verdict := _decided(hypothesis, discovered=discovered, rules=rules))
    ]
    told = _without_repeated_blame(told)
    spoken = {(verdict.cell, verdict.head) for verdict in told}
    by_cell: dict[tuple[str, str | None], list[Hypothesis]] = {}
    for one in made:
        by_cell.setdefault((one.verdict.cell, one.verdict.head), []).append(one)
    told += [
        _nothing_found(head, cell, by_cell.get((cell.cell, head.head), ()))
        for head in heads
        for cell in head.cells
        if (cell.cell, head.head) not in spoken
    ]
    return tuple(told)


def _nothing_found(head: HeadErrors, cell: CellError, asked: Sequence[Hypothesis]) -> Verdict:
    """Returns `ok`; `inconclusive` where the gate fails: something makes it fail."""
    ok = Verdict(kind=Kind.OK, cell=cell.cell, head=head.head)
    gate = head.gate_nmse
    if not cell.int8 or gate is None or cell.sample.nmse <= gate:
        return ok
    if simulation(head, cell) is None:
        return replace(ok, kind=Kind.INCONCLUSIVE, needs="its calibration table")
    costly = (one for one in asked if one.verdict.kind is not Kind.PRECISION_FALLBACK)
    suspects = [(_size(one), one) for one in costly if _size(one) >= one.least]
    if not suspects:
        return ok
    _, suspect = max(suspects, key=lambda one: one[0])
    return _inconclusive(suspect, _needs(suspect))


def _without_repeated_blame(told: Sequence[Verdict]) -> list[Verdict]:
    """Drops the calibration problem of a cell whose own calibrator alone makes the table bad.

    Such a problem is one of every version alike (DESIGN section 3): the baseline has it too.
    """
    bases = {
        (one.cell, one.head): one.against for one in told if one.kind is Kind.CALIBRATOR_REGRESSION
    }
    problems = {(one.cell, one.head) for one in told if one.kind is Kind.CALIBRATION_PROBLEM}
    alone = {key for key, base in bases.items() if (base, key[1]) not in problems}
    return [
        one
        for one in told
        if one.kind is not Kind.CALIBRATION_PROBLEM or (one.cell, one.head) not in alone
    ]


def _tested(
    made: Iterable[Hypothesis], kind: Kind, rules: Rules
) -> Iterable[tuple[Hypothesis, bool]]:
    """Tests one cause as one family, over all heads and cells.

    Not all causes together: a bad table is found in every cell with p near 0, and each such find
    would loosen the threshold for causes that only noise speaks for.
    """
    family = [one for one in made if one.verdict.kind is kind]
    # Cells that share a table, or gave the same outputs, ask one question: it is tested once.
    tests = {(one.verdict.head, one.verdict.effect): _p(one) for one in family}
    found = discoveries(list(tests.values()), rules.familywise_error_rate)
    discovered = dict(zip(tests, found, strict=True))
    return [(one, discovered[one.verdict.head, one.verdict.effect]) for one in family]


def _size(hypothesis: Hypothesis) -> float:
    """Returns the effect, NMSE, above 0 where it has the sign of its cause."""
    measured = hypothesis.verdict.effect
    if measured is None:
        return -math.inf
    return -measured.value if hypothesis.verdict.kind is Kind.PRECISION_FALLBACK else measured.value


def _p(hypothesis: Hypothesis) -> float:
    """Returns the one-sided p-value that the effect has its sign."""
    measured = hypothesis.verdict.effect
    if measured is None:
        return 1.0
    half = measured.p / 2
    return half if _size(hypothesis) > 0 else 1 - half


def _decided(hypothesis: Hypothesis, *, discovered: bool, rules: Rules) -> Verdict | None:
    """Returns the verdict, `inconclusive`, or None where there is nothing to tell."""
    verdict = hypothesis.verdict
    measured = verdict.effect
    if measured is None or _size(hypothesis) < hypothesis.least:
        return None
    enough = measured.noise_multiple is None or measured.noise_multiple >= rules.noise_multiple
    if measured.noise_known and discovered and enough:
        return verdict
    if measured.noise_known and _is_chance(hypothesis, measured):
        return None
    return _inconclusive(hypothesis, _needs(hypothesis))


def _inconclusive(hypothesis: Hypothesis, needs: str) -> Verdict:
    verdict = hypothesis.verdict
    return replace(verdict, kind=Kind.INCONCLUSIVE, needs=needs, suspected=verdict.kind)


def _is_chance(hypothesis: Hypothesis, measured: Effect) -> bool:
    """Whether the data speak for no effect rather than for one worth telling."""
    low, high = measured.low, measured.high
    if hypothesis.verdict.kind is Kind.PRECISION_FALLBACK:
        low, high = -high, -low
    return high < hypothesis.least or (measured.p > 0.2 and low < -hypothesis.least)


def _needs(hypothesis: Hypothesis) -> str:
    """Says what would decide."""
    measured = hypothesis.verdict.effect
    if measured is None or not measured.noise_known:
        return "2 more repeats"
    # Half of the error budget for builds, half for images.
    wanted = (abs(measured.value) / DECISIVE) ** 2 / 2
    single = hypothesis.noise.variance * sum(sample.nmse**2 for sample in hypothesis.built)
    repeats = min((sample.repeats for sample in hypothesis.built), default=1)
    if single / repeats > wanted:
        more = math.ceil(single / wanted) - repeats
        return f"{more} more repeat{'s' if more > 1 else ''}"
    return "more evaluation images"
