"""The section on boxes of the page, the gates in the matrix, and the columns of the long table."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.judgements import SHARED, cell_result, changes, head, judgement
from tests.unit.pages import Element, parse
from trt_matrix.core.boxes.matching import Changes
from trt_matrix.core.boxes.results import (
    ALL,
    AveragePrecision,
    BoxErrors,
    BoxReport,
    CellBoxes,
    Fate,
    FedImage,
    ShownBox,
    WorstImage,
)
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.verdicts.gates import all_hold, gate_results
from trt_matrix.report import frames
from trt_matrix.report.html import render
from trt_matrix.report.views import is_unchanged

HOSTILE = "</script><img src=x onerror=alert(1)>\u202egnp.jpg"


def some(lost: float, reference: float = 200) -> Changes:
    return changes(lost, reference, 3, 0.8461, test=reference)


def errors(lost: float) -> BoxErrors:
    precision = AveragePrecision(ap=0.7361, ap50=0.93, objects=12)
    return BoxErrors(
        changes={ALL: some(lost), "small": some(lost), "large": some(0, 0)},
        precision={ALL: precision, "small": precision, "large": replace(precision, ap=None)},
        ap_drop=0.0931,
        ap50_drop=-0.01,
    )


def box(fate: Fate) -> ShownBox:
    return ShownBox(left=1, top=2, right=11, bottom=22, score=0.5, label=7, head="small", fate=fate)


def cell() -> CellResult:
    gate = HeadGate(head="small", sqnr_db=20, ap_drop=0.05)
    head_result = replace(head("small", 0.001), boxes=errors(2.5))
    gates = gate_results(gate, head_result.error, head_result.boxes)
    head_result = replace(head_result, gates=gates, passed=all_hold(gates))
    boxes = CellBoxes(whole=errors(2.5), heads={"small": errors(2.5)})
    return replace(cell_result("ort-1.32.0", SHARED, (head_result,)), boxes=boxes)


def judged(**changed: object) -> Judgement:
    report = BoxReport(
        heads=("small",),
        precision={ALL: AveragePrecision(ap=0.8292, ap50=0.937, objects=12)},
        shown_score=0.25,
        match_iou=0.5,
        sizes={"small": (0, 1024), "large": (1024, 1e10)},
        worst=(
            WorstImage(
                file_name=HOSTILE,
                width=320,
                height=320,
                cells=("ort-1.32.0/cpu/int8-shared-entropy", "other"),
                heads=("small",),
                reference=(box(Fate.LOST), box(Fate.KEPT)),
                test=(box(Fate.RISEN),),
            ),
        ),
    )
    lone = replace(cell_result("ort-1.26.0", SHARED, (head("small"),)), boxes=CellBoxes(
        problem=f"the stored output of {HOSTILE} is gone"
    ))  # fmt: skip
    return judgement((cell(), lone), heads=("small",), **{"boxes": report} | changed)


@pytest.fixture(scope="module")
def section() -> Element:
    return parse(render(judged())).by_id("boxes")


def test_lost_new_and_moved_boxes_stand_by_head_and_size(section: Element) -> None:
    assert "1.2 % lost 2.5 of 200 · 1.5 % new IoU 0.846 · AP 0.736 (−0.093)" in section.text
    assert "the reference has 0.829 (AP50 0.937)" in section.text
    assert "– lost 0 of 0 · – new" in section.text, "no large box in the reference"
    assert "small below 1,024 px²; large from 1,024 px² on" in section.text


def test_what_is_not_known_is_told_and_escaped(section: Element) -> None:
    assert "is gone" in section.text
    page = render(judged())
    assert "<img" not in page
    assert "\u202e" not in page


def test_the_worst_images_list_what_changed() -> None:
    section = parse(render(judged())).by_id("images")
    assert "lost class 7, small, score 0.50: 10 × 20 px at (1, 2)" in section.text
    assert "risen class 7" in section.text
    assert "kept class" not in section.text
    assert "and 1 more" in section.text


def test_both_sets_of_boxes_are_embedded() -> None:
    data = parse(render(judged())).by_id("judgement")
    report = json.loads(data.text)["boxes"]
    (worst,) = report["worst"]
    assert [one["fate"] for one in worst["reference"]] == ["lost", "kept"]
    assert worst["test"][0]["right"] == 11


def test_a_gate_on_boxes_that_fails_is_shown_in_the_matrix() -> None:
    document = parse(render(judged()))
    assert "✗ AP drop 0.093, at most 0.05" in document.by_id("results").text
    failed = [element for element in document.by_id("matrix").all("a") if "fail" in element.classes]
    assert "✗ AP drop 0.093, at most 0.05" in (failed[0].attributes["title"] or "")


def test_a_run_without_boxes_says_how_to_have_them() -> None:
    document = parse(render(judged(boxes=None)))
    assert not [element for element in document.walk() if element.attributes.get("id") == "boxes"]
    assert "does not say how to decode boxes" in document.by_id("questions").text
    problem = BoxReport(
        heads=(), shown_score=0.25, match_iou=0.5, sizes={}, problem="mine:boxes raised KeyError"
    )
    text = parse(render(judged(boxes=problem))).by_id("boxes").text
    assert "The reference has no boxes: mine:boxes raised KeyError" in text


def test_the_long_table_has_boxes() -> None:
    row, unknown = frames.long_table(judged())
    assert (row["boxes"], row["boxes_lost"], row["boxes_new"]) == (200, 2.5, 3)
    assert (row["mean_iou"], row["ap"], row["ap50_drop"]) == (0.8461, 0.7361, -0.01)
    assert list(row["gates_failed"]) == ["AP drop 0.093, at most 0.05"]
    assert (unknown["boxes"], unknown["ap"], unknown["mean_iou"]) == (None, None, None)


def test_cells_that_changed_no_box_are_told_together() -> None:
    kept = changes(0, 200)
    whole = BoxErrors(changes={ALL: kept, "small": kept, "large": kept})
    boxes = CellBoxes(whole=whole, heads={"small": whole})
    same = [
        replace(cell_result(name, SHARED, (head("small"),)), boxes=boxes) for name in ("a", "b")
    ]
    made = judged()
    section = parse(render(replace(made, cells=(*same, *made.cells)))).by_id("boxes")
    assert "2 environments a, bno box lost, new or moved" in section.text
    assert "2.5 of 200" in section.text
    moved = replace(kept, mean_iou=0.99)
    assert not is_unchanged(replace(boxes, whole=replace(whole, changes={ALL: moved})))
    none = replace(kept, reference=0, mean_iou=None)
    assert not is_unchanged(replace(boxes, whole=replace(whole, changes={ALL: none})))
    assert not is_unchanged(CellBoxes(problem="gone"))


def picture() -> str:
    return f"data:image/png;base64,{'A' * 40}"


def test_a_picture_is_drawn_once_with_both_sets_of_boxes() -> None:
    page = render(judged(), {HOSTILE: picture()})
    document = parse(page)
    section = document.by_id("images")
    assert page.count(picture()) == 1
    (drawing,) = [element for element in section.all("svg") if "picture" in element.classes]
    assert drawing.all("use")[0].attributes["href"] == "#picture-0"
    kinds = [element.classes & {"fp32", "gone", "int8"} for element in drawing.all("rect")]
    assert [kind for kind in kinds if kind] == [{"gone"}, {"fp32"}, {"int8"}]
    sides = [element.classes for element in drawing.all("g")]
    assert sides == [{"from-fp32"}, {"from-fp32"}, {"from-int8"}], "each side can be hidden"
    assert "img-src data:;" in page
    assert "\u202e" not in page


def fed(**changes: Any) -> FedImage:
    facts: dict[str, Any] = {"order": "rgb", "width": 320, "height": 320, "low": -1.0, "high": 1.0}
    return FedImage(picture=picture(), **(facts | changes))


def test_beside_a_picture_stands_what_was_fed() -> None:
    def told(image: FedImage) -> str:
        return (
            parse(render(judged(), {HOSTILE: picture()}, fed={HOSTILE: image})).by_id("images").text
        )

    assert "fed 320 × 320 RGB, -1 to 1" in told(fed())
    assert "exchanged" not in told(fed()), "said only where it is so"
    assert "no pixel" not in told(fed())
    assert "BGR was fed, so red and blue are exchanged" in told(fed(order="bgr"))
    assert "3.0 % of its values are no pixel of 0 to 255" in told(fed(clipped=0.03))
    assert "320 × 320 gray" in told(fed(order="gray"))
    assert "channel as red" in told(fed())
    assert "channel as red" not in told(fed(order="gray"))
    assert "0 to 255" in told(fed(low=0.0, high=255.0))
    older = parse(render(judged(), {HOSTILE: picture()})).by_id("images").text
    assert "What was fed is not in this judgement" in older


def test_of_arrays_there_is_no_picture() -> None:
    arrays = replace(judged(), facts={"images": {"arrays": {"input": "x"}}})
    told = parse(render(arrays, {})).by_id("images").text
    assert "its samples are arrays: there is no picture" in told
    assert "not stored" not in told


def test_without_a_picture_the_place_says_why() -> None:
    missing = parse(render(judged(), {})).by_id("images").text
    assert "not stored with this run any more" in missing
    left_out = parse(render(judged())).by_id("images").text
    assert "the pictures were left out" in left_out
    assert "img-src" not in render(judged())
