"""Lines over versions: what heads keep, AP, and time, old to new, with the step marked; an SVG of our own.

A line joins versions of one engine on one device, with one table. On the narrowest screens it is scaled down, and
its text up as much (report.css), so none is under 12 px; colours are classes of the page's style.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from trt_matrix.core import severity
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.cells import Pass, Precision, Status
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.rounding import AP_DECIMALS, db_apart, difference
from trt_matrix.core.words import visible
from trt_matrix.report.formatting import fixed, short
from trt_matrix.report.views import pass_title

WIDTH, HEIGHT = 384, 212
LEFT, TOP, BOTTOM = 52, 30, 28
LEAST_RIGHT, MOST_RIGHT = 104, 190
"""For what stands at the ends of lines."""
CHARACTER = 8.6
"""Pixels of one, of the widest font in its largest size."""
MOST_LINES = 4
LABELS = 7
"""Versions that are named under the axis; of more each n-th."""
DOTS = 12
"""Versions from which on points are left out."""
STEP_DB = 0.1
STEP_TIME = 1.1
FEWEST = 3
"""Marks on an axis."""
GAP = 14
"""Least distance of two labels, in pixels."""


class Line(NamedTuple):
    label: str
    values: tuple[float | None, ...]
    """One a version; None where it is not known."""
    floating: bool = False
    ranges: tuple[tuple[float, float] | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    title: str
    note: str
    svg: Markup


def panels(judgement: Judgement) -> tuple[Panel, ...]:
    """Returns three at most; none where fewer than two versions of one engine gave anything."""
    columns = _columns(judgement)
    if len(columns) < 2:
        return ()
    names = _labels([one.environment for one in columns])
    passes = _passes(columns)
    if not passes:
        return ()
    first = passes[0]
    found = [
        _decibels(judgement, columns, names, first),
        _precision(judgement, columns, names, passes),
        _times(columns, names, passes),
    ]
    return tuple(one for one in found if one)


class VersionColumn(NamedTuple):
    environment: str
    cells: dict[Pass, CellResult]


def _columns(judgement: Judgement) -> list[VersionColumn]:
    """Returns the versions of the baseline's engine on the device that has most, each version once."""
    ok = [one for one in judgement.judged if one.status is Status.OK and one.heads]
    engines = {one.cell.environment: next(iter(one.versions), None) for one in ok}
    engine = engines.get(judgement.baseline)
    mine = [one for one in ok if engines[one.cell.environment] == engine]
    devices = [one.cell.device for one in mine if one.cell.environment == judgement.baseline]
    columns: dict[str, dict[Pass, CellResult]] = {}
    versions: dict[str, str] = {}
    for one in mine:
        if devices and one.cell.device == devices[0]:
            name = one.cell.environment
            version = next(iter(one.versions.values()), name)
            if versions.setdefault(version, name) == name:
                columns.setdefault(name, {})[one.cell.pass_] = one
    return [VersionColumn(name, cells) for name, cells in columns.items()]


def _passes(columns: Sequence[VersionColumn]) -> list[Pass]:
    """Returns the int8 passes that most versions ran, the first of the plan first."""
    found: dict[Pass, int] = {}
    for one in columns:
        for pass_ in one.cells:
            if pass_.precision is Precision.INT8 and not pass_.mixed:
                found[pass_] = found.get(pass_, 0) + 1
    most = max(found.values(), default=0)
    return [pass_ for pass_, number in found.items() if number == most and number > 1]


def _labels(names: Sequence[str]) -> list[str]:
    """Returns the names without what all of them begin with, up to the first digit that differs."""
    start = 0
    while all(len(name) > start for name in names) and len({name[start] for name in names}) == 1:
        start += 1
    while start and (names[0][start - 1].isdigit() or names[0][start - 1] == "."):
        start -= 1
    return [visible(short(name[start:], 10)) for name in names]


