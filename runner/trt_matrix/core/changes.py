"""What changed between two runs of one experiment: pure, from their judgements."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK

LEAST_DB = 0.01
"""Smaller differences of SQNR are no news."""
LEAST_LATENCY = 0.05
"""Nor are smaller relative differences of the median latency, or those whose intervals overlap."""


@dataclass(frozen=True, slots=True)
class RunChange:
    """One thing that is not as it was. `before` or `after` is None where there is nothing."""

    cell: str | None
    """None for what all cells share: the model, the images, the settings."""
    head: str | None
    what: str
    before: Any
    after: Any


def changes(before: Judgement, after: Judgement) -> tuple[RunChange, ...]:
    """Returns every change, inputs first, then cells in the order of the later run."""
    old = {result.id: result for result in before.cells}
    new = {result.id: result for result in after.cells}
    of_cells = (
        change for name in {**new, **old} for change in _cell(name, old.get(name), new.get(name))
    )
    return (*_inputs(before, after), *of_cells)


def _inputs(before: Judgement, after: Judgement) -> Iterable[RunChange]:
    old = {"baseline": before.baseline, **dict(_leaves(before.facts))}
    new = {"baseline": after.baseline, **dict(_leaves(after.facts))}
    for what in dict.fromkeys((*new, *old)):
        if old.get(what) != new.get(what):
            yield RunChange(None, None, what, old.get(what), new.get(what))


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _cell(name: str, old: CellResult | None, new: CellResult | None) -> Iterable[RunChange]:
    if old is None or new is None:
        yield RunChange(name, None, "planned", old and str(old.status), new and str(new.status))
        return
    pairs = {
        "status": (str(old.status), str(new.status)),
        "reason": (old.reason, new.reason),
        "engine version": (old.engine_version, new.engine_version),
        "latency verdict": (_kinds(old), _kinds(new)),
        f"{WHOLE_NETWORK}'s gates": (_failed(old), _failed(new)),
    }
    for what, (pair, other) in pairs.items():
        if pair != other:
            yield RunChange(name, None, what, pair, other)
    yield from _latency(name, old, new)
    heads = {head.head: head for head in old.heads}
    for head in new.heads:
        if head.head in heads:
            yield from _head(name, heads[head.head], head)


def _latency(name: str, old: CellResult, new: CellResult) -> Iterable[RunChange]:
    latency, other = old.latency, new.latency
    if latency is None or other is None:
        return
    apart = latency.high_s < other.low_s or other.high_s < latency.low_s
    if apart and abs(other.median_s / latency.median_s - 1) >= LEAST_LATENCY:
        yield RunChange(name, None, "latency_s", latency.median_s, other.median_s)


def _head(name: str, old: HeadResult, new: HeadResult) -> Iterable[RunChange]:
    metrics, other = old.error, new.error
    if (metrics.sqnr_db is None) != (other.sqnr_db is None) or (
        metrics.sqnr_db is not None
        and other.sqnr_db is not None
        and abs(metrics.sqnr_db - other.sqnr_db) >= LEAST_DB
    ):
        yield RunChange(name, new.head, "sqnr_db", metrics.sqnr_db, other.sqnr_db)
    pairs = {
        "nonfinite": (metrics.nonfinite, other.nonfinite),
        "verdicts": (_kinds(old), _kinds(new)),
        "gates": (_failed(old), _failed(new)),
        "integer share": (old.integer_share, new.integer_share),
    }
    for what, (before, after) in pairs.items():
        if before != after:
            yield RunChange(name, new.head, what, before, after)


def _kinds(result: CellResult | HeadResult) -> str:
    return ", ".join(dict.fromkeys(str(verdict.kind) for verdict in result.verdicts)) or "none"


def _failed(result: CellResult | HeadResult) -> str:
    return "; ".join(gate.text() for gate in result.gates if not gate.passed) or "hold"
