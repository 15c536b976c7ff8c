"""The long table: one row a cell and head, one column a quantity, units in the names."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.core import severity
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.severity import Severity
from trt_matrix.core.words import visible
from trt_matrix.report.columns import COLUMNS, NAMES, NUMBER, TEXT, TRUTH, WHOLE, Column
from trt_matrix.report.entries import Entry

CSV = "results.csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes a cell for a formula by, which may start programs."""
PARQUET = "results.parquet"
SEPARATOR = "; "
"""Between the names of a column that holds several, in the CSV file; in the other they are a list."""


def long_table(judgement: Judgement) -> list[dict[str, Any]]:
    """Returns one row a cell × head in the order of the plan; columns and types as in COLUMNS.

    A cell that did not run has one row a head all the same: status, reason and empty numbers.
    """
    severities = _severities(judgement)
    entries = (
        Entry(
            judgement=judgement,
            cell=cell,
            head=head,
            result=results.get(head),
            severity=severities.get((cell.id, head)),
        )
        for cell in judgement.cells
        for results in [{head_result.head: head_result for head_result in cell.heads}]
        for head in judgement.heads
    )
    return [{column.name: _value(column, entry) for column in COLUMNS} for entry in entries]


def _value(column: Column, entry: Entry) -> Any:
    value = column.value(entry)
    if column.type is NAMES:
        return [_encodable(name) for name in value]
    if value is None:
        return None
    if column.type is TEXT:
        return _encodable(str(value))
    return float(value) if column.type is NUMBER else value


def _encodable(text: str) -> str:
    """Returns `text` with lone surrogates, which no file can hold, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def write(table: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Path, ...]:
    """Writes results.csv into `folder`, and results.parquet where pyarrow is; each whole or not at all.

    The parquet file carries each column's meaning in its field's metadata, key `description`. Where
    pyarrow is not, an older one goes: it would tell of another judgement.

    Returns:
        Their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    csv_path, parquet_path = folder / CSV, folder / PARQUET
    protocol.write_bytes(str(csv_path), _csv([column.name for column in COLUMNS], table))
    try:
        parquet = _parquet(table)
    except ModuleNotFoundError:
        parquet_path.unlink(missing_ok=True)
        return (csv_path,)
    protocol.write_bytes(str(parquet_path), parquet)
    return csv_path, parquet_path


def _parquet(table: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the table as a Parquet file.

    Raises:
        ModuleNotFoundError: pyarrow, which the extra `frames` brings, is not installed.
    """
    import pyarrow as pa  # noqa: PLC0415 - of an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    types = {
        TEXT: pa.string(),
        NUMBER: pa.float64(),
        WHOLE: pa.int64(),
        TRUTH: pa.bool_(),
        NAMES: pa.list_(pa.field("element", pa.string())),
    }
    schema = pa.schema(
        [
            pa.field(column.name, types[column.type], metadata={"description": column.doc})
            for column in COLUMNS
        ]
    )
    sink = io.BytesIO()
    pq.write_table(_arrow(table, schema), sink)
    return sink.getvalue()


def _arrow(table: Sequence[Mapping[str, Any]], schema: Any) -> Any:
    if not table:
        return schema.empty_table()
    import pyarrow.json as pa_json  # noqa: PLC0415

    # As JSON, because pa.array and whatever uses it imports pandas, which takes a second.
    lines = "\n".join(json.dumps(row, allow_nan=False) for row in table).encode()
    return pa_json.read_json(
        io.BytesIO(lines),
        read_options=pa_json.ReadOptions(block_size=len(lines) + 1),
        parse_options=pa_json.ParseOptions(explicit_schema=schema),
    ).cast(schema)


def _csv(names: Sequence[str], table: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the table as RFC 4180 has it, but for plain line ends; what is empty is null.

    A text that a spreadsheet would take for a formula begins with an apostrophe; control characters are
    spelled out.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({name: _no_formula(value) for name, value in row.items()})
    return text.getvalue().encode()


def _no_formula(value: Any) -> Any:
    if isinstance(value, list):
        value = SEPARATOR.join(value)
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(FORMULA) else visible(value)


def _severities(judgement: Judgement) -> Mapping[tuple[str, str], Severity]:
    """Returns (cell, head) → how much the worst matters of what was found of that head there."""
    severities: dict[tuple[str, str], Severity] = {}
    for answer in judgement.answers:
        for finding in answer.findings:
            for cell in finding.cells:
                key = (cell, answer.head)
                severities[key] = severity.worst(
                    (finding.severity, severities.get(key, Severity.NONE))
                )
    return severities
