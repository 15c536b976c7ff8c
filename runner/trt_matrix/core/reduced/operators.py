"""Which inputs and outputs of a node may be float16 or bfloat16, by ONNX's own definition of its operator.

ONNX states for each operator, and for each version of it, which types each of its inputs takes and which
of them have one type. So nothing is listed here that ONNX knows: a Resize takes its scales in float32
alone, and a Conv takes bfloat16 from opset 22 on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from trt_matrix.core.reduced.formats import Format

STANDARD = ("", "ai.onnx")

FLOAT32_OPERATORS: Mapping[str, str] = {
    "NonMaxSuppression": "it multiplies sides of boxes, and areas overflow",
    "RoiAlign": "its coordinates need more digits",
    "Range": "whole numbers beyond 2048 cannot be told apart",
    "CumSum": "sums of many values need more digits",
    "ReduceL2": "squares overflow before the root",
    "ReduceSumSquare": "squares overflow",
    "ReduceLogSumExp": "exponentials overflow",
    "LpNormalization": "squares overflow before the root",
    "MeanVarianceNormalization": "squares overflow before the root",
}
"""Operators that compute, on the way to what they give out, values whose range nobody sees → why."""

ENGINES_LACK: Mapping[tuple[str, str], str] = {
    ("bfloat16", "ConvTranspose"): "TensorRT builds none (seen in TensorRT-RTX 1.7)",
    ("bfloat16", "HardSwish"): "TensorRT's parser takes none (seen in TensorRT-RTX 1.7)",
}
"""(type, operator) that ONNX knows and TensorRT does not → how that was seen."""

GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True, slots=True)
class Reducible:
    """Places of a node's inputs and outputs, from 0, that are float32 and may be of less."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def reducible(
    node: onnx.NodeProto, opset: int, types: Mapping[str, int], wanted: Format
) -> Reducible | str:
    """Returns what of a node may be reduced, or why it has to stay in float32.

    In `types`, what is no tensor, or unknown, is absent.
    """
    if any(attribute.type in GRAPHS for attribute in node.attribute):
        return f"{node.op_type} holds networks of its own, which stay as they are"
    if node.domain not in STANDARD:
        return f"{node.op_type} is no operator of ONNX: what types it takes is not known"
    if node.op_type in QUANTISING:
        return f"{node.op_type} is part of the quantisation"
    if reason := FLOAT32_OPERATORS.get(node.op_type):
        return f"{node.op_type}: {reason}"
    if reason := ENGINES_LACK.get((wanted.name, node.op_type)):
        return f"{node.op_type} in {wanted.name}: {reason}"
    if any(name and name not in types for name in (*node.input, *node.output)):
        return f"the types of what {node.op_type} reads or gives are not known"
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return f"ONNX's opset {opset} has no {node.op_type}"
    allowed = _allowed(schema)
    inputs = _places(node.input, schema.inputs, types)
    outputs = _places(node.output, schema.outputs, types)
    free = {index: name for index, name in inputs.items() if name in allowed}
    if inputs and not free:
        return f"{node.op_type} takes float32 alone"
    given = frozenset(outputs.values())
    lacking = {name for name in free.values() if f"tensor({wanted.name})" not in allowed[name]}
    if lacking & given or (lacking and not given):
        return f"{node.op_type} of opset {schema.since_version} takes no {wanted.name}"
    taken = {index: name for index, name in free.items() if name not in lacking}
    return Reducible(
        inputs=frozenset(taken),
        # Where no input has its type, an attribute or the operator itself says what it gives.
        outputs=frozenset(index for index, name in outputs.items() if name in taken.values()),
    )


def follows(node: onnx.NodeProto, output: str, opset: int, types: Mapping[str, int]) -> int | None:
    """Returns the element type of an output that must be that of an input, by the operator's definition.

    Shape inference tells no type where it cannot tell the shape of some operators.
    """
    if node.domain not in STANDARD:
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return None
    allowed = _allowed(schema)
    index = list(node.output).index(output)
    variable = schema.outputs[min(index, len(schema.outputs) - 1)].type_str
    # What may also be a sequence need not be a tensor where its input is one.
    if variable not in allowed or not all(kind.startswith("tensor(") for kind in allowed[variable]):
        return None
    for place, name in enumerate(node.input):
        formal = schema.inputs[min(place, len(schema.inputs) - 1)]
        if formal.type_str == variable and name in types:
            return types[name]
    return None


def _allowed(schema: onnx.defs.OpSchema) -> Mapping[str, Sequence[str]]:
    """Returns each type that an operator's definition leaves open → what it may be: `tensor(float16)`, …."""
    return {
        variable.type_param_str: variable.allowed_type_strs for variable in schema.type_constraints
    }


def _places(
    names: Iterable[str],
    formal: Sequence[onnx.defs.OpSchema.FormalParameter],
    types: Mapping[str, int],
) -> dict[int, str]:
    """Returns the places that are float32 → the name of their type in the operator's definition."""
    return {
        index: formal[min(index, len(formal) - 1)].type_str
        for index, name in enumerate(names)
        if types.get(name) == TensorProto.FLOAT
    }
