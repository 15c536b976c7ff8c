"""The floating-point formats below float32: what a value may be in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from trt_matrix.core.cells import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """Bounds of IEEE 754-2008 binary16, and of bfloat16: float32 with 8 bits of significand."""

    name: str
    """As ONNX calls it: `float16`."""
    element: int
    """Its number among ONNX's element types."""
    largest: float
    least_normal: float
    """Below it digits are lost, until nothing is left."""
    roundoff: float
    """Largest relative error of one rounding to nearest."""

    def rounded(self, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Returns the nearest values of the format; beyond the largest they are infinite."""
        with np.errstate(over="ignore"):
            return values.astype(helper.tensor_dtype_to_np_dtype(self.element))


FORMATS: Mapping[Precision, Format] = {
    Precision.FP16: Format(
        name="float16",
        element=TensorProto.FLOAT16,
        largest=65504.0,
        least_normal=2.0**-14,
        roundoff=2.0**-11,
    ),
    Precision.BF16: Format(
        name="bfloat16",
        element=TensorProto.BFLOAT16,
        largest=float.fromhex("0x1.fep127"),
        least_normal=2.0**-126,
        roundoff=2.0**-8,
    ),
}
