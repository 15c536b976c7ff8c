"""What became of the boxes of each cell, on boxes placed by hand; no output is decoded here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.new_records import new_manifest, new_measurement, new_record
from tests.unit.passes import SHARED
from trt_matrix.core.box_judge import judge_boxes
from trt_matrix.core.boxes.average_precision import average_precision, read_labels
from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.evidence import BoxEvidence, OutputGoneError, Outputs, matching_of
from trt_matrix.core.boxes.matching import Sums, compare_all
from trt_matrix.core.boxes.nms import Boxes, Floats, concatenate
from trt_matrix.core.boxes.precision_draws import interval, precision_draws
from trt_matrix.core.boxes.results import ALL, CellBoxes, Fate
from trt_matrix.core.cells import Cell, Pass
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.manifest import DecodedHead, EvaluationImage, HeadGate, RecordedDecode
from trt_matrix.core.records import Measurement, Record, StoredObject

HEADS = ("near", "far")
IMAGES = 3
SIDE = {"near": 100.0, "far": 20.0}
"""Sides of boxes: large and small ones."""


def box(head: str, x: float, score: float = 0.9) -> Boxes:
    side = SIDE[head]
    return Boxes(
        np.array([[x, 0, x + side, side]]),
        np.array([score], np.float32),
        np.array([0], np.intp),
        np.array([HEADS.index(head)], np.intp),
    )


class World:
    """Contents by name: each is the list of boxes of one head in every image."""

    def __init__(self) -> None:
        self.contents: dict[str, list[list[Boxes]]] = {}
        self.asked: Counter[str] = Counter()
        self.records: list[Record] = []
        self.gone: set[str] = set()
        self.undrawn: set[str] = set()
        """Contents whose AP is known and whose draws are not."""
        self.reference = {
            "near": self.content("near", [[box("near", 0)]] * IMAGES),
            "far": self.content("far", [[box("far", 300)]] * IMAGES),
        }

    def content(self, name: str, boxes: Sequence[Sequence[Boxes]]) -> StoredObject:
        self.contents[name] = [list(all_boxes) for all_boxes in boxes]
        return StoredObject(sha256=name, suffix=".npy", size_bytes=1)

    def cell(self, environment: str, *repeats: Outputs, pass_: Pass = SHARED) -> str:
        cell = Cell(environment=environment, device="cpu", pass_=pass_)
        measurements = tuple(
            measurement({**self.reference, **outputs}, number)
            for number, outputs in enumerate(repeats)
        )
        self.records.append(new_record(environment, pass_, measurements))
        return cell.id

    def boxes(self, outputs: Outputs) -> tuple[Boxes, ...]:
        names = [outputs[head].sha256 for head in HEADS]
        if self.gone & set(names):
            raise OutputGoneError(f"the stored output of {sorted(self.gone & set(names))} is gone")
        if "broken" in names:
            raise DecodeError("mine.decoder:boxes raised KeyError")
        self.asked["+".join(names)] += 1
        return tuple(
            concatenate([box for name in names for box in self.contents[name][image]])
            for image in range(IMAGES)
        )

    def draws(self, outputs: Outputs) -> Floats:
        if self.undrawn & {output.sha256 for output in outputs.values()}:
            raise OutputGoneError
        boxes = dict(enumerate(self.boxes(outputs)))
        return precision_draws(read_labels(coco(), range(IMAGES)), boxes)

    def evidence(self, *, labelled: bool = True) -> Evidence:
        decode = RecordedDecode(
            heads=tuple(DecodedHead(head=head) for head in HEADS),
            image_size=(640, 640),
            style="yolov8-decoded",
        )
        labels = read_labels(coco(), range(IMAGES))

        def changes(test: Outputs, reference: Outputs) -> Sums:
            return compare_all(
                self.boxes(reference), self.boxes(test), len(HEADS), matching_of(decode)
            )

        boxes = BoxEvidence(
            decode=decode,
            images=[place(f"{index}.png") for index in range(IMAGES)],
            boxes_of=self.boxes,
            changes_of=changes,
            precision_of=(
                lambda outputs: average_precision(labels, dict(enumerate(self.boxes(outputs))))
            )
            if labelled
            else None,
            draws_of=self.draws if labelled else None,
        )
        manifest = new_manifest(
            baseline="new",
            heads=tuple(HeadGate(head=head, sqnr_db=None) for head in HEADS),
            images=IMAGES,
            cells=tuple(record.cell for record in self.records),
            reference=measurement(self.reference, 0),
        )
        cells = [record.planned() for record in self.records]
        return Evidence(manifest, cells, self.records, no_sums, boxes)

    def judged(self, **options: bool) -> Mapping[str, CellBoxes]:
        return judge_boxes(self.evidence(**options)).cells


def no_sums(y: StoredObject, r: StoredObject) -> Any:
    raise AssertionError("boxes need no sums")


def measurement(outputs: Outputs, repeat: int) -> Measurement:
    return new_measurement(fingerprint=str(repeat), name="pass", repeat=repeat, outputs=outputs)


def place(name: str) -> EvaluationImage:
    return EvaluationImage(
        file_name=name, width=640, height=640, inner_width=640, inner_height=640, left=0, top=0
    )


def coco() -> dict[str, Any]:
    """The objects are exactly where the reference's boxes are."""
    boxes = [[0, 0, 100, 100], [300, 0, 20, 20]]
    return {
        "images": [{"id": index} for index in range(IMAGES)],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": 2 * index + number + 1, "image_id": index, "category_id": 1, "bbox": bbox}
            for index in range(IMAGES)
            for number, bbox in enumerate(boxes)
        ],
    }


