import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.unit import small_networks as networks
from tests.unit.small_networks import Builder, image
from trt_matrix.core.network import graph, loading, shapes
from trt_matrix.core.network.canonical import canonical, opset
from trt_matrix.core.network.graph import GraphError

CONTENT = networks.detector().SerializeToString()


def external(location: str, **entries: str) -> onnx.ModelProto:
    model = networks.detector()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    return model


# Loading


def test_a_good_network_is_loaded_as_it_is() -> None:
    assert loading.load(CONTENT, "net.onnx") == networks.detector()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "net.onnx: the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (CONTENT[: len(CONTENT) // 2], "truncated"),
        (b"GIF89a not a network at all", "net.onnx: "),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "states no operator set"),
    ],
)
def test_files_that_are_no_network(content: bytes, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        loading.load(content, "net.onnx")


@given(st.integers(0, len(CONTENT) - 1))
def test_truncated_anywhere_is_an_error_with_the_name_of_the_file(length: int) -> None:
    with pytest.raises(GraphError, match=r"^net\.onnx: "):
        loading.load(CONTENT[:length], "net.onnx")


def test_an_unsupported_operator_is_named() -> None:
    b = Builder()
    b.node("NoSuchOperator", ["x"], "y")
    content = b.model({"x": [1]}, ["y"]).SerializeToString()
    with pytest.raises(GraphError, match="NoSuchOperator"):
        loading.load(content, "net.onnx")


def test_a_custom_operator_passes_and_is_marked() -> None:
    b = Builder()
    b.node("Upsample2x", ["x"], "u", domain="acme", name="plugin")
    b.node("Relu", ["u"], "y")
    model = b.model({"x": [1, 3, 4, 4]}, ["y"])
    loaded = loading.load(model.SerializeToString(), "net.onnx")
    assert graph.custom_operators(loaded) == (
        graph.CustomOperator(node="plugin", operator="Upsample2x", domain="acme"),
    )
    assert graph.custom_operators(networks.detector()) == ()


def test_external_weights_are_named_where_missing_and_embedded_where_given() -> None:
    model = external("net.data", offset="4", length="864")
    assert loading.external_files(model) == ("net.data",)
    content = model.SerializeToString()
    with pytest.raises(GraphError, match=r"its weights are in 'net.data', which is missing"):
        loading.load(content, "net.onnx")
    with pytest.raises(GraphError, match="needs bytes 4 to 868.*which has 800: truncated"):
        loading.load(content, "net.onnx", {"net.data": bytes(800)})
    weight = np.arange(216, dtype="f4")
    loaded = loading.load(content, "net.onnx", {"net.data": b"head" + weight.tobytes()})
    assert (numpy_helper.to_array(loaded.graph.initializer[0]).ravel() == weight).all()


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../up", "a/../../up", "C:/x", "..\\up", "\\\\host\\x", ""]
)
def test_external_weights_stay_in_the_folder_of_the_model(location: str) -> None:
    with pytest.raises(GraphError, match="refused"):
        loading.external_files(external(location))


@pytest.mark.parametrize("entries", [{"offset": "many"}, {"offset": "-4"}, {"length": "-1"}])
def test_hostile_positions_of_external_weights(entries: dict[str, str]) -> None:
    content = external("net.data", **entries).SerializeToString()
    with pytest.raises(GraphError, match=r"net.onnx: weight 'c1.weight'"):
        loading.load(content, "net.onnx", {"net.data": bytes(900)})


# What it takes and gives


def test_inputs_and_outputs_with_dynamic_dimensions() -> None:
    b = Builder()
    b.node("Relu", ["x"], "y")
    model = b.model({"x": ["batch", 3, 4, 4]}, ["y"])
    (info,) = graph.inputs(model)
    assert info == graph.TensorInfo(name="x", dtype="float32", shape=("batch", 3, 4, 4))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (head,) = graph.outputs(model)
    assert head.shape is None
    assert loading.load(model.SerializeToString(), "net.onnx") == model


def test_initialisers_listed_as_inputs_are_no_inputs() -> None:
    b = Builder()
    b.conv("x", "y", 3, 4)
    model = b.model({"x": [1, 3, 4, 4]}, ["y"], ir_version=3)
    assert [value.name for value in model.graph.input] == ["x", "y.weight", "y.bias"]
    assert [info.name for info in graph.inputs(model)] == ["x"]


