"""A float32 network → one whose tensors are float16 or bfloat16, wherever they can be.

For engines whose networks are strongly typed: the network says what computes in which type, and no flag
does. Inputs and outputs stay float32. What stays in float32 inside, and why, is part of the result: by
operator (`operators`), and by value (`guard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from trt_matrix.core.cells import Precision
from trt_matrix.core.network import graph, ordering
from trt_matrix.core.network.canonical import canonical, opset
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.operators import MACS
from trt_matrix.core.reduced import guard, operators
from trt_matrix.core.reduced.formats import FORMATS, Format
from trt_matrix.core.reduced.operators import Reducible
from trt_matrix.core.reduced.writer import Writer

BFLOAT16_OPSET = 22
"""From it on ONNX's convolutions and poolings take bfloat16."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A network of which some nodes compute in a format below float32."""

    model: onnx.ModelProto
    reduced: int
    """Nodes that compute in the format."""
    kept: Mapping[str, str]
    """Node that computes in float32 → why."""
    near: Mapping[str, float]
    """Tensor of the format that comes near its end → the largest magnitude that was seen."""
    zeroed: Mapping[str, int]
    """Weight in the format → how many of its values became zero."""


def float_tensors(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Returns the network that gives out every float32 tensor that its nodes make, and those tensors.

    Raises:
        GraphError: see `canonical`.
    """
    result = canonical(model)
    types = element_types(result)
    names = [name for node in result.graph.node for name in node.output if name]
    known = {value.name for value in result.graph.output}
    wanted = tuple(name for name in names if types.get(name) == TensorProto.FLOAT)
    result.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in wanted
        if name not in known
    )
    return result, wanted


def convert(model: onnx.ModelProto, precision: Precision, ranges: Mapping[str, float]) -> Converted:
    """Returns the network in a precision below float32.

    Args:
        model: The float32 network; it is not changed. What is converted is its canonical form.
        precision: fp16 or bf16.
        ranges: Tensor → largest magnitude on images; tensors that are missing are judged by the weights
            around them alone.

    Raises:
        GraphError: it has Q/DQ nodes, or no layer that multiplies can be converted; says why none can.
    """
    wanted = FORMATS[precision]
    if any(node.op_type in operators.QUANTISING for node in model.graph.node):
        message = f"it has Q/DQ nodes: {precision} takes the float network that it was made of"
        raise GraphError(message)
    base, raising = _of_opset(canonical(model), precision)
    types = element_types(base)
    values = guard.values(base, ranges, wanted)
    chosen, kept = _chosen(base, types, values, wanted)
    _require_work(base, types, chosen, kept, raising, wanted)
    result = Writer(base, types, chosen, wanted).write()
    given = {name for node in base.graph.node if node.name in chosen for name in node.output}
    read = {name for node in base.graph.node if node.name in chosen for name in node.input}
    return Converted(
        model=result,
        reduced=sum(bool(reducible.outputs) for reducible in chosen.values()),
        kept=kept,
        near={name: amax for name, amax in values.near.items() if name in given | read},
        zeroed={name: count for name, count in values.zeroed.items() if name in read},
    )


def _chosen(
    model: onnx.ModelProto, types: Mapping[str, int], values: guard.Values, wanted: Format
) -> tuple[dict[str, Reducible], dict[str, str]]:
    """Returns the nodes to convert, and those of float32 that have to stay → why.

    What depends on no value of an image (sizes, grids, sums of constants) is left as it is: an engine
    computes it once, and rounded sizes would be other sizes. So is what only reads float32, such as a
    comparison, where not all of it is converted anyway: converting for it alone would lose digits.
    """
    live = {tensor.name for tensor in graph.inputs(model)}
    empty = {tensor.name for tensor in model.graph.initializer if 0 in tensor.dims}
    weights = {tensor.name for tensor in model.graph.initializer}
    low: set[str] = set()
    chosen: dict[str, Reducible] = {}
    kept: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("Shape", "Size"):
            if node.input[0] in low:  # no value of it is looked at
                chosen[node.name] = Reducible(frozenset({0}), frozenset())
            continue
        if live.isdisjoint(ordering.reads(node)):
            continue
        live.update(node.output)
        reducible = operators.reducible(node, opset(model), types, wanted)
        if isinstance(reducible, str):
            if _in_float32(node, types):
                kept[node.name] = reducible
            continue
        if reason := _by_value(node, reducible, values):
            kept[node.name] = reason
            continue
        inputs = frozenset(index for index in reducible.inputs if node.input[index] not in empty)
        data = {node.input[index] for index in inputs} - weights
        if inputs and (reducible.outputs or data <= low):
            chosen[node.name] = Reducible(inputs, reducible.outputs)
            low.update(node.output[index] for index in reducible.outputs)
    return chosen, kept


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Returns tensor → element type, of the main graph; what is unknown or no tensor is absent.

    Raises:
        GraphError: the types of the network contradict each other.
    """
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        message = f"the types of the network contradict each other: {error}"
        raise GraphError(message) from error
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*known.value_info, *known.input, *known.output)
        if value.type.HasField("tensor_type")
    }
    types |= {tensor.name: tensor.data_type for tensor in known.initializer}
    types = {name: element for name, element in types.items() if element != TensorProto.UNDEFINED}
    for node in model.graph.node:
        for name in node.output:
            element = None if name in types else operators.follows(node, name, opset(model), types)
            if element:
                types[name] = element
    return types