def _values(
    columns: Sequence[VersionColumn], pass_: Pass, of: Callable[[CellResult], float | None]
) -> tuple[float | None, ...]:
    return tuple(_finite(of(one.cells[pass_])) if pass_ in one.cells else None for one in columns)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _decibels(
    judgement: Judgement, columns: Sequence[VersionColumn], names: Sequence[str], pass_: Pass
) -> Panel | None:
    def of(head: str) -> Callable[[CellResult], float | None]:
        return lambda cell: next(
            (one.error.sqnr_db for one in cell.heads if one.head == head), None
        )

    lines = [Line(head, _values(columns, pass_, of(head))) for head in judgement.heads]
    gates = [
        (one.head, one.gate_sqnr_db)
        for one in (columns[0].cells[pass_].heads if pass_ in columns[0].cells else ())
        if one.gate_sqnr_db is not None
    ]
    by_gate: dict[float, list[str]] = {}
    for head, gate in gates:
        by_gate.setdefault(gate, []).append(head)
    return _panel(
        "Signal kept, dB",
        f"{pass_title(pass_)}. One axis for all heads.",
        names,
        _worst(lines),
        gates=[(gate, f"gate {gate:g}") for gate in by_gate],
        steps=_steps(
            lines, lambda a, b: db_apart(b, a), STEP_DB, lambda change: f"{_sign(change)} dB"
        ),
        decimals=1,
    )


def _worst(lines: Sequence[Line]) -> list[Line]:
    known = [one for one in lines if any(value is not None for value in one.values)]
    return sorted(known, key=lambda one: min(v for v in one.values if v is not None))[:MOST_LINES]


def _precision(
    judgement: Judgement,
    columns: Sequence[VersionColumn],
    names: Sequence[str],
    passes: Sequence[Pass],
) -> Panel | None:
    def ap(cell: CellResult) -> float | None:
        whole = cell.boxes.whole if cell.boxes else None
        return whole.precision[ALL].ap if whole and ALL in whole.precision else None

    fp32 = Pass(precision=Precision.FP32)
    lines = [
        Line("FP32", _values(columns, fp32, ap), floating=True),
        *(Line(_short_pass(one), _values(columns, one, ap)) for one in passes[: MOST_LINES - 1]),
    ]
    known = [one for one in lines if any(value is not None for value in one.values)]
    if not any(not one.floating for one in known) or judgement.boxes is None:
        return None
    return _panel(
        "AP of the network", "Overlap 0.50 to 0.95; 1 is best.", names, known, decimals=3, gates=[],
        steps=_steps(known, lambda a, b: difference(b, a, AP_DECIMALS), severity.AP[0], lambda change: f"{_sign(change, AP_DECIMALS)} AP"),
    )  # fmt: skip


def _times(
    columns: Sequence[VersionColumn], names: Sequence[str], passes: Sequence[Pass]
) -> Panel | None:
    def ms(cell: CellResult) -> float | None:
        return 1e3 * cell.latency.median_s if cell.latency else None

    batches = {cell.latency.batch for one in columns for cell in one.cells.values() if cell.latency}
    if len(batches) != 1:
        return None
    fp32 = Pass(precision=Precision.FP32)
    lines = [
        Line("FP32", _values(columns, fp32, ms), floating=True, ranges=_ranges(columns, fp32)),
        *(
            Line(_short_pass(one), _values(columns, one, ms), ranges=_ranges(columns, one))
            for one in passes[: MOST_LINES - 1]
        ),
    ]
    known = [one for one in lines if sum(value is not None for value in one.values) > 1]
    return _panel(
        f"Time of {'one image' if batches == {1} else f'a batch of {batches.pop()}'}, ms",
        "Median; bars: 95 % of the median.",
        names, known, decimals=2, gates=[], steps=[], least=0.0,
    )  # fmt: skip


