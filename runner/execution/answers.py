"""Reads what a job left in its result folder. The job may have been killed, or may lie: all is checked."""

import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, Field

from job import protocol
from runner.core.tables import trt_cache
from runner.core.tables.table import FLOAT32_MAX, Table

T = TypeVar("T", bound=BaseModel)

ANSWER_LIMIT_BYTES = 64 << 20
"""No honest answer is larger; a table of a million tensors would be."""
DEPTH_LIMIT = 32
"""Deepest nesting of an answer: the host's own JSON writer would give up at a thousand."""
REASON_LIMIT = 2000
"""Characters of a job's error that are shown."""
LOG_TAIL_BYTES = 4000

Seconds = Annotated[float, Field(ge=0)]
Magnitude = Annotated[float, Field(ge=0, le=FLOAT32_MAX)]
Part = Annotated[float, Field(ge=0, le=1)]


class AnswerError(Exception):
    """A file of the result folder is not what the protocol asks for."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Answer(_Part):
    schema_version: Literal[1]


class JobError(_Part):
    type: str
    message: str

    def sentence(self) -> str:
        return f"{self.type}: {self.message}"[:REASON_LIMIT]


class Output(_Part):
    file: str
    shape: tuple[int, ...]


class Latency(_Part):
    batch: int = Field(ge=1)
    warm_up: int = Field(ge=0)
    samples_s: tuple[Seconds, ...] = Field(min_length=1)
    device_s: tuple[Seconds, ...] | None = None


class EngineLayerAnswer(_Part):
    """A layer of layers.json, as far as the host judges it."""

    tensors: tuple[str, ...]
    precision: str | None


class LayersAnswer(_Answer):
    layers: tuple[EngineLayerAnswer, ...]
    custom: tuple[Mapping[str, Any], ...] = ()
    """What became of custom layers, to show: `job.protocol.CUSTOM_KEYS`."""


class ScalesAnswer(_Part):
    """What became of a table's scales: `scales` of build.json."""

    unmapped: tuple[str, ...]
    unknown: tuple[str, ...]
    zero: tuple[str, ...]
    missing: tuple[str, ...] = ()


class PassAnswer(_Answer):
    name: str
    status: Literal["ok", "job_failed", "unsupported"]
    error: JobError | None
    stages: Mapping[str, Seconds]
    outputs: Mapping[str, Output]
    latency: Latency | None
    executed: str | None
    build: str | None = None
    layers: str | None = None
    cache: str | None = None
    model: str | None = None
    refused: Mapping[str, str] = {}
    table_problem: str | None = None
    table_notes: tuple[str, ...] = ()


class JobAnswer(_Answer):
    status: Literal["ok", "job_failed"]
    stage: str | None
    error: JobError | None

    def sentence(self) -> str:
        told = self.error.sentence() if self.error else "no reason given"
        return f"{self.stage}: {told}" if self.stage else told


class CalibrationAnswer(_Answer):
    seconds: Seconds
    images: int
    algorithms: Mapping[str, Mapping[str, float]]
    unusable: Mapping[str, str]
    seen: Mapping[str, Magnitude] = {}
    """Tensor → largest magnitude in any image; empty from programs of before it was told."""
    clipped: Mapping[str, Mapping[str, Part]] = {}
    """Algorithm → tensor → share of the nonzero values above its amax; empty as `seen` is."""


