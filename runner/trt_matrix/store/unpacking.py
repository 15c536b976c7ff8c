"""Archives of somebody else: one check for every name in them, and taking one plain file out.

`TarFile.extract` knows no filters before Python 3.11.4.
"""

import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath

MOST_CHARACTERS = 1000
"""Of a name: longer ones do not fit below any folder, on any system."""
DEEPEST = 16
"""Folders below each other."""

_DRIVE = re.compile(r"[A-Za-z]:")


def is_plain(name: str) -> bool:
    """Tells whether a member's name means one file below the folder, on every system and to every reader."""
    path = PurePosixPath(name)
    return (
        0 < len(path.parts) <= DEEPEST
        and len(name.encode("utf-8", "replace")) <= MOST_CHARACTERS
        and all(len(part.encode("utf-8", "replace")) < 256 for part in path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and str(path) == name
        and name.isprintable()
        and "\\" not in name
        and not _DRIVE.match(name)
    )


def take_out(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Writes a member, a regular file, to `target` and makes the folders above it.

    Owner, times and mode are those of a file that is made now: what an archive says of them is
    another machine's.
    """
    source = archive.extractfile(member)
    if source is None:
        raise ValueError(f"{member.name!r} is no regular file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
