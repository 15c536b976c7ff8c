"""What gates say, of one head or of the whole network, and where SQNR and boxes say different things."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

from trt_matrix.core.answers.rows import HeadRow
from trt_matrix.core.boxes.precision_draws import ApDraws, interval
from trt_matrix.core.cells import CellPlace
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.verdicts.gates import SPOKEN, WHOLE_NETWORK, GateResult
from trt_matrix.core.words import listed

Gated = tuple[CellResult, HeadResult | CellResult]
"""A cell, and what of it has gates: one head, or all of them together."""

LEAST_DB = 0.5
"""Smaller differences of SQNR choose no table."""

LEAST_AP = 0.01
"""Smaller differences of AP choose no table either, however sure they are."""

AP_LIMITS = ("ap_drop", "ap50_drop")


def gates_sentence(
    rows: Sequence[HeadRow], broken: Sequence[str] = (), not_started: int = 0
) -> str:
    """Says whether one head keeps every limit, where each that it does not, and where that is not sure.

    Of cells with a gate, `broken` (ids) were started and gave none, and so many were `not_started`.
    """
    return _sentence([row for row in rows if row.head.gates], broken, not_started, "the gate")


def network_gates_sentence(results: Sequence[CellResult]) -> str:
    """Says the same of all heads together; empty where no cell that ran has a gate on them."""
    results = [result for result in results if not result.pass_.mixed]
    gated = [(result, result) for result in results if result.gates]
    precisions = {result.pass_.precision for result, _ in gated}
    free = {result.pass_.precision for result in results if result.status.ok and not result.gates}
    # A precision of which no cell ran may have a gate: said to be unknown sooner than left out.
    wanted = [
        result
        for result in results
        if not result.status.ok
        and result.pass_.precision.gated
        and (result.pass_.precision in precisions or result.pass_.precision not in free)
    ]
    broken = [result.id for result in wanted if not result.status.never_started]
    return _sentence(gated, broken, len(wanted) - len(broken), f"the {WHOLE_NETWORK}'s gate")


def _sentence(gated: Sequence[Gated], broken: Sequence[str], not_started: int, gate: str) -> str:
    if not gated:
        return ""
    # A precision may have another limit than int8.
    by_limit = grouped(
        ((gate_result.name, gate_result.limit), (result, gate_result))
        for result, judged in gated
        for gate_result in judged.gates
    )
    failed = [told for rows in by_limit.values() if (told := _failed(rows, gate))]
    unsure = [told for rows in by_limit.values() if (told := _unsure(rows))]
    return " ".join((*(failed or _held(gated, broken, not_started, gate)), *unsure))


def _held(gated: Sequence[Gated], broken: Sequence[str], not_started: int, gate: str) -> list[str]:
    groups = grouped(
        (tuple(gate_result.limit_text() for gate_result in judged.gates), result)
        for result, judged in gated
    )
    ran = " that ran" if not_started else ""
    nothing = f"{listed(broken, most=3)} gave nothing to judge" if broken else ""
    missing = f"{not_started} did not run" if not_started else ""
    rest = [part for part in (nothing, missing) if part]
    if len(groups) == 1:
        ((limits, results),) = groups.items()
        told = f"{_holding(results, broken, ran)} {gate}, {listed(limits)}"
        return [f"{'; '.join((told, *rest))}."]
    held = [
        f"{_holding(results, (), ran)} {gate}, {listed(limits)}."
        for limits, results in groups.items()
    ]
    return [*held, *(f"{part}." for part in rest)]


def _holding(results: Sequence[CellResult], broken: Sequence[str], ran: str) -> str:
    amount = len(results)
    if broken:
        return f"{amount} of {amount + len(broken)} {_kind(results, broken)} cells{ran} hold"
    if amount == 1:
        return f"The one {_kind(results)} cell{ran} holds"
    return f"All {amount} {_kind(results)} cells{ran} hold"


def _kind(results: Sequence[CellResult], broken: Sequence[str] = ()) -> str:
    """Returns `int8 and fp16`: the precisions of cells, in the order of the plan."""
    passes = [result.pass_.name for result in results]
    passes += [cell.rpartition("/")[2] for cell in broken]
    return listed(distinct(pass_.partition("-")[0] for pass_ in passes))


def _unsure(rows: Sequence[tuple[CellResult, GateResult]]) -> str:
    """Says in which cells the interval holds this limit."""
    unsure = [(result, gate) for result, gate in rows if gate.interval and gate.unsure]
    if not unsure:
        return ""
    limit = unsure[0][1]
    spoken = SPOKEN[limit.name]
    within = (
        f"its 95 % interval is {spoken.range_text(*limit.interval)}"
        if len(unsure) == 1 and limit.interval
        else "their 95 % intervals hold it"
    )
    return (
        f"Not sure with these images: {spoken.name} {limit.side_text()} in {_cells(unsure, rows)}, "
        f"since {within}; more images would tell."
    )


def _failed(rows: Sequence[tuple[CellResult, GateResult]], gate: str) -> str:
    """Says in which cells this limit does not hold."""
    failed = [(result, gate_result) for result, gate_result in rows if not gate_result.passed]
    if not failed:
        return ""
    limit = failed[0][1]
    unknown = [row for row in failed if row[1].value is None]
    known = present(gate_result.value for _, gate_result in failed)
    values = f" ({SPOKEN[limit.name].range_text(min(known), max(known))})" if known else ""
    nothing = f"; nothing to judge by in {_cells(unknown, rows)}" if unknown else ""
    name = gate.removeprefix("the ")
    return f"{name[0].upper()}{name[1:]} failed, {limit.limit_text()}: {_cells(failed, rows)}{values}{nothing}."


def _cells(chosen: Sequence[tuple[CellResult, Any]], rows: Sequence[tuple[CellResult, Any]]) -> str:
    """Names cells; a pass of which all are chosen is named once."""
    if len(chosen) == len(rows) > 1:
        return f"every {_kind([result for result, _ in rows])} cell"
    amounts = Counter(result.pass_.name for result, _ in rows)
    of_chosen = Counter(result.pass_.name for result, _ in chosen)
    return listed(
        distinct(
            f"{name} everywhere" if of_chosen[name] == amounts[name] > 1 else result.id
            for result, _ in chosen
            for name in [result.pass_.name]
        )
    )


def disagreement_sentence(
    int8: Sequence[HeadRow], baseline: str, draws: ApDraws = MappingProxyType({})
) -> str:
    """Says where SQNR and AP disagree, if a gate names both: a better SQNR is no better detector.

    Without `draws` the size of a difference of AP counts alone.
    """
    both = [row for row in int8 if _sqnr_and_ap(row.head)]
    parts = (_gates_disagree(both), _orders_disagree(both, baseline, draws))
    return " ".join(filter(None, parts))


def _sqnr_and_ap(head: HeadResult) -> bool:
    names = {gate.name for gate in head.gates}
    return "sqnr_db" in names and not names.isdisjoint(AP_LIMITS)


def _gates_disagree(rows: Sequence[HeadRow]) -> str:
    sqnr_alone, boxes_alone = [], []
    for row in rows:
        sqnr = _result(row.head, "sqnr_db")
        boxes = [gate for gate in row.head.gates if gate is not sqnr]
        if sqnr is None or any(box.value is None for box in boxes):
            continue
        if sqnr.passed and not all(box.passed for box in boxes):
            sqnr_alone.append(row)
        if not sqnr.passed and all(box.passed for box in boxes):
            boxes_alone.append(row)
    parts = []
    if sqnr_alone:
        parts.append(f"SQNR alone would have passed {_cells(sqnr_alone, rows)}; the boxes do not.")
    if boxes_alone:
        parts.append(f"SQNR alone fails {_cells(boxes_alone, rows)}; the boxes hold their limits.")
    return " ".join(parts)


@dataclass(frozen=True, slots=True)
class _Disagreement:
    better: CellResult
    """By SQNR."""
    worse: CellResult
    sqnr_db: float
    """How much better."""
    limit: str
    ap: float
    """How much AP it loses against the other all the same."""
    interval: tuple[float, float] | None
    """95 %, over images, the same for both."""


def _orders_disagree(rows: Sequence[HeadRow], baseline: str, draws: ApDraws) -> str:
    disagreements = [
        disagreement
        for pair in _pairs(rows, baseline)
        for better, worse in (pair, pair[::-1])
        for disagreement in _disagreements(better, worse, draws)
    ]
    if not disagreements:
        return ""
    most = max(disagreements, key=lambda disagreement: disagreement.ap)
    better, worse = (result.cell for result in (most.better, most.worse))
    what = SPOKEN[most.limit].name.removesuffix(" drop")
    ends = SPOKEN[most.limit].range_text(*most.interval) if most.interval else ""
    sure = f" (95 %: {ends})" if ends else ""
    others = len(disagreements) - 1
    more = f" {others} more {'pair does' if others == 1 else 'pairs do'} so." if others else ""
    return (
        f"SQNR got better, {what} got worse: {better.id} keeps {most.sqnr_db:z.1f} dB more than "
        f"{worse.id}, but {most.ap:.3f} less {what}{sure}; choose by the boxes.{more}"
    )


def _pairs(rows: Sequence[HeadRow], baseline: str) -> Iterable[tuple[HeadRow, HeadRow]]:
    """Yields the tables of one environment with each other, and each table with the baseline's."""
    places = grouped((row.result.place, row) for row in rows)
    for place, here in places.items():
        yield from combinations(here, 2)
        if place.environment != baseline:
            base = places.get(CellPlace(baseline, place.device), ())
            there = {row.result.pass_: row for row in base}
            for row in here:
                if row.result.pass_ in there:
                    yield row, there[row.result.pass_]


def _disagreements(better: HeadRow, worse: HeadRow, draws: ApDraws) -> Iterable[_Disagreement]:
    gained = (better.head.sqnr_db or 0.0) - (worse.head.sqnr_db or 0.0)
    if None in (better.head.sqnr_db, worse.head.sqnr_db) or gained < LEAST_DB:
        return
    for name in AP_LIMITS:
        this, that = _result(better.head, name), _result(worse.head, name)
        if this is None or that is None or this.value is None or that.value is None:
            continue
        lost = this.value - that.value
        ends = _lost_between(better, worse, name, draws)
        if lost >= LEAST_AP and (ends is None or ends[0] > 0):
            yield _Disagreement(better.result, worse.result, gained, name, lost, ends)


def _lost_between(
    better: HeadRow, worse: HeadRow, limit: str, draws: ApDraws
) -> tuple[float, float] | None:
    """Returns the interval of the AP that the first has less than the second, paired over images."""
    first, second = (draws.get((row.result.id, row.head.head)) for row in (better, worse))
    if first is None or second is None:
        return None
    return interval((second - first)[:, AP_LIMITS.index(limit)])


def _result(judged: HeadResult, name: str) -> GateResult | None:
    return next((gate for gate in judged.gates if gate.name == name), None)
