"""Networks made fit to be fed: the same function as the file's, computed by ONNX Runtime on both."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit import small_networks as networks
from tests.unit.preparations import prepared, problem, same
from tests.unit.public_networks import dynamic, half, ssd
from tests.unit.quantised import sqnr
from tests.unit.small_networks import Builder, detector, operators, run
from trt_matrix.core.network.graph import outputs
from trt_matrix.core.network.image_input import image_input
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.prepared.preparing import InputWishes, prepare

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)


def test_a_network_that_can_be_fed_is_given_back_as_it_is() -> None:
    model = detector()
    found = prepare(model, InputWishes(size=(16, 16)))
    assert found.model is model
    assert (found.told, found.facts, found.pixels) == ((), {}, None)


# Open shapes


@pytest.mark.parametrize("batch", ["batch", None, -1, 0, "a\nb"])
def test_an_open_batch_is_one(batch: Any) -> None:
    model = dynamic([batch, 3, 16, 16])
    found = prepared(model)
    assert found.facts == {"shapes": {"image": [1, 3, 16, 16]}}
    (told,) = found.told
    assert told.endswith("in its file, is pinned to [1, 3, 16, 16]")
    assert "\n" not in told
    if batch == 0:  # which ONNX Runtime takes for no image at all
        model = detector()
    same(model, found, {"image": networks.image()})


def test_height_and_width_come_from_the_preprocessing_and_reach_the_heads() -> None:
    found = prepared(dynamic(["batch", 3, "h", "w"]), size=(32, 64))
    assert image_input(found.model).shape == (3, 32, 64)
    assert [output.shape for output in outputs(found.model)] == [(1, 6, 8, 16), (1, 6, 16, 32)]


def test_a_size_changes_nothing_that_the_file_fixes() -> None:
    assert image_input(prepared(dynamic(["n", 3, 16, 16]), size=(32, 32)).model).shape == (
        3,
        16,
        16,
    )


def test_open_sizes_are_told_by_name_with_the_line_to_write() -> None:
    place, told = problem(dynamic(["batch", 3, "height", "width"]))
    assert place == ()
    assert "'image' has the shape [batch, 3, height, width] in its file" in told
    assert "'height' and 'width' are open" in told
    assert "data: {preprocess: {size: [640, 640]}}" in told
    _, told = problem(dynamic(["batch", "c", 16, 16]))
    assert "'c' is open" in told
    assert "model: {shapes: {image: [1, 3, 16, 16]}}" in told


def test_an_input_without_a_shape_takes_one_that_is_stated() -> None:
    model = dynamic([1, 3, 16, 16])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "has no shape in its file; say what it gets" in problem(model)[1]
    found = prepared(model, shapes={"image": (1, 3, 16, 16)})
    same(model, found, {"image": networks.image()})


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((1, 3, 16), "[1, 3, 16] are 3 sizes; 'image' has the shape [batch, 3, h, w] in its file, with 4"),
        ((1, 4, 16, 16), "does not take 'image' as [1, 4, 16, 16]: the convolution 'conv_c1' takes 3 channels"),
        ((2, 3, 16, 16), "images are fed one by one, so its batch is to be 1; say what it gets, such as model: {shapes: {image: [1, 3, 16, 16]}}"),
        ((1, 3, 1 << 40, 16), "is too large: more than 268435456 elements"),
        ((1, 3, 1 << 15, 1 << 15), "is too large"),
        ((1, 3, 18, 16), "the network does not take 'image' as [1, 3, 18, 16]"),
    ],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_refused_where_it_stands(
    sizes: tuple[int, ...], told: str
) -> None:
    place, text = problem(dynamic(["batch", 3, "h", "w"]), shapes={"image": sizes})
    assert place == ("shapes", "image")
    assert told in text


def test_a_size_that_the_network_refuses_is_told_with_its_reason() -> None:
    """Halved twice and doubled, 18 rows are 10 beside 9."""
    _, told = problem(dynamic(["batch", 3, "h", "w"]), size=(18, 16))
    assert "does not take 'image' as [1, 3, 18, 16]: " in told
    assert "(op_type:Concat, node name: concat_joined)" in told
    assert "choose another size" in told


def traced() -> onnx.ModelProto:
    """CenterFace as it is published: traced with ten images of 32×32, though it takes any."""
    return dynamic([10, 3, 32, 32], [10, 6, 8, 8])


def test_a_batch_that_tracing_left_is_one_where_that_is_asked_for() -> None:
    place, told = problem(traced())
    assert place == ()
    assert "has the shape [10, 3, 32, 32] in its file: images are fed one by one" in told
    assert "model: {shapes: {image: [1, 3, 32, 32]}}, if it takes that" in told
    assert likely(traced()).wishes.shapes == {"image": [1, 3, 32, 32]}
    b = Builder()
    b.node("Relu", ["x"], "y")
    assert likely(b.model({"x": [3, 2]}, ["y"])).wishes.shapes == {"x": [1, 2]}
    found = prepared(traced(), shapes={"image": (1, 3, 16, 16)})
    assert [output.shape for output in outputs(found.model)] == [(1, 6, 4, 4), (1, 6, 8, 8)]
    same(detector(), found, {"image": networks.image()})


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ([10, 6, 64], "the sizes of Reshape 'rows' are built in"),
        ([10, 6, -1], "(op_type:Reshape, node name: rows)"),
        (
            [10, -1, 4],
            "a batch of 10 is built in: Reshape 'rows' makes it of one image, output 'r' keeps it; export",
        ),
    ],
)
def test_a_batch_that_is_built_in_is_refused(sizes: list[int], why: str) -> None:
    """1 image gives 384 elements: ONNX Runtime stops at the first two, and would make ten images of the third."""
    b = Builder()
    b.conv("image", "map", 3, 6 if sizes[2] != 4 else 10)
    b.weight("built_in", np.array(sizes, "i8"))
    b.node("Reshape", ["map", "built_in"], "r", name="rows")
    model = b.model({"image": [10, 3, 8, 8]}, ["r"])
    _, told = problem(model, shapes={"image": (1, 3, 8, 8)})
    assert f"does not take 'image' as [1, 3, 8, 8]: {why}" in told


def of_four(*nodes: tuple[str, list[str], str, dict[str, Any]]) -> onnx.ModelProto:
    """Traced with four images, whose output `y` begins with a 4; `map` is [4, 4, 8, 8]."""
    b = Builder()
    b.conv("image", "map", 3, 4)
    b.weight("four", np.ones((4, 4, 8, 8), "f4"))
    b.weight("shape", np.array([4, 4, 8, 8], "i8"))
    b.weight("anchors", np.ones((4, 2), "f4"))
    for operator, inputs, output, attributes in nodes:
        b.node(operator, inputs, output, **attributes)
    return b.model({"image": [4, 3, 8, 8]}, ["y"])


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([("Transpose", ["map"], "y", {"perm": [1, 0, 2, 3]})], (4, 1, 8, 8)),
        ([("ReduceMean", ["map"], "y", {"axes": [0], "keepdims": 0})], (4, 8, 8)),
        ([("Transpose", ["map"], "t", {"perm": [1, 0, 2, 3]}), ("Flatten", ["t"], "f", {}),
          ("ReduceMean", ["f"], "m", {"axes": [1]}), ("Add", ["m", "anchors"], "y", {})], (4, 2)),
        ([("Transpose", ["map"], "t", {"perm": [1, 0, 2, 3]}), ("Concat", ["t", "t"], "y", {"axis": 1})], (4, 2, 8, 8)),
    ],
)  # fmt: skip
def test_a_first_size_that_is_no_batch_may_be_the_same_number(
    nodes: list[tuple[str, list[str], str, dict[str, Any]]], shape: tuple[int, ...]
) -> None:
    """4 sides of a box, or 4 channels."""
    model = of_four(*nodes)
    model.opset_import[0].version = 12  # where axes are attributes
    found = prepared(model, shapes={"image": (1, 3, 8, 8)})
    assert [output.shape for output in outputs(found.model)] == [shape]


@pytest.mark.parametrize(
    "node",
    [("Add", ["map", "four"], "y", {}), ("Expand", ["map", "shape"], "y", {}), ("Mul", ["four", "map"], "y", {})],
)  # fmt: skip
def test_a_batch_that_broadcasting_builds_in_is_refused(
    node: tuple[str, list[str], str, dict[str, Any]],
) -> None:
    tails: tuple[list[Any], ...] = ([], [("Relu", ["y"], "z", {}), ("Sigmoid", ["z"], "out", {})])
    for more in tails:
        model = of_four(node, *more)
        if more:
            model.graph.output[0].name = "out"
        _, told = problem(model, shapes={"image": (1, 3, 8, 8)})
        assert f"a batch of 4 is built in: {node[0]} " in told
        assert "export the network with a batch of 1, or an open one" in told


@pytest.mark.parametrize("shape", [["N", 3, "h", "w"], [1, 3, 16, 16], [2, 3, 16, 16]])
def test_sizes_of_outputs_that_are_those_of_another_export_are_passed_over(shape: Any) -> None:
    model = dynamic(shape, [1, 6, 20, 20])
    wishes = {"shapes": {"image": (1, 3, 16, 16)}}
    found = prepared(model, **wishes)
    assert [output.shape for output in outputs(found.model)] == [(1, 6, 4, 4), (1, 6, 8, 8)]
    if shape[0] != 2:  # then all that was traced with two images is forgotten
        assert found.facts["stale"] == ["large", "small"]
    assert outputs(model)[0].shape == (1, 6, 20, 20), "the user's own is not changed"
    same(detector(), found, {"image": networks.image()})


def test_the_sizes_of_an_output_of_a_plugin_are_the_files_own() -> None:
    model = dynamic(["N", 3, "h", "w"], [1, 6, 4, 4])
    model.graph.node.append(helper.make_node("Plugin", ["small"], ["p"], "p", domain="mine"))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 50, 7]))
    found = prepared(model, size=(16, 16))
    assert outputs(found.model)[2].shape == (1, 50, 7)
    assert found.facts["stale"] == ["small"]


def test_an_operator_that_nobody_knows_speaks_against_no_size() -> None:
    model = dynamic(["batch", 3, "h", "w"])
    model.graph.node.append(helper.make_node("Plugin", ["small"], ["p"], "p", domain="mine"))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert prepare(model, InputWishes(size=(16, 16))).facts["shapes"] == {"image": [1, 3, 16, 16]}


def test_what_an_exporter_wrote_of_another_size_inside_is_forgotten() -> None:
    model = dynamic(["batch", 3, "h", "w"])
    model.graph.value_info.append(
        helper.make_tensor_value_info("s4", TensorProto.FLOAT, ["batch", 12, 160, 160])
    )
    assert image_input(prepared(model, size=(16, 16)).model).height == 16


# Other types


def test_bytes_channels_last_are_read_by_the_cast_that_is_there() -> None:
    model = ssd()
    found = prepared(model)
    assert found.pixels == "uint8"
    assert found.facts["cast"] == {"image_tensor:0": "uint8"}
    assert operators(found.model) == operators(model)
    same(model, found, {"image_tensor:0": PIXELS})


def test_bytes_that_something_else_reads_are_cast_first() -> None:
    model = ssd(cast=False)
    found = prepared(model)
    assert operators(found.model) == ["Cast", *operators(model)]
    same(model, found, {"image_tensor:0": PIXELS})


def test_a_long_sample_is_no_large_one() -> None:
    b = Builder()
    b.node("MaxPool", ["sound"], "y", kernel_shape=[4])
    model = b.model({"sound": ["n", 1, 220000]}, ["y"])  # five seconds
    assert prepared(model).facts["shapes"] == {"sound": [1, 1, 220000]}


def test_a_float64_input_takes_any_number() -> None:
    b = Builder()
    b.node("Cast", ["image"], "single", to=TensorProto.FLOAT)
    b.conv("single", "y", 3, 2)
    found = prepared(b.model({"image": [1, 3, 8, 8]}, ["y"], dtype=TensorProto.DOUBLE))
    assert (found.pixels, found.facts["cast"]) == (None, {"image": "float64"})


@pytest.mark.parametrize("element", [TensorProto.STRING, TensorProto.BOOL, TensorProto.COMPLEX64])
def test_what_no_pixel_can_be_is_refused_by_name(element: int) -> None:
    model = detector()
    model.graph.input[0].type.tensor_type.elem_type = element
    assert "no number that a pixel is" in problem(model)[1]
    assert ("'image' is text" in problem(model)[1]) == (element == TensorProto.STRING)


@pytest.mark.parametrize("input_too", [True, False])
def test_float16_becomes_float32_with_the_same_weights(input_too: bool) -> None:
    model = half(input_too=input_too)
    found = prepared(model)
    assert found.facts == {"raised": ["float16"]}
    assert operators(found.model) == operators(detector())
    assert image_input(found.model).name == "image"
    assert {output.dtype for output in outputs(found.model)} == {"float32"}
    assert "float16" not in str(found.model)
    halves, wide = ({weight.name: numpy_helper.to_array(weight) for weight in each.graph.initializer}
                    for each in (model, found.model))  # fmt: skip
    assert all(np.array_equal(halves[name].astype("f4"), wide[name]) for name in halves)
    x = networks.image().astype("f2" if input_too else "f4")
    there = run(model, {"image": x})
    here = run(found.model, {"image": x.astype("f4")})
    assert all(sqnr(there[name].astype("f4"), here[name]) > 50 for name in here)


def test_bfloat16_and_constants_in_branches_become_float32_too() -> None:
    brain = TensorProto.BFLOAT16
    branches = [
        helper.make_graph(
            [
                helper.make_node("Constant", [], [f"c{n}"], value=helper.make_tensor("v", brain, [], [n])),
                helper.make_node("Mul", ["low", f"c{n}"], [f"m{n}"]),
            ],
            f"b{n}", [], [helper.make_tensor_value_info(f"m{n}", brain, None)],
        )
        for n in (1, 2)
    ]  # fmt: skip
    b = Builder()
    b.node("Cast", ["image"], "low", to=brain)
    b.weight("yes", np.array(True))
    b.node("If", ["yes"], "chosen", then_branch=branches[1], else_branch=branches[0])
    b.node("Cast", ["chosen"], "y", to=TensorProto.FLOAT)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    found = prepared(model)
    assert found.facts == {"raised": ["bfloat16"]}
    assert operators(found.model) == ["If"]
    x = networks.image((1, 3, 4, 4))
    assert np.array_equal(run(found.model, {"image": x})["y"], 2 * x)


def test_a_cast_of_integers_to_float16_stays_a_cast() -> None:
    found = prepared(half())
    assert "Cast" not in operators(found.model)
    b = Builder()
    b.node("Shape", ["image"], "sizes")
    b.node("Cast", ["sizes"], "y", to=TensorProto.FLOAT16)
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    assert operators(prepared(model).model) == ["Shape", "Cast"]
