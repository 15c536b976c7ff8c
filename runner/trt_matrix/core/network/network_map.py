"""The network as its heads see it: which layers each depends on, what they share, in few parts."""

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph, ordering, shapes
from trt_matrix.core.network.canonical import canonical


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A node of the network."""

    name: str
    operator: str
    macs: int
    """Multiply-accumulates for an image; 0 where it is none of `shapes.MAC_OPERATORS`."""
    outputs: tuple[str, ...]
    """Tensors that it gives out."""
    reads: tuple[int, ...] = ()
    """Places in `NetworkMap.layers` of those whose tensors it reads; each before its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkPart:
    """The layers that exactly these heads depend on."""

    heads: tuple[str, ...]
    layers: tuple[Layer, ...]
    """In topological order."""
    reads: tuple[int, ...]
    """Indices of the parts whose layers these read; always parts of more heads, so there is no loop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkMap:
    """The parts partition the layers that any head depends on."""

    heads: tuple[str, ...]
    parts: tuple[NetworkPart, ...]
    """Each after those that it reads."""
    inputs: tuple[str, ...]
    """Tensors that the caller feeds."""

    @property
    def layers(self) -> tuple[tuple[NetworkPart, Layer], ...]:
        return tuple((part, layer) for part in self.parts for layer in part.layers)

    @property
    def heads_of(self) -> dict[str, tuple[str, ...]]:
        """Tensor → the heads that depend on it."""
        of_layers = {tensor: part.heads for part, layer in self.layers for tensor in layer.outputs}
        return dict.fromkeys(self.inputs, self.heads) | of_layers


def network_map(model: onnx.ModelProto, heads: Iterable[tuple[str, str]]) -> NetworkMap:
    """Returns the map of `model` in its canonical form.

    Raises:
        graph.GraphError: a head is no tensor of the network, or its shapes contradict each other.
    """
    model = graph.named(canonical(model))
    counts = shapes.macs(model)
    tensors = dict(heads)
    cones = {head: set(graph.backward_cone(model, tensor)) for head, tensor in tensors.items()}
    members: dict[tuple[str, ...], list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        names = tuple(head for head, cone in cones.items() if node.name in cone)
        if names:
            members.setdefault(names, []).append(node)
    # A layer reads only layers that its own heads depend on too: more heads come first.
    keys = sorted(members, key=lambda names: -len(names))
    place = {name: index for index, names in enumerate(keys) for name in _outputs(members[names])}
    ordered = [node for names in keys for node in members[names]]
    makers = {name: index for index, node in enumerate(ordered) for name in _outputs([node])}
    return NetworkMap(
        heads=tuple(tensors),
        parts=tuple(
            NetworkPart(
                heads=names,
                layers=tuple(_layer(node, counts, makers) for node in members[names]),
                # What a part reads of itself is no other part.
                reads=tuple(part for part in _read(members[names], place) if part != index),
            )
            for index, names in enumerate(keys)
        ),
        inputs=tuple(tensor.name for tensor in graph.inputs(model)),
    )


def _read(nodes: Iterable[onnx.NodeProto], place: dict[str, int]) -> tuple[int, ...]:
    """Returns the places of what makes the tensors that nodes read, rising."""
    read = {place[tensor] for node in nodes for tensor in ordering.reads(node) if tensor in place}
    return tuple(sorted(read))


def _layer(node: onnx.NodeProto, counts: dict[str, int], makers: dict[str, int]) -> Layer:
    return Layer(
        name=node.name,
        operator=node.op_type,
        macs=counts.get(node.name, 0),
        outputs=tuple(_outputs([node])),
        reads=_read([node], makers),
    )


def _outputs(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    return (tensor for node in nodes for tensor in node.output if tensor)
