"""A network built as YOLOv3 is (strided convolutions, leaky ReLU, two upsamplings with concatenation, three heads) and
smaller: once as ONNX, once as a frozen graph of TensorFlow 1.x, of the same numpy weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.unit.programs import ran

SIZE, HEADS = 96, {"large": 3, "medium": 6, "small": 12}
"""Head → width of its grid."""
CHANNELS = 3 * (5 + 2)

BODY = [("c1", "image", 8, 3, 2), ("c2", "c1", 16, 3, 2), ("c3", "c2", 24, 3, 2), ("c4", "c3", 32, 3, 2),
        ("c5", "c4", 48, 3, 2)]  # fmt: skip
"""Name, what it reads, channels, kernel, stride."""

FREEZE = """
import sys

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
weights = np.load(sys.argv[1])


def conv(x, name, stride=1, active=True):
    kernel = weights[name].transpose(2, 3, 1, 0)
    edge = kernel.shape[0] // 2
    x = tf.pad(x, [[0, 0], [edge, edge], [edge, edge], [0, 0]])  # as Darknet pads, not as SAME does
    x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, "VALID"), weights[name + "_b"])
    return tf.nn.leaky_relu(x, 0.1) if active else x


def above(x, skip, name):
    x = conv(x, name)
    size = [2 * int(one) for one in x.shape[1:3]]
    return tf.concat([v1.image.resize_nearest_neighbor(x, size), skip], 3)


graph = tf.Graph()
with graph.as_default():
    x, seen = v1.placeholder(tf.float32, [1, 96, 96, 3], name="image"), {}
    for name in ("c1", "c2", "c3", "c4", "c5"):
        x = seen[name] = conv(x, name, 2)
    for head, skip, up in (("large", "c4", "u1"), ("medium", "c3", "u2"), ("small", None, None)):
        tf.identity(conv(conv(x, head + "_a"), head + "_o", active=False), head)
        x = above(x, seen[skip], up) if skip else x
with open(sys.argv[2], "wb") as stream:
    stream.write(graph.as_graph_def().SerializeToString())
print(tf.__version__)
"""
"""Runs where TensorFlow is: weights.npz, file to write."""

TRACE = """
import sys

import numpy as np
import torch
from torch.nn import functional as F

weights = np.load(sys.argv[1])


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name in weights.files:
            self.register_buffer(name, torch.from_numpy(weights[name]))

    def conv(self, x, name, stride=1, active=True):
        kernel = getattr(self, name)
        x = F.conv2d(x, kernel, getattr(self, name + "_b"), stride, int(kernel.shape[2]) // 2)
        return F.leaky_relu(x, 0.1) if active else x

    def forward(self, x):
        seen, heads = {}, []
        for name in ("c1", "c2", "c3", "c4", "c5"):
            x = seen[name] = self.conv(x, name, 2)
        for head, skip, up in (("large", "c4", "u1"), ("medium", "c3", "u2"), ("small", None, None)):
            heads.append(self.conv(self.conv(x, head + "_a"), head + "_o", active=False))
            if skip:
                x = F.interpolate(self.conv(x, up), scale_factor=2.0, mode="nearest")
                x = torch.cat([x, seen[skip]], 1)
        return tuple(heads)


torch.jit.trace(Network().eval(), torch.zeros(1, 3, 96, 96)).save(sys.argv[2])
print(torch.__version__)
"""
"""Runs where PyTorch is: weights.npz, file to write."""

CONVERT = (
    FREEZE.partition("graph = tf.Graph()")[0]
    + """
class Network(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, 96, 96, 3], tf.float32, name="image")])
    def run(self, image):
        x, seen, heads = image, {}, {}
        for name in ("c1", "c2", "c3", "c4", "c5"):
            x = seen[name] = conv(x, name, 2)
        for head, skip, up in (("large", "c4", "u1"), ("medium", "c3", "u2"), ("small", None, None)):
            heads[head] = conv(conv(x, head + "_a"), head + "_o", active=False)
            x = above(x, seen[skip], up) if skip else x
        return heads


network = Network()
tf.saved_model.save(network, sys.argv[2] + ".saved", signatures={"serving_default": network.run})
images = np.load(sys.argv[3]).transpose(0, 2, 3, 1)
for ending, quantised in (("", False), ("_int8", True)):
    converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[2] + ".saved")
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with open(sys.argv[2].replace(".tflite", ending + ".tflite"), "wb") as stream:
        stream.write(converter.convert())
