"""Where the parts of a plot of latency against SQNR stand, in pixels; pure geometry, no markup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.report.bars import round_step
from trt_matrix.report.tradeoff import KINDS, Tradeoff, TradeoffPoint

LEFT, RIGHT, TOP, BOTTOM = 48, 388, 22, 252
"""Sides of the plot's inside; around it stand the numbers of the axes."""
WIDTH, HEIGHT = RIGHT + 14, BOTTOM + 44
WIDE = 20.0
"""Where the slowest takes this many times as long as the fastest, the scale is logarithmic."""
ACROSS, UP = 6, 8
"""Steps that each axis has at most."""


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    x: float
    y: float
    number: int | None
    """Of the list beside the plot; None off the front."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    across: tuple[Tick, ...]
    """Latency, in ms."""
    up: tuple[Tick, ...]
    """SQNR, in dB."""
    gate: float | None
    front: str
    """The `d` of a path in steps: as accurate as the next slower one is nothing before it."""
    marks: tuple[tuple[str, tuple[Mark, ...]], ...]
    """By kind, in the order of the legend."""


def plot(tradeoff: Tradeoff) -> Plot:
    """Returns the geometry of a trade-off; the same trade-off gives the same plot."""
    low, high, wide = _latencies(tradeoff.points)
    bottom, top = math.floor(tradeoff.bottom_db), math.ceil(tradeoff.top_db)

    def x(ms: float) -> float:
        share = math.log(ms / low, high / low) if wide else (ms - low) / (high - low)
        return round(LEFT + share * (RIGHT - LEFT), 1)

    def y(db: float) -> float:
        return round(BOTTOM - (db - bottom) / (top - bottom) * (BOTTOM - TOP), 1)

    def mark(point: TradeoffPoint) -> Mark:
        return Mark(x(point.latency_s * 1e3), y(min(point.sqnr_db, tradeoff.top_db)), point.number)

    corners = [mark(point) for point in tradeoff.front]
    steps = "".join(f"H{corner.x}V{corner.y}" for corner in corners[1:])
    by_kind = (
        (kind, tuple(mark(point) for point in tradeoff.points if point.kind == kind))
        for kind in KINDS
    )
    return Plot(
        across=tuple(
            Tick(x(ms), text)
            for ms, text in (_decades(low, high) if wide else _even(low, high, ACROSS))
        ),
        up=tuple(Tick(y(db), text) for db, text in _even(bottom, top, UP)),
        gate=None if tradeoff.gate_sqnr_db is None else y(tradeoff.gate_sqnr_db),
        front=f"M{corners[0].x},{corners[0].y}{steps}",
        marks=tuple((kind, marks) for kind, marks in by_kind if marks),
    )


def _latencies(points: Sequence[TradeoffPoint]) -> tuple[float, float, bool]:
    """Returns the ends of the axis in ms, and whether it is logarithmic."""
    times = [point.latency_s * 1e3 for point in points]
    fastest, slowest = min(times), max(times)
    if slowest / fastest > WIDE:
        return fastest / 1.3, slowest * 1.3, True
    room = 0.1 * (slowest - fastest) or 0.1 * slowest
    return max(0.0, fastest - room), slowest + room, False


def _even(low: float, high: float, steps: int) -> list[tuple[float, str]]:
    """Returns round values of a linear axis, each with its text."""
    step = round_step((high - low) / steps)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, f"{i * step:,.{decimals}f}") for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Returns round values of a logarithmic axis: 1, 2 and 5 of each power of ten, or fewer."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors, every in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        values = [factor * 10.0**power for power in powers[::every] for factor in factors]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= ACROSS + 1:
            break
    return [(value, f"{value:,.{max(0, -math.floor(math.log10(value)))}f}") for value in inside]
