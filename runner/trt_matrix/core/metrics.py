"""Error metrics from the per-image sums, each under its right name."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trt_matrix.containers.job.reductions import SUMS

Sums = npt.NDArray[np.void]
"""One row an image, fields as in `job.reductions.SUMS`."""

EPSILON = 1e-3
"""|d| beyond which an element counts as changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Errors of one head over all images; d = y − r, sums over every element of every image.

    None where the sums do not define a value (no finite reference energy, no elements).
    """

    nmse: float | None
    """Σd² / Σr²."""
    sqnr_db: float | None
    """−10·log10(nmse); None where nmse is 0 (identical) or undefined."""
    mse: float | None
    rmse: float | None
    mae: float | None
    """Mean of |d|: what is often called MSE by mistake."""
    max_abs: float | None
    cosine: float | None
    share_over_epsilon: float | None
    """Share of elements with |d| > epsilon."""
    elements: int
    nonfinite: int
    """Elements that are NaN or infinite on either side, and left out of every sum; of a judged head, those
    that the reference has too are not counted."""

    @property
    def identical(self) -> bool:
        return self.elements > 0 and self.nonfinite == 0 and self.max_abs == 0.0


def metrics(sums: Sums) -> Metrics:
    """Returns the metrics over all rows of `sums`, shape (images,)."""
    if sums.dtype != SUMS:
        message = f"expected per-image sums of dtype {SUMS}, got {sums.dtype}"
        raise TypeError(message)
    d2, d1, r2, y2, ry = (float(sums[name].sum()) for name in ("d2", "d1", "r2", "y2", "ry"))
    n, over, nonfinite = (int(sums[name].sum()) for name in ("n", "over", "nonfinite"))
    nmse = d2 / r2 if r2 > 0 else None
    mse = d2 / n if n else None
    return Metrics(
        nmse=nmse,
        sqnr_db=sqnr_db(nmse),
        mse=mse,
        rmse=math.sqrt(mse) if mse is not None else None,
        mae=d1 / n if n else None,
        max_abs=float(sums["dmax"].max()) if n else None,
        cosine=ry / math.sqrt(r2 * y2) if r2 > 0 and y2 > 0 else None,
        share_over_epsilon=over / n if n else None,
        elements=n,
        nonfinite=nonfinite,
    )


def sqnr_db(nmse: float | None) -> float | None:
    """Returns the signal-to-quantisation-noise ratio in dB, None where it is infinite or undefined."""
    return None if nmse is None or nmse <= 0 else 0.0 - 10 * math.log10(nmse)  # never −0.0
