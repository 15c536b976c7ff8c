"""A quantised network's float form: the same function without its rounding, checked by computing both."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from tests.unit import small_networks as networks
from tests.unit.quantised import Quantising, by_tool, mixed, pairs, sqnr
from tests.unit.small_networks import Builder, operators, run
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.shipped.quantisation import quantisation_of
from trt_matrix.core.shipped.scales import StripError
from trt_matrix.core.shipped.stripping import stripped

IMAGE = networks.image()
SHAPE = [1, 3, 16, 16]
EXACT = 100.0
"""dB: rounding of float32 alone."""


def weights(model: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def quantised_apart(model: onnx.ModelProto) -> dict[str, float]:
    """Returns output → SQNR of the network as it came against its float form."""
    y, r = (run(model_proto, {"image": IMAGE}) for model_proto in (model, stripped(model).model))
    return {name: sqnr(y[name], r[name]) for name in y}


def test_pairs_are_taken_out_and_heads_keep_their_names() -> None:
    found = stripped(pairs())
    assert operators(found.model) == ["Conv", "Relu", "Conv", "Conv"]
    assert [value.name for value in found.model.graph.output] == ["large", "small"]
    assert [node.name for node in found.model.graph.node] == [
        "conv_c1",
        "relu_r1",
        "conv_c2",
        "conv_c3",
    ]
    assert all(db > 25 for db in quantised_apart(pairs()).values())
    onnx.checker.check_model(found.model, full_check=True)


def test_ranges_are_the_largest_magnitude_that_integers_represent() -> None:
    found = stripped(pairs())
    assert found.unusable == {}
    assert found.amax == {
        "image": pytest.approx(8 / 255 * 128),  # uint8, zero point 128: 0 is the furthest
        "r1": pytest.approx(6),
        "large": pytest.approx(12 / 255 * 128),
        "small": pytest.approx(12),  # symmetric int8: 127 levels, −128 is left to the clamp
    }


def test_of_a_scale_a_channel_the_largest_counts() -> None:
    b = Quantising()
    b.pair("image", "in", [0.01, 0.02, 0.04], 0, np.int8, axis=1)
    b.conv("in", "y", 3, 4)
    assert stripped(b.model({"image": SHAPE}, ["y"])).amax == {"image": pytest.approx(127 * 0.04)}


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_float_form_is_the_network_that_the_quantiser_was_given(
    form: str, activations: QuantType, per_channel: bool, tmp_path: Path
) -> None:
    """Its weights are rounded to int8, which costs 35 dB or more; a lost Relu would leave 0 dB."""
    model = mixed()
    shipped = by_tool(model, tmp_path, form, activations=activations, per_channel=per_channel)
    r, y = (run(one, {"image": IMAGE}) for one in (model, stripped(shipped).model))
    assert {name: sqnr(y[name], r[name]) > 30 for name in r} == {"map": True, "classes": True}
    assert quantisation_of(stripped(shipped).model) is None


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_relu_and_a_relu6_that_the_quantiser_left_out_are_put_back(
    form: str, tmp_path: Path
) -> None:
    shipped = by_tool(mixed(), tmp_path, form)
    assert not {"Relu", "Clip"} & set(operators(shipped))
    found = stripped(shipped)
    assert {"Relu"} <= set(operators(found.model)) & {"Relu", "Clip"}
    assert len(found.relus) >= 2


def test_a_range_of_0_to_6_is_a_relu6() -> None:
    b = Quantising()
    b.pair(b.conv("image", "c", 3, 4), "x", 6 / 255)
    b.conv("x", "y", 4, 4)
    found = stripped(b.model({"image": SHAPE}, ["y"]))
    assert operators(found.model) == ["Conv", "Clip", "Conv"]
    y = run(found.model, {"image": 100 * IMAGE})
    r = run(b.model({"image": SHAPE}, ["y"]), {"image": 100 * IMAGE})
    assert sqnr(y["y"], r["y"]) > 30


def test_no_relu_is_put_where_nothing_is_negative_anyway() -> None:
    assert stripped(pairs()).relus == ()
    b = Quantising()
    b.pair("image", "in", 0.02)  # an image is no layer: nobody left a Relu out before it
    b.node("Sigmoid", [b.conv("in", "c", 3, 4)], "s")
    b.pair("s", "q", 1 / 255)
    b.node("MaxPool", ["q"], "p", kernel_shape=[2, 2])
    b.pair("p", "y", 1 / 255)
    assert stripped(b.model({"image": SHAPE}, ["y"])).relus == ()


def test_weights_that_are_still_float_stay_as_they_are() -> None:
    b = Quantising()
    b.pair("image", "in", 8 / 255, 128)
    w = b.weight("w", b.normal(4, 3, 3, 3))
    b.pair(w, "wq", 0.5, 0, np.int8)  # a scale so coarse that folding it would be seen
    b.node("Conv", ["in", "wq"], "y", pads=[1] * 4)
    found = stripped(b.model({"image": SHAPE}, ["y"]))
    (given,) = (numpy_helper.to_array(weight) for weight in b.weights if weight.name == "w")
    assert np.array_equal(weights(found.model)["w"], given)
    assert list(found.amax) == ["image"]
    assert (found.rounded, stripped(pairs()).rounded) == (0, 3)


@pytest.mark.parametrize(
    ("operator", "shape", "axis", "attributes"),
    [
        ("Conv", (4, 3, 3, 3), 0, {"pads": [1] * 4}),
        ("ConvTranspose", (3, 4, 3, 3), 1, {"pads": [1] * 4}),
        ("Gemm", (5, 768), 0, {"transB": 1}),
        ("Gemm", (768, 5), 1, {}),
        ("MatMul", (768, 5), -1, {}),
    ],
)
def test_channels_of_weights_along_any_axis(
    operator: str, shape: tuple[int, ...], axis: int, attributes: dict[str, Any]
) -> None:
    """ONNX Runtime computes the network as it came: only the activation's rounding is left out."""
    b = Quantising()
    w = b.integers(
        "w",
        b.normal(*shape)
        * np.linspace(0.1, 3, shape[axis])
        .reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
        .astype("f4"),
        axis % len(shape),
    )
    b.nodes[-1].attribute[0].i = axis
    x = "image" if "Conv" in operator else b.node("Flatten", ["image"], "flat")
    b.node(operator, [x, w], "y", **attributes)
    assert quantised_apart(b.model({"image": SHAPE}, ["y"]))["y"] > EXACT


