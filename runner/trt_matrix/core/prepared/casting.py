"""An input of integers, or of float64 → a float32 input with the same numbers behind it."""

import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.ordering import reads
from trt_matrix.core.prepared.raising import rewire

CASTABLE = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float64"})  # fmt: skip
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


def take_float32(model: onnx.ModelProto, name: str) -> None:
    """Makes the input `name` float32, and what reads it see its numbers in the type that it had.

    A Cast is put behind it, unless all that reads it is a cast to floating point: that takes a float as
    well, and older TensorRT knows no tensor of 8 bits without sign.

    Args:
        model: It is changed.
        name: An input of a type of `CASTABLE`.
    """
    (value,) = (
        value_info_proto for value_info_proto in model.graph.input if value_info_proto.name == name
    )
    element = value.type.tensor_type.elem_type
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    readers = [node for node in model.graph.node if name in reads(node)]
    if all(_casts_to_float(node) for node in readers):
        return
    taken = {tensor for node in model.graph.node for tensor in (*reads(node), *node.output)}
    typed = f"{name}/{graph.dtype_name(element)}"
    while typed in taken:
        typed += "_"
    rewire(model.graph, {name: typed})
    cast = helper.make_node("Cast", [name], [typed], name=typed, to=element)
    model.graph.node.insert(0, cast)


def _casts_to_float(node: onnx.NodeProto) -> bool:
    return (
        node.op_type == "Cast"
        and node.domain in graph.STANDARD_DOMAINS
        and graph.attribute(node, "to") in _FLOATS
    )
