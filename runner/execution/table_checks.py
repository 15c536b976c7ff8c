"""Tables of the user's own, held against the ranges that the reference sees, before anything is judged by them."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from runner.cells import Status
from runner.core.tables import mistakes
from runner.core.tables.coverage import enough
from runner.core.tables.forms import Form
from runner.core.tables.mistakes import Mistake, Ranges
from runner.core.tables.table import LEVELS, Table
from runner.core.tables.trt_cache import parse
from runner.core.words import listed
from runner.execution.given import GivenTable
from runner.execution.jobs import Jobs
from runner.execution.lanes import Lane
from runner.execution.progress import Progress
from runner.execution.wanted import Site, Wants
from runner.records import Measurement

ALGORITHMS = ("minmax", "entropy")
"""Largest magnitudes, and clipped ones: a right table lies near one of both."""

NAMED = 3
"""Tensors that a reason names."""


class RecordedTables:
    """Says of each table once whether it can be right."""

    def __init__(self, jobs: Jobs, wants: Wants, progress: Progress) -> None:
        """Looks at nothing yet.

        Args:
            jobs: Calibrate, where what the host knows anyway is not enough.
            wants: What to ask of them.
            progress: Told what is wrong.
        """
        self.site: Site | None = None
        """Where the reference is computed; None before it is."""
        self.seen: list[Ranges] = []
        """Ranges that the host has made anyway, of calibration or evaluation images."""
        self._jobs = jobs
        self._wants = wants
        self._progress = progress
        self._calibrated: Sequence[Ranges] | None = None
        self._found: dict[tuple[str, str], Mistake | None] = {}
        self._told: set[tuple[str, str]] = set()

    def given(self, given: GivenTable, see_more: Callable[[], object]) -> Table | str:
        """Returns the table of a file, or what is wrong with it: nothing runs with what cannot be right.

        Args:
            given: The table.
            see_more: Adds the ranges of the evaluation images: those of calibration may be the odd ones.
        """
        found = self.mistake(given.values, scales=given.scales)
        if found is not None:
            see_more()
            found = self.mistake(given.values, scales=given.scales)
        if found is None:
            return given.table
        if not found.sure:
            self._progress.warn(f"the shared table {given.file}: {found.text}")
            made = given.table.provenance
            doubtful = dataclasses.replace(made, note=f"{made.note}; {found.text}")
            return dataclasses.replace(given.table, provenance=doubtful)
        reason = f"the shared table {given.file} is not used: {found.text}"
        self._progress.warn(reason)
        return reason

    def mistake(self, values: Ranges, *, scales: bool) -> Mistake | None:
        """Returns what is likely wrong with a table; None where nothing is, or nothing can be told.

        Args:
            values: Tensor → largest magnitude as the table has it.
            scales: Whether its file holds scales, in bits.
        """
        found = mistakes.mistake(values, self.seen, scales=scales)
        if found or not mistakes.plausible(values, self.seen):
            found = mistakes.mistake(
                values, [*self.seen, *self._ranges_of_calibration()], scales=scales
            )
        return found

    def checked(self, lane: Lane) -> Iterator[Measurement]:
        """Puts what is found into a lane's measurements; yields those whose table is used.

        Without its table goes one whose table is wrong; what is to be told stands in all of them.
        """
        for name, measured in lane.measurements.items():
            for index, one in enumerate(measured):
                measured[index] = found = self._checked(one)
                self._tell(lane.id(name), found)
                if found.table and found.cache:
                    yield found

    def _tell(self, cell: str, one: Measurement) -> None:
        problem = [f"its table is not used: {one.table_problem}"] if one.table_problem else []
        for text in (*problem, *one.table_notes):
            if (cell, text) not in self._told:
                self._progress.warn(f"{cell}: {text}")
            self._told.add((cell, text))

    def _checked(self, one: Measurement) -> Measurement:
        if not one.cache or not one.table:
            return one
        found = self._mistake(one, self._jobs.store.path(one.cache).read_text("utf-8"))
        reason = found.text if found and found.sure else self._unusable(one)
        if reason:
            return one.model_copy(update={"table": None, "coverage": None, "table_problem": reason})
        if found and found.text not in one.table_notes:
            return one.model_copy(update={"table_notes": (*one.table_notes, found.text)})
        return one

    def _mistake(self, one: Measurement, text: str) -> Mistake | None:
        told = ((one.build or {}).get("scales") or {}).get("form")
        key = (text, str(told))
        if key not in self._found:
            scales = told is None or Form(told).scales
            values = {name: LEVELS * scale for name, scale in parse(text).scales.items()}
            self._found[key] = self.mistake(values, scales=scales)
        return self._found[key]

    def _unusable(self, one: Measurement) -> str | None:
        """Returns that too many of a head's scales are no scales; None where enough are."""
        for head, arrived in (one.coverage or {}).items():
            if not enough(arrived.mapped, arrived.total, self._wants.settings.coverage):
                return (
                    f"{len(arrived.zero)} of the scales of head {head} cannot be used (zero, negative, NaN or "
                    f"beyond float32) and only {arrived.mapped} of {arrived.total} are left: see "
                    f"{listed(arrived.zero + arrived.unmapped, NAMED)}; calibrate again"
                )
        return None

    def _ranges_of_calibration(self) -> Sequence[Ranges]:
        """Returns the reference's ranges on the calibration images, by each of `ALGORITHMS`."""
        if self._calibrated is None and self.site is not None:
            options = {name: self._wants.settings.algorithms.get(name, {}) for name in ALGORITHMS}
            settings = dataclasses.replace(self._wants.settings, algorithms=options)
            wants = dataclasses.replace(self._wants, settings=settings)
            self._progress.expect(1)
            wanted = wants.calibration(self.site, ALGORITHMS)
            made = self._jobs.calibrate(self.site, wanted, "calibrate-for-tables")
            if made.status is not Status.OK:
                self._progress.warn(f"recorded tables are held against few ranges: {made.reason}")
            self._calibrated = tuple(made.tables.values())
        return self._calibrated or ()
