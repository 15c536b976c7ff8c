"""A table of the user's own, given to every environment: what the run needs of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.tables.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenTable:
    """A table of a file, by the names of the network."""

    file: str
    """As matrix.yaml names it."""
    table: Table
    values: Mapping[str, float]
    """Tensor → largest magnitude as the file has it, also what cannot be a range."""
    scales: bool
    """Whether the file holds scales; else it holds largest magnitudes."""
    facts: Mapping[str, Any]
    """What a run writes down of it: its form, its maker, the file's hash, what was told of it."""
    notes: tuple[str, ...] = ()
    """How it was read."""
    doubts: tuple[str, ...] = ()
    """What it lacks, and what is wrong in it."""