def test_blocked_and_4_bit_weights_of_opset_21_are_folded() -> None:
    b = Builder()
    random = np.random.default_rng(0)
    steps = random.integers(-8, 8, (768, 5))
    b.weights.append(helper.make_tensor("w", TensorProto.INT4, steps.shape, steps.ravel().tolist()))
    b.weight("s", random.uniform(0.01, 0.1, (12, 5)).astype("f4"))
    b.node("DequantizeLinear", ["w", "s"], "wf", axis=0, block_size=64)
    b.node("Flatten", ["image"], "flat")
    b.node("MatMul", ["flat", "wf"], "y")
    model = b.model({"image": SHAPE}, ["y"], opset=21, ir_version=10)
    assert quantised_apart(model)["y"] > EXACT


def test_a_block_that_does_not_fit_is_refused_by_name() -> None:
    b = Builder()
    b.weight("w", np.ones((768, 5), "i1"))
    b.weight("s", np.ones((10, 5), "f4"))  # 10 blocks of 64 are 640 rows
    b.node("DequantizeLinear", ["w", "s"], "wf", axis=0, block_size=64)
    b.node("Flatten", ["image"], "flat")
    b.node("MatMul", ["flat", "wf"], "y")
    with pytest.raises(
        StripError, match=r"dequantizelinear_wf: a scale of shape \(10, 5\) along axis 0"
    ):
        stripped(b.model({"image": SHAPE}, ["y"], opset=21, ir_version=10))


def test_one_scale_for_several_tensors() -> None:
    b = Quantising()
    s, z = b.weight("s", np.float32(0.05)), b.weight("z", np.uint8(128))
    b.node("QuantizeLinear", ["image", s, z], "q1")
    b.node("DequantizeLinear", ["q1", s, z], "d1")
    b.node("QuantizeLinear", [b.conv("d1", "c", 3, 3), s, z], "q2")
    b.node("DequantizeLinear", ["q2", s, z], "y")
    found = stripped(b.model({"image": SHAPE}, ["y"]))
    assert found.amax == {"image": pytest.approx(6.4), "y": pytest.approx(6.4)}


