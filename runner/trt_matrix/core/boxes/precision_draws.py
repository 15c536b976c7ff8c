"""AP of bootstrap draws over images: how far an AP, or a drop of it, may be chance of these images.

A draw takes images with replacement (Efron and Tibshirani 1993, ch. 13). Which box finds which object
is decided within one image, so it is asked of the evaluation once; a draw only weighs every image by
how often it was taken, and adds up along the falling scores as the evaluation does: the AP of a draw
is that of a set of images with each as often in it. All outputs get the same draws, so that the
difference of two APs is paired.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.average_precision import (
    MOST_DETECTIONS,
    Labels,
    evaluation_of,
    results_of,
)
from trt_matrix.core.boxes.nms import Boxes, Floats, Indices

DRAWS = 1000
SEED = 20190617
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read: COCO's, to the last bit, since 7 of 10 objects do not reach its 0.7."""
AT_ONCE = 1 << 21
"""Draws × boxes in one array: bounds the memory, 16 MB for each."""

Mask = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.int32]

ApDraws = Mapping[tuple[str, str], Floats]
"""(cell id, head) → AP and AP50 in each draw, shape (draws, 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What the evaluation made of the boxes of all images, in order of falling score.

    Attributes:
        images: Index of the image of each box, shape (n,).
        categories: Likewise, of its category.
        found: Whether a box found an object, shape (IoU thresholds, n).
        ignored: Whether it lies on a crowd, which is neither right nor wrong; the same shape.
        objects: Labelled objects without crowds, shape (images, categories).
    """

    images: Indices
    categories: Indices
    found: Mask
    ignored: Mask
    objects: Indices


def precision_draws(labels: Labels, boxes: Mapping[int, Boxes]) -> Floats:
    """Returns AP and AP50 over all sizes in each draw, shape (DRAWS, 2); NaN where nothing is labelled.

    `boxes` has an entry for every image of `labels`, in its pixels.

    Raises:
        LabelsError: an image without an entry, or a class index without a category.
    """
    return weighted(hits(labels, boxes, MOST_DETECTIONS), image_draws(len(labels.images)))


def across(repeats: Sequence[Floats]) -> Floats:
    """Returns the mean over repeats, of which each draw takes as many as there are, with replacement.

    With few repeats that tells too little of how builds differ: of two, half of it.
    Every one has AP and AP50 in each draw, shape (draws, 2).
    """
    every = np.stack(repeats)
    amount, draws, _ = every.shape
    taken = np.random.default_rng([SEED, amount]).integers(0, amount, (amount, draws))
    return np.asarray(every[taken, np.arange(draws)].mean(axis=0), np.float64)


def interval(draws: Floats) -> tuple[float, float] | None:
    """Returns the 95 % percentile interval; None where no draw has a value.

    `draws` has NaN where a draw took no image with an object.
    """
    known = draws[~np.isnan(draws)]
    if not known.size:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def image_draws(images: int) -> Weights:
    """Returns how often each draw takes each image, shape (images, DRAWS)."""
    generator = np.random.default_rng(SEED)
    taken = generator.multinomial(images, np.full(images, 1 / images), DRAWS)
    return np.ascontiguousarray(taken.T, np.int32)


def hits(labels: Labels, boxes: Mapping[int, Boxes], max_detections: int) -> Hits:
    """Asks the evaluation which box finds which object, at each of its IoU thresholds.

    Raises:
        LabelsError: see `precision_draws`.
    """
    results = results_of(labels, boxes)
    every = np.array([(result["image_id"], result["category_id"]) for result in results], np.intp)
    every = every.reshape(-1, 2)
    scores = np.array([result["score"] for result in results], np.float64)
    ranked = np.argsort(-scores, kind="stable")
    chosen = ranked[_ranks(every[ranked]) < max_detections]
    place = np.empty(len(results), np.intp)
    place[chosen] = np.arange(len(chosen))
    crowds = {annotation["id"] for annotation in labels.annotations if annotation["iscrowd"]}

    evaluation = evaluation_of(labels, results, (), max_detections)
    thresholds = evaluation.params.iouThrs
    found, ignored = np.zeros((2, len(thresholds), len(chosen)), bool)
    for box, labelled, at in _pairs(evaluation, every[:, 0]):
        side = ignored if labelled in crowds else found
        side[at, place[box - 1]] = True
    objects = np.zeros((len(labels.images), len(labels.categories)), np.intp)
    for annotation in labels.annotations:
        objects[annotation["image_id"], annotation["category_id"]] += not annotation["iscrowd"]
    return Hits(every[chosen, 0], every[chosen, 1], found, ignored, objects)


