"""Every cell by itself: how it ended, what its stages took, how to run it again; pure, no markup."""

import hashlib
import re
import shlex
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trt_matrix.core.cells import CellPlace, Status
from trt_matrix.core.collecting import grouped
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.report.facts import fact_groups, flat

STAGES = ("calibrate", "build", "infer", "time", "compare")
"""In the order of a job."""

UNSAFE = re.compile(r"[^A-Za-z0-9._:/*-]+")
LONGEST_ANCHOR = 120

Pair = tuple[str, str]
"""(`probed › engine › version`, `1.32.0`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceFacts:
    """Facts of some passes of a place; all of them, as a rule."""

    passes: tuple[str, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceCells:
    """An environment on a device: its facts once, and its cells."""

    place: CellPlace
    results: tuple[CellResult, ...]
    facts: tuple[PlaceFacts, ...]
    """Those that other places do not share."""
    stages: tuple[str, ...]
    """Those that any of its cells had."""

    @property
    def told(self) -> bool:
        """Whether any of its cells left a log: those are the ones to read."""
        return any(result.log_tail for result in self.results)

    @property
    def reason(self) -> str | None:
        """The reason that all of its cells share; None where they do not."""
        reasons = {result.reason for result in self.results}
        return reasons.pop() if len(reasons) == 1 else None

    @property
    def unwatched(self) -> tuple[str, ...]:
        """Passes during which nobody could see whether something else used the device."""
        return tuple(result.cell.pass_.name for result in self.results if result.watched is False)

    @property
    def statuses(self) -> tuple[tuple[Status, int], ...]:
        statuses = [result.status for result in self.results]
        return tuple((status, statuses.count(status)) for status in Status if status in statuses)


def common_facts(judgement: Judgement) -> tuple[Pair, ...]:
    """Returns the facts that are the same in all places where any were found, in their order."""
    groups = [dict.fromkeys(flat(group.facts)) for group in fact_groups(judgement)]
    first = groups[0] if groups else {}
    return tuple(pair for pair in first if all(pair in group for group in groups))


def places(judgement: Judgement, common: Collection[Pair]) -> tuple[PlaceCells, ...]:
    """Returns each environment on each device, without the facts that are `common` to all."""
    shared = set(common)
    facts = grouped(
        (
            group.results[0].place,
            PlaceFacts(
                passes=tuple(result.pass_.name for result in group.results),
                pairs=tuple(pair for pair in flat(group.facts) if pair not in shared),
            ),
        )
        for group in fact_groups(judgement)
    )
    return tuple(
        PlaceCells(
            place=place,
            results=tuple(results),
            facts=tuple(facts.get(place, ())),
            stages=_stages(results),
        )
        for place, results in grouped((result.place, result) for result in judgement.cells).items()
    )


def _stages(results: Sequence[CellResult]) -> tuple[str, ...]:
    had = {stage for result in results if result.run for stage in result.run.stages}
    return tuple(stage for stage in STAGES if stage in had) + tuple(sorted(had.difference(STAGES)))


def stage_s(result: CellResult, stage: str) -> float | None:
    """Returns the median over repeats; None where the cell had no such stage."""
    seconds = result.run.stages.get(stage, ()) if result.run else ()
    return statistics.median(seconds) if seconds else None


def command(cell: str) -> str:
    """Returns what runs the cell again, for a shell."""
    return f"trt-matrix run --fresh -s {shlex.quote(cell)}"


def cell_anchor(cell: str) -> str:
    """Returns `cell-ort-1.32.0/cpu/int8-shared-entropy`, the id of its element on the page; needs no escaping, in HTML or in an address."""
    safe = UNSAFE.sub("-", cell)[:LONGEST_ANCHOR]
    if safe == cell:
        return f"cell-{safe}"
    return f"cell-{safe}-{hashlib.sha256(cell.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
