"""Custom layers as jobs are given them: libraries by TensorRT's major version, or sources to compile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from trt_matrix.core.records import StoredObject
from trt_matrix.store.results import Store, object_of

ENGINE = "tensorrt"
"""The only engine that loads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginFiles:
    """One plugin with the content of its files; either libraries or sources."""

    libraries: Mapping[str, bytes]
    """Major version of TensorRT → shared library."""
    sources: Mapping[str, bytes]
    """File name, as others include it → content."""
    flags: Sequence[str]
    """For the compiler."""

    @property
    def _files(self) -> Mapping[str, tuple[bytes, str]]:
        """Returns key of the request → content and suffix."""
        libraries = {key: (content, ".so") for key, content in self.libraries.items()}
        sources = {name: (content, PurePath(name).suffix) for name, content in self.sources.items()}
        return {**libraries, **sources}

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        return tuple(object_of(content, suffix) for content, suffix in self._files.values())

    def put_into(self, store: Store) -> None:
        for content, suffix in self._files.values():
            store.put(content, suffix)

    def request(self) -> Mapping[str, Any]:
        """Returns the entry of a request: `job.protocol.PLUGIN_KEYS`."""
        files = {key: object_of(*file).file for key, file in self._files.items()}
        if self.libraries:
            return {"libraries": files}
        sources = [{"name": name, "file": file} for name, file in files.items()]
        return {"sources": sources, "flags": list(self.flags)}
