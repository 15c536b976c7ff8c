"""Functions that a network brings along (ModelProto.functions), as PyTorch's dynamo exporter writes them.

What is inside of one is hidden from whoever walks the nodes: no convolution there is found, calibrated
or quantised. So they are written out before anything else looks at the network.
"""

import onnx
import onnx.inliner
from onnx import helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import opset
from trt_matrix.core.network.graph import GraphError


def inlined(model: onnx.ModelProto, source: str) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Returns the network without functions, and the names of those that were written out.

    A network without any is returned as it is.

    Raises:
        GraphError: they cannot be written out, such as for operators of another opset.
    """
    names = tuple(sorted(f"{function.domain}.{function.name}" for function in model.functions))
    if not names:
        return model, ()
    try:
        if _one_opset(model):
            result = onnx.inliner.inline_local_functions(model)
        else:
            result = onnx.inliner.inline_local_functions(_typed(model), convert_version=True)
    except (
        RuntimeError,
        onnx.shape_inference.InferenceError,
        onnx.version_converter.ConvertError,
    ) as error:
        reason = str(error).strip().splitlines()[0]
        message = (
            f"{source}: its functions ({', '.join(names[:3])}) cannot be written out ({reason}): "
            "export it without functions, or run onnx.inliner.inline_local_functions yourself"
        )
        raise GraphError(message) from error
    if result.functions:
        left = f"{result.functions[0].domain}.{result.functions[0].name}"
        message = (
            f"{source}: its function {left} stayed after writing out: export it without functions"
        )
        raise GraphError(message)
    return result, names


def _one_opset(model: onnx.ModelProto) -> bool:
    mine = opset(model)
    return all(
        entry.version == mine
        for function in model.functions
        for entry in function.opset_import
        if entry.domain in ("", "ai.onnx")
    )


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy that states the types of its tensors: bringing a function to another opset asks."""
    result = graph.copied(model)
    known = {value.name for value in (*model.graph.value_info, *model.graph.input)}
    result.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
        if tensor.name not in known
    )
    return onnx.shape_inference.infer_shapes(result)
