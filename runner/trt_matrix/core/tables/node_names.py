"""What else a tensor may be called: after the node that makes it, by a copy of it, or in a variant; pure.

Tables of layer-wise exporters (TensorFlow's `conv1/Relu:0`, fused layers such as `conv1 + relu1`) name nodes where
ours name tensors. A name is taken where it means one tensor alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import canonical

COPIES = frozenset({"Dropout", "Identity"})
"""Give out their input as it is."""

Names = Mapping[str, str]
"""Another name → our tensor."""


def other_names(
    model: onnx.ModelProto, variants: Sequence[onnx.ModelProto], ours: Collection[str]
) -> tuple[Names, ...]:
    """Returns other names of our tensors, the surest first.

    Those of the network's nodes as they stand; then of its canonical form, where a convolution gives out what the
    batch normalisation behind it did; then of its variants, by nodes of the same name and operator.

    Variants are the same function in other forms; `ours` are the tensors that need a range.

    Raises:
        graph.GraphError: see `canonical`.
    """
    wanted = frozenset(ours)
    folded = canonical(model)
    makers = {name: node for name, node, _ in _single(folded)}
    tiers = [_nodes(model, wanted), _nodes(folded, wanted)]
    tiers += [_variant(variant, makers, wanted) for variant in variants]
    return tuple(_unambiguous(tier, wanted) for tier in tiers)


def _single(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.NodeProto, str]]:
    """Yields (name, node, tensor) of nodes that have a name and one output."""
    for node in model.graph.node:
        outputs = [name for name in node.output if name]
        if node.name and outputs and (len(outputs) == 1 or node.op_type in COPIES):
            yield node.name, node, outputs[0]


def _nodes(model: onnx.ModelProto, wanted: Collection[str]) -> Iterator[tuple[str, str]]:
    same = _copies(model, wanted)
    for name, _, tensor in _single(model):
        if (same_tensor := same.get(tensor, tensor)) in wanted:
            yield name, same_tensor
    yield from same.items()


def _copies(model: onnx.ModelProto, wanted: Collection[str]) -> dict[str, str]:
    """Returns tensor that needs no range → the one that holds the same values and does."""
    groups: dict[str, list[str]] = {}
    leader: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in COPIES and node.domain in graph.STANDARD_DOMAINS and node.input:
            first = leader.get(node.input[0], node.input[0])
            leader[node.output[0]] = first
            groups.setdefault(first, [first]).append(node.output[0])
    return {
        name: named[0]
        for group in groups.values()
        if len(named := [name for name in group if name in wanted]) == 1
        for name in group
        if name not in wanted
    }


def _variant(
    variant: onnx.ModelProto, makers: Mapping[str, onnx.NodeProto], wanted: Collection[str]
) -> Iterator[tuple[str, str]]:
    yield from _nodes(variant, wanted)
    for name, node, tensor in _single(variant):
        mine = makers.get(name)
        if mine is not None and mine.op_type == node.op_type and mine.output[0] in wanted:
            yield tensor, mine.output[0]


def _unambiguous(pairs: Iterator[tuple[str, str]], wanted: Collection[str]) -> Names:
    """Returns the names that mean one tensor; numbers mean nothing, and what is ours means itself."""
    meanings: dict[str, set[str]] = {}
    for name, tensor in pairs:
        if not name.isdigit() and name not in wanted:
            meanings.setdefault(name, set()).add(tensor)
    return {name: tensors.pop() for name, tensors in meanings.items() if len(tensors) == 1}
