"""Whether one head of one int8 cell keeps its limits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runner.core.box_results import ALL, BoxErrors
from runner.core.metrics import Metrics
from runner.records import HeadGate


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """One limit of a head and how a cell kept it."""

    name: str
    """As in matrix.yaml: `sqnr_db`, `ap_drop`, `ap50_drop`, `iou`, `lost`."""
    limit: float
    value: float | None
    """None where there is nothing to judge: such a gate does not hold. See `exact`."""
    passed: bool
    exact: bool = False
    """The SQNR of an identical output is no number, and passes."""

    def text(self) -> str:
        """Returns `AP drop 0.314, at most 0.1`."""
        spoken, direction, decimals, unit = SPOKEN[self.name]
        if self.value is None:
            return (
                f"{spoken} {'exact' if self.exact else 'unknown'}, {direction} {self.limit:g}{unit}"
            )
        return f"{spoken} {self.value:.{decimals}f}{unit}, {direction} {self.limit:g}{unit}"


SPOKEN: Mapping[str, tuple[str, str, int, str]] = {
    "sqnr_db": ("SQNR", "at least", 1, " dB"),
    "ap_drop": ("AP drop", "at most", 3, ""),
    "ap50_drop": ("AP50 drop", "at most", 3, ""),
    "iou": ("mean IoU", "at least", 3, ""),
    "lost": ("share of lost boxes", "at most", 3, ""),
}
"""Name → what people call it, which side of the limit is good, decimals, unit."""


def gate_results(gate: HeadGate, error: Metrics, boxes: BoxErrors | None) -> tuple[GateResult, ...]:
    """Judges every limit that is set.

    What cannot be judged (no finite output, boxes that are not known, no box of the reference, no
    labelled object) does not hold: a gate is there to stop what nobody has seen to be good.

    Args:
        gate: The head's limits.
        error: Against the reference.
        boxes: None where they are not known.
    """
    changes = boxes.changes[ALL] if boxes else None
    results = [
        _sqnr(gate.sqnr_db, error),
        _at_most("ap_drop", gate.ap_drop, boxes.ap_drop if boxes else None),
        _at_most("ap50_drop", gate.ap50_drop, boxes.ap50_drop if boxes else None),
        _at_least("iou", gate.iou, changes.mean_iou if changes else None),
        _at_most("lost", gate.lost, changes.lost_share if changes else None),
    ]
    return tuple(one for one in results if one)


def all_hold(results: Iterable[GateResult]) -> bool | None:
    """None where no limit is set."""
    held = [one.passed for one in results]
    return all(held) if held else None


def _sqnr(limit: float | None, error: Metrics) -> GateResult | None:
    """A head with NaN or infinite outputs never passes; an identical one always does."""
    if limit is None:
        return None
    if error.nonfinite or error.nmse is None:
        return GateResult(name="sqnr_db", limit=limit, value=None, passed=False)
    exact = error.sqnr_db is None
    passed = exact or (error.sqnr_db is not None and error.sqnr_db >= limit)
    return GateResult(name="sqnr_db", limit=limit, value=error.sqnr_db, passed=passed, exact=exact)


def _at_most(name: str, limit: float | None, value: float | None) -> GateResult | None:
    if limit is None:
        return None
    return GateResult(
        name=name, limit=limit, value=value, passed=value is not None and value <= limit
    )


def _at_least(name: str, limit: float | None, value: float | None) -> GateResult | None:
    if limit is None:
        return None
    return GateResult(
        name=name, limit=limit, value=value, passed=value is not None and value >= limit
    )
