"""The section `decode`, gates on boxes and labels: what is wrong is told before anything starts."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.unit.experiments import changed, checked, problems, settings, write, wrong
from trt_matrix.config.data import Preprocess
from trt_matrix.core import manifest
from trt_matrix.core.boxes.decoding import Family, Layout
from trt_matrix.core.boxes.registry import STYLES
from trt_matrix.inputs.images import decode as decode_image
from trt_matrix.inputs.images import upright_size
from trt_matrix.judging.box_facts import box_facts
from trt_matrix.planning.boxes import head_gates, shapes_of
from trt_matrix.store.results import Store

YOLO = {"style": "yolov3", "classes": 1}
HEADS: dict[str, Any] = {
    "large": {"stride": 4, "anchors": [[6, 6]]},
    "small": {"stride": 2, "anchors": [[3, 3]]},
}
LABELS = {
    "images": [{"id": index, "file_name": f"{index}.png"} for index in range(2)],
    "annotations": [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [1, 1, 9, 5]}],
    "categories": [{"id": 7}],
}
DECODER = """
import numpy as np

def boxes(outputs):
    assert list(outputs) == ["large", "small"]
    return [[0, 0, 8, 8, 0.9, 0, 1]]

def none(outputs): return []
def wide(outputs): return np.zeros((2, 5))
def words(outputs): return ["left"]
def half(outputs): return [[0, 0, 8, 8, 0.9, 0.5, 0]]
def other(outputs): return [[0, 0, 8, 8, 0.9, 0, 2]]
def flat(outputs): return [[0, 0, 0, 8, 0.9, 0, 0]]
def broken(outputs):
    return outputs["huge"]
def leaves(outputs): raise SystemExit(3)
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = write(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "decoder.py").write_text(DECODER)
    return path


def with_gate(limit: str, value: float = 0.1, **places: Any) -> dict[str, Any]:
    return changed(heads={**HEADS, "small": {**HEADS["small"], "gate": {limit: value}}}, **places)


def test_the_names_of_styles_and_layouts_are_those_of_the_decoder() -> None:
    assert set(Family) < set(STYLES)
    assert set(get_args(manifest.Layout)) == set(Layout)


def test_what_is_recorded(matrix: Path) -> None:
    content = changed(heads=HEADS, decode={**YOLO, "nms_iou": 0.4, "heads": ["small", "large"]})
    assert wrong(matrix, content) == []
    found = checked(matrix).decode
    assert found is not None
    assert [head.head for head in found.decode.heads] == ["large", "small"], "as in heads"
    assert found.decode.heads[0].anchors == ((6, 6),)
    assert (found.decode.image_size, found.decode.nms_iou) == ((16, 16), 0.4)
    assert (
        manifest.RecordedDecode.model_validate_json(found.decode.model_dump_json()) == found.decode
    )


def test_a_run_records_what_judging_again_needs(matrix: Path, tmp_path: Path) -> None:
    assert wrong(matrix, changed(decode={"entry_point": "mine.decoder:boxes"})) == []
    store = Store(tmp_path / "results")
    facts = box_facts(checked(matrix), store.put)
    assert [one.file_name for one in facts["evaluation"]] == ["0.png", "1.png"]
    place = facts["evaluation"][0]
    assert (place.width, place.height, place.inner_width, place.inner_height) == (20, 10, 16, 8)
    assert (place.left, place.top) == (0, 4)
    assert store.path(facts["labels"]).read_bytes() == (matrix.parent / "labels.json").read_bytes()
    assert store.path(facts["decode"].source).read_text() == DECODER


def test_without_decode_nothing_is_recorded(matrix: Path, tmp_path: Path) -> None:
    assert box_facts(checked(matrix), Store(tmp_path / "results").put) == {}


