"""Writes the network as ONNX, node by node: opset 13, and opset 9 for TensorRT 5 to 7."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from demo.network import CHANNELS, HEADS, INPUT, LAYERS, Add, Concat, Conv, Layer, Upsample
from demo.sizes import SIZE

Weights = Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Layer → (weight, bias)."""


def write(weights: Weights, folder: Path) -> tuple[Path, Path]:
    """Writes digits3.onnx and digits3-opset9.onnx; returns their paths."""
    paths = folder / "digits3.onnx", folder / "digits3-opset9.onnx"
    for path, opset in zip(paths, (13, 9), strict=True):
        onnx.save(network(weights, opset), path)
    return paths


def network(weights: Weights, opset: int) -> onnx.ModelProto:
    """Returns the network; at opset 9 it is what old parsers read.

    They want IR version 3, `Upsample` in place of `Resize`, and every initialiser among the inputs.
    """
    old = opset < 10
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for layer in LAYERS:
        node_protos, needed = _nodes(layer, weights, old=old)
        nodes += node_protos
        constants += needed
    constants = list({constant.name: constant for constant in constants}.values())
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, SIZE, SIZE])]
    if old:
        inputs += [
            helper.make_tensor_value_info(constant.name, constant.data_type, list(constant.dims))
            for constant in constants
        ]
    outputs = [
        helper.make_tensor_value_info(
            head, TensorProto.FLOAT, [1, CHANNELS, SIZE // stride, SIZE // stride]
        )
        for head, stride in HEADS.items()
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "digits3", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=3 if old else 7,
        producer_name="digits3",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _nodes(
    layer: Layer, weights: Weights, *, old: bool
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    name = layer.name
    match layer:
        case Conv():
            weight, bias = weights[name]
            constants = [
                numpy_helper.from_array(weight, f"{name}/weight"),
                numpy_helper.from_array(bias, f"{name}/bias"),
            ]
            pad = layer.kernel // 2
            output = f"{name}/linear" if layer.relu else name
            nodes = [
                helper.make_node(
                    "Conv",
                    [layer.source, f"{name}/weight", f"{name}/bias"],
                    [output],
                    name=f"{name}/Conv",
                    kernel_shape=[layer.kernel] * 2,
                    strides=[layer.stride] * 2,
                    pads=[pad] * 4,
                    dilations=[1, 1],
                    group=1,
                )
            ]
            if layer.relu:
                nodes.append(helper.make_node("Relu", [output], [name], name=f"{name}/Relu"))
            return nodes, constants
        case Add():
            return [helper.make_node("Add", list(layer.sources), [name], name=f"{name}/Add")], []
        case Concat():
            node = helper.make_node(
                "Concat", list(layer.sources), [name], name=f"{name}/Concat", axis=1
            )
            return [node], []
        case Upsample():
            scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), f"{name}/scales")
            if old:
                node = helper.make_node(
                    "Upsample",
                    [layer.source, scales.name],
                    [name],
                    name=f"{name}/Upsample",
                    mode="linear",
                )
                return [node], [scales]
            node = helper.make_node(
                "Resize",
                [layer.source, "", scales.name],
                [name],
                name=f"{name}/Resize",
                mode="linear",
                coordinate_transformation_mode="asymmetric",
            )
            return [node], [scales]
