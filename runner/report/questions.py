"""The six questions that bring people here (DESIGN section 1), each with the run's answer; pure.

An answer says what was measured, and says so where something was not.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runner.cells import Precision, Status, TableSource
from runner.core.answer import Finding
from runner.core.answers.choices import blamed
from runner.core.answers.choices import sentence as seen
from runner.core.boxes.results import ALL
from runner.core.judgement import CellResult, HeadResult, Judgement
from runner.core.verdicts.verdict import Kind
from runner.core.words import count, listed, span, verb
from runner.report.formatting import duration, fixed, sentence, signed

VERSION = frozenset(
    {
        Kind.FP32_REGRESSION,
        Kind.ENGINE_REGRESSION,
        Kind.ENGINE_LOSS,
        Kind.IMPLICIT_REGRESSION,
        Kind.CALIBRATOR_REGRESSION,
    }
)
"""What an engine or its calibrator does, and a better table or more bits would not mend."""
SIMILAR = 1.05
"""Ranges within this factor of each other clip and round alike."""


class Question(NamedTuple):
    question: str
    answer: str
    section: str
    """Id of the part of the page that shows it."""
    title: str
    """What that part is called."""


def questions(judgement: Judgement) -> tuple[Question, ...]:
    """Returns the six questions in their order."""
    return (
        Question(
            "Is it the version or the calibration? How sure is that?",
            _version_or_calibration(judgement),
            "budget",
            "Error budget",
        ),
        Question(
            "Which layers hurt which head, and what would float cost?",
            _layers(judgement),
            "layers",
            "Layers",
        ),
        Question(
            "What must 8 bits cost, and is a head beyond it?",
            _limit(judgement),
            "budget",
            "Error budget",
        ),
        Question("Does it matter: which boxes changed?", _boxes(judgement), "boxes", "Boxes"),
        Question(
            "Is the calibration set good?", _calibration(judgement), "tables", "Calibration tables"
        ),
        Question("Is a custom layer to blame?", _custom(judgement), "layers", "Layers"),
    )


def _version_or_calibration(judgement: Judgement) -> str:
    chosen = {one.head: one for one in judgement.choices}
    layers = [
        one.head
        for one in judgement.answers
        if one.head in chosen and blamed(one, chosen[one.head])
    ]
    found = [
        (one.head, finding)
        for one in judgement.answers
        if one.head not in layers
        for finding in one.findings
    ]
    if not any(_int8(judgement)):
        return "No int8 cell gave a result."
    parts = (
        _by_head("The version's", found, VERSION),
        _by_head("The calibration's", found, {Kind.CALIBRATION_PROBLEM}),
        _by_head("8 bits' own", found, {Kind.INT8_LIMIT}),
    )
    told = [part for part in parts if part]
    if layers:
        told.append(f"A layer's, it seems: {listed(layers)}; the builds of one table differ.")
    undecided = _needs(found)
    if not told and not undecided:
        told = ["Neither: no version is worse than the baseline, and no table is beyond its gate."]
    elif told and not parts[1] and not layers and judgement.answers:
        told.append("Not the calibration's: no table alone loses what a better one would keep.")
    if undecided:
        told.append(f"Not decided yet: {undecided}")
    else:
        sure = [one.confidence for one in judgement.answers if one.confidence]
        told += [f"{listed(list(dict.fromkeys(sure)))}."] if sure else []
    return " ".join(told)


def _by_head(whose: str, found: Sequence[tuple[str, Finding]], kinds: Iterable[Kind]) -> str:
    chosen = [(head, one) for head, one in found if one.kind in kinds]
    if not chosen:
        return ""
    heads = list(dict.fromkeys(head for head, _ in chosen))
    where = list(dict.fromkeys(name for _, one in chosen for name in one.environments))
    return f"{whose}: {listed(heads)}, in {listed(where)}."


def _needs(found: Iterable[tuple[str, Finding]]) -> str:
    heads: dict[str, list[str]] = {}
    for head, one in found:
        if one.kind is Kind.INCONCLUSIVE:
            heads.setdefault(one.advice.split(". ")[0], []).append(head)
    return " ".join(f"{listed(names)}: {advice}." for advice, names in heads.items())


def _layers(judgement: Judgement) -> str:
    told = [seen(one) for one in judgement.choices]
    told += [sentence(one.sentence) for one in judgement.lineage[:2]]
    bad = any(one.findings for one in judgement.answers)
    if not told:
        told = ["The network's graph sets no bad heads apart." if bad else "No head is bad."]
    told.append("What one layer alone costs was not measured.")
    speeds = _speeds(judgement)
    if speeds:
        told.append(speeds)
    return " ".join(told)


def _speeds(judgement: Judgement) -> str:
    """Says what the baseline takes in each precision, on the first device where it was timed."""
    timed = [
        one for one in judgement.cells if one.latency and one.cell.environment == judgement.baseline
    ]
    here = [one for one in timed if one.cell.device == timed[0].cell.device]
    fastest: dict[str, float] = {}
    for one in here:
        seconds = one.latency.median_s if one.latency else math.inf
        name = one.cell.pass_.precision
        fastest[name] = min(seconds, fastest.get(name, math.inf))
    if len(fastest) < 2:
        return ""
    told = [f"{duration(seconds)} in {name}" for name, seconds in fastest.items()]
    return f"{judgement.baseline} takes {listed(told)}."


def _limit(judgement: Judgement) -> str:
    told = []
    for head in judgement.heads:
        budgets = [one.budget for _, one in _int8(judgement) if one.head == head and one.budget]
        limits = [one.limit for one in budgets if one.limit > 0]
        if not limits:
            continue
        worst = max(one.observed for one in budgets)
        told.append(f"{head} {_db(min(limits))} dB, observed at worst {_db(worst)} dB")
    if not told:
        return "Not known: no int8 cell has a simulation with its table."
    text = f"With the best table known 8 bits keep: {'; '.join(told)}."
    beyond = [
        one.head
        for one in judgement.answers
        if any(finding.kind is Kind.INT8_LIMIT for finding in one.findings)
    ]
    if beyond:
        return f"{text} For {listed(beyond)} even that is beyond the gate."
    gated = any(one.gate_sqnr_db is not None for _, one in _int8(judgement))
    return f"{text} No head's limit is beyond its gate." if gated else text


def _db(nmse: float) -> str:
    return fixed(-10 * math.log10(nmse)) if nmse > 0 else "∞"


def _boxes(judgement: Judgement) -> str:
    report = judgement.boxes
    if report is None:
        return "Not known: matrix.yaml does not say how to decode boxes (`decode:`)."
    if report.problem:
        return f"Not known: {report.problem}."
    drops = [
        (result, one, one.boxes)
        for result, one in _int8(judgement)
        if one.boxes and one.boxes.changes[ALL].reference
    ]
    if not drops:
        return "Not known: no int8 cell has boxes."
    told = []
    for head in judgement.heads:
        mine = [row for row in drops if row[1].head == head]
        if not mine:
            continue
        result, _, boxes = max(mine, key=lambda row: row[2].changes[ALL].lost)
        changes = boxes.changes[ALL]
        iou = f", mean IoU {fixed(changes.mean_iou, 2)}" if changes.mean_iou is not None else ""
        ap = f", AP {signed(-boxes.ap_drop, 2)}" if boxes.ap_drop is not None else ""
        told.append(
            f"{head} loses {changes.lost:g} of {count(round(changes.reference), 'box', 'boxes')}{iou}{ap} "
            f"({result.cell.environment}, {result.cell.pass_.name})"
        )
    return f"At worst {'; '.join(told)}."


def _calibration(judgement: Judgement) -> str:
    images = judgement.facts.get("images", {})
    number = images.get("calibration", {}).get("count") if isinstance(images, dict) else None
    if number is None:
        return "Nothing is known of its images."
    told = [f"{count(number, 'image')}, preprocessed as those of the evaluation are."]
    shared = images.get("shared")
    if shared is not None:
        same = f"{count(shared, 'of them is', 'of them are')} among those evaluated"
        told.append(f"{same}: judged on what was learnt." if shared else "None is evaluated too.")
    blamed = [
        finding.text
        for one in judgement.answers
        for finding in one.findings
        if finding.kind is Kind.CALIBRATION_PROBLEM
    ]
    told += blamed[:1] or ["No head loses more by its table than its gate allows."]
    told += [_worth(judgement), _own_tables(judgement)]
    return " ".join(part for part in told if part)


def _worth(judgement: Judgement) -> str:
    """Says what better tables would save, those made of the evaluation images among them."""
    splits = [
        (one.head, one.budget)
        for result, one in _int8(judgement)
        if result.cell.environment == judgement.baseline
        and result.cell.pass_.source is TableSource.SHARED
        and not result.cell.pass_.implicit
        and one.budget
        and one.budget.limit > 0
    ]
    told = [
        f"{head} {fixed(10 * math.log10(1 + split.calibration / split.limit))} dB"
        for head, split in splits
        if split.calibration > -split.limit
    ]
    return f"The best table known, for each head, would save {listed(told)}." if told else ""


def _own_tables(judgement: Judgement) -> str:
    """Says how far the ranges of the tensors that differ most between the tables in use lie apart."""
    report = judgement.tables
    if not report or not report.tensors:
        return ""
    furthest = report.tensors[0]
    return (
        f"Between the tables in use ranges differ by up to {furthest.spread:.1f} times "
        f"({furthest.tensor})."
        if furthest.spread > SIMILAR
        else "All tables in use agree within 5 %."
    )


def _custom(judgement: Judgement) -> str:
    custom = judgement.custom
    if not custom:
        told = ["The network has no custom operator."]
    else:
        names = [f"{one.node} ({one.operator})" for one in custom]
        behind = list(dict.fromkeys(head for one in custom for head in one.heads))
        told = [f"{listed(names, 3)}: {listed(behind)} {verb('is', behind)} behind."]
        blamed = [
            one
            for one in judgement.lineage
            if any(each.custom for suspects in one.suspects for each in suspects.operators)
        ]
        told.append(
            f"The bad heads, and only they, lie behind it: {listed(blamed[0].bad)}."
            if blamed
            else "No set of bad heads, and only they, lies behind it."
        )
    shares = [one.integer_share for _, one in _int8(judgement) if one.integer_share is not None]
    if shares and min(shares) == 1:
        told.append("All multiplications of the heads ran on integers.")
    elif shares:
        told.append(
            f"Of the heads' multiplications {span(100 * one for one in shares)} % ran on integers."
        )
    return " ".join(told)


def _int8(judgement: Judgement) -> list[tuple[CellResult, HeadResult]]:
    return [
        (result, one)
        for result in judgement.cells
        if result.status is Status.OK and result.cell.pass_.precision is Precision.INT8
        for one in result.heads
    ]
