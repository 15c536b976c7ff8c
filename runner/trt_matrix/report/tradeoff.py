"""Latency against accuracy: which cells no other beats in both, for each device and head."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trt_matrix.core.cells import Pass, Precision
from trt_matrix.core.collecting import grouped, present
from trt_matrix.core.judgement import HeadResult
from trt_matrix.report.views import PassGroup, Row, rows

HEADROOM_DB = 6.0
"""Above the best int8 cell the scale ends: what is nearer to the reference is drawn at its edge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TradeoffPoint:
    row: Row
    kind: str
    """`fp32`, `fp16`, `int8`, `int8 implicit` …: what a mark's shape and colour say."""
    latency_s: float
    sqnr_db: float
    """Infinite where the outputs equal the reference's."""
    number: int | None = None
    """On the front: its place, from the fastest on; None off it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tradeoff:
    head: str
    device: str
    batch: int
    points: tuple[TradeoffPoint, ...]
    """In the order of the matrix."""
    gate_sqnr_db: float | None
    top_db: float
    """Upper end of the scale; points above it are drawn on it."""
    bottom_db: float

    @property
    def front(self) -> tuple[TradeoffPoint, ...]:
        """From the fastest to the most accurate."""
        numbered = [point for point in self.points if point.number is not None]
        return tuple(sorted(numbered, key=lambda point: point.number or 0))


def tradeoffs(groups: Sequence[PassGroup], heads: Sequence[str]) -> tuple[Tradeoff, ...]:
    """Returns one for each head, device and batch where two cells or more were timed."""
    timed = grouped(
        ((row.result.device, row.result.latency.batch), row)
        for row in rows(groups)
        if row.result.latency
    )
    every = (
        _tradeoff(head, device, batch, of_place)
        for (device, batch), of_place in timed.items()
        for head in heads
    )
    return tuple(tradeoff for tradeoff in every if len(tradeoff.points) > 1)


def _tradeoff(head: str, device: str, batch: int, chosen: Sequence[Row]) -> Tradeoff:
    points = present(_point(row, head) for row in chosen)
    results = present(row.head(head) for row in chosen)
    gate = max(present(result.gate_sqnr_db for result in results), default=None)
    finite = [point for point in points if math.isfinite(point.sqnr_db)]
    lossy = [point for point in finite if point.kind.startswith("int8")] or finite
    marks = [*(point.sqnr_db for point in lossy), *present([gate])]
    # Where nothing is finite the scale begins at 0 dB.
    marks += [] if lossy else [0.0]
    return Tradeoff(
        head=head,
        device=device,
        batch=batch,
        points=_numbered(points),
        gate_sqnr_db=gate,
        top_db=max(marks) + HEADROOM_DB,
        bottom_db=min(marks) - 2,
    )


def _point(row: Row, head: str) -> TradeoffPoint | None:
    latency, result = row.result.latency, row.head(head)
    sqnr = _sqnr(result)
    if latency is None or sqnr is None or not latency.median_s > 0:
        return None
    kind = kind_of(row.result.pass_)
    return TradeoffPoint(row=row, kind=kind, latency_s=latency.median_s, sqnr_db=sqnr)


def _sqnr(result: HeadResult | None) -> float | None:
    """Returns None where it is not known; −∞ dB, an error without a signal, has no place either."""
    if result is None:
        return None
    if result.error.nmse == 0:
        return math.inf
    sqnr = result.sqnr_db
    return sqnr if sqnr is not None and math.isfinite(sqnr) else None


def kind_of(pass_: Pass) -> str:
    return "int8 implicit" if pass_.implicit else str(pass_.precision)


def _numbered(points: Sequence[TradeoffPoint]) -> tuple[TradeoffPoint, ...]:
    """Numbers the points that no other beats: none is as fast and as accurate, and better in one."""
    best = -math.inf
    numbers: dict[int, int] = {}
    order = sorted(range(len(points)), key=lambda i: (points[i].latency_s, -points[i].sqnr_db))
    for index in order:
        if points[index].sqnr_db > best:
            best = points[index].sqnr_db
            numbers[index] = len(numbers) + 1
    return tuple(replace(point, number=numbers.get(index)) for index, point in enumerate(points))


KINDS = (*map(str, Precision), "int8 implicit")
"""In the order of every legend."""
