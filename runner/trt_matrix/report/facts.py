"""Everything behind the numbers, as plain values: facts to show, and the whole judgement as JSON."""

import functools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

from pydantic import BaseModel

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.judgement import CellResult, Judgement

WHOLE = 100
"""Cells up to which the embedded data leave nothing out."""
TOLD = frozenset({"cells", "answers", "network"})
"""Fields of a judgement that are laid out by themselves."""
DEEPEST = 32
"""Levels of nested facts that are kept; a job may write any JSON."""


class FactGroup(NamedTuple):
    """Facts that several cells share, so that they are shown and stored once."""

    facts: Mapping[str, Any]
    results: tuple[CellResult, ...]


def fact_groups(judgement: Judgement) -> tuple[FactGroup, ...]:
    """Groups the cells that state facts, by the place and the facts' content."""
    groups = grouped(
        ((result.place, json.dumps(plain(result.facts), sort_keys=True)), result)
        for result in judgement.cells
        if result.facts
    )
    return tuple(FactGroup(cells[0].facts, tuple(cells)) for cells in groups.values())


def flat(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yields (`probed › engine › version`, `1.32.0`) for every leaf of nested facts, in their order.

    A list of plain values is one leaf, one value a line.
    """
    value = plain(value) if not path else value
    name = " › ".join(path)
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value, start=1):
            yield from flat(inner, (*path, str(index)))
    elif isinstance(value, list):
        yield name, "\n".join(map(_leaf, value))
    else:
        yield name, _leaf(value)


def _leaf(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def data(judgement: Judgement, kept: Collection[str] | None = None) -> dict[str, Any]:
    """Returns the whole judgement as plain JSON values, for a program that reads the page.

    Small enough to mail: numbers have 6 significant digits, what is None or empty is left out, and
    what many cells share stands once:

    - `results` is a table, a row a cell and head: `columns` are paths as `error.nmse`, of `rows`; in
      `output` two rows have one number where their outputs are bit-identical;
    - `facts` of a cell is the index of its facts in `cell_facts`, to be laid over `common_facts`;
    - `cells` of a finding are places in `cells`; what a head's answer shares with `network` stands there alone,
      and `findings` of the head has its place among those of `network` in its stead;
    - a verdict's cell and head are those that it stands with, boxes of a cell's heads are in `results`;
    - boxes by size and the errors against fp32 are in matrices of up to `WHOLE` cells alone (the page
      shows them), and of cells that are not `kept` there is nothing but the id and the status (their
      numbers are in results.parquet); `left_out` says so.
    """
    detailed = replace(
        judgement,
        cells=tuple(result for result in judgement.cells if kept is None or result.id in kept),
    )
    groups = fact_groups(detailed)
    index = {result.id: number for number, group in enumerate(groups) for result in group.results}
    every = [_lean(group.facts) for group in groups]
    common = functools.reduce(_shared, every) if len(every) > 1 else {}
    whole = len(detailed.cells) <= WHOLE
    number = len(judgement.cells) - len(detailed.cells)
    everything: dict[str, Any] = _lean(
        {
            field.name: getattr(judgement, field.name)
            for field in fields(judgement)
            if field.name not in TOLD
        }
    )
    everything |= _lean(_answers(judgement))
    everything["schema_version"] = 3
    everything["common_facts"] = common
    everything["cell_facts"] = [_without(facts, common) for facts in every]
    everything["left_out"] = [] if whole else ["against_fp32", "boxes by size"]
    everything["left_out"] += [f"details of {number} cells"] if number else []
    everything["cells"] = [
        _cell(result, index, whole=whole)
        if kept is None or result.id in kept
        else {"id": result.id, "status": result.status}
        for result in judgement.cells
    ]
    everything["results"] = _table(_results(detailed, whole=whole))
    return everything


def _answers(judgement: Judgement) -> dict[str, Any]:
    places = {result.id: number for number, result in enumerate(judgement.cells)}
    network = judgement.network
    shared = {finding: number for number, finding in enumerate(network.findings if network else ())}
    return {
        "network": network and _answer(network, places, {}),
        "answers": [_answer(answer, places, shared) for answer in judgement.answers],
    }


def _answer(
    answer: Answer, places: Mapping[str, int], shared: Mapping[Finding, int]
) -> dict[str, Any]:
    findings = [
        shared[finding] if finding in shared else _finding(finding, places)
        for finding in answer.findings
    ]
    return {**plain(replace(answer, findings=())), "findings": findings}


def _finding(finding: Finding, places: Mapping[str, int]) -> dict[str, Any]:
    cells = [places[cell] for cell in finding.cells if cell in places]
    return {**plain(finding), "cells": cells}


def _cell(result: CellResult, index: Mapping[str, int], *, whole: bool) -> dict[str, Any]:
    boxes = replace(result.boxes, heads={}) if result.boxes else None
    lean: dict[str, Any] = _lean(replace(result, heads=(), facts={}, boxes=boxes))
    if result.id in index:
        lean["facts"] = index[result.id]
    _tidy(lean, lean.get("boxes", {}).get("whole"), whole=whole)
    return {"id": result.id, **lean}


def _results(judgement: Judgement, *, whole: bool) -> Iterator[Mapping[str, Any]]:
    outputs = _outputs(judgement)
    for result in judgement.cells:
        for head in result.heads:
            lean = _lean(replace(head, identical_to=()))
            _tidy(lean, lean.get("boxes"), whole=whole)
            if not whole:
                lean.pop("against_fp32", None)
            output = outputs[result.id, head.head]
            yield {"cell": result.id, **dict(_paths(lean)), "output": output}


def _tidy(part: dict[str, Any], boxes: dict[str, Any] | None, *, whole: bool) -> None:
    """Takes out what stands beside it already."""
    for verdict in part.get("verdicts", ()):
        del verdict["cell"]
        verdict.pop("head", None)
    if boxes and not whole:
        for name in ("changes", "precision"):
            boxes[name] = {ALL: boxes[name][ALL]} if ALL in boxes.get(name, {}) else {}


def _paths(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (`error.nmse`, 0.01) for what nested mappings hold."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _paths(inner, f"{before}{key}.")
        else:
            yield f"{before}{key}", inner


def _table(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    columns = distinct(name for row in rows for name in row)
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in rows]}


def _outputs(judgement: Judgement) -> dict[tuple[str, str], int]:
    """Returns (cell, head) → a number for its output; bit-identical outputs have the same."""
    numbers: dict[tuple[str, str], int] = {}
    for result in judgement.cells:
        for head in result.heads:
            twin = next(
                (key for other in head.identical_to if (key := (other, head.head)) in numbers), None
            )
            numbers[result.id, head.head] = numbers[twin] if twin else len(numbers)
    return numbers


def _shared(mine: Any, other: Any) -> Any:
    """Returns what two nested mappings have in common."""
    return {
        key: _shared(value, other[key]) if isinstance(value, dict) else value
        for key, value in mine.items()
        if key in other
        and (value == other[key] or (isinstance(value, dict) and isinstance(other[key], dict)))
    }


def _without(facts: Any, common: Any) -> Any:
    """Returns what of a nested mapping is not in `common`."""
    return {
        key: _without(value, common[key]) if isinstance(value, dict) and key in common else value
        for key, value in facts.items()
        if key not in common or value != common[key]
    }


def _lean(value: object) -> Any:
    """Returns `value` as plain values, without what is None or empty, numbers to 6 digits."""
    return _thinned(plain(value))


def _thinned(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        thin = {key: _thinned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in thin.items() if inner not in (None, {}, [], "")}
    if isinstance(value, list):
        return [_thinned(inner) for inner in value]
    return value


def plain(value: object, depth: int = DEEPEST) -> Any:
    """Returns `value` in dicts, lists, str, numbers, bool and None; NaN and infinities become None.

    Raises:
        TypeError: something in it is no JSON value.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth == 0:
        return "… (nested too deep to keep)"
    if isinstance(value, BaseModel):
        return plain(value.model_dump(), depth)
    if is_dataclass(value):
        return {
            field.name.rstrip("_"): plain(getattr(value, field.name), depth - 1)
            for field in fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth - 1) for inner in value]
    message = f"{type(value).__name__} is no JSON value: {value!r:.80}"
    raise TypeError(message)
