"""Networks made fit to be fed: the same function as the file's, computed by ONNX Runtime on both."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import small_networks as networks
from onnx import TensorProto, helper, numpy_helper
from public_networks import dynamic, half, paddle, rt_detr, shuffled, ssd
from quantised import sqnr
from small_networks import Builder, detector, operators, run

from trt_matrix.core.network.graph import GraphError, TensorInfo, outputs
from trt_matrix.core.network.image_input import image_input
from trt_matrix.core.network.loading import load
from trt_matrix.core.network.ordering import in_order
from trt_matrix.core.prepared.constants import ConstantError, constant
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.prepared.preparing import PreparationError, Prepared, Wishes, prepare
from trt_matrix.core.prepared.proposing import proposed

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)


def prepared(model: onnx.ModelProto, **wishes: Any) -> Prepared:
    before = model.SerializeToString()
    found = prepare(model, Wishes(**wishes))
    assert model.SerializeToString() == before  # what it was given stays as it is
    onnx.checker.check_model(found.model, full_check=True)
    return found


def problems(model: onnx.ModelProto, **wishes: Any) -> Any:
    with pytest.raises(PreparationError) as caught:
        prepare(model, Wishes(**wishes))
    return caught.value.problems


def problem(model: onnx.ModelProto, **wishes: Any) -> tuple[tuple[str, ...], str]:
    (found,) = problems(model, **wishes)
    return found  # type: ignore[no-any-return]


def same(
    model: onnx.ModelProto,
    found: Prepared,
    feed: Mapping[str, npt.NDArray[Any]],
    least: float = 200,
) -> None:
    """Holds the prepared network, fed the image alone, against the file's, fed all that it takes."""
    name = image_input(found.model).name
    there = run(model, feed)
    here = run(found.model, {name: feed[name].astype("f4")})
    assert {one: sqnr(here[one], there[one]) >= least for one in there} == dict.fromkeys(
        there, True
    )


def test_a_network_that_can_be_fed_is_given_back_as_it_is() -> None:
    model = detector()
    found = prepare(model, Wishes(size=(16, 16)))
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
    assert [one.shape for one in outputs(found.model)] == [(1, 6, 8, 16), (1, 6, 16, 32)]


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
    assert [one.shape for one in outputs(found.model)] == [(1, 6, 4, 4), (1, 6, 8, 8)]
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
    assert [one.shape for one in outputs(found.model)] == [shape]


@pytest.mark.parametrize(
    "node",
    [("Add", ["map", "four"], "y", {}), ("Expand", ["map", "shape"], "y", {}), ("Mul", ["four", "map"], "y", {})],
)  # fmt: skip
def test_a_batch_that_broadcasting_builds_in_is_refused(
    node: tuple[str, list[str], str, dict[str, Any]],
) -> None:
    for more in ([], [("Relu", ["y"], "z", {}), ("Sigmoid", ["z"], "out", {})]):
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
    assert [one.shape for one in outputs(found.model)] == [(1, 6, 4, 4), (1, 6, 8, 8)]
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
    assert prepare(model, Wishes(size=(16, 16))).facts["shapes"] == {"image": [1, 3, 16, 16]}


def test_what_an_exporter_wrote_of_another_size_inside_is_forgotten() -> None:
    model = dynamic(["batch", 3, "h", "w"])
    model.graph.value_info.append(
        helper.make_tensor_value_info("s4", TensorProto.FLOAT, ["batch", 12, 160, 160])
    )
    assert image_input(prepared(model, size=(16, 16)).model).height == 16


# Inputs that no image fills


def test_a_constant_takes_the_place_of_an_input() -> None:
    model = paddle()
    found = prepared(model, constants={"scale_factor": [2, 0.5]})
    assert found.facts["constants"] == {"scale_factor": "[[2.0, 0.5]]"}
    assert found.facts["unread"] == ["im_shape"]
    assert "'im_shape' is left out, no node reads it" in found.told
    feed = {
        "image": networks.image(),
        "im_shape": np.ones((1, 2), "f4"),
        "scale_factor": np.array([[2, 0.5]], "f4"),
    }
    del model.graph.output[1].type.tensor_type.shape.dim[:]
    same(model, found, feed)