print(tf.__version__)
"""
)
"""Runs where TensorFlow is: weights.npz, .tflite to write (its int8 form beside it), images.npy to calibrate with."""


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Returns name → (out, in, k, k), and name_b → its bias; float32."""
    rng = np.random.default_rng(seed)
    shapes = {
        name: (out, 3 if source == "image" else dict(_outs())[source], k)
        for name, source, out, k, _ in BODY
    }
    width, skips = 48, {"large": ("u1", 24, 32), "medium": ("u2", 16, 24), "small": (None, 0, 0)}
    for head, (up, narrow, skip) in skips.items():
        shapes |= {f"{head}_a": (32, width, 3), f"{head}_o": (CHANNELS, 32, 1)}
        if up:
            shapes[up] = (narrow, width, 1)
            width = narrow + skip
    found = {}
    for name, (out, into, k) in shapes.items():
        found[name] = rng.normal(0, (2 / (into * k * k)) ** 0.5, (out, into, k, k)).astype(
            np.float32
        )
        found[f"{name}_b"] = rng.normal(0, 0.1, out).astype(np.float32)
    return found


def _outs() -> list[tuple[str, int]]:
    return [(name, out) for name, _, out, _, _ in BODY]


def onnx_model(values: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Returns the network with input `image` (1, 3, 96, 96), channels first."""
    nodes: list[onnx.NodeProto] = []

    def conv(source: str, name: str, output: str, stride: int = 1) -> None:
        edge = values[name].shape[2] // 2
        nodes.append(
            helper.make_node(
                "Conv",
                [source, name, f"{name}_b"],
                [output],
                output,
                strides=[stride] * 2,
                pads=[edge] * 4,
            )
        )

    def active(source: str, name: str, stride: int = 1) -> str:
        conv(source, name, f"{name}/conv", stride)
        nodes.append(
            helper.make_node(
                "LeakyRelu", [f"{name}/conv"], [f"{name}/out"], f"{name}/act", alpha=0.1
            )
        )
        return f"{name}/out"

    x, seen = "image", {}
    for name, _, _, _, stride in BODY:
        x = seen[name] = active(x, name, stride)
    for head, skip, up in (("large", "c4", "u1"), ("medium", "c3", "u2"), ("small", "", "")):
        conv(active(x, f"{head}_a"), f"{head}_o", head)
        if skip:
            nodes.append(
                helper.make_node(
                    "Resize", [active(x, up), "", "scales"], [f"{up}/big"], f"{up}/resize", mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor",
                )
            )  # fmt: skip
            nodes.append(
                helper.make_node(
                    "Concat", [f"{up}/big", seen[skip]], [f"{up}/cat"], f"{up}/concat", axis=1
                )
            )
            x = f"{up}/cat"
    stored = [numpy_helper.from_array(value, name) for name, value in values.items()]
    stored.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    float_type = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "yolov3-like",
        [helper.make_tensor_value_info("image", float_type, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(head, float_type, [1, CHANNELS, n, n]) for head, n in HEADS.items()],
        stored,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model, full_check=True)
    return model


def freeze(python: Path, values: dict[str, np.ndarray], target: Path) -> str:
    """Writes the frozen graph, by a Python that has TensorFlow; returns its version."""
    return _made(python, FREEZE, values, target)


def trace(python: Path, values: dict[str, np.ndarray], target: Path) -> str:
    """Writes a module of TorchScript, by a Python that has PyTorch; returns its version."""
    return _made(python, TRACE, values, target)


def convert(python: Path, values: dict[str, np.ndarray], images: np.ndarray, target: Path) -> None:
    """Writes a file of TFLite, and beside it its int8 form, by a Python that has TensorFlow.

    Args:
        python: That.
        values: The weights.
        images: To calibrate with, float32 (images, 3, 96, 96).
        target: NAME.tflite; the other is NAME_int8.tflite.
    """
    stored = target.with_suffix(".npy")
    np.save(stored, images)
    _made(python, CONVERT, values, target, stored)


def _made(python: Path, script: str, values: dict[str, Any], target: Path, *more: Path) -> str:
    stored, file = target.with_suffix(".npz"), target.with_suffix(".make.py")
    np.savez(stored, **values)
    file.write_text(script)
    done = ran(python, file, stored, target, *more)
    return done.stdout.split()[-1]
