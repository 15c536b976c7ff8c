"""Is a network quantised already, in which form, and how much of it; pure.

Three forms are in use: pairs of QuantizeLinear and DequantizeLinear around float operators (QDQ: TensorRT's
and PyTorch's exporters, NNCF, ModelOpt); operators on integers (QOperator: QLinearConv and the like); and
dynamic quantisation, whose scales are made of every image anew (DynamicQuantizeLinear, ConvInteger).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnx
from onnx import TensorProto

from trt_matrix.core.network import graph, shapes

MICROSOFT = "com.microsoft"
DOMAINS = graph.STANDARD_DOMAINS | {MICROSOFT}

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

_DYNAMIC_MACS = {"ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"}
DYNAMIC = _DYNAMIC_MACS | {"DynamicQuantizeLSTM", "DynamicQuantizeLinear", "MatMulInteger16"}
OPERATORS = frozenset({"QAttention", "QEmbedLayerNormalization", "QGemm", "QMoE", "QOrderedMatMul"})
"""Beside all that begin with `QLinear`."""
WEIGHT_ONLY = frozenset({"MatMulBnb4", "MatMulFpQ4", "MatMulNBits"})
"""Integer weights, made float before the multiplication."""

WEIGHTED = _DYNAMIC_MACS | {"QGemm", "QLinearConv", "QLinearMatMul"}
"""Multiply and accumulate on integers."""

CARRY_WEIGHTS = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What may stand between a weight's DequantizeLinear and its layer."""

SMALL = frozenset({"int2", "int4", "int8", "uint2", "uint4", "uint8"})
"""Integers of 8 bits or fewer."""


class QuantisedForm(StrEnum):
    QDQ = "QDQ"
    OPERATOR = "QOperator"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedQuantisation:
    """What a network says of its own quantisation."""

    forms: tuple[QuantisedForm, ...]
    nodes: Mapping[str, int]
    """Operator that quantises, dequantises or computes on integers → how many there are."""
    weights: int
    """Layers whose weights are integers."""
    activations: int
    """Activations that are quantised."""
    types: tuple[str, ...]
    """Of the integers, biases apart: `int8`, `uint8`; `float8e4m3fn` is none, but listed."""

    @property
    def anything(self) -> bool:
        """Whether a layer's weights or any activation is quantised; else its nodes stand for themselves."""
        return bool(self.weights or self.activations)

    @property
    def integer(self) -> bool:
        """Whether some of it is quantised to integers of at most 8 bits."""
        return not self.types or bool(SMALL.intersection(self.types))

    @property
    def others(self) -> tuple[str, ...]:
        """Its operators beside QuantizeLinear and DequantizeLinear."""
        return tuple(name for name in self.nodes if name not in (QUANTIZE, DEQUANTIZE))

    @property
    def scope(self) -> str:
        """`weights and activations`, `weights alone`, `activations alone`."""
        if self.weights and self.activations:
            return "weights and activations"
        return "weights alone" if self.weights else "activations alone"

    def sentence(self) -> str:
        """Returns `quantised already: weights and activations, QDQ, 14 DequantizeLinear, …`."""
        counted = ", ".join(f"{count} {name}" for name, count in self.nodes.items())
        types = f" ({', '.join(self.types)})" if self.types else ""
        return f"quantised already: {self.scope}{types}, {' and '.join(self.forms)}: {counted}"