def test_a_constant_of_integers() -> None:
    model = rt_detr()
    found = prepared(model, constants={"orig_target_sizes": [[320, 240]]})
    feed = {"images": networks.image(), "orig_target_sizes": np.array([[320, 240]], "i8")}
    same(model, found, feed)
    assert [one.shape for one in outputs(found.model)] == [(1, 4, 4, 4), (1, 16, 4)]


def test_what_is_missing_is_told_with_every_input_and_the_line_to_write() -> None:
    place, told = problem(rt_detr())
    assert place == ()
    assert "takes 2 inputs: images float32 [N, 3, 16, 16], orig_target_sizes int64 [N, 2]." in told
    assert "such as model: {constants: {orig_target_sizes: [16, 16]}}; or give samples" in told
    assert told.endswith("data: {evaluation: {arrays: FOLDER}}")


def test_two_inputs_that_may_be_the_image_are_both_named() -> None:
    b = Builder()
    b.node("Concat", ["left", "right"], "both", axis=1)
    b.conv("both", "y", 6, 2)
    model = b.model({"left": [1, 3, 8, 8], "right": [1, 3, 8, 8]}, ["y"])
    _, told = problem(model)
    assert "say what all but that one are fed" in told
    found = prepared(model, constants={"left": 0})  # one number fills a fixed shape
    right = networks.image((1, 3, 8, 8))
    same(model, found, {"left": np.zeros_like(right), "right": right})


def test_a_symbol_is_one_size() -> None:
    found = problems(rt_detr(), constants={"orig_target_sizes": [[1, 1], [2, 2]]})
    assert found == ((
        (), "'N' would be 1 in 'images' and 2 in another input: one symbol is one size"),
    )  # fmt: skip


def test_a_mask_of_the_images_size_is_filled_with_one_number() -> None:
    """DETR's pixel_mask has the same symbols; 1 where there is an image."""
    b = Builder()
    b.node("Mul", ["image", "pixel_mask"], "y")
    model = b.model({"image": ["n", 3, "h", "w"], "pixel_mask": ["n", 1, "h", "w"]}, ["y"])
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = prepared(model, constants={"pixel_mask": 1}, size=(4, 6))
    assert [one.shape for one in outputs(found.model)] == [(1, 3, 4, 6)]
    (mask,) = [one for one in found.model.graph.initializer if one.name == "pixel_mask"]
    assert numpy_helper.to_array(mask).tolist() == np.ones((1, 1, 4, 6)).tolist()
    several = b.model({"image": ["n", 3, "h", "w"], "pixel_mask": ["n", "h", "w"]}, ["y"])
    assert likely(several).wishes.constants == {"pixel_mask": 1}


def test_a_symbol_of_several_sizes_is_no_name_of_one() -> None:
    """ONNX Runtime runs these: `None` stands for all that the exporter left open, outputs too."""
    b = Builder()
    b.conv("image", "out", 3, 4)
    model = b.model({"image": ["None", 3, "None", "None"]}, ["out"])
    for dim, size in zip(
        model.graph.output[0].type.tensor_type.shape.dim, ("None", 4, "None", "None"), strict=True
    ):
        if isinstance(size, str):
            dim.dim_param = size
    fed = prepared(model, size=(8, 12)).model
    assert outputs(fed)[0].shape == (1, 4, 8, 12)


def test_an_input_that_is_given_out_as_it_is_is_not_left_out() -> None:
    b = Builder()
    b.conv("image", "out", 3, 4)
    model = b.model({"image": [1, 3, 8, 8]}, ["out"])
    size = helper.make_tensor_value_info("size", TensorProto.INT64, [1, 2])
    model.graph.input.append(size)
    model.graph.output.append(size)
    assert "size int64" in problem(model)[1]
    fed = prepared(model, constants={"size": [8, 8]}).model
    given = run(fed, {"image": np.zeros((1, 3, 8, 8), np.float32)})["size"]
    assert given.tolist() == [[8, 8]]


def test_no_input_is_left() -> None:
    model = rt_detr()
    _, told = problem(model, constants={"orig_target_sizes": [1, 1], "images": 0})
    assert "no input is left for the images: images and orig_target_sizes are constants" in told


