"""A network of float16 or bfloat16 → the same in float32.

The reference, ranges and Q/DQ are of a float32 network, and what 16 bits cost is measured by a precision
of its own. Every number of 16 bits is one of 32, so nothing is lost of weights and constants; what is
computed between is not rounded to 16 bits any more.
"""

from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto, numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.ordering import inner_graphs
from trt_matrix.core.reduced.converting import element_types

HALF = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
_NAMES_A_TYPE = frozenset({"to", "dtype", "output_dtype"})
"""Attributes of standard operators that hold a type of elements: Cast, EyeLike, DequantizeLinear."""
_FLOATS = frozenset({*HALF, TensorProto.FLOAT})


def half_types(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns which of `float16` and `bfloat16` the network has tensors of."""
    found = set(_types(model.graph))
    return tuple(name for element, name in HALF.items() if element in found)


def raise_halves(model: onnx.ModelProto) -> None:
    """Makes every float16 and bfloat16 tensor of `model` float32, and drops the casts between them.

    Args:
        model: Without functions; it is changed.

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
        tensor.data_type = (
            TensorProto.FLOAT
        )  # read by its shape alone: who computes has embedded it
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
        if not _between_floats(node, types):
            kept.append(node)
            continue
        source, made = instead.get(node.input[0], node.input[0]), node.output[0]
        if made not in outputs:
            instead[made] = source
        elif source in makers and source not in outputs:
            instead = {old: made if new == source else new for old, new in instead.items()}
            instead[source] = made
        else:
            node.CopyFrom(onnx.helper.make_node("Identity", [source], [made], name=node.name))
            kept.append(node)
    for node in kept:
        for index, name in enumerate(node.output):
            if instead.get(name) in outputs:
                node.output[index] = instead[name]
    graph.replace_nodes(model, kept)
    rewire(model.graph, instead)


def _between_floats(node: onnx.NodeProto, types: Mapping[str, int]) -> bool:
    return (
        node.op_type == "Cast"
        and node.domain in graph.STANDARD_DOMAINS
        and graph.attribute(node, "to") == TensorProto.FLOAT
        and types.get(node.input[0]) in _FLOATS
    )


def rewire(graph_proto: onnx.GraphProto, instead: Mapping[str, str]) -> None:
    """Makes every node, those in graphs inside of it too, read other tensors: old name → new name."""
    for node in graph_proto.node:
        for index, name in enumerate(node.input):
            if name in instead:
                node.input[index] = instead[name]
        for inner in inner_graphs(node):
            rewire(inner, instead)
            for value in inner.output:  # a branch may give out a tensor of the graph around it
                value.name = instead.get(value.name, value.name)
