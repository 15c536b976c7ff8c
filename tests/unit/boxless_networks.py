"""Small networks that make no boxes, one a kind, and others of like outputs that do."""

import numpy as np
import onnx

from tests.unit.small_networks import Builder


def backbone(b: Builder, size: int = 32) -> str:
    """Three convolutions to an eighth of the image, 16 channels; its cells still know where they are."""
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "s2")
    b.node("Relu", [b.conv("s2", "c2", 8, 12, strides=[2, 2])], "s4")
    return b.node("Relu", [b.conv("s4", "c3", 12, 16, strides=[2, 2])], "s8")


def upsampled(b: Builder, tensor: str, factor: int) -> str:
    b.weight(f"by{factor}", np.array([1, 1, factor, factor], "f4"))
    return b.node("Resize", [tensor, "", f"by{factor}"], f"{tensor}_up", mode="linear")


def classifier(classes: int = 10, *, softmax: bool = False, pooled: bool = True) -> onnx.ModelProto:
    """Global pooling, a fully connected layer; without the pooling as VGG, and as YOLO's first version."""
    b = Builder()
    last, width = backbone(b), 16 if pooled else 256
    if pooled:
        last = b.node("GlobalAveragePool", [last], "pool")
    b.node("Flatten", [last], "flat")
    b.weight("fc.weight", b.random.normal(0, 0.3, (width, classes)).astype("f4"))
    b.weight("fc.bias", b.random.normal(0, 0.1, classes).astype("f4"))
    b.node("Gemm", ["flat", "fc.weight", "fc.bias"], "logits")
    if softmax:
        b.node("Softmax", ["logits"], "probabilities", axis=1)
    return b.model({"image": [1, 3, 32, 32]}, ["probabilities" if softmax else "logits"])


def embedding() -> onnx.ModelProto:
    """A vector of length 1: mean over both axes, a layer, division by its norm."""
    b = Builder()
    b.node("ReduceMean", [backbone(b)], "mean", axes=[2, 3], keepdims=0)
    b.weight("proj", b.random.normal(0, 0.3, (16, 24)).astype("f4"))
    b.node("MatMul", ["mean", "proj"], "raw")
    b.node("ReduceL2", ["raw"], "norm", axes=[1], keepdims=1)
    b.node("Div", ["raw", "norm"], "embedding")
    return b.model({"image": [1, 3, 32, 32]}, ["embedding"])


def segmenter(classes: int = 5, up: int = 8, *, softmax: bool = False) -> onnx.ModelProto:
    """Scores of classes, at the input's size or `up` eighths of it."""
    b = Builder()
    b.conv(backbone(b), "scores", 16, classes, k=1)
    name = upsampled(b, "scores", up)
    if softmax:
        name = b.node("Softmax", [name], "shares", axis=1)
    return b.model({"image": [1, 3, 32, 32]}, [name])


def depth() -> onnx.ModelProto:
    """One number a pixel, without an axis of channels, as MiDaS gives it."""
    b = Builder()
    b.node("Relu", [b.conv(upsampled(b, backbone(b), 8), "disparity", 16, 1)], "positive")
    b.weight("one", np.array([1], "i8"))
    b.node("Squeeze", ["positive", "one"], "depth")
    return b.model({"image": [1, 3, 32, 32]}, ["depth"])


def two_tasks(second: int = 2) -> onnx.ModelProto:
    """Age and sex of one face, or a score and its box."""
    b = Builder()
    b.node("GlobalAveragePool", [backbone(b)], "pool")
    b.node("Flatten", ["pool"], "flat")
    for name, size in (("first", 101), ("second", second)):
        b.weight(f"{name}.weight", b.random.normal(0, 0.3, (16, size)).astype("f4"))
        b.node("Gemm", ["flat", f"{name}.weight"], name)
    return b.model({"image": [1, 3, 32, 32]}, ["first", "second"])


