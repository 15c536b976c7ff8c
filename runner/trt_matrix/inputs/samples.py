"""Samples that come as arrays → the network's input: what is no image, or has more channels than files of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.errors import ConfigError
from trt_matrix.store.arrays import read_array, read_member

SUFFIXES = frozenset({".npy", ".npz"})

SAMPLES_VERSION = 1
"""Raise when the same files give other values."""

_WIDEST = 16
"""Bytes of an element of numpy's largest real type."""
_HEADER = 1 << 16
"""Bytes: numpy itself reads no longer one."""


class SampleError(ValueError):
    """A file is no sample of the network's; says why."""


def stack(
    files: Sequence[Path], name: str, shape: tuple[int, ...], dtype: str | None, target: Path
) -> None:
    """Writes all samples into one float32 .npy, one in memory at a time.

    Args:
        files: One a sample, in order.
        name: Of the network's input; so is an .npz file's array called, unless it is the only one.
        shape: Of one sample; a file may have a 1 in front of it.
        dtype: Type of whole numbers that the network takes, None where it takes floats.
        target: The .npy to write, shape (samples, *shape).

    Raises:
        ConfigError: files that are no samples; names each of them. `target` is useless then.
        OSError: `target` cannot be written.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(files), *shape)}
    problems = []
    # Written, not memory-mapped: on a full disk a write fails, a mapped page kills the process.
    with target.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for path in files:
            try:
                stream.write(_sample(path, name, shape, dtype).tobytes())
            except SampleError as error:
                problems.append(f"{path}: {error}")
    if problems:
        raise ConfigError(str(files[0].parent), problems)


def _sample(
    path: Path, name: str, shape: tuple[int, ...], dtype: str | None
) -> npt.NDArray[np.float32]:
    try:
        if path.suffix.lower() == ".npz":
            most = int(np.prod(shape, dtype=np.int64)) * _WIDEST + _HEADER
            array = read_member(path, name, most)
        else:
            array = read_array(path, mapped=True)
    except (OSError, ValueError) as error:
        message = f"no {path.suffix} of numbers: {error}"
        raise SampleError(message) from error
    if array.shape not in (shape, (1, *shape)):
        message = f"has the shape {array.shape}, one sample of the network's has {shape}"
        raise SampleError(message)
    if array.dtype.kind not in "biuf":
        message = f"holds {array.dtype}, real numbers are expected"
        raise SampleError(message)
    return _float32(array.reshape(shape), dtype)


def _float32(array: npt.NDArray[Any], dtype: str | None) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        message = "holds NaN, infinity or what float32 cannot hold: errors against it would be none"
        raise SampleError(message)
    if dtype is not None:
        limits = np.iinfo(dtype)
        if (
            np.any(values != np.rint(values))
            or values.min() < limits.min
            or values.max() > limits.max
        ):
            message = f"the network takes {dtype}: whole numbers from {limits.min} to {limits.max}"
            raise SampleError(message)
        if np.any(values != array):
            message = "holds whole numbers above 2^24, which float32 rounds"
            raise SampleError(message)
    return values
