"""Writes what the fake UffParser reads; no converter of TensorFlow ever wrote such a file."""

from collections.abc import Mapping

import onnx


def uff_file(model: onnx.ModelProto, names: Mapping[str, str]) -> bytes:
    """Returns the network with its tensors renamed: ONNX name → name of the node."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {weight.name for weight in copy.graph.initializer}
    for value in [tensor for tensor in copy.graph.input if tensor.name in constants]:
        copy.graph.input.remove(value)
    copy.ir_version = 4  # may leave constants out of the inputs
    for value in [*copy.graph.input, *copy.graph.output]:
        value.name = names.get(value.name, value.name)
    for node in copy.graph.node:
        for each in (node.input, node.output):
            each[:] = [names.get(one, one) for one in each]
    return b"UFF " + copy.SerializeToString()
