"""Situations that would make a sentence about placement, weights or saturation say something false."""

import dataclasses

import numpy as np
import pytest
from onnx import numpy_helper

from tests.unit import small_networks as networks
from tests.unit.judgements import BASELINE, OWN, SHARED
from tests.unit.small_networks import Builder
from tests.unit.test_head_answers import told, verdict, with_verdicts
from tests.unit.test_placement_verdicts import INT8, PER_TENSOR, UINT8, cell, kinds
from tests.unit.test_weight_spread import planted
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.cells import Pass
from trt_matrix.core.hosts.processor import processor_of
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.manifest import WideWeight
from trt_matrix.core.qdq.placements import Activations, Placed, PlacementChoice, Weights, saturates
from trt_matrix.core.qdq.weight_spread import wide_weights
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.planning.placing import activation_notes, wide_notes

PER_TENSOR_PASS = dataclasses.replace(SHARED, per_tensor=True)
OWN_PER_TENSOR = dataclasses.replace(OWN, per_tensor=True)


def placed(
    name: str, placement: Placed, kind: Kind, pass_: Pass = SHARED, *, saturates_: bool = False, calibration: float = 0.002
) -> CellResult:  # fmt: skip
    result = with_verdicts(name, verdict(kind), pass_=pass_, calibration=calibration)
    return dataclasses.replace(result, placed=placement, may_saturate=saturates_)


def wide(layer: str, *heads: str) -> WideWeight:
    return WideWeight(
        layer=layer, weight=f"{layer}.weight", spread=195.0, channel=5, channels=12, heads=heads
    )


# Weights per tensor, and the table


def test_a_better_table_with_a_scale_a_channel_is_no_better_table_of_weights_per_tensor() -> None:
    """The same table, placed otherwise, was named as the better one."""
    bad = placed(BASELINE, PER_TENSOR, Kind.CALIBRATION_PROBLEM, PER_TENSOR_PASS, calibration=0.008)
    other = placed(BASELINE, INT8, Kind.OK, SHARED, calibration=0.0)
    one = told(bad, other)
    assert "the shared entropy table, which loses least" not in one["advice"]
    assert one["advice"].startswith("Calibrate again")
    # In the same placement it is one.
    better = placed(BASELINE, PER_TENSOR, Kind.OK, OWN_PER_TENSOR, calibration=0.0)
    assert "the own entropy table, weights per tensor, which loses least" in told(bad, other, better)["advice"]  # fmt: skip


def test_a_calibrators_better_table_is_one_of_its_placement() -> None:
    bad = placed("old", PER_TENSOR, Kind.CALIBRATOR_REGRESSION, OWN_PER_TENSOR, calibration=0.008)
    other = placed("old", INT8, Kind.OK, SHARED, calibration=0.0)
    assert "Give old the shared entropy table" not in told(bad, other)["advice"]


def test_a_gate_that_a_scale_a_channel_would_hold_is_not_beyond_8_bits() -> None:
    cells = [cell("base", 0.02, PER_TENSOR)]
    simulations = {(PER_TENSOR.name, "t"): 0.02, (INT8.name, "t"): 0.004}
    assert Kind.INT8_LIMIT not in kinds(cells, simulations, gate=0.01)["base/cpu/int8"]
    assert Kind.PER_TENSOR_WEIGHTS in kinds(cells, simulations, gate=0.01)["base/cpu/int8"]
    # Where neither holds it, it is.
    assert Kind.INT8_LIMIT in kinds(cells, simulations, gate=0.002)["base/cpu/int8"]
    # Nor does what another engine's placement holds say anything of this one.
    other = {(PER_TENSOR.name, "t"): 0.02, (Placed(engine="tensorrt").name, "t"): 0.004}
    assert Kind.INT8_LIMIT in kinds(cells, other, gate=0.01)["base/cpu/int8"]


def test_weights_per_tensor_where_the_table_differs_too_are_not_blamed() -> None:
    cells = [cell("base", 0.02, PER_TENSOR)]
    simulations = {(PER_TENSOR.name, "t"): 0.02, (INT8.name, "other"): 0.004}
    assert Kind.PER_TENSOR_WEIGHTS not in kinds(cells, simulations)["base/cpu/int8"]


def test_weights_with_a_scale_a_channel_are_never_blamed() -> None:
    cells = [cell("base", 0.02, INT8)]
    simulations = {(INT8.name, "t"): 0.02, (PER_TENSOR.name, "t"): 0.004}
    assert Kind.PER_TENSOR_WEIGHTS not in kinds(cells, simulations)["base/cpu/int8"]


def test_the_advice_names_no_layer_where_none_was_named() -> None:
    bad = placed(BASELINE, PER_TENSOR, Kind.PER_TENSOR_WEIGHTS, PER_TENSOR_PASS)
    assert "that are named" not in told(bad)["advice"]


# Wide weights


def test_a_wide_weight_is_told_of_the_heads_behind_it_alone() -> None:
    bad = placed(BASELINE, PER_TENSOR, Kind.PER_TENSOR_WEIGHTS, PER_TENSOR_PASS)
    (mine,) = answers(("small",), [bad], BASELINE, wide=[wide("conv_a", "small")])
    assert "conv_a (channel 5 of 12 is 195 times the median one)" in mine.text
    (others,) = answers(("small",), [bad], BASELINE, wide=[wide("conv_a", "large")])
    assert "conv_a" not in others.text


