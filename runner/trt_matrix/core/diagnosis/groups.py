"""Which quantisers move together, each group called after its main node.

A layer moves with its weights, with the activation that an engine fuses into it, and with whatever
carries its values on at the same scale (max pooling, resizing, transposing). Where several branches
share one scale (a concatenation whose inputs only it reads), they move with the node that joins them.
The groups share nothing, so what they cost can be added up and held against the whole.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx

from trt_matrix.core.diagnosis.quantisers import Quantised, State
from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import MACS, POINTWISE, POOLS, carries, joined_by
from trt_matrix.core.qdq.explicit import require_nodes
from trt_matrix.core.qdq.scale_groups import scale_groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Quantisers that are switched together."""

    name: str
    """Its main node, or the network's input."""
    operator: str
    """Of that node; `input` for the network's input."""
    tensors: tuple[str, ...] = ()
    """Activations with a Q/DQ pair, in the network's order."""
    layers: tuple[str, ...] = ()
    """Layers whose weights belong to it; at most one."""

    def alone(self, every: State) -> State:
        """Returns the state in which this group alone is in int8."""
        return every.with_only(self.tensors, self.layers)

    def left_out(self, every: State) -> State:
        """Returns the state in which this group alone is in float."""
        return every.without(self.tensors, self.layers)


INPUT = "input"


def groups(quantised: Quantised) -> tuple[Group, ...]:
    """Returns the groups of all quantisers, each quantiser in one, in the network's order."""
    model = quantised.model
    nodes = {node.name: node for node in model.graph.node}
    order = {node.name: index for index, node in enumerate(model.graph.node)}
    origins = _origins(model)
    leaders = scale_groups(model)
    members: dict[str, list[str]] = {}
    for tensor in _in_order(model, quantised.state.tensors):
        members.setdefault(leaders.get(tensor, tensor), []).append(tensor)
    tensors: dict[str, list[str]] = {}
    for together in members.values():
        owners = {origins[tensor] for tensor in together}
        # The join stands behind what it joins.
        owner = max(owners, key=lambda name: order.get(name, -1))
        tensors.setdefault(owner, []).extend(together)
    names = {*tensors, *quantised.state.layers}
    return tuple(
        Group(
            name=name,
            operator=nodes[name].op_type if name in nodes else INPUT,
            tensors=tuple(tensors.get(name, ())),
            layers=(name,) if name in quantised.state.layers else (),
        )
        for name in sorted(names, key=lambda name: order.get(name, -1))
    )


def fused_behind(model: onnx.ModelProto) -> Mapping[str, tuple[str, ...]]:
    """Returns layer → the activations that belong to it: pointwise nodes behind it and no other layer."""
    origins = _origins(model)
    fused: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type in POINTWISE and node.output[0] in origins:
            origin = origins[node.output[0]]
            if origin != node.name:
                fused.setdefault(origin, []).append(node.name)
    return {name: tuple(behind) for name, behind in fused.items()}


def made_by(model: onnx.ModelProto, layers: Collection[str]) -> tuple[str, ...]:
    """Returns the tensors that layers give out, and the activations that TensorRT fuses into them.

    Raises:
        QdqError: it has no such node.
    """
    if not layers:
        return ()
    require_nodes(model, layers)
    nodes = {node.name: node for node in model.graph.node}
    fused = fused_behind(model)
    names = [name for layer in layers for name in (layer, *fused.get(layer, ()))]
    tensors = (tensor for name in names for tensor in nodes[name].output)
    return tuple(dict.fromkeys(filter(None, tensors)))


def _origins(model: onnx.ModelProto) -> dict[str, str]:
    """Returns activation → the node that it belongs to: the layer or the join before it, or the input."""
    values = {tensor.name for tensor in model.graph.initializer}
    origin = {info.name: info.name for info in graph.inputs(model)}
    for node in model.graph.node:
        follows = node.op_type in POINTWISE or node.op_type in POOLS or carries(node)
        before = {origin[name] for name in joined_by(node) if name in origin and name not in values}
        alone = follows and len(before) == 1 and node.op_type not in MACS
        owner = next(iter(before)) if alone else node.name
        origin.update({tensor: owner for tensor in node.output if tensor})
    return origin


def _in_order(model: onnx.ModelProto, wanted: frozenset[str]) -> list[str]:
    tensors = [info.name for info in graph.inputs(model)]
    tensors += [tensor for node in model.graph.node for tensor in node.output]
    return [tensor for tensor in tensors if tensor in wanted]
