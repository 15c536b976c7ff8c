"""Custom layers in a ticket: their sources without secrets, their libraries as they are, or why neither."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_matrix.config.yaml_file import read
from trt_matrix.core.manifest import RunRequest
from trt_matrix.core.records import StoredObject
from trt_matrix.store.results import RunFolder
from trt_matrix.ticket.folder import SHORT, Folder

LEFT_OUT = "its network needs plugins, which were left out with --no-plugins"
OLD = "its network needs plugins, which older runs did not keep: run it again, then make the ticket"
INSTEAD = "build it elsewhere, or give `sources` in matrix.yaml"
GONE = "its network needs plugins, whose files are not stored with the run any more"


@dataclass(frozen=True, slots=True)
class Plugins:
    """What a ticket holds of a run's plugins."""

    entries: Sequence[Mapping[str, Any]] = ()
    """Of a request: `job.protocol.PLUGIN_KEYS`, with the names of the ticket's files."""
    why_not: str | None = None
    """Why cells that need them have no job; None where they have."""


def plugins_of(
    folder: Folder, run: RunFolder, asked: RunRequest, objects: str, *, wanted: bool
) -> Plugins:
    """Puts the plugins of a run into its ticket; they stay at home unless `wanted`."""
    if not asked.plugins:
        return Plugins(why_not=OLD if _stated(run) else None)
    if not wanted:
        return Plugins(why_not=LEFT_OUT)
    files = {file: _path(run, file) for plugin in asked.plugins for file in files_of(plugin)}
    if not all(path.is_file() for path in files.values()):
        return Plugins(why_not=GONE)
    for plugin in asked.plugins:
        for file in plugin.get("libraries", {}).values():
            # Nothing can be taken out of machine code.
            if kind := folder.redactor.leak(files[file].read_bytes(), SHORT):
                return Plugins(
                    why_not=f"a library of its plugins holds a secret ({kind}): {INSTEAD}"
                )
    return Plugins(tuple(_entry(folder, run, plugin, objects) for plugin in asked.plugins))


def _entry(
    folder: Folder, run: RunFolder, entry: Mapping[str, Any], objects: str
) -> Mapping[str, Any]:
    """Puts the files of one plugin into the ticket; returns it with their names there."""
    if "libraries" in entry:
        return {
            "libraries": {
                major: folder.numbers(_path(run, file).read_bytes(), objects, _suffix(file))
                for major, file in entry["libraries"].items()
            }
        }
    return {
        **entry,
        "sources": [_source(folder, run, source, objects) for source in entry["sources"]],
    }


def _source(
    folder: Folder, run: RunFolder, source: Mapping[str, str], objects: str
) -> Mapping[str, str]:
    # What is no UTF-8 stays as it is. What a name loses, the `#include` of it has lost, too.
    text = _path(run, source["file"]).read_bytes().decode("utf-8", "surrogateescape")
    clean = folder.redactor.text(text, f"{objects}/{source['name']}")
    content = clean.encode("utf-8", "surrogateescape")
    return {**source, "file": folder.numbers(content, objects, _suffix(source["file"]))}


def files_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the files that an entry of a request's `plugins` refers to."""
    return (
        *entry.get("libraries", {}).values(),
        *(source["file"] for source in entry.get("sources", ())),
    )


def texts(run: RunFolder, asked: RunRequest | None) -> Iterator[str]:
    """Yields the sources, so that secrets are learned from them."""
    for entry in asked.plugins if asked else ():
        for source in entry.get("sources", ()):
            path = _path(run, source["file"])
            if path.is_file():
                yield path.read_text("utf-8", "replace")


def _stated(run: RunFolder) -> bool:
    model = read(run.folder / "matrix.yaml").value.get("model")
    return isinstance(model, Mapping) and bool(model.get("plugins"))


def _path(run: RunFolder, file: str) -> Path:
    sha256 = file.partition(".")[0]
    return run.store.path(StoredObject(sha256=sha256, suffix=_suffix(file), size_bytes=0))


def _suffix(file: str) -> str:
    return file.removeprefix(file.partition(".")[0])
