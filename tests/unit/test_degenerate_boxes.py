"""Boxes without an area, or with a corner that is not finite: left out, counted, and spoiling no other."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_box_judge import HEADS, IMAGES, World, box
from trt_matrix.core.box_judge import judge_boxes
from trt_matrix.core.boxes.decoding import Decoding, Family, HeadGrid, Layout
from trt_matrix.core.boxes.detection import detect, detect_all
from trt_matrix.core.boxes.evidence import OutputGoneError, Outputs
from trt_matrix.core.boxes.nms import Boxes, concatenate, suppress
from trt_matrix.core.boxes.results import ALL

SIZE = (32, 48)


@pytest.fixture
def world() -> World:
    return World()


def table(corners: list[list[float]], heads: list[int]) -> Boxes:
    n = len(corners)
    return Boxes(
        np.array(corners, np.float64).reshape(n, 4),
        np.full(n, 0.5, np.float32),
        np.zeros(n, np.intp),
        np.array(heads, np.intp),
    )


COORDINATE = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, math.nan, math.inf, -math.inf, 3.0])
)


@given(
    st.lists(
        st.tuples(st.lists(COORDINATE, min_size=4, max_size=4), st.integers(0, 1)), max_size=12
    )
)
def test_every_box_is_kept_or_counted_and_what_is_kept_has_an_area(
    rows: list[tuple[list[float], int]],
) -> None:
    given_ = table([corners for corners, _ in rows], [head for _, head in rows])
    outputs = {"a": np.zeros((1, 2), np.float32), "b": np.zeros((1, 2), np.float32)}
    (boxes,) = detect_all(outputs, lambda _: given_, ["a", "b"])
    assert np.isfinite(boxes.corners).all()
    assert (boxes.corners[:, 2:] > boxes.corners[:, :2]).all()
    for head in (0, 1):
        kept = int((boxes.heads == head).sum())
        assert kept + boxes.degenerate.get(head, 0) == sum(one == head for _, one in rows)
    good = [
        corners for corners, _ in rows
        if np.isfinite(corners).all() and corners[0] < corners[2] and corners[1] < corners[3]
    ]  # fmt: skip
    assert boxes.corners.tolist() == good, "in their order"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_what_was_left_out_stays_counted_whatever_follows(numbers: list[int]) -> None:
    parts = [
        table([[0.0, 0, 0, 5]] * number + [[0.0, 0, 5, 5]], [0] * (number + 1))
        for number in numbers
    ]
    joined = concatenate([part.usable() for part in parts])
    kept = suppress(joined, iou_threshold=0.5, max_candidates=10, max_detections=10)
    moved = kept.in_image(scale=(2.0, 2.0), offset=(1.0, 1.0))
    assert moved.degenerate.get(0, 0) == sum(numbers)
    assert moved.usable() is moved


def test_the_built_in_decoders_count_too() -> None:
    settings = Decoding(
        family=Family.YOLOV8_DECODED,
        heads={"boxes": HeadGrid()},
        classes=1,
        image_size=SIZE,
        layout=Layout.BOXES,
    )
    rows = np.array(
        [[9, 9, 4, 4, 0.9], [9, 9, 0, 4, 0.9], [9, 9, -4, -4, 0.9], [math.nan, 9, 4, 4, 0.9],
         [9, 9, 0, 0, 0.001]], np.float32,
    )  # fmt: skip
    boxes = detect({"boxes": rows}, settings)
    assert len(boxes) == 1
    assert boxes.degenerate == {0: 3}, "one too faint to be a box is none to be counted"


# Of cells, beside those of the reference


def with_flat(good: Boxes, head: str, number: int) -> Boxes:
    """Returns the boxes, less so many of a head that had no area."""
    return replace(good, degenerate={HEADS.index(head): number})


def test_boxes_without_an_area_are_counted_and_spoil_no_other(world: World) -> None:
    far = world.content("flat", [[with_flat(box("far", 300), "far", 2)]] * IMAGES)
    twice = world.content("flatter", [[with_flat(box("far", 300), "far", 3)]] * IMAGES)
    broken, well = world.cell("a", {"far": far}, {"far": twice}), world.cell("b", {})
    found = world.judged()
    assert found[broken].problem is None
    assert found[broken].degenerate == 3 * IMAGES, "of the repeat that has most"
    whole = found[broken].whole
    assert whole is not None
    assert whole.degenerate == 3 * IMAGES
    assert {head: one.degenerate for head, one in found[broken].heads.items()} == {
        "near": 0,
        "far": 3 * IMAGES,
    }
    assert found[broken].heads["far"].changes[ALL].lost == 0
    assert found[well].degenerate == 0


def test_a_reference_without_one_box_of_an_area_has_no_boxes(world: World) -> None:
    empty = concatenate([])
    for name, head in (("no near", "near"), ("no far", "far")):
        world.reference[head] = world.content(name, [[with_flat(empty, head, 4)]] * IMAGES)
    world.cell("a", {})
    report = judge_boxes(world.evidence()).report
    assert report is not None
    assert report.problem is not None
    assert report.problem.startswith(f"none of the reference's {8 * IMAGES} boxes has an area")
    assert "not a centre and a size" in report.problem


def test_the_boxes_without_an_area_of_the_reference_are_told(world: World) -> None:
    world.reference["far"] = world.content(
        "some", [[with_flat(box("far", 300), "far", 1)]] * IMAGES
    )
    world.cell("a", {})
    report = judge_boxes(world.evidence()).report
    assert report is not None
    assert report.degenerate == {"far": IMAGES}


def test_what_is_gone_leaves_the_other_numbers_known(world: World) -> None:
    cell = world.cell("a", {})
    evidence = world.evidence()
    assert evidence.boxes is not None

    def gone(_: Outputs) -> Sequence[Boxes]:
        raise OutputGoneError

    judged = judge_boxes(replace(evidence, boxes=replace(evidence.boxes, boxes_of=gone)))
    assert judged.cells[cell].problem is None
    assert judged.cells[cell].degenerate == 0
