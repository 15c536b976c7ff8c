"""The words of the command line → the formats of A and of B."""

from enum import StrEnum
from typing import TypeVar

from trt_matrix.commands.compare.pairs import Forms
from trt_matrix.dumps.tensor import ByteOrder, ChannelOrder, DType, FileFormat
from trt_matrix.errors import ConfigError

OPTIONS = "options of compare"

Word = TypeVar("Word", bound=StrEnum)


def formats(
    *,
    shape: str | None = None,
    byte_order: str | None = None,
    dtype: str | None = None,
    layout: str | None = None,
    longer: bool = False,
) -> Forms:
    """Returns the formats of A and B from the words of the command line: one for both, or `A's,B's`.

    `shape` is of both; with `longer` files may go on after it.

    Raises:
        ConfigError: an option has a value that it does not take.
    """
    problems: list[str] = []
    axes = None if shape is None else _axes(shape, problems)
    orders = _each("--byte-order", byte_order or "little", ByteOrder, problems)
    dtypes = _each("--dtype", dtype or "float32", DType, problems)
    layouts = _each("--layout", layout or "nchw", ChannelOrder, problems)
    if axes is not None and len(axes) < 3 and ChannelOrder.NHWC in layouts:
        problems.append(f"--shape {shape} has no height or width: leave --layout out")
    if longer and axes is None:
        problems.append("--off-by-one needs --shape: where the tensor ends, the files do not say")
    if problems:
        raise ConfigError(OPTIONS, problems)
    sure = byte_order is not None or dtype is not None
    a, b = (
        FileFormat(shape=axes, byte_order=order, dtype=type_, layout=axis, longer=longer, sure=sure)
        for order, type_, axis in zip(orders, dtypes, layouts, strict=True)
    )
    return a, b


def _axes(text: str, problems: list[str]) -> tuple[int, ...] | None:
    try:
        axes = tuple(int(part) for part in text.split(","))
    except ValueError:
        axes = ()
    if not axes or any(axis < 1 and axis != -1 for axis in axes) or axes.count(-1) > 1:
        problems.append(
            f"--shape {text!r}: expected whole numbers from 1 on, as 1,255,80,80; one may be -1"
        )
        return None
    return axes


def _each(option: str, text: str, words: type[Word], problems: list[str]) -> tuple[Word, Word]:
    """Returns the word for A and the word for B."""
    known = [word.value for word in words]
    parts = text.split(",")
    if len(parts) > 2 or not set(parts) <= set(known):
        problems.append(
            f"{option} {text!r}: expected {' or '.join(known)}; two with a comma are A's and B's"
        )
        parts = known
    return words(parts[0]), words(parts[-1])
