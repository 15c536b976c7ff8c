"""Where Q/DQ nodes go, and which scale each gets."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.unit import small_networks as networks
from tests.unit.placed_networks import BY, WHOLE, minmax, placed, source, sqnr_db, values
from tests.unit.small_networks import Builder, image
from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import QdqError, place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions, simulation_of
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.tables.table import Table

# Ranges


def test_every_quantisable_tensor_gets_a_range_and_nothing_else() -> None:
    model, names = calibration_model(networks.detector())
    assert names == (
        "image", "c1", "s2", "c2", "s4", "large", "c3", "lateral", "up", "joined", "c4", "mixed",
        "c5", "sum", "small",
    )  # fmt: skip
    outputs = [value.name for value in model.graph.output]
    assert outputs[:2] == ["large", "small"]
    assert sorted(outputs) == sorted(set(names) - {"image"})
    onnx.checker.check_model(model)
    wide = networks.run(model, {"image": image()})
    for head, array in networks.run(networks.detector(), {"image": image()}).items():
        np.testing.assert_array_equal(wide[head], array)


def test_shape_arithmetic_needs_no_range() -> None:
    b = Builder()
    b.node("Shape", ["image"], "s")
    b.weight("zero", np.array([0]))
    b.node("Slice", ["s", "zero", b.weight("one", np.array([1]))], "n")
    b.node("Concat", ["n", b.weight("rest", np.array([-1]))], "shape", axis=0)
    b.conv("image", "c", 3, 4)
    b.node("Reshape", ["c", "shape"], "y")
    model, names = calibration_model(b.model({"image": [1, 3, 4, 4]}, ["y"]))
    assert names == ("image", "c", "y")
    assert set(place(model, minmax(model)).quantised) == {"image"}


def test_groups_share_one_scale() -> None:
    leader = scale_groups(canonical(networks.detector()))
    # Relu takes its output's range back, Resize its input's forward; a concatenation takes those
    # that only it reads (the upsampled branch), not those that others read too (s2).
    assert leader["c1"] == leader["s2"] == "s2"
    assert leader["lateral"] == leader["up"] == leader["joined"] == "joined"
    assert leader["c3"] == "c3"
    assert leader["mixed"] == "mixed"


def test_resizing_that_leaves_its_input_range_has_a_scale_of_its_own() -> None:
    b = Builder()
    b.conv("image", "a", 3, 4)
    b.weight("twice", np.array([1, 1, 2, 2], "f4"))
    b.node("Resize", ["a", "", "twice"], "cubic", mode="cubic")
    b.conv("cubic", "y", 4, 4)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    assert scale_groups(model)["cubic"] == "cubic"
    assert source(placed(model).model, "resize_cubic") == "Conv"


# Placement as TensorRT asks


def test_tensorrt_placement_of_the_detector() -> None:
    placement = placed(networks.detector())
    model = placement.model
    assert set(placement.layers.values()) == {"int8"}
    assert placement.skipped == {}
    assert set(placement.quantised) == {
        "image",
        "s2",
        "s4",
        "lateral",
        "up",
        "joined",
        "mixed",
        "sum",
    }
    # Nothing between a convolution and what fuses into it.
    assert source(model, "relu_s2") == "Conv"
    assert source(model, "leakyrelu_lateral") == "Conv"
    assert [source(model, "add_sum", i) for i in (0, 1)] == ["Conv", "DequantizeLinear"]
    # Weights and data are quantised, biases are not, heads are float.
    assert [source(model, "conv_c4", i) for i in (0, 1, 2)] == ["DequantizeLinear"] * 2 + ["input"]
    nodes = graph.producers(model)
    assert nodes["small"].op_type == nodes["large"].op_type == "Conv"
    # The branch that only the concatenation reads has its scale, the other one its own.
    amax, scales = minmax(networks.detector()).amax, placement.quantised
    assert amax["lateral"] < amax["joined"]
    assert scales["lateral"] == scales["up"] == scales["joined"] == amax["joined"] / 127
    assert scales["s2"] == amax["s2"] / 127


def test_zero_points_are_int8_zeros_and_scales_are_amax_over_127() -> None:
    table = minmax(networks.detector())
    placement = place(networks.detector(), table)
    assert values(placement.model, "image/scale") == np.float32(table.amax["image"] / 127)
    zeros = [t for t in placement.model.graph.initializer if t.name.endswith("zero_point")]
    assert {numpy_helper.to_array(t).dtype for t in zeros} == {np.dtype("int8")}
    assert not any(numpy_helper.to_array(t).any() for t in zeros)


def test_a_tensor_has_one_q_and_one_dq() -> None:
    ops = networks.operators(placed(networks.detector(), ONNXRUNTIME).model)
    activations = len(placed(networks.detector(), ONNXRUNTIME).quantised)
    assert ops.count("QuantizeLinear") == activations
    assert ops.count("DequantizeLinear") == activations + 2 * ops.count("Conv")


def test_two_fusable_branches_leave_one_residual_quantised() -> None:
    b = Builder()
    b.conv("image", "left", 3, 4)
    b.conv("image", "right", 3, 4)
    b.node("Relu", [b.node("Add", ["left", "right"], "sum")], "r")
    b.conv("r", "y", 4, 4)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    assert set(placed(model).quantised) == {"image", "left", "r"}
    found = set(placed(model, ONNXRUNTIME).quantised)
    assert found == {"image", "left", "right", "sum", "r"}
    assert set(placed(model, WHOLE).quantised) == found | {"y"}


def test_adding_a_constant_is_no_residual() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node("Add", ["c", b.weight("k", np.ones((1, 4, 1, 1), "f4"))], "s")
    b.conv("s", "y", 4, 4)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    assert set(placed(model).quantised) == {"image", "s"}


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [2, 2]}),
        ("Transpose", {"perm": [0, 1, 3, 2]}),
        ("AveragePool", {"kernel_shape": [2, 2]}),
        ("GlobalAveragePool", {}),
    ],
)
def test_pools_and_carriers_run_between_q_and_dq(
    operator: str, attributes: dict[str, list[int]]
) -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node(operator, ["c"], "p", name="middle", **attributes)
    b.conv("p", "y", 4, 4)
    placement = placed(b.model({"image": [1, 3, 8, 8]}, ["y"]))
    assert source(placement.model, "middle") == "DequantizeLinear"
    one_scale = placement.quantised["c"] == placement.quantised["p"]
    assert one_scale is (operator in ("MaxPool", "Transpose"))


def test_all_outputs_of_a_split_are_quantised() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.nodes.append(onnx.helper.make_node("Split", ["c"], ["a", "z"], name="split", axis=1))
    b.conv("a", "y", 2, 4)
    b.node("Sigmoid", ["z"], "head")
    placement = placed(b.model({"image": [1, 3, 4, 4]}, ["y", "head"]))
    assert {"c", "a", "z"} <= set(placement.quantised)
    assert len({placement.quantised[name] for name in ("c", "a", "z")}) == 1


# Options


@pytest.mark.parametrize("options", [ONNXRUNTIME, WHOLE])
def test_onnxruntime_placement_puts_q_behind_every_convolution_but_the_last(
    options: PlacementOptions,
) -> None:
    model = placed(networks.detector(), options).model
    users = graph.consumers(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            heads = (
                []
                if options is ONNXRUNTIME and node.output[0] in ("large", "small")
                else ["QuantizeLinear"]
            )
            assert [user.op_type for user in users.get(node.output[0], ())] == heads, node.name
            assert source(model, node.name, 2) == "DequantizeLinear"
    assert {value.name for value in model.graph.output} == {"large", "small"}


def test_q_before_relu_leaves_the_arithmetic_as_it_was() -> None:
    b = Builder()
    b.node("Relu", [b.conv("image", "c", 3, 8)], "r")
    b.node("Clip", [b.conv("r", "d", 8, 8), b.weight("lo", np.float32(0)), b.weight("hi", np.float32(0.7))], "k")  # fmt: skip
    b.conv("k", "y", 8, 4)
    model = b.model({"image": [1, 3, 16, 16]}, ["y"])
    fused, split = placed(model), placed(model, PlacementOptions(fuse=False))
    assert len(split.quantised) == len(fused.quantised) + 2
    for seed in range(5):
        feed = {"image": 2 * image(seed=seed)}
        np.testing.assert_array_equal(
            networks.run(fused.model, feed)["y"], networks.run(split.model, feed)["y"]
        )


@pytest.mark.parametrize("options", [TENSORRT, ONNXRUNTIME])
def test_the_simulation_is_the_same_arithmetic_with_less_work(options: PlacementOptions) -> None:
    model = networks.detector()
    full, folded = placed(model, options), placed(model, simulation_of(options))
    assert folded.quantised == full.quantised
    ops = networks.operators(folded.model)
    assert ops.count("DequantizeLinear") == len(folded.quantised)
    expected = networks.run(full.model, {"image": image()})
    for head, array in networks.run(folded.model, {"image": image()}).items():
        np.testing.assert_array_equal(array, expected[head])
        assert 25 < sqnr_db(networks.run(model, {"image": image()})[head], array) < 60


def test_an_excluded_layer_keeps_float_weights_and_the_others_do_not() -> None:
    options = PlacementOptions(exclude=frozenset({"conv_c4"}))
    placement = placed(networks.detector(), options)
    assert placement.layers["conv_c4"] == "excluded"
    assert [n for n, state in placement.layers.items() if state == "int8"] == [
        "conv_c1", "conv_c2", "conv_large", "conv_c3", "conv_c5", "conv_small",
    ]  # fmt: skip
    assert source(placement.model, "conv_c4", 1) == "input"
    assert "joined" not in placement.quantised
    with pytest.raises(QdqError, match="no node 'conv_c9'"):
        placed(networks.detector(), PlacementOptions(exclude=frozenset({"conv_c9"})))


def test_excluding_every_layer_leaves_the_float_network() -> None:
    layers = frozenset(n.name for n in networks.detector().graph.node if n.op_type == "Conv")
    placement = placed(networks.detector(), replace(ONNXRUNTIME, exclude=layers))
    assert placement.quantised == {}
    expected = networks.run(networks.detector(), {"image": image()})
    for head, array in networks.run(placement.model, {"image": image()}).items():
        np.testing.assert_array_equal(array, expected[head])


def test_a_head_that_other_layers_read_keeps_its_name() -> None:
    b = Builder()
    b.conv("image", "head", 3, 4)
    b.conv("head", "y", 4, 4)
    model = b.model({"image": [1, 3, 4, 4]}, ["head", "y"])
    for options in (TENSORRT, ONNXRUNTIME, WHOLE):
        found = networks.run(placed(model, options).model, {"image": image((1, 3, 4, 4))})
        assert set(found) == {"head", "y"}
    nodes = graph.producers(placed(model, TENSORRT).model)
    assert nodes["head"].op_type == "Conv"
    assert graph.producers(placed(model, ONNXRUNTIME).model)["head"].op_type == "Conv"
    assert graph.producers(placed(model, WHOLE).model)["head"].op_type == "DequantizeLinear"


# Other layers


def test_gemm_matmul_and_transposed_convolution() -> None:
    b = Builder()
    b.weight("t", b.random.normal(0, 0.3, (3, 4, 2, 2)).astype("f4"))
    b.node("ConvTranspose", ["image", "t"], "up", strides=[2, 2])
    b.node("Flatten", ["up"], "flat")
    b.weight("g", b.random.normal(0, 0.1, (10, 256)).astype("f4"))
    b.node("Gemm", ["flat", "g", b.weight("gb", np.ones(10, "f4"))], "h", transB=1)
    b.weight("m", b.random.normal(0, 0.3, (10, 5)).astype("f4"))
    b.node("MatMul", ["h", "m"], "y")
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    for options in (TENSORRT, ONNXRUNTIME):
        placement = placed(model, options)
        assert set(placement.layers.values()) == {"int8"}
        # The first node behind a weight: Q where weights stay float, DQ where they are integers.
        axes = {
            node.input[0]: graph.attribute(node, "axis", None)
            for node in placement.model.graph.node
            if node.input[0].endswith("/weight")
        }
        assert axes == {"convtranspose_up/weight": 1, "gemm_h/weight": 0, "matmul_y/weight": 1}
        feed = {"image": image((1, 3, 4, 4))}
        found = networks.run(placement.model, feed)["y"]
        assert sqnr_db(networks.run(model, feed)["y"], found) > 25


def test_a_product_of_activations_is_quantised_on_both_sides() -> None:
    b = Builder()
    b.node("Transpose", ["x"], "t", perm=[1, 0])
    b.node("MatMul", ["x", "t"], "y")
    placement = placed(b.model({"x": [4, 6]}, ["y"]))
    assert placement.layers == {"matmul_y": "int8"}
    assert placement.quantised["x"] == placement.quantised["t"]


def test_an_operator_of_another_domain_is_left_alone() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node("Upsample2x", ["c"], "u", domain="acme", name="plugin")
    b.conv("u", "y", 4, 4)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    table = Table(amax={"image": 1.0, "c": 1.0, "u": 1.0}, provenance=BY)
    placement = place(model, table)
    assert set(placement.quantised) == {"image", "u"}
    assert source(placement.model, "plugin") == "Conv"


# Tables that do not fit


def test_missing_and_unusable_ranges_are_reported_and_leave_the_layer_in_float() -> None:
    whole = minmax(networks.detector())
    amax = {name: a for name, a in whole.amax.items() if name not in ("mixed", "sum")}
    table = Table(amax=amax, unusable={"sum": "amax is zero"}, provenance=BY)
    placement = place(networks.detector(), table)
    assert list(placement.skipped.items()) == [
        ("mixed", "not in the table"),
        ("sum", "amax is zero"),
    ]
    assert placement.layers["conv_c5"] == "its input 'mixed' has no range"
    assert placement.layers["conv_small"] == "its input 'sum' has no range"
    assert placement.layers["conv_c4"] == "int8"
    assert source(placement.model, "conv_c5", 1) == "input"
    onnx.checker.check_model(placement.model, full_check=True)


@pytest.mark.parametrize("amax", [{}, {"another": 1.0}])
def test_a_table_of_another_network_is_an_error(amax: dict[str, float]) -> None:
    with pytest.raises(QdqError, match="nothing to quantise.*another network"):
        place(networks.detector(), Table(amax=amax, provenance=BY))


def test_the_model_given_is_not_changed() -> None:
    model = networks.detector()
    placed(model, ONNXRUNTIME)
    assert model == networks.detector()


def test_an_opset_9_network_with_initialisers_as_inputs() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node("Upsample", ["c", b.weight("twice", np.array([1, 1, 2, 2], "f4"))], "u", mode="linear")
    b.conv("u", "y", 4, 4)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"], opset=9, ir_version=3)
    placement = placed(model, ONNXRUNTIME)
    assert placement.quantised["c"] == placement.quantised["u"]
    feed = {"image": image((1, 3, 4, 4))}
    reference = networks.run(model, feed)["y"]
    assert sqnr_db(reference, networks.run(placement.model, feed)["y"]) > 25