def _pairs(evaluation: Any, images: Indices) -> Iterator[tuple[int, int, Mask]]:
    """Yields the id of a box, of its object, and at which IoU thresholds they are a pair.

    `images` has the index of the image of each box.
    """
    thresholds = evaluation.params.iouThrs
    all_pairs = _matched(evaluation)
    # At all thresholds at once it does not say at which a pair was made. It was at every one up to its
    # IoU, unless another box or object came between, which at some threshold made a pair of its own.
    boxes, objects = (
        (Counter(ids) for ids in zip(*all_pairs, strict=True)) if all_pairs else ({}, {})
    )
    contested = {
        int(images[box - 1])
        for box, labelled in all_pairs
        if boxes[box] > 1 or objects[labelled] > 1
    }
    for (box, pair), iou in all_pairs.items():
        if int(images[box - 1]) not in contested:
            yield box, pair, thresholds <= iou
    if contested:
        evaluation.params.imgIds = sorted(contested)
        for threshold in thresholds:
            evaluation.params.iouThrs = np.array([threshold])
            for box, labelled in _matched(evaluation):
                yield box, labelled, thresholds == threshold


def _matched(evaluation: Any) -> Mapping[tuple[int, int], float]:
    """Returns (id of a box, id of its object) → IoU, of all pairs at any threshold."""
    evaluation.evaluate()
    pairs = {
        tuple(map(int, pair.split("_"))): iou for pair, iou in evaluation.eval["matched"].items()
    }
    return pairs  # type: ignore[return-value]


def _ranks(groups: Indices) -> Indices:
    """Returns how many earlier rows equal each row of shape (n, 2)."""
    order = np.lexsort((groups[:, 1], groups[:, 0]))
    ordered = groups[order]
    begins = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(groups)]
    starts = np.flatnonzero(begins)
    ranks = np.empty(len(groups), np.intp)
    ranks[order] = np.arange(len(groups)) - starts[np.cumsum(begins) - 1]
    return ranks


def weighted(hits: Hits, weights: Weights) -> Floats:
    """Returns AP and AP50 with each image taken so many times, shape (draws, 2).

    `weights` has shape (images, draws).
    """
    draws = weights.shape[1]
    totals, amounts = np.zeros((draws, 2)), np.zeros(draws)
    for category in range(hits.objects.shape[1]):
        objects = hits.objects[:, category] @ weights
        has = objects > 0
        if has.any():
            precision = _of_category(hits, category, weights, np.where(has, objects, 1))
            totals[has] += precision[has]
            amounts += has
    return totals / np.where(amounts > 0, amounts, np.nan)[:, np.newaxis]


def _of_category(hits: Hits, category: int, weights: Weights, objects: Indices) -> Floats:
    """Returns AP and AP50 of one category, shape (draws, 2)."""
    chosen = hits.categories == category
    images, found, ignored = hits.images[chosen], hits.found[:, chosen], hits.ignored[:, chosen]

    @functools.cache  # a box that lies well is found at several thresholds
    def at(right: bytes, crowd: bytes) -> Floats:
        counted = ~np.frombuffer(crowd, bool)
        return _at_threshold(images[counted], np.frombuffer(right, bool)[counted], weights, objects)

    thresholds = [
        at(right.tobytes(), crowd.tobytes()) for right, crowd in zip(found, ignored, strict=True)
    ]
    return np.stack([np.mean(thresholds, axis=0), thresholds[0]], axis=1)


def _at_threshold(images: Indices, found: Mask, weights: Weights, objects: Indices) -> Floats:
    """Returns the mean of the precision over the recalls, shape (draws,).

    The best precision at a recall or beyond is always one behind a box that found something, so only
    these are looked at; each stands for the recalls that it is the first to reach.
    """
    right = np.flatnonzero(found)
    if not right.size:
        return np.zeros(weights.shape[1])
    images = images[: right[-1] + 1]
    parts = []
    for draws in _chunks(weights.shape[1], len(images)):
        taken = weights[images, draws]
        boxes = np.cumsum(taken, axis=0, dtype=np.int32)[right]
        hit = np.cumsum(taken[right], axis=0, dtype=np.int32)
        precision = hit / np.maximum(boxes, 1)
        best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        reached = np.searchsorted(RECALLS, hit / objects[draws], side="right")
        parts.append((best * np.diff(reached, axis=0, prepend=0)).sum(axis=0))
    return np.concatenate(parts) / len(RECALLS)


def _chunks(draws: int, boxes: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // max(boxes, 1))
    return (slice(start, start + step) for start in range(0, draws, step))
