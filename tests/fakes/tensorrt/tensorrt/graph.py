"""The ONNX side: what a parser makes of a file, and how the fake computes it."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

TYPES = {TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.BFLOAT16: "BF16",
         TensorProto.INT8: "INT8",
         TensorProto.INT32: "INT32", TensorProto.INT64: "INT64", TensorProto.BOOL: "BOOL"}  # fmt: skip
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
         "BOOL": np.bool_}  # fmt: skip


def tensors(model):
    """Returns tensor → (type, shape), of inputs, nodes' outputs and the network's."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = {one.name for one in graph.initializer}
    return {
        info.name: (
            TYPES[info.type.tensor_type.elem_type],
            tuple(
                d.dim_value if d.HasField("dim_value") else -1
                for d in info.type.tensor_type.shape.dim
            ),
        )
        for info in [*graph.input, *graph.value_info, *graph.output]
        if info.name not in constants
    }


def fixed(model, batch):
    """Returns the model with a free batch set."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in [*copy.graph.input, *copy.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = batch
    return copy


def has_bfloat16(model):
    return any(dtype == "BF16" for dtype, _ in tensors(model).values())


def without_bfloat16(model):
    """Returns the model with float32 in the place of bfloat16, for which a CPU has no kernels."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for one in copy.graph.initializer:
        if one.data_type == TensorProto.BFLOAT16:
            values = numpy_helper.to_array(one).astype(np.float32)
            one.CopyFrom(numpy_helper.from_array(values, one.name))
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
    return copy


def session(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def with_outputs(model, names):
    """Returns the model with `names` as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    given = {value.name for value in [*copy.graph.output, *copy.graph.input]}
    copy.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in given
    )
    return copy


def quantised(model, scales):
    """Returns the model with every tensor of `scales` rounded to int8, its outputs aside."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for domain in copy.opset_import:
        domain.version = max(domain.version, 10)  # the first with QuantizeLinear
    outputs = {value.name for value in copy.graph.output}
    inputs = [value.name for value in copy.graph.input]
    nodes = []
    chosen = {name: scale for name, scale in scales.items() if name not in outputs and scale > 0}

    def pair(name):
        copy.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(chosen[name], np.float32), name + "/scale"),
                numpy_helper.from_array(np.array(0, np.int8), name + "/zero"),
            ]
        )
        parameters = [name + "/scale", name + "/zero"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], [name + "/q"]))
        nodes.append(
            helper.make_node("DequantizeLinear", [name + "/q", *parameters], [name + "/dq"])
        )

    for name in inputs:
        if name in chosen:
            pair(name)
    for node in model.graph.node:
        moved = onnx.NodeProto()
        moved.CopyFrom(node)
        if moved.op_type == "Upsample":
            moved.op_type = "Resize"  # its name, with the same inputs, from opset 10 on
        for index, name in enumerate(moved.input):
            if name in chosen:
                moved.input[index] = name + "/dq"
        nodes.append(moved)
        for name in moved.output:
            if name in chosen:
                pair(name)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def computed(session, outputs, given):
    """Runs so many images as are given: a network whose batch is no axis was exported for some other number."""
    size = session.get_inputs()[0].shape[0]
    images = len(next(iter(given.values())))
    if size == images:
        return session.run(outputs, given)
    assert images % size == 0, (images, size)
    runs = [
        session.run(outputs, {name: one[at : at + size] for name, one in given.items()})
        for at in range(0, images, size)
    ]
    return [np.concatenate(found) for found in zip(*runs, strict=True)]
