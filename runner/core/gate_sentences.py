"""What the gates of one head say, and where its SQNR and its boxes say different things."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from runner.core.gates import SPOKEN, GateResult
from runner.core.judgement import CellResult, HeadResult
from runner.core.words import count, listed

Row = tuple[CellResult, HeadResult]

LEAST_DB = 0.5
"""Smaller differences of SQNR choose no table."""

LEAST_AP = 0.01
"""Smaller differences of AP may be chance: it moves by about that from image set to image set."""

AP_LIMITS = ("ap_drop", "ap50_drop")


def gates_sentence(int8: Sequence[Row], broken: Sequence[str] = ()) -> str:
    """Says whether every limit holds, and where each that does not.

    Args:
        int8: Results to judge.
        broken: Ids of int8 cells that were started and gave none.
    """
    gated = [row for row in int8 if row[1].gates]
    if not gated:
        return ""
    limits = gated[0][1].gates
    failed = [told for limit in limits if (told := _failed(limit, gated))]
    if failed:
        return " ".join(failed)
    limit = listed([one.limit_text() for one in limits])
    if broken:
        nothing = f"{listed(broken, most=3)} gave nothing to judge"
        share = f"{len(gated)} of {count(len(gated) + len(broken), 'int8 cell')}"
        return f"{share} hold the gate, {limit}; {nothing}."
    return f"Every int8 cell that ran holds the gate: {limit}."


def _failed(limit: GateResult, gated: Sequence[Row]) -> str:
    results = [(cell, one) for cell, head in gated if (one := _result(head, limit.name))]
    failed = [(cell, one) for cell, one in results if not one.passed]
    if not failed:
        return ""
    unknown = [cell for cell, one in failed if one.value is None]
    known = [one.value for _, one in failed if one.value is not None]
    values = f" ({_range(limit.name, known)})" if known else ""
    nothing = f"; nothing to judge by in {_cells(unknown, gated)}" if unknown else ""
    where = _cells([cell for cell, _ in failed], gated)
    return f"Gate failed, {limit.limit_text()}: {where}{values}{nothing}."


def _cells(chosen: Sequence[CellResult], rows: Sequence[Row]) -> str:
    """Names cells; a pass of which all are chosen is named once."""
    if len(chosen) == len(rows) > 1:
        return "every int8 cell"
    amounts = Counter(cell.cell.pass_.name for cell, _ in rows)
    found = Counter(cell.cell.pass_.name for cell in chosen)
    names = []
    for cell in chosen:
        name = cell.cell.pass_.name
        whole = found[name] == amounts[name] > 1
        names.append(f"{name} everywhere" if whole else cell.cell.id)
    return listed(list(dict.fromkeys(names)))


def disagreement_sentence(int8: Sequence[Row], baseline: str) -> str:
    """Says where SQNR and AP disagree, if a gate names both: a better SQNR is no better detector."""
    both = [row for row in int8 if _sqnr_and_ap(row[1])]
    return " ".join(
        part for part in (_gates_disagree(both), _orders_disagree(both, baseline)) if part
    )


def _sqnr_and_ap(head: HeadResult) -> bool:
    names = {one.name for one in head.gates}
    return "sqnr_db" in names and not names.isdisjoint(AP_LIMITS)


def _gates_disagree(rows: Sequence[Row]) -> str:
    sqnr_alone, boxes_alone = [], []
    for cell, head in rows:
        sqnr = _result(head, "sqnr_db")
        boxes = [one for one in head.gates if one is not sqnr]
        if sqnr is None or any(one.value is None for one in boxes):
            continue
        if sqnr.passed and not all(one.passed for one in boxes):
            sqnr_alone.append(cell)
        if not sqnr.passed and all(one.passed for one in boxes):
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


def _orders_disagree(rows: Sequence[Row], baseline: str) -> str:
    found = [
        one
        for pair in _pairs(rows, baseline)
        for better, worse in (pair, pair[::-1])
        for one in _disagreements(better, worse)
    ]
    if not found:
        return ""
    most = max(found, key=lambda one: one.ap)
    better, worse = (one.cell for one in (most.better, most.worse))
    what = SPOKEN[most.limit].name.removesuffix(" drop")
    others = len(found) - 1
    more = f" {others} more {'pair does' if others == 1 else 'pairs do'} so." if others else ""
    return (
        f"SQNR got better, {what} got worse: {better.id} keeps {most.sqnr_db:z.1f} dB more than "
        f"{worse.id}, but {most.ap:.3f} less {what}; choose by the boxes.{more}"
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
            there = {row[0].cell.pass_: row for row in places.get((baseline, device), ())}
            for row in here:
                if row[0].cell.pass_ in there:
                    yield row, there[row[0].cell.pass_]


def _disagreements(better: Row, worse: Row) -> Iterable[_Disagreement]:
    one, other = better[1].error.sqnr_db, worse[1].error.sqnr_db
    if one is None or other is None or one - other < LEAST_DB:
        return
    for name in AP_LIMITS:
        this, that = _result(better[1], name), _result(worse[1], name)
        if this is None or that is None or this.value is None or that.value is None:
            continue
        if this.value - that.value >= LEAST_AP:
            yield _Disagreement(better[0], worse[0], one - other, name, this.value - that.value)


def _result(head: HeadResult, name: str) -> GateResult | None:
    return next((one for one in head.gates if one.name == name), None)


def _range(name: str, values: Sequence[float]) -> str:
    low, high = (SPOKEN[name].value_text(one) for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
