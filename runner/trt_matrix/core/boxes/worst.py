"""The images on which most changed, with both sets of boxes: what a person looks at first."""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from trt_matrix.core.boxes.evidence import BoxEvidence, OutputGoneError, Outputs, matching_of
from trt_matrix.core.boxes.matching import Matching, fates, pair, worst_images
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.results import Fate, ShownBox, WorstImage
from trt_matrix.core.collecting import grouped

EACH = 2
"""Images for each head of each cell."""

MOST = 100
"""In all, so that the report stays small."""


def worst(
    boxes: BoxEvidence, reference: Outputs, cells: Mapping[str, Outputs]
) -> tuple[WorstImage, ...]:
    """Returns the worst images of each head, worst first; cells with the same boxes share them.

    `cells`: id → outputs of one repeat.
    """
    alike = grouped(
        (tuple(outputs[head].sha256 for head in boxes.heads), cell)
        for cell, outputs in cells.items()
    )
    images: list[WorstImage] = []
    for group in alike.values():
        # Of older runs its counts are known from before, its boxes are not.
        with contextlib.suppress(OutputGoneError):
            images += _of_group(boxes, reference, cells[group[0]], tuple(group))
    images.sort(key=lambda image: -image.changed)
    return tuple(images[:MOST])


def _of_group(
    boxes: BoxEvidence, reference: Outputs, outputs: Outputs, cells: tuple[str, ...]
) -> list[WorstImage]:
    settings = matching_of(boxes.decode)
    sums = boxes.changes_of(outputs, reference)
    wanted = grouped(
        (image, head)
        for head in boxes.heads
        for image in worst_images(sums[:, boxes.indices(head)], EACH)
    )
    if not wanted:
        return []
    before, after = boxes.boxes_of(reference), boxes.boxes_of(outputs)
    images = []
    for image, heads in wanted.items():
        place = boxes.images[image]
        shown, shown_test = _shown(before[image], after[image], boxes.heads, settings)
        images.append(
            WorstImage(
                file_name=place.file_name,
                width=place.width,
                height=place.height,
                cells=cells,
                heads=tuple(heads),
                reference=shown,
                test=shown_test,
            )
        )
    return images


def _shown(
    reference: Boxes, test: Boxes, heads: Sequence[str], settings: Matching
) -> tuple[tuple[ShownBox, ...], tuple[ShownBox, ...]]:
    """Returns the shown boxes of both sides and what became of them."""
    pairs = pair(reference, test, settings.iou_threshold)
    fate = fates(reference, test, pairs, settings)

    def of_reference(index: int) -> ShownBox:
        if fate.kept[index]:
            return _box(reference, index, heads, Fate.KEPT, pairs.ious[index])
        return _box(reference, index, heads, Fate.FADED if fate.faded[index] else Fate.LOST)

    def of_test(index: int) -> ShownBox:
        if not fate.new[index]:
            return _box(test, index, heads, Fate.KEPT, pairs.ious[pairs.of_test[index]])
        return _box(test, index, heads, Fate.RISEN if fate.risen[index] else Fate.NEW)

    return (
        tuple(of_reference(int(index)) for index in np.flatnonzero(fate.shown)),
        tuple(of_test(int(index)) for index in np.flatnonzero(fate.shown_test)),
    )


def _box(
    boxes: Boxes, index: int, heads: Sequence[str], fate: Fate, iou: float | None = None
) -> ShownBox:
    left, top, right, bottom = (round(float(side), 1) for side in boxes.corners[index])
    return ShownBox(
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        score=round(float(boxes.scores[index]), 3),
        label=int(boxes.classes[index]),
        head=heads[boxes.heads[index]],
        fate=fate,
        iou=None if iou is None else round(float(iou), 3),
    )
