"""Samples that come as arrays → the network's input: what is no image, or has more channels than files of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.errors import ConfigError
from trt_matrix.store.arrays import float_rows, read_array, read_member

SUFFIXES = frozenset({".npy", ".npz"})

SAMPLES_VERSION = 1
"""Raise when the same files give other values."""

_WIDEST = 16
"""Bytes of an element of numpy's largest real type."""
_HEADER = 1 << 16
"""Bytes: numpy itself reads no longer one."""


class SampleError(ValueError):
    """A file is no sample of the network's; says why."""


def stack(files: Sequence[Path], parts: Sequence[InputPart], target: Path) -> None:
    """Writes all samples into one float32 .npy, (samples, *shape), or (samples, elements of all) of several parts.

    An .npz file's arrays are called as the network's inputs, `parts`, unless one is the only one; each may have a 1 in
    front of its shape.

    Raises:
        ConfigError: files that are no samples; names each of them. `target` is useless then.
        OSError: `target` cannot be written.
    """
    shape = parts[0].shape if len(parts) == 1 else (sum(part.elements for part in parts),)
    problems = []
    with float_rows(target, (len(files), *shape)) as write:
        for path in files:
            try:
                # All of them first: a file that lacks one is told, not written in part.
                arrays = [_sample(path, part, alone=len(parts) == 1) for part in parts]
            except SampleError as error:
                problems.append(f"{path}: {error}")
            else:
                for array in arrays:
                    write(array)
    if problems:
        raise ConfigError(str(files[0].parent), problems)


def _sample(path: Path, part: InputPart, *, alone: bool) -> npt.NDArray[np.float32]:
    prefix = "" if alone else f"input {part.name!r}: "
    shape = part.shape
    if not alone and path.suffix.lower() != ".npz":
        raise SampleError(
            "one array alone: the network takes several, so give an .npz with an array for each"
        )
    try:
        if path.suffix.lower() == ".npz":
            most = int(np.prod(shape, dtype=np.int64)) * _WIDEST + _HEADER
            array = read_member(path, part.name, most, alone=alone)
        else:
            array = read_array(path, mapped=True)
    except (OSError, ValueError) as error:
        raise SampleError(f"{prefix}no {path.suffix} of numbers: {error}") from error
    if array.shape not in (shape, (1, *shape)):
        message = f"{prefix}has the shape {array.shape}, one sample of the network's has {shape}"
        raise SampleError(message)
    if array.dtype.kind not in "biuf":
        raise SampleError(f"{prefix}holds {array.dtype}, real numbers are expected")
    try:
        return _float32(array.reshape(shape), part.dtype)
    except SampleError as error:
        raise SampleError(f"{prefix}{error}") from error


def _float32(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        message = "holds NaN, infinity or what float32 cannot hold: errors against it would be none"
        raise SampleError(message)
    if dtype == "float16" and np.abs(values).max() > np.finfo(np.float16).max:
        raise SampleError("the network takes float16: nothing beyond 65504")
    if dtype == "bool" and np.any((values != 0) & (values != 1)):
        raise SampleError("the network takes truth values: 0 and 1")
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if (
            np.any(values != np.rint(values))
            # In Python's numbers: float32 has no 2^63 - 1, and would take 2^63 for it.
            or float(values.min()) < limits.min
            or float(values.max()) > limits.max
        ):
            message = f"the network takes {dtype}: whole numbers from {limits.min} to {limits.max}"
            raise SampleError(message)
        if np.any(values != array):
            raise SampleError("holds whole numbers above 2^24, which float32 rounds")
    return values
