"""What is diagnosed: a network with its tables, images, gates and boxes, wherever they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from runner.core.qdq.explicit import PlacementOptions
from runner.core.tables.table import Table
from runner.records import Decode, EvaluationImage, Gate, HeadGate, Object


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What an engine of a run really gave with the table."""

    cell: str
    sqnr_db: Mapping[str, float | None]
    """Head → SQNR over all images of the run; None where it is identical."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    name: str
    model: onnx.ModelProto
    """In canonical form."""
    model_sha256: str
    heads: tuple[tuple[str, str], ...]
    """(head, output tensor)."""
    table: Table
    """The one that is diagnosed."""
    table_name: str
    others: Mapping[str, Table]
    """Name → other tables of the same network, to hold its ranges against."""
    engine: str
    placement: str
    """As a run records it."""
    options: PlacementOptions
    """Where Q/DQ stands."""
    images: npt.NDArray[Any]
    """Preprocessed evaluation images, float32 (images, …), mapped."""
    images_sha256: str
    files: tuple[str, ...]
    """What the images are called."""
    gates: Mapping[str, HeadGate]
    gate: Gate | None
    decode: Decode | None
    labels: Object | None
    evaluation: tuple[EvaluationImage, ...]
    measured: tuple[Measured, ...] = ()
    run: str | None = None
    folder: Path
    """Where the diagnosis is written."""
    notes: tuple[str, ...] = field(default=())

    def image(self, index: int) -> npt.NDArray[np.float32]:
        """Returns one image with a batch axis of 1, in memory."""
        return np.array(self.images[index : index + 1], np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is asked for beside the network."""

    images: int = 64
    """Used at most: a half to choose on, a half to confirm on."""
    heads: tuple[str, ...] = ()
    """Whose limits count; all where none is named."""
    goals: tuple[tuple[str, float], ...] = ()
    """Limits in place of the gates', for each of these heads: (`sqnr_db`, 25.0)."""
    most_cost: float = 0.5
    """Share of the network's work that a set may put into float."""
