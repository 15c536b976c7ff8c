"""Sizes that the calibration set lacks are named; sets of one kind are left alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import hypergeom

from tests.unit import experiments
from trt_matrix.core.calibration.claims import size_claims
from trt_matrix.core.calibration.sizes import fewer, sizes
from trt_matrix.inputs.labels import areas, parse


def drawn(seed: int, images: int, *, small: float = 1.0, large: float = 1.0) -> list[list[float]]:
    """Areas by image: objects come in crowds."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        areas = []
        for rate, side in ((small, 20.0), (1.5, 60.0), (large, 150.0)):
            number = random.poisson(rate * random.gamma(1.0, 1.0))
            areas += list((side * random.uniform(0.8, 1.2, number)) ** 2)
        made.append(areas)
    return made


def said(here: list[list[float]], there: list[list[float]]) -> list[str]:
    return [
        claim.text for claim in size_claims(sizes(here, there), len(here), len(there), "labels")
    ]


def test_a_set_without_small_objects_is_told_with_its_numbers() -> None:
    here, there = drawn(1, 128, small=0), drawn(2, 128, small=3)
    small = sizes(here, there)[0]
    (text,) = said(here, there)
    assert text == (
        f"No small objects among 128 calibration images, {small.evaluation} in "
        f"{small.evaluation_images} of 128 evaluation images (labels)."
    )


def test_few_of_a_size_are_told_too() -> None:
    (text,) = said(drawn(1, 128, large=0.05), drawn(2, 128, large=2))
    assert " large objects in " in text


@pytest.mark.parametrize("draw", range(40))
@pytest.mark.parametrize("number", [2, 16, 128])
def test_of_two_draws_of_one_kind_nothing_is_said(draw: int, number: int) -> None:
    assert said(drawn(draw, number), drawn(1000 + draw, 64)) == []


def test_one_crowd_is_no_kind_of_images() -> None:
    """310 small objects, all in two evaluation images."""
    here, there = drawn(1, 64, small=0), drawn(2, 64, small=0)
    there[3] += [400.0] * 200
    there[9] += [400.0] * 110
    assert said(here, there) == []


def test_more_of_a_size_than_is_judged_is_no_fault() -> None:
    assert said(drawn(1, 64, small=4), drawn(2, 64, small=0.1)) == []


def test_boxes_without_an_area_and_empty_sets_are_no_objects() -> None:
    assert said([[0.0, -5.0]] * 50, [[0.0]] * 50) == []
    assert said([], [[400.0]] * 50) == []
    assert said([[400.0]] * 50, []) == []
    assert [size.calibration for size in sizes([[float("nan"), 1e11]], [[]])] == [0, 0, 0]


@pytest.mark.parametrize(
    ("images", "of", "others", "of_others"), [(0, 20, 15, 30), (3, 9, 20, 21), (5, 5, 0, 9)]
)
def test_the_chance_is_fishers(images: int, of: int, others: int, of_others: int) -> None:
    total, having = of + of_others, images + others
    assert fewer(images, of, others, of_others) == pytest.approx(
        hypergeom(total, having, of).cdf(images)
    )


def coco(boxes: dict[str, list[list[float]]], crowd: bool = False) -> bytes:
    images = [{"id": 90 - index, "file_name": name} for index, name in enumerate(boxes)]
    every = [
        {"id": 1, "image_id": image["id"], "category_id": 1, "bbox": box, "iscrowd": int(crowd)}
        for image, name in zip(images, boxes, strict=True)
        for box in boxes[name]
    ]
    content = {"images": images, "annotations": every, "categories": [{"id": 1, "name": "x"}]}
    return json.dumps(content).encode()


def test_areas_of_labels_come_in_the_order_of_the_images() -> None:
    boxes = {
        "b.png": [[0.0, 0.0, 10.0, 20.0], [1.0, 1.0, 3.0, 3.0]],
        "a.png": [],
        "c.png": [[0.0, 0.0, 5.0, 5.0]],
    }
    content = coco(boxes)
    assert areas(parse(content, ["a.png", "b.png", "c.png"])) == ((), (200.0, 9.0), (25.0,))
    assert areas(parse(content, ["c.png", "a.png"])) == ((25.0,), ())
    assert areas(parse(coco(boxes, crowd=True), ["b.png"])) == ((),)


def test_labels_of_both_sets_say_which_sizes_they_show(tmp_path: Path) -> None:
    source = experiments.write(tmp_path)
    boxes = {f"{index}.png": [[0.0, 0.0, 4.0, 4.0]] for index in range(2)}
    (tmp_path / "sizes.json").write_bytes(coco(boxes))
    settings = experiments.changed(data__calibration__labels="sizes.json")
    source.write_text(yaml.safe_dump(settings))
    assert experiments.checked(source).object_areas == (((16.0,), (16.0,)), ((), ()))
    del settings["data"]["evaluation"]["labels"]
    source.write_text(yaml.safe_dump(settings))
    assert experiments.checked(source).object_areas is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"images": []}', b"\xff\xfe"])
def test_labels_of_calibration_images_that_are_none_are_told(
    tmp_path: Path, content: bytes
) -> None:
    source = experiments.write(tmp_path)
    (tmp_path / "sizes.json").write_bytes(content)
    (problem,) = experiments.wrong(
        source, experiments.changed(data__calibration__labels="sizes.json")
    )
    assert "data.calibration.labels" in problem
