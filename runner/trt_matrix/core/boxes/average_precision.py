"""Average precision against labels, by size, from the COCO evaluation that the field uses.

The numbers are those of `faster-coco-eval`, a C++ edition of pycocotools' COCOeval: 101 recall points,
the mean over categories with objects and, for AP, over the IoU thresholds 0.50, 0.55, …, 0.95
(cocodataset.org/#detection-eval). Here labels are checked and handed over as a copy with ids of our own, counted
from 1: an annotation with id 0, which COCO allows, counts as unmatched in every edition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from trt_matrix.core.boxes.nms import COCO_SIZES, Boxes, SizeRange
from trt_matrix.core.boxes.results import ALL, AveragePrecision

ALL_PX2 = (0.0, 1e10)
MOST_DETECTIONS = 100
"""Best boxes that count, for each image and category."""


class LabelsError(ValueError):
    """The labels cannot be used, or do not fit the boxes."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Checked labels of the evaluated images, for any number of evaluations.

    Attributes:
        annotations: COCO annotations; `image_id` counts in `images`, `category_id` in `categories`.
        images: The labels' own image ids, rising.
        categories: The labels' own category ids; the class index of a box is a position here.
    """

    annotations: tuple[Mapping[str, Any], ...]
    images: tuple[int, ...]
    categories: tuple[int, ...]


def read_labels(
    coco: Mapping[str, Any], image_ids: Sequence[int], category_ids: Sequence[int] = ()
) -> Labels:
    """Checks the labels of these images; others that the file names are left out.

    `category_ids` are those of the classes of the network; without, the labels' own, rising. `coco` is never changed.

    Raises:
        LabelsError: no such image or category, an id twice, or an annotation that cannot be used; names it.
    """
    named = _ids(coco, "categories")
    absent = [category for category in category_ids if category not in named]
    if absent:
        _refuse(
            f"labels hold no category with id {absent[0]!r}, they have {_shown(list(named))}: "
            "check decode.category_ids"
        )
    categories = tuple(category_ids) or named
    known = set(_ids(coco, "images"))
    unknown = [image for image in image_ids if image not in known]
    if unknown:
        _refuse(
            f"labels hold no image with id {unknown[0]!r}: give its entry, or leave the image out"
        )
    if len(set(image_ids)) < len(image_ids):
        _refuse("one image id is evaluated twice: two file names share one entry of the labels")
    images = tuple(sorted(image_ids))
    image_index = {image: index for index, image in enumerate(images)}
    category_index = {category: index for index, category in enumerate(categories)}
    annotations: list[Mapping[str, Any]] = []
    for position, annotation in enumerate(_entries(coco, "annotations")):
        where = f"annotations[{position}]"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not _is_id(image) or image not in known:
            _refuse(f"{where}: image_id {_shown(image)} is no image of the labels")
        if not _is_id(category) or category not in named:
            _refuse(f"{where}: category_id {_shown(category)} is no category of the labels")
        if image in image_index and category in category_index:
            left, top, width, height = _box(annotation, where)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_index[image],
                    "category_id": category_index[category],
                    "bbox": [left, top, width, height],
                    "area": _number(annotation.get("area", width * height), f"{where}: area"),
                    "iscrowd": int(bool(annotation.get("iscrowd", 0))),
                }
            )
    return Labels(tuple(annotations), images, categories)


def average_precision(
    labels: Labels,
    boxes: Mapping[int, Boxes],
    *,
    sizes: Sequence[SizeRange] = COCO_SIZES,
    max_detections: int = MOST_DETECTIONS,
) -> Mapping[str, AveragePrecision]:
    """Returns `all` and each size range → average precision.

    As in COCO, both ends of a range belong to it.
    `boxes` has an entry for every image of `labels`, in its pixels; `sizes` are ranges of labelled (and of unmatched
    detected) area. The best `max_detections` boxes of each image and category count.

    Raises:
        LabelsError: an image without an entry, or a class index without a category.
    """
    evaluation = evaluation_of(labels, results_of(labels, boxes), sizes, max_detections)
    names = evaluation.params.areaRngLbl
    ranges = evaluation.params.areaRng
    evaluation.evaluate()
    evaluation.accumulate()
    # (IoU thresholds, recalls, categories, size ranges, limits of detections); −1: no such object.
    precision = np.asarray(evaluation.eval["precision"])[..., 0]
    return {
        name: AveragePrecision(
            ap=_mean(precision[..., index]),
            ap50=_mean(precision[0, ..., index]),
            objects=sum(
                low <= annotation["area"] <= high and not annotation["iscrowd"]
                for annotation in labels.annotations
            ),
        )
        for index, (name, (low, high)) in enumerate(zip(names, ranges, strict=True))
    }


def evaluation_of(
    labels: Labels, results: list[dict[str, Any]], sizes: Sequence[SizeRange], max_detections: int
) -> Any:
    """Returns COCO's evaluation, to be started: of all sizes, then of each range."""
    # Here, since labels are also read where nothing is evaluated.
    from faster_coco_eval import COCO, COCOeval_faster  # noqa: PLC0415

    truth = COCO(_dataset(labels, [dict(annotation) for annotation in labels.annotations]))
    evaluation = COCOeval_faster(truth, COCO(_dataset(labels, results)), "bbox")
    ranges = [ALL_PX2, *((size.low_px2, size.high_px2) for size in sizes)]
    evaluation.params.areaRng = [list(limits) for limits in ranges]
    evaluation.params.areaRngLbl = [ALL, *(size.name for size in sizes)]
    evaluation.params.maxDets = [max_detections]
    return evaluation


