"""What was seen behind the answer to each of the six questions, in sentences; pure.

A sentence says what was measured, and says so where something was not.
"""

import itertools
import math
from collections.abc import Sequence

from trt_matrix.core import severity
from trt_matrix.core.answers.choices import sentence as seen
from trt_matrix.core.answers.choices import tested
from trt_matrix.core.answers.degree import how_sure
from trt_matrix.core.answers.per_head import accused
from trt_matrix.core.answers.sentences import alike
from trt_matrix.core.boxes.results import BoxErrors
from trt_matrix.core.cells import TableSource
from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import count, listed, span, verb
from trt_matrix.report import images as calibration_images
from trt_matrix.report.formatting import duration, fixed, sentence, signed

MOST_HEADS = 4
"""Heads, or sets of heads, that one answer names; the cards have all."""
MOST_ALIKE = 3
"""Sentences about what versions share, and about what is open."""
WAYS = {False: "with Q/DQ nodes", True: "with implicit scales"}
SIMILAR = 1.05
"""Ranges within this factor of each other clip and round alike."""


def version_or_calibration(judgement: Judgement) -> str:
    """Says whose each head's error is, from its answer and its budget alone.

    What is not the version's comes from a test for that (`judgement.equal`), never from nothing having been
    found; and of the calibration nobody says that it is innocent: its share stands here.
    """
    if not any(_int8(judgement)):
        return "No int8 cell gave a result."
    told = [*_faults(judgement), *_alike(judgement)]
    undecided = _needs(judgement)
    if undecided:
        told.append(f"Not decided yet: {undecided}.")
    return " ".join(told)


def _faults(judgement: Judgement) -> list[str]:
    """Returns a sentence for each fault and the heads that have it, the worst first, and their shares."""
    groups: dict[str, list[str]] = {}
    answers = sorted(judgement.answers, key=lambda answer: (answer.clean, -answer.severity.rank))
    for answer in answers:
        sure = f" ({known})" if (known := how_sure(answer)) else ""
        groups.setdefault(f"{answer.fault}{sure}.", []).append(answer.head)
    told = [f"{listed(heads, 3)}: {fault}" for fault, heads in groups.items()]
    shares = [f"{answer.head} {answer.shares.sentence()}" for answer in answers if answer.shares]
    made_of = f"How the loss is made up: {_some(shares)}." if shares else ""
    more = len(told) - MOST_HEADS
    rest = f"And {more} more in the cards above." if more > 0 else ""
    return [one for one in (*told[:MOST_HEADS], rest, made_of) if one]


def _some(parts: Sequence[str], most: int = MOST_HEADS) -> str:
    """Joins parts that have commas of their own; says how many more there are."""
    more = len(parts) - most
    return "; ".join((*parts[:most], *([f"and {more} more below"] if more > 0 else [])))


def _alike(judgement: Judgement) -> list[str]:
    """Returns what versions were shown to share; that nothing of the kind was shown is told too."""
    heads: dict[str, list[str]] = {}
    for answer in judgement.answers:
        equal = [equivalence for equivalence in judgement.equal if equivalence.head == answer.head]
        for said in alike(equal, accused(answer.findings)):
            heads.setdefault(said, []).append(answer.head)
    told = [
        text
        if len(judgement.heads) == len(names)
        else f"{text.removesuffix('.')} ({listed(names, 3)})."
        for text, names in sorted(heads.items(), key=lambda one: -len(one[1]))
    ]
    if told:
        return told[:MOST_ALIKE]
    several = len({result.environment for result, _ in _int8(judgement)}) > 1
    return ["That versions lose the same was not shown."] if several else []


def _needs(judgement: Judgement) -> str:
    """Returns what would decide what is open, of which heads; builds with a layer held have decided theirs."""
    heads: dict[str, list[str]] = {}
    decided = {choice.head for choice in judgement.choices if tested(choice)}
    for answer in judgement.answers:
        for finding in answer.findings:
            if finding.kind is Kind.INCONCLUSIVE and answer.head not in decided:
                needs = finding.advice.split(" would decide")[0]
                names = heads.setdefault(needs[:1].lower() + needs[1:], [])
                if answer.head not in names:
                    names.append(answer.head)
    told = [f"{listed(names, 3)} ({needs} would decide)" for needs, names in heads.items()]
    return _some(told, MOST_ALIKE)


def layers(judgement: Judgement) -> str:
    told = [seen(choice) for choice in judgement.choices[:2]]
    told += [sentence(lineage.sentence) for lineage in judgement.lineage[:2]]
    if not told:
        told = [_no_layers(judgement)]
    if not any(tested(choice) for choice in judgement.choices):
        told.append("What one layer alone costs was not measured.")
    speeds = _speeds(judgement)
    if speeds:
        told.append(speeds)
    return " ".join(told)


