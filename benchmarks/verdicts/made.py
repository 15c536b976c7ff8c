"""A made-up matrix, and what is true of it: nothing here knows the code that judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BASELINE = "v0"

NO_CLAIM = frozenset({"ok", "inconclusive", "not_comparable"})
"""Kinds of verdict that accuse nobody; every other one claims something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One cell."""

    environment: str
    device: str
    pass_: str
    """As in reports: `int8-shared-entropy`."""
    errors: Floats
    """Σd² per head, build and image, shape (H, K, n); K = 0 where it did not run."""
    table: str | None = None
    placement: str | None = None
    fixed: bool = False
    """Builds of it cannot differ."""
    share: float | None = None
    """How much of the heads' computation integer kernels executed."""
    broken: Mapping[int, str] = field(default_factory=dict)
    """Index of a head → `nan`, `inf`, `zero`, `constant` or `same`: what became of its output."""

    @property
    def id(self) -> str:
        return f"{self.environment}/{self.device}/{self.pass_}"

    @property
    def int8(self) -> bool:
        return self.pass_.startswith("int8")

    @property
    def implicit(self) -> bool:
        return "implicit" in self.pass_

    @property
    def own(self) -> bool:
        return "-own" in self.pass_

    @property
    def precision(self) -> str:
        return self.pass_.split("-", maxsplit=1)[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plant:
    """One thing that is wrong."""

    cells: frozenset[str]
    """Where: ids of cells."""
    heads: frozenset[str]
    named: frozenset[str]
    """Kinds of verdict that name it."""
    size_db: float
    findable: bool = True
    """Whether a good statistician would find it in these numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    heads: tuple[str, ...]
    energy: Floats
    """Σr² per head and image, shape (H, n)."""
    cells: tuple[Made, ...]
    simulations: Mapping[tuple[str, str], Floats]
    """(placement, table) → Σd² per head and image."""
    gates: Mapping[str, float]
    """Head → NMSE that its int8 cells may have; heads without a gate are left out."""
    plants: tuple[Plant, ...] = ()
    allowed: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """(cell, head) → kinds that are true there; every other claim is false."""
    broken_reference: Mapping[int, str] = field(default_factory=dict)
    """Index of a head → what became of the reference's output."""

    @property
    def guilty(self) -> frozenset[tuple[str, str]]:
        """(cell, head) where something was planted."""
        return frozenset(
            (cell, head) for plant in self.plants for cell in plant.cells for head in plant.heads
        )
