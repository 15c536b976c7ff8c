"""What a network does to its outputs behind its last convolutions: whether it decodes them itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import CARRIERS, MACS, joined_by
from trt_matrix.core.network.shapes import shape_of

SILENT = CARRIERS | {"Cast", "Concat", "Constant", "DequantizeLinear", "Gather", "QuantizeLinear"}
"""Move values, or change their type; none is told."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What is between a tensor and the convolutions before it."""

    operators: frozenset[str]
    """Their types, without those that only move values."""
    convolutions: tuple[str, ...]
    """What those convolutions give out."""


def tails(model: onnx.ModelProto, tensors: Iterable[str]) -> Mapping[str, Tail]:
    """Returns tensor → its tail.

    Constants' paths count as well as the image's.
    """
    nodes = graph.producers(model)
    return {tensor: _tail(nodes, tensor) for tensor in tensors}


def parts(tail: Tail, known: Mapping[str, graph.TensorInfo]) -> frozenset[int] | None:
    """Returns how many channels the convolutions before a tensor give out, each size once; None where one is open."""
    shapes = [shape_of(name, known) for name in tail.convolutions]
    sizes = [shape[1] if shape and len(shape) == _MAP else None for shape in shapes]
    channels = [size for size in sizes if isinstance(size, int)]
    return frozenset(channels) if len(channels) == len(sizes) else None


_MAP = 4
"""Dimensions of what a convolution gives out."""


def _tail(nodes: Mapping[str, onnx.NodeProto], tensor: str) -> Tail:
    operators: set[str] = set()
    before: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        node = nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in MACS:
            before[name] = None
            continue
        if node.op_type not in SILENT:
            operators.add(node.op_type)
        waiting += joined_by(node)
    return Tail(frozenset(operators), tuple(before))