@pytest.mark.parametrize(
    ("decode", "told"),
    [
        ({}, "decode: give a style, or an entry_point"),
        ({**YOLO, "entry_point": "a:b"}, "decode: give a style, or an entry_point"),
        ({"style": "yolov8"}, "decode: yolov8 needs classes"),
        ({"style": "yolo8", "classes": 1}, 'decode.style: "yolo8" is not known here'),
        ({"style": "yolov9", "classes": 1}, 'decode.style: "yolov9" is not known here'),
        ({"entry_point": "a.py"}, "decode.entry_point: 'a.py' is no entry point"),
        ({"entry_point": "../a:b"}, "decode.entry_point: '../a:b' is no entry point"),
        ({"entry_point": "a:b", "bins": 8}, "decode: bins: the function of entry_point decides that"),
        ({**YOLO, "priors": []}, "decode: priors: yolov3 has no such setting, leave it out; it has activation"),
        ({"style": "detr", "classes": 1, "nms_iou": 0.5}, "decode: nms_iou: detr has no such setting"),
        ({"style": "ssd", "classes": 1, "priors": [{"stride": 8, "sizes": [3], "size": 3}]}, "decode.priors[0].size: unknown key; allowed: stride, sizes"),
        ({"style": "ssd", "classes": 1, "priors": [{"stride": 8, "sizes": [3], "max_sizes": [4, 5]}]}, "decode.priors[0]: 2 max_sizes for 1 sizes"),
        ({**YOLO, "together": [["a"]]}, "decode: together: yolov3 knows which heads make a box"),
        ({**YOLO, "nms": 0.5}, "decode.nms: unknown key; allowed: style, classes, category_ids"),
        ({**YOLO, "score_threshold": 2}, "decode.score_threshold: should be less than or equal to 1"),
        ({**YOLO, "match_iou": 0}, "decode.match_iou: should be greater than 0"),
        ({**YOLO, "classes": 0}, "decode.classes: should be greater than or equal to 1"),
        ({**YOLO, "category_ids": [1, 2]}, "decode: category_ids has 2 ids, there are 1 classes"),
        ({**YOLO, "category_ids": [1, 1]}, "decode: category_ids holds an id twice"),
    ],
)  # fmt: skip
def test_the_shape_of_the_section(decode: dict[str, Any], told: str) -> None:
    (problem,) = problems(changed(decode=decode))
    assert problem.startswith(told)


def test_did_you_mean(matrix: Path) -> None:
    (problem,) = problems(changed(decode={**YOLO, "nms_iuo": 0.5}))
    assert "did you mean 'nms_iou'?" in problem
    (problem,) = problems(changed(decode={"style": "yolo-v3", "classes": 1}))
    assert "did you mean 'yolov3'?" in problem
    (problem,) = wrong(matrix, changed(heads=HEADS, decode={**YOLO, "heads": ["smal"]}))
    assert "decode.heads" in problem
    assert "did you mean 'small'?" in problem


@pytest.mark.parametrize(
    ("heads", "decode", "told"),
    [
        (HEADS, {**YOLO, "classes": 2}, "one image's output has shape (6, 4, 4); 7 channels (1 anchor × (5 + 2 classes))"),
        ({**HEADS, "large": {"stride": 8, "anchors": [[6, 6]]}}, YOLO, "2 × 2 cells of stride 8 are expected"),
        ({**HEADS, "large": {"stride": 4}}, YOLO, "head 'large': yolov3 needs anchors; 0 are given"),
        ({**HEADS, "large": {"anchors": [[6, 6]]}}, YOLO, "needs the stride of its cells"),
        (HEADS, {"style": "yolov8", "classes": 2, "bins": 1}, "yolov8 has no anchors"),
        (HEADS, {**YOLO, "layout": "channels_last"}, "in its last axis"),
    ],
)  # fmt: skip
def test_a_decoding_that_does_not_fit_the_outputs(
    matrix: Path, heads: dict[str, Any], decode: dict[str, Any], told: str
) -> None:
    found = wrong(matrix, changed(heads=heads, decode=decode))
    assert told in found[0]
    assert found[0].startswith("decode (line ")


def test_anchors_without_decode(matrix: Path) -> None:
    found = wrong(matrix, changed(heads=HEADS))
    assert all("is for decoding boxes: say in `decode` how" in one for one in found)
    assert len(found) == 2


@pytest.mark.parametrize("limit", ["ap_drop", "ap50_drop", "iou", "lost"])
def test_a_gate_on_boxes_needs_boxes(matrix: Path, limit: str) -> None:
    content = changed(heads={"small": {"gate": {limit: 0.5}}})
    (problem,) = wrong(matrix, content)
    assert problem.startswith(f"heads.small.gate.{limit} (line ")
    assert "needs boxes: say in `decode`" in problem
    (problem,) = wrong(matrix, with_gate(limit, decode={**YOLO, "heads": ["large"]}))
    assert "'small' is not among decode.heads" in problem
    assert wrong(matrix, with_gate(limit, decode=YOLO)) == []


