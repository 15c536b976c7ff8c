"""Inputs that no image fills: what takes their place, and what is proposed for them."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit import small_networks as networks
from tests.unit.preparations import prepared, problem, problems, same
from tests.unit.public_networks import dynamic, paddle, rt_detr
from tests.unit.small_networks import Builder, run
from trt_matrix.core.network.graph import TensorInfo, outputs
from trt_matrix.core.network.image_input import image_input
from trt_matrix.core.prepared.constants import ConstantError, constant
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.prepared.proposing import proposed

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
    assert [output.shape for output in outputs(found.model)] == [(1, 4, 4, 4), (1, 16, 4)]


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
    assert [output.shape for output in outputs(found.model)] == [(1, 3, 4, 6)]
    (mask,) = [weight for weight in found.model.graph.initializer if weight.name == "pixel_mask"]
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
