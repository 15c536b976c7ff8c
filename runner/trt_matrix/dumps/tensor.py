"""A tensor that lies in somebody's file, handed out in blocks; nothing is held whole.

Blocks are read, not mapped: mapped pages would count as this process's memory, and a file that
shrinks meanwhile would end the process (SIGBUS) where it should be an error.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from trt_matrix.errors import RunnerError
from trt_matrix.store.arrays import BAD_ZIP

Floats = npt.NDArray[np.float32]
"""One axis, native byte order."""

Stream = io.FileIO | io.BytesIO | zipfile.ZipExtFile


class DumpError(RunnerError):
    """A file that cannot be read as the numbers it is said to hold."""


class NoNumbersError(DumpError):
    """A file that holds text, or something else that is no output: perhaps it only lies there."""


class DType(StrEnum):
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class ByteOrder(StrEnum):
    LITTLE = "little"
    BIG = "big"


class ChannelOrder(StrEnum):
    """Where the channels are, with any number of axes: after the images, or last."""

    NCHW = "nchw"
    NHWC = "nhwc"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFormat:
    """What a file does not tell by itself; a .npy or .npz needs `layout` alone."""

    shape: tuple[int, ...] | None = None
    """Channels first, whatever the layout; one axis may be −1: what the size leaves."""
    dtype: DType = DType.FLOAT32
    byte_order: ByteOrder = ByteOrder.LITTLE
    layout: ChannelOrder = ChannelOrder.NCHW
    longer: bool = False
    """The file may go on after `shape`: other heads follow."""
    sure: bool = False
    """The user said dtype or byte order: numbers that look otherwise are told, and no error."""

    @property
    def numpy(self) -> np.dtype[np.floating]:
        return np.dtype(self.dtype.value).newbyteorder(
            "<" if self.byte_order is ByteOrder.LITTLE else ">"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """Numbers in a file, found but not read yet."""

    path: Path
    member: str | None = None
    """Of a .npz; None where the file is one tensor."""
    raw: bool
    """True where only the user's word says what the bytes are."""
    dtype: np.dtype[np.floating]
    shape: tuple[int, ...] | None
    """Channels first; None where nobody said it."""
    layout: ChannelOrder
    """Of the file."""
    offset: int
    """Bytes before the first element, of the file or of the zip's member."""
    elements: int
    elements_after: int = 0
    """Elements that follow the last one in the same file."""
    content: Callable[[], bytes] | None = None
    """Gives the bytes of all elements, where the file holds them in another form (JSON)."""
    note: str = ""
    """What a reader of its numbers should know."""

    @property
    def where(self) -> str:
        return place(self.path, self.member)

    @property
    def elements_at_once(self) -> int:
        """What must be read together to bring the axes in order: one image, or one element."""
        return math.prod(self.shape[1:]) if self.layout is ChannelOrder.NHWC and self.shape else 1

    def blocks(self, size: int) -> Iterator[Floats]:
        """Yields all elements in NCHW order, `size` at a time; a block is valid until the next one.

        `size` is a multiple of `elements_at_once`.

        Raises:
            DumpError: the file ends too soon, is damaged or can no longer be read.
        """
        buffer = np.empty(min(size, self.elements), self.dtype)
        with reporting(self.where), _opened(self) as stream:
            for start in range(0, self.elements, size):
                block = buffer[: min(size, self.elements - start)]
                _fill(stream, block, self, start)
                yield self._in_order(_as_float32(block))
            if isinstance(stream, zipfile.ZipExtFile):
                stream.read(1)  # at the end zipfile checks the sum over all bytes

    def value_after_the_end(self) -> float | None:
        """Returns the element that follows the last one; None where the file ends there."""
        if not self.elements_after:
            return None
        value = np.empty(1, self.dtype)
        with reporting(self.where), self.path.open("rb", buffering=0) as stream:
            stream.seek(self.offset + self.elements * self.dtype.itemsize)
            _fill(stream, value, self, self.elements)
        return float(_as_float32(value)[0])

    def _in_order(self, block: Floats) -> Floats:
        if self.elements_at_once == 1 or self.shape is None:
            return block
        channels = self.shape[1]
        images = block.reshape(-1, self.elements_at_once // channels, channels)
        return images.swapaxes(1, 2).reshape(-1)


def channels_first(
    shape: tuple[int, ...], layout: ChannelOrder
) -> tuple[tuple[int, ...], ChannelOrder]:
    """Returns the shape of an array of that layout, channels first, and the layout that its file has."""
    if len(shape) < 3:
        return shape, ChannelOrder.NCHW  # no positions: nothing to bring in order
    if layout is ChannelOrder.NHWC:
        return (shape[0], shape[-1], *shape[1:-1]), layout
    return shape, layout


def place(path: Path, member: str | None) -> str:
    """Names a file, or an array in it, for people."""
    return str(path) if member is None else f"{path}[{member.removesuffix('.npy')}]"


def sample(tensor: Tensor, places: int = 16, size: int = 4096) -> bytes:
    """Returns `size` bytes from each of `places` places spread over a raw tensor, fewer if small.

    Raises:
        DumpError: the file cannot be read.
    """
    length = tensor.elements * tensor.dtype.itemsize
    with reporting(tensor.where), tensor.path.open("rb") as stream:
        if length <= places * size:
            stream.seek(tensor.offset)
            return stream.read(length)
        parts = []
        for number in range(places):
            # A multiple of 8, so that a double is not read from its middle.
            stream.seek(tensor.offset + (length - size) * number // (places - 1) // 8 * 8)
            parts.append(stream.read(size))
    return b"".join(parts)


@contextmanager
def _opened(tensor: Tensor) -> Iterator[Stream]:
    """Opens the file, or the member of a zip file, at the first element."""
    if tensor.content is not None:
        yield io.BytesIO(tensor.content())
        return
    if tensor.member is None:
        with tensor.path.open("rb", buffering=0) as stream:
            stream.seek(tensor.offset)
            yield stream
        return
    try:
        with zipfile.ZipFile(tensor.path) as archive, archive.open(tensor.member) as stream:
            stream.read(tensor.offset)
            yield cast("zipfile.ZipExtFile", stream)
    except (*BAD_ZIP, KeyError) as error:
        raise DumpError(f"{tensor.where} is damaged: {error}; write it again") from error


@contextmanager
def reporting(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DumpError(f"cannot read {where}: {error.strerror or error}") from error


def _fill(stream: Stream, block: npt.NDArray[np.floating], tensor: Tensor, start: int) -> None:
    content = block.view(np.uint8).data
    filled = 0
    while filled < len(content):
        count = stream.readinto(content[filled:])
        if not count:
            raise DumpError(
                f"{tensor.where} ended after {start + filled // block.itemsize:,} of "
                f"{tensor.elements:,} elements: is it still being written?"
            )
        filled += count


def _as_float32(block: npt.NDArray[np.floating]) -> Floats:
    """Rounds to float32; what is too large becomes infinite, and is then counted as such."""
    with np.errstate(over="ignore", invalid="ignore"):
        return block.astype(np.float32, copy=False)
