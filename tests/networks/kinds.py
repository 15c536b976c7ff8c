"""Small networks, one a kind that people bring; each is made here, its weights drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.public_networks import dynamic, everything, half, paddle, rt_detr, shuffled, ssd
from tests.unit.quantised import pairs
from tests.unit.small_networks import Builder, detector, old_detector
from tests.unit.test_detection_tails import best_rows, plugin, suppressed
from tests.unit.test_functions import with_function
from tests.unit.test_samples import sound, two_frames

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def small(model: onnx.ModelProto) -> onnx.ModelProto:
    """Says, as Ultralytics' exports do, which size it is for: a guess of 640 would be slow to test."""
    model.metadata_props.add(key="imgsz", value="[32, 32]")
    return model


@dataclass(frozen=True, slots=True)
class Kind:
    make: Callable[[], onnx.ModelProto]
    samples: Literal["images", "rgba", "arrays"] = "images"
    shape: tuple[int, ...] = ()
    """Of an array."""
    heads: tuple[str, ...] = ()
    """Those of the run, where they are not all floating-point outputs."""
    least: float | None = 100.0
    """dB that the reference keeps to the file as ONNX Runtime runs it; less where that computes in 16 bits; None
    where the file is quantised (the reference is its float form, which tests/unit/test_shipped_run.py holds), or where
    ONNX Runtime cannot load it."""


def masked() -> onnx.ModelProto:
    """A mask of the same height and width by name, as DETR's pixel_mask."""
    b = Builder()
    b.conv("image", "c", 3, 4, k=1)
    b.weight("one", np.array([1], "i8"))
    b.node("Cast", ["pixel_mask"], "floats", to=FLOAT)
    b.node("Unsqueeze", ["floats", "one"], "spread")
    b.weight("offset", np.array(1, "f4"))
    b.node("Add", ["spread", "offset"], "moved")
    b.node("Mul", ["c", "moved"], "y")
    model = b.model({"image": ["batch", 3, "height", "width"]}, [])
    model.graph.input.append(
        helper.make_tensor_value_info("pixel_mask", INT64, ["batch", "height", "width"])
    )
    model.graph.output.append(
        helper.make_tensor_value_info("y", FLOAT, ["batch", 4, "height", "width"])
    )
    return model


def resized_by_shape() -> onnx.ModelProto:
    """Upsampling to the size of another map, read from it at run time, as PyTorch exports it."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "s2")
    b.node("Relu", [b.conv("s2", "c2", 8, 8, strides=[2, 2])], "s4")
    b.node("Shape", ["s2"], "size")
    b.node("Shape", ["s4"], "own")
    for name, values in (("zero", [0]), ("two", [2]), ("four", [4])):
        b.weight(name, np.array(values, "i8"))
    b.node("Slice", ["own", "zero", "two"], "front")
    b.node("Slice", ["size", "two", "four"], "back")
    b.node("Concat", ["front", "back"], "sizes", axis=0)
    b.node("Resize", ["s4", "", "", "sizes"], "up", mode="nearest",
           coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    b.node("Concat", ["up", "s2"], "joined", axis=1)
    b.conv("joined", "y", 16, 4)
    return b.model({"image": ["N", 3, "H", "W"]}, ["y"])


def attention() -> onnx.ModelProto:
    """A classifier of patches: a convolution, LayerNormalization, attention by MatMul and Softmax, Gelu's parts."""
    b = Builder()
    width = 8
    b.conv("pixel_values", "patches", 3, width, k=1, strides=[8, 8])
    b.weight("flat", np.array([1, width, -1], "i8"))
    b.node("Reshape", ["patches", "flat"], "columns")
    b.node("Transpose", ["columns"], "tokens", perm=[0, 2, 1])
    b.weight("gain", np.ones(width, "f4"))
    b.node("LayerNormalization", ["tokens", "gain"], "normal", axis=-1)
    for name in "qkv":
        b.weight(f"w{name}", b.random.normal(0, 0.4, (width, width)).astype("f4"))
        b.node("MatMul", ["normal", f"w{name}"], name)
    b.node("Transpose", ["k"], "turned", perm=[0, 2, 1])
    b.node("MatMul", ["q", "turned"], "scores")
    b.node("Softmax", ["scores"], "shares", axis=-1)
    b.node("MatMul", ["shares", "v"], "mixed")
    b.node("Add", ["mixed", "tokens"], "residual")
    b.weight("root", np.array(np.sqrt(2), "f4"))
    b.node("Div", ["residual", "root"], "shrunk")
    b.node("Erf", ["shrunk"], "erf")
    b.weight("one", np.array(1, "f4"))
    b.node("Add", ["erf", "one"], "above")
    b.node("Mul", ["residual", "above"], "gelu")
    b.node("ReduceMean", ["gelu"], "pooled", axes=[1], keepdims=0)
    b.weight("classes", b.random.normal(0, 0.4, (width, 5)).astype("f4"))
    b.node("Gemm", ["pooled", "classes"], "logits")
    return b.model({"pixel_values": ["batch_size", 3, 32, 32]}, ["logits"], opset=17)