def centres(strided: int = 4) -> onnx.ModelProto:
    """CenterNet's kind: heat, sizes and offsets, each a map of two channels or fewer."""
    b = Builder()
    name = upsampled(b, backbone(b), 8 // strided)
    heads = [b.conv(name, head, 16, size) for head, size in (("heat", 1), ("wh", 2), ("reg", 2))]
    return b.model({"image": [1, 3, 32, 32]}, heads)


def gated(b: Builder) -> str:
    """A map whose channels a pooled vector weighs (squeeze and excitation)."""
    last = backbone(b)
    b.node("GlobalAveragePool", [last], "pool")
    b.node("Sigmoid", [b.conv("pool", "squeezed", 16, 16, k=1)], "gate")
    return b.node("Mul", [last, "gate"], "weighed")


def gated_and_flat() -> onnx.ModelProto:
    """YOLO's first version behind a gate: a pooling is in the network, and merges nothing of what is given out."""
    b = Builder()
    b.node("Flatten", [gated(b)], "flat")
    b.weight("fc", b.random.normal(0, 0.3, (256, 4 * 4 * 7)).astype("f4"))
    b.node("Gemm", ["flat", "fc"], "grid")
    return b.model({"image": [1, 3, 32, 32]}, ["grid"])


def chosen_regions() -> onnx.ModelProto:
    """Classes of regions: pooled, and each is of a box."""
    b = Builder()
    backbone(b)
    b.weight("rois", np.array([[0, 0, 8, 8]], "f4"))
    b.weight("of", np.array([0], "i8"))
    b.node("RoiAlign", ["s8", "rois", "of"], "crops", output_height=2, output_width=2)
    b.node("GlobalAveragePool", ["crops"], "pool")
    b.node("Flatten", ["pool"], "flat")
    b.weight("fc", b.random.normal(0, 0.3, (16, 21)).astype("f4"))
    b.node("Gemm", ["flat", "fc"], "classes")
    return b.model({"image": [1, 3, 32, 32]}, ["classes"])


def joined_regions(boxes: int) -> onnx.ModelProto:
    """The second stage of Faster R-CNN, run on a crop: 21 classes, and numbers for their boxes."""
    b = Builder()
    b.node("GlobalAveragePool", [backbone(b)], "pool")
    b.node("Flatten", ["pool"], "flat")
    for name, size in (("classes", 21), ("boxes", boxes)):
        b.weight(f"{name}.weight", b.random.normal(0, 0.3, (16, size)).astype("f4"))
        b.node("MatMul", ["flat", f"{name}.weight"], name)
    return b.model({"image": [1, 3, 32, 32]}, ["classes", "boxes"])


def rows_of_places(b: Builder, channels: int = 6, *, last: bool = False) -> str:
    """A map of 4 x 4 places as (1, channels, 16), or (1, 16, channels)."""
    name = b.conv(backbone(b), "map", 16, channels, k=1)
    if last:
        name = b.node("Transpose", [name], "turned", perm=[0, 2, 3, 1])
    b.weight("rows.shape", np.array([1, -1, channels] if last else [1, channels, -1], "i8"))
    return b.node("Reshape", [name, "rows.shape"], "rows")


def of_each_place(operator: str, *, last: bool = False) -> onnx.ModelProto:
    """One number a place: YOLO's objectness, chosen of its channels, or its best class."""
    b = Builder()
    rows = rows_of_places(b, last=last)
    axis = 2 if last else 1
    if operator == "Gather":
        b.weight("fourth", np.array(4, "i8"))
        b.node("Gather", [rows, "fourth"], "score", axis=axis)
    else:
        b.node(operator, [rows], "score", axes=[axis], keepdims=0)
    return b.model({"image": [1, 3, 32, 32]}, ["score"])


def flat_shares() -> onnx.ModelProto:
    """SSD's classes alone: 32 rows of 21 shares each, laid flat behind the Softmax."""
    b = Builder()
    b.conv(backbone(b), "confidence", 16, 2 * 21)
    b.node("Transpose", ["confidence"], "turned", perm=[0, 2, 3, 1])
    b.weight("rows.shape", np.array([-1, 21], "i8"))
    b.node("Reshape", ["turned", "rows.shape"], "rows")
    b.node("Softmax", ["rows"], "shares", axis=1)
    b.weight("flat.shape", np.array([1, -1], "i8"))
    b.node("Reshape", ["shares", "flat.shape"], "flat")
    return b.model({"image": [1, 3, 32, 32]}, ["flat"])


def tokens(*, mean: bool = False, turned: bool = False, whole: bool = True) -> onnx.ModelProto:
    """A transformer's end: tokens, a normalisation, then one token, or the mean of all, as the image's vector.

    Args:
        mean: Of all tokens, in place of the first.
        turned: Channels first again before the mean, as Swin has it.
        whole: The normalisation as one operator, in place of the eight that older exporters write.
    """
    b = Builder()
    name = b.node("Transpose", [rows_of_places(b, 24)], "tokens", perm=[0, 2, 1])
    b.weight("scale", b.random.normal(1, 0.1, 24).astype("f4"))
    b.weight("bias", b.random.normal(0, 0.1, 24).astype("f4"))
    if whole:
        name = b.node("LayerNormalization", [name, "scale", "bias"], "normed", axis=-1)
    else:
        b.node("ReduceMean", [name], "middle", axes=[-1])
        b.node("Sub", [name, "middle"], "centred")
        b.node("Mul", ["centred", "centred"], "squares")
        b.node("ReduceMean", ["squares"], "variance", axes=[-1])
        b.node("Sqrt", ["variance"], "deviation")
        b.node("Div", ["centred", "deviation"], "of_one")
        b.node("Mul", ["of_one", "scale"], "scaled")
        name = b.node("Add", ["scaled", "bias"], "normed")
    if turned:
        name = b.node("Transpose", [name], "channels", perm=[0, 2, 1])
    if mean:
        b.node("ReduceMean", [name], "vector", axes=[2 if turned else 1], keepdims=0)
    else:
        b.weight("first", np.array(0, "i8"))
        b.node("Gather", [name, "first"], "vector", axis=1)
    return b.model({"image": [1, 3, 32, 32]}, ["vector"], opset=17)
