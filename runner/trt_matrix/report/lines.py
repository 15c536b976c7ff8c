"""Lines over versions as an SVG of our own.

On the narrowest screens it is scaled down, and its text up as much (report.css), so none is under 12 px;
colours are classes of the page's style.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from trt_matrix.core.collecting import present
from trt_matrix.core.words import visible
from trt_matrix.report.bars import round_step
from trt_matrix.report.formatting import fixed, short

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


def panel(
    title: str,
    note: str,
    names: Sequence[str],
    lines: Sequence[Line],
    *,
    gates: Sequence[tuple[float, str]],
    steps: Sequence[tuple[int, str]],
    decimals: int,
    least: float | None = None,
    broken: Collection[int] = (),
) -> Panel | None:
    """Returns the picture; None where no value is known.

    `lines` have a value for each of `names` (versions), `gates` are (value, text), `steps` (place of the version, its
    change). The axis begins at `least`; None: near the smallest value. At the places `broken` a version gave no
    number: NaN or infinite, which is not the same as not run.
    """
    known = [value for line in lines for value in present(line.values)]
    if not known:
        return None
    known += [end for line in lines for ends in present(line.ranges) for end in ends]
    known += [gate for gate, _ in gates]
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    ends = _told_ends(lines, gates, decimals)
    longest = CHARACTER * max(len(text) for _, text, _ in ends) + 8
    right = round(min(max(longest, LEAST_RIGHT), MOST_RIGHT))
    axis = _Axis(low - room if least is None else least, high + room, len(names), right)
    parts = [*axis.grid(), *axis.names(names)]
    parts += [
        f'<path class="gateline" d="M{LEFT} {axis.y(gate)}H{axis.end}"/>' for gate, _ in gates
    ]
    parts += _marks(axis, names, steps)
    for line in lines:
        parts += _line(axis, line)
    parts += [
        f'<text class="badt nan" x="{min(axis.x(index), WIDTH - 16)}" y="{HEIGHT - BOTTOM - 6}" '
        'text-anchor="middle">✗ NaN</text>'
        for index in broken
    ]
    parts += _ends(axis, ends)
    described = "; ".join(
        f"{line.label}: {_listed([fixed(value, decimals) for value in line.values])}"
        for line in lines
    )
    gone = f"; NaN in {_listed([names[index] for index in broken])}" if broken else ""
    label = escape(f"{title}. Versions {_listed(names)}. {visible(described)}{gone}")
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
        step, ticks = round_step((self.high - self.low) / 3), [0.0]
        while len(ticks) < FEWEST:
            ticks = [
                step * n
                for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
            ]
            step = step if len(ticks) >= FEWEST else round_step(step / 2.5)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [
            f'<path class="ax" d="M{LEFT} {self.y(tick)}H{self.end}"/>'
            f'<text x="{LEFT - 6}" y="{self.y(tick) + 4}" text-anchor="end">{fixed(tick, decimals)}</text>'
            for tick in ticks
        ]

    def names(self, names: Sequence[str]) -> list[str]:
        width = max(len(name) for name in names)
        fitting = max(2, min(LABELS, int((self.end - LEFT) / (CHARACTER * width + 6))))
        every = math.ceil(len(names) / fitting)
        chosen = {len(names) - 1 - every * n for n in range(fitting)}
        return [
            f'<text x="{self.x(index)}" y="{HEIGHT - 8}" text-anchor="middle">{escape(name)}</text>'
            for index, name in enumerate(names)
            if index in chosen
        ]


def _marks(axis: _Axis, names: Sequence[str], steps: Sequence[tuple[int, str]]) -> list[str]:
    parts = [
        f'<path class="stepline" d="M{axis.x(index - 0.5)} {TOP - 6}V{HEIGHT - BOTTOM}"/>'
        for index, _ in steps
    ]
    if steps:
        index, told = steps[0]
        more = f", and {len(steps) - 1} more" if len(steps) > 1 else ""
        text = escape(f"{names[index]}: {told}{more}")
        parts.append(
            f'<text class="stept" x="{min(max(axis.x(index - 0.5), LEFT + 70), WIDTH - 90)}" y="16" '
            f'text-anchor="middle">{text}</text>'
        )
    return parts


def _line(axis: _Axis, line: Line) -> list[str]:
    kind = " f" if line.floating else ""
    path, pen = "", "M"
    for index, value in enumerate(line.values):
        if value is not None:
            path += f"{pen}{axis.x(index)} {axis.y(value)}"
        pen = "M" if value is None else "L"
    parts = [f'<path class="ln{kind}" d="{path}"/>']
    if len(line.values) <= DOTS:
        parts += [
            f'<path class="wh" d="M{axis.x(index)} {axis.y(ends[0])}V{axis.y(ends[1])}"/>'
            for index, ends in enumerate(line.ranges)
            if ends and line.values[index] is not None
        ]
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
    ends = [(gate, text, "badt") for gate, text in gates]
    for line in lines:
        for last in present(line.values)[-1:]:
            value = fixed(last, decimals)
            fitting = int((MOST_RIGHT - 8) / CHARACTER) - len(value) - 1
            text = f"{visible(short(line.label, fitting))} {value}"
            ends.append((last, text, "labf" if line.floating else "lab"))
    return ends


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
