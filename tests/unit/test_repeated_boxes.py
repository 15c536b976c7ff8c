"""A decoder of the user's own that suppresses nothing is told by the reference's boxes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.unit.pages import parse
from tests.unit.test_box_judge import IMAGES, World, box
from tests.unit.test_report_boxes import judged
from trt_matrix.core.box_judge import judge_boxes
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.results import BoxReport, Repeated
from trt_matrix.report.html import render


def report_of(near: Sequence[Boxes], *, own: bool = True) -> BoxReport:
    world = World()
    world.reference["near"] = world.content("near", [near] * IMAGES)
    evidence = world.evidence()
    assert evidence.boxes is not None
    decode = evidence.boxes.decode
    if own:
        decode = decode.model_copy(update={"style": None, "entry_point": "mine:boxes"})
    boxes = judge_boxes(replace(evidence, boxes=replace(evidence.boxes, decode=decode)))
    assert boxes.report is not None
    return boxes.report


def test_a_box_over_a_better_one_of_its_class_is_counted() -> None:
    """100 pixels wide: 10 to the right is an IoU of 0.82, 20 of 0.67, which NMS may leave."""
    report = report_of([box("near", 0), box("near", 10, 0.8), box("near", 20, 0.7)])
    assert report.repeated == Repeated(boxes=IMAGES, shown=4 * IMAGES, iou=0.7)


@pytest.mark.parametrize(
    "near",
    [
        [box("near", 0)],
        [box("near", 0), box("near", 20, 0.8)],
        [box("near", 0), box("near", 3, 0.2)],
        [box("near", 0), replace(box("near", 1, 0.8), classes=box("near", 0).classes + 1)],
    ],
)
def test_what_suppression_would_leave_or_nobody_is_shown_is_none(near: list[Boxes]) -> None:
    assert report_of(near).repeated is None


def test_a_style_suppresses_so_nothing_is_said_of_it() -> None:
    assert report_of([box("near", 0), box("near", 3, 0.8)], own=False).repeated is None


def test_the_page_says_it_beside_the_boxes() -> None:
    report = judged().boxes
    assert report is not None
    page = render(judged(boxes=replace(report, repeated=Repeated(boxes=1, shown=1200, iou=0.7))))
    text = parse(page).by_id("boxes").text
    assert "1 of the reference's 1,200 shown boxes overlaps a better one of the same class" in text
    assert "IoU above 0.7. Nothing is suppressed after entry_point" in text
    several = replace(report, repeated=Repeated(boxes=5, shown=12, iou=0.7))
    text = parse(render(judged(boxes=several))).by_id("boxes").text
    assert "5 of the reference's 12 shown boxes overlap a better" in text
    assert "Nothing is suppressed" not in parse(render(judged())).by_id("boxes").text
