"""Calibration tables in every form in which people have them: one reader, which says what it read.

What can be read may still be wrong: `mistakes` holds it against the ranges of the reference.
"""

import json
from collections.abc import Mapping
from typing import Any

from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.loading import parse
from trt_matrix.core.tables import ort_table, table, trt_cache
from trt_matrix.core.tables.forms import ReadTable, TableForm
from trt_matrix.core.tables.qdq_table import from_qdq
from trt_matrix.core.tables.table import LEVELS, Provenance, TableError

LIMIT_BYTES = 32 << 20
"""No table is larger: one of a hundred thousand tensors has 10 MB. A network may be."""
LIMIT_NETWORK_BYTES = (2 << 30) - 1
"""No protocol buffer is larger."""
_NEWEST_IR = 32
"""IR versions of ONNX are small numbers: 3 to 13 so far."""

OWN_KEYS = frozenset({"schema_version", "amax"})


def read(content: bytes) -> ReadTable:
    """Reads a table of any form: what it is, is told by what it holds and not by its name.

    Raises:
        TableError: it is none, or names no tensor; says what it looks like and what to do.
    """
    if is_network(content):
        return _network(content)
    if len(content) > LIMIT_BYTES:
        message = (
            f"it has {len(content) / 1e6:,.0f} MB or more, and no calibration table is so large"
        )
        raise TableError(message)
    text = _text(content)
    if text is None:
        read_table = _ranges(TableForm.FLATBUFFERS, _flatbuffers(content))
    elif not text.strip():
        message = "it is empty: did the program that wrote it end, and close the file?"
        raise TableError(message)
    elif text.lstrip().startswith("{"):
        read_table = _json(text)
    else:
        read_table = _lines(text)
    if not read_table.names:
        message = "it names no tensor: did the program that wrote it end, and close the file?"
        raise TableError(message)
    for name in read_table.names:
        if not name.strip() or "\n" in name or len(name) > 10_000:
            message = f"{name[:60]!r} is no tensor's name: write the table again"
            raise TableError(message)
    return read_table


def is_network(beginning: bytes) -> bool:
    """Whether a file that begins so is an ONNX network: its first field is the IR version."""
    return beginning[:1] == b"\x08" and 0 < (beginning[1:2] or b"\0")[0] <= _NEWEST_IR


def _network(content: bytes) -> ReadTable:
    try:
        return from_qdq(parse(content, "the network"))
    except GraphError as error:
        message = f"it begins as an ONNX network and is none ({error})"
        raise TableError(message) from error


def _text(content: bytes) -> str | None:
    """Returns the text that a file holds, None where it holds none."""
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # as `>` of PowerShell writes
            return content.decode("utf-16")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _flatbuffers(content: bytes) -> Mapping[str, float]:
    try:
        return ort_table.from_flatbuffers(content)
    except TableError as error:
        message = (
            f"it is binary, and {error}: expected a TensorRT calibration cache, or ONNX Runtime's "
            "calibration.json or calibration.flatbuffers, or a network with Q/DQ; is it an engine, or a timing cache?"
        )
        raise TableError(message) from error


def _json(text: str) -> ReadTable:
    try:
        content = json.loads(text, object_pairs_hook=_no_duplicates)
    except TableError:
        raise
    except (ValueError, RecursionError) as error:
        message = f"it begins as JSON and is none ({str(error)[:120]}): was it cut?"
        raise TableError(message) from error
    if isinstance(content, dict) and content.keys() >= OWN_KEYS:
        own = table.from_json(text)
        return ReadTable(
            form=TableForm.OWN, values=own.amax, unusable=own.unusable, provenance=own.provenance
        )
    return _ranges(TableForm.JSON, ort_table.from_json(content))


def _lines(text: str) -> ReadTable:
    """Reads lines: a calibration cache, else names and numbers.

    Raises:
        TableError: they are neither; what is told is of the one that the second line looks like.
    """
    try:
        cache = trt_cache.parse(text)
    except trt_cache.CacheError as error:
        refused: TableError = error
    else:
        if cache.scales:
            return ReadTable(
                form=TableForm.CACHE,
                values={name: LEVELS * scale for name, scale in cache.scales.items()},
                provenance=trt_cache.to_table(cache).provenance,
                header=cache.header,
            )
        refused = TableError(
            f"it has no line 'tensor: scale', only {text.strip()[:60]!r}: is it a calibration table?"
        )
    try:
        numbers = _numbers(text)
        if not numbers.values:
            raise refused
        return numbers
    except TableError as error:
        second = text.strip().partition("\n")[2].partition("\n")[0]
        raise error if _is_number_line(second) else refused from None


def _numbers(text: str) -> ReadTable:
    """Reads names and decimal numbers; the first line may be a header.

    Raises:
        TableError: another line is none.
    """
    first, _, rest = text.lstrip().partition("\n")
    if not _is_number_line(first):
        text = f"\n{rest}"
    values = ort_table.from_text(text)
    if values and all(name.endswith(":") for name in values):
        scales = {name.removesuffix(":").rstrip(): value for name, value in values.items()}
        return _ranges(TableForm.DECIMAL, {name: LEVELS * value for name, value in scales.items()})
    return _ranges(TableForm.TEXT, values)


def _is_number_line(line: str) -> bool:
    _, blank, value = line.strip().rpartition(" ")
    return bool(blank) and ort_table.number_of(value) is not None


def _ranges(form: TableForm, values: Mapping[str, float]) -> ReadTable:
    return ReadTable(form=form, values=values, provenance=Provenance(algorithm=f"unknown ({form})"))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content and content[name] != value:
            message = f"tensor {name[:120]!r} has two values: delete the wrong one"
            raise TableError(message)
        content[name] = value
    return content
