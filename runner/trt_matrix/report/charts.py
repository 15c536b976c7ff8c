"""The rows of the two charts with the places of their marks: error budgets and latencies."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from trt_matrix.core.collecting import present
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.report.bars import (
    BarScale,
    BudgetBar,
    LatencyMark,
    budget_bar,
    budget_scale,
    latency_mark,
    latency_scale,
)
from trt_matrix.report.views import PassGroup, Row, rows


class Drawn(NamedTuple):
    row: Row
    budget: Budget | None
    bar: BudgetBar | None
    baseline: float | None
    """Where the baseline's observed error stands; None for the baseline itself."""


class BudgetGroup(NamedTuple):
    group: PassGroup
    drawn: tuple[Drawn, ...]


class BudgetChart(NamedTuple):
    head: str
    axis: BarScale
    gate_sqnr_db: float | None
    gate_nmse: float | None
    groups: tuple[BudgetGroup, ...]


def budget_chart(groups: Sequence[PassGroup], head: str) -> BudgetChart | None:
    """Returns the chart of one head; None where no cell has a budget for it."""
    chosen = [
        (group, [(row, _drawable(row.head(head))) for row in group.rows])
        for group in groups
        if group.pass_.is_int8 and not group.pass_.mixed
    ]
    budgets = [budget for _, pairs in chosen for _, budget in pairs if budget]
    if not budgets:
        return None
    results = present(row.head(head) for row in rows(groups))
    gate_db = max(present(result.gate_sqnr_db for result in results), default=None)
    gate_nmse = None if gate_db is None else 10.0 ** (-gate_db / 10)
    axis = budget_scale(budgets, gate_nmse)
    return BudgetChart(
        head=head,
        axis=axis,
        gate_sqnr_db=gate_db,
        gate_nmse=gate_nmse,
        groups=tuple(
            BudgetGroup(
                group,
                tuple(
                    Drawn(
                        row, pair, budget_bar(pair, axis) if pair else None, _step(row, head, axis)
                    )
                    for row, pair in pairs
                ),
            )
            for group, pairs in chosen
        ),
    )


def _step(row: Row, head: str, axis: BarScale) -> float | None:
    budget = _drawable(row.baseline.head(head) if row.baseline else None)
    return axis.at(budget.observed) if budget else None


def _drawable(result: HeadResult | None) -> Budget | None:
    """Returns the budget where it can be drawn: overflowed sums have no place on a scale."""
    budget = result.budget if result else None
    if budget is None:
        return None
    parts = (budget.observed, budget.limit, budget.calibration, budget.engine, budget.noise or 0.0)
    return budget if all(math.isfinite(part) for part in parts) else None


class TimedRow(NamedTuple):
    row: Row
    mark: LatencyMark


class LatencyGroup(NamedTuple):
    group: PassGroup
    timed: tuple[TimedRow, ...]


class LatencyChart(NamedTuple):
    """One device, or devices would be compared where versions are to be."""

    device: str
    axis: BarScale
    groups: tuple[LatencyGroup, ...]


def latency_charts(groups: Sequence[PassGroup]) -> tuple[LatencyChart, ...]:
    timed = [row for row in rows(groups) if row.result.latency]
    devices = dict.fromkeys(row.result.device for row in timed)
    return tuple(_latency_chart(groups, device) for device in devices)


def _latency_chart(groups: Sequence[PassGroup], device: str) -> LatencyChart:
    chosen = [
        (
            group,
            [(row, row.result.latency) for row in group.rows if row.result.device == device],
        )
        for group in groups
    ]
    axis = latency_scale(pair for _, pairs in chosen for _, pair in pairs if pair)
    drawn = (
        LatencyGroup(
            group, tuple(TimedRow(row, latency_mark(pair, axis)) for row, pair in pairs if pair)
        )
        for group, pairs in chosen
    )
    return LatencyChart(device, axis, tuple(group for group in drawn if group.timed))
