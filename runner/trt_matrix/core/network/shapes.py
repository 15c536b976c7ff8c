"""Shapes of tensors, and from them how much each layer computes."""

import math
from collections.abc import Mapping

import onnx

from trt_matrix.core.network.graph import (
    STANDARD_DOMAINS,
    Dim,
    GraphError,
    TensorInfo,
    attribute,
    dtype_name,
    info,
    require_names,
)

MAC_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Multiply and accumulate: where the work of a network is."""


def inferred(model: onnx.ModelProto) -> dict[str, TensorInfo]:
    """Returns type and shape of every tensor that shape inference can tell, initialisers included.

    Raises:
        GraphError: the shapes of the network contradict each other.
    """
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        message = f"the shapes of the network contradict each other: {error}"
        raise GraphError(message) from error
    result = {value.name: info(value) for value in (*known.value_info, *known.input, *known.output)}
    for tensor in known.initializer:
        dtype = dtype_name(tensor.data_type)
        result[tensor.name] = TensorInfo(name=tensor.name, dtype=dtype, shape=tuple(tensor.dims))
    return result


def shape_of(tensor: str, known: Mapping[str, TensorInfo]) -> tuple[Dim, ...] | None:
    """Returns a tensor's shape; None where nobody says."""
    return known[tensor].shape if tensor in known else None


def macs(model: onnx.ModelProto) -> dict[str, int]:
    """Returns multiply-accumulates per Conv, ConvTranspose, Gemm and MatMul node, by node name.

    A dimension that is not static counts as 1, so a dynamic batch gives the count per image; where
    shape inference finds no shape at all, the node counts as one position (its weight's size).
    """
    require_names(model)
    shapes = inferred(model)
    return {
        node.name: _macs(node, shapes)
        for node in model.graph.node
        if node.op_type in MAC_OPERATORS and node.domain in STANDARD_DOMAINS
    }


def _macs(node: onnx.NodeProto, shapes: Mapping[str, TensorInfo]) -> int:
    """Multiply-accumulates of one node.

    Conv: every output element takes (C_in / groups) · kernel products, which is the weight without
    its first axis. ConvTranspose: the same with input elements and (C_out / groups) · kernel. Gemm
    and MatMul: every output element takes K products.
    """
    data, weight, output = (_sizes(name, shapes) for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return math.prod(output or weight[:1]) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(data or weight[:1]) * math.prod(weight[1:])
    if not output:
        return math.prod(weight)
    if not data:
        return math.prod(output)
    transposed = node.op_type == "Gemm" and attribute(node, "transA", 0)
    return math.prod(output) * (data[0] if transposed else data[-1])


def _sizes(tensor: str, shapes: Mapping[str, TensorInfo]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else 1 for dim in shape_of(tensor, shapes) or ())
