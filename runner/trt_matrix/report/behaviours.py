"""The matrix as it is seen: in each pass, neighbouring versions that do the same are one row; pure, no markup.

Versions stand in their order, so what an engine changed is a step between two rows, told in one line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import NamedTuple

from trt_matrix.core import severity
from trt_matrix.core.answers.since import run_of
from trt_matrix.core.cells import CellPlace, Status
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.rounding import db_apart
from trt_matrix.core.verdicts.verdict import KINDS, Kind
from trt_matrix.core.words import count, listed
from trt_matrix.report.fields import SAME_DB, loss_db
from trt_matrix.report.formatting import signed
from trt_matrix.report.views import PassGroup, Row, rows

MOST = 12
"""Rows of one pass that are shown at once; of more the worst and the newest."""
WORST = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """Neighbouring rows of one pass that do the same."""

    letter: str
    """The same of all rows that do the same; empty where the whole pass does."""
    rows: tuple[Row, ...]
    same_bits: bool
    step: str = ""
    """What changed from the row above; empty of the first, and where nobody can say."""
    rest: bool = False
    """Whether it stands behind a button: there are too many."""

    @property
    def title(self) -> str:
        names = [row.result.environment for row in self.rows]
        return run_of(names, names) if len(names) > 2 else " and ".join(names)

    @property
    def note(self) -> str:
        if self.same_bits:
            return "same bytes"
        return "nothing found" if _quiet(self.rows[0].result) else "same to 0.1 dB"

    @property
    def loss(self) -> float:
        """Its largest loss in any head, in dB, for the order of what is worst."""
        losses = [loss for head in self.rows[0].result.heads if (loss := loss_db(head)) is not None]
        return max(losses, default=float("inf") if self.rows[0].result.heads else -1.0)


class MissingPass(NamedTuple):
    """A place where planned cells were never tried."""

    place: CellPlace
    passes: tuple[str, ...]


class Idle(NamedTuple):
    """Cells that were never tried, for one reason."""

    status: Status
    reason: str | None
    missing: tuple[MissingPass, ...]

    @property
    def line(self) -> str:
        """Returns `30 cells of 6 environments, unavailable: no NVIDIA driver`."""
        cells = sum(len(missing.passes) for missing in self.missing)
        names = distinct(missing.place.environment for missing in self.missing)
        where = listed(names, 1) if len(names) == 1 else count(len(names), "environment")
        what = str(self.status).replace("_", " ")
        return f"{count(cells, 'cell')} of {where}, {what}: {self.reason or 'no reason recorded'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenPass:
    """One pass."""

    group: PassGroup
    behaviours: tuple[Behaviour, ...]

    @property
    def hidden(self) -> int:
        """Rows behind the button."""
        return sum(len(behaviour.rows) for behaviour in self.behaviours if behaviour.rest)


def seen(groups: Iterable[PassGroup]) -> tuple[SeenPass, ...]:
    """Returns each pass that was tried anywhere."""
    passes = (SeenPass(group=group, behaviours=_behaviours(group)) for group in groups)
    return tuple(pass_ for pass_ in passes if pass_.behaviours)


def idle(results: Iterable[CellResult]) -> tuple[Idle, ...]:
    """Returns what was never tried, a line a reason."""
    reasons = grouped(
        ((result.status, result.reason), (result.place, result.pass_.name))
        for result in results
        if result.status.never_started
    )
    return tuple(
        Idle(
            status,
            reason,
            tuple(MissingPass(place, tuple(passes)) for place, passes in grouped(cells).items()),
        )
        for (status, reason), cells in reasons.items()
    )


def _behaviours(group: PassGroup) -> tuple[Behaviour, ...]:
    clusters: list[Row] = []
    runs: list[tuple[int, list[Row]]] = []
    for row in group.rows:
        if row.result.status.never_started:
            continue
        number = next(
            (index for index, other in enumerate(clusters) if _alike(row, other)), len(clusters)
        )
        if number == len(clusters):
            clusters.append(row)
        if runs and runs[-1][0] == number and _alike(row, runs[-1][1][-1]):
            runs[-1][1].append(row)
        else:
            runs.append((number, [row]))
        if len(clusters) > 2 * MOST:
            # So many unlike ones have no letters, and none is looked for among all others.
            clusters = clusters[-1:]
            runs[-1] = (0, runs[-1][1])
    lettered = 1 < len(clusters) <= len(ascii_uppercase) and len(runs) <= MOST
    behaviours = []
    for index, (number, run) in enumerate(runs):
        above = runs[index - 1][1][-1] if index and len(runs) <= MOST else None
        if above and not _versions_of_one_thing(group, above, run[0]):
            above = None
        behaviours.append(
            Behaviour(
                letter=ascii_uppercase[number] if lettered and run[0].result.heads else "",
                rows=tuple(run),
                same_bits=all(
                    row.result.id in head.identical_to
                    for row in run[1:]
                    for head in run[0].result.heads
                ),
                step=_step(above, run[0]) if above else "",
            )
        )
    return _folded(behaviours)


def _folded(behaviours: Sequence[Behaviour]) -> tuple[Behaviour, ...]:
    if len(behaviours) <= MOST:
        return tuple(behaviours)
    worst = sorted(behaviours, key=lambda behaviour: -behaviour.loss)[:WORST]
    return tuple(
        behaviour
        if any(behaviour is kept for kept in (*worst, behaviours[-1]))
        or any(row.is_baseline for row in behaviour.rows)
        else Behaviour(letter="", rows=behaviour.rows, same_bits=behaviour.same_bits, rest=True)
        for behaviour in behaviours
    )


def _alike(row: Row, other: Row) -> bool:
    """Whether two rows of one pass read the same: bit-identical, or the same to a tenth of a dB in every head."""
    here, there = row.result, other.result
    if not (here.status.ok and there.status.ok and here.heads):
        return False
    if here.device != there.device or here.passed != there.passed:
        return False
    if len(here.heads) != len(there.heads):
        return False
    return (_quiet(here) and _quiet(there)) or all(
        _head_alike(mine, its, there.id) for mine, its in zip(here.heads, there.heads, strict=True)
    )


def _quiet(result: CellResult) -> bool:
    """Whether it is a floating point result of which nothing was found: how small its error is matters to nobody."""
    return not result.pass_.is_int8 and all(
        not (head.kinds - {Kind.OK}) and not head.error.nonfinite and head.passed is not False
        for head in result.heads
    )


def _head_alike(mine: HeadResult, its: HeadResult, cell: str) -> bool:
    if mine.passed != its.passed or bool(mine.error.nonfinite) != bool(its.error.nonfinite):
        return False
    here, there = mine.sqnr_db, its.sqnr_db
    if here is None or there is None:
        return mine.error.identical and its.error.identical
    # Bits are those of the first build: where builds differ, versions with the same one may not be alike.
    same = cell in mine.identical_to or (mine.kinds - {Kind.OK}) == (its.kinds - {Kind.OK})
    return same and abs(here - there) < SAME_DB


def _versions_of_one_thing(group: PassGroup, above: Row, below: Row) -> bool:
    """Whether a difference is a step of the version: of int8, and each version stands there once."""
    device = below.result.device
    versions = [_version(row.result) for row in group.rows if row.result.device == device]
    return group.pass_.is_int8 and all(
        versions.count(_version(row.result)) == 1 for row in (above, below)
    )


def _step(above: Row, below: Row) -> str:
    """Returns `ort-1.27.0: medium +0.2 dB, small +0.3 dB; harmless`; empty where they are no versions of one engine."""
    here, there = below.result, above.result
    if here.device != there.device or _engine(here) is None:
        return ""
    if _engine(here) != _engine(there) or _version(here) == _version(there):
        return ""
    if not (here.status.ok or there.status.ok):
        return ""
    if not (here.status.ok and there.status.ok):
        ending = "runs" if here.status.ok else str(here.status).replace("_", " ")
        return f"{here.environment}: {ending}"
    ends = {
        head.head: (before.sqnr_db, head.sqnr_db)
        for head in here.heads
        if (before := above.head(head.head))
        and before.sqnr_db is not None
        and head.sqnr_db is not None
    }
    changes = [after - before for before, after in ends.values()]
    told = [
        f"{head} {signed(apart)} dB"
        for head, (before, after) in ends.items()
        if abs(after - before) >= SAME_DB and (apart := db_apart(after, before))
    ]
    more = f" and {len(told) - 4} more" if len(told) > 4 else ""
    boxes = severity.boxes_apart(here.whole_boxes, there.whole_boxes)
    worse = severity.worst((severity.of_db(-min(changes, default=0.0)), boxes))
    small = max(map(abs, changes), default=0.0) < severity.SQNR_DB[0]
    word = f"; {worse}" if worse.matters else "; harmless" if small else ""
    worst = [
        head
        for head in here.heads
        if head.head in ends
        and worse.matters
        and severity.of_db(ends[head.head][0] - ends[head.head][1]).rank >= worse.rank
    ]
    if worst and all(map(_open, worst)):
        word = "; not decided"
    return f"{here.environment}: {', '.join(told[:4]) or 'other bits'}{more}{word}"


def _open(head: HeadResult) -> bool:
    """Whether what it lost is not decided, or nothing is said of it: one image may carry it all."""
    kinds = head.kinds - {Kind.OK}
    return Kind.INCONCLUSIVE in kinds and not any(KINDS[kind].fault for kind in kinds)


def _engine(result: CellResult) -> str | None:
    return next(iter(result.versions), None)


def _version(result: CellResult) -> str | None:
    return next(iter(result.versions.values()), None)


def common_versions(groups: Iterable[PassGroup]) -> Mapping[str, frozenset[str]]:
    """Returns device → what all of its environments have: rows do without it."""
    versions = {
        row.result.place: frozenset(row.versions) for row in rows(groups) if row.result.versions
    }
    by_device = grouped((place.device, names) for place, names in versions.items())
    return {
        device: frozenset.intersection(*of_device)
        for device, of_device in by_device.items()
        if len(of_device) > 1
    }
