"""Whose fault is it: the answer for each head that stands first in every report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.answer import BEARABLE, BOXES, HARM_UNKNOWN, Answer, Finding, lead
from trt_matrix.core.answers.degree import NOTHING
from trt_matrix.core.answers.findings import DECODE_SAYS, GATE_SAYS, findings
from trt_matrix.core.answers.rows import HeadRow, environments_of, int8_of, rows_of
from trt_matrix.core.answers.sentences import alike, kept, up
from trt_matrix.core.answers.speaking import speaking
from trt_matrix.core.answers.verdict_groups import VERSIONS
from trt_matrix.core.answers.wide import wide_sentence
from trt_matrix.core.cells import Status
from trt_matrix.core.collecting import distinct, present
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.manifest import WideWeight
from trt_matrix.core.severity import Severity
from trt_matrix.core.shares import shares_of
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import count, listed, span, verb

TELLING_DB = 6.0
"""A bound within which versions were found alike says something up to here: twice the error."""
SPARED_DB = 0.5
"""Better than its simulation by so much, an int8 cell ran layers in float."""
ANY = "any result of it"
DOCTOR = "`trt-matrix doctor` says what can run here"
OF_VERSION = frozenset({*VERSIONS, Kind.FP32_REGRESSION, Kind.CALIBRATOR_REGRESSION})
"""Beside these nobody may say that it is not the version's."""


def answers(
    heads: Sequence[str],
    results: Sequence[CellResult],
    baseline: str,
    blame: Mapping[str, str] | None = None,
    equal: Sequence[Equivalence] = (),
    problems: Mapping[str, str | None] | None = None,
    wide: Sequence[WideWeight] = (),
    *,
    boxless: bool = False,
) -> tuple[Answer, ...]:
    """Returns an answer a head.

    `blame` says of a head which calibration images made its table bad, `problems` what is wrong with its reference;
    `wide` are weights whose channels differ too much for one scale, the widest first.
    """
    return tuple(
        _answer(
            head,
            results,
            baseline,
            {
                Kind.CALIBRATION_PROBLEM: (blame or {}).get(head, ""),
                Kind.PER_TENSOR_WEIGHTS: wide_sentence(
                    [weight for weight in wide if head in weight.heads]
                ),
            },
            [equivalence for equivalence in equal if equivalence.head == head],
            (problems or {}).get(head),
            boxless=boxless,
        )
        for head in heads
    )


def _answer(
    head: str,
    results: Sequence[CellResult],
    baseline: str,
    more: Mapping[Kind, str],
    equal: Sequence[Equivalence],
    problem: str | None,
    *,
    boxless: bool,
) -> Answer:
    rows = rows_of(head, results)
    told_findings = tuple(
        replace(finding, text=f"{finding.text} {text}")
        if (text := more.get(finding.kind))
        else finding
        for finding in findings(rows, results, baseline, problem, boxless=boxless)
    )
    int8 = int8_of(rows)
    gated = [row.passed for _, row in rows if row.passed is not None]
    passed = all(gated) if gated else None
    judged = speaking(int8)
    missing = _unseen(rows, int8, results, boxless=boxless)
    unseen = tuple(what for what, _ in missing)
    wrong = lead(told_findings) is not None
    first = lead(told_findings, unseen)
    worst = _told_of(first, int8) or next(iter(judged), None)
    matters = severity.worst(
        (
            *(finding.severity for finding in told_findings if not finding.beaten),
            *(
                Severity.SEVERE if head.passed is False else severity.of_boxes(head.boxes)
                for _, head in (*judged, *_floats(rows))
            ),
        )
    )
    lost = severity.worst(severity.of_boxes(row.boxes) for _, row in rows)
    clean = not wrong and not missing and not matters.matters and not lost.matters
    if first:
        fault, advice, confidence = first.fault, first.advice, first.confidence
        texts = [first.text, _lost_besides(first, judged)]
    else:
        fault = _no_fault(told_findings, judged, unseen, clean=clean, passed=passed)
        advice = _advice([do for _, do in missing], clean=clean, boxless=boxless)
        confidence = ""
        texts = [_nothing(rows, int8, baseline, lost, beaten=wrong)]
    texts += alike(equal, accused(told_findings), _gone(told_findings))
    return Answer(
        head=head,
        fault=fault,
        findings=told_findings,
        text=" ".join(filter(None, texts)),
        advice=advice,
        confidence=confidence,
        passed=passed,
        severity=matters,
        clean=clean,
        unseen=unseen,
        shares=shares_of(worst.result.id, worst.head.budget)
        if worst and worst.head.budget
        else None,
    )


