"""What int8 costs, in one clause with numbers: AP and boxes where they are known, else dB."""

from collections.abc import Sequence

from trt_matrix.core import severity
from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.findings import BEARABLE, lead
from trt_matrix.core.answers.network import with_best_tables
from trt_matrix.core.answers.rows import int8_of, rows_of
from trt_matrix.core.answers.since import environments_of, run_of, where
from trt_matrix.core.answers.speaking import speaking, table_name
from trt_matrix.core.answers.strips import Strip
from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.cells import Precision
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rounding import ap_change
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed, span, verb

REGRESSIONS = frozenset(
    {Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION, Kind.CALIBRATOR_REGRESSION}
)
MATTERS = ("severe", "visible")


def harm(judgement: Judgement, told: Sequence[Strip], *, worst_only: bool = False) -> str:
    """Returns `INT8 costs AP 0.83 → 0.61, in all 6 versions alike`.

    Args:
        judgement: All that is known.
        told: Of each head, the worst first.
        worst_only: Whether to say nothing where it is harmless.
    """
    boxes = whole_boxes(judgement)
    matters = any(severity.of_boxes(one).rank >= Severity.VISIBLE.rank for one in boxes)
    bad = [one for one in told if one.state in MATTERS and one.sqnr_db is not None]
    bad = [one for one in bad if _of_int8(judgement, one)]
    if worst_only and not matters and not bad:
        return ""
    blamed = _blamed(judgement, bad)
    if blamed:
        return blamed
    if boxes and (matters or not bad):
        text = _boxes(judgement, boxes, matters=worst_only or matters)
        said = f"{_subject(judgement, told)} {text}{where(judgement, judgement.heads)}"
        return f"{said}{'' if matters else _besides(judgement)}" if text else ""
    if bad:
        heads = [one.head for one in bad]
        parts = [f"{one.head} at {one.sqnr_db:z.1f} dB{_gate(one)}" for one in bad]
        return f"{_subject(judgement, told)} leaves {listed(parts, 2 if len(parts) > 3 else 3)}{where(judgement, heads)}"
    kept = [one.sqnr_db for one in told if one.sqnr_db is not None]
    if not kept:
        return ""
    unknown = "; what became of boxes is not known"
    if boxes:
        unknown = ""
    elif judgement.boxless:
        unknown = "" if judgement.gates_set else "; no gate says whether that is enough"
    return f"INT8 keeps {span(kept)} dB{where(judgement, [one.head for one in told])}{unknown}"


def _besides(judgement: Judgement) -> str:
    """Returns of which heads, that boxes are not made of, nobody knows whether their error matters."""
    heads = [one.head for one in judgement.answers if BEARABLE in one.unseen and one.passed is None]
    return f"; no gate says whether the error of {listed(heads, 3)} matters" if heads else ""


def _gate(one: Strip) -> str:
    return f" (gate {one.gate_db:g})" if one.failing and one.gate_db is not None else ""


def _answer(judgement: Judgement, head: str) -> Answer | None:
    return next((one for one in judgement.answers if one.head == head), None)


def _lead(judgement: Judgement, head: str) -> Finding | None:
    answer = _answer(judgement, head)
    return lead(answer.findings, answer.unseen) if answer else None


def _of_int8(judgement: Judgement, one: Strip) -> bool:
    """Whether what a head is spoken of for is a loss of int8, not a cell that did not run or a broken output."""
    answer = _answer(judgement, one.head)
    if answer is None:
        return False
    if any(
        result.cell.pass_.precision is Precision.INT8 and head.passed is False
        for result, head in rows_of(one.head, judgement.judged)
    ):
        return True
    apart = (Kind.COULD_NOT_RUN, Kind.BROKEN_OUTPUT, Kind.FP32_REGRESSION, Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE,
             Kind.NOTHING_QUANTISED, Kind.FP16_REGRESSION, Kind.BF16_REGRESSION, Kind.TF32_REGRESSION)  # fmt: skip
    return any(
        each.kind not in apart and not each.beaten and each.severity.rank >= Severity.VISIBLE.rank
        for each in answer.findings
    )


