"""Everything behind the numbers, as plain values: facts to show, and the whole judgement as JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from runner.core.judgement import CellResult, Judgement
from runner.report.views import Place, place

DEEPEST = 32
"""Levels of nested facts that are kept; a job may write any JSON."""


class FactGroup(NamedTuple):
    """Facts that several cells share, so that they are shown and stored once."""

    facts: Mapping[str, Any]
    results: tuple[CellResult, ...]


def fact_groups(judgement: Judgement) -> tuple[FactGroup, ...]:
    """Groups the cells that state facts, by the place and the facts' content."""
    found: dict[tuple[Place, str], list[CellResult]] = {}
    for result in judgement.cells:
        if result.facts:
            key = (place(result), json.dumps(plain(result.facts), sort_keys=True))
            found.setdefault(key, []).append(result)
    return tuple(FactGroup(cells[0].facts, tuple(cells)) for cells in found.values())


def flat(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yields (`probed › engine › version`, `1.32.0`) for every leaf of nested facts, in their order.

    A list of plain values is one leaf, one value a line.
    """
    value = plain(value) if not path else value
    name = " › ".join(path)
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for index, inner in enumerate(value, start=1):
            yield from flat(inner, (*path, str(index)))
    elif isinstance(value, list):
        yield name, "\n".join(_leaf(one) for one in value)
    else:
        yield name, _leaf(value)


def _leaf(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def data(judgement: Judgement) -> dict[str, Any]:
    """Returns the whole judgement as plain JSON values; facts shared by cells stand once.

    A cell's `facts` is the index of its facts in `cell_facts`, or null.
    """
    groups = fact_groups(judgement)
    index = {one.cell.id: number for number, group in enumerate(groups) for one in group.results}
    everything: dict[str, Any] = plain(
        {
            field.name: getattr(judgement, field.name)
            for field in fields(judgement)
            if field.name != "cells"
        }
    )
    everything["schema_version"] = 1
    everything["cell_facts"] = [plain(group.facts) for group in groups]
    everything["cells"] = [
        {
            "id": result.cell.id,
            **{
                field.name: index.get(result.cell.id)
                if field.name == "facts"
                else plain(getattr(result, field.name))
                for field in fields(result)
            },
        }
        for result in judgement.cells
    ]
    return everything


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
    if is_dataclass(value):
        return {
            one.name.rstrip("_"): plain(getattr(value, one.name), depth - 1)
            for one in fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth - 1) for inner in value]
    message = f"{type(value).__name__} is no JSON value: {value!r:.80}"
    raise TypeError(message)
