"""What a user writes for an input that no image fills → the tensor that takes its place in the network."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from trt_matrix.core.network.graph import TensorInfo
from trt_matrix.core.network.image_input import shape_text

MOST_ELEMENTS = 1 << 22
"""A mask of 2048×2048; more is no setting but data."""


class ConstantError(ValueError):
    """A value does not fit an input; says why, and what the input takes."""


def constant(info: TensorInfo, value: Any, batch: int = 1) -> onnx.TensorProto:
    """Returns `value` as the tensor that an input of the network takes.

    Leading dimensions of 1 may be left out ([1, 1] fits [1, 2] and [batch, 2]), and one number fills a
    shape that is fixed but for its batch. What is given for one image is every image's of the batch.

    A value is a number, a truth value, or lists of them, nested as deep as the dimensions.

    Raises:
        ConstantError: it has another shape or type, or is too large.
    """
    wanted = f"{info.name!a:.200} takes {info.dtype} {shape_text(info)}"
    array = _array(value, wanted)
    typed = _typed(array, info.dtype, wanted)
    return numpy_helper.from_array(_shaped(typed, info, wanted, batch), info.name)


def _array(value: Any, wanted: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:  # lists of unequal length; a number beyond 64 bits
        message = f"{value!r:.80} is no array: give lists of equal length; {wanted}"
        raise ConstantError(message) from error
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        message = f"{value!r:.80} holds what is no finite number of 64 bits; {wanted}"
        raise ConstantError(message)
    return array


def _typed(array: npt.NDArray[Any], dtype: str, wanted: str) -> npt.NDArray[Any]:
    try:
        target = np.dtype(dtype)
    except TypeError:
        target = np.dtype(object)
    if target.kind not in "biuf":
        message = f"{wanted}: no number is that; export the network without this input"
        raise ConstantError(message)
    fits = {
        "b": lambda: bool(np.isin(array, (0, 1)).all()),
        "f": lambda: array.dtype.kind != "b" and _finite(array, target),
    }.get(target.kind, lambda: array.dtype.kind != "b" and _whole(array, target))
    if not fits():
        message = f"{array.tolist()!r:.80} cannot be {dtype}; {wanted}"
        raise ConstantError(message)
    return array.astype(target)


def _finite(array: npt.NDArray[Any], target: np.dtype[Any]) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(target)).all())


def _whole(array: npt.NDArray[Any], target: np.dtype[Any]) -> bool:
    limits = np.iinfo(target)
    # As Python's own numbers, which compare exactly with the ends of 64 bits.
    return all(
        number == int(number) and limits.min <= number <= limits.max
        for number in array.ravel().tolist()
    )


def _shaped(array: npt.NDArray[Any], info: TensorInfo, wanted: str, batch: int) -> npt.NDArray[Any]:
    if info.shape is None:
        shape = array.shape
    elif array.ndim == 0 and info.shape:
        shape = tuple(fixed(size) or 1 for size in info.shape)
        if any(not fixed(size) for size in info.shape[1:]):
            message = f"{array.item():g} fills a fixed shape only: write the values out; {wanted}"
            raise ConstantError(message)
    else:
        shape = (*(1 for _ in range(len(info.shape) - array.ndim)), *array.shape)
        if shape[:1] == (1,) and fixed(info.shape[0]) == batch:
            shape = (batch, *shape[1:])
        fits = len(shape) == len(info.shape) and all(
            fixed(size) in (None, own) for size, own in zip(info.shape, shape, strict=True)
        )
        if not fits:
            message = f"it has the shape {list(array.shape)}, which does not fit; {wanted}"
            raise ConstantError(message)
    if shape[:1] == (1,) and info.shape and fixed(info.shape[0]) is None:
        shape = (batch, *shape[1:])
    if math.prod(shape) > MOST_ELEMENTS:
        message = f"{math.prod(shape)} elements are more than {MOST_ELEMENTS}; {wanted}"
        raise ConstantError(message)
    return np.broadcast_to(array, shape).copy()


def fixed(size: int | str | None) -> int | None:
    """Returns a size that the file fixes, None for one that it leaves open.

    Some exporters write 0 or -1 for what they leave open.
    """
    return size if isinstance(size, int) and size > 0 else None
