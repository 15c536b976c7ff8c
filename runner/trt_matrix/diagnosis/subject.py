"""What is diagnosed: a network with its tables, images, gates and boxes, wherever they come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from trt_matrix.core.layers.choices import Choice
from trt_matrix.core.layers.engine_layers import LayerTimes
from trt_matrix.core.layers.precisions import Ran
from trt_matrix.core.manifest import EvaluationImage, Gate, HeadGate, Ranked, RecordedDecode
from trt_matrix.core.metrics import Sums
from trt_matrix.core.network.network_map import NetworkMap
from trt_matrix.core.network.ranked_sentences import advice, ranked_by
from trt_matrix.core.qdq.options import PlacementOptions
from trt_matrix.core.records import StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.errors import ConfigError

Told = Callable[[str], None]
"""Takes what is being done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredQdq:
    """What an engine of a run really gave by Q/DQ with the table."""

    cell: str
    sums: Mapping[str, Sums]
    """Head → its sums, one row an image of the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImplicitBuild(MeasuredQdq):
    """What one implicit build gave, which chose itself what to run in int8."""

    table: Table
    """Its own, which need not be the one that is diagnosed."""
    table_name: str
    options: PlacementOptions
    """Where its simulation has Q/DQ."""
    ran: Ran
    """Empty where it did not tell its layers."""
    held: frozenset[str]
    """Layers, or tensors, that the matrix held in floating point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellTimes:
    """What the layers of one int8 engine of a run took."""

    cell: str
    times: LayerTimes


@dataclass(frozen=True, kw_only=True, slots=True)
class Builds:
    """The implicit builds of a run."""

    network: NetworkMap
    built: tuple[ImplicitBuild, ...]
    choices: tuple[Choice, ...]
    """What goes along with the errors where builds with one table differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A network that is diagnosed, with all that is known of it."""

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
    decode: RecordedDecode | None
    labels: StoredObject | None
    evaluation: tuple[EvaluationImage, ...]
    measured: tuple[MeasuredQdq, ...] = ()
    builds: Builds | None = None
    times: CellTimes | None = None
    """Of the engine that is diagnosed; None where it told none."""
    run: str | None = None
    folder: Path
    """Where the diagnosis is written."""
    notes: tuple[str, ...] = ()

    @property
    def made_of_calibration(self) -> Mapping[str, Table]:
        """The other tables but those that were made of the very images that they would be judged on."""
        return {
            name: other
            for name, other in self.others.items()
            if other.provenance.images_sha256 != self.images_sha256
        }

    def image(self, index: int) -> npt.NDArray[np.float32]:
        """Returns one image with a batch axis of 1, in memory."""
        return np.array(self.images[index : index + 1], np.float32)


def comparable(
    heads: Sequence[tuple[str, str]],
    ranked: Mapping[str, Ranked],
    decode: RecordedDecode | None,
    source: str,
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Returns the heads to be diagnosed, and what is to be said of the others.

    Args:
        heads: (head, output tensor).
        ranked: Head → what ranks its rows: a row that moves by one is a whole error in dB.
        decode: Tells which of them hold boxes, which can be compared all the same.
        source: What they are of.

    Raises:
        ConfigError: none is left.
    """
    boxed = {decoded.head for decoded in decode.heads} if decode else set()
    notes = []
    kept = []
    for head, tensor in heads:
        how = ranked.get(head)
        if how is None or head in boxed:
            kept.append((head, tensor))
        if how is not None:
            notes.append(
                f"{ranked_by(head, how)}: "
                + ("its dB say nothing, its boxes do" if head in boxed else "it is not looked at")
            )
    if not kept:
        head, _ = heads[0]
        raise ConfigError(source, [f"{notes[0]}: {advice(head, ranked[head], dict(heads))}"])
    return tuple(kept), tuple(notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisWish:
    """What is asked for beside the network."""

    images: int = 64
    """Used at most: a half to choose on, a half to confirm on."""
    heads: tuple[str, ...] = ()
    """Whose limits count; all where none is named."""
    goals: tuple[tuple[str, float], ...] = ()
    """Limits in place of the gates', for each of these heads: (`sqnr_db`, 25.0)."""
    most_cost: float = 0.5
    """Share of the network's work that a set may put into float."""
    profile: Mapping[str, float] = field(default_factory=dict)
    """Layer of an engine → its time, which is what layers cost then, in place of what the run's own engine told."""
