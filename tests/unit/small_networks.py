"""Small networks for tests, each built from scratch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network.canonical import canonical


class Builder:
    """Collects nodes and weights; `conv("x", "y", 3, 8)` adds a convolution named conv_y."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, array: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        name = attributes.pop("name", f"{op.lower()}_{output}")
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(self, x: str, y: str, ci: int, co: int, k: int = 3, **attributes: Any) -> str:
        spread = np.sqrt(2 / (ci * k * k))
        w = self.weight(f"{y}.weight", self.random.normal(0, spread, (co, ci, k, k)).astype("f4"))
        b = self.weight(f"{y}.bias", self.random.normal(0, 0.1, co).astype("f4"))
        return self.node("Conv", [x, w, b], y, pads=[k // 2] * 4, **attributes)

    def model(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Sequence[str],
        *,
        opset: int = 13,
        ir_version: int = 8,
        dtype: int = TensorProto.FLOAT,
    ) -> onnx.ModelProto:
        values = [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()]
        if ir_version < 4:
            values += [
                helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in self.weights
            ]
        heads = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        graph = helper.make_graph(self.nodes, "test", values, heads, self.weights)
        domains = {node.domain: 1 for node in self.nodes} | {"": opset}
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
        for head, value in zip(model.graph.output, known, strict=True):
            head.CopyFrom(value)
        return model


def detector() -> onnx.ModelProto:
    """Two heads: `large` off the backbone, `small` behind bilinear upsampling and a residual."""
    b = Builder()
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "s2")
    b.node("Relu", [b.conv("s2", "c2", 8, 12, strides=[2, 2])], "s4")
    b.conv("s4", "large", 12, 6, k=1)
    b.node("LeakyRelu", [b.conv("s4", "c3", 12, 8, k=1)], "lateral")
    b.weight("twice", np.array([1, 1, 2, 2], "f4"))
    b.node(
        "Resize",
        ["lateral", "", "twice"],
        "up",
        mode="linear",
        coordinate_transformation_mode="asymmetric",
    )
    b.node("Concat", ["up", "s2"], "joined", axis=1)
    b.node("Relu", [b.conv("joined", "c4", 16, 8)], "mixed")
    b.node("Add", [b.conv("mixed", "c5", 8, 8), "mixed"], "sum")
    b.conv("sum", "small", 8, 6, k=1)
    return b.model({"image": [1, 3, 16, 16]}, ["large", "small"])


def old_detector() -> onnx.ModelProto:
    """The same function in opset 9, as TensorRT 5 reads it: Upsample, initialisers among the inputs."""
    model = detector()
    for node in model.graph.node:
        if node.op_type == "Resize":
            upsample = helper.make_node(
                "Upsample", [node.input[0], node.input[2]], node.output, node.name, mode="linear"
            )
            node.CopyFrom(upsample)
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    model.opset_import[0].version, model.ir_version = 9, 3
    return model


def run(
    model: onnx.ModelProto,
    feed: Mapping[str, npt.NDArray[np.float32]],
    *,
    optimised: bool = False,
    saved: str | None = None,
    config: Mapping[str, str] | None = None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Returns output → array, computed by ONNX Runtime on the CPU with one thread."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if saved is not None:
        options.optimized_model_filepath = saved
    for key, value in (config or {}).items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feed)), strict=True))


def image(shape: Sequence[int] = (1, 3, 16, 16), seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, shape).astype("f4")


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def resized(resize: str = "linear", *, joined: bool = False) -> onnx.ModelProto:
    """A convolution, a resizing, and a second convolution or a concatenation behind it."""
    b = Builder(0)
    b.conv("image", "a", 3, 4, name="first")
    scales = b.weight("scales", np.array([1, 1, 2, 2], np.float32))
    b.node("Resize", ["a", "", scales], "up", mode=resize, name="resize")
    if joined:
        b.conv("image", "wide", 3, 4, name="side", stride=1)
        b.node("Resize", ["wide", "", scales], "side_up", mode=resize, name="resize2")
        b.node("Concat", ["up", "side_up"], "both", axis=1, name="join")
        b.conv("both", "head", 8, 2, name="last")
    else:
        b.conv("up", "head", 4, 2, name="last")
    return canonical(b.model({"image": [1, 3, 8, 8]}, ["head"]))
