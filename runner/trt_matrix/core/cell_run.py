"""How a cell was run: when, for how long in each stage, with which table and build."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trt_matrix.core.records import Measurement, Record


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRun:
    started: str | None
    """ISO 8601, UTC: when the job of the newest repeat was started; None where none was."""
    stages: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Stage → seconds in each repeat that had it."""
    table: str | None
    """Digest of the table that it ran with."""
    fingerprint: str
    """Of the newest repeat: what decides its numbers."""
    engine_bytes: int | None
    """Size of the engine that was built; None where that is not told."""
    timing_cache: str | None
    """`none`, `new`, `read` or `refused`; None where the engine has none."""


def cell_run(record: Record) -> CellRun | None:
    """Returns None for a cell of which nothing was started."""
    if not record.measurements:
        return None
    newest = record.measurements[-1]
    build = newest.build or {}
    size, cache = build.get("size_bytes"), build.get("timing_cache")
    return CellRun(
        started=newest.start.started if newest.start else None,
        stages=_stages(record.measurements),
        table=newest.table,
        fingerprint=newest.fingerprint,
        engine_bytes=size if isinstance(size, int) else None,
        timing_cache=cache if isinstance(cache, str) else None,
    )


def _stages(measurements: Sequence[Measurement]) -> dict[str, tuple[float, ...]]:
    found: dict[str, list[float]] = {}
    for measurement in measurements:
        for stage, seconds in measurement.stages.items():
            found.setdefault(stage, []).append(seconds)
    return {stage: tuple(seconds) for stage, seconds in found.items()}
