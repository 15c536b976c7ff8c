"""Arrays that stand in JSON: what Polygraphy and trtexec save; never writes.

Polygraphy (NVIDIA/TensorRT, tools/Polygraphy, polygraphy/comparator/struct.py and polygraphy/json/serde.py):

    --save-outputs  {"lst": [[runner, [{"outputs": {name: {"values": ARRAY}}, …}, …]], …]}, an entry an iteration
    --save-inputs   [{name: ARRAY}, …]
    ARRAY           {"array": base64 of an .npy}; in old files of an .npz, or the bytes as Latin-1

trtexec (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONOutput; sampleUtils.cpp, dumpBuffer):

    --exportOutput  [{"name": "…", "dimensions": "1x3x20x20", "values": [ 0.1, -nan, … ]}, …]

Iterations are put together along the first axis. trtexec escapes no name, writes what C++ calls NaN and
infinity, and six digits of every number: what it saved cannot be read by a JSON parser alone.
"""

import base64
import binascii
import functools
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.dumps.suspicions import looks_like_text
from trt_matrix.dumps.tensor import (
    ChannelOrder,
    DumpError,
    NoNumbersError,
    Tensor,
    channels_first,
    reporting,
)
from trt_matrix.store.arrays import BAD_HEADER, BAD_ZIP, read_header

LIMIT_BYTES = 2_000_000_000
"""Of a file: all of it is held while it is read."""

MANTISSA = 1 << 24
"""float32 holds every whole number up to here."""

SIX_DIGITS = "written by trtexec with six digits: relative errors up to 5e-6 are its rounding"

Array = npt.NDArray[np.floating]

_ENTRY = re.compile(
    rb'\s*\{\s*"name"\s*:\s*"(?P<name>[^\n]*?)"\s*,\s*"dimensions"\s*:\s*"(?P<dimensions>[^"\n]*)"\s*,'
    rb'\s*"values"\s*:\s*\[(?P<values>[^\]]*)\]\s*\}'
)
_BEGINS_LIKE_TRTEXEC = re.compile(rb'\s*\[\s*\{\s*"name"\s*:\s*"[^\n]*?"\s*,\s*"dimensions"')
_NEXT = re.compile(rb"\s*(?P<mark>,|\])")
_STAMP = re.compile(r"-\d\d/\d\d/\d\d-\d\d:\d\d:\d\d$")
"""The time at the end of the names that Polygraphy gives runners: other runs' could not be found by them."""

_OTHERS = (
    (re.compile(rb'\s*\[\s*\{\s*"count"\s*:'), "layers' times (trtexec --exportProfile): `profile` of a pass takes them"),
    (re.compile(rb'\s*\[\s*\{\s*"start\w+Ms"\s*:'), "times of runs (trtexec --exportTimes), no outputs"),
    (re.compile(rb'\s*\{\s*"(Layers|Bindings)"\s*:'), "an engine's layers (trtexec --exportLayerInfo): `layers` of a pass takes them"),
)  # fmt: skip


def looks_written(beginning: bytes) -> bool:
    """Tells whether a file that begins so may be JSON of arrays."""
    if _BEGINS_LIKE_TRTEXEC.match(beginning):
        return True  # whatever letters its names have
    return looks_like_text(beginning, ".json") and beginning.lstrip()[:1] in (b"{", b"[")


def written(path: Path, layout: ChannelOrder) -> tuple[Tensor, ...]:
    """Returns the arrays that stand in a JSON file; an array is called `NAME.npy`, as in an .npz.

    Where several runners of Polygraphy are in one file, `RUNNER/NAME.npy`, without the runner's time.

    Raises:
        NoNumbersError: it is JSON of something else, or no JSON at all.
        DumpError: it is one of these files and damaged, or holds what cannot be compared.
        OSError: it cannot be read.
    """
    status = path.stat()
    arrays = _arrays(path, status.st_size, status.st_mtime_ns)
    return tuple(_tensor(path, name, array, note, layout) for name, (array, note) in arrays.items())


def _tensor(path: Path, name: str, array: Array, note: str, layout: ChannelOrder) -> Tensor:
    shape, layout = channels_first(array.shape, layout)
    return Tensor(
        path=path, member=f"{name}.npy", raw=False, dtype=array.dtype, shape=shape, layout=layout,
        offset=0, elements=array.size, content=partial(_content, path, name), note=note,
    )  # fmt: skip


def _content(path: Path, name: str) -> bytes:
    """Returns the bytes of one array, read again where the file is no longer known."""
    status = path.stat()
    array = _arrays(path, status.st_size, status.st_mtime_ns).get(name)
    if array is None:
        raise DumpError(f"{path}[{name}] has gone: is the file still being written?")
    return array[0].tobytes()


@functools.lru_cache(maxsize=2)  # A's and B's
def _arrays(path: Path, size: int, _changed_ns: int) -> Mapping[str, tuple[Array, str]]:
    """Returns name → array, and what its reader should know of it."""
    if size > LIMIT_BYTES:
        message = f"{path} is JSON of {size:,} bytes, more than {LIMIT_BYTES:,}: save .npy or .npz"
        raise DumpError(message)
    with reporting(str(path)):
        content = path.read_bytes()
    for pattern, what in _OTHERS:
        if pattern.match(content):
            raise NoNumbersError(f"{path} holds {what}")
    if _BEGINS_LIKE_TRTEXEC.match(content):
        arrays = {name: (array, SIX_DIGITS) for name, array in _of_trtexec(path, content)}
    else:
        arrays = _of_polygraphy(path, content)
    if not arrays:
        raise NoNumbersError(f"{path} holds no array")
    for name, (array, _) in arrays.items():
        if not array.size:
            raise DumpError(f"{path}[{name}] has shape {array.shape}: there is nothing to compare")
    return arrays


