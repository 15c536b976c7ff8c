"""A decoder of the user's own: one Python file, found beside matrix.yaml and stored with the run.

It is the user's program and runs with the user's rights. It may import what is installed, but no
file beside it: judging again has this one file alone, and must do the same.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trt_matrix.core.boxes.decoding import DecodeError
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.styles import Detector, Output

COLUMNS = 7
"""Left, top, right, bottom, score, class index, head index."""

MOST_BOXES = 100_000
"""Of one image: each is stored, and compared with all of another version."""

Function = Callable[[dict[str, Output]], Any]


def file_of(entry_point: str) -> Path:
    """Returns the file of `package.module:function`, relative to matrix.yaml."""
    module = entry_point.partition(":")[0]
    return Path(*module.split(".")).with_suffix(".py")


def detector(source: bytes, entry_point: str, heads: Sequence[str]) -> Detector:
    """Runs the user's file and returns its function, `package.module:function`, as a decoder of these heads.

    Raises:
        DecodeError: the file cannot be run, or has no such function. The decoder raises the same
            where the function fails or returns no boxes; every message names the function.
    """
    function = _function(source, entry_point)

    def detect(outputs: Mapping[str, Output]) -> Boxes:
        # Copies: what is stored must not change, whatever the function does to its arguments.
        given = {head: np.array(outputs[head]) for head in heads}
        try:
            returned = function(given)
        except (Exception, SystemExit) as error:
            raise _named(entry_point, error) from error
        return _boxes(returned, entry_point)

    return detect


def _function(source: bytes, entry_point: str) -> Function:
    file, name = str(file_of(entry_point)), entry_point.partition(":")[2]
    module = types.ModuleType(entry_point.partition(":")[0])
    module.__file__ = file
    try:
        exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - the user's own program
    except (Exception, SystemExit) as error:
        raise _named(entry_point, error) from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [
            key for key, value in vars(module).items() if isinstance(value, types.FunctionType)
        ]
        raise DecodeError(f"{file} has no function {name!r}; it has {', '.join(known) or 'none'}")
    return function  # type: ignore[no-any-return]  # what it takes and returns is tried, not known


def _named(entry_point: str, error: BaseException) -> DecodeError:
    """Says which line of the user's file failed: the innermost one of that file."""
    file, line = str(file_of(entry_point)), getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" (line {line} of {file})" if line else f" ({file})"
    lines = str(error).strip().splitlines()
    return DecodeError(
        f"{entry_point} raised {type(error).__name__}: {lines[0][:300] if lines else ''}{where}"
    )


def _boxes(returned: Any, entry_point: str) -> Boxes:
    try:
        table = np.asarray(returned, np.float64)
    except (TypeError, ValueError) as error:
        message = f"{entry_point} returned {type(returned).__name__}, no array of numbers: {error}"
        raise DecodeError(message) from error
    if table.size == 0:
        table = table.reshape(0, COLUMNS)
    if table.ndim != 2 or table.shape[1] != COLUMNS:
        raise DecodeError(
            f"{entry_point} returned shape {table.shape}; (n, {COLUMNS}) is expected: left, top, "
            "right, bottom in pixels of the network's input, score, class index, head index"
        )
    if len(table) > MOST_BOXES:
        raise DecodeError(
            f"{entry_point} returned {len(table):,} boxes of one image; at most {MOST_BOXES:,}"
        )
    indices = table[:, 5:]
    if not (np.isfinite(indices).all() and (indices == np.floor(indices)).all()):
        raise DecodeError(f"{entry_point} returned a class or head index that is no whole number")
    classes, heads = indices.astype(np.intp).T
    return Boxes(table[:, :4], table[:, 4].astype(np.float32), classes, heads)
