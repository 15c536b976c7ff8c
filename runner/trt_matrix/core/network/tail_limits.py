"""Heads that cannot be run and compared because of how a detector ends: in a plugin, or in rows without a number.

The reference is computed by ONNX Runtime, which has no plugin of TensorRT; and rows of which there are as many as
an image has detections are of another shape for each image, so that no two outputs have the same elements.
Both are well in front of that end: `trt_matrix.core.network.ranked` says at which tensors, `cutting` cuts there.
"""

from collections.abc import Mapping

import onnx

from trt_matrix.core.manifest import Ranked
from trt_matrix.core.network import graph
from trt_matrix.core.network.cutting import types_of
from trt_matrix.core.network.graph import GraphError, is_plugin_name
from trt_matrix.core.network.ordering import every_node, inner_graphs, reads
from trt_matrix.core.network.ranked import rankings
from trt_matrix.core.network.ranking_operators import COUNTING, is_standard, ranks

ORT_DOMAINS = frozenset(
    {"com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc"}
)
"""Of operators that ONNX Runtime brings beside ONNX's own (onnxruntime/core/graph/constants.h)."""


def limits(model: onnx.ModelProto, heads: Mapping[str, str]) -> Mapping[str, tuple[str, Ranked]]:
    """Returns head → why it cannot be run, to be read after its tensor's name, and the ranking behind it.

    Only what a ranking decides is told; a tensor of whole numbers too, where one does.
    """
    if not any(ranks(node) for node in every_node(model.graph)):
        return {}
    try:
        ranked_heads = rankings(model, heads.items()).rows
    except GraphError:
        return {}  # told by whoever needs its shapes
    known = types_of(model, [*heads.values(), ""])  # the latter: also where all of them are outputs
    nodes = graph.producers(model)
    own = {(function.domain, function.name) for function in model.functions}
    result = {}
    for head, ranked in ranked_heads.items():
        tensor = heads[head]
        if plugin := _foreign(nodes, tensor, own):
            is_plugin = is_plugin_name(plugin.op_type)
            whose = "a plugin of TensorRT" if is_plugin else f"of domain {plugin.domain!r}"
            why = (
                f"is made by {plugin.op_type} (node {plugin.name or plugin.output[0]}), {whose}: ONNX Runtime, "
                "which computes the reference, has no such operator"
            )
        elif _varies(known.get(tensor), ranked):
            why = (
                f"has as many rows as {ranked.operator} (node {ranked.node}) leaves, another number for each "
                "image: two outputs have not the same elements"
            )
        elif tensor in known and "float" not in known[tensor].dtype:
            why = f"is {known[tensor].dtype}, ordered by {ranked.operator} (node {ranked.node})"
        else:
            continue
        result[head] = (why, ranked)
    return result


def _varies(info: graph.TensorInfo | None, ranked: Ranked) -> bool:
    """Whether the shape says that there is no fixed number of rows; the first axis may be the batch's."""
    if info is None or info.shape is None:
        return False
    fixed = [isinstance(dim, int) for dim in info.shape]
    return not all(fixed[1:]) or (not all(fixed) and ranked.operator in COUNTING)


def _foreign(
    nodes: Mapping[str, onnx.NodeProto], tensor: str, own: set[tuple[str, str]]
) -> onnx.NodeProto | None:
    """Returns the nearest node before a tensor that ONNX Runtime cannot compute."""
    seen: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop(0)
        node = nodes.get(name)
        if node is None or name in seen:
            continue
        seen.update(node.output)
        for part in (node, *(inner for body in inner_graphs(node) for inner in every_node(body))):
            known = part.domain in ORT_DOMAINS or (part.domain, part.op_type) in own
            if not known and not is_standard(part):
                return part
        waiting += reads(node)
    return None