def _ranges(
    columns: Sequence[VersionColumn], pass_: Pass
) -> tuple[tuple[float, float] | None, ...]:
    found = []
    for one in columns:
        latency = one.cells[pass_].latency if pass_ in one.cells else None
        found.append((1e3 * latency.low_s, 1e3 * latency.high_s) if latency else None)
    return tuple(found)


def _short_pass(pass_: Pass) -> str:
    source = None if pass_.source == "shared" and pass_.algorithm else pass_.source
    parts = ("impl." if pass_.implicit else None, source, pass_.algorithm)
    return " ".join(str(one) for one in parts if one) or str(pass_.precision).upper()


def _sign(value: float, decimals: int = 1) -> str:
    return f"{'+' if value > 0 else '−'}{abs(value):.{decimals}f}"


def _steps(
    lines: Iterable[Line],
    change: Callable[[float, float], float],
    least: float,
    told: Callable[[float], str],
) -> list[tuple[int, str]]:
    """Returns (place of the version, its largest change), for those that no neighbour repeats."""
    found: dict[int, float] = {}
    for line in lines:
        for index in range(1, len(line.values)):
            before, after = line.values[index - 1], line.values[index]
            if before is not None and after is not None and not line.floating:
                moved = change(before, after)
                if abs(moved) >= least and abs(moved) > abs(found.get(index, 0.0)):
                    found[index] = moved
    if len(found) > 3:
        worst = sorted(found, key=lambda one: -abs(found[one]))[:3]
        found = {index: found[index] for index in worst}
    return [(index, told(moved)) for index, moved in sorted(found.items())]


def _panel(
    title: str,
    note: str,
    names: Sequence[str],
    lines: Sequence[Line],
    *,
    gates: Sequence[tuple[float, str]],
    steps: Sequence[tuple[int, str]],
    decimals: int,
    least: float | None = None,
) -> Panel | None:
    known = [v for line in lines for v in line.values if v is not None]
    if not known:
        return None
    known += [end for line in lines for one in line.ranges if one for end in one]
    known += [gate for gate, _ in gates]
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    ends = _told_ends(lines, gates, decimals)
    longest = CHARACTER * max(len(text) for _, text, _ in ends) + 8
    right = round(min(max(longest, LEAST_RIGHT), MOST_RIGHT))
    axis = _Axis(low - room if least is None else least, high + room, len(names), right)
    parts = [*axis.grid(), *axis.names(names), *_gates(axis, gates), *_marks(axis, names, steps)]
    for line in lines:
        parts += _line(axis, line)
    parts += _ends(axis, ends)
    described = "; ".join(
        f"{line.label}: {_listed([fixed(one, decimals) for one in line.values])}" for line in lines
    )
    label = escape(f"{title}. Versions {_listed(names)}. {visible(described)}")
    svg = (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )
    return Panel(title=title, note=note, svg=Markup(svg))  # noqa: S704 - all text in it is escaped


def _listed(values: Sequence[str]) -> str:
    """Returns all, or of more than can be heard the first and the last ones."""
    if len(values) <= 2 * DOTS:
        return ", ".join(values)
    return f"{', '.join(values[:DOTS])}, …, {', '.join(values[-DOTS:])}"


class _Axis:
    def __init__(self, low: float, high: float, columns: int, right: int) -> None:
        self.low, self.high, self.columns = low, high, columns
        self.end = WIDTH - right

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def x(self, index: float) -> float:
        inner = self.end - LEFT - 16
        return round(LEFT + 8 + inner * index / max(self.columns - 1, 1), 1)

    def grid(self) -> list[str]:
        step, ticks = _round((self.high - self.low) / 3), [0.0]
        while len(ticks) < FEWEST:
            ticks = [
                step * n
                for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
            ]
            step = step if len(ticks) >= FEWEST else _round(step / 2.5)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [
            f'<path class="ax" d="M{LEFT} {self.y(tick)}H{self.end}"/>'
            f'<text x="{LEFT - 6}" y="{self.y(tick) + 4}" text-anchor="end">{fixed(tick, decimals)}</text>'
            for tick in ticks
        ]

    def names(self, names: Sequence[str]) -> list[str]:
        width = max(len(one) for one in names)
        fitting = max(2, min(LABELS, int((self.end - LEFT) / (CHARACTER * width + 6))))
        every = math.ceil(len(names) / fitting)
        chosen = {len(names) - 1 - every * n for n in range(fitting)}
        return [
            f'<text x="{self.x(index)}" y="{HEIGHT - 8}" text-anchor="middle">{escape(name)}</text>'
            for index, name in enumerate(names)
            if index in chosen
        ]


