"""What was seen behind the answer to each of the six questions, in sentences; pure.

A sentence says what was measured, and says so where something was not.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

from trt_matrix.core import severity
from trt_matrix.core.answers.choices import sentence as seen
from trt_matrix.core.answers.choices import tested
from trt_matrix.core.answers.degree import how_sure
from trt_matrix.core.answers.per_head import accused
from trt_matrix.core.answers.sentences import alike
from trt_matrix.core.boxes.results import BoxErrors
from trt_matrix.core.cells import TableSource
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.metrics import sqnr_db
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
    if not judgement.int8_rows:
        return "No int8 cell gave a result."
    undecided = _needs(judgement)
    open_ = [f"Not decided yet: {undecided}."] if undecided else []
    return " ".join((*_faults(judgement), *_alike(judgement), *open_))


def _faults(judgement: Judgement) -> list[str]:
    """Returns a sentence for each fault and the heads that have it, the worst first, and their shares."""
    answers = sorted(judgement.answers, key=lambda answer: (answer.clean, -answer.severity.rank))
    groups = grouped(
        (f"{answer.fault}{f' ({sure})' if (sure := how_sure(answer)) else ''}.", answer.head)
        for answer in answers
    )
    told = [f"{listed(heads, 3)}: {fault}" for fault, heads in groups.items()]
    shares = [f"{answer.head} {answer.shares.sentence()}" for answer in answers if answer.shares]
    made_of = f"How the loss is made up: {_some(shares)}." if shares else ""
    more = len(told) - MOST_HEADS
    rest = f"And {more} more in the cards above." if more > 0 else ""
    return [*told[:MOST_HEADS], *filter(None, (rest, made_of))]


def _some(parts: Sequence[str], most: int = MOST_HEADS) -> str:
    """Joins parts that have commas of their own; says how many more there are."""
    more = len(parts) - most
    return "; ".join((*parts[:most], *([f"and {more} more below"] if more > 0 else [])))


def _alike(judgement: Judgement) -> list[str]:
    """Returns what versions were shown to share; that nothing of the kind was shown is told too."""
    equal = grouped((equivalence.head, equivalence) for equivalence in judgement.equal)
    heads = grouped(
        (text, answer.head)
        for answer in judgement.answers
        for text in alike(equal.get(answer.head, ()), accused(answer.findings))
    )
    told = [
        text
        if len(judgement.heads) == len(names)
        else f"{text.removesuffix('.')} ({listed(names, 3)})."
        for text, names in sorted(heads.items(), key=lambda pair: -len(pair[1]))
    ]
    if told:
        return told[:MOST_ALIKE]
    several = len({result.environment for result, _ in judgement.int8_rows}) > 1
    return ["That versions lose the same was not shown."] if several else []


def _needs(judgement: Judgement) -> str:
    """Returns what would decide what is open, of which heads; builds with a layer held have decided theirs."""
    decided = {choice.head for choice in judgement.choices if tested(choice)}
    heads = grouped(
        (needs[:1].lower() + needs[1:], answer.head)
        for answer in judgement.answers
        for finding in answer.findings
        if finding.kind is Kind.INCONCLUSIVE and answer.head not in decided
        for needs in [finding.advice.split(" would decide")[0]]
    )
    told = [
        f"{listed(distinct(names), 3)} ({needs} would decide)" for needs, names in heads.items()
    ]
    return _some(told, MOST_ALIKE)


def layers(judgement: Judgement) -> str:
    """Says what builds chose, what the network's graph says, and what each precision takes."""
    told = [seen(choice) for choice in judgement.choices[:2]]
    told += [sentence(lineage.sentence) for lineage in judgement.lineage[:2]]
    told = told or [_no_layers(judgement)]
    if not any(tested(choice) for choice in judgement.choices):
        told.append("What one layer alone costs was not measured.")
    return " ".join(filter(None, (*told, _speeds(judgement))))


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
    if judgement.answers and all(answer.clean for answer in everything):
        return "No head is bad."
    return "Not known: no head was found to be bad, and not all was looked at."


def _speeds(judgement: Judgement) -> str:
    """Says what the baseline takes in each precision, on the first device where it was timed."""
    timed = [
        (result.device, result.pass_.precision, result.latency.median_s)
        for result in judgement.judged
        if result.latency and result.environment == judgement.baseline
    ]
    seconds = grouped((name, median) for device, name, median in timed if device == timed[0][0])
    if len(seconds) < 2:
        return ""
    told = [f"{duration(min(medians))} in {name}" for name, medians in seconds.items()]
    return f"{judgement.baseline} takes {listed(told)}."


def limit(judgement: Judgement) -> str:
    """Says what 8 bits must cost in each placement: with Q/DQ nodes, and with implicit scales."""
    rows = [(result, head) for result, head in judgement.int8_rows if head.budget]
    ways = grouped(
        ((head.head, result.pass_.implicit, result.pass_.per_tensor), head) for result, head in rows
    )
    told = []
    for head in judgement.heads:
        parts = []
        for implicit, per_tensor in itertools.product(WAYS, (False, True)):
            mine = ways.get((head, implicit, per_tensor), ())
            limits = present(row.best_db for row in mine)
            if limits:
                way = f"{WAYS[implicit]}{' and weights per tensor' if per_tensor else ''}"
                worst = max(row.budget.observed for row in mine if row.budget)
                parts.append(
                    f"{span(limits)} dB {way} (observed at worst {fixed(sqnr_db(worst)) if worst > 0 else '∞'} dB)"
                )
        if parts:
            told.append(f"{head} {', '.join(parts)}")
    if not told:
        return "Not known: no int8 cell has a simulation with its table."
    placements = distinct(result.placed.told for result, _ in rows if result.placed)
    placed = named = ""
    if placements:
        placed = f", in {'this placement' if len(placements) == 1 else 'each placement'}"
        named = f" ({'; '.join(placements[:3])})"
    return (
        f"With the best table known{placed}{named} 8 bits keep: {_some(told)}. "
        f"{_beyond(judgement, [head for _, head in rows])}".strip()
    )