def _lost_besides(first: Finding, judged: Sequence[HeadRow]) -> str:
    """Returns what became of boxes where they say that it is worse than what leads the card."""
    worst = max(judged, key=lambda row: severity.of_boxes(row.head.boxes).rank, default=None)
    boxes = worst.head.boxes if worst else None
    if worst is None or boxes is None:
        return ""
    if severity.of_boxes(boxes).rank <= max(first.severity.rank, Severity.HARMLESS.rank):
        return ""
    made_of = f", counted for {listed(boxes.made_of)} together" if len(boxes.made_of) > 1 else ""
    lost = ", ".join(severity.box_harm(boxes))
    return f"In {worst.result.id} {lost}{made_of}: whether by this, no test says."


def _told_of(first: Finding | None, int8: Sequence[HeadRow]) -> HeadRow | None:
    """Returns the worst int8 cell that what leads a card is about; None where it is about no such cell.

    Of those with the best table that ran, where it is about some of them.
    """
    if first is None or first.beaten:
        return None
    told = [row for row in int8 if row.result.id in first.cells and row.head.budget]
    judged = {row.result.id for row in speaking(int8)}
    about = [row for row in told if row.result.id in judged] or told
    return max(about, key=lambda row: row.head.error.nmse or 0.0, default=None)


def _floats(rows: Sequence[HeadRow]) -> list[HeadRow]:
    return [row for row in rows if not row.result.pass_.is_int8]


def accused(found: Sequence[Finding]) -> frozenset[str]:
    """Returns the environments in which the version, or something that only it has, is named."""
    return frozenset(
        name for finding in found if finding.kind in OF_VERSION for name in finding.environments
    )


def _gone(found: Sequence[Finding]) -> frozenset[str]:
    """Returns the environments that failed in some cell, or whose output is broken."""
    return frozenset(
        name
        for finding in found
        if finding.kind is Kind.BROKEN_OUTPUT
        or (finding.kind is Kind.COULD_NOT_RUN and not finding.planned)
        for name in finding.environments
    )


def _unseen(
    rows: Sequence[HeadRow],
    int8: Sequence[HeadRow],
    results: Sequence[CellResult],
    *,
    boxless: bool,
) -> list[tuple[str, str]]:
    """Returns what nobody has looked at, and what to do so that somebody can."""
    unseen = []
    if not rows:
        return [(ANY, f"run a cell of it ({DOCTOR})")]
    if any(not row.head.budget for row in int8):
        # A gate that holds says nothing of what its scales would keep: that may be far more.
        unseen.append(
            ("what 8 bits must cost, since some tables are not known", "record every table")
        )
    unknown = [row for row in int8 if row.head.boxes is None]
    # Boxes may be made of other heads alone: of a class of the whole image there are none.
    beside = any(other.boxes for row in int8 for other in row.result.heads)
    if boxless or (len(unknown) == len(int8) and beside):
        # No number of dB is safe in every application: only a gate says what this one bears.
        if any(row.head.passed is None for row in int8):
            unseen.append((BEARABLE, GATE_SAYS))
    elif unknown:
        # A head whose objects all became background can keep 27 dB, and a gate of 20.
        unseen.append((BOXES, DECODE_SAYS))
    if any(Kind.NOT_COMPARABLE in row.head.kinds for row in rows):
        unseen.append(("cells that could not be compared", "mend what they lack"))
    left = sum(result.status is Status.NOT_RUN for result in results)
    quantised = [result for result in results if result.pass_.is_int8]
    if left:
        unseen.append((f"{count(left, 'cell')} that had no turn", "run them"))
    elif not int8 and quantised and all(result.status.never_started for result in quantised):
        # That floating point is sound says nothing of what was asked.
        unseen.append(("int8, of which no cell ran", f"run a cell in int8 ({DOCTOR})"))
    single = [row.result for row in int8 if row.result.repeats < 2 and not row.result.fixed]
    if single:
        names = listed(environments_of(single), 3)
        unseen.append((f"another build of {names}", "measure with 2 repeats or more"))
    return unseen


