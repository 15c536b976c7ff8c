"""What somebody's own program wrote: finds the tensors in raw files, .npy, .npz and JSON; never writes."""

import math
import os
import zipfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

import numpy as np

from trt_matrix.dumps.suspicions import looks_like_text
from trt_matrix.dumps.tensor import (
    ChannelOrder,
    DType,
    DumpError,
    FileFormat,
    NoNumbersError,
    Tensor,
    channels_first,
    place,
    reporting,
)
from trt_matrix.dumps.written import looks_written, written
from trt_matrix.store.arrays import BAD_HEADER, BAD_ZIP, read_header

NPY_MAGIC = b"\x93NUMPY"
NPZ_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
"""A zip file's, with members and without."""


def files_below(folder: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """Returns name → path of every file below `folder` that matches a glob (all where none is given).

    Names are relative, with `/`; hidden files and folders are left out; links to folders are not
    followed.

    Raises:
        DumpError: a folder cannot be listed.
    """
    paths = {}

    def refuse(error: OSError) -> None:
        raise error

    with reporting(str(folder)):
        for parent, folders, files in os.walk(folder, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                path = Path(parent, file)
                name = path.relative_to(folder).as_posix()
                wanted = not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
                if wanted and not file.startswith("."):
                    paths[name] = path
    return dict(sorted(paths.items()))


def tensors(path: Path, form: FileFormat) -> tuple[Tensor, ...]:
    """Finds what `path` holds: what it is, is told by its first bytes and not by its suffix.

    Raises:
        NoNumbersError: it holds text, and none that a known program writes outputs as.
        DumpError: it cannot be read, is empty, is no float array, or its size does not fit.
    """
    with reporting(str(path)):
        if not path.is_file():
            problem = "is no regular file" if path.exists() else "does not exist"
            raise DumpError(f"{path} {problem}")
        size = path.stat().st_size
        if size == 0:
            message = f"{path} is empty: did the program that wrote it end, and close the file?"
            raise DumpError(message)
        with path.open("rb") as stream:
            beginning = stream.read(4096)
            stream.seek(0)
            if beginning.startswith(NPY_MAGIC):
                return (_npy(stream, path, None, size, form.layout),)
        if beginning.startswith(NPZ_MAGICS):
            return _npz(path, form.layout)
    if path.suffix in (".npy", ".npz"):
        raise DumpError(
            f"{path} is called {path.suffix} but does not begin like one: was it cut or renamed?"
        )
    if looks_written(beginning):
        return written(path, form.layout)
    if looks_like_text(beginning, path.suffix):
        message = f"{path} holds text, not raw numbers: write the bytes of the floats themselves"
        raise NoNumbersError(message)
    return (_raw(path, size, form),)


def _raw(path: Path, size: int, form: FileFormat) -> Tensor:
    width = form.numpy.itemsize
    if size % width:
        raise DumpError(
            f"{path} has {size:,} bytes, no multiple of {width}: it is not raw {form.dtype}, "
            "was cut, or begins with a header"
        )
    if form.layout is ChannelOrder.NHWC and form.shape is None:
        raise DumpError(
            f"{path} is raw: --layout {form.layout} needs --shape, as images,channels,height,width"
        )
    held = size // width
    shape = None if form.shape is None else _fitted(path, held, form.shape, form)
    elements = held if shape is None else math.prod(shape)
    return Tensor(
        path=path, raw=True, dtype=form.numpy, shape=shape, layout=form.layout,
        offset=0, elements=elements, elements_after=held - elements,
    )  # fmt: skip


def _fitted(path: Path, held: int, shape: tuple[int, ...], form: FileFormat) -> tuple[int, ...]:
    """Returns the shape with its −1 replaced.

    Raises:
        DumpError: the file has another number of elements; says which shapes would fit.
    """
    fixed = math.prod(axis for axis in shape if axis != -1)
    if -1 in shape and held % fixed == 0:
        return tuple(held // fixed if axis == -1 else axis for axis in shape)
    if -1 not in shape and (held == fixed or (form.longer and held > fixed)):
        return shape
    wanted = spelled(shape)
    needs = f"needs {'a multiple of ' if -1 in shape else ''}{fixed:,}"
    raise DumpError(
        f"{path} has {held:,} elements, --shape {wanted} {needs}: {_advice(held, shape, form)}"
    )


def _advice(held: int, shape: tuple[int, ...], form: FileFormat) -> str:
    size = held * form.numpy.itemsize
    for dtype in DType:
        if dtype is not form.dtype and size == math.prod(shape) * np.dtype(dtype).itemsize:
            return f"it fits as {dtype}, try --dtype {dtype}"
    fitting = " or ".join(map(spelled, shapes_that_fit(held, shape)))
    if fitting:
        return f"{fitting} would fit"
    return "no other number of images and no other square fits; is it another head?"


def spelled(shape: Sequence[int]) -> str:
    """Returns a shape as --shape takes it."""
    return ",".join(str(axis) for axis in shape)


def shapes_that_fit(elements: int, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns shapes like `shape` with `elements` elements, ≥ 1: more images, or another height and width.

    Channels are first; an axis of −1 is free anyway and counts as 1.
    """
    axes = tuple(max(axis, 1) for axis in shape)
    shapes = []
    images, rest = divmod(elements, math.prod(axes[1:]))
    if rest == 0:
        shapes.append((images, *axes[1:]))
    if len(axes) == 4:
        positions, rest = divmod(elements, axes[0] * axes[1])
        side = math.isqrt(positions)
        if rest == 0 and side * side == positions:
            shapes.append((axes[0], axes[1], side, side))
    return [fitting for fitting in dict.fromkeys(shapes) if fitting != tuple(shape)]


def _npz(path: Path, layout: ChannelOrder) -> tuple[Tensor, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = []
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    with archive.open(info) as stream:
                        arrays.append(_npy(stream, path, info.filename, info.file_size, layout))
    except BAD_ZIP as error:
        message = f"{path} is a damaged or unusual .npz: {error}; write it again with numpy.savez"
        raise DumpError(message) from error
    if not arrays:
        raise DumpError(f"{path} is a zip file without arrays (.npy members): is it another file?")
    if len({tensor.member for tensor in arrays}) < len(arrays):
        raise DumpError(f"{path} holds two arrays of one name: write it again with numpy.savez")
    return tuple(arrays)


def _npy(
    stream: IO[bytes], path: Path, member: str | None, size: int, layout: ChannelOrder
) -> Tensor:
    """Reads a .npy's header; `stream` is at its beginning and `size` bytes long."""
    where = place(path, member)
    try:
        shape, fortran, dtype = read_header(stream)
    except BAD_HEADER as error:
        raise DumpError(f"{where} has a damaged .npy header: save it again ({error})") from error
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise DumpError(f"{where} holds {dtype}: save it with array.astype(numpy.float32)")
    # In a Fortran-ordered file of one long axis the elements stand in the usual order all the same.
    if fortran and sum(axis > 1 for axis in shape) > 1:
        raise DumpError(f"{where} is in Fortran order: save it with numpy.ascontiguousarray(array)")
    elements = math.prod(shape)
    if elements < 1 or min(shape, default=1) < 0:
        raise DumpError(f"{where} has shape {shape}: there is nothing to compare")
    offset = stream.tell()
    if size - offset < elements * dtype.itemsize:
        raise DumpError(
            f"{where} was cut: its header promises {elements:,} elements, "
            f"there are bytes for {(size - offset) // dtype.itemsize:,}"
        )
    shape, layout = channels_first(shape, layout)
    return Tensor(
        path=path, member=member, raw=False, dtype=dtype, shape=shape, layout=layout,
        offset=offset, elements=elements,
    )  # fmt: skip