def recurrent() -> onnx.ModelProto:
    """Text recognition: columns of features through a GRU, then classes for each."""
    b = Builder()
    b.node("Relu", [b.conv("x", "c1", 1, 8, strides=[2, 2])], "r1")
    b.node("ReduceMean", ["r1"], "rows", axes=[2], keepdims=0)
    b.node("Transpose", ["rows"], "steps", perm=[2, 0, 1])
    for name, shape in (("W", (1, 12, 8)), ("R", (1, 12, 4)), ("B", (1, 24))):
        b.weight(name, b.random.normal(0, 0.5, shape).astype("f4"))
    b.nodes.append(
        helper.make_node("GRU", ["steps", "W", "R", "B"], ["hidden"], "gru", hidden_size=4)
    )
    b.weight("one", np.array([1], "i8"))
    b.node("Squeeze", ["hidden", "one"], "states")
    b.weight("classes", b.random.normal(0, 1, (4, 6)).astype("f4"))
    b.node("MatMul", ["states", "classes"], "logits")
    return b.model({"x": ["N", 1, 16, "W"]}, ["logits"])


def branching() -> onnx.ModelProto:
    """An If whose branches read a tensor outside of it, and a truth value that says `training`."""
    b = Builder()
    b.conv("image", "c", 3, 4)
    b.node("Relu", ["c"], "r")
    b.conv("r", "d", 4, 4, k=1)
    branches = []
    for operator in ("Sigmoid", "Tanh"):
        value = helper.make_tensor_value_info(operator, FLOAT, None)
        node = helper.make_node(operator, ["d"], [operator], operator)
        branches.append(helper.make_graph([node], operator, [], [value]))
    chosen = helper.make_node("If", ["training"], ["y"], "if", then_branch=branches[0],
                              else_branch=branches[1])  # fmt: skip
    b.nodes.append(chosen)
    model = b.model({"image": [1, 3, 16, 16]}, [])
    model.graph.input.append(helper.make_tensor_value_info("training", TensorProto.BOOL, []))
    model.graph.output.append(helper.make_tensor_value_info("y", FLOAT, [1, 4, 16, 16]))
    return model


def integers_beside() -> onnx.ModelProto:
    """A class index beside the scores, and a name that no file may have."""
    b = Builder()
    b.node("Relu", [b.conv("serving_default_input:0", "c", 3, 8)], "r")
    b.conv("r", "StatefulPartitionedCall/scores:0", 8, 4, k=1)
    model = b.model(
        {"serving_default_input:0": [1, 3, 16, 16]}, ["StatefulPartitionedCall/scores:0"]
    )
    model.graph.node.append(
        helper.make_node("ArgMax", ["StatefulPartitionedCall/scores:0"], ["best"], "best", axis=1)
    )
    model.graph.output.append(helper.make_tensor_value_info("best", INT64, [1, 1, 16, 16]))
    return model


