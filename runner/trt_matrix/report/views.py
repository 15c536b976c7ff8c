"""The rows of every table, in the order they are shown; pure, no markup.

The page has one shape throughout: a table a question, a group of rows a pass, a row an environment
on a device. Versions stand under each other in the order of matrix.yaml, so a change is a step.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trt_matrix.core.answers.speed import timed_together
from trt_matrix.core.boxes.results import ALL, CellBoxes
from trt_matrix.core.cells import FP32, CellPlace, Pass, TableSource
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import CellResult, HeadResult, Judgement
from trt_matrix.core.words import count, listed

UNTOLD = frozenset({"driver"})
"""Versions that rows do without: the cell's own page has them."""
UNMOVED = 0.9995
"""Mean IoU from which boxes are where they were, to three digits."""


def pass_title(pass_: Pass) -> str:
    """Returns `FP32`, `INT8, shared entropy table`, `INT8 implicit, own minmax table`."""
    precision = f"{pass_.precision.upper()}{' implicit' if pass_.implicit else ''}"
    if pass_.source is None:
        return precision if pass_.algorithm is None else f"{precision}, {pass_.algorithm}"
    weights = ", weights per tensor" if pass_.per_tensor else ""
    if pass_.exclude:
        weights += f", {count(len(pass_.exclude), 'layer')} in float"
    return f"{precision}, {' '.join(filter(None, (pass_.source, pass_.algorithm)))} table{weights}"