def test_a_constant_with_a_shape_of_its_own_is_asked_once() -> None:
    found = problems(
        rt_detr(), constants={"orig_target_sizes": [1]}, shapes={"orig_target_sizes": (1, 2)}
    )
    assert [place for place, _ in found] == [
        ("shapes", "orig_target_sizes"),
        ("constants", "orig_target_sizes"),
    ]


def takes(dtype: str, *shape: int | str | None) -> TensorInfo:
    return TensorInfo(name="x", dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("info", "value", "made"),
    [
        (takes("float32", "n", 2), [1, 2], [[1, 2]]),
        (takes("float32", 1, 2), [[1.5, 2]], [[1.5, 2]]),
        (takes("int64", -1, 2), [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (takes("int64", 1), 5, [5]),
        (takes("int64"), 5, 5),
        (takes("int64", 2), [1.0, 2.0], [1, 2]),
        (takes("bool"), True, True),
        (takes("bool", 2), [0, 1], [False, True]),
        (takes("uint8", 2, 2), 255, [[255, 255], [255, 255]]),
        (TensorInfo(name="x", dtype="float32", shape=None), [1, 2], [1, 2]),
        (takes("uint64", 1), 2**64 - 1, [2**64 - 1]),
    ],
)
def test_what_becomes_of_a_constant(info: TensorInfo, value: Any, made: Any) -> None:
    tensor = constant(info, value)
    array = numpy_helper.to_array(tensor)
    assert (tensor.name, str(array.dtype), array.tolist()) == ("x", info.dtype, made)


@pytest.mark.parametrize(
    ("info", "value", "told"),
    [
        (takes("float32", "n", 2), [1, 2, 3], "it has the shape [3], which does not fit; 'x' takes float32 [n, 2]"),
        (takes("float32", 1, 2), [[[1, 2]]], "it has the shape [1, 1, 2]"),
        (takes("float32", 1, 2), [[1], [1, 2]], "give lists of equal length"),
        (takes("float32", "n", "m"), 1, "1 fills a fixed shape only"),
        (takes("float32", 1, 2), [], "it has the shape [0]"),
        (takes("int64", 1), 1.5, "1.5 cannot be int64"),
        (takes("int32", 1), 2**31, "cannot be int32"),
        (takes("uint8", 1), -1, "-1 cannot be uint8"),
        (takes("int64", 1), 2**64, "no finite number of 64 bits"),
        (takes("int64", 1), True, "cannot be int64"),
        (takes("float32", 1), True, "cannot be float32"),
        (takes("bool", 1), 2, "cannot be bool"),
        (takes("float32", 1), 1e39, "cannot be float32"),
        (takes("float32", 1), float("nan"), "no finite number"),
        (takes("float32", 1), "1", "no finite number"),
        (takes("float32", 1), None, "no finite number"),
        (takes("float32", 1), {"a": 1}, "no finite number"),
        (takes("object", 1), 1, "no number is that"),
        (takes("unknown", 1), 1, "no number is that"),
        (takes("float32", 1 << 12, 1 << 12), 0, "16777216 elements are more than"),
        (takes("float32", 1 << 40, 1 << 40), 0, "elements are more than"),
    ],
)  # fmt: skip
def test_a_constant_that_does_not_fit_is_refused(info: TensorInfo, value: Any, told: str) -> None:
    with pytest.raises(ConstantError) as caught:
        constant(info, value)
    assert told in str(caught.value)


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
    assert {one.dtype for one in outputs(found.model)} == {"float32"}
    assert "float16" not in str(found.model)
    halves, wide = ({one.name: numpy_helper.to_array(one) for one in each.graph.initializer}
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


# Order


def test_nodes_in_any_order_are_the_same_network() -> None:
    model = shuffled(detector())
    assert not in_order(model.graph)
    loaded = load(model.SerializeToString(), "n.onnx")
    assert in_order(loaded.graph)
    x = {"image": networks.image()}
    there, here = run(detector(), x), run(loaded, x)
    assert all(np.array_equal(there[name], here[name]) for name in there)


def test_nodes_in_order_stay_where_they_are() -> None:
    model = detector()
    assert load(model.SerializeToString(), "n.onnx") == model


def test_a_branch_that_reads_what_a_later_node_makes_waits_for_it() -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["b"], ["c"]), helper.make_node("Abs", ["image"], ["b"])],
        "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)],
    )  # fmt: skip
    outer = helper.make_graph(
        [helper.make_node("Neg", ["late"], ["d"])],
        "outer", [], [helper.make_tensor_value_info("d", TensorProto.FLOAT, None)],
    )  # fmt: skip
    b = Builder()
    b.weight("yes", np.array(True))
    b.node("If", ["yes"], "y", then_branch=outer, else_branch=inner)
    b.node("Abs", ["image"], "late")
    model = b.model({"image": [1, 3, 4, 4]}, ["y"])
    found = load(model.SerializeToString(), "n.onnx")
    assert operators(found) == ["Abs", "If"]
    x = networks.image((1, 3, 4, 4))
    assert np.array_equal(run(found, {"image": x})["y"], -np.abs(x))