def test_integers_are_carried_as_floats() -> None:
    b = Quantising()
    s, z = b.weight("s", np.float32(8 / 255)), b.weight("z", np.uint8(128))
    b.node("QuantizeLinear", ["image", s, z], "q")
    b.node("MaxPool", ["q"], "p", kernel_shape=[2, 2], strides=[2, 2])
    b.node("Transpose", ["p"], "t", perm=[0, 1, 3, 2])
    b.node("DequantizeLinear", ["t", s, z], "d")
    b.conv("d", "y", 3, 4)
    model = b.model({"image": SHAPE}, ["y"])
    assert operators(stripped(model).model) == ["MaxPool", "Transpose", "Conv"]
    assert quantised_apart(model)["y"] > 25


def test_integers_that_are_dequantised_otherwise_are_refused() -> None:
    """DQ with twice the scale doubles the tensor: without both nodes it would be another function."""
    b = Quantising()
    s, double = b.weight("s", np.float32(0.05)), b.weight("s2", np.float32(0.1))
    b.node("QuantizeLinear", ["image", s], "q")
    b.node("DequantizeLinear", ["q", double], "d")
    b.conv("d", "y", 3, 4)
    with pytest.raises(StripError, match="with another scale or zero point than it was made with"):
        stripped(b.model({"image": SHAPE}, ["y"]))


def test_arithmetic_on_integers_is_refused_by_name() -> None:
    b = Quantising()
    s = b.weight("s", np.float32(0.05))
    b.node("QuantizeLinear", ["image", s], "q")
    b.node("Cast", ["q"], "steps", to=TensorProto.FLOAT)
    b.conv("steps", "y", 3, 4)
    with pytest.raises(StripError, match=r"Cast 'cast_steps': computes on the integers 'q'"):
        stripped(b.model({"image": SHAPE}, ["y"]))


def test_an_operator_that_nobody_knows_is_refused_by_name() -> None:
    b = Quantising()
    for name, value in (("s", np.float32(0.05)), ("z", np.uint8(0))):
        b.weight(name, value)
    b.node("QLinearReduceMean", ["image", "s", "z", "s", "z"], "y", domain="com.microsoft")
    with pytest.raises(StripError, match="this tool knows no float operator for it"):
        stripped(b.model({"image": SHAPE}, ["y"]))


def test_heads_that_are_integers_become_float() -> None:
    b = Quantising()
    s = b.weight("s", np.float32(0.1))
    z = b.weight("z", np.uint8(128))
    b.node("QuantizeLinear", [b.conv("image", "c", 3, 4), s, z], "y")
    model = b.model({"image": SHAPE}, ["y"])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    model_proto = stripped(model).model
    assert model_proto.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    steps = run(model, {"image": IMAGE})["y"].astype("f4")
    assert sqnr((steps - 128) * np.float32(0.1), run(model_proto, {"image": IMAGE})["y"]) > 25


def test_one_tensor_as_two_heads() -> None:
    b = Quantising()
    b.conv("image", "c", 3, 4)
    b.pair("c", "one", 0.1, 128)
    b.pair("c", "two", 0.05, 128)
    model = stripped(b.model({"image": SHAPE}, ["one", "two"])).model
    outputs = run(model, {"image": IMAGE})
    assert np.array_equal(outputs["one"], outputs["two"])


def test_scales_of_every_image_anew_are_no_range(tmp_path: Path) -> None:
    found = stripped(by_tool(networks.detector(), tmp_path, "dynamic"))
    assert found.amax == {}
    assert found.unusable["image"] == "its scale is made of every image anew"


def test_an_inner_graph_that_reads_what_is_quantised_is_refused() -> None:
    b = Quantising()
    b.pair("image", "in", 0.05, 128)
    inner = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["same"])],
        "then",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, SHAPE)],
    )
    b.weight("yes", np.array(True))
    b.node("If", ["yes"], "y", then_branch=inner, else_branch=inner)
    with pytest.raises(GraphError, match="inner graph reads 'in'"):
        stripped(b.model({"image": SHAPE}, ["y"]))
