"""Networks that come quantised: written by hand, and by ONNX Runtime's own quantiser."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from tests.unit import small_networks as networks
from tests.unit.small_networks import Builder

Floats = npt.NDArray[np.float32]


class Quantising(Builder):
    """Adds `pair("x", "y", 0.02)`: QuantizeLinear and DequantizeLinear; and layers of integer weights."""

    def pair(
        self,
        x: str,
        y: str,
        scale: Any,
        zero: Any = 0,
        kind: Any = np.uint8,
        axis: int | None = None,
    ) -> str:
        s = self.weight(f"{y}.scale", np.asarray(scale, "f4"))
        z = self.weight(f"{y}.zero", np.full(np.shape(scale), zero, kind))
        along = {} if axis is None else {"axis": axis}
        self.node("QuantizeLinear", [x, s, z], f"{y}.q", **along)
        return self.node("DequantizeLinear", [f"{y}.q", s, z], y, **along)

    def integers(self, name: str, values: Floats, axis: int | None, kind: Any = np.int8) -> str:
        """Adds a constant as integers and its DequantizeLinear; returns what that gives."""
        others = tuple(i for i in range(values.ndim) if i != axis) if axis is not None else None
        scale = np.maximum(np.abs(values).max(axis=others), 1e-6) / np.float32(127)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)] if axis is not None else []
        steps = np.rint(values / scale.reshape(shape)).astype(kind)
        self.weight(f"{name}.int", steps)
        self.weight(f"{name}.scale", scale.astype("f4"))
        along = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", [f"{name}.int", f"{name}.scale"], name, **along)

    def normal(self, *shape: int, deviation: float = 0.3) -> Floats:
        return self.random.normal(0, deviation, shape).astype("f4")

    def qconv(self, x: str, y: str, ci: int, co: int, k: int = 3, **attributes: Any) -> str:
        w = self.integers(f"{y}.weight", self.normal(co, ci, k, k), 0)
        return self.node("Conv", [x, w], y, pads=[k // 2] * 4, **attributes)


def pairs() -> onnx.ModelProto:
    """Two heads in QDQ form: int8 weights a channel, uint8 activations, both heads behind a DQ."""
    b = Quantising()
    b.pair("image", "in", 8 / 255, 128)
    b.node("Relu", [b.qconv("in", "c1", 3, 8, strides=[2, 2])], "r1")
    b.pair("r1", "s2", 6 / 255)
    b.pair(b.qconv("s2", "c2", 8, 6, k=1), "large", 12 / 255, 128)
    b.pair(b.qconv("s2", "c3", 8, 6, k=1), "small", 12 / 127, 0, np.int8)
    return b.model({"image": [1, 3, 16, 16]}, ["large", "small"])


class _Images(CalibrationDataReader):
    def __init__(self) -> None:
        self.images: Iterator[Mapping[str, Floats]] = iter(
            [{"image": networks.image(seed=seed)} for seed in range(8)]
        )

    def get_next(self) -> Any:
        return next(self.images, None)


def by_tool(
    model: onnx.ModelProto,
    folder: Path,
    form: str,
    *,
    activations: QuantType = QuantType.QUInt8,
    per_channel: bool = True,
    **options: Any,
) -> onnx.ModelProto:
    """Returns what ONNX Runtime's quantiser makes of a network: `QDQ`, `QOperator` or `dynamic`."""
    source, target = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(model, str(source))
    if form == "dynamic":
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)
    else:
        quantize_static(
            source,
            target,
            _Images(),
            quant_format=QuantFormat[form],
            activation_type=activations,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            extra_options=options,
        )
    return onnx.load(str(target))


def mixed() -> onnx.ModelProto:
    """Relu, Relu6, Add, Mul, Sigmoid, Concat, pooling, a transposed convolution, Gemm, MatMul."""
    b = Builder(3)
    b.node("Relu", [b.conv("image", "c1", 3, 8, strides=[2, 2])], "r1")
    b.node("Add", [b.conv("r1", "c2", 8, 8), "r1"], "sum")
    b.weight("low", np.float32(0))
    b.weight("high", np.float32(6))
    b.node("Clip", ["sum", "low", "high"], "r6")
    b.node("MaxPool", ["r6"], "p", kernel_shape=[2, 2], strides=[2, 2])
    b.node("Sigmoid", [b.conv("p", "c3", 8, 8)], "gate")
    b.node("Concat", ["p", "gate"], "both", axis=1)
    b.node("LeakyRelu", [b.conv("both", "c4", 16, 8)], "leaky")
    b.node("Sigmoid", ["leaky"], "leaky_gate")
    b.node("Mul", ["leaky", "leaky_gate"], "silu")
    b.weight("up.weight", b.random.normal(0, 0.3, (8, 4, 2, 2)).astype("f4"))
    b.node("ConvTranspose", ["silu", "up.weight"], "map", kernel_shape=[2, 2], strides=[2, 2])
    b.node("Flatten", [b.node("GlobalAveragePool", ["silu"], "mean")], "flat")
    b.weight("fc.weight", b.random.normal(0, 0.5, (6, 8)).astype("f4"))
    b.weight("fc.bias", b.random.normal(0, 0.5, 6).astype("f4"))
    b.node("Gemm", ["flat", "fc.weight", "fc.bias"], "fc", transB=1)
    b.weight("last.weight", b.random.normal(0, 0.5, (6, 5)).astype("f4"))
    b.node("MatMul", ["fc", "last.weight"], "classes")
    return b.model({"image": [1, 3, 16, 16]}, ["map", "classes"], opset=17)


def sqnr(y: Floats, r: Floats) -> float:
    noise = float(((y.astype("f8") - r) ** 2).sum())
    return 10 * np.log10(float((r.astype("f8") ** 2).sum()) / max(noise, 1e-300))
