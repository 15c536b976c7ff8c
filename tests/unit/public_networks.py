"""Networks with the inputs that published ones have, small: each is one line of what people bring."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.small_networks import Builder, detector

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def _input(model: onnx.ModelProto, name: str, element: int, shape: list[int | str]) -> None:
    model.graph.input.append(helper.make_tensor_value_info(name, element, shape))


def dynamic(shape: list[int | str | None], head: list[int | str] | None = None) -> onnx.ModelProto:
    """UltraFace and YOLO as exporters with `dynamic_axes` write them: symbols from input to output."""
    model = detector()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", FLOAT, shape))
    del model.graph.value_info[:]
    for output in model.graph.output:
        value = helper.make_tensor_value_info(
            output.name, FLOAT, head or ["batch", 6, "rows", "columns"]
        )
        output.CopyFrom(value)
    return model


def paddle() -> onnx.ModelProto:
    """PaddleDetection: im_shape (read by no node), image, scale_factor, which divides the boxes."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[4, 4])], "r1")
    b.conv("r1", "large", 8, 6, k=1)
    b.weight("no_grid", np.array([1, 6, -1], "i8"))
    b.node("Reshape", ["large", "no_grid"], "rows")
    b.node("Transpose", ["rows"], "cells", perm=[0, 2, 1])
    b.weight("four", np.array([4, 2], "i8"))
    b.node("Split", ["cells", "four"], "boxes", axis=2)
    b.nodes[-1].output.append("scores")
    b.node("Concat", ["scale_factor", "scale_factor"], "scales", axis=1)
    b.node("Div", ["boxes", "scales"], "on_image")
    model = b.model({"image": [1, 3, 16, 16]}, ["large"])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", FLOAT, [-1, 3, 16, 16]))
    _input(model, "im_shape", FLOAT, [-1, 2])
    _input(model, "scale_factor", FLOAT, [-1, 2])
    model.graph.output.append(helper.make_tensor_value_info("on_image", FLOAT, [-1, 16, 4]))
    return model


def rt_detr() -> onnx.ModelProto:
    """RT-DETR: images and orig_target_sizes (int64, width and height), which multiplies the boxes."""
    b = Builder()
    b.node("Sigmoid", [b.conv("images", "c", 3, 4, strides=[4, 4])], "large")
    b.weight("flat", np.array([0, 4, -1], "i8"))
    b.node("Reshape", ["large", "flat"], "columns")
    b.node("Transpose", ["columns"], "rows", perm=[0, 2, 1])
    b.node("Cast", ["orig_target_sizes"], "sizes", to=FLOAT)
    b.node("Concat", ["sizes", "sizes"], "twice", axis=1)
    b.weight("middle", np.array([1], "i8"))
    b.node("Unsqueeze", ["twice", "middle"], "spread")
    b.node("Mul", ["rows", "spread"], "boxes")
    model = b.model({"images": ["N", 3, 16, 16]}, ["large"])
    _input(model, "orig_target_sizes", INT64, ["N", 2])
    model.graph.output.append(helper.make_tensor_value_info("boxes", FLOAT, ["N", 16, 4]))
    return model


def ssd(*, cast: bool = True) -> onnx.ModelProto:
    """The TensorFlow zoo's SSD by tf2onnx: bytes, channels last, cast inside; or quantised from bytes on."""
    b = Builder()
    if cast:
        b.node("Cast", ["image_tensor:0"], "floats", to=FLOAT)
    else:
        b.node("Transpose", ["image_tensor:0"], "turned_bytes", perm=[0, 3, 1, 2])
        b.node("Transpose", ["turned_bytes"], "back", perm=[0, 2, 3, 1])
        b.node("Cast", ["back"], "floats", to=FLOAT)
    b.node("Transpose", ["floats"], "turned", perm=[0, 3, 1, 2])
    b.node("Relu", [b.conv("turned", "c", 3, 6, strides=[4, 4])], "large")
    model = b.model({"image_tensor:0": [1, 16, 16, 3]}, ["large"], dtype=UINT8)
    shape: list[int | str] = ["unk__1", 16, 16, 3]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image_tensor:0", UINT8, shape))
    return model


def half(*, input_too: bool = True) -> onnx.ModelProto:
    """float16 as onnxconverter_common (keep_io_types: casts at both ends) and half() of PyTorch write it."""
    model = detector()
    for tensor in model.graph.initializer:
        if tensor.name != "twice":  # Resize takes its scales in float32
            array = numpy_helper.to_array(tensor).astype("f2")
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    del model.graph.value_info[:]
    if input_too:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        return model
    half_ = TensorProto.FLOAT16
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {"image": "image_half"}.get(name, name)
        for index, name in enumerate(node.output):
            node.output[index] = {"large": "large_half", "small": "small_half"}.get(name, name)
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["image_half"], "in", to=half_))
    for head in ("large", "small"):
        model.graph.node.append(
            helper.make_node("Cast", [f"{head}_half"], [head], f"out_{head}", to=FLOAT)
        )
    return model


def shuffled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with its nodes the wrong way round, as TensorFlow's optimisers leave them."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    return model


def everything() -> onnx.ModelProto:
    """All at once: bytes channels last of any size, another input, float16 inside, nodes in no order."""
    half_ = TensorProto.FLOAT16
    b = Builder()
    b.node("Cast", ["images"], "halves", to=half_)
    b.weight("full", np.array(255, "f2"))
    b.node("Div", ["halves", "full"], "shares")
    b.node("Transpose", ["shares"], "turned", perm=[0, 3, 1, 2])
    b.node("Relu", [b.conv("turned", "c1", 3, 8, strides=[2, 2])], "r1")
    b.node("Relu", [b.conv("r1", "c2", 8, 8, strides=[2, 2])], "r2")
    b.node("Cast", [b.conv("r2", "map_half", 8, 4, k=1)], "map", to=FLOAT)
    b.node("Shape", ["map_half"], "sizes")
    b.weight("two", np.array([2], "i8"))
    b.node("Slice", ["sizes", "zero", "two"], "kept")
    b.weight("zero", np.array([0], "i8"))
    b.weight("rest", np.array([-1], "i8"))
    b.node("Concat", ["kept", "rest"], "flat", axis=0)
    b.node("Reshape", ["map", "flat"], "columns")
    b.node("Transpose", ["columns"], "rows", perm=[0, 2, 1])
    b.node("Concat", ["scale_factor", "scale_factor"], "twice", axis=1)
    b.weight("middle", np.array([1], "i8"))
    b.node("Unsqueeze", ["twice", "middle"], "spread")
    b.node("Div", ["rows", "spread"], "boxes")
    for tensor in b.weights:
        if tensor.name.endswith((".weight", ".bias")):
            array = numpy_helper.to_array(tensor).astype("f2")
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    model = b.model({"images": ["N", "H", "W", 3]}, [], dtype=UINT8)
    _input(model, "scale_factor", FLOAT, ["N", 2])
    heads: dict[str, list[int | str]] = {"map": ["N", 4, "h", "w"], "boxes": ["N", "cells", 4]}
    for head, shape in heads.items():
        model.graph.output.append(helper.make_tensor_value_info(head, FLOAT, shape))
    return shuffled(model)