def _beyond(judgement: Judgement, heads: Sequence[HeadResult]) -> str:
    """Says whether the limit alone is beyond a gate of SQNR, and what else says that 8 bits are too few."""
    told = []
    gated = [
        (head.head, head.best_db, head.gate_sqnr_db)
        for head in heads
        if head.gate_sqnr_db is not None
    ]
    over = distinct(head for head, best, gate in gated if best is not None and best < gate)
    if over:
        told.append(f"For {listed(over, 3)} even that is beyond the SQNR gate.")
    elif gated:
        told.append("Every SQNR gate that is set allows that.")
    limited = [
        answer.head
        for answer in judgement.answers
        if answer.head not in over
        and any(finding.kind is Kind.INT8_LIMIT for finding in answer.findings)
    ]
    if limited:
        told.append(f"For {listed(limited, 3)} most of what is lost is 8 bits' own all the same.")
    return " ".join(told)


def harm(judgement: Judgement) -> str:
    """Says what became of boxes; of a network that makes none, what its heads keep."""
    return _kept(judgement) if judgement.boxless else _boxes(judgement)


def _kept(judgement: Judgement) -> str:
    rows = [(row, result) for result, row in judgement.int8_rows if row.sqnr_db is not None]
    told = []
    for head in judgement.heads:
        mine = [(row.sqnr_db or 0.0, result) for row, result in rows if row.head == head]
        if mine:
            db, result = min(mine, key=lambda pair: pair[0])
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
    rows = judgement.int8_rows
    by_cell = {result.id: result for result, _ in rows}
    whole = _with_boxes((result, result.whole_boxes) for result in by_cell.values())
    told = [_lost("the whole network", whole)] if whole else []
    for head in judgement.heads:
        mine = _with_boxes((result, row.boxes) for result, row in rows if row.head == head)
        if mine:
            told.append(_lost(head, mine))
    if not told:
        return "Not known: no int8 cell has boxes."
    return f"At worst {_some(told, MOST_HEADS + bool(whole))}."


def _with_boxes(
    rows: Iterable[tuple[CellResult, BoxErrors | None]],
) -> list[tuple[CellResult, BoxErrors]]:
    """Returns those of which boxes are known, and of which the reference has any."""
    return [(result, boxes) for result, boxes in rows if boxes and boxes.total.reference]


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
    """Says how many images there are, what was found of them, and what better tables would save."""
    images = judgement.facts.get("images", {})
    number = images.get("calibration", {}).get("count") if isinstance(images, dict) else None
    if number is None:
        return "Nothing is known of its images."
    told = [f"{count(number, 'image')}, preprocessed as those of the evaluation are."]
    shared = images.get("shared")
    if judgement.calibration:
        told += calibration_images.told(judgement.calibration)
    elif shared:
        same = f"{count(shared, 'of them is', 'of them are')} among those evaluated"
        told.append(f"{same}: judged on what was learnt.")
    elif shared is not None:
        told.append("It shares none with the evaluation.")
    blamed = [
        (finding.beaten, -finding.severity.rank, answer.head, finding.text)
        for answer in judgement.answers
        for finding in answer.findings
        if finding.kind is Kind.CALIBRATION_PROBLEM
    ]
    if blamed:
        *_, head, text = min(blamed, key=lambda finding: finding[:2])
        told.append(f"{head}: {text[:1].lower()}{text[1:]}")
    else:
        told.append("No test names a table that costs more than another one.")
    told += [_worth(judgement), _own_tables(judgement)]
    return " ".join(filter(None, told))


def _worth(judgement: Judgement) -> str:
    """Says what better tables would save, those made of the evaluation images among them."""
    savings = [
        (head.head, 10 * math.log10(1 + head.budget.calibration / head.budget.limit))
        for result, head in judgement.int8_rows
        if result.environment == judgement.baseline
        and result.pass_.source is TableSource.SHARED
        and not result.pass_.implicit
        and not result.pass_.per_tensor
        and head.budget
        and head.budget.limit > 0
        and head.budget.calibration > -head.budget.limit
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
    """Says which heads custom layers are behind, and what of the multiplications ran on integers."""
    told = ["The network has no custom operator."]
    if judgement.custom:
        names = [f"{layer.node} ({layer.operator})" for layer in judgement.custom]
        behind, blamed = judgement.behind_custom, judgement.blamed_on_custom
        told = [
            f"{listed(names, 3)}: {listed(behind)} {verb('is', behind)} behind.",
            f"The bad heads, and only they, lie behind it: {listed(blamed)}."
            if blamed
            else "No set of bad heads, and only they, lies behind it.",
        ]
    heads = [head for _, head in judgement.int8_rows]
    shares = present(head.integer_share for head in heads)
    if shares and min(shares) == 1:
        told.append("All multiplications of the heads ran on integers.")
    elif shares:
        placed = distinct(name for head in heads for name in head.placed_float)
        why = ""
        if placed and not any(head.float_layers for head in heads):
            why = (
                f": {listed(placed, 3)} {verb('stand', placed)} before float outputs, and "
                "the engine has no kernel from int8 to float"
            )
        told.append(
            f"Of the heads' multiplications {span(100 * share for share in shares)} % ran on integers{why}."
        )
    return " ".join(told)
