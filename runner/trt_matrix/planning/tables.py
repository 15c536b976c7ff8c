"""The shared table where it is a file's: there, readable, and of this network.

Whether its ranges can be right is known when the reference has computed (`execution.table_checks`).
"""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.config.matrix import Config
from trt_matrix.config.shared_table import FILE, SharedTable
from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.table import Provenance, Table, TableError
from trt_matrix.core.words import listed
from trt_matrix.dumps.brought import NAMED, BroughtTable, Target, brought
from trt_matrix.dumps.table_file import read_table
from trt_matrix.execution.inputs import GivenTable
from trt_matrix.planning.problems import Add

PATH = ("calibration", "shared", "table")
"""Where matrix.yaml names it."""


@dataclass(frozen=True, slots=True)
class TableContent:
    """What the file holds."""

    settings: SharedTable
    read: ReadTable
    sha256: str


def shared_content(config: Config, root: Path, add: Add) -> TableContent | None:
    """Reads the file of the shared table; None where there is none, or `add` has taken what is wrong."""
    stated = config.calibration.shared
    if not isinstance(stated, SharedTable):
        return None
    path = root / stated.table
    try:
        table, content = read_table(path)
    except TableError as error:
        add(PATH, f"{path} cannot be read as a calibration table: {error}")
        return None
    return TableContent(stated, table, sha256(content).hexdigest())


def given_table(
    config: Config,
    content: TableContent,
    model: onnx.ModelProto,
    variants: Sequence[onnx.ModelProto],
    heads: Sequence[tuple[str, str]],
    engines: Collection[str],
) -> GivenTable:
    """Returns the table by the names of the network, with what is to be told of it; `engines` are given it.

    Raises:
        TableError: it names nothing of the network, or has no range that can be one.
        GraphError: no range can be measured in the network.
    """
    file = content.settings.table
    target = Target(model=model, heads=heads, least=config.calibration.coverage, variants=variants)
    mine = brought(file.name, content.read, content.settings.names, target)
    if not mine.anything:
        raise TableError(_of_nothing(mine))
    facts = _facts(mine.found, file, content.sha256)
    note = f"{file.name}: {', '.join(filter(None, (facts['form'], facts.get('maker'))))}"
    provenance = Provenance(
        algorithm=FILE,
        images_sha256=content.read.provenance.images_sha256,
        preprocess_sha256=content.read.provenance.preprocess_sha256,
        note=f"{note}; SHA-256 {content.sha256}",
    )
    table = dataclasses.replace(mine.found.table(), provenance=provenance)
    usable = [name for name in mine.wanted if name in table.amax]
    if not usable:
        first = next(name for name in mine.wanted if name in table.unusable)
        message = f"{file.name} has no range that can be one: {first!r}: {table.unusable[first]}"
        raise TableError(message)
    notes = (*mine.notes(), *_missing(mine))
    doubts = (*mine.called.problems, *_lacking(mine, table, engines))
    remarks = {"told": [*notes, *doubts]} if notes or doubts else {}
    return GivenTable(
        file=str(file),
        table=table,
        values=mine.found.values,
        scales=mine.found.form.scales,
        facts=facts | remarks,
        notes=notes,
        doubts=doubts,
    )


def _facts(table: ReadTable, file: Path, digest: str) -> dict[str, Any]:
    maker = str(table.header) if table.header else table.provenance.algorithm
    known = {} if maker.startswith("unknown") else {"maker": maker}
    return {"file": str(file), "sha256": digest, "form": str(table.form), **known}


def _of_nothing(mine: BroughtTable) -> str:
    theirs = [repr(name[:60]) for name in mine.found.names[:NAMED]]
    more = len(mine.found.names) - len(theirs)
    return (
        f"{mine.name} names none of the network's {len(mine.wanted)} tensors: it has {', '.join(theirs)}"
        f"{f' and {more:,} more' if more > 0 else ''}, the "
        f"network {listed(mine.wanted, NAMED)}; name the table of this network, or {mine.called.advice()}"
    )


def _missing(mine: BroughtTable) -> list[str]:
    missing = mine.called.unmapped
    if not missing:
        return []
    advice = f": {mine.called.advice()}" if mine.called.nearest else ""
    return [
        f"{mine.name} has no range for {len(missing)} of {len(mine.wanted)} tensors, "
        f"{listed(missing, NAMED)}{advice}"
    ]


def _lacking(mine: BroughtTable, table: Table, engines: Collection[str]) -> list[str]:
    """Returns what engines lack of the table, each reason once."""
    lacking: list[str] = []
    for engine in sorted(engines):
        unmapped, _ = mine.unmapped(engine)
        if problem := mine.uncovered(unmapped, "name the table of this network"):
            lacking.append(f"{problem}; what has no scale runs in float")
    bad = [name for name in mine.wanted if name in table.unusable]
    if bad:
        lacking.append(
            f"{mine.name}: {len(bad)} of {len(mine.wanted)} tensors have no range that can be one, such as "
            f"{bad[0]!r}: {table.unusable[bad[0]]}"
        )
    return list(dict.fromkeys(lacking))