@pytest.mark.parametrize("kind", [Kind.CALIBRATION_PROBLEM, Kind.INT8_LIMIT, Kind.ENGINE_LOSS])
def test_a_wide_weight_is_not_blamed_for_what_costs_with_a_scale_a_channel(kind: Kind) -> None:
    (answer,) = answers(("small",), [placed(BASELINE, INT8, kind)], BASELINE, wide=[wide("conv_a", "small")])  # fmt: skip
    assert "conv_a" not in answer.text


def test_the_weight_of_a_layer_that_stays_in_float_is_not_wide() -> None:
    """Nothing quantises a weight that multiplies a constant."""
    b = Builder()
    b.weight("fixed", np.ones((1, 3, 8, 8), "f4"))
    b.conv("fixed", "table", 3, 4)
    b.node("Add", [b.conv("image", "c", 3, 4), "table"], "sum")
    b.conv("sum", "y", 4, 2)
    model = b.model({"image": [1, 3, 8, 8]}, ["y"])
    for tensor in model.graph.initializer:
        if tensor.name == "table.weight":
            array = numpy_helper.to_array(tensor).copy()
            array[0] *= 1000
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    assert wide_weights(model, [("y", "y")]) == ()


def test_the_plan_names_the_heads_that_are_behind_and_no_other() -> None:
    (note,) = wide_notes(wide_weights(planted(200), [("large", "large"), ("small", "image")]))
    assert "; large is behind" in note
    assert wide_notes(()) == ()


# Saturation


def test_saturation_is_not_blamed_where_a_version_that_may_saturate_loses_nothing() -> None:
    bad = placed("old", UINT8, Kind.ENGINE_LOSS, saturates_=True)
    sound = placed(BASELINE, UINT8, Kind.OK, saturates_=True)
    assert "saturate" not in " ".join(told(bad, sound).values())
    assert "saturate" in " ".join(told(bad).values())


def test_activations_of_int8_do_not_speak_against_saturation() -> None:
    bad = placed("old", UINT8, Kind.ENGINE_LOSS, saturates_=True)
    int8 = placed(BASELINE, INT8, Kind.OK)
    assert "saturate" in told(bad, int8)["fault"]


@pytest.mark.parametrize(
    ("machine", "flags", "on_cpu"),
    [
        ("x86_64", ["avx2", "avx512_vnni"], True),
        ("x86_64", ["avx2"], False),
        ("aarch64", [], True),
        ("x86_64", [], True),
        ("x86_64", None, True),
        (None, None, True),
    ],
)
def test_what_cannot_saturate_or_is_not_known_to_is_not_said_to(
    machine: object, flags: object, on_cpu: bool
) -> None:
    """VNNI, a GPU, Arm, a processor whose instructions nobody could read."""
    assert not saturates(UINT8, on_cpu=on_cpu, processor=processor_of(machine, flags))


def test_only_uint8_on_an_x86_without_vnni_may() -> None:
    old = processor_of("x86_64", ["avx2"])
    assert saturates(UINT8, on_cpu=True, processor=old)
    assert not saturates(INT8, on_cpu=True, processor=old)
    assert not saturates(dataclasses.replace(UINT8, engine="tensorrt"), on_cpu=True, processor=old)


# Types of activations, heads in float


def test_an_environment_on_two_devices_is_told_of_each() -> None:
    fast = PlacementChoice(Activations.UINT8, "VNNI")
    slow = PlacementChoice(Activations.INT8, "it runs on a GPU")
    assert activation_notes({("ort", "cpu"): fast, ("ort", "gpu:0"): slow}) == (
        "ort on cpu: activations are uint8 (VNNI)",
        "ort on gpu:0: activations are int8 (it runs on a GPU)",
    )
    assert activation_notes({("a", "cpu"): fast, ("a", "gpu:0"): fast, ("b", "cpu"): fast}) == (
        "a and b: activations are uint8 (VNNI)",
    )


def test_outputs_are_advised_against_only_where_all_cells_that_are_told_quantise_them() -> None:
    quantised = dataclasses.replace(INT8, int8_outputs=True)
    advice = "Leave the heads' outputs in float"
    both = placed(BASELINE, quantised, Kind.INT8_LIMIT)
    assert advice in told(both)["advice"]
    other = placed("other", INT8, Kind.INT8_LIMIT)
    assert advice not in told(both, other)["advice"]
    assert advice not in told(placed(BASELINE, INT8, Kind.INT8_LIMIT))["advice"]


def test_the_limit_of_two_placements_names_neither() -> None:
    gate = verdict(Kind.INT8_LIMIT, against="the gate")
    result = dataclasses.replace(with_verdicts(BASELINE, gate), placed=INT8)
    other = dataclasses.replace(
        with_verdicts("other", gate), placed=dataclasses.replace(INT8, weights=Weights.PER_TENSOR)
    )
    assert "in this placement (int8 activations, weights per channel" in told(result)["text"]
    assert "in this placement" not in told(result, other)["text"]


def test_the_detector_of_the_tests_has_no_wide_weight() -> None:
    assert wide_weights(networks.detector(), [("small", "small")]) == ()