def test_a_circle_is_refused_by_the_name_of_a_node() -> None:
    b = Builder()
    b.node("Add", ["image", "b"], "a", name="first")
    b.node("Abs", ["a"], "b", name="second")
    model = b.model({"image": [1, 3, 4, 4]}, ["b"])
    with pytest.raises(GraphError, match="n.onnx: not a valid network: node 'first' needs its own"):
        load(model.SerializeToString(), "n.onnx")
    b = Builder()
    b.node("Abs", ["y"], "y", name="itself")
    with pytest.raises(GraphError, match="node 'itself' needs its own output"):
        load(b.model({"image": [1, 3, 4, 4]}, ["y"]).SerializeToString(), "n.onnx")


def test_a_long_chain_the_wrong_way_round_is_sorted_without_recursion() -> None:
    b = Builder()
    b.node("Abs", ["image"], "0")
    for index in range(3000):
        b.node("Neg", [str(index)], str(index + 1))
    model = shuffled(b.model({"image": [1, 3, 4, 4]}, ["3000"]))
    assert in_order(load(model.SerializeToString(), "n.onnx").graph)


# What is proposed


def test_what_is_proposed_can_be_fed() -> None:
    found = likely(dynamic(["batch", 3, "h", "w"]))
    assert found.wishes.size == (640, 640)
    assert found.guesses == ("the size [640, 640]",)
    assert image_input(found.prepared.model).shape == (3, 640, 640)


def test_a_size_that_the_network_refuses_is_not_proposed() -> None:
    """A grid made for 416×416, as exporters bake it."""
    b = Builder()
    b.conv("image", "map", 3, 4, strides=[8, 8])
    b.weight("grid", np.zeros((1, 4, 52, 52), "f4"))
    b.node("Add", ["map", "grid"], "y")
    model = b.model({"image": ["n", 3, "h", "w"]}, [])
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    assert likely(model).wishes.size == (416, 416)


def test_the_size_in_ultralytics_metadata_is_no_guess() -> None:
    model = dynamic(["batch", 3, "height", "width"])
    model.metadata_props.add(key="imgsz", value="[96, 64]")
    found = likely(model)
    assert (found.wishes.size, found.guesses) == ((96, 64), ())


@pytest.mark.parametrize(
    ("name", "info", "value", "known"),
    [
        ("scale_factor", takes("float32", -1, 2), [1, 1], True),
        ("im_shape", takes("float32", -1, 2), [480, 640], True),
        ("orig_target_sizes", takes("int64", "N", 2), [640, 480], True),
        ("im_info", takes("float32", 1, 3), [480, 640, 1], True),
        ("training", takes("bool"), False, True),
        ("threshold", takes("float32", 1), [0], False),
        ("mask", takes("float32", 1, 100, 100), 0, False),
    ],
)
def test_what_an_input_is_called_says_what_it_is_fed(
    name: str, info: TensorInfo, value: Any, known: bool
) -> None:
    named = TensorInfo(name=name, dtype=info.dtype, shape=info.shape)
    assert proposed(named, (480, 640)) == (value, known)
    constant(named, value)  # and it fits
