"""Gates of the whole network, and of other precisions, as matrix.yaml states them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.experiments import changed, checked, config, problems, write, wrong
from trt_matrix.core.cells import Precision
from trt_matrix.core.manifest import Gate, HeadGate
from trt_matrix.planning.boxes import head_gates, network_gate

YOLO = {"style": "yolov8-decoded", "classes": 2}


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