def pass_note(pass_: Pass) -> str:
    """Returns what two rows of this pass may differ by."""
    if pass_.mixed:
        return (
            f"tried as a remedy, so its gates fail no run: {listed(pass_.exclude, 4)} asked to stay in float. Fixes "
            "tells what it gains, and what ran in int8 all the same"
        )
    if pass_.implicit:
        made = "its own calibrator's" if pass_.source is TableSource.OWN else "the same everywhere"
        return f"a float network, no Q/DQ: TensorRT applies the scales, {made}"
    match pass_.source:
        case TableSource.SHARED:
            return "the same scales everywhere, so rows differ by the engine alone"
        case TableSource.SHIPPED:
            return "the network as it came, quantised: its own scales, so rows differ by the engine alone"
        case TableSource.OWN:
            return "scales made by each environment's own calibrator"
        case None:
            return "no table" if pass_.is_int8 else "no quantisation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cell, with the cells it is read against."""

    number: int
    """Place of the cell in the plan."""
    result: CellResult
    baseline: CellResult | None
    """Same device and pass in the baseline; None for the baseline itself or where that is not ok."""
    fp32: CellResult | None
    """fp32 on the same device in the same environment, where ok and not this cell itself."""
    is_baseline: bool

    def twins(self, name: str) -> tuple[str, ...]:
        """Returns the cells with bit-identical output of this head, named by what tells them apart.

        Another environment by its name, another pass of the same place by the pass; those of the
        same pass first.
        """
        here = self.head(name)
        cell = self.result.cell
        suffix = cell.id.removeprefix(cell.environment)
        prefix = f"{cell.environment}/{cell.device}/"
        others = here.identical_to if here else ()
        same_pass = tuple(other.removesuffix(suffix) for other in others if other.endswith(suffix))
        rest = tuple(other.removeprefix(prefix) for other in others if not other.endswith(suffix))
        return same_pass + rest

    @property
    def is_int8(self) -> bool:
        return self.result.pass_.is_int8

    @property
    def versions(self) -> tuple[str, ...]:
        """Returns `cuDNN 8.9.2`, as found inside; what the environment's name says is left out."""
        name = self.result.environment
        versions = self.result.versions or {"version": self.result.engine_version or name}
        return tuple(
            version if factor == "GPU" else f"{factor} {version}"
            for factor, version in versions.items()
            if factor not in UNTOLD and version not in name
        )

    def head(self, name: str) -> HeadResult | None:
        return self.result.head(name)

    def change_db(self, name: str) -> float | None:
        """Returns this cell's SQNR less the baseline's, in dB; None where either is undefined."""
        here, there = self.head(name), self.baseline.head(name) if self.baseline else None
        if here is None or there is None or here.sqnr_db is None or there.sqnr_db is None:
            return None
        return here.sqnr_db - there.sqnr_db

    def is_bit_identical_to_baseline(self, name: str) -> bool:
        here = self.head(name)
        return bool(here and self.baseline and self.baseline.id in here.identical_to)

    def latency_ratio(self, other: CellResult | None) -> float | None:
        """Returns this median over the other's, where both ran the same batch while the machine did the same."""
        here, there = self.result.latency, other.latency if other else None
        if here is None or there is None or here.batch != there.batch or there.median_s <= 0:
            return None
        if other and not timed_together(self.result, other):
            return None
        return here.median_s / there.median_s

    def overlaps(self, other: CellResult) -> bool:
        """Whether the intervals of the two medians overlap."""
        here, there = self.result.latency, other.latency
        return bool(here and there and here.low_s <= there.high_s and there.low_s <= here.high_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class PassGroup:
    """The rows of one pass."""

    pass_: Pass
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        return pass_title(self.pass_)

    @property
    def note(self) -> str:
        return pass_note(self.pass_)


def matrix(judgement: Judgement, kept: Collection[str] | None = None) -> tuple[PassGroup, ...]:
    """Returns every cell of the places where anything ran, or only those that are `kept`, by pass.

    Places where nothing ran, for one reason, are told in a line (`behaviours.idle`).
    """
    by_place = grouped((result.place, result) for result in judgement.cells)
    idle = {place for place, results in by_place.items() if _nothing_ran(results)}
    ran = {(result.place, result.pass_): result for result in judgement.cells if result.status.ok}
    stacks = {
        result.place: result.versions for result in reversed(judgement.cells) if result.versions
    }
    by_pass = grouped(
        (result.pass_, _row(number, result, judgement.baseline, ran))
        for number, result in enumerate(judgement.cells)
        if result.place not in idle and (kept is None or result.id in kept)
    )
    return tuple(
        PassGroup(pass_=pass_, rows=_by_stack(rows, stacks)) for pass_, rows in by_pass.items()
    )


def _by_stack(
    rows: Iterable[Row], stacks: Mapping[CellPlace, Mapping[str, str]]
) -> tuple[Row, ...]:
    """Brings rows of one engine together, then those of one cuDNN, one CUDA; else in their order."""
    seen: tuple[dict[object, int], ...] = ({}, {}, {})

    def rank(row: Row) -> tuple[int, ...]:
        versions = stacks.get(row.result.place, {})
        engine = next(iter(versions.items()), row.result.environment)
        stack = (engine, versions.get("cuDNN"), versions.get("CUDA"))
        return tuple(
            ranks.setdefault(value, len(ranks)) for ranks, value in zip(seen, stack, strict=True)
        )

    return tuple(sorted(rows, key=rank))


def _nothing_ran(results: Sequence[CellResult]) -> bool:
    """Whether all cells of a place ended alike and without a result, and none says more."""
    endings = {(result.status, result.reason) for result in results}
    logs = any(result.log_tail for result in results)
    return len(endings) == 1 and not results[0].status.ok and not logs


def _row(
    number: int,
    result: CellResult,
    baseline: str,
    ran: Mapping[tuple[CellPlace, Pass], CellResult],
) -> Row:
    is_baseline = result.environment == baseline
    there = CellPlace(baseline, result.device)
    return Row(
        number=number,
        result=result,
        is_baseline=is_baseline,
        baseline=None if is_baseline else ran.get((there, result.pass_)),
        fp32=None if result.pass_ == FP32 else ran.get((result.place, FP32)),
    )


def rows(groups: Iterable[PassGroup]) -> Iterator[Row]:
    for group in groups:
        yield from group.rows


def measured(groups: Iterable[PassGroup]) -> tuple[PassGroup, ...]:
    """Returns the groups with those rows alone that have numbers, and none without a row."""
    chosen = (
        PassGroup(pass_=group.pass_, rows=tuple(row for row in group.rows if row.result.heads))
        for group in groups
    )
    return tuple(group for group in chosen if group.rows)


def gate_texts(judgement: Judgement) -> Mapping[str, tuple[str, ...]]:
    """Returns head → its limits, as `SQNR at least 20 dB`; heads without a gate are left out."""
    gates = grouped(
        (head.head, tuple(gate.limit_text() for gate in head.gates))
        for result in judgement.cells
        for head in result.heads
        if head.gates
    )
    return {head: texts[0] for head, texts in gates.items()}


class BoxRows(NamedTuple):
    group: PassGroup
    rows: tuple[Row, ...]
    """Those with boxes, but for the unchanged."""
    unchanged: tuple[Row, ...]
    """Those in which no box was lost, new or moved."""


def box_rows(groups: Iterable[PassGroup]) -> tuple[BoxRows, ...]:
    """Returns the groups in which any cell has boxes; cells that changed none are told together."""
    with_boxes = []
    for group in groups:
        sides = grouped(
            (is_unchanged(row.result.boxes), row) for row in group.rows if row.result.boxes
        )
        if sides:
            with_boxes.append(
                BoxRows(group, tuple(sides.get(False, ())), tuple(sides.get(True, ())))
            )
    return tuple(with_boxes)


def is_unchanged(boxes: CellBoxes | None) -> bool:
    """Whether every box of the reference is there, where it was, and no other."""
    whole = boxes.whole.changes.get(ALL) if boxes and boxes.whole else None
    if whole is None or not whole.reference:
        return False
    iou = whole.mean_iou
    return whole.lost == 0 and whole.new == 0 and iou is not None and iou >= UNMOVED
