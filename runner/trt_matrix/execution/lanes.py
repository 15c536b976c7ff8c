"""A lane: the cells of one environment on one device, and what became of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from trt_matrix.core.cells import Cell, Status, TableSource
from trt_matrix.core.records import Calibration, Measurement, Record
from trt_matrix.environments.base import Environment
from trt_matrix.execution.wanted import JobSite, Variant


@dataclass(frozen=True, slots=True)
class NamedReference:
    """A cell whose outputs take the place of the host's own: every error is against them."""

    cell: Cell
    environment: Environment

    @property
    def note(self) -> str:
        return (
            f"every error is against {self.cell.id}, not against ONNX Runtime's fp32 on this host"
        )


@dataclass(slots=True)
class DeviceLane:
    environment: str
    device: str
    cells: tuple[Cell, ...]
    site: JobSite | None = None
    """None until its environment is prepared, and where it cannot be."""
    obstacle: tuple[Status, str] | None = None
    """Why it could not be prepared."""
    calibration: Calibration | None = None
    """Its own tables; None where it needs none, and before they were made."""
    variants: dict[str, Variant] = field(default_factory=dict)
    """pass name → what it runs."""
    refused: dict[str, tuple[Status, str]] = field(default_factory=dict)
    """pass name → why there is nothing to run: `job_failed`, or `unavailable` where the user's table is wrong."""
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    """pass name → one a repeat; nothing after a repeat that failed."""
    reused: dict[str, int] = field(default_factory=dict)
    """pass name → how many of its measurements were known before."""

    @property
    def runnable(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.obstacle is None)

    @property
    def recorded(self) -> bool:
        """Whether its outputs were recorded before: nothing of it can be timed."""
        return self.cells[0].recorded is not None

    def repeats(self, asked: int) -> int:
        """Returns how many of the repeats that are asked for can be had."""
        return self.cells[0].repeats(asked)

    @property
    def own(self) -> frozenset[str]:
        """Algorithms whose own tables its cells need."""
        return frozenset(
            cell.pass_.algorithm
            for cell in self.runnable
            if cell.pass_.source is TableSource.OWN
            and cell.pass_.algorithm
            and not cell.pass_.implicit
        )

    def id(self, name: str) -> str:
        """Returns the id of the cell of one of its passes."""
        return f"{self.environment}/{self.device}/{name}"

    def failed(self, name: str) -> bool:
        measured = self.measurements.get(name, ())
        return any(measurement.status is not Status.OK for measurement in measured)

    def started(self, repeat: int) -> str:
        """Returns when its first pass of this repeat was started, ISO 8601; empty where nobody knows."""
        starts = [
            measurement.start.started if measurement.start else ""
            for measured in self.measurements.values()
            for measurement in measured
            if measurement.repeat == repeat
        ]
        return min(starts, default="")

    def add(self, measurement: Measurement, *, reused: bool) -> None:
        name = measurement.name
        self.measurements.setdefault(name, []).append(measurement)
        self.reused[name] = self.reused.get(name, 0) + reused

    def record(self, cell: Cell, repeats: int, stopped: str | None) -> Record:
        """Returns what became of one of its cells, whole with `repeats` measurements; there may be more.

        `stopped` is why the whole run ended early, None where it did not.
        """
        status, reason = self._ending(cell, repeats, stopped)
        return Record(
            cell=cell.id,
            environment=cell.environment,
            device=cell.device,
            pass_=cell.pass_,
            status=status,
            reason=reason,
            measurements=tuple(self.measurements.get(cell.pass_.name, ())),
            reused=self.reused.get(cell.pass_.name, 0),
        )

    def _ending(self, cell: Cell, repeats: int, stopped: str | None) -> tuple[Status, str | None]:
        name = cell.pass_.name
        measurements = self.measurements.get(name, ())
        if obstacle := cell.obstacle or self.obstacle:
            return obstacle
        good = sum(measurement.status is Status.OK for measurement in measurements)
        for measurement in measurements:
            if measurement.status is Status.UNAVAILABLE and good:
                # Nothing was found wrong with it: what was measured stands.
                return Status.OK, f"{good} of {cell.repeats(repeats)} repeats: {measurement.reason}"
            if measurement.status is not Status.OK:
                return measurement.status, measurement.reason
        if len(measurements) >= cell.repeats(repeats):
            return Status.OK, None
        if name in self.refused:
            # What it needs could not be made: no turn more would change that.
            return self.refused[name]
        return Status.NOT_RUN, stopped or "it had no turn"


def lanes_of(cells: Iterable[Cell]) -> dict[tuple[str, str], DeviceLane]:
    """Returns (environment, device) → its lane, in the order of the plan."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.environment, cell.device), []).append(cell)
    return {key: DeviceLane(*key, tuple(group)) for key, group in grouped.items()}