def _of_opset(model: onnx.ModelProto, precision: Precision) -> tuple[onnx.ModelProto, str]:
    """Returns the network in an opset that knows the type, and why it is not where that failed."""
    if precision is not Precision.BF16 or opset(model) >= BFLOAT16_OPSET:
        return model, ""
    try:
        raised = onnx.version_converter.convert_version(model, BFLOAT16_OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        reason = str(error).strip().splitlines()[0]
        return model, (
            f"; the network is of opset {opset(model)} and cannot be brought to {BFLOAT16_OPSET} "
            f"({reason}): export it with opset {BFLOAT16_OPSET} or newer"
        )
    raised.ir_version = max(raised.ir_version, 10)
    return graph.named(raised), ""


def _by_value(node: onnx.NodeProto, reducible: Reducible, values: guard.Values) -> str | None:
    """Returns which number around a node keeps it in float32."""
    for name in (*node.input, *node.output):
        if reason := values.tensors.get(name):
            return f"{name} {reason}"
    for index in sorted(reducible.inputs):
        name = node.input[index]
        # A bound beyond the end of the format bounds nothing there, and is moved to it.
        if (reason := values.weights.get(name)) and not (node.op_type == "Clip" and index > 0):
            return f"its constant {name} {reason}"
    return None


def _in_float32(node: onnx.NodeProto, types: Mapping[str, int]) -> bool:
    """Whether a node reads or gives float32, or what nobody knows."""
    return any(
        types.get(name, TensorProto.FLOAT) == TensorProto.FLOAT
        for name in (*ordering.reads(node), *node.output)
        if name
    )


def _require_work(
    model: onnx.ModelProto,
    types: Mapping[str, int],
    chosen: Mapping[str, Reducible],
    kept: Mapping[str, str],
    raising: str,
    wanted: Format,
) -> None:
    layers = {node.name: node.output[0] for node in model.graph.node if node.op_type in MACS}
    done = any(types.get(layer) == wanted.element for layer in layers.values())  # it came so
    if done or any(name in chosen for name in layers) or (chosen and not layers):
        return
    reasons = list(dict.fromkeys(kept[name] for name in layers or kept if name in kept))
    why = "; ".join(reasons[:3]) or "it computes in no float32"
    message = f"nothing that multiplies in it can be {wanted.name}: {why}{raising}"
    raise GraphError(message)
