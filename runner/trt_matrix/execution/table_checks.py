"""Tables of the user's own, held against the ranges that the reference sees, before anything is judged by them."""

import dataclasses
from collections.abc import Iterator, Sequence

from trt_matrix.core.records import Measurement
from trt_matrix.core.tables import mistakes
from trt_matrix.core.tables.coverage import enough
from trt_matrix.core.tables.forms import TableForm
from trt_matrix.core.tables.mistakes import Mistake, Ranges
from trt_matrix.core.tables.table import LEVELS, Table
from trt_matrix.core.tables.trt_cache import parse
from trt_matrix.core.words import listed
from trt_matrix.execution.host_tables import HostTables
from trt_matrix.execution.inputs import GivenTable
from trt_matrix.execution.lanes import DeviceLane
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.wanted import PassRequests
from trt_matrix.store.results import Store

ALGORITHMS = ("minmax", "entropy")
"""Largest magnitudes, and clipped ones: a right table lies near one of both."""

NAMED = 3
"""Tensors that a reason names."""


class RecordedTables:
    """Says of each table once whether it can be right."""

    def __init__(
        self, store: Store, wants: PassRequests, progress: Progress, host: HostTables
    ) -> None:
        """Looks at nothing yet; `host` knows the ranges that the reference saw, of calibration and evaluation images."""
        self._store = store
        self._wants = wants
        self._progress = progress
        self._host = host
        self._found: dict[tuple[str, str], Mistake | None] = {}
        self._told: set[tuple[str, str]] = set()

    def given(self, given: GivenTable) -> Table | str:
        """Returns the table of a file, or what is wrong with it: nothing runs with what cannot be right."""
        mistake = mistakes.mistake(given.values, self._seen(), scales=given.scales)
        if mistake is None:
            return given.table
        if not mistake.sure:
            self._progress.warn(f"the shared table {given.file}: {mistake.text}")
            provenance = given.table.provenance
            doubtful = dataclasses.replace(provenance, note=f"{provenance.note}; {mistake.text}")
            return dataclasses.replace(given.table, provenance=doubtful)
        reason = f"the shared table {given.file} is not used: {mistake.text}"
        self._progress.warn(reason)
        return reason

    def checked(self, lane: DeviceLane) -> Iterator[Measurement]:
        """Puts what is found into a lane's measurements; yields those whose table is used.

        Without its table goes one whose table is wrong; what is to be told stands in all of them.
        """
        for name, measured in lane.measurements.items():
            for index, measurement in enumerate(measured):
                measured[index] = checked_measurement = self._checked(measurement)
                self._tell(lane.id(name), checked_measurement)
                if checked_measurement.table and checked_measurement.cache:
                    yield checked_measurement

    def _tell(self, cell: str, measurement: Measurement) -> None:
        problem = (
            [f"its table is not used: {measurement.table_problem}"]
            if measurement.table_problem
            else []
        )
        for text in (*problem, *measurement.table_notes):
            if (cell, text) not in self._told:
                self._progress.warn(f"{cell}: {text}")
            self._told.add((cell, text))

    def _checked(self, measurement: Measurement) -> Measurement:
        if not measurement.cache or not measurement.table:
            return measurement
        mistake = self._mistake(measurement, self._store.path(measurement.cache).read_text("utf-8"))
        reason = mistake.text if mistake and mistake.sure else self._unusable(measurement)
        if reason:
            return measurement.model_copy(
                update={"table": None, "coverage": None, "table_problem": reason}
            )
        if mistake and mistake.text not in measurement.table_notes:
            return measurement.model_copy(
                update={"table_notes": (*measurement.table_notes, mistake.text)}
            )
        return measurement

    def _mistake(self, measurement: Measurement, text: str) -> Mistake | None:
        form = ((measurement.build or {}).get("scales") or {}).get("form")
        key = (text, str(form))
        if key not in self._found:
            scales = form is None or TableForm(form).scales
            values = {name: LEVELS * scale for name, scale in parse(text).scales.items()}
            self._found[key] = mistakes.mistake(values, self._seen(), scales=scales)
        return self._found[key]

    def _unusable(self, measurement: Measurement) -> str | None:
        """Returns that too many of a head's scales are no scales; None where enough are."""
        for head, arrived in (measurement.coverage or {}).items():
            if not enough(arrived.mapped, arrived.total, self._wants.settings.coverage):
                return (
                    f"{len(arrived.zero)} of the scales of head {head} cannot be used (zero, negative, NaN or "
                    f"beyond float32) and only {arrived.mapped} of {arrived.total} are left: see "
                    f"{listed(arrived.zero + arrived.unmapped, NAMED)}; calibrate again"
                )
        return None

    def _seen(self) -> Sequence[Ranges]:
        return [
            tables[algorithm].amax
            for tables in self._host.made.values()
            for algorithm in ALGORITHMS
            if algorithm in tables
        ]