def _no_layers(judgement: Judgement) -> str:
    leads = {answer.head: answer.lead for answer in judgement.answers}
    wrong = [
        head
        for head, finding in leads.items()
        if finding and finding.kind is not Kind.COULD_NOT_RUN
    ]
    if len(wrong) == len(leads) > 0:
        return (
            "Not known: something was found of every head, so the network's graph sets none apart."
        )
    if wrong:
        return f"Not known: the network's graph does not set {listed(wrong, 3)} apart from the other heads."
    everything = (*judgement.answers, *((judgement.network,) if judgement.network else ()))
    if judgement.answers and all(one.clean for one in everything):
        return "No head is bad."
    return "Not known: no head was found to be bad, and not all was looked at."


def _speeds(judgement: Judgement) -> str:
    """Says what the baseline takes in each precision, on the first device where it was timed."""
    timed = [
        result
        for result in judgement.judged
        if result.latency and result.environment == judgement.baseline
    ]
    here = [result for result in timed if result.device == timed[0].device]
    fastest: dict[str, float] = {}
    for result in here:
        seconds = result.latency.median_s if result.latency else math.inf
        name = result.pass_.precision
        fastest[name] = min(seconds, fastest.get(name, math.inf))
    if len(fastest) < 2:
        return ""
    told = [f"{duration(seconds)} in {name}" for name, seconds in fastest.items()]
    return f"{judgement.baseline} takes {listed(told)}."


def limit(judgement: Judgement) -> str:
    """Says what 8 bits must cost in each placement: with Q/DQ nodes, and with implicit scales."""
    rows = [(result, head) for result, head in _int8(judgement) if head.budget]
    told = []
    for head in judgement.heads:
        parts = []
        for implicit, per_tensor in itertools.product(WAYS, (False, True)):
            way = f"{WAYS[implicit]}{' and weights per tensor' if per_tensor else ''}"
            mine = [
                row.budget
                for result, row in rows
                if row.head == head
                and result.pass_.implicit is implicit
                and result.pass_.per_tensor is per_tensor
                and row.budget
            ]
            limits = [_decibels(budget.limit) for budget in mine if budget.limit > 0]
            if limits:
                worst = max(budget.observed for budget in mine)
                parts.append(f"{span(limits)} dB {way} (observed at worst {_db(worst)} dB)")
        if parts:
            told.append(f"{head} {', '.join(parts)}")
    if not told:
        return "Not known: no int8 cell has a simulation with its table."
    placements = distinct(result.placed.told for result, _ in rows if result.placed)
    placed = f", in {'this placement' if len(placements) == 1 else 'each placement'}" * bool(
        placements
    )
    named = f" ({'; '.join(placements[:3])})" if placements else ""
    return (
        f"With the best table known{placed}{named} 8 bits keep: {_some(told)}. "
        f"{_beyond(judgement, rows)}".strip()
    )


def _beyond(judgement: Judgement, rows: Sequence[tuple[CellResult, HeadResult]]) -> str:
    """Says whether the limit alone is beyond a gate of SQNR, and what else says that 8 bits are too few."""
    told = []
    gated = [
        (row, row.budget.limit, row.gate_sqnr_db)
        for _, row in rows
        if row.budget and row.gate_sqnr_db is not None
    ]
    over = distinct(
        head.head for head, limit, gate in gated if limit > 0 and _decibels(limit) < gate
    )
    if over:
        told.append(f"For {listed(over, 3)} even that is beyond the SQNR gate.")
    elif gated:
        told.append("Every SQNR gate that is set allows that.")
    boxes = [
        answer.head
        for answer in judgement.answers
        if answer.head not in over and any(f.kind is Kind.INT8_LIMIT for f in answer.findings)
    ]
    if boxes:
        told.append(f"For {listed(boxes, 3)} most of what is lost is 8 bits' own all the same.")
    return " ".join(told)


def _decibels(nmse: float) -> float:
    return -10 * math.log10(nmse)


def _db(nmse: float) -> str:
    return fixed(-10 * math.log10(nmse)) if nmse > 0 else "∞"


def harm(judgement: Judgement) -> str:
    """Says what became of boxes; of a network that makes none, what its heads keep."""
    return _kept(judgement) if judgement.boxless else _boxes(judgement)


def _kept(judgement: Judgement) -> str:
    told = []
    for head in judgement.heads:
        mine = [
            (head_result.sqnr_db, result)
            for result, head_result in _int8(judgement)
            if head_result.head == head and head_result.sqnr_db is not None
        ]
        if mine:
            db, result = min(mine, key=lambda one: one[0])
            told.append(f"{head} keeps {fixed(db)} dB ({result.environment}, {result.pass_.name})")
    return (
        f"At worst {_some(told)}." if told else "Not known: no int8 cell has a comparable output."
    )


