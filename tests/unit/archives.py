"""Archives unpacked as a user would, and changed as who means harm does."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Change = Callable[[bytes], bytes] | bytes | None
"""Of a file: what it becomes, its content, or none where it is left out."""


def unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)


def files_of(archive: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            stream = opened.extractfile(member)
            assert stream
            files[member.name] = stream.read()
    return files


def write(target: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(target, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def changed(files: Mapping[str, bytes], changes: Mapping[str, Change]) -> dict[str, bytes]:
    """Returns the files after `changes`, each for the files whose names end so: at least one."""
    made = dict(files)
    for end, change in changes.items():
        touched = [name for name in made if name.endswith(end)]
        assert touched, end
        for name in touched:
            content = change(made[name]) if callable(change) else change
            if content is None:
                del made[name]
            else:
                made[name] = content
    return made


def resealed(
    source: Path,
    target: Path,
    changes: Mapping[str, Change],
    told: Callable[[Any], None] = lambda _: None,
) -> Path:
    """Changes files of an archive of results, and by `told` its manifest, so that all hashes fit."""
    files = files_of(source)
    manifest = json.loads(files.pop("results.json"))
    files = changed(files, changes)
    told(manifest)
    files |= manifest.pop("added", {})
    manifest["files"] = {name: hashlib.sha256(file).hexdigest() for name, file in files.items()}
    return write(target, {**files, "results.json": json.dumps(manifest).encode()})


def with_values(**values: object) -> Callable[[bytes], bytes]:
    """Returns a change of a JSON file: these values take the place of its own."""
    return lambda content: json.dumps({**json.loads(content), **values}).encode()