@pytest.fixture
def world() -> World:
    return World()


def test_a_cell_like_the_reference_changes_nothing(world: World) -> None:
    cell = world.cell("new", {})
    boxes = world.judged()[cell]
    assert boxes.problem is None
    assert boxes.whole is not None
    assert boxes.whole.changes[ALL].lost == 0
    assert boxes.whole.changes[ALL].mean_iou == 1
    assert boxes.whole.precision[ALL].ap == pytest.approx(1)
    assert boxes.whole.ap_drop == 0
    assert {head: errors.changes[ALL].reference for head, errors in boxes.heads.items()} == {
        "near": 3,
        "far": 3,
    }


def test_lost_boxes_count_for_their_head_and_size(world: World) -> None:
    lost = world.content("lost", [[], [box("far", 300)], [box("far", 302)]])
    cell = world.cell("new", {"far": lost})
    boxes = world.judged()[cell]
    assert boxes.whole is not None
    far, near = boxes.heads["far"].changes[ALL], boxes.heads["near"].changes[ALL]
    assert (far.reference, far.lost, far.kept) == (3, 1, 2)
    assert far.lost_share == pytest.approx(1 / 3)
    assert far.mean_iou == pytest.approx((1 + 18 / 22) / 2)
    assert (near.lost, near.mean_iou) == (0, 1)
    by_size = {size: change.lost for size, change in boxes.whole.changes.items()}
    assert by_size == {"all": 1, "small": 1, "medium": 0, "large": 0}


def test_ap_of_a_head_is_its_own(world: World) -> None:
    nothing = world.content("nothing", [[]] * IMAGES)
    moved = world.content("moved", [[box("near", 20)]] * IMAGES)
    cell = world.cell("new", {"far": nothing, "near": moved})
    boxes = world.judged()[cell]
    assert boxes.whole is not None
    assert boxes.whole.ap_drop is not None
    far, near = boxes.heads["far"], boxes.heads["near"]
    assert far.precision["large"].ap == pytest.approx(1), "near is the reference's here"
    assert near.precision["small"].ap == pytest.approx(1), "and far here"
    assert far.precision["small"].ap == 0
    # IoU 80 / 120: right at thresholds 0.50 to 0.65, four of ten.
    assert near.precision["large"].ap == pytest.approx(0.4)
    assert near.ap50_drop == pytest.approx(0)
    assert boxes.whole.ap_drop > max(far.ap_drop or 0, near.ap_drop or 0)