class ResultFolder:
    """The folder that one job start writes into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(self) -> str | None:
        """Returns the stage that the job entered last, as it wrote it: `infer int8-own-entropy`."""
        try:
            content = self._content(protocol.STAGE) or b""
        except AnswerError:
            return None  # it is shown, nothing is decided by it
        return content[:200].decode("utf-8", "replace").strip() or None

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
        except AnswerError as error:
            return {"problem": str(error)}
        return facts if isinstance(facts, dict) else {}

    def calibration(self) -> CalibrationAnswer | None:
        """Raises AnswerError where the file is there but wrong."""
        return self._read(CalibrationAnswer, protocol.CALIBRATION)

    def finished(self, name: str) -> bool:
        return (self.folder / protocol.PASSES / name / protocol.PASS).exists()

    def answer(self, name: str) -> PassAnswer | None:
        """Raises AnswerError where the file is there but wrong."""
        answer = self._read(PassAnswer, f"{protocol.PASSES}/{name}/{protocol.PASS}")
        if answer and answer.status != "ok" and answer.error is None:
            message = f"{name}: a failed pass without an error"
            raise AnswerError(message)
        return answer

    def layers(self, name: str, file: str) -> LayersAnswer:
        """Returns what the engine made of the network's layers; `file` as in `file`."""
        relative = self.file(name, file).relative_to(self.folder)
        found = self._read(LayersAnswer, relative.as_posix())
        assert found is not None, relative  # noqa: S101 - `file` has just seen it
        return found

    def build(self, name: str, file: str) -> Mapping[str, Any]:
        """Returns what the engine told of its build; `scales` reads the part that decides something."""
        facts = self._json(self.file(name, file).relative_to(self.folder).as_posix())
        if not isinstance(facts, dict):
            message = f"{name}: {file} holds no JSON object"
            raise AnswerError(message)
        return facts

    def scales(self, name: str, facts: Mapping[str, Any]) -> ScalesAnswer | None:
        """Returns what became of the scales in a build's facts; None where it took none.

        Raises:
            AnswerError: that part is no such facts.
        """
        if facts.get("scales") is None:
            return None
        try:
            return ScalesAnswer.model_validate(facts["scales"])
        except pydantic.ValidationError as error:
            message = f"{name}: the build's scales are no valid answer: {_first(error)}"
            raise AnswerError(message) from error

    def cache_table(self, name: str, file: str, *, environment: str) -> Table:
        """Returns the table in a calibration cache that TensorRT wrote.

        Raises:
            AnswerError: the file is no calibration cache.
        """
        content = self._content(self.file(name, file).relative_to(self.folder).as_posix()) or b""
        try:
            cache = trt_cache.parse(content.decode("utf-8"))
        except (UnicodeDecodeError, trt_cache.CacheError) as error:
            message = f"{name}: {file}: {error}"
            raise AnswerError(message) from error
        return trt_cache.to_table(cache, environment=environment)

    def file(self, name: str, file: str) -> Path:
        """Returns the path of a file of one pass; it must be a plain file of that folder."""
        path = self.folder / protocol.PASSES / name / file
        home = self.folder.resolve() / protocol.PASSES / name
        if Path(file).name != file or not path.is_file() or path.resolve() != home / file:
            message = f"{name}: the answer names {file!r}, which is no file of its folder"
            raise AnswerError(message)
        return path

    def output(
        self,
        name: str,
        head: str,
        answer: PassAnswer,
        *,
        images: int,
        shape: tuple[int, ...] | None,
    ) -> Path:
        """Returns the checked .npy of one head, float32.

        Args:
            name: Of the pass.
            head: Of the network.
            answer: What the job said of this pass.
            images: Length of the first axis.
            shape: That of the reference's output, (images, …); None where this is the reference.
        """
        if head not in answer.outputs:
            message = f"{name}: the answer lacks head {head!r}"
            raise AnswerError(message)
        path = self.file(name, answer.outputs[head].file)
        try:
            # Not np.load: that also opens zip files.
            array = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, OSError, EOFError) as error:
            message = f"{name}: {path.name} cannot be read as an array: {error}"
            raise AnswerError(message) from error
        if array.dtype != np.float32 or array.ndim < 2 or array.shape[0] != images:
            message = (
                f"{name}: head {head!r} has shape {array.shape} and type {array.dtype}; "
                f"expected {images} images of float32"
            )
            raise AnswerError(message)
        if shape is not None and array.shape != shape:
            message = (
                f"{name}: head {head!r} has shape {array.shape}, the reference's is {shape}: "
                "the two cannot be compared"
            )
            raise AnswerError(message)
        return path

    def _read(self, kind: type[T], name: str) -> T | None:
        value = self._json(name)
        if value is None:
            return None
        try:
            return kind.model_validate(value)
        except pydantic.ValidationError as error:
            message = f"{name} is not a valid answer: {_first(error)}"
            raise AnswerError(message) from error

    def _json(self, name: str) -> Any:
        """Returns the JSON value of a file; None where there is no such file."""
        content = self._content(name)
        if content is None:
            return None
        try:
            return _plain(json.loads(content, parse_constant=_finite, parse_float=_finite))
        except (ValueError, RecursionError) as error:
            message = f"{name} is not a valid answer: {error or type(error).__name__}"
            raise AnswerError(message) from error

    def _content(self, name: str) -> bytes | None:
        """Returns the bytes of a plain file of bounded size: no link, no pipe that never ends."""
        try:
            # A pipe without a writer would block for ever without O_NONBLOCK.
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            message = f"{name} cannot be read: {error.strerror}"
            raise AnswerError(message) from error
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                message = f"{name} is no plain file"
                raise AnswerError(message)
            if status.st_size > ANSWER_LIMIT_BYTES:
                message = (
                    f"{name} has {status.st_size / 1e6:.0f} MB, more than any answer of a job "
                    f"({ANSWER_LIMIT_BYTES / 1e6:.0f} MB)"
                )
                raise AnswerError(message)
            with os.fdopen(handle, "rb", closefd=False) as stream:
                return stream.read(ANSWER_LIMIT_BYTES)
        finally:
            os.close(handle)


def _finite(text: str) -> float:
    """Refuses NaN, Infinity and 1e999: none of them could be written down again."""
    value = float(text)
    if not math.isfinite(value):
        message = f"{text} is no finite number"
        raise ValueError(message)
    return value


def _plain(value: Any, depth: int = 0) -> Any:
    """Returns `value` with lone surrogates replaced: JSON may spell them, no file can hold them."""
    if depth > DEPTH_LIMIT:
        message = f"nested deeper than {DEPTH_LIMIT}"
        raise ValueError(message)
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case list():
            return [_plain(one, depth + 1) for one in value]
        case dict():
            return {_plain(key): _plain(one, depth + 1) for key, one in value.items()}
        case _:
            return value


def _first(error: pydantic.ValidationError) -> str:
    """Returns the first problem: `latency.samples_s: Field required`."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


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
