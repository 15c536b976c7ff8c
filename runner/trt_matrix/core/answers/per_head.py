"""Whose fault is it: the answer for each head that stands first in every report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.answer import BEARABLE, BOXES, HARM_UNKNOWN, Answer, Finding, lead
from trt_matrix.core.answers.findings import DECODE_SAYS, GATE_SAYS, findings
from trt_matrix.core.answers.rows import Row, int8_of, rows_of
from trt_matrix.core.answers.sentences import alike, kept, up
from trt_matrix.core.answers.speaking import speaking
from trt_matrix.core.answers.verdict_groups import VERSIONS
from trt_matrix.core.answers.wide import wide_sentence
from trt_matrix.core.cells import Status
from trt_matrix.core.collecting import distinct
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
HARMLESS = (Severity.NONE, Severity.HARMLESS)
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
    found = tuple(
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
    wrong = lead(found) is not None
    first = lead(found, unseen)
    worst = _told_of(first, int8) or next(iter(judged), None)
    matters = severity.worst(
        (
            *(finding.severity for finding in found if not finding.beaten),
            *(_row_severity(row) for row in (*judged, *_floats(rows))),
        )
    )
    lost = severity.worst(severity.of_boxes(row.boxes) for _, row in rows)
    clean = not wrong and not missing and matters in HARMLESS and lost in HARMLESS
    equality = " ".join(alike(equal, accused(found), _gone(found)))
    told = (
        [first.text, _lost_besides(first, judged)]
        if first
        else [_nothing(rows, int8, baseline, lost, beaten=wrong)]
    )
    return Answer(
        head=head,
        fault=first.fault
        if first
        else _no_fault(found, judged, unseen, clean=clean, passed=passed),
        findings=found,
        text=" ".join(filter(None, (*told, equality))),
        advice=first.advice
        if first
        else _advice([do for _, do in missing], clean=clean, boxless=boxless),
        confidence=first.confidence if first else "",
        passed=passed,
        severity=matters,
        clean=clean,
        unseen=unseen,
        shares=shares_of(worst[0].id, worst[1].budget) if worst and worst[1].budget else None,
    )


def _lost_besides(first: Finding, judged: Sequence[Row]) -> str:
    """Returns what became of boxes where they say that it is worse than what leads the card."""
    worst = max(judged, key=lambda row: severity.of_boxes(row[1].boxes).rank, default=None)
    boxes = worst[1].boxes if worst else None
    if worst is None or boxes is None:
        return ""
    if severity.of_boxes(boxes).rank <= max(first.severity.rank, Severity.HARMLESS.rank):
        return ""
    made_of = f", counted for {listed(boxes.made_of)} together" if len(boxes.made_of) > 1 else ""
    lost = ", ".join(severity.box_harm(boxes))
    return f"In {worst[0].id} {lost}{made_of}: whether by this, no test says."


def _told_of(first: Finding | None, int8: Sequence[Row]) -> Row | None:
    """Returns the worst int8 cell that what leads a card is about; None where it is about no such cell.

    Of those with the best table that ran, where it is about some of them.
    """
    if first is None or first.beaten:
        return None
    told = [row for row in int8 if row[0].id in first.cells and row[1].budget]
    judged = {result.id for result, _ in speaking(int8)}
    about = [row for row in told if row[0].id in judged] or told
    return max(about, key=lambda row: row[1].error.nmse or 0.0, default=None)


def _floats(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row[0].pass_.is_int8]


def _row_severity(row: Row) -> Severity:
    _, head = row
    if head.passed is False:
        return Severity.SEVERE
    return severity.of_boxes(head.boxes)


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
    rows: Sequence[Row], int8: Sequence[Row], results: Sequence[CellResult], *, boxless: bool
) -> list[tuple[str, str]]:
    """Returns what nobody has looked at, and what to do so that somebody can."""
    found = []
    if not rows:
        return [(ANY, f"run a cell of it ({DOCTOR})")]
    known = [head for _, head in int8 if head.budget]
    if len(known) < len(int8):
        # A gate that holds says nothing of what its scales would keep: that may be far more.
        found.append(
            ("what 8 bits must cost, since some tables are not known", "record every table")
        )
    if boxless or _beside_boxes(int8):
        # No number of dB is safe in every application: only a gate says what this one bears.
        if any(head.passed is None for _, head in int8):
            found.append((BEARABLE, GATE_SAYS))
    elif any(head.boxes is None for _, head in int8):
        # A head whose objects all became background can keep 27 dB, and a gate of 20.
        found.append((BOXES, DECODE_SAYS))
    if any(v.kind is Kind.NOT_COMPARABLE for _, row in rows for v in row.verdicts):
        found.append(("cells that could not be compared", "mend what they lack"))
    left = sum(result.status is Status.NOT_RUN for result in results)
    if left:
        found.append((f"{count(left, 'cell')} that had no turn", "run them"))
    elif not int8 and _planned_int8(results):
        # That floating point is sound says nothing of what was asked.
        found.append(("int8, of which no cell ran", f"run a cell in int8 ({DOCTOR})"))
    single = [result.environment for result, _ in int8 if result.repeats < 2 and not result.fixed]
    if single:
        names = listed(distinct(single), 3)
        found.append((f"another build of {names}", "measure with 2 repeats or more"))
    return found


def _beside_boxes(int8: Sequence[Row]) -> bool:
    """Whether boxes are made of other heads alone: of a class of the whole image there are none."""
    return all(head.boxes is None for _, head in int8) and any(
        other.boxes for result, _ in int8 for other in result.heads
    )


def _planned_int8(results: Sequence[CellResult]) -> bool:
    """Whether cells are in int8, and none of them was started."""
    quantised = [result for result in results if result.pass_.is_int8]
    return bool(quantised) and all(result.status.never_started for result in quantised)


def _no_fault(
    found: Sequence[Finding],
    judged: Sequence[Row],
    unseen: Sequence[str],
    *,
    clean: bool,
    passed: bool | None,
) -> str:
    if ANY in unseen:
        return "nothing to judge"
    if clean:
        return "nobody's: nothing is wrong"
    fallback = next((finding for finding in found if finding.kind is Kind.PRECISION_FALLBACK), None)
    if fallback:
        return fallback.fault
    if passed is False:
        return "below the gate, no cause found"
    keeps = [head.sqnr_db for _, head in judged if head.sqnr_db is not None]
    if HARM_UNKNOWN.intersection(unseen) and passed is None and keeps:
        return f"not known whether it matters: int8 keeps {span(keeps)} dB"
    return "nothing found, but not all was seen" if unseen else "boxes change, within the gate"


def _nothing(
    rows: Sequence[Row], int8: Sequence[Row], baseline: str, lost: Severity, *, beaten: bool
) -> str:
    if not rows:
        return "No cell gave a result."
    looked = _looked(rows, int8, baseline)
    apart = "Apart from tables that another one beats, nothing" if beaten else "Nothing"
    text = f"{apart} was found: {looked}." if looked else ""
    if lost not in HARMLESS:
        text = "Boxes change, within the gates that are set."
    return " ".join(filter(None, (text, kept(int8, baseline))))


def _looked(rows: Sequence[Row], int8: Sequence[Row], baseline: str) -> str:
    """Returns what was looked at, and with what result."""
    others = [
        verdict
        for _, head in rows
        for verdict in head.verdicts
        if verdict.kind is Kind.OK and verdict.bound_db is not None
    ]
    parts = []
    most = max((other.bound_db or 0.0 for other in others), default=math.inf)
    if most <= TELLING_DB:
        bound = f"more than {up(max(most, 0.0))} dB worse than the baseline (95 %)"
        some = any(
            verdict.kind is Kind.OK and verdict.bound_db is None
            for result, head in rows
            for verdict in head.verdicts
            if result.environment != baseline
        )
        whose = "of the cells that could be compared none" if some else "no version"
        parts.append(f"{whose} is {bound}")
    if int8 and all(head.budget for _, head in int8):
        gains = _gains(int8)
        if gains:
            most = max(0.0, -min(gain for _, gain in gains))
            parts.append(f"int8 measures at most {up(most)} dB worse than its scales must cost")
        parts += _spared(gains)
    elif keeps := [head.sqnr_db for _, head in int8 if head.sqnr_db is not None]:
        parts.append(f"int8 keeps {span(keeps)} dB, and what it could keep is not known")
    if int8 and all(head.boxes for _, head in int8):
        gone = any(head.boxes and head.boxes.total.lost for _, head in int8)
        parts.append("boxes change less than matters" if gone else "no box is lost")
    if _floats(rows):
        parts.append("floating point is sound")
    return "; ".join(parts)


def _gains(int8: Sequence[Row]) -> list[tuple[str, float]]:
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
    names = distinct(name for name, _ in better)
    most = span(gain for _, gain in better)
    return [
        f"{listed(names, 3)} {verb('keep', names)} {most} dB more than a full 8-bit network: some of it ran in float"
    ]


def _advice(missing: Sequence[str], *, clean: bool, boxless: bool) -> str:
    if clean:
        return "Nothing to do."
    if missing:
        return f"To know more: {listed(missing)}."
    return "See the error budget below." if boxless else "See the boxes below."
