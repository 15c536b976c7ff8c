"""Boxes of stored outputs: decoded once, kept, put back into the image; and a whole run with them."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import run_offline
from tests.unit.new_records import new_manifest
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.detection import detect_all
from trt_matrix.core.boxes.evidence import BoxEvidence, OutputGoneError, Outputs
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.manifest import (
    DecodedHead,
    EvaluationImage,
    HeadGate,
    Manifest,
    RecordedDecode,
)
from trt_matrix.core.records import DerivedObject, StoredObject
from trt_matrix.errors import ExitCode
from trt_matrix.judging import detections
from trt_matrix.judging.detections import box_evidence
from trt_matrix.judging.outcome import Outcome
from trt_matrix.judging.run import judge_again
from trt_matrix.store.results import Store, object_of
from trt_matrix.store.sealing import unsealed

CENTRE_40 = np.array([[40.0, 40.0, 16.0, 8.0, 0.9], [90.0, 90.0, 4.0, 4.0, 0.001]], np.float32)
"""Two boxes of one class in pixels of the input: centre, width, height, score; the second too faint."""

LABELS = {
    "images": [{"id": 4, "file_name": "one.png"}, {"id": 9, "file_name": "two.png"}],
    "annotations": [{"id": 1, "image_id": 4, "category_id": 1, "bbox": [4, 2, 4, 2]}],
    "categories": [{"id": 1}],
}
PLACES = (
    # A quarter of the size, moved by 24 pixels; and as it is.
    EvaluationImage(file_name="one.png", width=100, height=50, inner_width=400, inner_height=200,
                    left=16, top=28),
    EvaluationImage(file_name="two.png", width=100, height=100, inner_width=100, inner_height=100,
                    left=0, top=0),
)  # fmt: skip
DECODE = RecordedDecode(
    heads=(DecodedHead(head="boxes"),),
    image_size=(400, 400),
    style="yolov8-decoded",
    layout="boxes",
)


def manifest(**changes: Any) -> Manifest:
    heads = (HeadGate(head="boxes", sqnr_db=None),)
    fields = {"heads": heads, "images": 2, "decode": DECODE, "evaluation": PLACES} | changes
    return new_manifest(**fields)


def put(store: Store, array: np.ndarray[Any, Any], name: str = "array") -> StoredObject:
    with store.workspace() as folder:
        np.save(folder / f"{name}.npy", array)
        return store.adopt(folder / f"{name}.npy")


def outputs(store: Store, shift: float = 0.0) -> Outputs:
    moved = CENTRE_40 + np.array([shift, 0, 0, 0, 0], np.float32)
    return {"boxes": put(store, np.stack([moved, moved]))}


def evidence(store: Store, **changes: Any) -> BoxEvidence:
    found = box_evidence(store, manifest(**changes))
    assert found is not None
    return found


def test_boxes_are_in_pixels_of_their_images(store: Store) -> None:
    boxes, two = evidence(store).boxes_of(outputs(store))
    assert boxes.corners.tolist() == [[4, 2, 8, 4]]
    assert two.corners.tolist() == [[32, 36, 48, 44]]
    assert boxes.scores.tolist() == pytest.approx([0.9])


def test_boxes_are_decoded_once_for_their_contents(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = outputs(store), outputs(store, shift=2)
    first = [evidence(store).boxes_of(outputs) for outputs in asked]
    changes = evidence(store).changes_of(asked[1], asked[0])

    def never(*_: object) -> None:
        raise AssertionError("it is known")

    monkeypatch.setattr(detections, "detect_all", never)
    monkeypatch.setattr(detections, "compare_all", never)
    again = [evidence(store).boxes_of(outputs) for outputs in asked]
    for all_boxes, other in zip(first, again, strict=True):
        for boxes, same in zip(all_boxes, other, strict=True):
            assert np.array_equal(boxes.corners, same.corners)
            assert np.array_equal(boxes.heads, same.heads)
    assert np.array_equal(evidence(store).changes_of(asked[1], asked[0]), changes)
    changed = evidence(store, decode=DECODE.model_copy(update={"score_threshold": 0.1}))
    with pytest.raises(AssertionError, match="it is known"):
        changed.boxes_of(asked[0])


def test_another_working_score_decodes_nothing_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, test = outputs(store), outputs(store, shift=2)
    assert evidence(store).changes_of(test, reference)["kept"].sum() == 2
    monkeypatch.setattr(detections, "detect_all", None)
    strict = DECODE.model_copy(update={"match_iou": 0.9})
    assert evidence(store, decode=strict).changes_of(test, reference)["kept"].sum() == 0


def test_an_output_that_is_gone_is_named_but_what_was_made_of_it_stays(store: Store) -> None:
    reference, test = outputs(store), outputs(store, shift=2)
    found = evidence(store, labels=store.put(json.dumps(LABELS).encode(), ".json"))
    changes = found.changes_of(test, reference)
    store.path(test["boxes"]).unlink()
    assert np.array_equal(found.changes_of(test, reference), changes)
    assert found.precision_of is not None
    with pytest.raises(OutputGoneError, match="the output of boxes is stored no more"):
        found.precision_of(test)


def test_a_truncated_output_is_gone(store: Store) -> None:
    test = outputs(store)
    path = store.path(test["boxes"])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(OutputGoneError):
        evidence(store).boxes_of(test)


def test_outputs_of_other_images_are_no_boxes(store: Store) -> None:
    one_image = {"boxes": put(store, CENTRE_40[None])}
    with pytest.raises(DecodeError, match="the run has 2"):
        evidence(store).boxes_of(one_image)
    other_shape = {"boxes": put(store, np.zeros((2, 3, 9), np.float32))}
    with pytest.raises(DecodeError, match="5 channels"):
        evidence(store).boxes_of(other_shape)


def test_ap_is_that_of_the_stored_labels(store: Store) -> None:
    found = evidence(store, labels=store.put(json.dumps(LABELS).encode(), ".json"))
    assert found.precision_of is not None
    exact, moved = (found.precision_of(outputs(store, shift)) for shift in (0.0, 3.0))
    # The box of the second image is a false alarm; of equal scores the first image's comes first.
    assert exact["all"].ap == pytest.approx(1)
    # A shift of 3 of 16 pixels: IoU 13 / 19, right at thresholds 0.50 to 0.65, four of ten.
    assert moved["all"].ap == pytest.approx(0.4)
    assert exact["all"].objects == 1
    known = found.precision_of(outputs(store))
    assert known == exact


def test_draws_are_made_once_and_outlive_the_outputs(store: Store) -> None:
    labels = store.put(json.dumps(LABELS).encode(), ".json")
    told: list[str] = []
    made = []
    for _ in range(2):
        found = box_evidence(store, manifest(labels=labels), lambda _, what: told.append(what))
        assert found is not None
        assert found.draws_of is not None
        made.append(found.draws_of(outputs(store)))
    assert told == ["how sure the average precision is, 1"]
    assert np.array_equal(made[0], made[1], equal_nan=True)
    # The second image is labelled with nothing: draws of it alone have no AP.
    assert 0.1 < np.isnan(made[0][:, 0]).mean() < 0.4
    assert np.nanmin(made[0]) == np.nanmax(made[0]) == 1


def test_labels_that_are_gone_or_do_not_name_the_images(store: Store) -> None:
    gone = object_of(b"{}", ".json")
    found = evidence(store, labels=gone)
    assert found.precision_of is not None
    with pytest.raises(OutputGoneError, match="the labels stored with the run are gone"):
        found.precision_of(outputs(store))
    other = store.put(json.dumps({**LABELS, "images": []}).encode(), ".json")
    found = evidence(store, labels=other)
    assert found.precision_of is not None
    with pytest.raises(LabelsError, match="no entry for one.png, two.png"):
        found.precision_of(outputs(store))


def test_a_decoder_of_the_users_own_is_the_stored_one(store: Store) -> None:
    source = b"def boxes(outputs): return [[0, 0, 8, 8, .9, 3, 0]] * (len(outputs['boxes']) - 1)\n"
    stored = store.put(source, ".py")
    decode = DECODE.model_copy(
        update={"style": None, "entry_point": "mine:boxes", "source": stored}
    )
    boxes, _ = evidence(store, decode=decode).boxes_of(outputs(store))
    assert boxes.classes.tolist() == [3]
    store.path(stored).unlink()
    with pytest.raises(
        OutputGoneError, match="the file of mine:boxes, stored with the run, is gone"
    ):
        evidence(store, decode=decode).boxes_of(outputs(store, shift=1))


def test_an_old_run_has_no_boxes(store: Store) -> None:
    old = manifest().model_dump(mode="json", exclude={"decode", "labels", "evaluation"})
    assert box_evidence(store, Manifest.model_validate_json(json.dumps(old))) is None


def test_an_image_without_boxes_keeps_its_place() -> None:
    empty = Boxes(
        np.empty((0, 4)), np.empty(0, np.float32), np.empty(0, np.intp), np.empty(0, np.intp)
    )
    full = next(detect_all({"a": np.zeros((1, 1), np.float32)}, lambda _: one_box(), ["a"]))
    sides = [empty, full, empty, empty, full]
    again = detections._split(detections._table(iter(sides)), len(sides))
    assert [len(boxes) for boxes in again] == [0, 1, 0, 0, 1]
    assert [len(boxes) for boxes in detections._split(detections._table(iter([empty])), 1)] == [0]
    assert detections._split(detections._table(iter([])), 0) == ()


def one_box() -> Boxes:
    return Boxes(
        np.array([[0.0, 0.0, 2.0, 3.0]]),
        np.array([0.5], np.float32),
        np.array([1], np.intp),
        np.array([0], np.intp),
    )


# A whole run


MATRIX = quick(
    heads={
        "large": {"stride": 4, "anchors": [[6, 6]], "gate": {"lost": 0.0, "iou": 0.999}},
        "small": {"stride": 2, "anchors": [[3, 3]], "gate": {"sqnr_db": 1, "ap_drop": 1.0}},
    },
    decode={"style": "yolov3", "classes": 1, "shown_score": 0.2},
    data={
        "calibration": {"images": "images"},
        "evaluation": {"images": "images", "labels": "labels.json"},
    },
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """Where the results of a run with boxes are, and what it told."""
    folder = tmp_path_factory.mktemp("boxes")
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    noise_images(folder, 3, images=3, height=24)
    labels = {
        "images": [{"id": index, "file_name": f"{index}.png"} for index in range(3)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 1}],
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "matrix.yaml").write_text(yaml.safe_dump(dict(MATRIX)))
    results = folder / "results"
    outcome = run_offline(folder / "matrix.yaml", results)
    return results, outcome


def rows(results: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (results / "latest" / "results.csv").open() as stream:
        return {(row["pass_name"], row["head"]): row for row in csv.DictReader(stream)}


def test_a_run_tells_what_became_of_the_boxes(finished: tuple[Path, Outcome]) -> None:
    results, outcome = finished
    found = rows(results)
    exact, int8 = found["fp32", "large"], found["int8-shared-minmax", "large"]
    assert float(exact["boxes"]) > 0
    assert (float(exact["boxes_lost"]), float(exact["boxes_new"])) == (0, 0)
    assert float(exact["mean_iou"]) == pytest.approx(1)
    assert float(int8["mean_iou"]) < 0.999
    assert "mean IoU" in int8["gates_failed"]
    assert found["int8-shared-minmax", "small"]["passed"] == "True"
    assert outcome.exit_code(strict=False) is ExitCode.GATE_FAILED
    assert "Gate failed, mean IoU at least 0.999: " in outcome.judgement.sentences["large"]
    report = (results / "latest" / "report.html").read_text()
    assert "Lost, new and moved boxes by head" in report
    assert '"worst":[{"cells":[' in report


def test_a_finished_run_is_judged_again_without_its_files(
    finished: tuple[Path, Outcome], tmp_path: Path
) -> None:
    results, outcome = finished
    shutil.copytree(results, tmp_path / "results", symlinks=True)
    again = judge_again("latest", tmp_path / "results")
    assert again.judgement.boxes == outcome.judgement.boxes
    assert rows(tmp_path / "results") == rows(results)


def test_what_takes_time_is_told_once_for_what_is_not_known_yet(store: Store) -> None:
    told: list[tuple[str, str]] = []
    for _ in range(2):
        found = box_evidence(store, manifest(), lambda *stage: told.append(stage))
        assert found is not None
        found.changes_of(outputs(store, 1.0), outputs(store))
    assert told == [
        ("report", "boxes of outputs, 1"),
        ("report", "boxes of outputs, 2"),
        ("report", "boxes against the reference's, 1"),
    ]


def test_outputs_that_are_gone_are_told_and_the_rest_is_judged(
    finished: tuple[Path, Outcome], tmp_path: Path
) -> None:
    results, _ = finished
    shutil.copytree(results, tmp_path / "results", symlinks=True)
    store = Store(tmp_path / "results")
    run = store.open_run("latest")
    int8 = next(record for record in run.records() if "int8-shared" in record.cell)
    store.path(int8.measurements[0].outputs["small"]).unlink(
        missing_ok=True
    )  # not kept once it is judged
    # What was made of it is gone, too; the sums of errors are not.
    for fact in (store.root / "facts" / "object").iterdir():
        made = store.root / "objects" / unsealed(DerivedObject, fact.read_bytes()).file
        if made.exists() and (made.suffix == ".json" or b"corners" in made.read_bytes()[:200]):
            made.unlink()
    for path in (store.root / "objects").glob("*.npy"):
        if b"score_abs" in path.read_bytes()[:400]:
            path.unlink()
    again = judge_again("latest", tmp_path / "results")
    told = again.text()
    assert "boxes: not known in " in told
    assert "is stored no more: `trt-matrix run` measures it again" in told
    by_cell = {result.cell.id: result for result in again.judgement.cells}
    assert by_cell[int8.cell].heads[0].error.sqnr_db is not None
    assert by_cell[int8.cell].heads[0].passed is False, "a gate that cannot be judged"
    exact = next(result for result in again.judgement.cells if result.cell.pass_.name == "fp32")
    assert exact.heads[0].boxes is not None
    report = (tmp_path / "results" / "latest" / "report.html").read_text()
    assert "is stored no more" in report
