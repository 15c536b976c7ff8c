"""Files by content: named by SHA-256 and suffix, written whole or not at all, never changed.

A disk can change them, and so can whoever may write there: each is hashed once a process before it
is used, and what is no longer what its name says is made again.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from trt_matrix.containers.job import protocol
from trt_matrix.core.records import StoredObject
from trt_matrix.errors import GoneError, StoreError
from trt_matrix.store.arrays import read_array

_FREE = "free space and run again, finished cells are kept; `trt-matrix gc --help`"


@contextlib.contextmanager
def explained(path: Path, option: str = "--results") -> Iterator[None]:
    """Turns the operating system's refusals of `path` into a message with what to do next.

    `option` is that of the command line by which another path is named.

    Raises:
        StoreError: in place of every OSError.
    """
    advice = {
        errno.ENOSPC: f"the disk is full: {_FREE}",
        errno.EDQUOT: f"the disk quota is used up: {_FREE}",
        errno.EACCES: f"it may not be written: check its owner and mode, or name another {option}",
        errno.EPERM: f"it may not be written: check its owner and mode, or name another {option}",
        errno.EROFS: f"the file system is read-only: name another place with {option}",
        errno.ENOENT: "there is no such file"
        if path.parent.is_dir()
        else f"there is no folder {path.parent}: make it, or name another place with {option}",
        errno.ENOTDIR: f"a part of this path is a file: name another place with {option}",
    }
    try:
        yield
    except OSError as error:
        hint = advice.get(error.errno or 0, f"it cannot be used: name another place with {option}")
        raise StoreError(f"{path}: {hint} ({error.strerror or error})") from error


def require_folder(output: Path) -> None:
    """Raises StoreError where the folder of an --output is not there: before the work, not after it."""
    with explained(output, "--output"):
        output.parent.stat()


class Objects:
    """One folder of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        """What the user should know, each once."""
        self.tell: Callable[[str], None] = lambda _: None
        """Takes each at once."""
        self._whole: dict[str, tuple[int, int, int]] = {}
        """File → inode, size and time of change when its content was found to be what its name says."""

    def _file(self, stored: StoredObject) -> Path:
        return self.folder / stored.file

    def path(self, stored: StoredObject) -> Path:
        """Returns where an object is, or would be.

        Raises:
            StoreError: its content is not what it was.
        """
        path = self._file(stored)
        if path.exists() and not self._is_whole(stored):
            message = f"{self._changed(stored)}; run `trt-matrix run` again: it is made again"
            raise StoreError(message)
        return path

    def has(self, stored: StoredObject) -> bool:
        """Tells whether the object is there, byte for byte; one that was changed is not (with a warning)."""
        try:
            if self._file(stored).stat().st_size != stored.size_bytes:
                return False
        except FileNotFoundError:
            return False
        if self._is_whole(stored):
            return True
        self.warn(f"{self._changed(stored)}; it is made again")
        return False

    def is_there(self, stored: StoredObject) -> bool:
        """Tells whether there is a file for the object, whatever it holds by now."""
        return self._file(stored).exists()

    def has_all(self, stored: Iterable[StoredObject]) -> bool:
        """Tells whether every object is there, as `has` does; hashes them on all processors at once."""
        with ThreadPoolExecutor() as pool:
            return all([*pool.map(self.has, stored)])

    def _changed(self, stored: StoredObject) -> str:
        return f"{self._file(stored)}: damaged, its content is not what was stored"

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self.tell(text)

    def _is_whole(self, stored: StoredObject) -> bool:
        path = self._file(stored)
        with explained(path):
            stamp = _stamp(path)
            if self._whole.get(stored.file) != stamp:
                if sha256_of(path) != stored.sha256:
                    return False
                self._whole[stored.file] = stamp
        return True

    def adopt(self, file: Path) -> StoredObject:
        """Takes `file` (on the same file system) in without copying; it stays where it is, too.

        Nobody may write to it any more: what a job can still write to is copied first
        (`untrusted.copy`).
        """
        with explained(self.folder):
            stored = StoredObject(
                sha256=sha256_of(file), suffix=file.suffix, size_bytes=file.stat().st_size
            )
            if not self.has(stored):
                file.chmod(0o644)
                new = self.folder / f".{uuid.uuid4().hex}{protocol.PARTIAL}"
                same_file_system_link(file, new)
                new.replace(self._file(stored))
                self._whole[stored.file] = _stamp(self._file(stored))
            return stored

    def put(self, content: bytes, suffix: str) -> StoredObject:
        stored = object_of(content, suffix)
        if not self.has(stored):
            with explained(self.folder):
                protocol.write_bytes(str(self._file(stored)), content)
                self._whole[stored.file] = _stamp(self._file(stored))
        return stored

    def array(self, stored: StoredObject) -> np.ndarray[Any, Any]:
        """Returns the array memory-mapped, read only.

        Raises:
            GoneError: it is stored no more.
            StoreError: its content is not what it was.
        """
        path = self.path(stored)
        try:
            return read_array(path, mapped=True)
        except FileNotFoundError as error:
            raise GoneError(
                f"{path}: stored no more, and needed anew; run `trt-matrix run` again: it is made again "
                "(`keep: outputs` in matrix.yaml keeps outputs)"
            ) from error


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def object_of(content: bytes, suffix: str) -> StoredObject:
    """Returns how the store addresses `content`; stores nothing."""
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredObject(sha256=sha256, suffix=suffix, size_bytes=len(content))


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def same_file_system_link(source: Path, target: Path) -> None:
    """Makes `target` another name of `source`, or a copy where links are not to be had."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, target)
