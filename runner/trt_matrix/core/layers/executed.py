"""What the engine really ran: the graph it made of the network, compared with the network it got.

ONNX Runtime saves the optimised graph. A convolution that it runs on integers is a QLinearConv
there; one that stayed Conv between DequantizeLinear and QuantizeLinear ran in float, silently. Its
node names change from version to version (up to 1.18 a QLinearConv has none, later `NAME_token_7`)
and small equal constants are shared, but weights keep their names: layers are matched by weight
first, by node name where that does not decide. A layer found nowhere counts as float.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from enum import IntEnum

import onnx

from trt_matrix.core.network import graph, shapes
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.operators import ADDS, INTEGER_POINTWISE, MACS, POOLS
from trt_matrix.core.qdq.writer import weight_name
from trt_matrix.core.records import IntegerShare
from trt_matrix.core.shipped.quantisation import WEIGHTED, form_of
from trt_matrix.core.shipped.stripping import float_form, prepared

_FLOAT_KERNELS = MACS | {"FusedConv", "FusedGemm", "FusedMatMul", "TransposeMatMul"}

OTHERS = ADDS | INTEGER_POINTWISE | POOLS | {"Concat", "MaxPool", "Resize", "Softmax"}
"""Further operators that an engine can run on integers and whose choice moves the result."""

_SUFFIX = re.compile(r"_token_\d+$")
_PREFIX = re.compile(r"^(?:QLinear|Nhwc|QuantizedNhwc)(?=[A-Z])")


class LayerRun(IntEnum):
    """How a layer ran; the larger value wins where several kernels make up one layer."""

    INTEGER = 0
    FLOAT = 1
    QUANTISED_IN_FLOAT = 2
    """In float between DequantizeLinear and QuantizeLinear, though the network quantises it."""


def executed_share(
    executed: onnx.ModelProto, original: onnx.ModelProto, heads: Collection[str]
) -> dict[str, IntegerShare]:
    """Returns output tensor → what of it the engine ran on integers.

    Args:
        executed: The graph that the engine saved after its optimisations.
        original: The network that the engine was given, or the float network that this was made of.
            Only the former tells what was quantised where the engine folded its Q/DQ away.
        heads: Names of output tensors.

    Raises:
        graph.GraphError: a head is in one of the graphs only.
    """
    executed, original = graph.named(executed), _comparable(original)
    counts = _macs(original)
    layers = _layers(executed, original)
    given = _quantised_layers(original)
    ends = float_ends(original)
    kinds = _operator_kinds(executed)
    result = {}
    for head in heads:
        cone = [node for node in graph.backward_cone(original, head) if node in counts]
        in_float = [node for node in cone if layers.get(node) is not LayerRun.INTEGER]
        placed = [node for node in in_float if node in ends]
        fell_back = [
            node
            for node in in_float
            if node not in placed
            and (node in given or layers.get(node) is LayerRun.QUANTISED_IN_FLOAT)
        ]
        total = sum(counts[node] for node in cone)
        ran = Counter(kinds[node] for node in graph.backward_cone(executed, head) if node in kinds)
        result[head] = IntegerShare(
            integer_macs=total - sum(counts[node] for node in in_float),
            total_macs=total,
            float_layers=tuple(fell_back),
            placed_float=tuple(placed),
            placed_float_macs=sum(counts[node] for node in placed),
            integer_operators=of_kinds(ran, integer=True),
            float_operators=of_kinds(ran, integer=False),
        )
    return result


def of_kinds(ran: Mapping[tuple[str, bool], int], *, integer: bool) -> dict[str, int]:
    """Returns operator → how many of it ran on integers, or in float."""
    return {kind: count for (kind, on), count in sorted(ran.items()) if on is integer}


def _comparable(original: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the canonical form; of a network that came with operators on integers, its own.

    Nothing brings those to another opset, and their weights have their names already.
    """
    integer = any(form_of(node) for node in original.graph.node)
    return prepared(original) if integer else canonical(original)


def _macs(original: onnx.ModelProto) -> Mapping[str, int]:
    """Returns layer → multiply-accumulates per image.

    What came with operators on integers is counted by its float form, whose layers have the same names:
    no shapes are known behind them. Where it has none, a layer counts as one position.
    """
    if not any(node.op_type in WEIGHTED and form_of(node) for node in original.graph.node):
        return shapes.macs(original)
    as_float = float_form(original)
    if as_float is not None:
        return shapes.macs(as_float)
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in original.graph.initializer}
    return shapes.macs(original) | {
        node.name: max((sizes.get(name, 1) for name in node.input), default=1)
        for node in original.graph.node
        if node.op_type in WEIGHTED and form_of(node)
    }


