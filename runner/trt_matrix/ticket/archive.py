"""A zip of somebody else: every member checked before, and while, it is read. Nothing is believed.

A folder is written as a zip with fixed dates and owners: the same content gives the same bytes.
"""

import hashlib
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trt_matrix.errors import StoreError
from trt_matrix.store.arrays import BAD_ZIP
from trt_matrix.store.results import explained
from trt_matrix.store.unpacking import is_plain
from trt_matrix.ticket.content import ROOT
from trt_matrix.ticket.folder import files

MOST_MEMBERS = 50_000
MOST_BYTES = 16 << 30
"""Unpacked."""
MOST_RATIO = 500
"""Unpacked by packed size of a whole archive that is large: deflate reaches 1032 on zeros alone."""
LARGE_BYTES = 256 << 20

_EPOCH = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20
_ENCRYPTED = 0x1


def write(root: Path, output: Path) -> None:
    """Writes all files below `root` into a zip, whole or not at all."""
    partial = output.with_name(f"{output.name}.part")
    with explained(output, "--output"):
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name in files(root):
                info = zipfile.ZipInfo(f"{ROOT}/{name}", _EPOCH)
                mode = 0o755 if (root / name).stat().st_mode & stat.S_IXUSR else 0o644
                info.external_attr = (stat.S_IFREG | mode) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                info.file_size = (root / name).stat().st_size
                with (root / name).open("rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target, _BLOCK)
        partial.replace(output)


class Members:
    """The members of an open zip, found harmless by what it says of them."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        """Reads nothing but the list of members.

        Raises:
            StoreError: one is no plain file below the ticket's folder, two have one name, they are
                encrypted, too many or too large; names each problem.
        """
        self.path = path
        self._archive = archive
        infos = archive.infolist()
        problems = [*_too_much(infos, path.stat().st_size), *_beside(archive)]
        first_of: dict[str, str] = {}
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos[:MOST_MEMBERS]:
            problem = _wrong(info)
            other = first_of.setdefault(info.filename.casefold(), info.filename)
            if problem is None and info.filename.removeprefix(f"{ROOT}/") in self._infos:
                problem = "is there twice"
            elif problem is None and other != info.filename:
                problem = f"and {other!a:.200} are one file where case does not count"
            if problem:
                problems.append(f"{info.filename!a:.200} {problem}")
            else:
                self._infos[info.filename.removeprefix(f"{ROOT}/")] = info
        if problems:
            raise refused(path, problems)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._infos)

    def size(self, name: str) -> int:
        return self._infos[name].file_size

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yields the content of a member; no more than it said it has.

        Raises:
            StoreError: it cannot be unpacked, or is longer than it said.
        """
        left = self._infos[name].file_size
        try:
            with self._archive.open(self._infos[name]) as stream:
                while block := stream.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise refused(self.path, [f"{name} is longer than it says"])
                    yield block
        except (*BAD_ZIP, OSError) as error:  # an offset before the file's start is one, too
            raise refused(self.path, [f"{name} cannot be unpacked ({error})"]) from error

    def read(self, name: str, most: int) -> bytes:
        """Returns the content of a small member.

        Raises:
            StoreError: it is not small, or cannot be unpacked.
        """
        if self.size(name) > most:
            raise refused(self.path, [f"{name} is larger than any that trt-matrix writes"])
        return b"".join(self.blocks(name))

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        for block in self.blocks(name):
            digest.update(block)
        return digest.hexdigest()

    def extract(self, folder: Path) -> None:
        """Unpacks all members; none becomes executable."""
        needed = sum(info.file_size for info in self._infos.values())
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if needed > shutil.disk_usage(folder).free:
                raise refused(self.path, [f"{needed / 1e9:.1f} GB do not fit on this disk"])
            for name in sorted(self._infos):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as stream:
                    for block in self.blocks(name):
                        stream.write(block)


@contextmanager
def opened(path: Path) -> Iterator[Members]:
    """Opens a zip for reading.

    Raises:
        StoreError: there is none, it is damaged, or a member is not harmless.
    """
    try:
        with explained(path):
            archive = zipfile.ZipFile(path)
    except BAD_ZIP as error:
        raise refused(path, [f"it is no zip file ({error}); copy it again"]) from error
    with archive:
        yield Members(path, archive)


def refused(path: Path, problems: list[str]) -> StoreError:
    most = 8
    lines = [f"\n  - {problem}" for problem in problems[:most]]
    if len(problems) > most:
        lines.append(f"\n  - and {len(problems) - most} more")
    return StoreError(f"{path}: refused{''.join(lines)}")


def _beside(archive: zipfile.ZipFile) -> Iterator[str]:
    """Tells of what is in the file beside its members: a program before them would run, unseen by us."""
    first = min((info.header_offset for info in archive.infolist()), default=0)
    if first:
        yield f"{first} bytes stand before the first member: a ticket begins with it"
    if archive.comment:
        yield f"{len(archive.comment)} bytes of comment: no ticket has one"


def _too_much(infos: list[zipfile.ZipInfo], packed: int) -> Iterator[str]:
    unpacked = sum(info.file_size for info in infos)
    if len(infos) > MOST_MEMBERS:
        yield f"{len(infos)} members: no ticket has so many"
    if unpacked > MOST_BYTES:
        yield f"{unpacked / 1e9:.0f} GB unpacked: no ticket is so large"
    elif unpacked > LARGE_BYTES and unpacked > MOST_RATIO * packed:
        yield f"{unpacked / 1e9:.1f} GB unpacked from {packed / 1e6:.1f} MB: no ticket is so empty"


def _wrong(info: zipfile.ZipInfo) -> str | None:
    """Returns what is wrong with a member, as far as can be seen without reading it."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if not is_plain(info.filename) or not info.filename.startswith(f"{ROOT}/"):
        return f"is no file below {ROOT}/"
    if info.is_dir() or kind not in (0, stat.S_IFREG):
        return "is no plain file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that tickets are not"
    return None
