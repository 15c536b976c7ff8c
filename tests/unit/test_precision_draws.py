"""AP of draws over images: that of the evaluation itself, on the images of the draw."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_average_precision import DEMO, annotation, boxes, coco, noisy
from trt_matrix.core.boxes.average_precision import (
    Labels,
    LabelsError,
    average_precision,
    read_labels,
)
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.precision_draws import (
    DRAWS,
    Hits,
    across,
    hits,
    image_draws,
    interval,
    precision_draws,
    weighted,
)
from trt_matrix.core.boxes.results import ALL


def of_weights(
    labels: Labels, all_boxes: dict[int, Boxes], taken: list[int], limit: int = 100
) -> Any:
    weights = np.array(taken, np.int32)[:, np.newaxis]
    return weighted(hits(labels, all_boxes, limit), weights)[0]


def of_evaluation(
    truth: dict[str, Any], all_boxes: dict[int, Boxes], taken: list[int], limit: int = 100
) -> list[float]:
    """AP and AP50 by the evaluation, of a data set that holds each image as often as it was taken."""
    sources = [image for image, times in enumerate(taken) for _ in range(times)]
    repeated = coco(
        [
            {**annotation, "image_id": index}
            for index, image in enumerate(sources)
            for annotation in truth["annotations"]
            if annotation["image_id"] == image
        ],
        images=len(sources),
        categories=tuple(category["id"] for category in truth["categories"]),
    )
    labels = read_labels(repeated, range(len(sources)))
    result = average_precision(
        labels,
        {index: all_boxes[image] for index, image in enumerate(sources)},
        max_detections=limit,
    )[ALL]
    return [np.nan if one is None else one for one in (result.ap, result.ap50)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_image_once_is_the_evaluation(seed: int) -> None:
    truth = json.loads(DEMO.read_text())
    ids = [image["id"] for image in truth["images"]]
    labels, all_boxes = read_labels(truth, ids), noisy(truth, seed)
    known = average_precision(labels, all_boxes)[ALL]
    assert of_weights(labels, all_boxes, [1] * len(ids)) == pytest.approx(
        [known.ap, known.ap50], abs=1e-12
    )


SIDES = st.integers(1, 6).map(float)
PLACES = st.tuples(SIDES, SIDES, SIDES, SIDES)
OBJECTS = st.lists(st.tuples(PLACES, st.sampled_from([1, 2]), st.booleans()), max_size=4)
FOUND = st.lists(st.tuples(PLACES, st.sampled_from([0, 1])), max_size=5)


@given(
    st.lists(st.tuples(OBJECTS, FOUND, st.integers(0, 3)), min_size=1, max_size=4),
    st.sampled_from([1, 2, 100]),
    st.randoms(use_true_random=False),
)
def test_a_draw_is_the_evaluation_of_its_images(
    images: list[tuple[Any, Any, int]], limit: int, random: Any
) -> None:
    """Small boxes overlap and rival for objects at some thresholds and not at others; crowds, too."""
    taken = [times for _, _, times in images]
    if not sum(taken):
        taken[0] = 1
    truth = coco(
        [
            annotation(list(place), index, category, iscrowd=int(crowd))
            for index, (objects, _, _) in enumerate(images)
            for place, category, crowd in objects
        ],
        images=len(images),
    )
    amount = sum(len(some) for _, some, _ in images)
    scores = iter(random.sample([(one + 1) / 64 for one in range(amount)], amount))
    all_boxes = {
        index: boxes(*((*place, next(scores), label) for place, label in some))
        for index, (_, some, _) in enumerate(images)
    }
    labels = read_labels(truth, range(len(images)))
    assert of_weights(labels, all_boxes, taken, limit) == pytest.approx(
        of_evaluation(truth, all_boxes, taken, limit), abs=1e-12, nan_ok=True
    )


def test_a_rival_at_low_overlap_frees_the_object_at_high() -> None:
    """The better box is beside its object: from an IoU of 0.75 on the other one finds it."""
    truth = coco([annotation([0, 0, 10, 10])], categories=(1,))
    all_boxes = {0: boxes((0, 0, 10, 7, 0.9, 0), (0, 0, 10, 10, 0.8, 0))}
    one = hits(read_labels(truth, [0]), all_boxes, 100)
    assert one.found[:5].tolist() == [[True, False]] * 5
    assert one.found[5:].tolist() == [[False, True]] * 5
    assert of_weights(read_labels(truth, [0]), all_boxes, [1]) == pytest.approx(
        of_evaluation(truth, all_boxes, [1])
    )


def test_draws_are_the_same_whoever_asks_so_that_differences_are_paired() -> None:
    truth = json.loads(DEMO.read_text())
    ids = [image["id"] for image in truth["images"]]
    labels = read_labels(truth, ids)
    better, worse = (precision_draws(labels, noisy(truth, seed)) for seed in (1, 2))
    assert better.shape == (DRAWS, 2)
    assert np.array_equal(better, precision_draws(labels, noisy(truth, 1)))
    one, other = (average_precision(labels, noisy(truth, seed))[ALL].ap or 0 for seed in (1, 2))
    low, high = interval(better[:, 0]) or (0, 0)
    assert low < one < high
    low, high = interval((better - worse)[:, 0]) or (0, 0)
    assert low < one - other < high


def test_each_draw_takes_as_many_images_as_there_are() -> None:
    taken = image_draws(7)
    assert taken.shape == (7, DRAWS)
    assert (taken.sum(axis=0) == 7).all()
    assert taken.mean(axis=1) == pytest.approx(1, abs=0.2)


def test_the_interval_is_as_wide_as_new_images_scatter() -> None:
    """Half of 200 images have their one object found: AP is a share, of a known deviation."""
    truth = coco([annotation([0, 0, 10, 10], image) for image in range(200)], 200, (1,))
    all_boxes = {
        image: boxes((0, 0, 10, 10, 0.9, 0)) if image % 2 else boxes() for image in range(200)
    }
    low, high = interval(precision_draws(read_labels(truth, range(200)), all_boxes)[:, 1]) or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 200), rel=0.15)


def test_labels_without_objects_have_no_interval() -> None:
    labels = read_labels(coco([], images=3), range(3))
    draws = precision_draws(labels, {image: boxes((0, 0, 9, 9, 0.5, 0)) for image in range(3)})
    assert np.isnan(draws).all()
    assert interval(draws[:, 0]) is None


def test_draws_without_any_object_do_not_count() -> None:
    truth = coco([annotation([0, 0, 10, 10])], images=3, categories=(1,))
    all_boxes = {0: boxes((0, 0, 10, 10, 0.9, 0)), 1: boxes(), 2: boxes()}
    draws = precision_draws(read_labels(truth, range(3)), all_boxes)
    assert 0 < np.isnan(draws[:, 0]).mean() < 0.5
    assert interval(draws[:, 0]) == pytest.approx((1.0, 1.0))


def test_no_boxes_at_all_have_ap_0() -> None:
    labels = read_labels(coco([annotation([0, 0, 9, 9])], images=2), range(2))
    assert of_weights(labels, {0: boxes(), 1: boxes()}, [1, 1]) == pytest.approx([0, 0])


def test_an_image_without_an_entry_is_named() -> None:
    labels = read_labels(coco([], images=2), range(2))
    with pytest.raises(LabelsError, match="no boxes of image 1"):
        precision_draws(labels, {0: boxes()})


def test_many_boxes_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    one = Hits(
        images=generator.integers(0, 5, 300),
        categories=np.zeros(300, np.intp),
        found=generator.random((10, 300)) < 0.3,
        ignored=np.zeros((10, 300), bool),
        objects=np.full((5, 1), 40),
    )
    whole = weighted(one, image_draws(5))
    monkeypatch.setattr("trt_matrix.core.boxes.precision_draws.AT_ONCE", 999)
    assert weighted(one, image_draws(5)) == pytest.approx(whole, rel=1e-12)


def test_repeats_are_drawn_as_well() -> None:
    one, other = np.full((DRAWS, 2), 0.5), np.full((DRAWS, 2), 0.7)
    assert np.array_equal(across([one, one]), one)
    both = across([one, other])
    assert both.shape == (DRAWS, 2)
    assert interval(both[:, 0]) == pytest.approx((0.5, 0.7))
    assert both.mean() == pytest.approx(0.6, abs=0.01)
    assert np.array_equal(both[:, 0], both[:, 1]), "AP and AP50 are of the same draw"
