"""What int8 costs, in one clause with numbers: AP and boxes where they are known, else dB."""

from collections.abc import Sequence

from trt_matrix.core import severity
from trt_matrix.core.answer import BEARABLE, Finding
from trt_matrix.core.answers.network import with_best_tables
from trt_matrix.core.answers.rows import int8_of, rows_of
from trt_matrix.core.answers.since import environments_of, run_of, where
from trt_matrix.core.answers.speaking import speaking, table_name
from trt_matrix.core.answers.strips import Strip
from trt_matrix.core.boxes.results import BoxErrors
from trt_matrix.core.collecting import distinct, present
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rounding import ap_change
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed, span, verb

REGRESSIONS = frozenset(
    {Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION, Kind.CALIBRATOR_REGRESSION}
)
MATTERS = ("severe", "visible")


def harm(judgement: Judgement, strips: Sequence[Strip], *, worst_only: bool = False) -> str:
    """Returns `INT8 costs AP 0.83 → 0.61, in all 6 versions alike`.

    Of `strips`, the worst first; nothing of what is harmless where `worst_only`.
    """
    boxes = whole_boxes(judgement)
    matters = any(severity.of_boxes(box).matters for box in boxes)
    bad = [strip for strip in strips if strip.state in MATTERS and strip.sqnr_db is not None]
    bad = [strip for strip in bad if _of_int8(judgement, strip)]
    if worst_only and not matters and not bad:
        return ""
    blamed = _blamed(judgement, bad)
    if blamed:
        return blamed
    if boxes and (matters or not bad):
        text = _boxes(judgement, boxes, matters=worst_only or matters)
        said = f"{_subject(judgement, strips)} {text}{where(judgement, judgement.heads)}"
        return f"{said}{'' if matters else _besides(judgement)}" if text else ""
    if bad:
        heads = [strip.head for strip in bad]
        parts = [f"{strip.head} at {strip.sqnr_db:z.1f} dB{_gate(strip)}" for strip in bad]
        return f"{_subject(judgement, strips)} leaves {listed(parts, 2 if len(parts) > 3 else 3)}{where(judgement, heads)}"
    kept = present(strip.sqnr_db for strip in strips)
    if not kept:
        return ""
    unknown = "; what became of boxes is not known"
    if boxes:
        unknown = ""
    elif judgement.boxless:
        unknown = "" if judgement.gates_set else "; no gate says whether that is enough"
    return (
        f"INT8 keeps {span(kept)} dB{where(judgement, [strip.head for strip in strips])}{unknown}"
    )


def _besides(judgement: Judgement) -> str:
    """Returns of which heads, that boxes are not made of, nobody knows whether their error matters."""
    heads = [
        answer.head
        for answer in judgement.answers
        if BEARABLE in answer.unseen and answer.passed is None
    ]
    return f"; no gate says whether the error of {listed(heads, 3)} matters" if heads else ""


def _gate(strip: Strip) -> str:
    return f" (gate {strip.gate_db:g})" if strip.failing and strip.gate_db is not None else ""


def _lead(judgement: Judgement, head: str) -> Finding | None:
    answer = judgement.answer(head)
    return answer.lead if answer else None


def _of_int8(judgement: Judgement, strip: Strip) -> bool:
    """Whether what a head is spoken of for is a loss of int8, not a cell that did not run or a broken output."""
    answer = judgement.answer(strip.head)
    if answer is None:
        return False
    if any(
        result.pass_.is_int8 and head.passed is False
        for result, head in rows_of(strip.head, judgement.judged)
    ):
        return True
    apart = (Kind.COULD_NOT_RUN, Kind.BROKEN_OUTPUT, Kind.FP32_REGRESSION, Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE,
             Kind.NOTHING_QUANTISED, Kind.FP16_REGRESSION, Kind.BF16_REGRESSION, Kind.TF32_REGRESSION)  # fmt: skip
    return any(
        finding.kind not in apart and not finding.beaten and finding.severity.matters
        for finding in answer.findings
    )


def _blamed(judgement: Judgement, bad: Sequence[Strip]) -> str:
    """Returns the clause of what a version, or a layer that a builder chose, was shown to do."""
    if not bad:
        return ""
    answer, first = judgement.answer(bad[0].head), _lead(judgement, bad[0].head)
    if answer and answer.fault.startswith(("a layer's", "a custom layer's")):
        chosen = [
            strip
            for strip in bad
            if (its := judgement.answer(strip.head)) and "layer's:" in its.fault
        ]
        layers = dict.fromkeys(
            name
            for choice in judgement.choices
            for name in choice.layers
            if choice.head in {strip.head for strip in chosen}
        )
        parts = [f"{strip.head} at {strip.sqnr_db:z.1f} dB" for strip in chosen[:2]]
        return f"INT8 leaves {' and '.join(parts)} where a build runs {' or '.join(list(layers)[:2])} in int8"
    if first is None or first.kind not in REGRESSIONS:
        return ""
    losses = {
        strip.head: _losses(judgement, strip.head, kind_of)
        for strip in bad
        if (kind_of := _lead(judgement, strip.head)) and kind_of.kind in REGRESSIONS
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
        (result.device, result.pass_): row.sqnr_db
        for result, row in rows
        if result.environment == judgement.baseline
    }
    losses = (
        before - row.sqnr_db
        for result, row in rows
        if result.id in finding.cells and row.sqnr_db is not None
        if (before := base.get((result.device, result.pass_))) is not None
    )
    return [loss for loss in losses if loss > 0]


def _subject(judgement: Judgement, strips: Sequence[Strip]) -> str:
    """Returns `INT8`, or with which table where that is what it is blamed on, and what is told was measured with it."""
    first = _lead(judgement, strips[0].head) if strips else None
    if first is None or first.kind is not Kind.CALIBRATION_PROBLEM or first.beaten:
        return "INT8"
    # The number behind it is that of the best table that ran, not of every table that is blamed.
    spoken = speaking(int8_of(rows_of(strips[0].head, judgement.judged)))
    tables = distinct(table_name(row.result) for row in spoken if row.result.id in first.cells)
    return f"INT8 with {listed(tables, 2)}" if tables else "INT8"


def whole_boxes(judgement: Judgement) -> list[BoxErrors]:
    """Returns what became of all boxes in the cells with the best table of their way to int8."""
    best = with_best_tables(
        [
            result
            for result in judgement.judged
            if result.pass_.is_int8 and result.whole_boxes and result.whole_boxes.total.reference
        ]
    )
    return present(result.whole_boxes for result in best)


def _boxes(judgement: Judgement, boxes: Sequence[BoxErrors], *, matters: bool) -> str:
    """Returns AP, lost and new boxes, each at its worst over the cells."""
    reference = judgement.reference_ap
    drop = max(present(box.ap_drop for box in boxes), default=None)
    changes = [box.total for box in boxes]
    lost, new = max(change.lost for change in changes), max(change.new for change in changes)
    total = max(change.reference for change in changes)
    differ = len({number for change in changes for number in (change.lost, change.new)}) > 2
    up_to = "up to " if differ else ""
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
