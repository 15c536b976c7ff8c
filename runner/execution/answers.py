"""Reads what a job left in its result folder. The job may have been killed, or may lie: all is checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict

from job import protocol

T = TypeVar("T", bound=BaseModel)

LOG_TAIL_BYTES = 4000


class AnswerError(Exception):
    """A file of the result folder is not what the protocol asks for."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    schema_version: Literal[1]


class JobError(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    type: str
    message: str

    def sentence(self) -> str:
        return f"{self.type}: {self.message}"


class Output(BaseModel):
    file: str
    shape: tuple[int, ...]


class Latency(BaseModel):
    batch: int
    warm_up: int
    samples_s: tuple[float, ...]


class PassAnswer(_Answer):
    name: str
    status: Literal["ok", "job_failed"]
    error: JobError | None
    stages: Mapping[str, float]
    outputs: Mapping[str, Output]
    latency: Latency | None
    executed: str | None


class JobAnswer(_Answer):
    status: Literal["ok", "failed"]
    stage: str | None
    error: JobError | None

    def sentence(self) -> str:
        told = self.error.sentence() if self.error else "no reason given"
        return f"{self.stage}: {told}" if self.stage else told


class CalibrationAnswer(_Answer):
    seconds: float
    images: int
    algorithms: Mapping[str, Mapping[str, float]]
    unusable: Mapping[str, str]


class ResultFolder:
    """The folder that one job start writes into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(self) -> str | None:
        try:
            text = (self.folder / protocol.STAGE).read_text("utf-8", "replace")
        except FileNotFoundError:
            return None
        return text.strip()[:200] or None

    def job(self) -> JobAnswer | None:
        """Returns the job's own last word; None where it gave none that can be read."""
        try:
            return self._read(JobAnswer, protocol.RESULT)
        except AnswerError:
            return None

    def probe(self) -> Mapping[str, Any]:
        path = self.folder / protocol.PROBE
        try:
            facts = protocol.read_json(str(path))
        except (FileNotFoundError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def calibration(self) -> CalibrationAnswer | None:
        """Raises AnswerError where the file is there but wrong."""
        return self._read(CalibrationAnswer, protocol.CALIBRATION)

    def finished(self, name: str) -> bool:
        return (self.folder / protocol.PASSES / name / protocol.PASS).exists()

    def answer(self, name: str) -> PassAnswer | None:
        """Raises AnswerError where the file is there but wrong."""
        answer = self._read(PassAnswer, f"{protocol.PASSES}/{name}/{protocol.PASS}")
        if answer and answer.status == "job_failed" and answer.error is None:
            message = f"{name}: a failed pass without an error"
            raise AnswerError(message)
        return answer

    def file(self, name: str, file: str) -> Path:
        """Returns the path of a file of one pass; it must be a plain file of that folder."""
        path = self.folder / protocol.PASSES / name / file
        if Path(file).name != file or path.is_symlink() or not path.is_file():
            message = f"{name}: the answer names {file!r}, which is no file of its folder"
            raise AnswerError(message)
        return path

    def output(self, name: str, head: str, answer: PassAnswer, images: int) -> Path:
        """Returns the checked .npy of one head, shape (images, …), float32."""
        if head not in answer.outputs:
            message = f"{name}: the answer lacks head {head!r}"
            raise AnswerError(message)
        path = self.file(name, answer.outputs[head].file)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            message = f"{name}: {path.name} cannot be read as an array: {error}"
            raise AnswerError(message) from error
        if array.dtype != np.float32 or array.ndim < 2 or array.shape[0] != images:
            message = (
                f"{name}: head {head!r} has shape {array.shape} and type {array.dtype}; "
                f"expected {images} images of float32"
            )
            raise AnswerError(message)
        return path

    def _read(self, kind: type[T], name: str) -> T | None:
        path = self.folder / name
        try:
            return kind.model_validate(protocol.read_json(str(path)))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, ValueError, pydantic.ValidationError) as error:
            message = f"{name} is not a valid answer: {str(error).splitlines()[0]}"
            raise AnswerError(message) from error


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