def _boxes(judgement: Judgement) -> str:
    report = judgement.boxes
    if report is None:
        return "Not known: matrix.yaml does not say how to decode boxes (`decode:`)."
    if report.problem:
        return f"Not known: {report.problem}."
    rows = _int8(judgement)
    whole = {
        result.id: (result, result.boxes.whole)
        for result, _ in rows
        if result.boxes and result.boxes.whole and result.boxes.whole.total.reference
    }
    told = [_lost("the whole network", list(whole.values()))] if whole else []
    for head in judgement.heads:
        mine = [
            (result, row.boxes)
            for result, row in rows
            if row.head == head and row.boxes and row.boxes.total.reference
        ]
        if mine:
            told.append(_lost(head, mine))
    if not told:
        return "Not known: no int8 cell has boxes."
    return f"At worst {_some(told, MOST_HEADS + bool(whole))}."


def _lost(whose: str, rows: Sequence[tuple[CellResult, BoxErrors]]) -> str:
    """Returns what became of boxes in the worst cell: by how much it matters, then by boxes lost."""
    result, boxes = max(rows, key=lambda row: (severity.of_boxes(row[1]).rank, row[1].total.lost))
    changes = boxes.total
    iou = f", mean IoU {fixed(changes.mean_iou, 2)}" if changes.mean_iou is not None else ""
    ap = f", AP {signed(-boxes.shown_drop, 3)}" if boxes.shown_drop is not None else ""
    return (
        f"{whose} loses {changes.lost:g} of {count(round(changes.reference), 'box', 'boxes')}{iou}{ap} "
        f"({result.environment}, {result.pass_.name})"
    )


def calibration(judgement: Judgement) -> str:
    images = judgement.facts.get("images", {})
    number = images.get("calibration", {}).get("count") if isinstance(images, dict) else None
    if number is None:
        return "Nothing is known of its images."
    told = [f"{count(number, 'image')}, preprocessed as those of the evaluation are."]
    shared = images.get("shared")
    if judgement.calibration:
        told += calibration_images.told(judgement.calibration)
    elif shared is not None:
        same = f"{count(shared, 'of them is', 'of them are')} among those evaluated"
        told.append(
            f"{same}: judged on what was learnt."
            if shared
            else "It shares none with the evaluation."
        )
    blamed = sorted(
        (
            (
                finding.beaten,
                -finding.severity.rank,
                f"{answer.head}: {finding.text[:1].lower()}{finding.text[1:]}",
            )
            for answer in judgement.answers
            for finding in answer.findings
            if finding.kind is Kind.CALIBRATION_PROBLEM
        ),
        key=lambda found: found[:2],
    )
    told += [blamed[0][2] if blamed else "No test names a table that costs more than another one."]
    told += [_worth(judgement), _own_tables(judgement)]
    return " ".join(part for part in told if part)


def _worth(judgement: Judgement) -> str:
    """Says what better tables would save, those made of the evaluation images among them."""
    splits = [
        (head.head, head.budget)
        for result, head in _int8(judgement)
        if result.environment == judgement.baseline
        and result.pass_.source is TableSource.SHARED
        and not result.pass_.implicit
        and not result.pass_.per_tensor
        and head.budget
        and head.budget.limit > 0
    ]
    savings = [
        (head, 10 * math.log10(1 + split.calibration / split.limit))
        for head, split in splits
        if split.calibration > -split.limit
    ]
    told = [f"{head} {fixed(saved)} dB" for head, saved in savings if saved >= 0.05]
    if savings and not told:
        return "No better table is known for any head."
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


def custom(judgement: Judgement) -> str:
    custom = judgement.custom
    if not custom:
        told = ["The network has no custom operator."]
    else:
        names = [f"{layer.node} ({layer.operator})" for layer in custom]
        behind = distinct(head for layer in custom for head in layer.heads)
        told = [f"{listed(names, 3)}: {listed(behind)} {verb('is', behind)} behind."]
        blamed = [
            lineage
            for lineage in judgement.lineage
            if any(each.custom for suspects in lineage.suspects for each in suspects.operators)
        ]
        told.append(
            f"The bad heads, and only they, lie behind it: {listed(blamed[0].bad)}."
            if blamed
            else "No set of bad heads, and only they, lies behind it."
        )
    shares = [head.integer_share for _, head in _int8(judgement) if head.integer_share is not None]
    if shares and min(shares) == 1:
        told.append("All multiplications of the heads ran on integers.")
    elif shares:
        placed = distinct(name for _, head in _int8(judgement) for name in head.placed_float)
        unasked = any(head.float_layers for _, head in _int8(judgement))
        why = (
            f": {listed(placed, 3)} {verb('stand', placed)} before float outputs, and "
            "the engine has no kernel from int8 to float"
            if placed and not unasked
            else ""
        )
        told.append(
            f"Of the heads' multiplications {span(100 * share for share in shares)} % ran on integers{why}."
        )
    return " ".join(told)


def _int8(judgement: Judgement) -> list[tuple[CellResult, HeadResult]]:
    return [
        (result, head)
        for result in judgement.judged
        if result.status.ok and result.pass_.is_int8
        for head in result.heads
    ]