@pytest.mark.parametrize("limit", ["ap_drop", "ap50_drop"])
def test_a_gate_on_ap_needs_labels_with_objects(matrix: Path, limit: str) -> None:
    bare = {"images": "evaluation"}
    (problem,) = wrong(matrix, with_gate(limit, decode=YOLO, data__evaluation=bare))
    assert "needs labels: give data.evaluation.labels" in problem
    (matrix.parent / "labels.json").write_text(json.dumps({**LABELS, "annotations": []}))
    (problem,) = wrong(matrix, with_gate(limit, decode=YOLO))
    assert "needs labelled objects" in problem


def test_gates_on_what_needs_no_labels(matrix: Path) -> None:
    bare = {"images": "evaluation"}
    for limit in ("iou", "lost"):
        assert wrong(matrix, with_gate(limit, decode=YOLO, data__evaluation=bare)) == []
    gates = head_gates(checked(matrix).config)
    assert gates[1] == manifest.HeadGate(head="small", sqnr_db=None, lost=0.1)


@pytest.mark.parametrize("limit", ["ap_drop", "iou", "lost"])
@pytest.mark.parametrize("value", [-0.1, 1.5, "much", True])
def test_limits_are_shares(limit: str, value: Any) -> None:
    (problem,) = problems(with_gate(limit, value, decode=YOLO))
    assert problem.startswith(f"heads.small.gate.{limit}: ")


def test_labels_of_other_classes(matrix: Path) -> None:
    two = {**LABELS, "categories": [{"id": 0}, {"id": 7}]}
    (matrix.parent / "labels.json").write_text(json.dumps(two))
    (problem,) = wrong(matrix, changed(heads=HEADS, decode=YOLO))
    assert "1 classes, but the labels have 2 categories" in problem
    named = {**YOLO, "category_ids": [7]}
    assert wrong(matrix, changed(heads=HEADS, decode=named)) == []
    (problem,) = wrong(matrix, changed(heads=HEADS, decode={**YOLO, "category_ids": [3]}))
    assert "labels hold no category with id 3" in problem


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"image_id": 0, "category_id": 7, "bbox": [1, 1, -3, 4]}, "negative size"),
        ({"image_id": 5, "category_id": 7, "bbox": [1, 1, 3, 4]}, "is no image of the labels"),
        ({"image_id": 0, "category_id": 1, "bbox": [1, 1, 3, 4]}, "is no category of the labels"),
    ],
)
def test_labels_that_cannot_be_evaluated(matrix: Path, annotation: object, told: str) -> None:
    content = json.dumps({**LABELS, "annotations": [annotation]})
    (matrix.parent / "labels.json").write_text(content)
    (problem,) = wrong(matrix, settings())
    assert told in problem
    assert "annotations[0]" in problem


@pytest.mark.parametrize("name", ["boxes", "none", "flat"])
def test_a_decoder_of_the_users_own(matrix: Path, name: str) -> None:
    assert wrong(matrix, changed(decode={"entry_point": f"mine.decoder:{name}"})) == []


