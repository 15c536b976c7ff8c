"""What `trt-matrix plan` tells: every cell, what it takes, what is known, why it cannot run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trt_matrix.core.cells import Cell
from trt_matrix.core.words import count


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
    running_bytes: int = 0
    """Outputs of all that would run, known or not, while it runs; 0 where nobody asked."""
    kept: Mapping[str, int] = field(default_factory=dict)
    """What stays of all that, at most → its size."""
    fetch: Mapping[str, Mapping[str, int] | str] = field(default_factory=dict)
    """Environment → package → bytes to fetch before it runs, or why it cannot be made."""
    notes: Sequence[str] = ()
    """What is to be known of the network and its heads: quantised already, rows that are ranked."""

    def text(self) -> str:
        width = max(len(cell.id) for cell in self.cells)
        lines = [*self.notes]
        lines += [f"{cell.id:<{width}}  {self._fate(cell)}" for cell in self.cells]
        lines += [f"{name}: {_fetched(sizes)}" for name, sizes in self.fetch.items()]
        runnable = [cell for cell in self.cells if cell.obstacle is None]
        starts = sum(cell.repeats(self.repeats) - self.known.get(cell.id, 0) for cell in runnable)
        size = starts * self.bytes_a_repeat / 1e6
        lines.append(
            f"{count(len(self.cells), 'cell')}, {len(runnable)} can run here: "
            f"{count(starts, 'measurement')} to make, {size:.0f} MB of outputs at most"
        )
        if self.kept:
            each = ", ".join(f"{size / 1e6:.0f} MB of {name}" for name, size in self.kept.items())
            lines.append(
                f"on disk: up to {self.running_bytes / 1e6:.0f} MB of outputs while it runs, those of simulations "
                f"among them; what stays is at most {sum(self.kept.values()) / 1e6:.0f} MB ({each}) and what is "
                "small: what is computed of them, records; `trt-matrix gc` frees what no run needs"
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
            "running_bytes": self.running_bytes,
            "kept_bytes": dict(self.kept),
            "fetch": dict(self.fetch),
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


def _fetched(sizes: Mapping[str, int] | str) -> str:
    """Returns `1.7 GB of packages to fetch first (nvidia-cudnn-cu11 0.7, …)`; the large ones by name."""
    if isinstance(sizes, str):
        return sizes
    large = sorted(((size, name) for name, size in sizes.items() if size > LARGE), reverse=True)
    named = f" ({', '.join(f'{name} {size / 1e9:.1f}' for size, name in large)})" if large else ""
    return f"{sum(sizes.values()) / 1e9:.1f} GB of packages to fetch first{named}"


LARGE = 50_000_000
"""Bytes of a package that is worth its name."""
