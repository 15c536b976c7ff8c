"""Boxes of every measured cell against those of the reference: lost, new, moved, and AP with labels.

Lost, new and moved boxes are those of the whole network in the cell, split by the size of the box and
by the heads that it is made of (`heads_of_a_box`). AP of a head is that of the reference's outputs with
those heads alone replaced by the cell's: only so do the other heads' losses not count.
"""

import functools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.evidence import (
    UNKNOWN,
    BoxEvidence,
    OutputGoneError,
    Outputs,
    matching_of,
)
from trt_matrix.core.boxes.matching import Sums, totals
from trt_matrix.core.boxes.nms import COCO_SIZES, Floats, suppress
from trt_matrix.core.boxes.precision_draws import ApDraws, across, interval
from trt_matrix.core.boxes.results import (
    ALL,
    AveragePrecision,
    BoxErrors,
    BoxReport,
    CellBoxes,
    Repeated,
)
from trt_matrix.core.boxes.worst import worst
from trt_matrix.core.collecting import present
from trt_matrix.core.evidence import Evidence, good
from trt_matrix.core.records import Record, StoredObject

Precision = Mapping[str, AveragePrecision]

T = TypeVar("T")

REPEATED_IOU = 0.7
"""No published detector's suppression leaves more overlap in a class."""

MOST_LOOKED_AT = 1000
"""Best shown boxes of an image: enough to tell a decoder that suppresses nothing."""


@dataclass(frozen=True, slots=True)
class JudgedBoxes:
    report: BoxReport | None
    """None where the run does not say how to decode."""
    cells: Mapping[str, CellBoxes]
    """Cell id → its boxes; cells without a measurement are not in it."""
    draws: ApDraws = field(default_factory=dict)


def judge_boxes(evidence: Evidence) -> JudgedBoxes:
    """Judges every measured cell; what is not known of one spoils no other."""
    if evidence.boxes is None or evidence.reference is None:
        return JudgedBoxes(None, {})
    boxes = _each_once(evidence.boxes)
    try:
        judge = _Judge(boxes, evidence.reference.outputs)
    except UNKNOWN as error:
        return JudgedBoxes(_report(boxes, problem=str(error)), {})
    judged = [record for record in evidence.records if record.status.ok and good(record)]
    cells = {record.cell: judge.cell(record) for record in judged}
    first = {
        record.cell: good(record)[0].outputs for record in judged if not cells[record.cell].problem
    }
    images = worst(boxes, evidence.reference.outputs, first)
    report = _report(
        boxes,
        precision=judge.fp32 or {},
        worst=images,
        repeated=_repeated(boxes, evidence.reference.outputs),
        degenerate={
            head: number
            for head, number in judge.degenerate([evidence.reference.outputs]).items()
            if number
        },
    )
    return JudgedBoxes(report, cells, judge.draws)


def _degenerate(boxes: BoxEvidence, outputs: Outputs) -> Mapping[int, int]:
    """Returns index of head → boxes without an area, over all images; none where they are gone."""
    try:
        return sum((Counter(image.degenerate) for image in boxes.boxes_of(outputs)), Counter())
    except OutputGoneError:
        return {}  # of an older run what became of the others is known still


def _repeated(boxes: BoxEvidence, reference: Outputs) -> Repeated | None:
    """Returns how many of the reference's boxes a suppression would drop that nobody does.

    A style suppresses; a function of the user's own may, and what it gives on raw outputs says whether.
    """
    if boxes.decode.style is not None:
        return None
    shown = [
        image.take(np.flatnonzero(image.scores >= boxes.decode.shown_score))
        for image in boxes.boxes_of(reference)
    ]
    most = MOST_LOOKED_AT
    looked = sum(min(len(image), most) for image in shown)
    kept = sum(
        len(suppress(image, iou_threshold=REPEATED_IOU, max_candidates=most, max_detections=most))
        for image in shown
    )
    return Repeated(boxes=looked - kept, shown=looked, iou=REPEATED_IOU) if looked > kept else None


def _require_boxes(boxes: BoxEvidence, reference: Outputs, lacking: int) -> None:
    """A decoder that gives centre and size, not corners, gives boxes of which hardly one has an area.

    Raises:
        DecodeError: the reference has boxes, and not one with an area.
    """
    if lacking and not any(map(len, boxes.boxes_of(reference))):
        message = (
            f"none of the reference's {lacking} boxes has an area: the decoder must give left, top, "
            "right, bottom, with left < right and top < bottom, not a centre and a size"
        )
        raise DecodeError(message)


def _report(boxes: BoxEvidence, **fields: object) -> BoxReport:
    settings = matching_of(boxes.decode)
    sizes = {size.name: (size.low_px2, size.high_px2) for size in settings.sizes}
    return BoxReport(
        heads=boxes.heads,
        shown_score=settings.shown_score,
        match_iou=settings.iou_threshold,
        sizes=sizes,
        **fields,  # type: ignore[arg-type]
    )


