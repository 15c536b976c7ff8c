"""What gates say, of one head or of the whole network, and where SQNR and boxes say different things."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

from trt_matrix.core.boxes.precision_draws import ApDraws, interval
from trt_matrix.core.cells import Status
from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.verdicts.gates import SPOKEN, WHOLE_NETWORK, GateResult
from trt_matrix.core.words import listed

Row = tuple[CellResult, HeadResult]

Gated = tuple[CellResult, HeadResult | CellResult]
"""A cell, and what of it has gates: one head, or all of them together."""

LEAST_DB = 0.5
"""Smaller differences of SQNR choose no table."""

LEAST_AP = 0.01
"""Smaller differences of AP choose no table either, however sure they are."""

AP_LIMITS = ("ap_drop", "ap50_drop")


def gates_sentence(rows: Sequence[Row], broken: Sequence[str] = (), not_started: int = 0) -> str:
    """Says whether one head keeps every limit, where each that it does not, and where that is not sure.

    Of cells with a gate, `broken` (ids) were started and gave none, and so many were `not_started`.
    """
    return _sentence([row for row in rows if row[1].gates], broken, not_started, "the gate")


def network_gates_sentence(results: Sequence[CellResult]) -> str:
    """Says the same of all heads together; empty where no cell that ran has a gate on them."""
    results = [result for result in results if not result.pass_.mixed]
    gated = [(result, result) for result in results if result.gates]
    precisions = {cell.pass_.precision for cell, _ in gated}
    free = {result.pass_.precision for result in results if result.status.ok and not result.gates}
    # A precision of which no cell ran may have a gate: said to be unknown sooner than left out.
    wanted = [
        result for result in results if result.pass_.precision.gated and result.status != Status.OK
    ]
    wanted = [result for result in wanted if result.pass_.precision in precisions or
              result.pass_.precision not in free]  # fmt: skip
    broken = [result.id for result in wanted if not result.status.never_started]
    return _sentence(gated, broken, len(wanted) - len(broken), f"the {WHOLE_NETWORK}'s gate")


def _sentence(gated: Sequence[Gated], broken: Sequence[str], not_started: int, gate: str) -> str:
    if not gated:
        return ""
    limits = _each_limit(gated)
    with_limit = [(limit, [row for row in gated if _has(row, limit)]) for limit in limits]
    failed = [
        told for gate_result, rows in with_limit if (told := _failed(gate_result, rows, gate))
    ]
    unsure = [told for gate_result, rows in with_limit if (told := _unsure(gate_result, rows))]
    return " ".join((*(failed or _held(gated, broken, not_started, gate)), *unsure))


def _each_limit(gated: Sequence[Gated]) -> list[GateResult]:
    """Returns one result for every limit: a precision may have another than int8."""
    gates = {(gate.name, gate.limit): gate for _, judged in gated for gate in judged.gates}
    return list(gates.values())


def _has(row: Gated, limit: GateResult) -> bool:
    return any((gate.name, gate.limit) == (limit.name, limit.limit) for gate in row[1].gates)


def _held(gated: Sequence[Gated], broken: Sequence[str], not_started: int, gate: str) -> list[str]:
    groups: dict[tuple[str, ...], list[Gated]] = {}
    for row in gated:
        groups.setdefault(
            tuple(gate_result.limit_text() for gate_result in row[1].gates), []
        ).append(row)
    ran = " that ran" if not_started else ""
    nothing = f"{listed(broken, most=3)} gave nothing to judge" if broken else ""
    missing = f"{not_started} did not run" if not_started else ""
    if len(groups) == 1:
        ((limits, rows),) = groups.items()
        rest = "".join(f"; {one}" for one in (nothing, missing) if one)
        return [f"{_holding(rows, broken, ran)} {gate}, {listed(limits)}{rest}."]
    told = [
        f"{_holding(rows, (), ran)} {gate}, {listed(limits)}." for limits, rows in groups.items()
    ]
    return [*told, *(f"{one}." for one in (nothing, missing) if one)]


def _holding(rows: Sequence[Gated], broken: Sequence[str], ran: str) -> str:
    amount = len(rows)
    if broken:
        return f"{amount} of {amount + len(broken)} {_kind(rows, broken)} cells{ran} hold"
    if amount == 1:
        return f"The one {_kind(rows)} cell{ran} holds"
    return f"All {amount} {_kind(rows)} cells{ran} hold"


def _kind(rows: Sequence[Gated], broken: Sequence[str] = ()) -> str:
    """Returns `int8 and fp16`: the precisions of cells, in the order of the plan."""
    passes = [cell.pass_.name for cell, _ in rows]
    passes += [one.rpartition("/")[2] for one in broken]
    return listed(distinct(pass_.partition("-")[0] for pass_ in passes))


def _unsure(limit: GateResult, gated: Sequence[Gated]) -> str:
    found = [
        (cell, gate.interval)
        for cell, judged in gated
        if (gate := _result(judged, limit.name)) and gate.interval and gate.unsure
    ]
    if not found:
        return ""
    spoken = SPOKEN[limit.name]
    cells = _cells([cell for cell, _ in found], gated)
    within = (
        f"its 95 % interval is {spoken.range_text(*found[0][1])}"
        if len(found) == 1
        else "their 95 % intervals hold it"
    )
    return (
        f"Not sure with these images: {spoken.name} {limit.side_text()} in {cells}, "
        f"since {within}; more images would tell."
    )


def _failed(limit: GateResult, gated: Sequence[Gated], gate: str) -> str:
    results = [
        (cell, gate_result)
        for cell, judged in gated
        if (gate_result := _result(judged, limit.name))
    ]
    failed = [(cell, result) for cell, result in results if not result.passed]
    if not failed:
        return ""
    unknown = [cell for cell, one in failed if one.value is None]
    known = [one.value for _, one in failed if one.value is not None]
    values = f" ({SPOKEN[limit.name].range_text(min(known), max(known))})" if known else ""
    nothing = f"; nothing to judge by in {_cells(unknown, gated)}" if unknown else ""
    where = _cells([cell for cell, _ in failed], gated)
    name = gate.removeprefix("the ")
    return f"{name[0].upper()}{name[1:]} failed, {limit.limit_text()}: {where}{values}{nothing}."


def _cells(chosen: Sequence[CellResult], rows: Sequence[Gated]) -> str:
    """Names cells; a pass of which all are chosen is named once."""
    if len(chosen) == len(rows) > 1:
        return f"every {_kind(rows)} cell"
    amounts = Counter(cell.pass_.name for cell, _ in rows)
    found = Counter(cell.pass_.name for cell in chosen)
    names = []
    for cell in chosen:
        name = cell.pass_.name
        whole = found[name] == amounts[name] > 1
        names.append(f"{name} everywhere" if whole else cell.id)
    return listed(distinct(names))


def disagreement_sentence(
    int8: Sequence[Row], baseline: str, draws: ApDraws = MappingProxyType({})
) -> str:
    """Says where SQNR and AP disagree, if a gate names both: a better SQNR is no better detector.

    Without `draws` the size of a difference of AP counts alone.
    """
    both = [row for row in int8 if _sqnr_and_ap(row[1])]
    return " ".join(
        part for part in (_gates_disagree(both), _orders_disagree(both, baseline, draws)) if part
    )


def _sqnr_and_ap(head: HeadResult) -> bool:
    names = {gate.name for gate in head.gates}
    return "sqnr_db" in names and not names.isdisjoint(AP_LIMITS)


def _gates_disagree(rows: Sequence[Row]) -> str:
    sqnr_alone, boxes_alone = [], []
    for cell, head in rows:
        sqnr = _result(head, "sqnr_db")
        boxes = [gate for gate in head.gates if gate is not sqnr]
        if sqnr is None or any(box.value is None for box in boxes):
            continue
        if sqnr.passed and not all(box.passed for box in boxes):
            sqnr_alone.append(cell)
        if not sqnr.passed and all(box.passed for box in boxes):
            boxes_alone.append(cell)
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


def _orders_disagree(rows: Sequence[Row], baseline: str, draws: ApDraws) -> str:
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


def _pairs(rows: Sequence[Row], baseline: str) -> Iterable[tuple[Row, Row]]:
    """Yields the tables of one environment with each other, and each table with the baseline's."""
    places: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cell = row[0].cell
        places.setdefault((cell.environment, cell.device), []).append(row)
    for (environment, device), here in places.items():
        yield from combinations(here, 2)
        if environment != baseline:
            there = {row[0].pass_: row for row in places.get((baseline, device), ())}
            for row in here:
                if row[0].pass_ in there:
                    yield row, there[row[0].pass_]


def _disagreements(better: Row, worse: Row, draws: ApDraws) -> Iterable[_Disagreement]:
    one, other = better[1].sqnr_db, worse[1].sqnr_db
    if one is None or other is None or one - other < LEAST_DB:
        return
    for name in AP_LIMITS:
        this, that = _result(better[1], name), _result(worse[1], name)
        if this is None or that is None or this.value is None or that.value is None:
            continue
        lost = this.value - that.value
        ends = _lost_between(better, worse, name, draws)
        if lost >= LEAST_AP and (ends is None or ends[0] > 0):
            yield _Disagreement(better[0], worse[0], one - other, name, lost, ends)


def _lost_between(
    better: Row, worse: Row, limit: str, draws: ApDraws
) -> tuple[float, float] | None:
    """Returns the interval of the AP that the first has less than the second, paired over images."""
    one, other = (draws.get((cell.id, head.head)) for cell, head in (better, worse))
    if one is None or other is None:
        return None
    return interval((other - one)[:, AP_LIMITS.index(limit)])


def _result(judged: HeadResult | CellResult, name: str) -> GateResult | None:
    return next((gate for gate in judged.gates if gate.name == name), None)