@pytest.mark.parametrize(
    ("dtype", "name"), [(TensorProto.FLOAT16, "float16"), (TensorProto.UINT8, "uint8")]
)
def test_an_input_that_is_not_float32_is_refused_by_type(dtype: int, name: str) -> None:
    b = Builder()
    b.node("Cast", ["x"], "y", to=TensorProto.FLOAT)
    with pytest.raises(GraphError, match=f"input 'x' is {name}, expected float32"):
        graph.require_float32_input(b.model({"x": [1]}, ["y"], dtype=dtype))


def test_one_input_is_expected() -> None:
    b = Builder()
    b.node("Add", ["x", "z"], "y")
    with pytest.raises(GraphError, match=r"found 2 \(x, z\)"):
        graph.require_float32_input(b.model({"x": [1], "z": [1]}, ["y"]))


# What depends on what


def test_nodes_get_stable_names_of_their_own() -> None:
    b = Builder()
    b.node("Relu", ["x"], "a", name="")
    b.node("Relu", ["a"], "b", name="Relu_0")
    b.node("Relu", ["b"], "c", name="Relu_0")
    model = b.model({"x": [1]}, ["c"])
    names = [node.name for node in graph.named(model).graph.node]
    assert names == ["Relu_0_", "Relu_0", "Relu_2"]
    assert names == [node.name for node in graph.named(graph.named(model)).graph.node]
    assert model.graph.node[0].name == ""
    with pytest.raises(GraphError, match="call `named` first"):
        graph.backward_cone(model, "c")


def test_the_backward_cone_is_in_topological_order() -> None:
    cone = graph.backward_cone(networks.detector(), "large")
    assert cone == ("conv_c1", "relu_s2", "conv_c2", "relu_s4", "conv_large")
    everything = [node.name for node in networks.detector().graph.node]
    small = graph.backward_cone(networks.detector(), "small")
    assert list(small) == [name for name in everything if name != "conv_large"]
    assert graph.backward_cone(networks.detector(), "image") == ()
    with pytest.raises(GraphError, match="no tensor 'tiny'.*large, small"):
        graph.backward_cone(networks.detector(), "tiny")


def test_a_cone_reaches_through_subgraphs() -> None:
    b = Builder()
    b.node("Relu", ["x"], "a")
    b.node("Relu", ["x"], "c")
    inner = helper.make_graph(
        [helper.make_node("Neg", ["a"], ["n"])],
        "inner",
        [],
        [helper.make_tensor_value_info("n", TensorProto.FLOAT, None)],
    )
    b.weight("yes", np.array(True))
    b.node("If", ["yes"], "y", then_branch=inner, else_branch=inner)
    assert graph.backward_cone(b.model({"x": [1]}, ["y"]), "y") == ("relu_a", "if_y")


def test_producers_and_consumers() -> None:
    model = networks.detector()
    assert graph.producers(model)["up"].op_type == "Resize"
    assert "image" not in graph.producers(model)
    users = graph.consumers(model)
    assert [node.name for node in users["mixed"]] == ["conv_c5", "add_sum"]
    assert "small" not in users


# Multiply-accumulates


def test_macs_of_convolutions() -> None:
    counts = shapes.macs(networks.detector())
    assert counts["conv_c1"] == (8 * 8 * 8) * (3 * 3 * 3)
    assert counts["conv_small"] == (6 * 8 * 8) * 8
    assert "relu_s2" not in counts


def test_macs_of_groups_transposed_and_matrices() -> None:
    b = Builder()
    b.weight("dw", np.ones((8, 1, 3, 3), "f4"))
    b.node("Conv", ["x", "dw"], "a", group=8, pads=[1] * 4)
    b.weight("up", np.ones((8, 2, 2, 2), "f4"))
    b.node("ConvTranspose", ["a", "up"], "t", group=2, strides=[2, 2])
    b.node("Flatten", ["t"], "f")
    b.weight("g", np.ones((10, 4 * 8 * 8), "f4"))
    b.node("Gemm", ["f", "g"], "h", transB=1)
    b.weight("m", np.ones((10, 5), "f4"))
    b.node("MatMul", ["h", "m"], "y")
    counts = shapes.macs(b.model({"x": ["n", 8, 4, 4]}, ["y"]))
    assert counts == {
        "conv_a": (8 * 4 * 4) * 9,
        "convtranspose_t": (8 * 4 * 4) * (2 * 2 * 2),
        "gemm_h": 10 * 256,
        "matmul_y": 10 * 5,
    }


def test_macs_behind_an_unknown_operator_count_one_position() -> None:
    b = Builder()
    b.node("Mystery", ["x"], "u", domain="acme")
    b.conv("u", "y", 3, 4)
    model = b.model({"x": [1, 3, 8, 8]}, ["y"])
    assert shapes.macs(model) == {"conv_y": 4 * 3 * 9}


