"""Lines over versions: what heads keep, AP, and time, old to new, with the step marked.

A line joins versions of one engine on one device, with one table.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trt_matrix.core import severity
from trt_matrix.core.answers.rows import rows_of
from trt_matrix.core.answers.speed import TEN_MS
from trt_matrix.core.answers.strips import strips
from trt_matrix.core.cells import FP32, Pass, Precision
from trt_matrix.core.collecting import grouped, present
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.rounding import AP_DECIMALS, db_apart, difference
from trt_matrix.core.words import capital, listed, visible
from trt_matrix.report.formatting import short
from trt_matrix.report.lines import MOST_LINES, Line, Panel, panel
from trt_matrix.report.views import pass_title

STEP_DB = 0.1


def panels(judgement: Judgement) -> tuple[Panel, ...]:
    """Returns three at most; none where fewer than two versions of one engine gave anything."""
    columns = _columns(judgement)
    passes = _passes(columns)
    if len(columns) < 2 or not passes:
        return ()
    names = _labels([column.environment for column in columns])
    drawn = (
        _decibels(judgement, columns, names, _worst_pass(judgement, passes)),
        _precision(judgement, columns, names, passes),
        _times(columns, names, passes),
    )
    return tuple(present(drawn))


class VersionColumn(NamedTuple):
    environment: str
    cells: dict[Pass, CellResult]


def _columns(judgement: Judgement) -> list[VersionColumn]:
    """Returns the versions of the baseline's engine on the device that has most, each version once."""
    ok = [result for result in judgement.judged if result.status.ok and result.heads]
    engines = {result.environment: next(iter(result.versions), None) for result in ok}
    baseline = judgement.baseline
    device = next((result.device for result in ok if result.environment == baseline), None)
    columns: dict[str, dict[Pass, CellResult]] = {}
    versions: dict[str, str] = {}
    for result in ok:
        name = result.environment
        if result.device == device and engines[name] == engines.get(baseline):
            version = next(iter(result.versions.values()), name)
            if versions.setdefault(version, name) == name:
                columns.setdefault(name, {})[result.pass_] = result
    return [VersionColumn(name, cells) for name, cells in columns.items()]


def _passes(columns: Sequence[VersionColumn]) -> list[Pass]:
    """Returns the int8 passes that most versions ran, the first of the plan first; without any, those of less than fp32."""
    numbers = Counter(
        pass_
        for column in columns
        for pass_ in column.cells
        if pass_.precision is not Precision.FP32 and not pass_.mixed
    )
    wanted = [pass_ for pass_ in numbers if pass_.is_int8] or list(numbers)
    most = max((numbers[pass_] for pass_ in wanted), default=0)
    return [pass_ for pass_ in wanted if numbers[pass_] == most > 1]


