"""Scales and zero points of a quantised network → values and ranges."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.shipped.quantisation import QUANTIZE, type_name

Array = npt.NDArray[Any]

RELU6 = 6.0


class StripError(GraphError):
    """A quantised network whose float network cannot be told; says for which node and why."""


LIMITS = {
    f"{sign}int{bits}": (0, 2**bits - 1)
    if sign == "u"
    else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "u")
    for bits in (2, 4, 8, 16, 32)
}
"""Type of integers → the least and the largest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What integers stand for: value = (integer − zero point) · scale."""

    names: tuple[str, str]
    """Tensors that hold scale and zero point; the latter empty where there is none."""
    scale: Array | None
    """Shape () or (channels,), by blocks of the tensor's rank; None where the network computes it."""
    zero: Array | None
    kind: str
    """Type of the integers: `int8`."""

    def same(self, other: "Scale") -> bool:
        """Whether both say the same of every integer."""
        if self.scale is None or other.scale is None:
            return self.names == other.names
        return _equal(self.scale, other.scale) and _equal(_zero(self), _zero(other))

    @property
    def amax(self) -> float | None:
        """The largest magnitude that it represents, over all channels; None where nobody knows.

        Symmetric int8 has 127 levels as in every table: −128 is left to the clamp.
        """
        low_high = self._bounds()
        if low_high is None or self.scale is None:
            return None
        low, high = low_high
        if self.kind == "int8" and not _zero(self).any():
            low = -high
        return float(np.max(np.maximum(-low, high) * self.scale.astype(np.float64)))

    @property
    def floor_is_zero(self) -> bool:
        """Whether nothing below zero is represented: quantising is a Relu as well."""
        bounds = self._bounds()
        return bounds is not None and not bounds[0].any() and bool((bounds[1] > 0).all())

    @property
    def ends_at_six(self) -> bool:
        """Whether its range is 0 to 6, to rounding of float32: quantising is a Relu6 as well."""
        bounds = self._bounds()
        if bounds is None or self.scale is None or not self.floor_is_zero:
            return False
        ends = bounds[1] * self.scale.astype(np.float64)
        return bool((np.abs(ends - RELU6) < 1e-6 * RELU6).all())

    def _bounds(self) -> tuple[Array, Array] | None:
        """Returns the least and the largest integer, less the zero point."""
        if self.kind not in LIMITS or (self.names[1] and self.zero is None):
            return None
        low, high = LIMITS[self.kind]
        zero = _zero(self)
        return low - zero, high - zero


def scale_of(
    node: onnx.NodeProto,
    scale: int,
    zero: int,
    tensors: Mapping[str, onnx.TensorProto],
    value: Callable[[str], Array | None],
) -> Scale:
    """Returns what a node's inputs at two places say; the type of integers from the zero point.

    `scale` and `zero` are places among its inputs, the latter perhaps beyond the last; `value` gives the array
    of a constant.
    """
    names = tuple(
        node.input[index] if 0 <= index < len(node.input) else "" for index in (scale, zero)
    )
    point = tensors.get(names[1])
    stated = graph.attribute(node, "output_dtype", 0) if node.op_type == QUANTIZE else 0
    kind = point.data_type if point is not None else stated
    named = type_name(kind) if isinstance(kind, int) and kind else "uint8"
    return Scale(
        names=(names[0], names[1]), scale=value(names[0]), zero=value(names[1]), kind=named
    )


def dequantised(
    integers: Array, scale: Scale, axis: int, block: int, node: str
) -> npt.NDArray[np.floating[Any]]:
    """Returns (integers − zero point) · scale in the scale's type, as DequantizeLinear does.

    Args:
        integers: Of a constant.
        scale: Of it.
        axis: That the scale's channels are along, where it has several.
        block: Elements along the axis that share a scale (opset 21); 0 for one scale a channel.
        node: For messages.

    Raises:
        StripError: the scale is computed by the network, or does not fit the tensor.
    """
    if scale.scale is None or (scale.names[1] and scale.zero is None):
        message = f"{node}: the scale of its constant is computed by the network, not stored in it"
        raise StripError(message)
    axis = axis + integers.ndim if axis < 0 else axis
    kind = scale.scale.dtype if scale.scale.dtype.kind == "f" else np.dtype(np.float32)
    exact = integers.astype(np.float64)
    try:
        shaped, zero = (
            _along(array.astype(np.float64), integers.shape, axis, block)
            for array in (scale.scale, _zero(scale))
        )
        # The difference is exact in float32 up to 24 bits, as engines have it; then one rounding.
        values = (exact - zero).astype(np.float32) * shaped.astype(np.float32)
        floats: Array = np.broadcast_to(values, integers.shape).astype(kind)
    except (ValueError, IndexError) as error:
        message = (
            f"{node}: a scale of shape {scale.scale.shape} along axis {axis} does not fit its "
            f"constant of shape {integers.shape}"
        )
        raise StripError(message) from error
    if floats.shape != integers.shape:
        message = f"{node}: its scale does not fit its constant"
        raise StripError(message)
    return floats


def _along(values: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    if values.size == 1:
        return values.reshape(())
    if block:
        repeated: Array = np.repeat(values, block, axis=axis)
        return np.take(repeated, np.arange(shape[axis]), axis=axis)
    if values.size != shape[axis]:
        raise ValueError(values.shape)
    return values.reshape([-1 if index == axis else 1 for index in range(len(shape))])


def _zero(scale: Scale) -> Array:
    return np.zeros(()) if scale.zero is None else scale.zero.astype(np.float64)


def _equal(one: Array, other: Array) -> bool:
    if one.size == 1 or other.size == 1:
        return bool((one.ravel() == other.ravel()).all())
    return one.shape == other.shape and bool((one == other).all())
