"""ONNX Runtime's calibration tables, as `quantization.write_calibration_table` writes them, to ranges.

    images 1.0                                                  calibration.cache, calibration.txt
    {"images": {"highest": …, "lowest": …}}                     calibration.json, of 1.17 and later
    {"images": [-1.0, 1.0]}                                     calibration.json, up to 1.16

and `calibration.flatbuffers`: a table whose first field is a vector of tables {key, value}, both text. A
value is a largest magnitude, no scale; text and flatbuffers hold the highest value alone. Sources:
onnxruntime/python/tools/quantization/quant_utils.py, CalTableFlatBuffers/. JSON of NVDLA's tools,
{"images": {"scale": …}}, is read too.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import flatbuffers

from trt_matrix.core.tables.table import LEVELS, TableError

_FIRST_FIELD, _SECOND_FIELD = 4, 6
"""Places in the vtable of a flatbuffers table."""
_WRAPPED = ("lowest", "highest")


def from_text(text: str) -> dict[str, float]:
    """Returns tensor → value of lines `name value`, split at the last blank.

    Raises:
        TableError: a line is none, or one tensor has two values; names the line.
    """
    values: dict[str, float] = {}
    for number, ended in enumerate(text.split("\n"), start=1):
        line = ended.strip()
        if not line:
            continue
        name, blank, value = line.rpartition(" ")
        parsed = number_of(value) if blank else None
        if parsed is None or not name.strip():
            message = f"line {number} is {line[:120]!r}, expected 'tensor value'"
            raise TableError(message)
        _take(values, name.strip(), parsed, f"line {number}")
    return values


def from_json(content: Any) -> dict[str, float]:
    """Returns tensor → largest magnitude, of what JSON holds: tensor → range, perhaps in {"CLS": "TensorsData", "data": …}.

    Raises:
        TableError: it is none, or one tensor's range is of no known form; names the tensor.
    """
    if isinstance(content, dict) and isinstance(content.get("data"), dict) and "CLS" in content:
        content = content["data"]
    if not isinstance(content, dict):
        message = f"a JSON {type(content).__name__}, expected an object of tensors"
        raise TableError(message)
    return {name: _magnitude(name, value) for name, value in content.items()}


def from_flatbuffers(content: bytes) -> dict[str, float]:
    """Returns tensor → value.

    Raises:
        TableError: it is no such table, or was cut.
    """
    values: dict[str, float] = {}
    try:
        table = _table_at(content, struct.unpack_from("<I", content)[0])
        entries = table.Offset(_FIRST_FIELD)
        count = table.VectorLen(entries) if entries else 0
        start = table.Vector(entries) if entries else 0
        if not entries or start + 4 * count > len(content):
            message = "no table of ONNX Runtime's"
            raise TableError(message)
        for index in range(count):
            entry = _table_at(content, table.Indirect(start + 4 * index))
            name, text = _text(entry, _FIRST_FIELD), _text(entry, _SECOND_FIELD)
            value = number_of(text)
            if not name or value is None:
                message = f"its entry {index} is {name[:60]!r}, {text[:60]!r}"
                raise TableError(message)
            _take(values, name, value, f"entry {index}")
    except TableError:
        raise
    # What reading beyond an end, or bytes that are no text, raise there.
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        message = f"its flatbuffers cannot be read ({type(error).__name__}): was it cut?"
        raise TableError(message) from error
    return values


def number_of(text: str) -> float | None:
    """Returns the decimal number that a text is, NaN and infinity among them; None where it is none."""
    if len(text) > 60 or "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _take(found: dict[str, float], name: str, value: float, where: str) -> None:
    before = found.setdefault(name, value)
    if before != value and not (math.isnan(before) and math.isnan(value)):
        message = (
            f"{where}: tensor {name[:120]!r} has two values, {before:g} and {value:g}: "
            "delete the wrong one, or calibrate again"
        )
        raise TableError(message)


def _magnitude(name: str, value: Any) -> float:
    """Returns the largest magnitude of a range in any of its forms."""
    if isinstance(value, Mapping):
        if _number(value.get("scale")) is not None:
            return LEVELS * float(value["scale"])
        ends = [_number(value.get(key)) for key in _WRAPPED]
    elif isinstance(value, list) and len(value) == 2:
        ends = list(map(_number, value))
    else:
        number = _number(value)
        ends = [number]
        if number is not None and number < 0:
            return number  # no range, and told as that
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        message = (
            f"tensor {name[:120]!r} is {json.dumps(value)[:80]}, expected [lowest, highest], "
            '{"lowest": …, "highest": …} or a largest magnitude'
        )
        raise TableError(message)
    # Not max(): that keeps or drops NaN as it stands first or second.
    return math.nan if any(map(math.isnan, known)) else max(map(abs, known))


def _number(value: Any) -> float | None:
    """Returns a number, or the one that a numpy array of one element holds."""
    if isinstance(value, Mapping) and "data" in value:
        value = value["data"]
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _table_at(content: bytes, place: int) -> Any:
    if not 0 < place < len(content):
        message = "no table of ONNX Runtime's"
        raise TableError(message)
    return flatbuffers.table.Table(content, place)


def _text(entry: Any, field: int) -> str:
    offset = entry.Offset(field)
    return bytes(entry.String(offset + entry.Pos)).decode("utf-8") if offset else ""
