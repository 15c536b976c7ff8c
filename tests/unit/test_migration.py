"""A cache becomes a Q/DQ network and the other way: what survives does so to the bit, and the rest is listed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit import small_networks as networks
from tests.unit.random_networks import networks_of, scales_of
from tests.unit.small_networks import Builder
from trt_matrix.core.migration.completing import completed
from trt_matrix.core.migration.tensor_names import likely
from trt_matrix.core.migration.to_cache import to_cache
from trt_matrix.core.migration.to_qdq import ToQdq, to_qdq
from trt_matrix.core.migration.tracing import TensorFate
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import QdqError
from trt_matrix.core.qdq.joins import requantisations
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.qdq_table import from_qdq
from trt_matrix.core.tables.reading import read
from trt_matrix.core.tables.trt_cache import Cache, Header

HEADER = Header(version=(8, 5, 3), algorithm="EntropyCalibration2")
ROOT = Path(__file__).parents[2]


def cache(scales: Mapping[str, float]) -> bytes:
    return trt_cache.write(Cache(header=HEADER, scales=scales)).encode()


def heads_of(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(value.name, value.name) for value in model.graph.output]


def moved(model: onnx.ModelProto, content: bytes, **changes: object) -> ToQdq:
    options = replace(TENSORRT, **changes)  # type: ignore[arg-type]
    table = read(content)
    return to_qdq(model, table, heads_of(model), names={}, least=0.9, options=options)


def fates(found: ToQdq) -> dict[str, TensorFate]:
    return {tensor.called: tensor.fate for tensor in found.tensors}


def bits(scale: float) -> int:
    return trt_cache.to_bits(scale)


# The round trip


@settings(max_examples=60)
@given(st.data())
def test_a_cache_survives_q_dq_to_the_bit_or_is_listed(data: st.DataObject) -> None:
    model = data.draw(networks_of())
    scales = data.draw(scales_of(model))
    assume(scales)
    content = cache(scales | {"(Unnamed Layer* 7) [Shuffle]_output": 0.5, "no/such": 0.25})
    try:
        there = moved(model, content)
    except QdqError:
        return  # none of the scales is of a tensor that a layer reads
    onnx.checker.check_model(there.model, full_check=True)
    back = from_qdq(onnx.ModelProto.FromString(there.model.SerializeToString()))
    found = {name: value / 127 for name, value in back.values.items()}
    assert not back.unusable
    # Every tensor of the table is told once; what is used has the bits of the cache.
    told = {tensor.tensor: tensor for tensor in there.tensors}
    assert len(told) == len(there.tensors) == len(scales) + 2
    assert found.keys() == there.scales.keys()
    for name, scale in scales.items():
        traced = told[name]
        if traced.fate is TensorFate.USED:
            assert bits(found[name]) == bits(scale)
        elif traced.fate is TensorFate.CARRIED:
            assert traced.source is not None
            led = scales.get(traced.source)
            assert led is None or bits(found[name]) == bits(led)
        else:
            assert name not in found, traced
    added = {one.tensor for one in there.added}
    assert found.keys() <= scales.keys() | added
    # And once more: what came back is a fixed point.
    returned = to_cache(back, model, HEADER, names={}, least=0.9)
    there_are = {name for node in model.graph.node for name in node.output} | {"image"}
    assert trt_cache.parse(returned.text).scales.keys() <= there_are
    again = moved(model, returned.text.encode())
    assert again.model.SerializeToString(deterministic=True) == there.model.SerializeToString(
        deterministic=True
    )


@settings(max_examples=40)
@given(st.data())
def test_unified_scales_requantise_nothing_and_clip_nothing(data: st.DataObject) -> None:
    model = data.draw(networks_of())
    scales = data.draw(scales_of(model))
    assume(scales)
    try:
        apart, unified = (moved(model, cache(scales), unified_scales=one) for one in (False, True))
    except QdqError:
        return
    assert unified.requantised == ()
    assert unified.avoided == apart.requantised
    assert unified.scales.keys() == apart.scales.keys()
    assert all(unified.scales[name] >= scale for name, scale in apart.scales.items())
    assert set(unified.scales.values()) <= set(apart.scales.values()), "no scale is invented"
    if not apart.requantised:
        assert unified.scales == apart.scales
    # It is a function of the groups: doing it again changes nothing.
    form = canonical(model)
    assert requantisations(form, unified.scales) == ()


@pytest.mark.parametrize("name", ["17bc48c1f460", "7301ca8fe2ff", "327455dc7807"])
def test_tables_of_real_engines_survive(name: str) -> None:
    """The demo's, of TensorRT 8.6.0's own calibrators among them."""
    model = onnx.load(ROOT / "demo" / "digits3.onnx")
    amax = json.loads((ROOT / "tests/data/h200/tables" / f"{name}.json").read_text())["amax"]
    scales = {tensor: trt_cache.from_bits(bits(one / 127)) for tensor, one in amax.items()}
    there = moved(model, cache(scales))
    back = {tensor: value / 127 for tensor, value in from_qdq(there.model).values.items()}
    used = there.with_fate(TensorFate.USED)
    assert len(used) == 26
    assert all(bits(back[traced.tensor]) == bits(scales[traced.tensor]) for traced in used)
    assert {tensor.fate for tensor in there.tensors} == {
        TensorFate.USED, TensorFate.CARRIED, TensorFate.FUSED, TensorFate.OUTPUT,
    }  # fmt: skip
    assert {traced.tensor for traced in there.with_fate(TensorFate.OUTPUT)} == {
        "large",
        "medium",
        "small",
    }
    assert {traced.tensor for traced in there.with_fate(TensorFate.CARRIED)} == {
        "neck8/reduce", "neck8/upsample", "neck16/reduce", "neck16/upsample",
    }  # fmt: skip
    assert not there.added
    assert not there.lacking
    assert all(
        head.int8 == head.layers and head.scaled == head.wanted for head in there.heads.values()
    )


# What becomes of each tensor


def detector_scales(**changes: float) -> dict[str, float]:
    _, names = networks_names()
    return dict.fromkeys(names, 0.5) | changes


def networks_names() -> tuple[onnx.ModelProto, tuple[str, ...]]:
    from trt_matrix.core.network.calibration_graph import calibration_model

    return calibration_model(networks.detector())


def test_each_fate() -> None:
    scales = detector_scales(up=0.7, joined=0.9, s4=float("nan"), mixed=0.0)
    del scales["c2"], scales["c4"]
    found = moved(
        networks.detector(), cache(scales | {"(Unnamed Layer* 3) [Constant]_output": 1.0, "x": 2.0})
    )
    assert fates(found) == {
        "image": TensorFate.USED, "c1": TensorFate.FUSED, "s2": TensorFate.USED,
        "s4": TensorFate.UNUSABLE, "large": TensorFate.OUTPUT, "c3": TensorFate.FLOAT, "lateral": TensorFate.CARRIED,
        "up": TensorFate.CARRIED, "joined": TensorFate.USED, "mixed": TensorFate.UNUSABLE,
        "c5": TensorFate.FLOAT, "sum": TensorFate.USED, "small": TensorFate.OUTPUT,
        "(Unnamed Layer* 3) [Constant]_output": TensorFate.PARSER, "x": TensorFate.UNKNOWN,
    }  # fmt: skip
    assert set(found.lacking) == {"s4", "mixed"}
    assert "conv_c5" in found.float_layers
    why = {tensor.tensor: tensor.why for tensor in found.tensors}
    assert why["s4"]
    assert "zero" in str(why["mixed"])


def test_what_only_the_network_as_it_came_has_is_inside_a_fusion() -> None:
    b = Builder()
    b.conv("image", "before", 3, 4)
    ones = [b.weight(name, np.ones(4, "f4")) for name in ("gamma", "beta", "mean", "variance")]
    b.node("BatchNormalization", ["before", *ones], "after")
    b.conv("after", "y", 4, 2)
    model = b.model({"image": [1, 3, 8, 8]}, ["y"])
    found = moved(model, cache({"image": 0.1, "before": 0.2, "after": 0.3, "y": 0.4}))
    assert fates(found) == {
        "image": TensorFate.USED, "before": TensorFate.FUSED, "after": TensorFate.USED, "y": TensorFate.OUTPUT,
    }  # fmt: skip


def of(model: onnx.ModelProto) -> dict[str, TensorFate]:
    from trt_matrix.core.network.calibration_graph import calibration_model

    _, names = calibration_model(model)
    return fates(moved(model, cache(dict.fromkeys(names, 0.5))))


def test_an_addition_is_fused_into_one_of_two_convolutions() -> None:
    b = Builder()
    b.node("Add", [b.conv("image", "first", 3, 4), b.conv("image", "second", 3, 4)], "sum")
    tensor_fates = of(b.model({"image": [1, 3, 4, 4]}, ["sum"]))
    assert (tensor_fates["first"], tensor_fates["second"]) == (TensorFate.FLOAT, TensorFate.FUSED)


def test_two_activations_of_one_tensor_are_no_fusion_and_a_swish_is() -> None:
    b = Builder()
    b.conv("image", "x", 3, 4)
    b.node("Relu", ["x"], "one")
    b.node("Sigmoid", ["x"], "two")
    assert of(b.model({"image": [1, 3, 4, 4]}, ["one", "two"]))["x"] is TensorFate.FLOAT
    b = Builder()
    b.conv("image", "x", 3, 4)
    b.node("Sigmoid", ["x"], "s")
    b.node("Mul", ["x", "s"], "swish")
    b.conv("swish", "m", 4, 4)
    b.node("Softplus", ["m"], "p")
    b.node("Tanh", ["p"], "t")
    b.node("Mul", ["m", "t"], "mish")
    b.conv("mish", "y", 4, 2)
    tensor_fates = of(b.model({"image": [1, 3, 4, 4]}, ["y"]))
    assert {tensor_fates[name] for name in ("x", "s", "m", "p", "t")} == {TensorFate.FUSED}


def test_a_head_that_a_layer_reads_has_its_scale_and_stays_float() -> None:
    b = Builder()
    b.conv("image", "first", 3, 4)
    b.conv("first", "second", 4, 2)
    model = b.model({"image": [1, 3, 8, 8]}, ["first", "second"])
    found = moved(model, cache({"image": 0.1, "first": 0.2, "second": 0.3}))
    assert fates(found) == {
        "image": TensorFate.USED,
        "first": TensorFate.USED,
        "second": TensorFate.OUTPUT,
    }
    made = {name for node in found.model.graph.node for name in node.output}
    quantisers = [node for node in found.model.graph.node if node.op_type == "QuantizeLinear"]
    assert "first" in made
    assert any(quantiser.input[0] == "first" for quantiser in quantisers), (
        "the head is what is quantised"
    )


def test_joined_tensors_are_told_apart_from_carried_ones() -> None:
    scales = detector_scales(s2=0.2, joined=0.9, up=0.4)
    apart = fates(moved(networks.detector(), cache(scales)))
    unified = moved(networks.detector(), cache(scales), unified_scales=True)
    assert apart["s2"] is TensorFate.USED
    assert fates(unified)["s2"] is TensorFate.JOINED
    assert fates(unified)["up"] is TensorFate.CARRIED
    (only,) = unified.avoided
    assert (only.tensor, only.operator) == ("s2", "Concat")
    assert (only.scale, only.other) == pytest.approx((0.2, 0.9))
    assert unified.scales["s2"] == unified.scales["joined"] == pytest.approx(0.9)


def test_the_largest_wins_also_where_an_input_is_wider_than_the_concatenation() -> None:
    """An entropy table may clip the concatenation more than its inputs."""
    found = moved(
        networks.detector(), cache(detector_scales(s2=3.0, joined=1.0)), unified_scales=True
    )
    assert found.scales["s2"] == found.scales["joined"] == found.scales["up"] == 3.0


# Ranges that follow from others


def test_a_scale_that_cannot_be_used_comes_from_before_the_relu_and_that_is_told() -> None:
    found = moved(networks.detector(), cache(detector_scales(s4=0.0, c2=0.75)))
    assert fates(found)["s4"] is TensorFate.UNUSABLE
    (added,) = found.added
    assert (added.tensor, added.scale, added.source) == ("s4", 0.75, "c2")
    assert "Relu" in added.why
    assert not found.lacking


def test_a_table_made_after_fusion_has_what_carries_the_same_values() -> None:
    scales = detector_scales()
    for name in ("lateral", "joined"):
        del scales[name]
    form = canonical(networks.detector())
    ranges = completed(form, {name: 127 * scale for name, scale in scales.items()})
    assert set(ranges) == {"joined"}
    assert ranges["joined"].source in ("up", "s2")
    assert ranges["joined"].amax == 127 * 0.5
    made = moved(networks.detector(), cache(scales))
    assert {added.tensor for added in made.added} == {"joined", "lateral"}
    assert not made.lacking


def test_a_part_says_nothing_of_the_whole() -> None:
    b = Builder()
    b.conv("image", "wide", 3, 4)
    b.node("Slice", ["wide", b.weight("s", np.array([0])), b.weight("e", np.array([2]))], "part")
    b.conv("part", "y", 4, 2)
    form = canonical(b.model({"image": [1, 3, 4, 4]}, ["y"]))
    assert completed(form, {"image": 1.0, "part": 0.01}) == {}


def test_a_concatenation_with_an_unknown_input_is_not_guessed() -> None:
    scales = detector_scales()
    for name in ("joined", "up", "lateral", "c3"):
        del scales[name]
    ranges = completed(
        canonical(networks.detector()), {n: 127 * scale for n, scale in scales.items()}
    )
    assert "joined" not in ranges


# Names


def test_a_prefix_is_found_in_a_table_made_after_fusion() -> None:
    read_by_layers = ("image", "s2", "s4", "joined", "mixed", "sum")
    found = moved(networks.detector(), cache({f"net/{name}": 0.5 for name in read_by_layers}))
    assert found.scales.keys() >= set(read_by_layers)
    assert found.naming.affixes is not None
    assert all(tensor.fate is not TensorFate.UNKNOWN for tensor in found.tensors)


def test_softmax_of_the_parser_is_offered_and_not_taken() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4, 1)
    b.node("Softmax", ["c"], "p", axis=1)
    b.node("Transpose", ["p"], "q", perm=[0, 2, 3, 1])
    b.weight("w", np.ones((4, 2), "f4"))
    b.node("MatMul", ["q", "w"], "y")
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    name = "(Unnamed Layer* 12) [Softmax]_output"
    found = moved(model, cache({"image": 0.1, "c": 0.2, name: 1 / 127}))
    assert found.likely == {name: "q"}
    assert found.float_layers
    told = to_qdq(
        model, read(cache({"image": 0.1, "c": 0.2, name: 1 / 127})), heads_of(model),
        names=found.likely, least=0.9,
    )  # fmt: skip
    assert not told.float_layers
    assert told.scales["q"] == pytest.approx(1 / 127)


def test_two_of_the_parser_for_one_tensor_are_not_guessed() -> None:
    form = canonical(networks.detector())
    names = [f"(Unnamed Layer* {number}) [Concat]_output" for number in (3, 9)]
    assert likely(form, ["joined"], names) == {}
    assert likely(form, ["joined"], names[:1]) == {names[0]: "joined"}


def test_a_table_of_another_network_is_refused_with_the_reason() -> None:
    with pytest.raises(QdqError, match="nothing to quantise"):
        moved(networks.detector(), cache({"elsewhere": 1.0}))
