"""A table that was read, brought to the network's names: what is called otherwise, and what stays without a range."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.placements import ENGINES
from trt_matrix.core.tables.coverage import TensorArrival, coverage, enough
from trt_matrix.core.tables.forms import ReadTable, TableForm
from trt_matrix.core.tables.names import Naming, naming
from trt_matrix.core.tables.node_names import other_names
from trt_matrix.core.words import count, listed

FUSED_ONLY = "EntropyCalibration"
"""TensorRT's first entropy calibrator, which works on the network after fusion."""
NAMED = 5
"""Tensors that a line names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a table is to be the table of."""

    model: onnx.ModelProto
    heads: Sequence[tuple[str, str]]
    """(head, output tensor)."""
    least: float
    """`calibration.coverage`: least share of a head's tensors that must have a scale."""
    variants: Sequence[onnx.ModelProto] = ()
    """The same network in other forms, which may call tensors otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BroughtTable:
    name: str
    """Of the file."""
    found: ReadTable
    """With the network's names."""
    wanted: tuple[str, ...]
    """The network's tensors that need a range."""
    called: Naming
    target: Target

    @property
    def anything(self) -> bool:
        """Whether it names any tensor of the network."""
        return not frozenset(self.wanted).isdisjoint(self.found.names)

    def notes(self) -> list[str]:
        """Returns how it was read and its names were understood."""
        notes = []
        if self.found.form is not TableForm.CACHE:
            notes.append(f"{self.name} was read as {self.found.form}")
        how = " and ".join(
            [
                *([str(self.called.affixes)] if self.called.affixes else []),
                *(["they are those of the network's nodes"] if self.called.by_nodes else []),
            ]
        )
        if how:
            named = count(len(self.called.names), "name")
            notes.append(f"{named} of {self.name} became the network's: {how}")
        return notes

    def unmapped(self, engine: str) -> tuple[Sequence[str], str | None]:
        """Returns the tensors without a value that matter to an engine, and why the others do not.

        A calibrator that works on the fused network, as TensorRT's first entropy calibrator, names no tensor
        inside a fused layer; nothing quantises those.
        """
        known = frozenset(self.found.names)
        least, wanted = self.target.least, self.wanted
        missing = [tensor for tensor in wanted if tensor not in known]
        if enough(len(wanted) - len(missing), len(wanted), least):
            return missing, None
        try:
            placed = place(self.target.model, self.found.table(), ENGINES[engine])
        except GraphError:
            return missing, None
        lacking = [tensor for tensor in placed.skipped if tensor not in known]
        layers = len(placed.quantised) + len(lacking)
        if not enough(layers - len(lacking), layers, least):
            return missing, None
        return lacking, (
            f"{self.name} names {len(wanted) - len(missing)} of {len(wanted)} tensors, "
            f"{layers - len(lacking)} of the {layers} that layers read: those inside fused layers need none"
        )

    def uncovered(self, unmapped: Sequence[str], otherwise: str) -> str | None:
        """Returns that it names too little of a head; None where it is enough.

        `otherwise` is what to do where the names are those of another network.
        """
        arrived = coverage(self.target.model, TensorArrival(unmapped=unmapped), self.target.heads)
        head, worst = min(
            arrived.items(), key=lambda head: 1.0 if head[1].ratio is None else head[1].ratio
        )
        if enough(worst.mapped, worst.total, self.target.least):
            return None
        return (
            f"{self.name} names {worst.mapped} of the {worst.total} tensors of head {head}, less than "
            f"{self.target.least:.0%}, and not {listed(worst.unmapped, NAMED)}: {self._why(otherwise)}"
        )

    def _why(self, otherwise: str) -> str:
        header = self.found.header
        names = len(self.found.names)
        known = enough(names - len(self.called.unknown), names, self.target.least)
        if header and header.algorithm == FUSED_ONLY and known:
            return (
                f"{header} names no tensor inside a fused layer, and not every engine fuses those; calibrate with "
                "entropy2 or minmax"
            )
        return (
            "its names are likely those of another exporter or another network; "
            f"{otherwise}, or {self.called.advice()}"
        )


def brought(name: str, table: ReadTable, names: Mapping[str, str], target: Target) -> BroughtTable:
    """Brings the table of a file to the names of `target`'s network; `names` is the user's map, theirs → the network's.

    Raises:
        GraphError: see `calibration_model`.
    """
    _, wanted = calibration_model(target.model)
    called = naming(table.names, wanted, names, target.least)
    if called.unmapped and called.affixes is None:
        others = other_names(target.model, target.variants, wanted)
        called = naming(table.names, wanted, names, target.least, others)
    mine = table.renamed(called.names)
    return BroughtTable(name=name, found=mine, wanted=wanted, called=called, target=target)