@pytest.mark.parametrize(
    ("entry_point", "told"),
    [
        ("mine.gone:boxes", "mine/gone.py: No such file or directory; mine.gone:boxes is looked for there"),
        ("mine.decoder:bxes", "mine/decoder.py has no function 'bxes'; it has boxes, none, wide"),
        ("mine.decoder:wide", "mine.decoder:wide returned shape (2, 5); (n, 7) is expected"),
        ("mine.decoder:words", "returned list, no array of numbers"),
        ("mine.decoder:half", "class or head index that is no whole number"),
        ("mine.decoder:other", "head index outside 0 to 1"),
        ("mine.decoder:broken", "mine.decoder:broken raised KeyError: 'huge' (line 15 of mine/decoder.py)"),
        ("mine.decoder:leaves", "mine.decoder:leaves raised SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_decoder_that_fails_is_named(matrix: Path, entry_point: str, told: str) -> None:
    (problem,) = wrong(matrix, changed(decode={"entry_point": entry_point}))
    assert problem.startswith("decode.entry_point (line ")
    assert told in problem


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def boxes(:", "raised SyntaxError: invalid syntax (decoder.py, line 1) (line 1 of"),
        ("import nowhere_to_be_found", "raised ModuleNotFoundError: No module named"),
        ("raise OSError", "raised OSError:  (line 1 of"),
        ("\0", "raised"),
        ("boxes = 3", "has no function 'boxes'; it has none"),
    ],
)
def test_a_file_that_cannot_be_run(matrix: Path, source: str, told: str) -> None:
    (matrix.parent / "mine" / "decoder.py").write_text(source)
    (problem,) = wrong(matrix, changed(decode={"entry_point": "mine.decoder:boxes"}))
    assert told in problem


def test_a_decoder_cannot_change_what_it_is_given(matrix: Path) -> None:
    source = "def boxes(outputs):\n    outputs['large'][:] = 1\n    return []\n"
    (matrix.parent / "mine" / "decoder.py").write_text(source)
    assert wrong(matrix, changed(decode={"entry_point": "mine.decoder:boxes"})) == []


@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        ((1, 6, 4, 4), (6, 4, 4)),
        (("batch", 6, 4, 4), (6, 4, 4)),
        ((None, 6, 4, 4), (6, 4, 4)),
        ((25200, 85), (25200, 85)),
        ((1, 6, "h", "w"), None),
        ((1, 6, 0, 4), None),
        ((5,), (5,)),
        (None, None),
    ],
)
def test_shapes_are_those_that_a_job_stores(shape: Any, stored: object) -> None:
    assert shapes_of({"a": shape}) == {"a": stored}


# Sizes of images


@given(orientation=st.integers(0, 9), width=st.integers(1, 9), height=st.integers(1, 9))
def test_an_images_size_is_that_of_the_decoded_one(
    tmp_path_factory: pytest.TempPathFactory, orientation: int, width: int, height: int
) -> None:
    path = tmp_path_factory.mktemp("sizes") / "one.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path, exif=exif)
    assert upright_size(path) == decode_image(path, Preprocess()).size


@pytest.mark.parametrize("value", ["yolov8", False, ["none"], "None"])
def test_what_is_neither_none_nor_a_section_says_what_is(value: Any) -> None:
    (problem,) = problems(changed(decode=value))
    assert problem.startswith("decode: ")
    assert "is neither none, where the network makes no boxes" in problem
    assert "{style: yolov8, classes: 80}" in problem


def test_a_network_that_makes_no_boxes_has_nothing_that_needs_them(matrix: Path) -> None:
    heads = {"large": {"role": "boxes", "gate": {"ap_drop": 0.1}}, "small": {}}
    content = changed(
        decode="none", gate={"lost": 0.01}, heads=heads, data__evaluation__labels="labels.json"
    )
    found = wrong(matrix, content)
    told = "`decode: none` says that the network makes none; leave one of the two out"
    assert len([one for one in found if told in one]) == 4
    for where in (
        "gate.lost (",
        "heads.large.gate.ap_drop (",
        "heads.large.role (",
        "data.evaluation.labels (",
    ):
        assert any(one.startswith(where) for one in found), (where, found)


def test_labels_are_not_asked_for_where_they_are_refused(matrix: Path, tmp_path: Path) -> None:
    unlabelled = {"images": changed()["data"]["evaluation"]["images"]}
    given = changed(decode="none", gate={"ap_drop": 0.01}, data__evaluation=unlabelled)
    (problem,) = wrong(matrix, given)
    assert problem.startswith("gate.ap_drop")
    assert "leave one of the two out" in problem


def test_none_is_recorded_and_nothing_of_boxes_beside_it(matrix: Path, tmp_path: Path) -> None:
    unlabelled = {
        key: one for key, one in settings()["data"]["evaluation"].items() if key != "labels"
    }
    assert wrong(matrix, changed(decode="none", data__evaluation=unlabelled)) == []
    found = checked(matrix)
    assert (found.boxless, found.decode, found.config.decoding) == (True, None, None)
    assert box_facts(found, Store(tmp_path / "results").put) == {}
    assert wrong(matrix, changed(decode=None)) == []
    assert not checked(matrix).boxless
