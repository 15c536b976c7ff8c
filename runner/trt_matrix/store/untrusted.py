"""Folders that somebody else writes into, perhaps at this moment: a job's results, an unpacked archive.

Nothing in them is believed: every name is opened below a descriptor of the folder above it, so that no
link is followed, however often the names change places meanwhile; no pipe is waited for, no file is
read beyond a limit, and no tree is too deep to be measured or removed.
"""

import contextlib
import errno
import itertools
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

DEEPEST = 32
"""Folders below each other that are looked into; an honest job makes four."""
MOST_FILES = 100_000
"""Of one start of a job, folders counted too."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe without a writer would block for ever without O_NONBLOCK.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_O_PATH = getattr(os, "O_PATH", os.O_RDONLY)
_BLOCK = 1 << 20


class UntrustedError(Exception):
    """A file is none that is taken; says why."""


@contextlib.contextmanager
def opened(folder: Path, name: str, most_bytes: int) -> Iterator[BinaryIO]:
    """Opens a plain file, called `name` below `folder`, of bounded size for reading.

    The folder is ours, though others write into it. The file may have `most_bytes` now; who reads must stop there, for
    it may grow.

    Raises:
        FileNotFoundError: there is none, or a part of its path is no folder.
        UntrustedError: it is a link, a pipe, a device, too large, or cannot be read.
    """
    with contextlib.ExitStack() as closing:
        try:
            handle = os.open(folder, _FOLDER)
            closing.callback(os.close, handle)
            *parents, last = name.split("/")
            for part in parents:
                handle = os.open(part, _FOLDER, dir_fd=handle)
                closing.callback(os.close, handle)
            stream = closing.enter_context(os.fdopen(os.open(last, _FILE, dir_fd=handle), "rb"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(name) from error
        except (OSError, ValueError) as error:  # the latter: a name with a zero in it
            reason = error.strerror if isinstance(error, OSError) else error
            raise UntrustedError(f"{name!a:.200} cannot be read: {reason}") from error
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedError(f"{name!a:.200} is no plain file")
        if status.st_size > most_bytes:
            message = (
                f"{name!a:.200} has {size_text(status.st_size)}, more than {size_text(most_bytes)}"
            )
            raise UntrustedError(message)
        yield stream


@contextlib.contextmanager
def opened_by_user(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that the user named for reading: links are followed, pipes and devices refused.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: its name is none that a file can have.
    """
    with os.fdopen(os.open(path, _FILE & ~os.O_NOFOLLOW), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        yield stream


def named_file(path: Path, most_bytes: int) -> bytes:
    """Returns the content of a file that the user named, as `opened_by_user` has it.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no file has such a name", repr(str(path)))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with opened_by_user(path) as stream:
        if (there := os.fstat(stream.fileno()).st_size) > most_bytes:
            sizes = f"{size_text(there)}, more than {size_text(most_bytes)}"
            raise OSError(errno.EFBIG, sizes, str(path))
        return stream.read(most_bytes)


def content(folder: Path, name: str, most_bytes: int) -> bytes:
    """Returns the bytes of a small file; raises as `opened`."""
    with opened(folder, name, most_bytes) as stream:
        return stream.read(most_bytes)


def copy(folder: Path, name: str, target: Path, most_bytes: int) -> None:
    """Writes what a file holds now to `target`, which nobody else can write to.

    Raises:
        FileNotFoundError: as `opened` does.
        UntrustedError: as `opened` does, or it became shorter meanwhile.
        OSError: `target` cannot be written.
    """
    with opened(folder, name, most_bytes) as source, target.open("xb", buffering=0) as written:
        left = os.fstat(source.fileno()).st_size
        while left:
            moved = _moved(source, written, left)
            if not moved:
                raise UntrustedError(f"{name!a:.200} became shorter while it was read")
            left -= moved


def _moved(source: BinaryIO, target: BinaryIO, most: int) -> int:
    """Copies up to `most` bytes, in the kernel where it can (blocks are shared where the disk can)."""
    try:
        return os.copy_file_range(source.fileno(), target.fileno(), most)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return target.write(os.read(source.fileno(), min(most, _BLOCK)))


@dataclass(frozen=True, slots=True)
class Extent:
    """What a folder takes of the disk."""

    files: int
    size_bytes: int
    """Blocks that are really taken: a file of nothing but holes takes none."""
    deep: bool = False
    """Whether there are folders below DEEPEST, which are not counted."""


def extent(folder: Path) -> Extent:
    """Measures a folder that may change meanwhile; stops counting at MOST_FILES."""
    counted = _Counted()
    with contextlib.suppress(OSError):
        counted.count(os.open(folder, _FOLDER), 0)
    return Extent(counted.files, counted.size_bytes, counted.deep)


class _Counted:
    """No deeper than DEEPEST, so that neither descriptors nor calls run out."""

    def __init__(self) -> None:
        self.files = self.size_bytes = 0
        self.deep = False

    def count(self, handle: int, depth: int) -> None:
        """Counts what is in an open folder, and closes that."""
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    self.files += 1
                    if self.files > MOST_FILES:
                        return
                    with contextlib.suppress(OSError):  # it has just gone
                        self._count_one(entry, handle, depth)
        finally:
            os.close(handle)

    def _count_one(self, entry: "os.DirEntry[str]", handle: int, depth: int) -> None:
        status = entry.stat(follow_symlinks=False)
        self.size_bytes += status.st_blocks * 512
        if not stat.S_ISDIR(status.st_mode):
            return
        if depth == DEEPEST:
            self.deep = True
        else:
            self.count(os.open(entry.name, _FOLDER, dir_fd=handle), depth + 1)


def remove(folder: Path) -> None:
    """Removes a folder with all that is in it; what cannot be removed stays, without an error.

    Folders inside are moved up to the first before they are looked into, so that no depth needs more
    than three descriptors, and no path becomes long.
    """
    with contextlib.suppress(OSError):
        top = _made_ours(str(folder), None)
        try:
            prefix = f".{uuid.uuid4().hex}-"
            numbers = (f"{prefix}{number}" for number in itertools.count())
            # A sum, not `any`: every entry has its turn.
            while sum(_removed(top, name, numbers) for name in _names(top)):
                pass
        finally:
            os.close(top)
        folder.rmdir()


def _names(handle: int) -> list[str]:
    try:
        return os.listdir(handle)
    except OSError:
        return []


def _removed(top: int, name: str, free: Iterator[str]) -> bool:
    """Removes a file, or a folder after its folders were moved to `top`; returns whether anything went."""
    went = False
    with contextlib.suppress(OSError):
        if not _is_folder(name, top):
            os.unlink(name, dir_fd=top)
            return True
        inside = _made_ours(name, top)
        try:
            for entry in _names(inside):
                with contextlib.suppress(OSError):
                    if _is_folder(entry, inside):
                        os.close(_made_ours(entry, inside))  # else it could not be moved
                        os.rename(entry, next(free), src_dir_fd=inside, dst_dir_fd=top)
                    else:
                        os.unlink(entry, dir_fd=inside)
                    went = True
        finally:
            os.close(inside)
        os.rmdir(name, dir_fd=top)
        went = True
    return went


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _made_ours(name: str, parent: int | None) -> int:
    """Opens a folder whose owner we are, whatever its mode was."""
    handle = os.open(name, _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            Path(f"/proc/self/fd/{handle}").chmod(0o700)  # that very folder, without a name
        return os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)


def size_text(count: float) -> str:
    """Returns bytes as `1.2 GB` or `340.0 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
