"""A cell of the matrix: what is planned, run, stored and shown."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Precision(StrEnum):
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"

    @property
    def reduced(self) -> bool:
        """Whether it is floating point of less than fp32's 24 bits."""
        return self in (Precision.TF32, Precision.FP16, Precision.BF16)

    @property
    def gated(self) -> bool:
        """Whether gates apply: fp32 has to keep a fixed tolerance instead."""
        return self is Precision.INT8 or self.reduced


class TableSource(StrEnum):
    OWN = "own"
    SHARED = "shared"
    SHIPPED = "shipped"
    """The scales are in the network itself, which came quantised."""


class Status(StrEnum):
    """How execution ended; from evidence only."""

    OK = "ok"
    JOB_FAILED = "job_failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    NOT_RUN = "not_run"

    @property
    def ok(self) -> bool:
        return self is Status.OK

    @property
    def failed(self) -> bool:
        """Whether it was tried, and gave nothing."""
        return self in (Status.JOB_FAILED, Status.CRASHED, Status.TIMED_OUT)

    @property
    def never_started(self) -> bool:
        """Whether nothing was tried: it is known beforehand why, or the run ended before."""
        return self in (Status.UNSUPPORTED, Status.UNAVAILABLE, Status.NOT_RUN)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Pass:
    """One precision with one table."""

    precision: Precision
    source: TableSource | None = None
    algorithm: str | None = None
    implicit: bool = False
    """int8 of a float network by TensorRT's own scales, not by Q/DQ nodes."""
    per_tensor: bool = False
    """Whether each weight has one scale, not one an output channel."""
    exclude: tuple[str, ...] = ()
    """Layers of the network that are kept in float, in its order; nothing of what is in floating point."""
    mixed: bool = False
    """Whether it is the pass that such a set is tried in, beside the same without it."""

    @property
    def is_int8(self) -> bool:
        return self.precision is Precision.INT8

    @property
    def made_inside(self) -> bool:
        """Whether its table is made by the engine, and told only after it ran."""
        return self.source is TableSource.OWN and (self.implicit or self.algorithm is None)

    @property
    def name(self) -> str:
        """`fp32`, `int8-shared-entropy`, `int8-shared-entropy-per-tensor`, `int8-mixed`, `int8-shipped`.

        `int8-implicit-own` of recorded outputs.
        """
        implicit = "implicit" if self.implicit else None
        weights = "per-tensor" if self.per_tensor else None
        table = ("mixed",) if self.mixed else (self.source, self.algorithm)
        parts = (self.precision, implicit, *table, weights)
        return "-".join(str(part) for part in parts if part)


FP32 = Pass(precision=Precision.FP32)


class CellPlace(NamedTuple):
    """Where cells run: an environment on a device."""

    environment: str
    device: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What is planned, run, stored and shown."""

    environment: str
    device: str
    pass_: Pass
    obstacle: tuple[Status, str] | None = None
    """`unsupported` or `unavailable`, and why; None where it can run here."""
    recorded: int | None = None
    """Repeats of it that were recorded; None where it can be run as often as wanted."""

    def repeats(self, asked: int) -> int:
        """Returns how many of the repeats that are asked for can be had."""
        return asked if self.recorded is None else min(asked, self.recorded)

    @property
    def id(self) -> str:
        return f"{self.environment}/{self.device}/{self.pass_.name}"


def device_kind(device: str) -> str:
    """Returns `cpu` or `gpu`."""
    return "cpu" if device == "cpu" else "gpu"