def _layers(executed: onnx.ModelProto, original: onnx.ModelProto) -> dict[str, LayerRun]:
    """Returns layer of `original` → how `executed` runs it; layers found nowhere are left out."""
    layer_of, names = _layer_of_weight(original)
    makers = graph.producers(executed)
    large = _large_initialisers(executed)
    runs: dict[str, LayerRun] = {}
    for kernel in executed.graph.node:
        integer = kernel.op_type in WEIGHTED
        if not integer and kernel.op_type not in _FLOAT_KERNELS:
            continue
        weights = large.intersection(_root(tensor, makers) for tensor in kernel.input)
        owners = {layer_of[weight] for weight in weights if weight in layer_of}
        name = _SUFFIX.sub("", kernel.name)
        layer = owners.pop() if len(owners) == 1 else name if name in names else None
        if layer is None:
            continue
        in_float = LayerRun.QUANTISED_IN_FLOAT if _dequantised(kernel, makers) else LayerRun.FLOAT
        run = LayerRun.INTEGER if integer else in_float
        # An engine may split one layer into several kernels: one in float is enough to say so.
        runs[layer] = max(run, runs.get(layer, run))
    return runs


def _quantised_layers(model: onnx.ModelProto) -> set[str]:
    """Returns the names of the layers that Q/DQ was written for."""
    makers = graph.producers(model)
    layers = [node for node in model.graph.node if node.op_type in MACS]
    return {node.name for node in layers if _dequantised(node, makers)}


def float_ends(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns the layers with Q/DQ whose outputs nothing quantises: the last ones before float heads.

    What stands between a layer and the QuantizeLinear behind it is fused or moved by engines, so the whole
    way to the next quantised layer, or to an output, is looked at.
    """
    given, users = _quantised_layers(model), graph.consumers(model)
    ends = []
    for node in model.graph.node:
        if node.name not in given:
            continue
        waiting, seen = list(node.output), set(node.output)
        quantised = False
        while waiting and not quantised:
            for user in users.get(waiting.pop(), ()):
                if user.op_type == "QuantizeLinear":
                    quantised = True
                elif user.name not in given:
                    fresh = [name for name in user.output if name not in seen]
                    seen.update(fresh)
                    waiting += fresh
        if not quantised:
            ends.append(node.name)
    return tuple(ends)


def _dequantised(layer: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Says whether a layer's weight comes from DequantizeLinear."""
    maker = makers.get(layer.input[1])
    return maker is not None and maker.op_type == "DequantizeLinear"


def _layer_of_weight(original: onnx.ModelProto) -> tuple[dict[str, str], set[str]]:
    """Returns weight → the one layer that owns it, and the names of all layers.

    Weights go by the names they have in `original` and by those that `qdq.place` gives them.
    """
    makers = graph.producers(original)
    large = _large_initialisers(original)
    layers = [node for node in original.graph.node if node.op_type in MACS | WEIGHTED]
    owners: dict[str, set[str]] = {}
    for node in layers:
        for weight in large.intersection(_root(tensor, makers) for tensor in node.input):
            owners.setdefault(weight, set()).add(node.name)
        owners.setdefault(weight_name(node.name), set()).add(node.name)
    unique = {weight: next(iter(owner)) for weight, owner in owners.items() if len(owner) == 1}
    return unique, {node.name for node in layers}


def _large_initialisers(model: onnx.ModelProto) -> set[str]:
    """Returns the initialisers that can be weights: with two axes or more, so never shared."""
    return {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1}


def _root(tensor: str, makers: Mapping[str, onnx.NodeProto]) -> str:
    """Returns the tensor that DequantizeLinear made `tensor` of, else `tensor`."""
    maker = makers.get(tensor)
    return maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else tensor


def _operator_kinds(executed: onnx.ModelProto) -> dict[str, tuple[str, bool]]:
    """Returns node → (ONNX operator, ran on integers) for the operators of `OTHERS`.

    Shape arithmetic (int64) is left out: it is not the network's data.
    """
    known = shapes.inferred(executed)
    integer: set[str] = set()
    result: dict[str, tuple[str, bool]] = {}
    for node in executed.graph.node:
        runs = node.op_type.startswith("QLinear") or bool(integer.intersection(node.input[:1]))
        if node.op_type != "DequantizeLinear" and (runs or node.op_type == "QuantizeLinear"):
            integer.update(node.output)
        # ONNX Runtime's blocked layout calls a float Resize by its old name.
        operator = "Resize" if node.op_type == "Upsample" else _PREFIX.sub("", node.op_type)
        info = known.get(node.output[0])
        if operator in OTHERS and (info is None or info.dtype not in ("int32", "int64", "bool")):
            result[node.name] = (operator, runs)
    return result
