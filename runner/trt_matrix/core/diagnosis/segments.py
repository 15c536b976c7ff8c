"""A network cut into segments that are computed one after another, each only where something changed.

Between two segments a value is kept by its name, so that a network in which one quantiser changed is
computed from there on, and only along the branches behind it.
"""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph, ordering
from trt_matrix.core.network.operators import MACS


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Nodes that are computed together."""

    nodes: tuple[int, ...]
    """Positions in the network, rising."""
    reads: tuple[str, ...]
    """Tensors from outside, without initialisers."""
    captures: tuple[str, ...]
    """Those of them that only a body (of If, Loop) reads: Q/DQ is not written into bodies, so it reads
    what a pair reads."""
    gives: tuple[str, ...]
    """Tensors that others read, or that are kept."""
    layers: tuple[str, ...]
    """Its multiply-accumulate nodes; at most one."""


def segments(model: onnx.ModelProto, kept: Collection[str]) -> tuple[Segment, ...]:
    """Returns the segments, each after those that it reads.

    A node joins the segment whose last node it alone reads, unless what lies between is kept: only
    the last node of a segment gives anything out, so no segment waits for itself.

    The network has unique node names, in topological order. What is kept must be had by its name: heads, and
    what can be quantised.
    """
    outputs = {value.name for value in model.graph.output}
    kept = set(kept) | outputs
    every = list(model.graph.node)
    makers = {tensor: index for index, node in enumerate(every) for tensor in node.output if tensor}
    users = graph.consumers(model)
    outside = {info.name for info in graph.inputs(model)}
    home: list[list[int]] = []
    of: dict[int, int] = {}
    for index, node in enumerate(every):
        joined = [index]
        has_layer = node.op_type in MACS
        for maker in sorted({makers[name] for name in ordering.reads(node) if name in makers}):
            given = [name for name in every[maker].output if name in users or name in kept]
            before = home[of[maker]]
            layer_there = any(every[member].op_type in MACS for member in before)
            alone = all(name not in kept and len(users[name]) == 1 for name in given)
            readers = {user.name for name in given for user in users.get(name, ())}
            if not alone or len(readers) != 1 or (has_layer and layer_there):
                continue
            joined = [*before, *joined]
            has_layer = has_layer or layer_there
            home[of[maker]] = []
        home.append(sorted(joined))
        of.update(dict.fromkeys(joined, len(home) - 1))
    known = outside | makers.keys()
    return tuple(_segment(model, members, users, kept, known) for members in home if members)


def _segment(
    model: onnx.ModelProto,
    members: list[int],
    users: dict[str, list[onnx.NodeProto]],
    kept: Collection[str],
    known: Collection[str],
) -> Segment:
    nodes = [model.graph.node[index] for index in members]
    names = {node.name for node in nodes}
    inside = {tensor for node in nodes for tensor in node.output if tensor}
    every = dict.fromkeys(name for node in nodes for name in ordering.reads(node))
    reads = [name for name in every if name in known and name not in inside]
    gives = [
        tensor
        for node in nodes
        for tensor in node.output
        if tensor in kept or any(user.name not in names for user in users.get(tensor, ()))
        if tensor
    ]
    direct = {name for node in nodes for name in node.input}
    return Segment(
        nodes=tuple(members),
        reads=tuple(reads),
        captures=tuple(name for name in reads if name not in direct),
        gives=tuple(gives),
        layers=tuple(node.name for node in nodes if node.op_type in MACS),
    )
