"""What `trt-matrix diff RUN_A RUN_B` tells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from trt_matrix.core.changes import RunChange

LONGEST = 100


@dataclass(frozen=True, slots=True)
class RunDifference:
    before: str
    """Id of the earlier run."""
    after: str
    changes: Sequence[RunChange]

    def text(self) -> str:
        lines = [f"{self.before} → {self.after}"]
        for cell, group in groupby(self.changes, key=lambda change: change.cell):
            lines.append(cell or "inputs, for all cells")
            lines += [f"  {_told(change)}" for change in group]
        if not self.changes:
            lines.append("nothing changed")
        return "\n".join(lines)

    def summary(self) -> Mapping[str, Any]:
        return {
            "before": self.before,
            "after": self.after,
            "changes": [asdict(change) for change in self.changes],
        }


def _told(change: RunChange) -> str:
    where = f"{change.head}: " if change.head else ""
    if change.what == "planned":
        return "is new" if change.before is None else "is no longer planned"
    return f"{where}{change.what} {_value(change, change.before)} → {_value(change, change.after)}"


def _value(change: RunChange, value: Any) -> str:
    if value is None:
        return "exact" if change.what == "sqnr_db" else "–"
    if change.what == "sqnr_db":
        return f"{value:z.2f} dB"
    if change.what == "latency_s":
        return f"{1e3 * value:.3g} ms"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
