"""What a job may answer, and how much of it: every number is bounded, every text and list is, too. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from trt_matrix.core.tables.forms import TableForm
from trt_matrix.core.tables.table import FLOAT32_MAX

T = TypeVar("T", bound=BaseModel)

RESULTS_LIMIT_BYTES = 20_000_000_000
"""Of all that one start leaves, where matrix.yaml says nothing."""
DEEPEST = 32
"""Nesting of an answer: the host's own JSON writer would give up at a thousand."""
REASON_LIMIT = 2000
"""Characters of a job's error that are shown."""
LARGEST = 1e40
"""No number of an answer is larger: float32 ends at 3.4e38, and squares of these are still finite."""

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Magnitude = Annotated[float, Field(ge=0, le=FLOAT32_MAX)]
Part = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=1 << 40)]
Samples = Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=1_000_000)]
Notes = Annotated[tuple[Annotated[str, Field(max_length=20_000)], ...], Field(max_length=1000)]


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
    shape: Annotated[tuple[Count, ...], Field(max_length=64)]


class LatencyAnswer(_Part):
    batch: int = Field(ge=1, le=1_000_000)
    warm_up: Count
    samples_s: Samples
    device_s: Samples | None = None


class EngineLayerAnswer(_Part):
    """A layer of layers.json, as far as the host judges it."""

    tensors: tuple[str, ...]
    precision: str | None


class TimedLayerAnswer(_Part):
    name: str
    tensors: tuple[str, ...]
    seconds: Seconds


class TimesAnswer(_Part):
    """What an engine's layers took: `job.protocol.TIMES_KEYS`."""

    runs: Count
    layers: tuple[TimedLayerAnswer, ...]
    problem: str | None = None


class LayersAnswer(_Answer):
    layers: tuple[EngineLayerAnswer, ...]
    times: TimesAnswer | None = None
    """None if they were not asked for, or from programs older than this request."""
    custom: tuple[Mapping[str, Any], ...] = ()
    """What became of custom layers, to show: `job.protocol.CUSTOM_KEYS`."""


class ScalesAnswer(_Part):
    """What became of a table's scales: `scales` of build.json."""

    unmapped: tuple[str, ...]
    unknown: tuple[str, ...]
    zero: tuple[str, ...]
    missing: tuple[str, ...] = ()
    defaulted: Count | None = None
    form: TableForm | None = None


class BuildAnswer(_Part):
    """What is read of `job.protocol.BUILD_KEYS`; the rest is shown as it is."""

    size_bytes: Count | None = None
    timing_cache: str | None = None
    scales: ScalesAnswer | None = None


class _Engine(_Part):
    name: str | None = None
    version: str | None = None
    options: Mapping[str, Any] | None = None


class ProbeAnswer(_Part):
    """The form that `job.probe.facts` has, as far as anything is read of it; the rest is shown as it is."""

    python: str | None = None
    implementation: str | None = None
    libc: str | None = None
    machine: str | None = None
    processor: str | None = None
    processor_flags: tuple[str, ...] | None = None
    usable_cores: Count | None = None
    engine: _Engine | None = None
    packages: Mapping[str, str | None] | None = None
    mapped: Mapping[str, Any] | None = None
    gpu: Mapping[str, Any] | None = None
    environment: Mapping[str, str] | None = None
    stated: Mapping[str, Any] | None = None


class PassAnswer(_Answer):
    name: str
    status: Literal["ok", "job_failed", "unsupported"]
    error: JobError | None
    stages: Annotated[Mapping[str, Seconds], Field(max_length=100)]
    outputs: Mapping[str, Output]
    latency: LatencyAnswer | None
    executed: str | None
    build: str | None = None
    layers: str | None = None
    cache: str | None = None
    model: str | None = None
    refused: Mapping[str, str] = {}
    settled: str | None = None
    table_problem: str | None = None
    table_notes: Notes = ()


class JobAnswer(_Answer):
    status: Literal["ok", "job_failed"]
    stage: str | None
    error: JobError | None

    def sentence(self) -> str:
        reason = self.error.sentence() if self.error else "no reason given"
        return f"{self.stage}: {reason}"[:REASON_LIMIT] if self.stage else reason


class CalibrationAnswer(_Answer):
    seconds: Seconds
    images: Count
    algorithms: Mapping[str, Mapping[str, float]]
    unusable: Mapping[str, str]
    seen: Mapping[str, Magnitude] = {}
    """Tensor → largest magnitude in any image; empty from programs older than this field."""
    clipped: Mapping[str, Mapping[str, Part]] = {}
    """Algorithm → tensor → share of the nonzero values above its amax; empty as `seen` is."""


def plain_json(content: bytes) -> Any:
    """Returns a JSON value that can be stored, shown and reckoned with.

    Lone surrogates are replaced: JSON may spell them, no file can hold them.

    Raises:
        ValueError: it is no JSON, nested deeper than DEEPEST, or holds a number beyond LARGEST.
    """
    try:
        value = json.loads(content, parse_constant=_number, parse_float=_number, parse_int=_integer)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEEPEST}") from error
    return _plain(value)


def valid(kind: type[T], value: Any) -> T:
    """Returns an answer of that kind.

    Raises:
        ValueError: with the first problem: `latency.samples_s: Field required`.
    """
    try:
        return kind.model_validate(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(message[:REASON_LIMIT]) from error


def _number(text: str) -> float:
    """Refuses NaN, Infinity and 1e300: they could not be written down again, or their sum could not."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is no finite number")
    if abs(value) > LARGEST:
        raise ValueError(f"{text:.40} is larger than any measured number")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 64:
        raise ValueError(f"{text:.40} is larger than any count")
    return int(text)


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST}")
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case list():
            return [_plain(item, depth + 1) for item in value]
        case dict():
            return {_plain(key): _plain(item, depth + 1) for key, item in value.items()}
        case _:
            return value
