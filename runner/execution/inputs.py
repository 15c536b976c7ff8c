"""What jobs are given: images as arrays, and the network in its variants; each made once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from runner.core.calibration_graph import calibration_model
from runner.core.qdq import ONNXRUNTIME, TENSORRT, PlacementOptions, place, simulation_of
from runner.core.tables import Table
from runner.records import Object
from runner.store import Store

VARIANTS_VERSION = 1
"""Raise when the same network with the same table gives another variant."""

PLACEMENTS: Mapping[str, PlacementOptions] = {"onnxruntime": ONNXRUNTIME, "tensorrt": TENSORRT}
"""engine → where its Q/DQ stands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Preprocessed images, float32 .npy of shape (images, …input)."""

    evaluation: Object
    calibration: Object
    evaluation_images: int
    calibration_images: int


class Network:
    """The user's network and everything that is derived from it."""

    def __init__(self, store: Store, content: bytes, model: onnx.ModelProto) -> None:
        self.store = store
        self.model = model
        self.fp32 = store.put(content, ".onnx")
        with_outputs, self.tensors = calibration_model(model)
        self.calibration = store.put(with_outputs.SerializeToString(deterministic=True), ".onnx")

    def quantised(self, table: Table, engine: str, *, simulated: bool) -> Object:
        """Returns the Q/DQ network as `engine` wants it, or its exact float32 simulation.

        Raises:
            QdqError: the table quantises nothing.
        """
        options = PLACEMENTS[engine]
        if simulated:
            options = simulation_of(options)

        def make(target: Path) -> None:
            placed = place(self.model, table, options)
            target.write_bytes(placed.model.SerializeToString(deterministic=True))

        key = {
            "quantised": VARIANTS_VERSION,
            "options": repr(options),
            "model": self.fp32.sha256,
            "table": table.digest,
        }
        return self.store.derive(key, ".onnx", make)
