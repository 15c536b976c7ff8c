"""Which values a format cannot hold: ranges of tensors, and weights.

Nothing is clamped: a layer whose numbers do not fit stays in float32, and is told with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from trt_matrix.core.reduced.formats import Format

HEADROOM = 2.0
"""How much further an image that nobody has seen may reach than those that were."""
NEAR = 16.0
"""A tensor that comes within this factor of the largest value is told by name."""
ROUNDINGS = 2.0
"""A weight may lose, as a whole, this many times what one rounding of a normal value can lose."""


@dataclass(frozen=True, slots=True)
class Values:
    """What does not fit, and what nearly does not."""

    tensors: Mapping[str, str]
    """Tensor → why it cannot be of the format."""
    near: Mapping[str, float]
    """Tensor that fits → its largest magnitude, of those near the end of the format."""
    weights: Mapping[str, str]
    """Initialiser → why it cannot be of the format."""
    zeroed: Mapping[str, int] = field(default_factory=dict)
    """Initialiser that can → how many of its values, which are not zero, become zero."""


def values(model: onnx.ModelProto, ranges: Mapping[str, float], wanted: Format) -> Values:
    """Holds ranges, as far as they are known, and the float32 initialisers against the format."""
    tensors = {name: reason for name, amax in ranges.items() if (reason := _beyond(amax, wanted))}
    near = {
        name: amax
        for name, amax in ranges.items()
        if name not in tensors and amax > wanted.largest / NEAR
    }
    weights, zeroed = {}, {}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        reason, lost = _loss(tensor, wanted)
        if reason:
            weights[tensor.name] = reason
        elif lost:
            zeroed[tensor.name] = lost
    return Values(tensors, near, weights, zeroed)


def _beyond(amax: float, wanted: Format) -> str | None:
    if amax > wanted.largest / HEADROOM:
        beyond = "beyond" if amax > wanted.largest else "more than half of"
        return f"reaches {amax:.3g}, {beyond} {wanted.name}'s {wanted.largest:.6g}"
    if 0 < amax < wanted.least_normal:
        return (
            f"stays below {amax:.3g}, where {wanted.name} loses its digits "
            f"(least normal value {wanted.least_normal:.3g})"
        )
    return None


def _loss(tensor: onnx.TensorProto, wanted: Format) -> tuple[str | None, int]:
    """Returns why a weight does not fit, None where it does, and how many of its values become zero."""
    exact = numpy_helper.to_array(tensor).astype(np.float32).ravel()
    finite = exact[np.isfinite(exact)]  # infinities and NaN are what they are in every format
    if not finite.size:
        return None, 0
    made = wanted.rounded(finite).astype(np.float32)
    peak = float(np.abs(finite).max())
    if not np.isfinite(made).all():
        return f"reaches {peak:.3g}, beyond {wanted.name}'s {wanted.largest:.6g}", 0
    # In units of the largest: squares of float32 values would overflow and vanish themselves.
    unit = peak or 1.0
    energy = float(np.square(finite.astype(np.float64) / unit).sum())
    error = float(np.square((made.astype(np.float64) - finite) / unit).sum())
    if error > (ROUNDINGS * wanted.roundoff) ** 2 * energy:
        share = 100 * (error / energy) ** 0.5
        return f"is too small: {share:.3g} % of it are lost in {wanted.name}", 0
    return None, int(np.count_nonzero((made == 0) & (finite != 0)))


def saturated(tensor: onnx.TensorProto, wanted: Format) -> onnx.TensorProto | None:
    """Returns a bound of Clip moved to the end of the format; None where it lies within.

    No value of the format is beyond its end, so the function stays what it was.
    """
    exact = numpy_helper.to_array(tensor)
    bounded = np.clip(exact, -wanted.largest, wanted.largest).astype(np.float32)
    same = np.array_equal(bounded, exact)
    return None if same else numpy_helper.from_array(bounded, tensor.name)
