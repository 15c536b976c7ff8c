"""Reads what a job left in its result folder. The job may have been killed, may lie, and may still run."""

import contextlib
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from pydantic import BaseModel

from trt_matrix.containers.job import protocol
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.table import Table
from trt_matrix.execution.answer_models import (
    RESULTS_LIMIT_BYTES,
    BuildAnswer,
    CalibrationAnswer,
    JobAnswer,
    LayersAnswer,
    PassAnswer,
    ProbeAnswer,
    ScalesAnswer,
    plain_json,
    valid,
)
from trt_matrix.store.objects import explained
from trt_matrix.store.untrusted import UntrustedError, content, copy

T = TypeVar("T", bound=BaseModel)

ANSWER_LIMIT_BYTES = 64 << 20
"""No honest answer is larger; a table of a million tensors would be."""
LOG_TAIL_BYTES = 4000
LONGEST_SUFFIX = 16
"""Of a file that is stored under its content's name."""

_MAGIC = b"\x93NUMPY\x01\x00"
_MOST_HEADER = 10_000
_HEADER = re.compile(
    rb"\{'descr': '(?P<type>[^'\\]{1,20})', 'fortran_order': False, "
    rb"'shape': \((?P<shape>(?:\d{1,15}, )*\d{1,15},?)\), \}\x20*\n"
)
"""As the job writes it; numpy's own reader evaluates it as Python, of any depth."""


class AnswerError(Exception):
    """A file of the result folder is not what the protocol asks for."""


@contextlib.contextmanager
def taking(what: str) -> Iterator[None]:
    """Whatever goes wrong while an answer is read is the fault of who gave it.

    Raises:
        AnswerError: in place of all that values of a wrong kind, size or shape lead to; not of what
            the user, the store or this machine's memory is to blame for.
    """
    try:
        yield
    except (
        ArithmeticError, AttributeError, DecodeError, LookupError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        message = f"{what} cannot be understood ({type(error).__name__}: {error!s:.500})"
        raise AnswerError(message) from error


class ResultFolder:
    """The folder that one job start writes into."""

    def __init__(self, folder: Path, limit_bytes: int = RESULTS_LIMIT_BYTES) -> None:
        """Reads nothing yet; beside `folder` there is room for copies that the job cannot change. No file is larger than the limit."""
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._copies: dict[tuple[str, str], Path] = {}

    def stage(self) -> str | None:
        """Returns the stage that the job entered last, as it wrote it: `infer int8-own-entropy`."""
        try:
            stage = self._content(protocol.STAGE) or b""
        except AnswerError:
            return None  # it is shown, nothing is decided by it
        return stage[:200].decode("utf-8", "replace").strip() or None

    def job(self) -> JobAnswer | None:
        """Returns the job's own last word, None where it gave none.

        Raises:
            AnswerError: it gave one that cannot be read.
        """
        return self._read(JobAnswer, protocol.RESULT)

    def probe(self) -> Mapping[str, Any]:
        """Returns the facts found inside; where they cannot be read, that is the fact."""
        try:
            facts = self._json(protocol.PROBE)
            if facts is None:
                return {}
            _valid(ProbeAnswer, facts, protocol.PROBE)
        except AnswerError as error:
            return {"problem": str(error)}
        return dict(facts)

    def calibration(self) -> CalibrationAnswer | None:
        """Raises AnswerError where the file is there but wrong."""
        return self._read(CalibrationAnswer, protocol.CALIBRATION)

    def finished(self, name: str) -> bool:
        try:
            return self._content(f"{protocol.PASSES}/{name}/{protocol.PASS}") is not None
        except AnswerError:
            return True  # and wrong, as `answer` will say

    def answer(self, name: str, *, ended: bool = True) -> PassAnswer | None:
        """Returns the answer of a pass; None where it gave none.

        `ended` tells whether the job has: where it did while a pass's layers were timed, all else of the pass is its answer.

        Raises:
            AnswerError: the file is there but wrong.
        """
        folder = f"{protocol.PASSES}/{name}"
        answer = self._read(PassAnswer, f"{folder}/{protocol.PASS}")
        if answer is None and ended:
            answer = self._read(PassAnswer, f"{folder}/{protocol.UNTIMED}")
        if answer and answer.status != "ok" and answer.error is None:
            raise AnswerError(f"{name}: a failed pass without an error")
        return answer

    def layers(self, name: str, file: str) -> LayersAnswer:
        """Returns what the engine made of the network's layers; `file` as in `file`."""
        return _valid(LayersAnswer, self._json_of(name, file), file)

    def build(self, name: str, file: str) -> Mapping[str, Any]:
        """Returns what the engine told of its build; `scales` reads the part that decides something."""
        facts = self._json_of(name, file)
        if not isinstance(facts, dict):
            raise AnswerError(f"{name}: {file} holds no JSON object")
        _valid(BuildAnswer, facts, f"{name}: {file}")
        return facts

    def scales(self, name: str, facts: Mapping[str, Any]) -> ScalesAnswer | None:
        """Returns what became of the scales in a build's facts; None where it took none.

        Raises:
            AnswerError: that part is no such facts.
        """
        if facts.get("scales") is None:
            return None
        return _valid(ScalesAnswer, facts["scales"], f"{name}: what its build told of scales")

    def cache_table(self, name: str, file: str, *, environment: str) -> Table:
        """Returns the table in a calibration cache that TensorRT wrote.

        Raises:
            AnswerError: the file is no calibration cache.
        """
        try:
            cache = trt_cache.parse(self.file(name, file).read_bytes().decode("utf-8"))
        except (UnicodeDecodeError, trt_cache.CacheError) as error:
            raise AnswerError(f"{name}: {file}: {error}") from error
        return trt_cache.to_table(cache, environment=environment)

    def file(self, name: str, file: str, most_bytes: int | None = None) -> Path:
        """Returns a copy of a plain file of one pass, which nobody else can write to.

        It may have `most_bytes`, or what the whole folder may.

        Raises:
            AnswerError: it is no such file.
        """
        if (name, file) not in self._copies:
            no_file = f"{name}: the answer names {file!a:.200}, which is no file of its folder"
            if not protocol.SAFE_NAME.match(file) or len(Path(file).suffix) > LONGEST_SUFFIX:
                raise AnswerError(no_file)
            with explained(self.folder.parent):
                ours = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix="taken-")) / file
                try:
                    source = f"{protocol.PASSES}/{name}/{file}"
                    copy(self.folder, source, ours, most_bytes or self.limit_bytes)
                except FileNotFoundError as error:
                    raise AnswerError(no_file) from error
                except UntrustedError as error:
                    raise AnswerError(f"{name}: {error}") from error
            self._copies[name, file] = ours
        return self._copies[name, file]

    def output(
        self,
        name: str,
        head: str,
        answer: PassAnswer,
        *,
        images: int,
        shape: tuple[int, ...] | None,
    ) -> Path:
        """Returns the checked .npy of one head, float32 with `images` on the first axis: a copy as `file` makes it.

        `shape` is that of the reference's output, (images, …); None where this is the reference.
        """
        if head not in answer.outputs:
            raise AnswerError(f"{name}: the answer lacks head {head!r}")
        most = None if shape is None else 2 * _MOST_HEADER + 8 * math.prod(shape)
        path = self.file(name, answer.outputs[head].file, most)
        type_, shape_found = _array_header(name, path)
        if type_ != "<f4" or len(shape_found) < 2 or shape_found[0] != images:
            raise AnswerError(
                f"{name}: head {head!r} has shape {shape_found!s:.200} and type {type_}; "
                f"expected {images} images of float32"
            )
        if shape is not None and shape_found != shape:
            moved = sorted(shape_found) == sorted(shape) and ": its axes stand in another order"
            advice = (
                ", as in TensorFlow: .transpose(0, 3, 1, 2) puts channels first"
                if moved and len(shape) == 4
                else ""
            )
            raise AnswerError(
                f"{name}: head {head!r} has shape {shape_found!s:.200}, the reference's is {shape}"
                f"{moved or ''}{advice}: the two cannot be compared"
            )
        return path

    def _read(self, kind: type[T], name: str) -> T | None:
        value = self._json(name)
        return None if value is None else _valid(kind, value, name)

    def _json(self, name: str) -> Any:
        """Returns the JSON value of a file; None where there is no such file."""
        text = self._content(name)
        return None if text is None else _json(text, name)

    def _json_of(self, name: str, file: str) -> Any:
        """Returns the JSON value of a file of one pass, as `file` takes it."""
        return _json(self.file(name, file, ANSWER_LIMIT_BYTES).read_bytes(), file)

    def _content(self, name: str) -> bytes | None:
        """Returns the bytes of a plain file of bounded size; None where there is none."""
        try:
            return content(self.folder, name, ANSWER_LIMIT_BYTES)
        except FileNotFoundError:
            return None
        except UntrustedError as error:
            raise AnswerError(str(error)) from error


