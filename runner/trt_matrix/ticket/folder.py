"""The folder that becomes a ticket: nothing gets into it but through the redactor."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.errors import StoreError
from trt_matrix.store.results import object_of, sha256_of
from trt_matrix.ticket import network
from trt_matrix.ticket.redaction import Redactor

LONGEST_LOG = 4 << 20
"""Bytes of a log that are kept: its beginning and its end."""

NUMBERS = (".npy", ".onnx")
"""Files that are mostly numbers, in which a few letters stand by chance."""

_PICTURE = re.compile(rb"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")

LONG = 8
"""Characters of a secret from which on it does not stand among numbers by chance."""

SHORT = 5
"""The same among words."""


class Folder:
    def __init__(self, root: Path, redactor: Redactor) -> None:
        self.root = root
        self.redactor = redactor
        self.renamed: dict[str, str] = {}
        """File of the store → what it is called in the ticket's objects."""

    def name(self, wanted: str) -> str:
        """Returns what a file is called: without secrets, and as every file system takes it."""
        clean = self.redactor.text(wanted, wanted)
        return re.sub(r"[^A-Za-z0-9._@/+ -]", "-", clean.replace("*", "all"))

    def text(self, wanted: str, text: str) -> str:
        """Writes a text without its secrets; returns the file's name."""
        name = self.name(wanted)
        self._write(name, self.redactor.text(text, name).encode("utf-8", "replace"))
        return name

    def json(self, wanted: str, value: Any) -> Any:
        """Writes a JSON value without its secrets; returns it."""
        name = self.name(wanted)
        clean = self.redactor.value(value, name)
        protocol.write_json(str(self.root / name), clean)
        return clean

    def own(self, name: str, text: str, *, executable: bool = False) -> None:
        """Writes a text that was made of nothing but what is in the ticket already."""
        self._write(name, text.encode("utf-8", "replace"))
        if executable:
            (self.root / name).chmod(0o755)

    def log(self, wanted: str, path: Path) -> None:
        self.text(wanted, shortened(path, LONGEST_LOG))

    def network(self, path: Path, folder: str) -> str:
        """Puts a network of the store, without its secrets, under `folder`; returns its name there."""
        known = self.renamed.get(path.name)
        if known is None:
            content = network.redacted(path.read_bytes(), self.redactor, f"{folder}/{path.name}")
            known = self.renamed[path.name] = object_of(content, ".onnx").file
            self._write(f"{folder}/{known}", content)
        return known

    def numbers(self, content: bytes, folder: str, suffix: str) -> str:
        """Puts an array, or a table, under `folder`; returns its name there: its hash."""
        name = object_of(content, suffix).file
        if not (self.root / folder / name).exists():
            self._write(f"{folder}/{name}", content)
        return name

    def _write(self, name: str, content: bytes) -> None:
        protocol.write_bytes(str(self.root / name), content)

    def check(self, programs: str) -> None:
        """Reads all that was written, once more; this tool's own program is in files whose names begin with `programs`.

        Raises:
            StoreError: a secret is still somewhere; says of which kind, and where.
        """
        for name in files(self.root):
            if name.startswith(programs):
                continue
            least = LONG if name.endswith(NUMBERS) else SHORT
            content = _PICTURE.sub(b"", (self.root / name).read_bytes())
            kind = self.redactor.leak(name.encode() + b"\0" + content, least)
            if kind:
                raise StoreError(
                    f"no ticket was written: {name} would still hold a secret ({kind}). This is a bug in "
                    "trt-matrix: report it; until then, leave the cell out with --cell"
                )


def files(root: Path) -> tuple[str, ...]:
    """Returns the names of all files below `root`, sorted."""
    return tuple(
        sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    )


def hashes(root: Path) -> Mapping[str, Mapping[str, Any]]:
    """Returns name → SHA-256 and size of all files below `root`."""
    return {
        name: {"sha256": sha256_of(root / name), "size_bytes": (root / name).stat().st_size}
        for name in files(root)
    }


def shortened(path: Path, most: int) -> str:
    """Returns the text of a file; of a long one its first quarter and its end, `most` bytes in all."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= most:
            return stream.read().decode("utf-8", "replace")
        begin = stream.read(most // 4)
        stream.seek(size - (most - most // 4))
        end = stream.read()
    left_out = f"\n… {size - most} bytes are left out here …\n"
    return begin.decode("utf-8", "replace") + left_out + end.decode("utf-8", "replace")
