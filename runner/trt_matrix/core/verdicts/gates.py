"""Whether one head of one cell, or all of them together, keep their limits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.manifest import Limits
from trt_matrix.core.metrics import Metrics

WHOLE_NETWORK = "whole network"
"""What all heads of a cell together are called where a head's name would stand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """One limit of a head, or of the whole network, and how a cell kept it."""

    name: str
    """As in matrix.yaml: `sqnr_db`, `ap_drop`, `ap50_drop`, `iou`, `lost`."""
    limit: float
    value: float | None
    """None where there is nothing to judge: such a gate does not hold. See `exact`."""
    passed: bool
    exact: bool = False
    """The SQNR of an identical output is no number, and passes."""
    interval: tuple[float, float] | None = None
    """95 %, over images; None where it is unknown."""

    @property
    def unsure(self) -> bool:
        """Whether the limit lies within the interval: other images may decide otherwise."""
        return self.interval is not None and self.interval[0] <= self.limit < self.interval[1]

    def limit_text(self) -> str:
        """Returns `AP drop at most 0.1`."""
        return f"{SPOKEN[self.name].name} {self.side_text()}"

    def text(self) -> str:
        """Returns `AP drop 0.314, at most 0.1`, with the interval where that decides nothing."""
        spoken = SPOKEN[self.name]
        value = "identical" if self.exact else "unknown"
        if self.value is not None:
            value = spoken.value_text(self.value)
        if self.interval and self.unsure:
            value += f" (95 %: {spoken.range_text(*self.interval)})"
        return f"{spoken.name} {value}, {self.side_text()}"

    def side_text(self) -> str:
        """Returns `at most 0.1`."""
        spoken = SPOKEN[self.name]
        return f"{'at most' if spoken.upper else 'at least'} {self.limit:g}{spoken.unit}"


@dataclass(frozen=True, slots=True)
class LimitWords:
    """How people say a limit."""

    name: str
    decimals: int
    unit: str = ""
    upper: bool = True
    """Whether less is better."""

    def value_text(self, value: float) -> str:
        return f"{value:z.{self.decimals}f}{self.unit}"

    def range_text(self, low: float, high: float) -> str:
        """Returns `0.1 to 0.2`, or one of the two where they read the same."""
        ends = self.value_text(low), self.value_text(high)
        return ends[0] if ends[0] == ends[1] else " to ".join(ends)


SPOKEN: Mapping[str, LimitWords] = {
    "sqnr_db": LimitWords("SQNR", 1, " dB", upper=False),
    "ap_drop": LimitWords("AP drop", 3),
    "ap50_drop": LimitWords("AP50 drop", 3),
    "iou": LimitWords("mean IoU", 3, upper=False),
    "lost": LimitWords("share of lost boxes", 3),
}
"""Limits by their names in matrix.yaml."""


def gate_results(
    limits: Limits, error: Metrics | None, boxes: BoxErrors | None
) -> tuple[GateResult, ...]:
    """Judges every limit that is set.

    What cannot be judged (no finite output, boxes that are not known, no box of the reference, no
    labelled object) does not hold: a gate is there to stop what nobody has seen to be good.

    The error is the head's against the reference; the whole network has none.
    """
    changes = boxes.changes[ALL] if boxes else None
    values = {
        "ap_drop": boxes.ap_drop if boxes else None,
        "ap50_drop": boxes.ap50_drop if boxes else None,
        "iou": changes.mean_iou if changes else None,
        "lost": changes.lost_share if changes else None,
    }
    return tuple(
        _sqnr(limit, error)
        if name == "sqnr_db"
        else GateResult(
            name=name,
            limit=limit,
            value=values[name],
            passed=_keeps(name, values[name], limit),
            interval=boxes.intervals.get(name) if boxes else None,
        )
        for name, limit in limits.named.items()
    )


def all_hold(results: Iterable[GateResult]) -> bool | None:
    """None where no limit is set."""
    held = [result.passed for result in results]
    return all(held) if held else None


def _sqnr(limit: float, error: Metrics | None) -> GateResult:
    """A head with NaN or infinite outputs never passes; an identical one always does."""
    finite = error is not None and not error.nonfinite and error.nmse is not None
    value = error.sqnr_db if error is not None and finite else None
    exact = finite and value is None
    return GateResult(
        name="sqnr_db",
        limit=limit,
        value=value,
        passed=exact or _keeps("sqnr_db", value, limit),
        exact=exact,
    )


def _keeps(name: str, value: float | None, limit: float) -> bool:
    if value is None:
        return False
    return value <= limit if SPOKEN[name].upper else value >= limit
