"""How one cell's loss is made up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trt_matrix.core.verdicts.budget import Budget

MOST_SPARED = 0.9
"""A cell with a smaller part of the limit's error was spared some of it: it has no shares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Parts of the observed error; they add up to 1 but for an engine better than its simulation."""

    cell: str
    limit: float
    """8 bits' own, with the best table known."""
    table: float
    engine: float
    """0 where the engine is better than exact arithmetic with these scales."""

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """Largest first."""
        named = (("8 bits", self.limit), ("the table", self.table), ("the engine", self.engine))
        return tuple(sorted(named, key=lambda part: -part[1]))

    @property
    def largest(self) -> str:
        return self.parts[0][0]

    @property
    def percents(self) -> Mapping[str, int]:
        """Whole percents of each part, as every output shows them: rounded so that together they are 100."""
        exact = {name: 100 * share for name, share in self.parts}
        found = {name: math.floor(share) for name, share in exact.items()}
        nearest = sorted(exact, key=lambda name: found[name] - exact[name])
        for name in nearest[: 100 - sum(found.values())]:
            found[name] += 1
        return found

    def sentence(self) -> str:
        """Returns `50 % the table, 27 % the engine, 23 % 8 bits`; a part of 0 % is left out."""
        return ", ".join(
            f"{percent} % {name}" for name, percent in self.percents.items() if percent
        )


def shares_of(cell: str, budget: Budget) -> Shares | None:
    """Returns None where nothing was lost, or less than 8 bits must cost: some of it ran in float."""
    if budget.observed < MOST_SPARED * budget.limit:
        return None
    parts = [max(part, 0.0) for part in (budget.limit, budget.calibration, budget.engine)]
    if budget.engine < 0:
        # What exact arithmetic would lose was not lost: the parts are those of the simulation.
        parts = [max(budget.limit, 0.0), max(budget.calibration, 0.0), 0.0]
    total = sum(parts)
    if not total > 0:
        return None
    limit, table, engine = (part / total for part in parts)
    return Shares(cell=cell, limit=limit, table=table, engine=engine)