def _blamed(judgement: Judgement, bad: Sequence[Strip]) -> str:
    """Returns the clause of what a version, or a layer that a builder chose, was shown to do."""
    if not bad:
        return ""
    answer, first = _answer(judgement, bad[0].head), _lead(judgement, bad[0].head)
    if answer and answer.fault.startswith(("a layer's", "a custom layer's")):
        chosen = [
            one for one in bad if (its := _answer(judgement, one.head)) and "layer's:" in its.fault
        ]
        layers = dict.fromkeys(
            name
            for one in judgement.choices
            for name in one.layers
            if one.head in {each.head for each in chosen}
        )
        parts = [f"{one.head} at {one.sqnr_db:z.1f} dB" for one in chosen[:2]]
        return f"INT8 leaves {' and '.join(parts)} where a build runs {' or '.join(list(layers)[:2])} in int8"
    if first is None or first.kind not in REGRESSIONS:
        return ""
    losses = {
        one.head: _losses(judgement, one.head, kind_of)
        for one in bad
        if (kind_of := _lead(judgement, one.head)) and kind_of.kind in REGRESSIONS
    }
    losses = {head: values for head, values in losses.items() if values}
    if not losses:
        return ""
    parts = [f"{span(values)} dB on {head}" for head, values in losses.items()]
    names = list(first.environments)
    shown = run_of(names, environments_of(judgement))
    return f"{shown} {verb('lose', names)} {listed(parts, 2)} in INT8 against {judgement.baseline}"


def _losses(judgement: Judgement, head: str, finding: Finding) -> list[float]:
    """Returns by how many dB the cells of a finding are below the baseline's of the same device and pass."""
    rows = rows_of(head, judgement.judged)
    base = {
        (result.cell.device, result.cell.pass_): one.error.sqnr_db
        for result, one in rows
        if result.cell.environment == judgement.baseline
    }
    found = []
    for result, one in rows:
        other = base.get((result.cell.device, result.cell.pass_))
        if result.cell.id in finding.cells and other is not None and one.error.sqnr_db is not None:
            found.append(other - one.error.sqnr_db)
    return [loss for loss in found if loss > 0]


def _subject(judgement: Judgement, told: Sequence[Strip]) -> str:
    """Returns `INT8`, or with which table where that is what it is blamed on, and what is told was measured with it."""
    first = _lead(judgement, told[0].head) if told else None
    if first and first.kind is Kind.CALIBRATION_PROBLEM and not first.beaten:
        # The number behind it is that of the best table that ran, not of every table that is blamed.
        spoken = speaking(int8_of(rows_of(told[0].head, judgement.judged)))
        tables = dict.fromkeys(table_name(one) for one, _ in spoken if one.cell.id in first.cells)
        return f"INT8 with {listed(list(tables), 2)}" if tables else "INT8"
    return "INT8"


def whole_boxes(judgement: Judgement) -> tuple[BoxErrors, ...]:
    """Returns what became of all boxes in the cells with the best table of their way to int8."""
    best = with_best_tables(
        [
            one
            for one in judgement.judged
            if one.boxes
            and one.boxes.whole
            and one.cell.pass_.precision is Precision.INT8
            and not one.cell.pass_.mixed
            and one.boxes.whole.changes[ALL].reference
        ]
    )
    return tuple(one.boxes.whole for one in best if one.boxes and one.boxes.whole)


def _boxes(judgement: Judgement, boxes: Sequence[BoxErrors], *, matters: bool) -> str:
    """Returns AP, lost and new boxes, each at its worst over the cells."""
    reference = judgement.reference_ap
    drops = [one.ap_drop for one in boxes if one.ap_drop is not None]
    drop = max(drops, default=None)
    changes = [one.changes[ALL] for one in boxes]
    lost, new = max(one.lost for one in changes), max(one.new for one in changes)
    total = max(one.reference for one in changes)
    up_to = (
        "up to " if len({one.lost for one in changes} | {one.new for one in changes}) > 2 else ""
    )
    parts = []
    if drop is not None and reference is not None and (drop >= severity.LEAST_AP or not lost):
        verb_ = "costs" if matters and drop >= severity.LEAST_AP else "keeps"
        told = ap_change(reference, drop)
        parts.append(f"{verb_} AP {told.before} → {told.after}")
    elif drop is not None and drop >= severity.LEAST_AP:
        parts.append(f"costs {drop:.3f} AP")
    if lost:
        parts.append(f"loses {up_to}{lost:g} of {total:g} boxes")
    if new > lost and new / total >= severity.LOST[0]:
        parts.append(f"adds {up_to}{new:g}")
    return listed(parts) or "loses no box"
