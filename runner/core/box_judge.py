"""Boxes of every measured cell against those of the reference: lost, new, moved, and AP with labels.

Lost, new and moved boxes are those of the whole network in the cell, split by the head and size of
the box. AP of a head is that of the reference's outputs with this head's alone replaced by the cell's:
only so is it the head's own.
"""

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from runner.core.box_evidence import UNKNOWN, BoxEvidence, Outputs, matching_of
from runner.core.box_results import ALL, AveragePrecision, BoxErrors, BoxReport, CellBoxes
from runner.core.box_worst import worst
from runner.core.boxes import COCO_SIZES
from runner.core.evidence import Evidence, good
from runner.core.matching import Sums, totals
from runner.plan import Status
from runner.records import Object, Record

Precision = Mapping[str, AveragePrecision]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JudgedBoxes:
    report: BoxReport | None
    """None where the run does not say how to decode."""
    cells: Mapping[str, CellBoxes]
    """Cell id → its boxes; cells without a measurement are not in it."""


def judge_boxes(evidence: Evidence) -> JudgedBoxes:
    """Judges every measured cell; what is not known of one spoils no other."""
    if evidence.boxes is None or evidence.reference is None:
        return JudgedBoxes(None, {})
    boxes = _each_once(evidence.boxes)
    try:
        judge = _Judge(boxes, evidence.reference.outputs)
    except UNKNOWN as error:
        return JudgedBoxes(_report(boxes, problem=str(error)), {})
    judged = [record for record in evidence.records if record.status is Status.OK and good(record)]
    cells = {record.cell: judge.cell(record) for record in judged}
    found = worst(boxes, evidence.reference.outputs, _first_outputs(judged, cells))
    return JudgedBoxes(_report(boxes, precision=judge.fp32 or {}, worst=found), cells)


def _report(boxes: BoxEvidence, **found: object) -> BoxReport:
    settings = matching_of(boxes.decode)
    sizes = {size.name: (size.low_px2, size.high_px2) for size in settings.sizes}
    return BoxReport(
        heads=boxes.heads,
        shown_score=settings.shown_score,
        match_iou=settings.iou_threshold,
        sizes=sizes,
        **found,  # type: ignore[arg-type]
    )


def _first_outputs(
    records: Sequence[Record], cells: Mapping[str, CellBoxes]
) -> Mapping[str, Outputs]:
    """Returns cell id → outputs of its first repeat, where its boxes are known."""
    return {
        record.cell: good(record)[0].outputs for record in records if not cells[record.cell].problem
    }


class _Judge:
    def __init__(self, boxes: BoxEvidence, reference: Outputs) -> None:
        """Raises one of UNKNOWN where the reference itself has no boxes."""
        self.boxes = boxes
        self.reference = reference
        boxes.changes_of(reference, reference)
        self.fp32 = boxes.precision_of(reference) if boxes.precision_of else None

    def cell(self, record: Record) -> CellBoxes:
        repeats = [one.outputs for one in good(record)]
        try:
            sums = np.concatenate(
                [self.boxes.changes_of(outputs, self.reference) for outputs in repeats]
            )
            heads = {
                head: self._errors(
                    sums[:, index], [{**self.reference, head: one[head]} for one in repeats]
                )
                for index, head in enumerate(self.boxes.heads)
            }
            return CellBoxes(whole=self._errors(sums, repeats), heads=heads)
        except UNKNOWN as error:
            return CellBoxes(problem=str(error))

    def _errors(self, sums: Sums, repeats: Sequence[Outputs]) -> BoxErrors:
        """Returns what the sums, shape (repeats · images, …, sizes), and outputs amount to."""
        names = [size.name for size in COCO_SIZES]
        changes = {ALL: totals(sums, len(repeats))}
        changes |= {
            name: totals(sums[..., index], len(repeats)) for index, name in enumerate(names)
        }
        if self.boxes.precision_of is None or self.fp32 is None:
            return BoxErrors(changes=changes)
        precision = _mean_precision([self.boxes.precision_of(one) for one in repeats])
        before, after = self.fp32[ALL], precision[ALL]
        return BoxErrors(
            changes=changes,
            precision=precision,
            ap_drop=_difference(before.ap, after.ap),
            ap50_drop=_difference(before.ap50, after.ap50),
        )


def _each_once(boxes: BoxEvidence) -> BoxEvidence:
    """Returns the same, asked once for the same contents, whichever cells and repeats gave them."""
    return replace(
        boxes,
        changes_of=_by_content(boxes.heads, boxes.changes_of),
        precision_of=boxes.precision_of and _by_content(boxes.heads, boxes.precision_of),
    )


def _by_content(heads: Sequence[str], ask: Callable[..., T]) -> Callable[..., T]:
    @functools.cache
    def known(*contents: tuple[Object, ...]) -> T:
        return ask(*(dict(zip(heads, one, strict=True)) for one in contents))

    return lambda *outputs: known(*(tuple(one[head] for head in heads) for one in outputs))


def _mean_precision(repeats: Sequence[Precision]) -> Precision:
    return {
        size: AveragePrecision(
            ap=_mean([one[size].ap for one in repeats]),
            ap50=_mean([one[size].ap50 for one in repeats]),
            objects=first.objects,
        )
        for size, first in repeats[0].items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """None where the labels hold no such object, which is so in every repeat."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
