"""A function of the user's own as jobs are given it: its file and what it reads, by content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from trt_matrix.core.prepared.packing import InputPart
from trt_matrix.core.records import StoredObject
from trt_matrix.store.results import Store, object_of

ENGINE = "python"
"""The engine that runs it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionFiles:
    """The functions of one environment, with the content of every file that travels with them."""

    file: str
    """Where they are defined, one of `files`."""
    functions: Mapping[str, str]
    """`fp32`, …, `int8`, `int8-qdq` → name of the function."""
    files: Mapping[str, bytes]
    """Name in the job's working folder, with / → content."""

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        return tuple(self._object(name) for name in self.files)

    def put_into(self, store: Store) -> None:
        for name, content in self.files.items():
            store.put(content, _suffix(name))

    def options(self, parts: Sequence[InputPart] = ()) -> Mapping[str, Any]:
        """Returns the engine's options; by the contents' hashes, so that a changed file is another cell.

        `parts` is what the one tensor that is fed holds, where the network takes several inputs.
        """
        apart = [[part.name, list(part.shape), part.dtype] for part in parts]
        return {
            **({"parts": apart} if apart else {}),
            "file": self.file,
            "entry_point": dict(self.functions),
            "files": {name: self._object(name).file for name in self.files},
        }

    def _object(self, name: str) -> StoredObject:
        return object_of(self.files[name], _suffix(name))


def _suffix(name: str) -> str:
    """Returns what the stored file ends with; the job gives it back its whole name."""
    return ".py" if PurePosixPath(name).suffix == ".py" else ".bin"
