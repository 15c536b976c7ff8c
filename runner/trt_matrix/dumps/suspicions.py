"""What is probably wrong with numbers that are read as they should not be; pure.

Each test asks for two things, so that unusual numbers alone raise no suspicion: read as told they
make no sense, and read in one other way they do.
"""

import string
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

USUAL = (1e-12, 1e12)
"""Magnitudes that a network's outputs have; bytes in the wrong order have any from 1e-45 to 1e38."""
SENSELESS = 0.80
"""At most this share of the non-zero values is usual where bytes are misread. Doubles read as floats
come to 0.7 at most (their upper halves look usual), swapped bytes to 0.35."""
SENSIBLE = 0.95

CANDIDATES = tuple(np.dtype(name) for name in ("<f4", ">f4", "<f8", ">f8"))

TEXT = frozenset(string.printable.encode())
SEPARATORS = frozenset(b" \n,;\t")
TEXTS = frozenset(
    (
        ".cfg",
        ".csv",
        ".html",
        ".ini",
        ".json",
        ".log",
        ".md",
        ".names",
        ".py",
        ".sh",
        ".txt",
        ".xml",
        ".yaml",
        ".yml",
    )
)
"""Suffixes by which a few printable bytes are words."""

FAR = 0.1
"""NMSE (10 dB) from which on two layouts of one tensor are thought of."""
NEAR = 0.1
"""Share of the error that may be left after the axes are exchanged."""

Order = tuple[str, str]


def looks_like_text(beginning: bytes, suffix: str = "") -> bool:
    """Tells whether the first bytes of a file are numbers or words written out."""
    if not TEXT.issuperset(beginning):
        return False
    return suffix in TEXTS or (len(beginning) >= 32 and not SEPARATORS.isdisjoint(beginning))


def other_dtype(sample: bytes, dtype: np.dtype[np.floating]) -> np.dtype[np.floating] | None:
    """Returns the type (`<f4`, `>f4`, …) that the bytes rather have, None where `dtype` makes sense or none does.

    `sample` are parts of a file, each at a multiple of 8 bytes.
    """
    if _usual_share(sample, dtype) > SENSELESS:
        return None
    for other in CANDIDATES:
        if other != dtype and _usual_share(sample, other) >= SENSIBLE:
            return other
    return None


def order_of(dtype: np.dtype[np.floating]) -> str:
    return "big" if dtype.str.startswith(">") else "little"


def looks_like(dtype: np.dtype[np.floating]) -> str:
    """Returns `big-endian float32`."""
    return f"{order_of(dtype)}-endian {dtype.name}"


def _usual_share(sample: bytes, dtype: np.dtype[np.floating]) -> float:
    """Returns the share of the non-zero values with a usual magnitude; 1 where all are zero."""
    values = np.frombuffer(sample[: len(sample) // dtype.itemsize * dtype.itemsize], dtype)
    with np.errstate(invalid="ignore"):  # a signalling NaN
        magnitude = np.abs(values.astype(np.float64))
    low, high = USUAL
    nonzero = np.count_nonzero(magnitude)
    usual = np.count_nonzero((magnitude > low) & (magnitude < high))
    return usual / nonzero if nonzero else 1.0


def other_layouts(
    a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], shape: Sequence[int]
) -> tuple[Order, tuple[int, ...]] | None:
    """Finds two layouts in which one image of A and B, shape (n,), agree, where as they are they do not.

    `shape` is as given by the user, in one order or the other: with 3 or more axes.

    Returns:
        The layouts of A and B and the shape, channels first; None where nothing fits.
    """
    as_read = _nmse(a, b)
    if not as_read > FAR:
        return None
    images, *axes = shape
    first, last = (images, *axes), (images, axes[-1], *axes[:-1])
    for channels_first in dict.fromkeys((first, last)):
        channels = channels_first[1]
        for layouts in (("nchw", "nhwc"), ("nhwc", "nchw")):
            planes_a, planes_b = (
                array.reshape(channels, -1) if layout == "nchw" else array.reshape(-1, channels).T
                for array, layout in zip((a, b), layouts, strict=True)
            )
            if _nmse(planes_a, planes_b) <= NEAR * as_read:
                return layouts, channels_first
    return None


def _nmse(y: npt.NDArray[np.float32], r: npt.NDArray[np.float32]) -> float:
    """Σ(y−r)² / Σr² over what is finite on both sides; 0 where there is no reference energy."""
    finite = np.isfinite(y) & np.isfinite(r)
    kept_y, kept_r = y[finite].astype(np.float64), r[finite].astype(np.float64)
    energy = float(np.square(kept_r).sum())
    return float(np.square(kept_y - kept_r).sum()) / energy if energy else 0.0