# Canonical form


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("version", [7, 8, 9])
@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_upsample_becomes_the_same_function(mode: str, version: int, factor: float) -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    scales = [1.0, 1.0, factor, factor]
    if version < 9:
        b.node("Upsample", ["c"], "u", mode=mode, scales=scales)
    else:
        b.node("Upsample", ["c", b.weight("s", np.array(scales, "f4"))], "u", mode=mode)
    b.node("LeakyRelu", ["u"], "y")
    old = b.model({"image": [1, 3, 6, 6]}, ["y"], opset=version, ir_version=3)
    new = canonical(old)
    onnx.checker.check_model(new, full_check=True)
    assert opset(new) == 13
    assert [(node.op_type, node.output[0]) for node in new.graph.node] == [
        ("Conv", "c"), ("Resize", "u"), ("LeakyRelu", "y"),
    ]  # fmt: skip
    feed = {"image": image((1, 3, 6, 6))}
    np.testing.assert_array_equal(networks.run(old, feed)["y"], networks.run(new, feed)["y"])


def test_resize_of_opset_10_becomes_the_same_function() -> None:
    b = Builder()
    b.weight("s", np.array([1, 1, 2, 2], "f4"))
    b.node("Resize", ["image", "s"], "y", mode="linear")
    old = b.model({"image": [1, 3, 6, 6]}, ["y"], opset=10)
    feed = {"image": image((1, 3, 6, 6))}
    new = canonical(old)
    assert graph.attribute(new.graph.node[0], "coordinate_transformation_mode") == "asymmetric"
    np.testing.assert_array_equal(networks.run(old, feed)["y"], networks.run(new, feed)["y"])


def test_a_custom_operator_survives_the_upgrade() -> None:
    b = Builder()
    b.node("Mystery", ["image"], "u", domain="acme")
    b.conv("u", "y", 3, 4)
    new = canonical(b.model({"image": [1, 3, 6, 6]}, ["y"], opset=9))
    assert [(n.op_type, n.domain) for n in new.graph.node] == [("Mystery", "acme"), ("Conv", "")]
    assert {entry.domain for entry in new.opset_import} == {"", "acme"}


@pytest.mark.parametrize("biased", [True, False])
def test_batch_normalisation_is_folded(biased: bool) -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    if not biased:
        del b.nodes[0].input[2]
    names = [
        b.weight(f"bn.{i}", np.abs(b.random.normal(1, 0.3, 4)).astype("f4") + 0.1) for i in range(4)
    ]
    b.node("BatchNormalization", ["c", *names], "n", epsilon=1e-3)
    b.node("Relu", ["n"], "y")
    before = b.model({"image": [1, 3, 6, 6]}, ["y"])
    after = canonical(before)
    assert networks.operators(after) == ["Conv", "Relu"]
    assert after.graph.node[0].output[0] == "n"
    assert len(after.graph.initializer) == 2
    feed = {"image": image((1, 3, 6, 6))}
    np.testing.assert_allclose(
        networks.run(before, feed)["y"], networks.run(after, feed)["y"], atol=1e-5
    )


def test_batch_normalisation_stays_where_folding_would_change_another_output() -> None:
    b = Builder()
    b.conv("image", "c", 3, 4)
    ones = [b.weight(f"bn.{i}", np.ones(4, "f4")) for i in range(4)]
    b.node("BatchNormalization", ["c", *ones], "n")
    model = b.model({"image": [1, 3, 6, 6]}, ["n", "c"])
    assert networks.operators(canonical(model)) == ["Conv", "BatchNormalization"]


def test_constants_become_initialisers_and_unused_ones_go() -> None:
    b = Builder()
    b.weight("unused", np.zeros(1000, "f4"))
    b.node("Constant", [], "w", value=numpy_helper.from_array(np.ones((2, 3, 1, 1), "f4")))
    b.node("Constant", [], "k", value_float=2.0)
    b.node("Conv", ["image", "w"], "c")
    b.node("Mul", ["c", "k"], "y")
    model = canonical(b.model({"image": [1, 3, 4, 4]}, ["y"]))
    assert networks.operators(model) == ["Conv", "Mul"]
    assert {tensor.name for tensor in model.graph.initializer} == {"w", "k"}


def test_the_canonical_form_is_its_own() -> None:
    once = canonical(networks.detector())
    assert canonical(once) == once


def test_a_newer_operator_set_is_kept() -> None:
    b = Builder()
    b.conv("image", "y", 3, 4)
    assert opset(canonical(b.model({"image": [1, 3, 4, 4]}, ["y"], opset=17))) == 17