def _round(least: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(least))
    return next(
        factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= least * (1 - 1e-9)
    )


def _gates(axis: _Axis, gates: Sequence[tuple[float, str]]) -> list[str]:
    return [f'<path class="gateline" d="M{LEFT} {axis.y(gate)}H{axis.end}"/>' for gate, _ in gates]


def _marks(axis: _Axis, names: Sequence[str], steps: Sequence[tuple[int, str]]) -> list[str]:
    parts = []
    for index, _ in steps:
        x = axis.x(index - 0.5)
        parts.append(f'<path class="stepline" d="M{x} {TOP - 6}V{HEIGHT - BOTTOM}"/>')
    if steps:
        index, told = max(steps, key=lambda one: one[0]) if len(steps) == 1 else steps[0]
        more = f", and {len(steps) - 1} more" if len(steps) > 1 else ""
        text = escape(f"{names[index]}: {told}{more}")
        parts.append(
            f'<text class="stept" x="{min(max(axis.x(index - 0.5), LEFT + 70), WIDTH - 90)}" y="16" '
            f'text-anchor="middle">{text}</text>'
        )
    return parts


def _line(axis: _Axis, line: Line) -> list[str]:
    kind = " f" if line.floating else ""
    parts = []
    path, pen = "", "M"
    for index, value in enumerate(line.values):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{axis.x(index)} {axis.y(value)}"
        pen = "L"
    parts.append(f'<path class="ln{kind}" d="{path}"/>')
    if len(line.values) <= DOTS:
        for index, one in enumerate(line.ranges):
            if one and line.values[index] is not None:
                parts.append(
                    f'<path class="wh" d="M{axis.x(index)} {axis.y(one[0])}V{axis.y(one[1])}"/>'
                )
        parts += [
            f'<circle class="pt{kind}" cx="{axis.x(index)}" cy="{axis.y(value)}" r="3.5"/>'
            for index, value in enumerate(line.values)
            if value is not None
        ]
    return parts


def _told_ends(
    lines: Sequence[Line], gates: Sequence[tuple[float, str]], decimals: int
) -> list[tuple[float, str, str]]:
    """Returns (value, text, class) of what stands at the right ends."""
    found = [(gate, text, "badt") for gate, text in gates]
    for line in lines:
        last = next((value for value in reversed(line.values) if value is not None), None)
        if last is not None:
            value = fixed(last, decimals)
            fitting = int((MOST_RIGHT - 8) / CHARACTER) - len(value) - 1
            text = f"{visible(short(line.label, fitting))} {value}"
            found.append((last, text, "labf" if line.floating else "lab"))
    return found


def _ends(axis: _Axis, ends: Sequence[tuple[float, str, str]]) -> list[str]:
    """Returns the right ends, moved apart where they would lie on each other."""
    wanted = sorted((axis.y(value), text, kind) for value, text, kind in ends)
    parts = []
    at: float = TOP - GAP
    lowest: float = HEIGHT - BOTTOM - GAP * (len(wanted) - 1)
    for y, text, kind in wanted:
        at = max(at + GAP, min(y, lowest))
        lowest += GAP
        parts.append(
            f'<text class="{kind}" x="{axis.end + 6}" y="{round(at + 4, 1)}">{escape(text)}</text>'
        )
    return parts
