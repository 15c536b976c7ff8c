"""How each ONNX operator behaves under int8: the one list that ranges and Q/DQ placement share."""

import onnx

from trt_matrix.core.network import graph, shapes

MACS = shapes.MAC_OPERATORS
"""Multiply and accumulate: what quantisation is for. All their inputs are quantised."""

ADDS = frozenset({"Add"})

RESHAPING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Give out every value of their input, in another shape or order."""

CARRIERS = RESHAPING | {"DepthToSpace", "MaxPool", "Slice", "SpaceToDepth", "Split"}
"""Give out values of their input and no others: input and output share one scale, exactly."""

POOLS = frozenset({"AveragePool", "GlobalAveragePool"})
"""Average: the output has a smaller range than the input, and a scale of its own."""

MONOTONE = frozenset({"Relu", "Clip"})
"""Commute with quantisation at one scale: Q(f(x)) = Q(f(DQ(Q(x)))), since both only clamp and order."""

INTEGER_POINTWISE = MONOTONE | {"LeakyRelu", "Mul", "Sigmoid"}
"""Those of `POINTWISE` with an integer kernel of their own in an engine that does not fuse them (ONNX Runtime)."""

_FLOAT_POINTWISE = {"Elu", "HardSigmoid", "HardSwish", "Mish", "PRelu", "Softplus", "Tanh"}
POINTWISE = INTEGER_POINTWISE | _FLOAT_POINTWISE
"""Activations and what they are written with (x · sigmoid(x)): engines fuse them into a convolution."""


def carries(node: onnx.NodeProto) -> bool:
    """Whether `node` keeps its input's scale.

    Resize does where its output stays within its input's range: nearest and linear; cubic
    overshoots, and `tf_crop_and_resize` writes a value of its own.
    """
    if node.domain not in graph.STANDARD_DOMAINS:
        return False
    if node.op_type != "Resize":
        return node.op_type in CARRIERS
    return (
        graph.attribute(node, "mode", "nearest") in ("nearest", "linear")
        and graph.attribute(node, "coordinate_transformation_mode") != "tf_crop_and_resize"
    )


def joined_by(node: onnx.NodeProto) -> tuple[str, ...]:
    """Returns the inputs of `node` that are data, not parameters such as shapes, scales or limits."""
    several = node.op_type in MACS or node.op_type in ("Add", "Concat", "Mul")
    data = list(node.input) if several else list(node.input[:1])
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        data = data[:2]
    return tuple(name for name in data if name)