class _Judge:
    def __init__(self, boxes: BoxEvidence, reference: Outputs) -> None:
        """Raises one of UNKNOWN where the reference itself has no boxes."""
        self.boxes = boxes
        self.reference = reference
        self._degenerate = _by_content(boxes.heads, functools.partial(_degenerate, boxes))
        boxes.changes_of(reference, reference)
        _require_boxes(boxes, reference, sum(self._degenerate(reference).values()))
        self.fp32 = boxes.precision_of(reference) if boxes.precision_of else None
        self.fp32_draws = self._drawn([reference])
        self.draws: dict[tuple[str, str], Floats] = {}

    def cell(self, record: Record) -> CellBoxes:
        repeats = [measurement.outputs for measurement in good(record)]
        try:
            sums = np.concatenate(
                [self.boxes.changes_of(outputs, self.reference) for outputs in repeats]
            )
            lacking = self.degenerate(repeats)
            heads = {}
            for head, made_of in self.boxes.made_of.items():
                alone = [
                    {**self.reference, **{h: repeat[h] for h in made_of}} for repeat in repeats
                ]
                draws = self._drawn(alone)
                errors = self._errors(sums[:, self.boxes.indices(head)], alone, draws)
                heads[head] = replace(errors, made_of=made_of, degenerate=lacking[head])
                if draws is not None:
                    self.draws[record.cell, head] = draws
            every = max(sum(counts.values()) for counts in map(self._degenerate, repeats))
            whole = self._errors(sums, repeats, self._drawn(repeats))
            whole = replace(whole, degenerate=every)
            return CellBoxes(whole=whole, heads=heads, degenerate=every)
        except UNKNOWN as error:
            return CellBoxes(problem=str(error))

    def degenerate(self, repeats: Sequence[Outputs]) -> Mapping[str, int]:
        """Returns head → boxes without an area of the repeat that has most, over all images."""
        counts = [self._degenerate(repeat) for repeat in repeats]
        return {
            head: max(sum(of.get(index, 0) for index in self.boxes.indices(head)) for of in counts)
            for head in self.boxes.made_of
        }

    def _drawn(self, repeats: Sequence[Outputs]) -> Floats | None:
        """Returns AP and AP50 of each draw, which takes images and repeats; shape (draws, 2)."""
        # One image is the same in every draw, which says nothing of other images.
        if self.boxes.draws_of is None or len(self.boxes.images) < 2:
            return None
        try:
            drawn = [self.boxes.draws_of(repeat) for repeat in repeats]
        except OutputGoneError:
            return None  # of an older run the AP is known still
        if all(array is drawn[0] for array in drawn):
            return drawn[0]
        return across(drawn)

    def _errors(self, sums: Sums, repeats: Sequence[Outputs], draws: Floats | None) -> BoxErrors:
        """Returns what the sums, shape (repeats · images, …, sizes), and outputs amount to."""
        changes = {ALL: totals(sums, len(repeats))} | {
            size.name: totals(sums[..., index], len(repeats))
            for index, size in enumerate(COCO_SIZES)
        }
        if self.boxes.precision_of is None or self.fp32 is None:
            return BoxErrors(changes=changes)
        precision = _mean_precision([self.boxes.precision_of(repeat) for repeat in repeats])
        before, after = self.fp32[ALL], precision[ALL]
        return BoxErrors(
            changes=changes,
            precision=precision,
            ap_drop=_difference(before.ap, after.ap),
            ap50_drop=_difference(before.ap50, after.ap50),
            intervals=self._intervals(draws),
        )

    def _intervals(self, draws: Floats | None) -> Mapping[str, tuple[float, float]]:
        if draws is None or self.fp32_draws is None:
            return {}
        columns = np.hstack([draws, self.fp32_draws - draws]).T
        ends = zip(("ap", "ap50", "ap_drop", "ap50_drop"), map(interval, columns), strict=True)
        return {name: low_high for name, low_high in ends if low_high}


def _each_once(boxes: BoxEvidence) -> BoxEvidence:
    """Returns the same, asked once for the same contents, whichever cells and repeats gave them."""
    return replace(
        boxes,
        changes_of=_by_content(boxes.heads, boxes.changes_of),
        precision_of=boxes.precision_of and _by_content(boxes.heads, boxes.precision_of),
        draws_of=boxes.draws_of and _by_content(boxes.heads, boxes.draws_of),
    )


def _by_content(heads: Sequence[str], ask: Callable[..., T]) -> Callable[..., T]:
    @functools.cache
    def known(*contents: tuple[StoredObject, ...]) -> T:
        return ask(*(dict(zip(heads, content, strict=True)) for content in contents))

    return lambda *outputs: known(*(tuple(output[head] for head in heads) for output in outputs))


def _mean_precision(repeats: Sequence[Precision]) -> Precision:
    return {
        size: AveragePrecision(
            ap=_mean(repeat[size].ap for repeat in repeats),
            ap50=_mean(repeat[size].ap50 for repeat in repeats),
            objects=first.objects,
        )
        for size, first in repeats[0].items()
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """None where the labels hold no such object, which is so in every repeat."""
    known = present(values)
    return statistics.fmean(known) if known else None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
