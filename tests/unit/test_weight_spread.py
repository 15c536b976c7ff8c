"""Weights with one channel far larger than the others: found without running, and shown by running."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import run_offline
from tests.unit.small_networks import Builder
from trt_matrix.commands import session
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.qdq.weight_spread import WIDE, wide_weights
from trt_matrix.core.records import Record
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.judging.outcome import Outcome

PER_CHANNEL, PER_TENSOR = "int8-shared-minmax", "int8-shared-minmax-per-tensor"


def planted(times: float) -> onnx.ModelProto:
    """A channel of conv_c2 that is `times` the median one, and multiplies nothing but zeros.

    As folding a BatchNormalization over a channel that is always off makes them: no activation shows it.
    """
    model = networks.detector()
    values = {weight.name: weight for weight in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(value).copy() for name, value in values.items()}
    arrays["c1.weight"][3], arrays["c1.bias"][3] = 0, -1
    wide = arrays["c2.weight"]
    median = np.median(np.abs(wide).max(axis=(1, 2, 3)))
    wide[5] = 0
    wide[5, 3, 1, 1] = times * median
    for name, array in arrays.items():
        values[name].CopyFrom(numpy_helper.from_array(array, name))
    return model


def run(folder: Path, model: onnx.ModelProto, **quantisation: Any) -> Outcome:
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    noise_images(folder, 7, calibration=12, evaluation=12)
    source = folder / "matrix.yaml"
    source.write_text(
        yaml.safe_dump(
            quick(
                model={"onnx": "net.onnx"},
                heads={value.name: {} for value in model.graph.output},
                data={
                    "calibration": {"images": "calibration"},
                    "evaluation": {"images": "evaluation"},
                    "preprocess": {"mean": 0.5, "std": 0.25},
                },
                quantisation=quantisation,
                repeats=2,
            )
        )
    )
    return run_offline(source, folder / "results")


def sqnr(judgement: Judgement, pass_: str, head: str) -> float:
    (found,) = [
        head_result.error.sqnr_db
        for result in judgement.cells
        if result.cell.pass_.name == pass_
        for head_result in result.heads
        if head_result.head == head
    ]
    assert found is not None
    return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("planted")
    outcome = run(folder, planted(195), weights=["per_channel", "per_tensor"], activations="int8")
    return folder, outcome


@pytest.mark.parametrize("times", [195, 300])
def test_the_planted_weight_is_named_with_the_heads_behind(times: float) -> None:
    (weight,) = wide_weights(planted(times), [("large", "large"), ("small", "small")])
    assert (weight.layer, weight.channel, weight.channels) == ("conv_c2", 5, 12)
    assert weight.spread == pytest.approx(times, rel=0.2)
    assert weight.heads == ("large", "small")


def test_an_ordinary_network_has_none() -> None:
    assert wide_weights(networks.detector(), [("large", "large"), ("small", "small")]) == ()


def test_a_layer_that_no_head_needs_is_not_told() -> None:
    assert wide_weights(planted(300), []) == ()


def test_per_tensor_loses_per_channel_does_not_and_the_weight_is_named(
    judged: tuple[Path, Outcome],
) -> None:
    judgement = judged[1].judgement
    for head in ("large", "small"):
        assert sqnr(judgement, PER_CHANNEL, head) > 25
        assert sqnr(judgement, PER_TENSOR, head) < sqnr(judgement, PER_CHANNEL, head) - 10
        (answer,) = [answer for answer in judgement.answers if answer.head == head]
        findings = [
            finding for finding in answer.findings if finding.kind is Kind.PER_TENSOR_WEIGHTS
        ]
        assert [finding.cells for finding in findings] == [
            (f"here/cpu/{PER_TENSOR}", "here/cpu/int8-own-minmax-per-tensor")
        ]
        assert "conv_c2 (channel 5 of 12 is " in findings[0].text
        # Per channel nothing of it is lost: at most another table is better, on noise.
        others = {
            verdict.kind
            for result in judgement.cells
            if result.cell.pass_.name == PER_CHANNEL
            for head_result in result.heads
            for verdict in head_result.verdicts
        }
        assert others <= {Kind.OK, Kind.CALIBRATION_PROBLEM}


def test_page_plan_and_record_tell_the_weight_and_the_scales(judged: tuple[Path, Outcome]) -> None:
    folder, outcome = judged
    page = outcome.report.read_text()
    assert "conv_c2: channel 5 of 12" in " ".join(page.split()).replace("<bdi>", "").replace("</bdi>", "")  # fmt: skip
    planned = session.plan_experiment(folder / "matrix.yaml", folder / "results", select=["*per-tensor*"])  # fmt: skip
    assert "conv_c2 (channel 5 of 12 is" in planned.text()
    assert all(cell.pass_.per_tensor for cell in planned.cells)
    assert all(planned.known[cell.id] == 2 for cell in planned.cells)
    for path in (folder / "results" / "latest").rglob("*per-tensor*.json"):
        record = Record.model_validate_json(path.read_text())
        assert {measurement.placement for measurement in record.measurements} == {
            "onnxruntime-int8-per_tensor-float_outputs"
        }


def test_per_tensor_alone_is_told_against_a_scale_a_channel_too(tmp_path: Path) -> None:
    outcome = run(tmp_path, planted(300), weights="per_tensor", activations="int8")
    kinds = {
        verdict.kind
        for result in outcome.judgement.cells
        for head in result.heads
        for verdict in head.verdicts
        if result.cell.pass_.per_tensor
    }
    assert Kind.PER_TENSOR_WEIGHTS in kinds


# What the network may hold


def layer(weight: Any, op: str = "Conv") -> onnx.ModelProto:
    b = Builder()
    b.weight("w", weight)
    b.node(op, ["image", "w"], "y")
    shape = [1, weight.shape[1], 4, 4] if op == "Conv" else [1, weight.shape[0]]
    return b.model({"image": shape}, ["y"])


@given(st.lists(st.floats(0, 2.0**100, width=32, allow_subnormal=False), min_size=1, max_size=9))
def test_any_magnitudes_give_the_ratio_to_the_median_of_those_that_are_not_zero(
    magnitudes: list[float],
) -> None:
    weight = np.array(magnitudes, "f4").reshape(-1, 1, 1, 1)
    weights = wide_weights(layer(weight), [("y", "y")])
    alive = sorted(magnitude for magnitude in magnitudes if magnitude > 0)
    expected = max(alive) / float(np.median(np.array(alive, "f4").astype("f8"))) if alive else 1.0
    assert bool(weights) == (expected > WIDE)
    if weights:
        assert weights[0].spread == pytest.approx(expected, rel=1e-6)


def test_channels_are_those_of_the_output_in_every_kind_of_layer() -> None:
    weight = np.ones((6, 5), "f4")
    weight[:, 2] = 100  # MatMul: columns are outputs
    (wide_weight,) = wide_weights(layer(weight, "MatMul"), [("y", "y")])
    assert (wide_weight.channel, wide_weight.channels) == (2, 5)
    rows = np.ones((5, 6), "f4").T.copy()
    rows[2] = 100  # a row is an input: all outputs are alike
    assert wide_weights(layer(rows, "MatMul"), [("y", "y")]) == ()


def test_weights_that_are_not_finite_are_somebody_elses_finding() -> None:
    weight = np.ones((4, 3, 1, 1), "f4")
    weight[1, 0] = np.inf
    assert wide_weights(layer(weight), [("y", "y")]) == ()


def test_a_folded_batch_normalisation_is_looked_at_as_engines_see_it() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4, k=1)
    for name, value in (("scale", [1, 1, 1, 400]), ("shift", [0] * 4), ("mean", [0] * 4), ("var", [1] * 4)):  # fmt: skip
        b.weight(name, np.array(value, "f4"))
    b.node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], "y")
    (weight,) = wide_weights(b.model({"image": [1, 3, 4, 4]}, ["y"]), [("y", "y")])
    assert weight.channel == 3


def test_operators_of_other_domains_are_left_alone() -> None:
    weight = np.ones((4, 3, 1, 1), "f4")
    weight[1] = 1000
    model = layer(weight)
    model.graph.node[0].domain = "mine"
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    assert wide_weights(model, [("y", "y")]) == ()
