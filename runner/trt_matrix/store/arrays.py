"""Arrays are read here alone: numpy's header parser is not safe in threads.

It evaluates the header as a Python literal, and CPython's parser (seen in 3.11.7) counts its depth for the
whole interpreter: in two threads at once it ends in "SystemError: AST constructor recursion depth mismatch".
"""

import lzma
import threading
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

BAD_HEADER = (ValueError, TypeError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError)
"""What numpy raises on a header that is no header; it evaluates it as a Python literal."""
BAD_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises on damage, on encryption and on unknown compression."""

_PARSING = threading.Lock()
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}  # 3.0 differs in the names of fields only: numbers have none


@contextmanager
def float_rows(
    target: Path, shape: tuple[int, ...]
) -> Iterator[Callable[[npt.NDArray[Any]], object]]:
    """Opens a float32 .npy of this shape; yields what writes one row of it after the other.

    Not memory-mapped: on a full disk a write fails, a mapped page kills the process.
    """
    with target.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        yield lambda row: stream.write(np.ascontiguousarray(row, "<f4").tobytes())


def read_array(path: Path, *, mapped: bool = False) -> npt.NDArray[Any]:
    """Reads an .npy file; `mapped`: from the disk as it is used, read only.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no .npy file, is cut short, or holds Python objects.
    """
    with _parsing():
        array: npt.NDArray[Any] = np.load(
            path, mmap_mode="r" if mapped else None, allow_pickle=False
        )
    return array


def read_member(path: Path, name: str, most_bytes: int, *, alone: bool = True) -> npt.NDArray[Any]:
    """Reads one array of an .npz file by its name without `.npy`, or with `alone` the only one whatever its name.

    It may have `most_bytes`, header included.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no .npz file, a damaged one, or has no such array, or one that is larger, cut short,
            or holds Python objects.
    """
    with _parsing(), zipfile.ZipFile(path) as archive:
        known = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        only = next(iter(known.values())) if alone and len(known) == 1 else None
        zip_info = known.get(name) or only
        if zip_info is None:
            message = f"no array in it is called {name!r}: {', '.join(sorted(known)[:8]) or 'none at all'}"
            raise ValueError(message)
        if zip_info.file_size > most_bytes:
            message = f"{zip_info.filename!a:.200} has {zip_info.file_size} bytes, the network takes fewer"
            raise ValueError(message)
        with archive.open(zip_info) as stream:
            array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads every array of an .npz file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no .npz file, or a member is no .npy file, damaged, cut short, or holds Python objects.
    """
    # numpy leaves the file open where it finds it damaged.
    with _parsing(), path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads the header of an .npy that begins here: shape, whether in Fortran's order, type.

    Afterwards `stream` is at the first element.

    Raises:
        BAD_HEADER: it is none, or one of a version that holds no plain numbers.
    """
    version = np.lib.format.read_magic(stream)
    if version not in _READ_HEADER:
        raise ValueError(f"an .npy of version {version}: save it again as float32")
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a header of Python 2 takes longer, and no harm
        return _READ_HEADER[version](stream)


@contextmanager
def _parsing() -> Iterator[None]:
    """One thread at a time; whatever damage raises is a ValueError."""
    with _PARSING:
        try:
            yield
        except ValueError:
            raise
        except (*BAD_HEADER, *BAD_ZIP) as error:
            raise ValueError(f"damaged: {error or type(error).__name__}") from error