def quantisation_of(model: onnx.ModelProto) -> ShippedQuantisation | None:
    """Returns what of a network is quantised; None where it holds no such node.

    Only the main graph is looked at; functions are to be written out before (`functions.inlined`).
    """
    counts = Counter(node.op_type for node in model.graph.node if form_of(node))
    if not counts:
        return None
    forms = {form_of(node) for node in model.graph.node}
    constants = constants_of(model)
    kinds = _constant_types(model)
    makers, users = graph.producers(model), graph.consumers(model)
    types: set[str] = set()
    weights: set[int] = set()
    activations: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if node.op_type in WEIGHTED | WEIGHT_ONLY and form_of(node):
            weights.add(index)
            types.update(kinds[name] for name in node.input if kinds.get(name) in SMALL)
        elif node.op_type in shapes.MAC_OPERATORS and any(
            _dequantised(name, makers, constants) for name in node.input[:2]
        ):
            weights.add(index)
        if node.op_type == QUANTIZE and node.input[0] not in constants:
            activations.add(node.input[0])
            types.add(_quantised_type(node, kinds))
        elif node.op_type == DEQUANTIZE and _is_weight(node, constants, users):
            types.add(kinds.get(node.input[0]) or _type_behind(node.input[0], makers, kinds))
        elif node.op_type == "DynamicQuantizeLinear":
            activations.add(node.input[0])
            types.add("uint8")
        elif node.op_type.startswith("QLinear") and form_of(node):
            activations.update(node.output[:1])
        elif node.op_type == "DynamicQuantizeMatMul":
            activations.add(node.input[0])
    return ShippedQuantisation(
        forms=tuple(form for form in QuantisedForm if form in forms),
        nodes=dict(sorted(counts.items())),
        weights=len(weights),
        activations=len(activations),
        types=tuple(sorted(types - {""})),
    )


def form_of(node: onnx.NodeProto) -> QuantisedForm | None:
    """Returns the form that a node belongs to; None for one that has nothing to do with quantisation."""
    if node.domain not in DOMAINS:
        return None
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        return QuantisedForm.QDQ
    if node.op_type in DYNAMIC:
        return QuantisedForm.DYNAMIC
    if node.op_type.startswith("QLinear") or node.op_type in OPERATORS | WEIGHT_ONLY:
        return QuantisedForm.OPERATOR
    return None


def constants_of(model: onnx.ModelProto) -> set[str]:
    """Returns the tensors that do not depend on the input."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if all(name in constants for name in node.input if name) and not any(
            attribute.HasField("g") or attribute.graphs for attribute in node.attribute
        ):
            constants.update(node.output)
    return constants


def _constant_types(model: onnx.ModelProto) -> dict[str, str]:
    """Returns constant → type of its elements, as ONNX calls it in lower case."""
    types = {tensor.name: type_name(tensor.data_type) for tensor in model.graph.initializer}
    for node in model.graph.node:
        value = graph.attribute(node, "value") if node.op_type == "Constant" else None
        if isinstance(value, onnx.TensorProto):
            types[node.output[0]] = type_name(value.data_type)
    return types


def type_name(element: int) -> str:
    return TensorProto.DataType.Name(element).lower()


def _quantised_type(node: onnx.NodeProto, kinds: Mapping[str, str]) -> str:
    """Returns what a QuantizeLinear gives: its zero point's type, an attribute's, else uint8."""
    if len(node.input) > 2 and node.input[2]:
        return kinds.get(node.input[2], "")
    stated = graph.attribute(node, "output_dtype", 0)
    return type_name(stated) if isinstance(stated, int) and stated else "uint8"


def _type_behind(
    tensor: str, makers: Mapping[str, onnx.NodeProto], kinds: Mapping[str, str]
) -> str:
    """Returns the type of a weight that is quantised in the network, or carried to its DQ."""
    maker = makers.get(tensor)
    if maker is None:
        return kinds.get(tensor, "")
    if maker.op_type == QUANTIZE:
        return _quantised_type(maker, kinds)
    return _type_behind(maker.input[0], makers, kinds) if maker.input else ""


def _dequantised(tensor: str, makers: Mapping[str, onnx.NodeProto], constants: set[str]) -> bool:
    """Whether a layer's input is a constant that DequantizeLinear made."""
    maker = makers.get(tensor)
    while maker is not None and maker.op_type in CARRY_WEIGHTS:
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type == DEQUANTIZE and maker.output[0] in constants


def _is_weight(
    node: onnx.NodeProto, constants: set[str], users: Mapping[str, list[onnx.NodeProto]]
) -> bool:
    """Whether a DequantizeLinear gives a layer its weight: no bias, no constant of something else."""
    return node.output[0] in constants and any(_weighs(node.output[0], users))


def _weighs(tensor: str, users: Mapping[str, list[onnx.NodeProto]]) -> Iterator[bool]:
    for user in users.get(tensor, ()):
        if user.op_type in CARRY_WEIGHTS:
            yield from _weighs(user.output[0], users)
        yield user.op_type in shapes.MAC_OPERATORS and tensor in user.input[:2]
