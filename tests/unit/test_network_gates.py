"""Gates on all heads together and on every precision, from judged boxes to exit code and reports.

A cell can lose every box while each head, put alone into the reference's outputs, loses none: its
boxes need two outputs, and either of the reference's saves them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from experiments import changed, checked, config, problems, write, wrong

from tests.unit.test_box_judge import FP32, HEADS, IMAGES, SHARED, World, box, coco
from trt_matrix.core.answers.gate_sentences import gates_sentence, network_gates_sentence
from trt_matrix.core.answers.rows import HeadRow
from trt_matrix.core.boxes.average_precision import average_precision, read_labels
from trt_matrix.core.boxes.evidence import OutputGoneError, Outputs
from trt_matrix.core.boxes.matching import Sums
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.cells import Pass, Precision, Status
from trt_matrix.core.changes import changes
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.judge import judge
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.manifest import Gate, HeadGate, Manifest
from trt_matrix.core.metrics import SUMS
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.errors import ExitCode
from trt_matrix.judging.outcome import Outcome
from trt_matrix.planning.boxes import head_gates, network_gate
from trt_matrix.report.frames import long_table
from trt_matrix.report.junit import junit
from trt_matrix.report.summary import summary

FP16 = Pass(precision=Precision.FP16)
BF16 = Pass(precision=Precision.BF16)
LOSES_NONE = Gate(lost=0.005)
YOLO = {"style": "yolov8-decoded", "classes": 2}


def fine(y: Any, r: Any) -> Any:
    """Sums per image of an output that keeps 30 dB."""
    one = np.zeros(IMAGES, SUMS)
    one["n"], one["r2"], one["y2"], one["ry"] = 100, 100.0, 100.0, 100.0
    one["d2"] = 0.0 if y == r else 0.1
    return one


class Together(World):
    """One function makes a box of both heads; a box is gone where both outputs are damaged."""

    together: tuple[tuple[str, ...], ...] | None = None

    def damaged(self, head: str) -> Any:
        return self.content(f"damaged-{head}", [[]] * IMAGES)

    def boxes(self, outputs: Outputs) -> tuple[Boxes, ...]:
        lost = all(outputs[head].sha256.startswith("damaged") for head in HEADS)
        boxes = box("near", 0)
        return ((boxes.take(np.zeros(0, np.intp)) if lost else boxes),) * IMAGES

    def evidence(self, *, labelled: bool = True) -> Evidence:
        evidence = super().evidence(labelled=labelled)
        assert evidence.boxes is not None
        decode = evidence.boxes.decode.model_copy(
            update={"style": None, "entry_point": "mine:boxes", "together": self.together}
        )
        return replace(evidence, sums_of=fine, boxes=replace(evidence.boxes, decode=decode))


def judged(
    world: World,
    gate: Gate | None = None,
    heads: Mapping[str, HeadGate] | None = None,
    **changed_evidence: Any,
) -> Judgement:
    evidence = world.evidence()
    gates = tuple((heads or {}).get(head, HeadGate(head=head)) for head in HEADS)
    manifest = evidence.manifest.model_copy(update={"gate": gate, "heads": gates})
    return judge(replace(evidence, manifest=manifest, sums_of=fine, **changed_evidence))


def all_lost(pass_: Pass = SHARED) -> Together:
    world = Together()
    world.cell("new", {head: world.damaged(head) for head in HEADS}, pass_=pass_)
    return world


def exit_code(judgement: Judgement) -> ExitCode:
    return Outcome(judgement, Path(), Path(), {}).exit_code(strict=False)


# A lost box counts for every head that it is made of


def test_a_detector_that_lost_every_box_fails_the_gates_of_all_heads_that_feed_it() -> None:
    heads = {head: HeadGate(head=head, ap50_drop=0.01) for head in HEADS}
    judgement = judged(all_lost(), heads=heads)
    (cell,) = judgement.cells
    assert [head.passed for head in cell.heads] == [False, False]
    assert [(gate.value or 0) > 0.4 for head in cell.heads for gate in head.gates] == [True, True]
    for head in cell.heads:
        assert head.boxes is not None
        assert head.boxes.made_of == HEADS
        assert head.boxes.changes[ALL].lost == IMAGES
    assert exit_code(judgement) is ExitCode.GATE_FAILED
    assert judgement.boxes is not None
    assert judgement.boxes.worst[0].heads == HEADS


def test_heads_that_are_said_to_make_their_own_boxes_are_acquitted_and_the_network_is_not() -> None:
    world = all_lost()
    world.together = ()
    heads = {head: HeadGate(head=head, ap50_drop=0.01) for head in HEADS}
    judgement = judged(world, Gate(ap50_drop=0.01), heads)
    assert [head.passed for head in judgement.cells[0].heads] == [True, True]
    assert judgement.gates_failed == (("new/cpu/int8-shared-entropy", WHOLE_NETWORK),)
    assert exit_code(judgement) is ExitCode.GATE_FAILED


def test_heads_of_a_style_make_their_own_boxes() -> None:
    world = World()
    world.cell("new", {"far": world.content("nothing", [[]] * IMAGES)})
    judgement = judged(world, LOSES_NONE, {head: HeadGate(head=head, lost=0.005) for head in HEADS})
    (cell,) = judgement.cells
    assert [head.passed for head in cell.heads] == [True, False]
    assert cell.passed is False


# The whole network's gate


@pytest.mark.parametrize("pass_", [SHARED, FP16, BF16, Pass(precision=Precision.TF32)])
def test_the_network_is_gated_in_every_precision_but_fp32(pass_: Pass) -> None:
    judgement = judged(all_lost(pass_), LOSES_NONE)
    (cell,) = judgement.cells
    assert (cell.passed, [gate.value for gate in cell.gates]) == (False, [1.0])
    assert judgement.gates_failed == ((cell.cell.id, WHOLE_NETWORK),)


def test_fp32_has_no_gate() -> None:
    judgement = judged(all_lost(FP32), LOSES_NONE, {"near": HeadGate(head="near", sqnr_db=90)})
    (cell,) = judgement.cells
    assert (cell.gates, cell.passed) == ((), None)
    assert [head.passed for head in cell.heads] == [None, None]


def test_without_a_gate_nothing_is_said_to_hold() -> None:
    judgement = judged(all_lost())
    assert (judgement.cells[0].passed, judgement.gates_set) == (None, False)
    assert judgement.network_sentence == ""
    assert "No gate is set." in summary(judgement)


def test_boxes_that_are_not_known_do_not_hold() -> None:
    unknown = all_lost()
    unknown.cell("other", {"far": unknown.content("broken", [[]] * IMAGES)})
    evidence = unknown.evidence()
    assert evidence.boxes is not None
    known = evidence.boxes.changes_of

    def gone(test: Outputs, reference: Outputs) -> Sums:
        if test["far"].sha256 == "broken":
            message = "gone"
            raise OutputGoneError(message)
        return known(test, reference)

    judgement = judged(unknown, LOSES_NONE, boxes=replace(evidence.boxes, changes_of=gone))
    other = judgement.cells[1]
    assert other.boxes is not None
    assert other.boxes.problem == "gone"
    assert (other.passed, other.gates[0].value) == (False, None)
    assert "nothing to judge by in other/cpu/int8-shared-entropy" in judgement.network_sentence


def test_a_run_that_cannot_make_boxes_does_not_hold() -> None:
    judgement = judged(all_lost(), LOSES_NONE, boxes=None)
    assert judgement.cells[0].passed is False


def test_labels_without_an_object_do_not_hold() -> None:
    world = Together()
    world.cell("new", {})
    evidence = world.evidence()
    assert evidence.boxes is not None
    empty = read_labels({**coco(), "annotations": []}, range(IMAGES))
    boxes = replace(
        evidence.boxes,
        precision_of=lambda stored_objects: average_precision(
            empty, dict(enumerate(world.boxes(stored_objects)))
        ),
        draws_of=None,
    )
    judgement = judged(world, Gate(ap_drop=0.5), boxes=boxes)
    assert judgement.cells[0].passed is False
    assert judgement.cells[0].gates[0].value is None


def test_a_reference_without_a_box_does_not_hold() -> None:
    world = World()
    world.reference = {head: world.content(f"none-{head}", [[]] * IMAGES) for head in HEADS}
    world.cell("new", {})
    assert judged(world, LOSES_NONE).cells[0].passed is False


def test_nan_that_leaves_no_box_fails() -> None:
    def broken(y: Any, r: Any) -> Any:
        one = fine(y, r)
        one["nonfinite"] = 0 if y == r else 1
        return one

    evidence = all_lost().evidence()
    heads = tuple(HeadGate(head=head, sqnr_db=-100) for head in HEADS)
    manifest = evidence.manifest.model_copy(update={"gate": LOSES_NONE, "heads": heads})
    (cell,) = judge(replace(evidence, manifest=manifest, sums_of=broken)).cells
    assert (cell.passed, [head.passed for head in cell.heads]) == (False, [False, False])


def test_a_precision_that_did_not_run_is_not_said_to_hold() -> None:
    world = Together()
    world.cell("new", {})
    world.cell("new", {}, pass_=FP16)
    fp16 = world.records[1]
    world.records[1] = fp16.model_copy(update={"status": Status.UNSUPPORTED, "measurements": ()})
    judgement = judged(world, LOSES_NONE)
    assert judgement.cells[1].passed is None
    assert judgement.network_sentence == (
        "The one int8 cell that ran holds the whole network's gate, share of lost boxes at most "
        "0.005; 1 did not run."
    )
    world.records = [world.records[1]]
    nothing = judged(world, LOSES_NONE)
    assert nothing.gates_set
    assert "Gates are set, and no cell that they apply to gave a result." in summary(nothing)
    assert exit_code(nothing) is ExitCode.COULD_NOT_RUN


# Limits of other precisions


def test_a_precision_has_the_limits_of_int8_but_for_those_it_names() -> None:
    gate = Gate(sqnr_db=20, lost=0.01, by_precision={Precision.FP16: {"sqnr_db": 40}})
    assert gate.limits(Precision.INT8).named == {"sqnr_db": 20, "lost": 0.01}
    assert gate.limits(Precision.FP16).named == {"sqnr_db": 40, "lost": 0.01}
    assert gate.limits(Precision.TF32).named == gate.limits(Precision.BF16).named
    assert gate.limits(Precision.BF16).named == {"sqnr_db": 20, "lost": 0.01}
    assert gate.limits(Precision.FP32).named == {}
    none = Gate(sqnr_db=20, by_precision={Precision.FP16: {"sqnr_db": None}})
    assert none.limits(Precision.FP16).named == {}


def test_each_precision_is_judged_by_its_own_limit() -> None:
    world = Together()
    world.cell("new", {"far": world.damaged("far")})
    world.cell("new", {"far": world.damaged("far")}, pass_=FP16)
    own = {Precision.FP16: {"sqnr_db": 40.0}}
    gate = HeadGate(head="far", sqnr_db=20, by_precision=own)  # type: ignore[arg-type]
    judgement = judged(world, heads={"far": gate})
    assert [cell.heads[1].passed for cell in judgement.cells] == [True, False]
    assert judgement.gates_failed == (("new/cpu/fp16", "far"),)
    rows = [HeadRow(cell, cell.heads[1]) for cell in judgement.cells]
    assert gates_sentence(rows) == "Gate failed, SQNR at least 40 dB: new/cpu/fp16 (30.0 dB)."
    assert gates_sentence(rows[:1]) == "The one int8 cell holds the gate, SQNR at least 20 dB."
    table = long_table(judgement)
    assert [one["gate_sqnr_db"] for one in table if one["head"] == "far"] == [20, 40]


def test_an_old_run_has_no_gate_on_the_network_and_none_of_other_precisions() -> None:
    manifest = World().evidence().manifest
    old = manifest.model_dump(mode="json")
    del old["gate"]
    for head in old["heads"]:
        del head["by_precision"]
    assert Manifest.model_validate(old) == manifest
    new = manifest.model_copy(
        update={"gate": Gate(lost=0.1, by_precision={Precision.FP16: {"lost": None}})}
    )
    assert Manifest.model_validate_json(new.model_dump_json()) == new


# What is told


def told(*cells: CellResult) -> str:
    return network_gates_sentence(cells)


def test_the_whole_network_is_told_in_one_sentence() -> None:
    world = Together()
    for name in ("a", "b"):
        world.cell(name, {})
        world.cell(name, {}, pass_=FP16)
    cells = judged(world, LOSES_NONE).cells
    assert told(*cells) == (
        "All 4 int8 and fp16 cells hold the whole network's gate, share of lost boxes at most 0.005."
    )
    broken = replace(cells[1], status=Status.CRASHED, gates=(), passed=None)
    assert told(cells[0], broken) == (
        "1 of 2 int8 and fp16 cells hold the whole network's gate, share of lost boxes at most 0.005; "
        "a/cpu/fp16 gave nothing to judge."
    )
    strict = Gate(lost=0.005, by_precision={Precision.FP16: {"lost": 0.0}})
    assert told(*judged(world, strict).cells) == (
        "All 2 int8 cells hold the whole network's gate, share of lost boxes at most 0.005. All 2 fp16 "
        "cells hold the whole network's gate, share of lost boxes at most 0."
    )


def test_every_report_tells_a_failed_gate_of_the_network() -> None:
    judgement = judged(all_lost(FP16), LOSES_NONE)
    sentence = (
        "Whole network's gate failed, share of lost boxes at most 0.005: new/cpu/fp16 (1.000)."
    )
    assert judgement.network_sentence == sentence
    outcome = Outcome(judgement, Path(), Path(), {})
    assert "whole network [severe]: 3 of 3 boxes are lost" in outcome.text()
    assert sentence in outcome.text()
    assert "gate failed: new/cpu/fp16 whole network" in outcome.text()
    assert outcome.summary()["gates_failed"] == [["new/cpu/fp16", "whole network"]]
    assert "**1 of 1 gated results fail.**" in summary(judgement)
    assert "- **whole network** (severe): **3 of 3 boxes are lost" in summary(judgement)
    (failure,) = ET.fromstring(junit(judgement)).iter("failure")
    assert failure.get("message") == ("whole network: share of lost boxes 1.000, at most 0.005")
    row = long_table(judgement)[0]
    assert (row["network_passed"], row["passed"]) == (False, None)
    assert row["network_gates_failed"] == ["share of lost boxes 1.000, at most 0.005"]
    held = judged(all_lost(FP16), Gate(lost=1.0))
    (change,) = changes(held, judgement)
    assert (change.what, change.before) == ("whole network's gates", "hold")


# matrix.yaml


def lines(folder: Path, content: Mapping[str, Any]) -> Sequence[str]:
    return wrong(write(folder), content)


def test_gates_are_recorded_as_they_are_written(tmp_path: Path) -> None:
    gate = {"sqnr_db": 20, "fp16": {"sqnr_db": 40}, "tf32": {"sqnr_db": None}}
    content = changed(
        gate={"lost": 0.005, "fp16": {"lost": 0.0}},
        heads__small={"stride": 2, "gate": gate},
        decode=YOLO,
        precisions=["fp32", "tf32", "fp16", "int8"],
    )
    assert problems(content) == []
    found = config(content)
    assert network_gate(found) == Gate(lost=0.005, by_precision={Precision.FP16: {"lost": 0.0}})
    assert head_gates(found)[1] == HeadGate(
        head="small",
        sqnr_db=20,
        by_precision={Precision.FP16: {"sqnr_db": 40}, Precision.TF32: {"sqnr_db": None}},
    )
    assert network_gate(checked(write(tmp_path)).config) is None


def test_a_gate_on_the_network_that_could_never_be_judged(tmp_path: Path) -> None:
    found = lines(tmp_path, changed(gate={"lost": 0.1, "ap_drop": 0.1}))
    assert len(found) == 3
    assert found[0].startswith("gate.ap_drop (line ")
    assert "needs boxes: say in `decode`" in found[0]
    assert "needs labelled objects: the labels have none" in found[1]
    assert found[2].startswith("gate.lost (line ")


def test_limits_of_a_precision_that_no_cell_has(tmp_path: Path) -> None:
    gate = {"sqnr_db": 20, "fp16": {"sqnr_db": 40}}
    (told,) = lines(tmp_path, changed(heads__small={"stride": 2, "gate": gate}))
    assert told.startswith("heads.small.gate.fp16 (line ")
    assert "no cell is in fp16: add it to `precisions`, or leave this gate out" in told


def test_a_head_is_not_called_like_the_whole_network() -> None:
    (told,) = problems(changed(heads={"whole network": {}}))
    assert told.startswith("heads: no head is called 'whole network'")
    assert "give its `output`" in told


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (
            {"sqnr_db": 20},
            "gate.sqnr_db: unknown key; allowed: ap_drop, ap50_drop, iou, lost, fp16",
        ),
        ({"fp16": {"sqnr_db": 20}}, "gate.fp16.sqnr_db: unknown key; allowed: ap_drop, ap50_drop"),
        ({"lost": 2}, "gate.lost: should be less than or equal to 1"),
        ({"fp32": {"lost": 0.1}}, "gate.fp32: unknown key"),
    ],
)
def test_the_shape_of_the_networks_gate(gate: dict[str, Any], told: str) -> None:
    (problem,) = problems(changed(gate=gate, decode=YOLO))
    assert problem.startswith(told)


@pytest.mark.parametrize(
    ("together", "told"),
    [
        ({**YOLO, "together": []}, "decode: together: yolov8-decoded knows which heads make a box"),
        (
            {"entry_point": "a:b", "together": [["small", "large"], ["small"]]},
            "decode: together names 'small' twice",
        ),
        ({"entry_point": "a:b", "together": [[]]}, "decode.together[0]: "),
    ],
)
def test_the_shape_of_together(together: dict[str, Any], told: str) -> None:
    (problem,) = problems(changed(decode=together))
    assert problem.startswith(told)


def test_together_names_heads_that_are_decoded(tmp_path: Path) -> None:
    decode = {"entry_point": "mine:boxes", "heads": ["small"], "together": [["small", "larg"]]}
    (tmp_path / "mine.py").write_text("def boxes(outputs): return []")
    (told,) = lines(tmp_path, changed(decode=decode))
    assert told.startswith("decode.together")
    assert "no head is called 'larg'; did you mean 'large'?" in told
