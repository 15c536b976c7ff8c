"""The table that a program is said to have run with: read, brought to the network's names, handed on.

Nothing here loses outputs: a table that cannot be used is told, and the pass goes on without it. Whether its
ranges can be right is for the host to say, which has the reference's (`trt_matrix.execution.table_checks`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.forms import ReadTable, TableForm
from trt_matrix.core.tables.table import FLOAT32_MAX, LEVELS, TableError
from trt_matrix.dumps.brought import Target, brought
from trt_matrix.dumps.table_file import TableFile, read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class TableContext:
    """What a table is read for."""

    model: onnx.ModelProto
    engine: str
    """Whose rules it is simulated with."""
    heads: Sequence[tuple[str, str]]
    """(head, output tensor)."""
    least: float
    """`calibration.coverage`: least share of the tensors that must have a scale."""
    shared: Mapping[str, float] | None = None
    """The table that the pass is said to have run with, tensor → amax; None where it has its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenTable:
    """What became of it."""

    problem: str | None = None
    """Why it is not used."""
    notes: tuple[str, ...] = ()
    """How it was read, and what is doubtful."""
    scales: Mapping[str, Any] | None = None
    """`scales` of build.json; None where nothing was read."""
    cache: bytes | None = None
    """A calibration cache of the network's names; None where it is not used, or is the shared table."""


def take(file: TableFile, asked: TableContext) -> TakenTable:
    """Reads a table; says why it is not used rather than raise."""
    name = file.path.name
    try:
        table, content = read_table(file.path)
    except TableError as error:
        return _unread(f"{name} cannot be read as a calibration table: {error}", asked)
    target = Target(model=asked.model, heads=asked.heads, least=asked.least)
    mine = brought(name, table, file.names, target)
    notes = [*mine.called.problems, *mine.notes()]
    if asked.shared is not None:
        problem = _other_than_shared(name, mine.found, asked.shared)
        return TakenTable(problem=problem, notes=tuple(notes))
    unmapped, note = mine.unmapped(asked.engine)
    scales = _scales(mine.found, mine.wanted, unmapped)
    if problem := mine.uncovered(unmapped, "record the table of this file"):
        return TakenTable(problem=problem, notes=tuple(notes), scales=scales)
    if note:
        notes.append(note)
    elif mine.called.nearest:
        notes.append(
            f"{name} names {len(mine.wanted) - len(unmapped)} of {len(mine.wanted)} tensors; "
            f"{mine.called.advice()}"
        )
    exact = table.form is TableForm.CACHE and not mine.called.names
    cache = content if exact and _is_plain(content) else _cache(mine.found)
    return TakenTable(notes=tuple(notes), scales=scales, cache=cache)


def _unread(problem: str, asked: TableContext) -> TakenTable:
    if asked.shared is None:
        return TakenTable(problem=problem)
    # That it ran with the shared table is the user's word, with or without the file.
    return TakenTable(notes=(f"{problem}; that it ran with the shared table is not checked",))


def _scales(mine: ReadTable, wanted: Sequence[str], unmapped: Sequence[str]) -> Mapping[str, Any]:
    table = mine.table()
    known = frozenset(wanted)
    without = frozenset(unmapped)
    bad = [tensor for tensor in wanted if tensor in table.unusable]
    return {
        "form": str(mine.form),
        "table": len(table.amax),
        "mapped": len(wanted) - len(without) - len(bad),
        "unmapped": [tensor for tensor in wanted if tensor in without],
        "unknown": [tensor for tensor in mine.names if tensor not in known],
        "zero": bad,
    }


def _is_plain(content: bytes) -> bool:
    """Whether a cache is one as it stands, byte for byte."""
    try:
        trt_cache.parse(content.decode("utf-8"))
    except (UnicodeDecodeError, trt_cache.CacheError):
        return False
    return True


def _cache(mine: ReadTable) -> bytes:
    """Returns a table as a calibration cache; what float32 cannot hold is infinite there."""
    scales = {}
    for name, value in {**dict.fromkeys(mine.unusable, 0.0), **mine.values}.items():
        scale = value / LEVELS
        scales[name] = math.copysign(math.inf, scale) if abs(scale) > FLOAT32_MAX else scale
    words = None if mine.header else str(mine.form)
    cache = trt_cache.Cache(header=mine.header, scales=scales, words=words)
    return trt_cache.write(cache).encode("utf-8")


def _other_than_shared(name: str, mine: ReadTable, shared: Mapping[str, float]) -> str | None:
    """Returns that a table has not the scales of the one that all environments get; None where it has."""
    # A cache rounds a scale to float32.
    wrong = [
        tensor
        for tensor, value in shared.items()
        if not abs(mine.values.get(tensor, 0.0) - value) <= 1e-6 * value
    ]
    if not wrong:
        return None
    return (
        f"{name} is not this experiment's shared table: {len(wrong):,} of {len(shared):,} scales are "
        f"others, such as that of {wrong[0]!r}; record again with the shared table (tables/ of a run), or "
        "call the pass int8, with a table of its own"
    )


def shared_table(path: str | None) -> Mapping[str, float] | None:
    """Returns the table that a request carries, tensor → amax."""
    if path is None:
        return None
    content: Mapping[str, float] = json.loads(Path(path).read_text("utf-8"))
    return content
