"""Networks that end in a ranking, as detectors without NMS after them do (YOLOv10, RT-DETR, SSD)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.unit.small_networks import Builder

CELLS, CHANNELS, KEPT = 64, 6, 8


class Ranked(Builder):
    """A trunk that gives `raw`, (1, 64, 6), and its `scores`, (1, 64); then whatever is added."""

    def __init__(self) -> None:
        super().__init__()
        self.node("Relu", [self.conv("image", "c1", 3, 8, strides=[2, 2])], "stem")
        self.conv("stem", "c2", 8, CHANNELS, k=1)
        self.weight("as_rows", np.array([1, CHANNELS, CELLS]))
        self.node("Reshape", ["c2", "as_rows"], "columns")
        self.node("Transpose", ["columns"], "raw", perm=[0, 2, 1])
        for name, value in (("four", 4), ("five", 5), ("axis2", 2), ("kept", KEPT), ("one", 1)):
            self.weight(name, np.array([value]))
        self.node("Slice", ["raw", "four", "five", "axis2"], "objectness")
        self.node("Sigmoid", ["objectness"], "probability")
        self.node("Squeeze", ["probability", "axis2"], "scores")

    def several(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **more: Any) -> None:
        name = f"{op.lower()}_{outputs[0]}"
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **more))

    def topk(self, scores: str = "scores", k: str = "kept", axis: int = 1) -> None:
        self.several("TopK", [scores, k], ["best", "places"], axis=axis)

    def gather_rows(self, output: str, data: str = "raw", width: int = CHANNELS) -> None:
        """Gathers the rows of `places` by GatherElements."""
        self.node("Unsqueeze", ["places", "axis2"], f"{output}_places")
        self.weight(f"{output}_shape", np.array([1, KEPT, width]))
        self.node("Expand", [f"{output}_places", f"{output}_shape"], f"{output}_index")
        self.node("GatherElements", [data, f"{output}_index"], output, axis=1)

    def done(self, *outputs: str) -> onnx.ModelProto:
        return self.model({"image": [1, 3, 16, 16]}, outputs)


def made(*steps: Callable[[Ranked], object], outputs: Sequence[str]) -> onnx.ModelProto:
    builder = Ranked()
    for step in steps:
        step(builder)
    return builder.done(*outputs)


def detections() -> onnx.ModelProto:
    """`raw` and, of its best rows, `dets`."""
    return made(Ranked.topk, lambda b: b.gather_rows("dets"), outputs=["raw", "dets"])


def body(nodes: Sequence[onnx.NodeProto], inputs: Sequence[tuple[str, int]], outputs: Sequence[str],
         dtypes: Sequence[int] = ()) -> onnx.GraphProto:  # fmt: skip
    """Returns the body of an If or a Loop."""
    kinds = dtypes or [TensorProto.FLOAT] * len(outputs)
    return helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(name, dtype, None) for name, dtype in inputs],
        [helper.make_tensor_value_info(n, t, None) for n, t in zip(outputs, kinds, strict=True)],
    )
