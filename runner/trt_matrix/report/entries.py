"""What one row of the long table is made from, and what its columns take out of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trt_matrix.core.answers.rows import loss_db
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.latency import Latency
from trt_matrix.core.metrics import Metrics
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.budget import Budget
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


def error(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        error: Metrics | None = entry.result.error if entry.result else None
        return getattr(error, name) if error else None

    return value


def budget_end(part: str, end: int) -> Callable[[Entry], Any]:
    def of(entry: Entry) -> Any:
        budget: Budget | None = entry.result.budget if entry.result else None
        ends = budget.intervals.get(part) if budget else None
        return ends[end] if ends else None

    return of


def budget(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        budget: Budget | None = entry.result.budget if entry.result else None
        return getattr(budget, name) if budget else None

    return value


def latency(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        latency: Latency | None = entry.cell.latency
        return getattr(latency, name) if latency else None

    return value


def box_changes(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        return getattr(boxes.total, name) if boxes else None

    return value


def precision(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        return getattr(boxes.precision[ALL], name) if boxes and boxes.precision else None

    return value


def drop(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        return getattr(boxes, name) if boxes else None

    return value


def ap_end(name: str, end: int) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        boxes = entry.result.boxes if entry.result else None
        ends = boxes.intervals.get(name) if boxes else None
        return ends[end] if ends else None

    return value


def failed_gates(entry: Entry) -> Any:
    gates = entry.result.gates if entry.result else ()
    return [gate.text() for gate in gates if not gate.passed]


def network_failed(entry: Entry) -> Any:
    return [gate.text() for gate in entry.cell.gates if not gate.passed]


def sqnr_limit(entry: Entry) -> Any:
    gates = entry.result.gates if entry.result else ()
    return next((gate.limit for gate in gates if gate.name == "sqnr_db"), None)


def result_field(name: str) -> Callable[[Entry], Any]:
    return lambda entry: getattr(entry.result, name) if entry.result else None


def names(name: str) -> Callable[[Entry], Any]:
    return lambda entry: list(getattr(entry.result, name)) if entry.result else []


def counted(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        counts = getattr(entry.result, name) if entry.result else {}
        return [f"{kind}:{number}" for kind, number in sorted(counts.items())]

    return value


def verdict_kinds(entry: Entry) -> Any:
    verdicts = entry.result.verdicts if entry.result else ()
    return distinct(str(verdict.kind) for verdict in verdicts)


def factors(part: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        verdicts = entry.result.verdicts if entry.result else ()
        found = (getattr(verdict.attribution, part) for verdict in verdicts if verdict.attribution)
        names = dict.fromkeys(change.factor for changes in found for change in changes)
        return list(names)

    return value


def _worst(entry: Entry) -> Verdict | None:
    """Returns the verdict, of those that say that something is wrong or may be, with the largest effect."""
    found = [
        (loss, verdict)
        for verdict in (entry.result.verdicts if entry.result else ())
        if verdict.kind is not Kind.OK and (loss := loss_db(verdict)) is not None
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def effect(name: str) -> Callable[[Entry], Any]:
    def value(entry: Entry) -> Any:
        worst = _worst(entry)
        found = getattr(worst.effect, name) if worst and worst.effect else None
        return found if found is not None and math.isfinite(found) else None

    return value


def bound_db(entry: Entry) -> Any:
    bounds = [verdict.bound_db for verdict in entry.result.verdicts] if entry.result else []
    return next((bound for bound in bounds if bound is not None), None)


def latency_verdicts(entry: Entry) -> Any:
    return [str(verdict.kind) for verdict in entry.cell.verdicts]


def against_fp32_db(entry: Entry) -> Any:
    against = entry.result.against_fp32 if entry.result else None
    return against.sqnr_db if against else None
