"""What one row of the long table is made from, and what its columns take out of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.answers.rows import loss_db
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What one row is made from; `result` is None where the cell did not run."""

    judgement: Judgement
    cell: CellResult
    head: str
    result: HeadResult | None
    severity: Severity | None = None
    """None where nothing was found there."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.result.verdicts if self.result else ()


Value = Callable[[Entry], Any]


def _fields_of(part: Value) -> Callable[[str], Value]:
    """Returns the way to the fields of a part of an entry; None where it has no such part."""
    return lambda name: (
        lambda entry: getattr(owner, name) if (owner := part(entry)) is not None else None
    )


def _ends_of(part: Value) -> Callable[[str, int], Value]:
    """Returns the way to the ends of a part's intervals: 0 is the lower one."""

    def value(entry: Entry, name: str, end: int) -> Any:
        owner = part(entry)
        ends = owner.intervals.get(name) if owner else None
        return ends[end] if ends else None

    return lambda name, end: lambda entry: value(entry, name, end)


def _budget(entry: Entry) -> Any:
    return entry.result and entry.result.budget


def _boxes(entry: Entry) -> Any:
    return entry.result and entry.result.boxes


def _effect(entry: Entry) -> Any:
    """Returns the largest effect of the verdicts that say that something is wrong, or may be."""
    losses = [
        (loss, verdict.effect)
        for verdict in entry.verdicts
        if verdict.kind is not Kind.OK and (loss := loss_db(verdict)) is not None
    ]
    return max(losses, key=lambda pair: pair[0])[1] if losses else None


result_field = _fields_of(lambda entry: entry.result)
error = _fields_of(lambda entry: entry.result and entry.result.error)
against_fp32 = _fields_of(lambda entry: entry.result and entry.result.against_fp32)
cell = _fields_of(lambda entry: entry.cell)
latency = _fields_of(lambda entry: entry.cell.latency)
budget = _fields_of(_budget)
budget_end = _ends_of(_budget)
boxes = _fields_of(_boxes)
box_changes = _fields_of(lambda entry: (errors := _boxes(entry)) and errors.total)
precision = _fields_of(lambda entry: (errors := _boxes(entry)) and errors.precision.get(ALL))
ap_end = _ends_of(_boxes)


def effect(name: str) -> Value:
    """Returns the way to a field of `_effect`; None where it is not finite."""

    def value(entry: Entry) -> Any:
        number = _fields_of(_effect)(name)(entry)
        return number if number is not None and math.isfinite(number) else None

    return value


def failed_gates(entry: Entry) -> Any:
    gates = entry.result.gates if entry.result else ()
    return [gate.text() for gate in gates if not gate.passed]


def network_failed(entry: Entry) -> Any:
    return [gate.text() for gate in entry.cell.gates if not gate.passed]


def sqnr_limit(entry: Entry) -> Any:
    gates = entry.result.gates if entry.result else ()
    return next((gate.limit for gate in gates if gate.name == "sqnr_db"), None)


def names(name: str) -> Value:
    return lambda entry: list(getattr(entry.result, name)) if entry.result else []


def counted(name: str) -> Value:
    def value(entry: Entry) -> Any:
        counts = getattr(entry.result, name) if entry.result else {}
        return [f"{kind}:{number}" for kind, number in sorted(counts.items())]

    return value


def verdict_kinds(entry: Entry) -> Any:
    return distinct(str(verdict.kind) for verdict in entry.verdicts)


def factors(part: str) -> Value:
    return lambda entry: distinct(
        change.factor
        for verdict in entry.verdicts
        if verdict.attribution
        for change in getattr(verdict.attribution, part)
    )


def bound_db(entry: Entry) -> Any:
    bounds = (verdict.bound_db for verdict in entry.verdicts)
    return next((bound for bound in bounds if bound is not None), None)


def latency_verdicts(entry: Entry) -> Any:
    return [str(verdict.kind) for verdict in entry.cell.verdicts]