def _json(text: bytes, name: str) -> Any:
    try:
        return plain_json(text)
    except ValueError as error:
        raise AnswerError(f"{name} is not a valid answer: {error}") from error


def _valid(kind: type[T], value: Any, what: str) -> T:
    try:
        return valid(kind, value)
    except ValueError as error:
        raise AnswerError(f"{what} is not a valid answer: {error}") from error


def _array_header(name: str, path: Path) -> tuple[str, tuple[int, ...]]:
    """Returns type and shape of a .npy whose size is exactly what these make.

    Raises:
        AnswerError: it is no .npy of version 1.0 in the order of C, or shorter or longer.
    """
    with path.open("rb") as stream:
        magic, length = stream.read(8), int.from_bytes(stream.read(2), "little")
        header = stream.read(length) if length <= _MOST_HEADER else b""
        begins, size = stream.tell(), os.fstat(stream.fileno()).st_size
    match = _HEADER.fullmatch(header)
    if magic != _MAGIC or match is None:
        message = f"{name}: {path.name} cannot be read as an array: no header that a job writes"
        raise AnswerError(message)
    type_ = match["type"].decode("ascii", "backslashreplace")
    shape = tuple(int(size) for size in match["shape"].split(b",") if size.strip())
    width = re.fullmatch(r"[<>|=]?[a-zA-Z](\d)", type_)
    wanted = begins + math.prod(shape) * int(width[1]) if width else None
    if size != wanted:
        raise AnswerError(
            f"{name}: {path.name} cannot be read as an array: {size} bytes, where its header "
            f"{header[:200]!r} makes {wanted}"
        )
    return type_, shape


def log_tail(log: Path) -> str:
    """Returns the end of a job's log, undecodable bytes replaced."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            size = stream.tell()
            stream.seek(max(0, size - LOG_TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def log_of_failure(log: Path, name: str) -> str:
    """Returns the end of an ended job's log up to where it says that the pass `name` failed; empty where it does not.

    While a job runs its log lags behind its answers, and afterwards the end is that of later passes.
    """
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        return ""
    line = rb"^" + re.escape(name.encode()) + rb": failed in stage .*\n?"
    ends = [match_.end() for match_ in re.finditer(line, content, re.MULTILINE)]
    if not ends:
        return ""
    end = ends[-1]
    return content[max(0, end - LOG_TAIL_BYTES) : end].decode("utf-8", "replace")
