"""The scales of a quantised network as a calibration table; pure.

A table holds one range a tensor on a grid that is symmetric about zero, scale = amax / 127. int8 with zero
point 0 is that grid, and uint8 with zero point 128 is the same one, moved. Every other grid (zero point 0 of
uint8, a scale a channel, 4 or 16 bits, float8) cannot be said in a table: it is named with the reason and
never approximated, since a table made of it would be another quantisation than the network's.

Tensors are called as in the float network that the quantiser was given: behind a DequantizeLinear a tensor is
the one that was quantised, and an output of the network keeps its name. ONNX Runtime calls the integers of
`x` in its operator form `x_quantized`; that is taken off.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import constant_of
from trt_matrix.core.network.functions import inlined
from trt_matrix.core.shipped.operators import OUTPUT_SCALES
from trt_matrix.core.shipped.quantisation import (
    DEQUANTIZE,
    QUANTIZE,
    constants_of,
    form_of,
    quantisation_of,
)
from trt_matrix.core.shipped.scales import Array, Scale, scale_of
from trt_matrix.core.tables.forms import ReadTable, TableForm
from trt_matrix.core.tables.table import LEVELS, Provenance, TableError

INTEGERS = "_quantized"
"""What ONNX Runtime puts behind the name of a tensor to name its integers."""
ZERO_POINTS = {"int8": 0, "uint8": 128}
"""Type of integers → zero point of the grid that a table has."""


def from_qdq(model: onnx.ModelProto) -> ReadTable:
    """Returns the scales of a quantised network's activations, by the names of its float network.

    What a table cannot hold stands in `unusable` with the reason. Every value is 127 · scale exactly.

    The network is of any form: pairs of QuantizeLinear and DequantizeLinear, or operators on integers. Its
    weights are not looked at.

    Raises:
        TableError: it is a float network, quantises no activation, or has no scale that a table can hold.
    """
    try:
        model, _ = inlined(model, "the network")
    except graph.GraphError as error:
        raise TableError(str(error)) from error
    names = _Names(model)
    scales_of: dict[str, list[Scale]] = {}
    for node in model.graph.node:
        if form_of(node) is None:
            continue
        if node.op_type == QUANTIZE and node.input[0] not in names.constants:
            at, tensor = 1, names.float_name(node.input[0])
        elif node.op_type in OUTPUT_SCALES:
            at, tensor = OUTPUT_SCALES[node.op_type], names.float_name(node.output[0])
        else:
            continue
        if len(node.input) > at and node.input[at]:
            scale = scale_of(node, at, at + 1, names.tensors, names.value)
            scales_of.setdefault(tensor, []).append(scale)
    values: dict[str, float] = {}
    unusable: dict[str, str] = {}
    for tensor, scales in scales_of.items():
        reason = _why_not(scales)
        if reason is None:
            values[tensor] = LEVELS * _one(scales[0])
        else:
            unusable[tensor] = reason
    if not values:
        raise TableError(_nothing(model, unusable))
    return ReadTable(
        form=TableForm.NETWORK,
        values=values,
        unusable=unusable,
        provenance=Provenance(algorithm=f"unknown ({TableForm.NETWORK})"),
    )


class _Names:
    """What tensors of a quantised network are called in its float network."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants = constants_of(model)
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if (constant := constant_of(node)) is not None:
                self.tensors[constant.name] = constant
        self._makers = graph.producers(model)
        fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
        self._fixed = fixed.union(self.tensors)
        self._outputs: Mapping[str, str] = {}
        # An output that a DequantizeLinear gives is what the float network called it.
        self._outputs = {
            source: value.name
            for value in model.graph.output
            if (source := self.float_name(value.name)) != value.name and source not in self._fixed
        }

    def value(self, name: str) -> Array | None:
        """Returns a constant, None where it is none or stands in a file beside the network."""
        held = self.tensors.get(name)
        if held is None or held.data_location == onnx.TensorProto.EXTERNAL:
            return None
        try:
            return numpy_helper.to_array(held)
        except (ValueError, TypeError) as error:
            message = f"its constant {name[:120]!r} cannot be read ({error}): was the file cut?"
            raise TableError(message) from error

    def float_name(self, tensor: str) -> str:
        name = self._source(tensor)
        return self._outputs.get(name, name)

    def _source(self, tensor: str) -> str:
        seen = set()
        while tensor not in seen:  # a network that runs in circles is none, and must not hang
            seen.add(tensor)
            maker = self._makers.get(tensor)
            if maker is None or form_of(maker) is None or not maker.input:
                return tensor
            if maker.op_type in (QUANTIZE, DEQUANTIZE):
                before = self._makers.get(maker.input[0])
                carried = before is not None and form_of(before) is None
                if maker.op_type == DEQUANTIZE and (before is None or carried):
                    return tensor
                tensor = maker.input[0]
                continue
            plain = tensor.removesuffix(INTEGERS)
            mine = plain and (plain == tensor or not self._is_other(plain, tensor))
            return plain if mine else tensor
        return tensor

    def _is_other(self, plain: str, integers: str) -> bool:
        """Whether a tensor of this name is another than the floats of these integers."""
        if plain not in self._makers:
            return plain in self._fixed and plain in self.tensors
        maker = self._makers[plain]
        return maker.op_type != DEQUANTIZE or maker.input[0] != integers


def _one(scale: Scale) -> float:
    assert scale.scale is not None  # noqa: S101 - `_why_not` has seen to it
    return float(scale.scale.ravel()[0])


def _why_not(scales: list[Scale]) -> str | None:
    """Returns why a table cannot hold a tensor's grid, None where it can."""
    for scale in scales:
        if scale.scale is None or (scale.names[1] and scale.zero is None):
            return "its scale or zero point is computed by the network, or kept in another file"
        if scale.scale.size == 0 or not scale.scale.dtype.name.startswith(("float", "bfloat")):
            return f"its scale is no number ({scale.scale.dtype}, {scale.scale.size} elements)"
        if np.unique(scale.scale.astype(np.float64)).size > 1:
            return f"it has a scale for each of {scale.scale.size} channels, and a table has one a tensor"
        if scale.kind not in ZERO_POINTS:
            return f"it is {scale.kind}, and a table's grid is that of 8-bit integers"
        zero = {0} if scale.zero is None else {int(value) for value in scale.zero.ravel()}
        if zero != {ZERO_POINTS[scale.kind]}:
            points = ", ".join(map(str, sorted(zero)[:3]))
            return (
                f"it is {scale.kind} with zero point {points}, and a table's grid is symmetric about zero "
                f"(zero point {ZERO_POINTS[scale.kind]} of {scale.kind})"
            )
    steps = {_one(scale) for scale in scales}
    if len(steps) > 1:
        named = " and ".join(f"{scale:.6g}" for scale in sorted(steps)[:2])
        return f"it is quantised with {len(steps)} scales, such as {named}, and a table has one"
    return None


def _nothing(model: onnx.ModelProto, unusable: Mapping[str, str]) -> str:
    if unusable:
        name, reason = next(iter(unusable.items()))
        return (
            f"none of the {len(unusable)} activations that it quantises has a scale that a table can hold: "
            f"{name!r}: {reason}; quantise it with symmetric activations"
        )
    shipped = quantisation_of(model)
    if shipped is None or not shipped.anything:
        return "it is a float network, which has no scales: name a calibration table or a network with Q/DQ"
    return f"it has no scales of activations that stand in it ({shipped.sentence()})"