def shapeless() -> onnx.ModelProto:
    """Nothing is said of the input's shape."""
    model = detector()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def doubles() -> onnx.ModelProto:
    b = Builder()
    b.node("Cast", ["image"], "floats", to=FLOAT)
    b.conv("floats", "y", 3, 4)
    return b.model({"image": ["N", 3, 16, 16]}, ["y"], dtype=TensorProto.DOUBLE)


def brain() -> onnx.ModelProto:
    """bfloat16 inside."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8)], "r")
    b.node("Cast", ["r"], "brain", to=TensorProto.BFLOAT16)
    b.node("Cast", ["brain"], "floats", to=FLOAT)
    b.conv("floats", "y", 8, 4)
    return b.model({"image": [1, 3, 16, 16]}, ["y"])


def volume() -> onnx.ModelProto:
    """Frames of a film: [1, 3, frames, height, width]."""
    b = Builder()
    w = b.weight("w", b.random.normal(0, 0.2, (4, 3, 3, 3, 3)).astype("f4"))
    b.node("Conv", ["clip", w], "c", pads=[1] * 6)
    b.node("Relu", ["c"], "r")
    v = b.weight("v", b.random.normal(0, 0.2, (2, 4, 1, 1, 1)).astype("f4"))
    b.node("Conv", ["r", v], "y")
    return b.model({"clip": ["N", 3, 4, 8, 8]}, ["y"])


def tabular() -> onnx.ModelProto:
    """Rows of numbers through two layers."""
    b = Builder()
    for name, shape in (("w1", (10, 16)), ("w2", (16, 3))):
        b.weight(name, b.random.normal(0, 0.4, shape).astype("f4"))
    b.node("Gemm", ["features", "w1"], "h")
    b.node("Relu", ["h"], "r")
    b.node("Gemm", ["r", "w2"], "y")
    return b.model({"features": ["N", 10]}, ["y"])


def transposed() -> onnx.ModelProto:
    """A learned upsampling, groups, HardSwish's parts and a global pooling."""
    b = Builder()
    b.conv("image", "c", 3, 8, strides=[2, 2])
    b.node("HardSigmoid", ["c"], "gate", alpha=1 / 6, beta=0.5)
    b.node("Mul", ["c", "gate"], "swish")
    w = b.weight("depthwise", b.random.normal(0, 0.4, (8, 1, 3, 3)).astype("f4"))
    b.node("Conv", ["swish", w], "d", pads=[1] * 4, group=8)
    b.node("GlobalAveragePool", ["d"], "pool")
    b.node("Mul", ["d", "pool"], "squeezed")
    u = b.weight("up.weight", b.random.normal(0, 0.3, (8, 4, 2, 2)).astype("f4"))
    b.node("ConvTranspose", ["squeezed", u], "y", strides=[2, 2])
    return b.model({"image": [1, 3, 16, 16]}, ["y"])


def tf_preprocessing() -> onnx.ModelProto:
    """Bytes, channels last, of any size; resized by the network itself to what it works on."""
    b = Builder()
    b.node("Cast", ["input_tensor"], "floats", to=FLOAT)
    b.node("Transpose", ["floats"], "turned", perm=[0, 3, 1, 2])
    b.weight("sizes", np.array([1, 3, 16, 16], "i8"))
    b.node("Resize", ["turned", "", "", "sizes"], "resized", mode="linear")
    b.weight("full", np.array(255, "f4"))
    b.node("Div", ["resized", "full"], "shares")
    b.conv("shares", "y", 3, 4)
    return b.model({"input_tensor": [1, "h", "w", 3]}, ["y"], dtype=TensorProto.UINT8)


def shuffled_detector() -> onnx.ModelProto:
    return shuffled(detector())


def traced() -> onnx.ModelProto:
    return dynamic([4, 3, 32, 32], [4, 6, 8, 8])


