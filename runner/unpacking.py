"""Takes one plain file out of an archive; `TarFile.extract` knows no filters before Python 3.11.4."""

import shutil
import tarfile
from pathlib import Path, PurePosixPath


def stays_below(name: str) -> bool:
    """Tells whether a member of that name lies below the folder that it is taken out into."""
    path = PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
    )


def take_out(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Writes a member, a regular file, to `target` and makes the folders above it.

    Owner, times and mode are those of a file that is made now: what an archive says of them is
    another machine's.
    """
    source = archive.extractfile(member)
    if source is None:
        message = f"{member.name!r} is no regular file"
        raise ValueError(message)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
