import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trt_matrix.core.boxes.average_precision import (
    ALL_PX2,
    LabelsError,
    average_precision,
    read_labels,
)
from trt_matrix.core.boxes.nms import COCO_SIZES, Boxes, SizeRange, concatenate
from trt_matrix.core.boxes.results import ALL

DEMO = Path(__file__).parents[2] / "demo" / "labels.json"


def coco(
    annotations: list[dict[str, Any]], images: int = 1, categories: tuple[int, ...] = (1, 2)
) -> dict[str, Any]:
    return {
        "images": [{"id": index, "file_name": f"{index}.jpg"} for index in range(images)],
        "categories": [{"id": category, "name": str(category)} for category in categories],
        "annotations": annotations,
    }


def annotation(box: list[float], image: int = 0, category: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box} | more


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    """Rows of left, top, width, height, score, class."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(
        np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1),
        table[:, 4].astype(np.float32),
        table[:, 5].astype(np.intp),
        np.zeros(len(table), np.intp),
    )


def pycocotools(
    truth: dict[str, Any],
    all_boxes: dict[int, Boxes],
    sizes: tuple[SizeRange, ...],
    limit: int = 100,
) -> dict[str, tuple[float | None, float | None]]:
    """AP and AP50 by size of the evaluator that the field takes for the truth."""
    labels = COCO()
    labels.dataset = copy.deepcopy(truth)
    for index, one in enumerate(labels.dataset["annotations"]):
        # It takes id 0 for "unmatched".
        one |= {"id": index + 1, "iscrowd": one.get("iscrowd", 0)}
        one.setdefault("area", one["bbox"][2] * one["bbox"][3])
    labels.createIndex()
    categories = sorted(category["id"] for category in truth["categories"])
    results = [
        {
            "image_id": image,
            "category_id": categories[label],
            "score": float(score),
            "bbox": [left, top, right - left, bottom - top],
        }
        for image, one in all_boxes.items()
        for (left, top, right, bottom), score, label in zip(
            one.corners.tolist(), one.scores, one.classes, strict=True
        )
    ]
    evaluation = COCOeval(labels, labels.loadRes(results), "bbox")
    evaluation.params.areaRng = [list(ALL_PX2), *([s.low_px2, s.high_px2] for s in sizes)]
    evaluation.params.areaRngLbl = [ALL, *(size.name for size in sizes)]
    evaluation.params.maxDets = [limit]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]

    def mean(values: Any) -> float | None:
        return float(values[values > -1].mean()) if (values > -1).any() else None

    return {
        name: (mean(precision[..., index]), mean(precision[0, ..., index]))
        for index, name in enumerate(evaluation.params.areaRngLbl)
    }


def assert_as_pycocotools(
    truth: dict[str, Any],
    all_boxes: dict[int, Boxes],
    sizes: tuple[SizeRange, ...] = COCO_SIZES,
    limit: int = 100,
) -> None:
    ours = average_precision(
        read_labels(truth, list(all_boxes)), all_boxes, sizes=sizes, max_detections=limit
    )
    theirs = pycocotools(truth, all_boxes, sizes, limit)
    assert list(ours) == list(theirs)
    for name, (ap, ap50) in theirs.items():
        assert ours[name].ap == pytest.approx(ap, abs=1e-12), name
        assert ours[name].ap50 == pytest.approx(ap50, abs=1e-12), name


def noisy(truth: dict[str, Any], seed: int) -> dict[int, Boxes]:
    """Most labelled boxes, moved, with some of a wrong class and some where nothing is."""
    generator = np.random.default_rng(seed)
    categories = sorted(category["id"] for category in truth["categories"])
    found: dict[int, list[tuple[float, ...]]] = {image["id"]: [] for image in truth["images"]}
    for one in truth["annotations"]:
        left, top, width, height = one["bbox"]
        for _ in range(generator.integers(0, 3)):
            moved = np.array([left, top]) + generator.normal(0, 0.12, 2) * [width, height]
            size = np.array([width, height]) * np.exp(generator.normal(0, 0.12, 2))
            label = categories.index(one["category_id"])
            if generator.random() < 0.1:
                label = int(generator.integers(len(categories)))
            # Few different scores: many are equal, as in INT8.
            found[one["image_id"]].append((*moved, *size, generator.integers(1, 20) / 20, label))
    for rows in found.values():
        for _ in range(generator.integers(0, 4)):
            corner, size = generator.uniform(-20, 300, 2), generator.uniform(5, 150, 2)
            rows.append(
                (*corner, *size, generator.random(), int(generator.integers(len(categories))))
            )
    return {image: boxes(*rows) for image, rows in found.items()}  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_pycocotools_on_the_demo_labels(seed: int) -> None:
    truth = json.loads(DEMO.read_text())
    sizes = tuple(
        SizeRange(name=name, low_px2=low, high_px2=high)
        for name, (low, high) in truth["info"]["areas_px2"].items()
    )
    all_boxes = noisy(truth, seed)
    assert_as_pycocotools(truth, all_boxes, sizes)
    assert_as_pycocotools(truth, all_boxes)
    assert_as_pycocotools(truth, all_boxes, sizes, limit=1)
    result = average_precision(read_labels(truth, list(all_boxes)), all_boxes, sizes=sizes)
    assert 0.1 < (result["all"].ap or 0) < (result["all"].ap50 or 0) < 0.95
    assert result["all"].objects == len(truth["annotations"])
    assert sum(result[size.name].objects for size in sizes) == len(truth["annotations"])


def test_it_equals_pycocotools_with_crowds_areas_and_scattered_ids() -> None:
    generator = np.random.default_rng(5)
    truth = coco([], images=12, categories=(90, 3, 17))
    for number in range(60):
        corner, size = generator.uniform(0, 200, 2), generator.uniform(10, 150, 2)
        truth["annotations"].append(
            annotation(
                [*corner.tolist(), *size.tolist()],
                image=int(generator.integers(12)),
                category=int(generator.choice([90, 3, 17])),
                area=float(size.prod() * generator.uniform(0.4, 1)),
                iscrowd=int(number % 7 == 0),
            )
        )
    assert_as_pycocotools(truth, noisy(truth, 9))


def test_perfect_boxes_have_ap_1_and_none_have_0() -> None:
    truth = coco([annotation([10, 10, 40, 40]), annotation([100, 10, 20, 20], category=2)])
    labels = read_labels(truth, [0])
    perfect = average_precision(
        labels, {0: boxes((10, 10, 40, 40, 0.9, 0), (100, 10, 20, 20, 0.8, 1))}
    )
    # 101 recall points, each precision computed with an epsilon in the denominator
    assert perfect["all"].ap == pytest.approx(1)
    assert perfect["small"].ap50 == pytest.approx(1)
    assert (perfect["large"].ap, perfect["large"].ap50, perfect["large"].objects) == (None, None, 0)
    missed = average_precision(labels, {0: boxes()})
    assert (missed["all"].ap, missed["all"].ap50, missed["all"].objects) == (0, 0, 2)


def test_ap50_does_not_see_what_ap_sees() -> None:
    """A box that overlaps its object by 60 % is right for AP50 and wrong at most other thresholds."""
    labels = read_labels(coco([annotation([0, 0, 100, 100])]), [0])
    result = average_precision(labels, {0: boxes((0, 0, 100, 62, 0.9, 0))})
    assert result["all"].ap50 == pytest.approx(1)
    assert result["all"].ap == pytest.approx(0.3)


def test_a_false_alarm_above_the_right_box_halves_the_precision() -> None:
    labels = read_labels(coco([annotation([0, 0, 50, 50])]), [0])
    result = average_precision(
        labels, {0: boxes((200, 200, 50, 50, 0.9, 0), (0, 0, 50, 50, 0.5, 0))}
    )
    assert result["all"].ap50 == pytest.approx(0.5)


def test_labels_without_objects_give_no_number() -> None:
    labels = read_labels(coco([], images=2), [0, 1])
    for found in (boxes(), boxes((0, 0, 50, 50, 0.9, 0))):
        result = average_precision(labels, {0: found, 1: boxes()})
        assert (result["all"].ap, result["all"].ap50, result["all"].objects) == (None, None, 0)


def test_only_the_evaluated_images_count() -> None:
    truth = coco([annotation([0, 0, 50, 50]), annotation([0, 0, 50, 50], image=1)], images=2)
    all_boxes = {1: boxes((0, 0, 50, 50, 0.9, 0))}
    result = average_precision(read_labels(truth, [1]), all_boxes)
    assert result["all"].ap50 == pytest.approx(1)
    assert result["all"].objects == 1


def test_thousands_of_identical_boxes_are_one_hit() -> None:
    labels = read_labels(coco([annotation([0, 0, 50, 50])]), [0])
    one = boxes((0, 0, 50, 50, 0.9, 0))
    result = average_precision(labels, {0: concatenate([one] * 3000)}, max_detections=5000)
    assert result["all"].ap50 == pytest.approx(1)


def test_boxes_outside_the_image_are_wrong_and_nothing_else() -> None:
    labels = read_labels(coco([annotation([0, 0, 50, 50])]), [0])
    result = average_precision(
        labels, {0: boxes((0, 0, 50, 50, 0.9, 0), (-900, 1e6, 50, 50, 0.5, 0))}
    )
    assert result["all"].ap50 == pytest.approx(1)


def test_the_users_labels_stay_as_they_are_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    truth = coco([annotation([0, 0, 50, 50], id=0)])
    before = copy.deepcopy(truth)
    labels = read_labels(truth, [0])
    all_boxes = {0: boxes((0, 0, 50, 50, 0.9, 0))}
    # An annotation with id 0 counts as unmatched in COCOeval itself.
    assert average_precision(labels, all_boxes)["all"].ap50 == pytest.approx(1)
    assert average_precision(labels, all_boxes) == average_precision(labels, all_boxes)
    assert truth == before
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [1, 2, 3]}, "bbox is not"),
        ({"bbox": "1234"}, "bbox is not"),
        ({"bbox": None}, "bbox is not"),
        ({"bbox": [1, 2, "3", 4]}, "bbox holds '3'"),
        ({"bbox": [1, 2, float("nan"), 4]}, "bbox holds nan"),
        ({"bbox": [1, 2, float("inf"), 4]}, "bbox holds inf"),
        ({"bbox": [1, 2, 10**400, 4]}, "bbox holds 1000"),
        ({"bbox": [1, 2, True, 4]}, "bbox holds True"),
        ({"bbox": [1, 2, -3, 4]}, "negative size"),
        ({"area": "big"}, "area holds 'big'"),
        ({"image_id": 7}, "image_id 7 is no image"),
        ({"image_id": [0]}, r"image_id \[0\] is no image"),
        ({"image_id": None}, "image_id None is no image"),
        ({"category_id": 91}, "category_id 91 is no category"),
        ({"category_id": "x" * 10_000}, "category_id 'x{39}… is no category"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named(changes: dict[str, Any], message: str) -> None:
    good = annotation([0, 0, 5, 5])
    with pytest.raises(LabelsError, match=rf"annotations\[1\].*{message}"):
        read_labels(coco([good, good | changes]), [0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "images is not a list"),
        ({"images": [3]}, "images is not a list of objects"),
        ({"categories": {}}, "categories is not a list"),
        ({"annotations": 5}, "annotations is not a list"),
        ({"images": [{"id": "0"}]}, r"images\[0\] has id '0'"),
        ({"images": [{}]}, r"images\[0\] has id None"),
        ({"images": [{"id": 0}, {"id": 0}]}, "two entries of images have one id"),
        ({"categories": [{"id": 1}, {"id": 1}]}, "two entries of categories have one id"),
        ({"images": []}, "no image with id 0"),
    ],
)
def test_labels_that_are_no_coco_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_labels(coco([]) | changes, [0])


def test_one_image_twice_is_refused() -> None:
    with pytest.raises(LabelsError, match="evaluated twice"):
        read_labels(coco([]), [0, 0])


@pytest.mark.parametrize("label", [2, -1])
def test_a_class_without_category_is_named(label: int) -> None:
    labels = read_labels(coco([annotation([0, 0, 5, 5])]), [0])
    with pytest.raises(LabelsError, match=f"image 0 .* class {label}, .* 2 categories"):
        average_precision(labels, {0: boxes((0, 0, 5, 5, 0.9, 0), (0, 0, 5, 5, 0.9, label))})


def test_an_image_without_an_entry_is_named() -> None:
    labels = read_labels(coco([annotation([0, 0, 5, 5])], images=2), [0, 1])
    with pytest.raises(LabelsError, match="no boxes of image 1"):
        average_precision(labels, {0: boxes()})
