"""The network as a UFF file, for TensorRT 5 to 8: what a job is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.records import StoredObject
from trt_matrix.store.results import Store, object_of

SUFFIX = ".uff"


@dataclass(frozen=True, kw_only=True, slots=True)
class UffFile:
    """A UFF file and where the ONNX form's input and heads are in it."""

    name: str
    """As matrix.yaml calls the file."""
    content: bytes
    input: str
    """Input tensor of the ONNX form."""
    node: str
    """The same in the file."""
    shape: tuple[int, int, int]
    """Channels, height, width of one image."""
    outputs: Mapping[str, str]
    """Output tensor of the ONNX form → node in the file."""

    @property
    def object(self) -> StoredObject:
        return object_of(self.content, SUFFIX)

    def put_into(self, store: Store) -> None:
        store.put(self.content, SUFFIX)

    def interface(self) -> Mapping[str, Any]:
        """Returns what a request says beside the path: `job.protocol.UFF_KEYS`."""
        return {
            "input": {"node": self.node, "name": self.input, "shape": list(self.shape)},
            "outputs": dict(self.outputs),
        }