def _dataset(labels: Labels, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": [{"id": index} for index in range(len(labels.images))],
        "categories": [{"id": index} for index in range(len(labels.categories))],
        "annotations": annotations,
    }


def results_of(labels: Labels, boxes: Mapping[int, Boxes]) -> list[dict[str, Any]]:
    """Returns COCO's detections, with ids counted from 1 in this order.

    Raises:
        LabelsError: an image without an entry, or a class index without a category.
    """
    results: list[dict[str, Any]] = []
    for index, image in enumerate(labels.images):
        if image not in boxes:
            _refuse(f"no boxes of image {image}: an image without any still needs its entry")
        of_image = boxes[image]
        unknown = of_image.classes[
            (of_image.classes < 0) | (of_image.classes >= len(labels.categories))
        ]
        if unknown.size:
            _refuse(
                f"image {image} has a box of class {unknown[0]}, counted from 0, but the labels have "
                f"{len(labels.categories)} categories: check decode.classes and the labels"
            )
        size = of_image.corners[:, 2:] - of_image.corners[:, :2]
        placed = zip(
            of_image.classes.tolist(),
            of_image.scores.tolist(),
            np.concatenate([of_image.corners[:, :2], size], axis=1).tolist(),
            of_image.areas.tolist(),
            strict=True,
        )
        results += [
            {
                "id": len(results) + offset,
                "image_id": index,
                "category_id": category,
                "score": score,
                "bbox": box,
                "area": area,
                "iscrowd": 0,
            }
            for offset, (category, score, box, area) in enumerate(placed, 1)
        ]
    return results


def _mean(precision: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else None


def _entries(coco: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    entries = coco.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        _refuse(f"labels: {name} is not a list of objects, as COCO wants it")
    return entries


def _ids(coco: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Returns the ids of a list of the labels, rising."""
    ids: list[Any] = [entry.get("id") for entry in _entries(coco, name)]
    for position, entry_id in enumerate(ids):
        if not _is_id(entry_id):
            _refuse(f"labels: {name}[{position}] has id {_shown(entry_id)}: an integer is expected")
    if len(set(ids)) < len(ids):
        _refuse(f"labels: two entries of {name} have one id")
    return tuple(sorted(ids))


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _box(annotation: Mapping[str, Any], where: str) -> list[float]:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        _refuse(f"{where}: bbox is not [left, top, width, height]")
    values = [_number(value, f"{where}: bbox") for value in box]
    if min(values[2:]) < 0:
        _refuse(
            f"{where}: bbox {_shown(box)} has a negative size; COCO wants [left, top, width, height]"
        )
    return values


def _number(value: Any, where: str) -> float:
    # A JSON integer can be too large for a float; NaN is below nothing.
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e15:
        _refuse(f"{where} holds {_shown(value)}: a finite number of pixels is expected")
    return float(value)


def _shown(value: Any) -> str:
    """Returns the value for a message, on one line and short, whatever a file holds."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _refuse(message: str) -> NoReturn:
    raise LabelsError(message)
