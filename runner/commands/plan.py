"""What `trt-matrix plan` tells: every cell, what it takes, what is known, why it cannot run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.cells import Cell
from runner.core.words import count


@dataclass(frozen=True, slots=True)
class Planned:
    cells: Sequence[Cell]
    known: Mapping[str, int]
    """cell id → repeats that are known already."""
    repeats: int
    """Of every cell, where not fewer were recorded."""
    most_repeats: int
    """Of a cell that is not decided before."""
    bytes_a_repeat: int
    """Size of the outputs of one repeat of one cell, before equal ones are shared."""
    notes: Sequence[str] = ()
    """What is to be known of the network and its heads: quantised already, rows that are ranked."""

    def text(self) -> str:
        width = max(len(cell.id) for cell in self.cells)
        lines = [*self.notes]
        lines += [f"{cell.id:<{width}}  {self._fate(cell)}" for cell in self.cells]
        runnable = [cell for cell in self.cells if cell.obstacle is None]
        starts = sum(cell.repeats(self.repeats) - self.known.get(cell.id, 0) for cell in runnable)
        size = starts * self.bytes_a_repeat / 1e6
        lines.append(
            f"{count(len(self.cells), 'cell')}, {len(runnable)} can run here: "
            f"{count(starts, 'measurement')} to make, {size:.0f} MB of outputs at most"
        )
        if self.most_repeats > self.repeats:
            lines.append(
                f"cells that {count(self.repeats, 'repeat')} cannot decide get up to "
                f"{self.most_repeats}"
            )
        return "\n".join(lines)

    def summary(self) -> Mapping[str, Any]:
        return {
            "notes": list(self.notes),
            "cells": [
                {
                    "id": cell.id,
                    "environment": cell.environment,
                    "device": cell.device,
                    "pass": cell.pass_.name,
                    "status": str(cell.obstacle[0]) if cell.obstacle else "planned",
                    "reason": cell.obstacle[1] if cell.obstacle else None,
                    "repeats": cell.repeats(self.repeats),
                    "most_repeats": cell.repeats(self.most_repeats),
                    "reused": self.known.get(cell.id, 0),
                    "bytes": cell.repeats(self.repeats) * self.bytes_a_repeat,
                }
                for cell in self.cells
            ],
        }

    def _fate(self, cell: Cell) -> str:
        if cell.obstacle is not None:
            status, reason = cell.obstacle
            return f"{status}: {reason}"
        known, repeats = self.known.get(cell.id, 0), cell.repeats(self.repeats)
        if known >= repeats:
            return f"known: {count(known, 'repeat')} reused"
        return count(repeats - known, "repeat") + (f", {known} reused" if known else "")