def test_without_labels_there_is_no_ap(world: World) -> None:
    cell = world.cell("new", {"far": world.content("lost", [[]] * IMAGES)})
    boxes = world.judged(labelled=False)[cell]
    assert boxes.whole is not None
    assert (boxes.whole.precision, boxes.whole.ap_drop) == ({}, None)
    assert boxes.heads["far"].changes[ALL].lost == 3


def test_repeats_are_averaged(world: World) -> None:
    some = world.content("some", [[], [box("far", 300)], [box("far", 300)]])
    none = world.content("none", [[]] * IMAGES)
    cell = world.cell("new", {"far": some}, {"far": none})
    far = world.judged()[cell].heads["far"]
    assert (far.changes[ALL].reference, far.changes[ALL].lost) == (3, 2)
    alone = [world.cell(name, {"far": content}) for name, content in (("a", some), ("b", none))]
    all_boxes = world.judged()
    of_each = [all_boxes[one].heads["far"].precision[ALL].ap or 0 for one in alone]
    assert far.precision[ALL].ap == pytest.approx(np.mean(of_each))
    assert 0 < of_each[1] < of_each[0] < 1


def test_an_ap_has_an_interval_and_its_drop_a_paired_one(world: World) -> None:
    some = world.content("some", [[], [box("far", 300)], [box("far", 300)]])
    cell = world.cell("new", {"far": some})
    same = world.cell("same", {})
    judged = judge_boxes(world.evidence())
    far = judged.cells[cell].heads["far"]
    assert set(far.intervals) == {"ap", "ap50", "ap_drop", "ap50_drop"}
    low, high = far.intervals["ap_drop"]
    assert low < (far.ap_drop or 0) < high
    # Any of the three images may be taken alone, three times.
    assert (low, high) == pytest.approx((0, 0.5), abs=0.01)
    assert judged.cells[same].heads["far"].intervals["ap_drop"] == (0, 0), "whichever images"
    assert interval(judged.draws[cell, "far"][:, 0]) == far.intervals["ap"]


def test_repeats_that_differ_widen_the_interval(world: World) -> None:
    far = {name: world.content(name, [[box("far", 300)] if name == "all" else []] * IMAGES)
           for name in ("all", "none")}  # fmt: skip
    steady = world.cell("steady", {"far": far["all"]}, {"far": far["all"]})
    moody = world.cell("moody", {"far": far["all"]}, {"far": far["none"]})
    found = {
        cell: boxes.heads["far"].intervals["ap_drop"] for cell, boxes in world.judged().items()
    }
    assert found[steady] == (0, 0)
    assert found[moody] == pytest.approx((0, 0.5), abs=0.01)


def test_an_ap_whose_draws_cannot_be_made_any_more_has_no_interval(world: World) -> None:
    """A run of before knows its AP; its outputs may be gone."""
    world.undrawn = {"moved"}
    cell = world.cell("new", {"far": world.content("moved", [[box("far", 303)]] * IMAGES)})
    boxes = world.judged()[cell]
    assert boxes.problem is None
    assert boxes.heads["far"].ap_drop is not None
    assert boxes.heads["far"].intervals == {}
    assert boxes.heads["near"].intervals["ap_drop"] == (0, 0)


def test_identical_outputs_are_compared_once(world: World) -> None:
    far = world.content("moved", [[box("far", 303)]] * IMAGES)
    for environment in ("a", "b", "c"):
        world.cell(environment, {"far": far}, {"far": far})
    world.judged()
    assert world.asked["near+moved"] == 5, (
        "once for changes, those without an area, precision, its draws, the images"
    )


def test_what_is_not_known_of_one_cell_spoils_no_other(world: World) -> None:
    bad = world.content("broken", [])
    gone = world.content("gone", [[]] * IMAGES)
    world.gone = {"gone"}
    cells = [
        world.cell("bad", {"far": bad}),
        world.cell("gone", {"near": gone}),
        world.cell("good", {}),
    ]
    all_boxes = world.judged()
    assert all_boxes[cells[0]].problem == "mine.decoder:boxes raised KeyError"
    assert all_boxes[cells[0]].heads == {}
    assert all_boxes[cells[1]].problem == "the stored output of ['gone'] is gone"
    assert all_boxes[cells[2]].problem is None