def _no_fault(
    findings: Sequence[Finding],
    judged: Sequence[HeadRow],
    unseen: Sequence[str],
    *,
    clean: bool,
    passed: bool | None,
) -> str:
    if ANY in unseen:
        return "nothing to judge"
    if clean:
        return NOTHING
    for finding in findings:
        if finding.kind is Kind.PRECISION_FALLBACK:
            return finding.fault
    if passed is False:
        return "below the gate, no cause found"
    keeps = present(row.head.sqnr_db for row in judged)
    if HARM_UNKNOWN.intersection(unseen) and passed is None and keeps:
        return f"not known whether it matters: int8 keeps {span(keeps)} dB"
    return "nothing found, but not all was seen" if unseen else "boxes change, within the gate"


def _nothing(
    rows: Sequence[HeadRow], int8: Sequence[HeadRow], baseline: str, lost: Severity, *, beaten: bool
) -> str:
    if not rows:
        return "No cell gave a result."
    looked = _looked(rows, int8, baseline)
    apart = "Apart from tables that another one beats, nothing" if beaten else "Nothing"
    text = f"{apart} was found: {looked}." if looked else ""
    if lost.matters:
        text = "Boxes change, within the gates that are set."
    return " ".join(filter(None, (text, kept(int8, baseline))))


def _looked(rows: Sequence[HeadRow], int8: Sequence[HeadRow], baseline: str) -> str:
    """Returns what was looked at, and with what result."""
    sound = [
        (row.result.environment, verdict.bound_db)
        for row in rows
        for verdict in row.head.verdicts
        if verdict.kind is Kind.OK
    ]
    parts = []
    most = max(present(bound for _, bound in sound), default=math.inf)
    if most <= TELLING_DB:
        bound = f"more than {up(max(most, 0.0))} dB worse than the baseline (95 %)"
        some = any(unknown is None for name, unknown in sound if name != baseline)
        whose = "of the cells that could be compared none" if some else "no version"
        parts.append(f"{whose} is {bound}")
    if int8 and all(row.head.budget for row in int8):
        gains = _gains(int8)
        if gains:
            most = max(0.0, -min(gain for _, gain in gains))
            parts.append(f"int8 measures at most {up(most)} dB worse than its scales must cost")
        parts += _spared(gains)
    elif keeps := present(row.head.sqnr_db for row in int8):
        parts.append(f"int8 keeps {span(keeps)} dB, and what it could keep is not known")
    boxes = present(row.head.boxes for row in int8)
    if int8 and len(boxes) == len(int8):
        gone = any(box.total.lost for box in boxes)
        parts.append("boxes change less than matters" if gone else "no box is lost")
    if _floats(rows):
        parts.append("floating point is sound")
    return "; ".join(parts)


def _gains(int8: Sequence[HeadRow]) -> list[tuple[str, float]]:
    """Returns (environment, how much better it is than exact arithmetic with its scales, in dB)."""
    return [
        (
            result.environment,
            10 * math.log10((budget.limit + budget.calibration) / budget.observed),
        )
        for result, head in int8
        if (budget := head.budget) and budget.observed > 0 and budget.limit + budget.calibration > 0
    ]


def _spared(gains: Sequence[tuple[str, float]]) -> list[str]:
    """Returns where int8 is better than 8 bits in every layer would be."""
    better = [(name, gain) for name, gain in gains if gain >= SPARED_DB]
    if not better:
        return []
    names, most = distinct(name for name, _ in better), span(gain for _, gain in better)
    return [
        f"{listed(names, 3)} {verb('keep', names)} {most} dB more than a full 8-bit network: some of it ran in float"
    ]


def _advice(missing: Sequence[str], *, clean: bool, boxless: bool) -> str:
    if clean:
        return "Nothing to do."
    if missing:
        return f"To know more: {listed(missing)}."
    return "See the error budget below." if boxless else "See the boxes below."
