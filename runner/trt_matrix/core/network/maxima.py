"""The network that gives out the largest magnitude of each tensor, in one output: an image, a row."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network import graph

OUTPUT = "largest-magnitudes"


def maxima_model(
    calibration: onnx.ModelProto, tensors: tuple[str, ...], heads: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """Returns the network with the output OUTPUT, float32 (1, tensors), beside the given heads.

    Operators of every opset alike: reductions without axes, which became an input with opset 18.

    Tensors are those that `calibration_graph.calibration_model` gives out, of one image at a time, and its
    input if that is among them; `heads` are kept.

    Raises:
        graph.GraphError: there are no tensors.
    """
    if not tensors:
        message = "no tensor of the network has a range"
        raise graph.GraphError(message)
    result = graph.copied(calibration)
    taken = {name for node in result.graph.node for name in (*node.input, *node.output)}
    prefix = "maxima"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    single, row = f"{prefix}-one", f"{prefix}-row"
    result.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1], np.int64), single),
            numpy_helper.from_array(np.array([1, len(tensors)], np.int64), row),
        ]
    )
    parts = []
    for number, tensor in enumerate(tensors):
        names = [f"{prefix}-{number}-{step}" for step in ("float", "abs", "max", "part")]
        result.graph.node.extend(
            [
                helper.make_node("Cast", [tensor], names[:1], name=names[0], to=TensorProto.FLOAT),
                helper.make_node("Abs", names[:1], names[1:2], name=names[1]),
                helper.make_node("ReduceMax", names[1:2], names[2:3], name=names[2], keepdims=0),
                helper.make_node("Reshape", [names[2], single], names[3:4], name=names[3]),
            ]
        )
        parts.append(names[3])
    result.graph.node.extend(
        [
            helper.make_node("Concat", parts, [f"{prefix}-all"], name=f"{prefix}-all", axis=0),
            helper.make_node("Reshape", [f"{prefix}-all", row], [OUTPUT], name=OUTPUT),
        ]
    )
    graph.keep(result.graph.output, lambda value: value.name in heads)
    result.graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, len(tensors)])
    )
    return result