def test_a_reference_without_boxes_is_said_once(world: World) -> None:
    world.cell("new", {})
    world.gone = {"near"}
    judged = judge_boxes(world.evidence())
    assert judged.cells == {}
    assert judged.report is not None
    assert judged.report.problem == "the stored output of ['near'] is gone"


def test_a_run_that_does_not_decode_has_no_boxes(world: World) -> None:
    world.cell("new", {})
    judged = judge_boxes(replace(world.evidence(), boxes=None))
    assert (judged.report, judged.cells) == (None, {})


def test_the_worst_images_come_first_with_both_sets_of_boxes(world: World) -> None:
    far = world.content(
        "far-int8",
        [[box("far", 304)], [box("far", 300), box("far", 500)], [box("far", 400), box("far", 500)]],
    )
    cells = [world.cell(name, {"far": far}) for name in ("a", "b")]
    report = judge_boxes(world.evidence()).report
    assert report is not None
    assert [image.file_name for image in report.worst] == ["2.png", "1.png"]
    worst = report.worst[0]
    assert worst.cells == tuple(cells), "the same boxes stand once"
    assert worst.heads == ("far",)
    assert worst.changed == 3
    assert [(box.head, box.fate) for box in worst.reference] == [
        ("near", Fate.KEPT),
        ("far", Fate.LOST),
    ]
    assert [(box.left, box.fate) for box in worst.test] == [
        (0, Fate.KEPT),
        (400, Fate.NEW),
        (500, Fate.NEW),
    ]
    assert worst.test[0].iou == 1
    assert worst.test[1].iou is None


def test_faded_and_risen_boxes_are_told_apart(world: World) -> None:
    far = world.content(
        "faded", [[box("far", 300, 0.1)], [box("far", 300, 0.1), box("far", 500)], []]
    )
    world.cell("new", {"far": far})
    report = judge_boxes(world.evidence()).report
    assert report is not None
    fates = {image.file_name: [box.fate for box in image.reference] for image in report.worst}
    assert fates == {"1.png": [Fate.KEPT, Fate.FADED], "0.png": [Fate.KEPT, Fate.FADED]}


def test_an_image_without_any_box(world: World) -> None:
    world.reference = {
        head: world.content(f"empty-{head}", [[]] * IMAGES) for head in ("near", "far")
    }
    far = world.content("ghost", [[box("far", 1)], [], []])
    cell = world.cell("new", {"far": far})
    judged = judge_boxes(world.evidence())
    changes = judged.cells[cell].heads["far"].changes[ALL]
    assert (changes.lost_share, changes.new_share, changes.new) == (None, None, 1)
    assert judged.report is not None
    assert [box.fate for box in judged.report.worst[0].test] == [Fate.NEW]


def test_images_of_boxes_that_are_gone_are_left_out(world: World) -> None:
    """Changes were counted by an earlier judgement, and are known; the boxes are not."""
    far = world.content("moved", [[box("far", 303)]] * IMAGES)
    cell = world.cell("new", {"far": far})
    evidence = world.evidence()
    assert evidence.boxes is not None
    kept = {}
    for outputs in (world.reference, {**world.reference, "far": far}):
        kept[outputs["far"].sha256] = evidence.boxes.changes_of(outputs, world.reference)

    def gone(outputs: Outputs) -> Sequence[Boxes]:
        raise OutputGoneError("gone")

    boxes = replace(
        evidence.boxes,
        boxes_of=gone,
        changes_of=lambda test, _: kept[test["far"].sha256],
        precision_of=None,
    )
    judged = judge_boxes(replace(evidence, boxes=boxes))
    assert judged.cells[cell].heads["far"].changes[ALL].kept == 3
    assert judged.report is not None
    assert judged.report.worst == ()
