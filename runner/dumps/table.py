"""The table that a program is said to have run with: read, brought to the network's names, handed on.

Nothing here loses outputs: a table that cannot be used is told, and the pass goes on without it. Whether its
ranges can be right is for the host to say, which has the reference's (`runner.execution.table_checks`).
"""

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from runner.core.network.calibration_graph import calibration_model
from runner.core.network.graph import GraphError
from runner.core.qdq.explicit import place
from runner.core.qdq.placements import ENGINES
from runner.core.tables import trt_cache
from runner.core.tables.coverage import Arrived, coverage, enough
from runner.core.tables.names import Naming, naming
from runner.core.tables.reading import LIMIT_BYTES, Form, ReadTable, read
from runner.core.tables.table import LEVELS, TableError
from runner.core.words import count, listed

NAMED = 5
"""Tensors that a line names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """A table as matrix.yaml names it."""

    path: Path
    names: Mapping[str, str] = field(default_factory=dict)
    """Theirs → the network's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
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
class Taken:
    """What became of it."""

    problem: str | None = None
    """Why it is not used."""
    notes: tuple[str, ...] = ()
    """How it was read, and what is doubtful."""
    scales: Mapping[str, Any] | None = None
    """`scales` of build.json; None where nothing was read."""
    cache: bytes | None = None
    """A calibration cache of the network's names; None where it is not used, or is the shared table."""


def take(file: TableFile, asked: Asked) -> Taken:
    """Reads a table; says why it is not used rather than raise."""
    name = file.path.name
    try:
        content = _content(file.path)
        found = read(content)
    except (OSError, TableError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return _unread(f"{name} cannot be read as a calibration table: {reason}", asked)
    _, wanted = calibration_model(asked.model)
    called = naming(tuple(found.values), wanted, file.names, asked.least)
    mine = found.renamed(called.names)
    notes = [*called.problems]
    if found.form is not Form.CACHE:
        notes.append(f"{name} was read as {found.form}")
    if called.affixes:
        notes.append(
            f"{count(len(called.names), 'name')} of {name} became the network's: {called.affixes}"
        )
    if asked.shared is not None:
        return Taken(problem=_other_than_shared(name, mine, asked.shared), notes=tuple(notes))
    unmapped, note = _unmapped(mine, wanted, asked)
    scales = _scales(mine, wanted, unmapped, found.form)
    if problem := _uncovered(name, unmapped, called, asked):
        return Taken(problem=problem, notes=tuple(notes), scales=scales)
    if note:
        notes.append(f"{name} {note}")
    elif called.nearest:
        notes.append(
            f"{name} names {len(wanted) - len(unmapped)} of {len(wanted)} tensors; {called.advice()}"
        )
    exact = found.form is Form.CACHE and not called.names
    cache = content if exact and _is_plain(content) else _cache(mine)
    return Taken(notes=tuple(notes), scales=scales, cache=cache)


def _content(path: Path) -> bytes:
    """Returns no more than is needed to see that a file is too large.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    # A pipe without a writer would block for ever without O_NONBLOCK.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            message = "it is no regular file"
            raise OSError(message)
        return stream.read(LIMIT_BYTES + 1)


def _unread(problem: str, asked: Asked) -> Taken:
    if asked.shared is None:
        return Taken(problem=problem)
    # That it ran with the shared table is the user's word, with or without the file.
    return Taken(notes=(f"{problem}; that it ran with the shared table is not checked",))


def _unmapped(
    mine: ReadTable, wanted: Sequence[str], asked: Asked
) -> tuple[Sequence[str], str | None]:
    """Returns the tensors without a value that matter, and why the others do not.

    A calibrator that works on the fused network, as TensorRT's first entropy calibrator, names no tensor
    inside a fused layer; nothing quantises those.
    """
    missing = [tensor for tensor in wanted if tensor not in mine.values]
    if enough(len(wanted) - len(missing), len(wanted), asked.least):
        return missing, None
    try:
        placed = place(asked.model, mine.table(), ENGINES[asked.engine])
    except GraphError:
        return missing, None
    lacking = [tensor for tensor in placed.skipped if tensor not in mine.values]
    layers = len(placed.quantised) + len(lacking)
    if not enough(layers - len(lacking), layers, asked.least):
        return missing, None
    return lacking, (
        f"names {len(wanted) - len(missing)} of {len(wanted)} tensors, {layers - len(lacking)} of the "
        f"{layers} that layers read: those inside fused layers need none"
    )


def _uncovered(name: str, unmapped: Sequence[str], called: Naming, asked: Asked) -> str | None:
    """Returns that a table names too little of a head; None where it is enough."""
    arrived = coverage(asked.model, Arrived(unmapped=unmapped), asked.heads)
    head, worst = min(
        arrived.items(), key=lambda one: 1.0 if one[1].ratio is None else one[1].ratio
    )
    if enough(worst.mapped, worst.total, asked.least):
        return None
    return (
        f"{name} names {worst.mapped} of the {worst.total} tensors of head {head}, less than "
        f"{asked.least:.0%}, and not {listed(worst.unmapped, NAMED)}: its names are likely those of another "
        f"exporter or another network; record the table of this file, or {called.advice()}"
    )


def _scales(
    mine: ReadTable, wanted: Sequence[str], unmapped: Sequence[str], form: Form
) -> Mapping[str, Any]:
    table = mine.table()
    known = frozenset(wanted)
    without = frozenset(unmapped)
    bad = [tensor for tensor in wanted if tensor in table.unusable]
    return {
        "form": str(form),
        "table": len(table.amax),
        "mapped": len(wanted) - len(without) - len(bad),
        "unmapped": [tensor for tensor in wanted if tensor in without],
        "unknown": [tensor for tensor in mine.values if tensor not in known],
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
    for name, value in mine.values.items():
        scale = value / LEVELS
        scales[name] = math.copysign(math.inf, scale) if abs(scale) > FLOAT32_MAX else scale
    words = None if mine.header else str(mine.form)
    cache = trt_cache.Cache(header=mine.header, scales=scales, words=words)
    return trt_cache.write(cache).encode("utf-8")


FLOAT32_MAX = 3.4028234663852886e38


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
