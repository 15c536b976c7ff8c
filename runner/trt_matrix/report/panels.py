"""Lines over versions: what heads keep, AP, and time, old to new, with the step marked.

A line joins versions of one engine on one device, with one table.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trt_matrix.core import severity
from trt_matrix.core.answers.speed import TEN_MS
from trt_matrix.core.answers.strips import strips
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.cells import FP32, Pass, Precision
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
    if len(columns) < 2:
        return ()
    names = _labels([column.environment for column in columns])
    passes = _passes(columns)
    if not passes:
        return ()
    found = [
        _decibels(judgement, columns, names, _worst_pass(judgement, passes)),
        _precision(judgement, columns, names, passes),
        _times(columns, names, passes),
    ]
    return tuple(one for one in found if one)


class VersionColumn(NamedTuple):
    environment: str
    cells: dict[Pass, CellResult]


def _columns(judgement: Judgement) -> list[VersionColumn]:
    """Returns the versions of the baseline's engine on the device that has most, each version once."""
    ok = [result for result in judgement.judged if result.status.ok and result.heads]
    engines = {result.environment: next(iter(result.versions), None) for result in ok}
    engine = engines.get(judgement.baseline)
    mine = [result for result in ok if engines[result.environment] == engine]
    devices = [result.device for result in mine if result.environment == judgement.baseline]
    columns: dict[str, dict[Pass, CellResult]] = {}
    versions: dict[str, str] = {}
    for result in mine:
        if devices and result.device == devices[0]:
            name = result.environment
            version = next(iter(result.versions.values()), name)
            if versions.setdefault(version, name) == name:
                columns.setdefault(name, {})[result.pass_] = result
    return [VersionColumn(name, cells) for name, cells in columns.items()]


def _passes(columns: Sequence[VersionColumn]) -> list[Pass]:
    """Returns the int8 passes that most versions ran, the first of the plan first; without any, those of less than fp32."""
    found: dict[Pass, int] = {}
    for column in columns:
        for pass_ in column.cells:
            if pass_.precision is not Precision.FP32 and not pass_.mixed:
                found[pass_] = found.get(pass_, 0) + 1
    int8 = {pass_: number for pass_, number in found.items() if pass_.is_int8}
    found = int8 or found
    most = max(found.values(), default=0)
    return [pass_ for pass_, number in found.items() if number == most and number > 1]


def _worst_pass(judgement: Judgement, passes: Sequence[Pass]) -> Pass:
    """Returns the pass that the first strip tells of: a picture in which nothing is wrong says nothing of it."""
    first = next(iter(strips(judgement)), None)
    rows = [
        (result.pass_, head)
        for result in judgement.judged
        if result.pass_ in passes
        for head in result.heads
        if first and head.head == first.head
    ]
    if first is None:
        return passes[0]
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
        return lambda cell: next(
            (head_result.sqnr_db for head_result in cell.heads if head_result.head == head),
            None,
        )

    lines = [Line(head, _values(columns, pass_, of(head))) for head in judgement.heads]
    # What builds of one version choose for themselves is no step from one version to the next.
    chosen = [choice.head for choice in judgement.choices if pass_.implicit]
    told = (
        f" {capital(listed(chosen, 3))}: by the layers that builds chose, so no step."
        if chosen
        else ""
    )
    gates = sorted(
        {
            gate.limit
            for column in columns
            if pass_ in column.cells
            for head_result in column.cells[pass_].heads
            for gate in head_result.gates
            if gate.name == "sqnr_db"
        },
        reverse=True,
    )
    return panel(
        "Signal kept, dB",
        f"{pass_title(pass_)}. One axis for all heads.{told}",
        names,
        _worst(lines),
        gates=[(gate, f"gate {gate:g}") for gate in gates],
        steps=_steps(
            [line for line in lines if line.label not in chosen],
            lambda a, b: db_apart(b, a),
            STEP_DB,
            lambda change: f"{_sign(change)} dB",
        ),
        decimals=1,
        broken=[
            index
            for index, column in enumerate(columns)
            if pass_ in column.cells
            and any(head_result.error.nonfinite for head_result in column.cells[pass_].heads)
        ],
    )


def _worst(lines: Sequence[Line]) -> list[Line]:
    known = [line for line in lines if any(value is not None for value in line.values)]
    return sorted(known, key=lambda line: min(v for v in line.values if v is not None))[:MOST_LINES]


def _precision(
    judgement: Judgement,
    columns: Sequence[VersionColumn],
    names: Sequence[str],
    passes: Sequence[Pass],
) -> Panel | None:
    def ap(cell: CellResult) -> float | None:
        whole = cell.whole_boxes
        return whole.precision[ALL].ap if whole and ALL in whole.precision else None

    lines = [
        Line("FP32", _values(columns, FP32, ap), floating=True),
        *(
            Line(_short_pass(pass_), _values(columns, pass_, ap))
            for pass_ in passes[: MOST_LINES - 1]
        ),
    ]
    known = [line for line in lines if any(value is not None for value in line.values)]
    if not any(not line.floating for line in known) or judgement.boxes is None:
        return None
    return panel(
        "AP of the network", "Overlap 0.50 to 0.95; 1 is best.", names, known, decimals=3, gates=[],
        steps=_steps(known, lambda a, b: difference(b, a, AP_DECIMALS), severity.AP[0], lambda change: f"{_sign(change, AP_DECIMALS)} AP"),
    )  # fmt: skip


def _times(
    columns: Sequence[VersionColumn], names: Sequence[str], passes: Sequence[Pass]
) -> Panel | None:
    def ms(cell: CellResult) -> float | None:
        return 1e3 * cell.latency.median_s if cell.latency else None

    batches = {
        cell.latency.batch for column in columns for cell in column.cells.values() if cell.latency
    }
    if len(batches) != 1:
        return None
    lines = [
        Line("FP32", _values(columns, FP32, ms), floating=True, ranges=_ranges(columns, FP32)),
        *(
            Line(_short_pass(pass_), _values(columns, pass_, ms), ranges=_ranges(columns, pass_))
            for pass_ in passes[: MOST_LINES - 1]
        ),
    ]
    known = [line for line in lines if sum(value is not None for value in line.values) > 1]
    longest = max(
        (value for line in known for value in line.values if value is not None), default=0
    )
    return panel(
        f"Time of {'one image' if batches == {1} else f'a batch of {batches.pop()}'}, ms",
        "Median; bars: 95 % of the median.",
        names, known, decimals=2 if longest < 1e3 * TEN_MS else 1, gates=[], steps=[], least=0.0,
    )  # fmt: skip


def _ranges(
    columns: Sequence[VersionColumn], pass_: Pass
) -> tuple[tuple[float, float] | None, ...]:
    found = []
    for column in columns:
        latency = column.cells[pass_].latency if pass_ in column.cells else None
        found.append((1e3 * latency.low_s, 1e3 * latency.high_s) if latency else None)
    return tuple(found)


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