def _of_trtexec(path: Path, content: bytes) -> Iterator[tuple[str, Array]]:
    at = content.index(b"[") + 1
    names = set()
    while True:
        entry = _ENTRY.match(content, at)
        after = entry and _NEXT.match(content, entry.end())
        if entry is None or after is None:
            message = f"{path} is trtexec's --exportOutput, and cut or damaged after byte {at:,}"
            raise DumpError(message)
        name = entry["name"].decode("utf-8", "replace")
        if name in names:
            raise DumpError(f"{path} holds two arrays called {name!r}")
        names.add(name)
        yield name, _values(f"{path}[{name}]", entry["dimensions"], entry["values"])
        at = after.end()
        if after["mark"] == b"]":
            if content[at:].strip():
                raise DumpError(
                    f"{path} has more behind trtexec's list, from byte {at:,}: save each alone"
                )
            return


def _values(where: str, dimensions: bytes, values: bytes) -> Array:
    try:
        shape = tuple(int(axis) for axis in dimensions.split(b"x")) if dimensions.strip() else ()
        text = values.decode("ascii").strip()
        if not text or text.endswith(","):  # numpy would make a number up at the end: -1
            text += "nothing"
        array = np.fromstring(text, np.float64, sep=",")
    except ValueError as error:
        raise DumpError(f"{where} holds what is no number, or no shape: {error}") from error
    if min(shape, default=1) < 0 or array.size != math.prod(shape):
        size = dimensions.decode("ascii", "replace")
        raise DumpError(f"{where} was cut: {array.size:,} values, its dimensions are {size!r}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32).reshape(shape)


def _of_polygraphy(path: Path, content: bytes) -> dict[str, tuple[Array, str]]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"{path} holds text, and no JSON of Polygraphy or trtexec: {error}"
        raise NoNumbersError(message) from error
    tensors = {}
    for name, iterations in _named(path, value).items():
        arrays = [_array(f"{path}[{name}]", iteration) for iteration in iterations]
        shapes = {array.shape[1:] for array in arrays}
        if len(arrays) > 1 and (len(shapes) > 1 or not arrays[0].ndim):
            raise DumpError(
                f"{path}[{name}]: its iterations have shapes {sorted(shapes)[:3]}: save each alone"
            )
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        note = "" if array.dtype.kind == "f" else f"holds {array.dtype}, compared as numbers"
        tensors[name] = (_floating(array), note)
    return tensors


def _named(path: Path, value: Any) -> dict[str, list[Any]]:
    """Returns name → what is said of it, an entry an iteration.

    Raises:
        NoNumbersError: the JSON is not of this form.
        DumpError: an iteration lacks an output, or two runners are called the same.
    """
    try:
        if isinstance(value, list):
            runners = [("", value)]
        else:
            runners = [
                (_STAMP.sub("", str(runner)), [iteration["outputs"] for iteration in iterations])
                for runner, iterations in value["lst"]
            ]
        by_name: dict[str, list[Any]] = {}
        for runner, iterations in runners:
            for number, outputs in enumerate(iterations):
                if unequal := [*(outputs.keys() ^ iterations[0].keys())]:
                    message = f"{path}[{unequal[0]}]: not every iteration has it: save each alone"
                    raise DumpError(message)
                for name, output in outputs.items():
                    called = f"{runner}/{name}" if len(runners) > 1 else name
                    by_name.setdefault(called, []).append(output.get("values", output)["array"])
                    if len(by_name[called]) != number + 1:
                        message = f"{path}[{called}]: two runners are called {runner!r}, but for their times"
                        raise DumpError(message)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{path} is JSON, and none of Polygraphy's (--save-outputs) or trtexec's (--exportOutput)"
        raise NoNumbersError(message) from error
    return by_name


def _array(where: str, payload: Any) -> npt.NDArray[Any]:
    """Returns the array of `{"array": payload}`.

    Raises:
        DumpError: it is none, is cut, or is of a type that cannot be compared.
    """
    try:
        content = _bytes(payload)
        if content.startswith(b"PK"):
            content = _first_member(content)
        stream = io.BytesIO(content)
        shape, fortran, dtype = read_header(stream)
    except (*BAD_HEADER, *BAD_ZIP, StopIteration, AttributeError) as error:
        message = f"{where} holds no array of numpy: {type(error).__name__}: {error}"
        raise DumpError(message) from error
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise DumpError(f"{where} holds {dtype}: convert it to float32 before it is saved")
    elements = math.prod(shape)
    if min(shape, default=1) < 0 or (len(content) - stream.tell()) != elements * dtype.itemsize:
        raise DumpError(f"{where} was cut: {shape} of {dtype} do not fit what is there")
    flat = np.frombuffer(content, dtype, elements, stream.tell())
    return np.ascontiguousarray(flat.reshape(shape, order="F" if fortran else "C"))


def _bytes(payload: str) -> bytes:
    try:
        return base64.b64decode(payload.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return payload.encode("latin-1")


def _first_member(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = next(iter(archive.infolist()))
        if info.file_size > LIMIT_BYTES:
            raise ValueError(f"{info.file_size:,} bytes in an archive")
        return archive.read(info)


def _floating(array: npt.NDArray[Any]) -> Array:
    if array.dtype.kind == "f":
        return array
    largest = max(abs(int(array.max())), abs(int(array.min()))) if array.size else 0
    return array.astype(np.float32 if largest <= MANTISSA else np.float64)
