"""Which tensors need a range, and the network that gives them out."""

import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network import graph, shapes
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.operators import ADDS, CARRIERS, MACS, POINTWISE, POOLS, joined_by

_QUANTISABLE = MACS | ADDS | CARRIERS | POINTWISE | POOLS | {"Concat", "Resize"}


def tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns the float32 activations of a canonical form that some engine quantises, in the network's order.

    These are the inputs and outputs of every operator that has an integer kernel, whatever the
    placement options: one calibration serves every engine, and a TensorRT cache made of it is full.
    """
    known = shapes.inferred(model)
    initialisers = {tensor.name for tensor in model.graph.initializer}
    wanted: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in _QUANTISABLE and node.domain in graph.STANDARD_DOMAINS:
            wanted.update(dict.fromkeys((*joined_by(node), *node.output)))
    return tuple(
        name
        for name in wanted
        if name
        and name not in initialisers
        and (name not in known or known[name].dtype in ("float32", "unknown"))
    )


def calibration_model(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Returns the network that gives out every tensor which needs a range, and those tensors.

    The outputs of the network are its heads, then those tensors, each once. A network input needs
    a range too but is no output: whoever feeds it has it. It is among the tensors.

    Raises:
        graph.GraphError: see `canonical.canonical`.
    """
    result = canonical(model)
    names = tensors(result)
    outside = {info.name for info in (*graph.inputs(result), *graph.outputs(result))}
    known = shapes.inferred(result)
    result.graph.output.extend(
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, known[name].shape if name in known else None
        )
        for name in names
        if name not in outside
    )
    return result, names
