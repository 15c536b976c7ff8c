"""Why int8 is no faster than fp32 in one cell, as far as what was recorded tells it."""

from dataclasses import dataclass
from enum import StrEnum


class SlowCause(StrEnum):
    """What a cell's reasons come to, what explains most first."""

    DISTURBED = "disturbed"
    """Something else ran while it was timed."""
    FLOAT = "float"
    """Layers that multiply ran in float."""
    SCATTER = "scatter"
    """Repeats differ by more than their samples: that it is slower is not shown either."""
    GPU = "gpu"
    """The GPU itself computes no faster."""
    LAUNCHES = "launches"
    """The GPU waits for layers to be started."""
    AROUND = "around"
    """The GPU computes faster; what an inference takes besides is more than that saves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowInt8:
    cell: str
    """Its id."""
    ratio: float
    """Its median to fp32's."""
    reasons: tuple[str, ...]
    """Sentences, each with the numbers that it is made of; never empty."""
    cause: SlowCause | None = None
    """The one that explains most; None if none does by itself, and in judgements made before this was recorded."""
    clause: str = ""
    """The same with its numbers, for the second line of the headline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Untimed:
    """Cells whose layers were to be timed one by one, and were not."""

    cells: tuple[str, ...]
    """Ids, in the order of the plan."""
    problem: str
    """In the words of the job."""