def built_in() -> onnx.ModelProto:
    """Exported for four images, which a Reshape holds: it takes no other number."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "r1")
    b.conv("r1", "map", 8, 6, k=1)
    b.weight("sizes", np.array([4, 6, -1], "i8"))
    b.node("Reshape", ["map", "sizes"], "rows")
    b.node("Transpose", ["rows"], "cells", perm=[0, 2, 1])
    return b.model({"image": [4, 3, 16, 16]}, ["map", "cells"])


def stale() -> onnx.ModelProto:
    return dynamic(["batch", 3, "height", "width"], [1, 6, 20, 20])


def fixed_in_weights() -> onnx.ModelProto:
    """Constants as nodes, where exporters put them, in place of initialisers."""
    model = detector()
    constants = [
        helper.make_node("Constant", [], [weight.name], f"constant_{weight.name}", value=weight)
        for weight in model.graph.initializer
    ]
    nodes = [*constants, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def double_weights() -> onnx.ModelProto:
    """Half weights that a Cast widens, as some converters store them."""
    model = detector()
    for tensor in list(model.graph.initializer):
        if tensor.name.endswith(".weight"):
            array = numpy_helper.to_array(tensor).astype("f2")
            tensor.CopyFrom(numpy_helper.from_array(array, f"{tensor.name}/half"))
            name = tensor.name.removesuffix("/half")
            model.graph.node.insert(
                0, helper.make_node("Cast", [tensor.name], [name], f"cast_{name}", to=FLOAT)
            )
    return model


KINDS: Mapping[str, Kind] = {
    "fixed": Kind(detector),
    "opset 9, initialisers among the inputs": Kind(old_detector),
    "dynamic batch": Kind(lambda: dynamic(["batch", 3, 16, 16])),
    "dynamic height and width": Kind(lambda: small(dynamic([1, 3, "h", "w"]))),
    "everything is dynamic": Kind(lambda: dynamic(["batch", 3, "height", "width"])),
    "open without names": Kind(lambda: small(dynamic([-1, 3, None, 0])), least=None),
    "no shape at all": Kind(shapeless),
    "symbols shared with a mask": Kind(lambda: small(masked())),
    "upsampled by a shape": Kind(lambda: small(resized_by_shape())),
    "traced with four": Kind(traced),
    "four built in": Kind(built_in),
    "stale sizes of outputs": Kind(lambda: small(stale())),
    "several inputs, PaddleDetection's": Kind(paddle),
    "several inputs, RT-DETR's": Kind(rt_detr),
    "a truth value, and branches": Kind(branching),
    "bytes, channels last": Kind(ssd),
    "bytes that nothing casts": Kind(lambda: ssd(cast=False)),
    "bytes of any size": Kind(lambda: small(tf_preprocessing())),
    "float64": Kind(doubles),
    "float16": Kind(half, least=40),
    "float16 inside": Kind(lambda: half(input_too=False), least=40),
    "bfloat16 inside": Kind(brain, least=30),
    "float16 weights": Kind(double_weights),
    "grey": Kind(lambda: small(recurrent())),
    "four channels": Kind(lambda: two_frames(4), "rgba"),
    "four channels as arrays": Kind(lambda: two_frames(4), "arrays", (4, 16, 16)),
    "six channels": Kind(two_frames, "arrays", (6, 16, 16)),
    "sound": Kind(sound, "arrays", (20, 50)),
    "film": Kind(volume, "arrays", (3, 4, 8, 8)),
    "rows of numbers": Kind(tabular, "arrays", (10,)),
    "attention": Kind(attention),
    "transposed convolution": Kind(transposed),
    "nodes in no order": Kind(shuffled_detector),
    "constants as nodes": Kind(fixed_in_weights),
    "functions": Kind(with_function),
    "quantised already": Kind(pairs, least=None),
    "integers beside": Kind(integers_beside, heads=("StatefulPartitionedCall/scores:0",)),
    "best rows by TopK": Kind(best_rows),
    "suppressed": Kind(lambda: suppressed(gathered=False), heads=("boxes", "by_class")),
    "suppressed and gathered": Kind(lambda: suppressed(gathered=True), heads=("boxes", "by_class")),
    "EfficientNMS_TRT": Kind(plugin, heads=("boxes", "scores")),
    "everything at once": Kind(lambda: small(everything()), least=40),
}
