"""One thing that would make int8 better: what it reaches, what it costs, who says so, and how to do it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FixKind(StrEnum):
    TABLE = "table"
    """Another calibration table, which is known."""
    TENSORS = "tensors"
    """A table of which each tensor's range is the best of all known ones."""
    WEIGHTS = "weights"
    """A scale an output channel."""
    LAYERS = "layers"
    """A few layers in float."""
    RANGES = "ranges"
    """One range on both sides of resizings, in a table that is carried into implicit int8."""
    VERSION = "version"
    """Another version of the engine."""
    WAY = "way"
    """Q/DQ nodes in place of implicit scales."""
    IMAGES = "images"
    """Other, or more, calibration images."""


class Basis(StrEnum):
    MEASURED = "measured"
    """By an engine of this run."""
    SIMULATED = "simulated"
    """In exact arithmetic, on the run's own images; no engine has shown it."""
    UNKNOWN = "unknown"
    """Nobody has tried it: what speaks for it is told, and no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptQuality:
    """What a state of the network keeps, heads and boxes; None where that is not known."""

    sqnr_db: Mapping[str, float | None] = field(default_factory=dict)
    """Head → dB against the reference."""
    ap_drop: float | None = None
    """Of the whole network."""
    lost: float | None = None
    """Boxes of the whole network that are lost, of `boxes` of the reference; `new` ones are beside them."""
    new: float | None = None
    boxes: float | None = None
    latency_s: float | None = None
    """Median of one inference of one batch."""
    holds: bool | None = None
    """Whether every gate holds; None where none is set, or not all are known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    kind: FixKind
    what: str
    """`keep 3 layers in float: large/Conv, medium/Conv and small/Conv`."""
    why: str
    """One sentence with the numbers that speak for it."""
    basis: Basis
    now: KeptQuality
    """The cell that it is held against; of what the diagnosis simulated that, on the same images."""
    reaches: KeptQuality
    against: str
    """Id of that cell."""
    needed: bool = True
    """Whether that cell is in use and something is wrong there; what else it is told of comes last."""
    cells: tuple[str, ...] = ()
    """Ids of those that show it; empty of what no engine has shown."""
    predicted: KeptQuality | None = None
    """What was simulated of a measured one: SQNR over all images, boxes as the diagnosis had them."""
    command: str = ""
    """Lines of matrix.yaml, or a command line, that do it; empty where there is no such thing."""

    @property
    def gains_db(self) -> Mapping[str, float]:
        """Head → what it gains; heads of which that is not known are left out."""
        return {
            head: after - before
            for head, before in self.now.sqnr_db.items()
            if before is not None and (after := self.reaches.sqnr_db.get(head)) is not None
        }

    @property
    def action(self) -> str:
        """Returns `what` as something to do: `use the percentile table`."""
        said = self.kind in (FixKind.LAYERS, FixKind.IMAGES)  # these begin with a verb
        return self.what if said else f"use {self.what}"
