"""Quantising weights and biases: integers and their scales."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.tables.table import LEVELS

_TINIEST = np.float32(2.0**-126)
_BIAS_LIMIT = 2.0**30
"""Largest int32 bias aimed at, half of what int32 holds."""

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantisedArray:
    """Integers and the scales that give them their meaning: value ≈ integers · scale."""

    integers: npt.NDArray[np.int8] | npt.NDArray[np.int32]
    scale: Float32
    """Shape () or, per channel, (channels,)."""
    axis: int | None

    def values(self) -> Float32:
        """Returns what DequantizeLinear gives: integers · scale in float32."""
        scale = along(self.scale, self.axis, self.integers.ndim)
        return np.asarray(self.integers.astype(np.float32) * scale, np.float32)


def channel_axis(node: onnx.NodeProto, rank: int) -> int:
    """Returns the output-channel axis of a layer's weight."""
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1
        case "Gemm":
            return 0 if graph.attribute(node, "transB", 0) else 1
        case _:
            return rank - 1


def weight_scale(weight: Float32, axis: int | None) -> Float32:
    """Returns amax / 127 per channel of `axis` (None: of the whole), 1 where all weights are zero."""
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    amax = np.abs(weight).max(axis=others, initial=0.0)
    scale = np.asarray(amax, np.float32) / np.float32(LEVELS)
    return np.asarray(np.where(scale < _TINIEST, np.float32(1), scale), np.float32)


def quantise_weight(weight: Float32, scale: Float32, axis: int | None) -> QuantisedArray:
    """Rounds half to even and clamps to [−127, 127], as the engines do for weights."""
    steps = np.rint(weight / along(scale, axis, weight.ndim))
    integers = np.clip(steps, -LEVELS, LEVELS).astype(np.int8)
    return QuantisedArray(integers=integers, scale=scale, axis=axis)


def scale_for_bias(
    scale: Float32, weight: Float32, axis: int | None, bias: Float32, input_scale: float
) -> Float32:
    """Returns `scale` where the int32 bias fits it, a larger one in the channels where it does not.

    The scale of the bias is input · weight, so a channel of tiny weights and a large bias overflows
    int32. There the weights contribute nothing that int8 could show, so a coarser weight scale
    costs nothing. A channel of zero weights gets the finest scale for its bias.
    """
    needed = (np.abs(bias).astype(np.float64) / (_BIAS_LIMIT * input_scale)).astype(np.float32)
    if axis is None:
        return np.asarray(np.maximum(scale, needed.max(initial=0.0)), np.float32)
    others = tuple(i for i in range(weight.ndim) if i != axis)
    silent = ~weight.any(axis=others) & (needed >= _TINIEST)
    return np.asarray(np.where(silent, needed, np.maximum(scale, needed)), np.float32)


def quantise_bias(bias: Float32, input_scale: float, scale: Float32) -> QuantisedArray:
    """Returns the int32 bias at exactly float32(input scale) · weight scale: engines check that."""
    combined = np.asarray(np.float32(input_scale) * scale, np.float32)
    steps = np.rint(bias.astype(np.float64) / combined)
    limits = np.iinfo(np.int32)
    integers = np.clip(steps, limits.min, limits.max).astype(np.int32)
    return QuantisedArray(integers=integers, scale=combined, axis=0 if combined.ndim else None)


def along(scale: Float32, axis: int | None, rank: int) -> Float32:
    """Returns `scale` shaped to multiply an array of `rank` dimensions along `axis`."""
    if axis is None:
        return scale
    return scale.reshape([-1 if index == axis else 1 for index in range(rank)])
