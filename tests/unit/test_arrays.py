"""Arrays are read in many threads at once."""

import gc
import io
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trt_matrix.store.arrays import read_array, read_arrays, read_member

BOXES = np.dtype([("corners", "f8", (4,)), ("score", "f4"), ("label", "i4"), ("head", "i2")])
"""Its header is one that a parser goes deep into."""


class Cycle:
    """Only a collection frees it, and then Python runs: threads change in the middle of a parse."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    before = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*before[0])
    sys.setswitchinterval(before[1])


def test_many_threads_read_at_once(tmp_path: Path, threads_change_often: None) -> None:
    path, several = tmp_path / "one.npy", tmp_path / "several.npz"
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3, BOXES))
    with several.open("wb") as stream:
        np.savez(stream, boxes=np.zeros(0, BOXES), head=np.ones(4, np.float32))

    def read(_: int) -> tuple[int, list[str], float]:
        Cycle()
        arrays = read_arrays(several)
        return len(read_array(path)), sorted(arrays), float(arrays["head"].sum())

    with ThreadPoolExecutor(16) as pool:
        assert set(map(str, pool.map(read, range(1000)))) == {"(3, ['boxes', 'head'], 4.0)"}


def test_what_is_mapped_cannot_be_written(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    mapped = read_array(tmp_path / "a.npy", mapped=True)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("header", ["{'descr': (", "{'descr': '<f4', 'shape': (((", "'" * 3])
def test_a_header_that_is_no_python_is_a_value_error(tmp_path: Path, header: str) -> None:
    """numpy lets tokenize's and ast's own errors out; tests/fuzz found it."""
    text = header.encode() + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    (tmp_path / "a.npy").write_bytes(start + text)
    with pytest.raises(ValueError, match=r".+"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
    ids=["stored", "deflate", "bzip2", "lzma"],
)
def test_a_damaged_npz_is_a_value_error(tmp_path: Path, compression: int) -> None:
    """Each compression has errors of its own; whichever byte is damaged, one kind comes out."""
    array = io.BytesIO()
    np.save(array, np.arange(200, dtype=np.float32))
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", compression) as archive:
        archive.writestr("image.npy", array.getvalue())
    content, path, damaged = whole.getvalue(), tmp_path / "a.npz", 0
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        for read in (lambda: read_member(path, "image", 1 << 20), lambda: read_arrays(path)):
            try:
                read()
            except (OSError, ValueError):
                damaged += 1
    assert damaged > len(content) / 3
