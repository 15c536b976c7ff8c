"""A network, or an input, of other numbers → the same in float32.

The reference, ranges and Q/DQ are of a float32 network, and what 16 bits cost is measured by a precision
of its own. Every number of 16 bits is one of 32, so nothing is lost of weights and constants; what is
computed between is not rounded to 16 bits any more. An input of integers, or of float64, has the same numbers
behind it.
"""

from collections.abc import Collection, Iterator, Mapping

import onnx
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.ordering import inner_graphs, reads
from trt_matrix.core.reduced.converting import element_types

HALF = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
_NAMES_A_TYPE = frozenset({"to", "dtype", "output_dtype"})
"""Attributes of standard operators that hold a type of elements: Cast, EyeLike, DequantizeLinear."""
_FLOATS = frozenset({*HALF, TensorProto.FLOAT})
CASTABLE = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float64"})  # fmt: skip
_CASTS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


def half_types(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns which of `float16` and `bfloat16` the network has tensors of."""
    types = set(_types(model.graph))
    return tuple(name for element, name in HALF.items() if element in types)


def raise_halves(model: onnx.ModelProto) -> None:
    """Makes every float16 and bfloat16 tensor of `model`, which has no functions, float32, and drops the casts between.

    Raises:
        GraphError: its types contradict each other.
    """
    types = element_types(model)
    _raise(model.graph)
    _drop_casts(model, types)


def _types(graph_proto: onnx.GraphProto) -> Iterator[int]:
    yield from (tensor.data_type for tensor in graph_proto.initializer)
    yield from (
        value.type.tensor_type.elem_type
        for value in (*graph_proto.input, *graph_proto.output, *graph_proto.value_info)
    )
    for node in graph_proto.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t.data_type
            elif _holds_type(node, attribute):
                yield attribute.i
        for inner in inner_graphs(node):
            yield from _types(inner)


def _raise(graph_proto: onnx.GraphProto) -> None:
    for tensor in graph_proto.initializer:
        _raise_tensor(tensor)
    for value in (*graph_proto.input, *graph_proto.output, *graph_proto.value_info):
        _raise_type(value.type)
    for node in graph_proto.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _raise_tensor(attribute.t)
            elif _holds_type(node, attribute) and attribute.i in HALF:
                attribute.i = TensorProto.FLOAT
        for inner in inner_graphs(node):
            _raise(inner)


def _holds_type(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> bool:
    return node.domain in graph.STANDARD_DOMAINS and attribute.name in _NAMES_A_TYPE


def _raise_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in HALF and tensor.data_location == TensorProto.EXTERNAL:
        # It is read by its shape alone: who computes has embedded it.
        tensor.data_type = TensorProto.FLOAT
    elif tensor.data_type in HALF:
        array = numpy_helper.to_array(tensor).astype("f4")
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _raise_type(type_: onnx.TypeProto) -> None:
    if type_.HasField("sequence_type"):
        _raise_type(type_.sequence_type.elem_type)
    elif type_.HasField("optional_type"):
        _raise_type(type_.optional_type.elem_type)
    elif type_.HasField("tensor_type") and type_.tensor_type.elem_type in HALF:
        type_.tensor_type.elem_type = TensorProto.FLOAT


def _drop_casts(model: onnx.ModelProto, types: Mapping[str, int]) -> None:
    """Takes out the casts that went between 16 and 32 bits.

    What is in front of one that makes an output gets the output's name; where it has such a name already,
    or no node makes it, the cast becomes an Identity.
    """
    outputs = {value.name for value in model.graph.output}
    makers = graph.producers(model)
    instead: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        if not _casts_to({TensorProto.FLOAT}, node) or types.get(node.input[0]) not in _FLOATS:
            kept.append(node)
            continue
        source, output = instead.get(node.input[0], node.input[0]), node.output[0]
        if output not in outputs:
            instead[output] = source
        elif source in makers and source not in outputs:
            instead = {old: output if new == source else new for old, new in instead.items()}
            instead[source] = output
        else:
            node.CopyFrom(helper.make_node("Identity", [source], [output], name=node.name))
            kept.append(node)
    for node in kept:
        for index, name in enumerate(node.output):
            if instead.get(name) in outputs:
                node.output[index] = instead[name]
    graph.replace_nodes(model, kept)
    graph.rewire(model.graph, instead)


def _casts_to(types: Collection[int], node: onnx.NodeProto) -> bool:
    standard = node.op_type == "Cast" and node.domain in graph.STANDARD_DOMAINS
    return standard and graph.attribute(node, "to") in types


def take_float32(model: onnx.ModelProto, name: str) -> None:
    """Makes an input of a type of `CASTABLE` float32, and what reads it see its numbers in the type that it had.

    A Cast is put behind it, unless all that reads it is a cast to floating point: that takes a float as
    well, and older TensorRT knows no tensor of 8 bits without sign.
    """
    (value,) = (value for value in model.graph.input if value.name == name)
    element = value.type.tensor_type.elem_type
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    if all(_casts_to(_CASTS, node) for node in model.graph.node if name in reads(node)):
        return
    taken = {tensor for node in model.graph.node for tensor in (*reads(node), *node.output)}
    typed = graph.free_name(f"{name}/{graph.dtype_name(element)}", taken)
    graph.rewire(model.graph, {name: typed})
    cast = helper.make_node("Cast", [name], [typed], name=typed, to=element)
    model.graph.node.insert(0, cast)
