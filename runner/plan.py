"""The cells of an experiment: axes → cells, pure; each with the reason where it cannot run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Precision(StrEnum):
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    INT8 = "int8"


class TableSource(StrEnum):
    OWN = "own"
    SHARED = "shared"


class Status(StrEnum):
    """How execution ended; from evidence only (DESIGN: words)."""

    OK = "ok"
    JOB_FAILED = "job_failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    NOT_RUN = "not_run"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Pass:
    """One precision with one table."""

    precision: Precision
    source: TableSource | None = None
    algorithm: str | None = None
    implicit: bool = False
    """int8 of a float network by TensorRT's own scales, not by Q/DQ nodes."""

    @property
    def name(self) -> str:
        """`fp32`, `int8-shared-entropy`, `int8-implicit-own-minmax`."""
        parts = (self.precision, "implicit" if self.implicit else None, self.source, self.algorithm)
        return "-".join(str(part) for part in parts if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What is planned, run, stored and shown."""

    environment: str
    device: str
    pass_: Pass
    obstacle: tuple[Status, str] | None = None
    """`unsupported` or `unavailable`, and why; None where it can run here."""

    @property
    def id(self) -> str:
        return f"{self.environment}/{self.device}/{self.pass_.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What the plan must know of one environment."""

    environment: str
    devices: frozenset[str]
    """Kinds of device its engine can use: `cpu`, `gpu`."""
    precisions: frozenset[Precision]
    obstacle: Callable[[str], tuple[Status, str] | None]
    """From a device to why nothing can run on it."""
    implicit: bool = False
    """Its engine has calibrators of its own: own tables are theirs, and networks may stay float."""

    def offers(self, pass_: Pass) -> bool:
        """Whether a pass has any meaning for its engine."""
        if self.implicit:
            return pass_.implicit or pass_.source is not TableSource.OWN
        return not pass_.implicit


def passes(
    precisions: Sequence[Precision],
    algorithms: Sequence[str],
    shared: str | None,
    calibrators: Sequence[str] = (),
) -> tuple[Pass, ...]:
    """Returns the passes of all engines: int8 once with each table.

    Args:
        precisions: In the order of matrix.yaml.
        algorithms: Of the job's own calibration.
        shared: Algorithm of the table that all get, or None.
        calibrators: TensorRT's own.
    """
    found: list[Pass] = []
    for precision in precisions:
        if precision is not Precision.INT8:
            found.append(Pass(precision=precision))
            continue
        if shared is not None:
            found.append(Pass(precision=precision, source=TableSource.SHARED, algorithm=shared))
        found += [
            Pass(precision=precision, source=TableSource.OWN, algorithm=one) for one in algorithms
        ]
        implicit = [(TableSource.SHARED, shared)] if shared is not None else []
        implicit += [(TableSource.OWN, one) for one in calibrators]
        found += [
            Pass(precision=precision, source=source, algorithm=one, implicit=True)
            for source, one in implicit
        ]
    return tuple(found)


def expand(
    axes: Iterable[Axis], devices: Sequence[str], wanted: Sequence[Pass]
) -> tuple[Cell, ...]:
    """Crosses environments with the devices that they can use and with the passes."""
    return tuple(
        Cell(
            environment=axis.environment,
            device=device,
            pass_=pass_,
            obstacle=_unsupported(axis, pass_) or obstacle,
        )
        for axis in axes
        for device in devices
        if device_kind(device) in axis.devices
        for obstacle in [axis.obstacle(device)]
        for pass_ in wanted
        if axis.offers(pass_)
    )


def device_kind(device: str) -> str:
    """Returns `cpu` or `gpu`."""
    return "cpu" if device == "cpu" else "gpu"


def _unsupported(axis: Axis, pass_: Pass) -> tuple[Status, str] | None:
    if pass_.precision in axis.precisions:
        return None
    offered = ", ".join(sorted(axis.precisions))
    return Status.UNSUPPORTED, f"this engine offers {offered}, not {pass_.precision}"


def select(cells: Iterable[Cell], patterns: Sequence[str]) -> tuple[Cell, ...]:
    """Returns the cells whose id matches one of the globs; all where there is none.

    `*` also matches `/`, so that `ort-1.26*` selects every cell of that environment.
    """
    return tuple(
        cell
        for cell in cells
        if not patterns or any(fnmatchcase(cell.id, pattern) for pattern in patterns)
    )