def _worst_pass(judgement: Judgement, passes: Sequence[Pass]) -> Pass:
    """Returns the pass that the first strip tells of: a picture in which nothing is wrong says nothing of it."""
    first = next(iter(strips(judgement)), None)
    if first is None:
        return passes[0]
    rows = [
        (row.result.pass_, row.head)
        for row in rows_of(first.head, judgement.judged)
        if row.result.pass_ in passes
    ]
    told = [pass_ for pass_, row in rows if row.sqnr_db == first.sqnr_db is not None]
    failing = [pass_ for pass_, row in rows if row.passed is False]
    return next(iter((*told, *failing, *passes)))


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
    return tuple(
        _finite(of(column.cells[pass_])) if pass_ in column.cells else None for column in columns
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _decibels(
    judgement: Judgement, columns: Sequence[VersionColumn], names: Sequence[str], pass_: Pass
) -> Panel | None:
    def of(head: str) -> Callable[[CellResult], float | None]:
        return lambda cell: row.sqnr_db if (row := cell.head(head)) else None

    lines = [Line(head, _values(columns, pass_, of(head))) for head in judgement.heads]
    # What builds of one version choose for themselves is no step from one version to the next.
    chosen = [choice.head for choice in judgement.choices if pass_.implicit]
    told = ""
    if chosen:
        told = f" {capital(listed(chosen, 3))}: by the layers that builds chose, so no step."
    heads = [column.cells[pass_].heads if pass_ in column.cells else () for column in columns]
    gates = {
        gate.limit for rows in heads for row in rows for gate in row.gates if gate.name == "sqnr_db"
    }
    return panel(
        "Signal kept, dB",
        f"{pass_title(pass_)}. One axis for all heads.{told}",
        names,
        _worst(lines),
        gates=[(gate, f"gate {gate:g}") for gate in sorted(gates, reverse=True)],
        steps=_steps(
            [line for line in lines if line.label not in chosen],
            lambda a, b: db_apart(b, a),
            STEP_DB,
            lambda change: f"{_sign(change)} dB",
        ),
        decimals=1,
        broken=[
            index for index, rows in enumerate(heads) if any(row.error.nonfinite for row in rows)
        ],
    )


def _worst(lines: Sequence[Line]) -> list[Line]:
    return sorted(filter(_known, lines), key=lambda line: min(_known(line)))[:MOST_LINES]


def _known(line: Line) -> list[float]:
    return present(line.values)


def _precision(
    judgement: Judgement,
    columns: Sequence[VersionColumn],
    names: Sequence[str],
    passes: Sequence[Pass],
) -> Panel | None:
    def ap(cell: CellResult) -> float | None:
        return cell.whole_boxes.ap if cell.whole_boxes else None

    lines = [*filter(_known, _lines(columns, passes, ap))]
    if all(line.floating for line in lines) or judgement.boxes is None:
        return None
    return panel(
        "AP of the network", "Overlap 0.50 to 0.95; 1 is best.", names, lines, decimals=3, gates=[],
        steps=_steps(lines, lambda a, b: difference(b, a, AP_DECIMALS), severity.AP[0], lambda change: f"{_sign(change, AP_DECIMALS)} AP"),
    )  # fmt: skip


def _lines(
    columns: Sequence[VersionColumn],
    passes: Sequence[Pass],
    of: Callable[[CellResult], float | None],
) -> list[Line]:
    """Returns a line of fp32, and of as many passes as fit beside it."""
    int8 = [Line(_short_pass(pass_), _values(columns, pass_, of)) for pass_ in passes]
    return [Line("FP32", _values(columns, FP32, of), floating=True), *int8[: MOST_LINES - 1]]


def _times(
    columns: Sequence[VersionColumn], names: Sequence[str], passes: Sequence[Pass]
) -> Panel | None:
    def ms(cell: CellResult) -> float | None:
        return 1e3 * cell.latency.median_s if cell.latency else None

    latencies = present(cell.latency for column in columns for cell in column.cells.values())
    batches = {latency.batch for latency in latencies}
    if len(batches) != 1:
        return None
    lines = [
        line._replace(ranges=_ranges(columns, pass_))
        for line, pass_ in zip(_lines(columns, passes, ms), (FP32, *passes), strict=False)
        if len(_known(line)) > 1
    ]
    longest = max((ms_ for line in lines for ms_ in _known(line)), default=0)
    return panel(
        f"Time of {'one image' if batches == {1} else f'a batch of {batches.pop()}'}, ms",
        "Median; bars: 95 % of the median.",
        names, lines, decimals=2 if longest < 1e3 * TEN_MS else 1, gates=[], steps=[], least=0.0,
    )  # fmt: skip


def _ranges(
    columns: Sequence[VersionColumn], pass_: Pass
) -> tuple[tuple[float, float] | None, ...]:
    cells = (column.cells.get(pass_) for column in columns)
    latencies = (cell.latency if cell else None for cell in cells)
    return tuple(
        (1e3 * latency.low_s, 1e3 * latency.high_s) if latency else None for latency in latencies
    )


def _short_pass(pass_: Pass) -> str:
    source = None if pass_.source == "shared" and pass_.algorithm else pass_.source
    parts = ("impl." if pass_.implicit else None, source, pass_.algorithm)
    return " ".join(str(part) for part in parts if part) or str(pass_.precision).upper()


def _sign(value: float, decimals: int = 1) -> str:
    return f"{'+' if value > 0 else '−'}{abs(value):.{decimals}f}"


def _steps(
    lines: Iterable[Line],
    change: Callable[[float, float], float],
    least: float,
    told: Callable[[float], str],
) -> list[tuple[int, str]]:
    """Returns (place of the version, its largest change), of the three largest."""
    moves = grouped(
        (index, moved)
        for line in lines
        if not line.floating
        for index, (before, after) in enumerate(itertools.pairwise(line.values), 1)
        if before is not None and after is not None
        for moved in [change(before, after)]
        if abs(moved) >= least
    )
    steps = [(index, max(moved, key=abs)) for index, moved in moves.items()]
    steps.sort(key=lambda step: -abs(step[1]))
    return [(index, told(moved)) for index, moved in sorted(steps[:3])]
