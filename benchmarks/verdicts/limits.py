"""What must hold, and whether so many matrices show that it does not.

A limit is broken where a family that just kept it would do as badly in 1 of 1,000 runs: hundreds of rows are
looked at, and none may fail by chance.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

from scipy.stats import binom

from benchmarks.verdicts.count import Row
from benchmarks.verdicts.families import FAMILIES

CHANCE = 1e-3

MOST = {"false": 0.01, "wrong": 0.01}
UNDECIDED = 0.05
"""Where builds are equal and nothing is wrong."""


def broken(rows: Sequence[Row]) -> list[str]:
    """Returns a sentence for each limit that does not hold."""
    told = []
    for name, family in FAMILIES.items():
        mine = [row for row in rows if row.family == name]
        if not mine:
            continue
        limits = MOST | ({"undecided": UNDECIDED} if family.equal else {})
        for outcome, most in limits.items():
            for group, title in _groups(mine):
                count, of = _sum(group, outcome), sum(row.matrices for row in group)
                if _above(count, of, most):
                    told.append(
                        f"{name}, {title}: {outcome} {_share(count, of)}, at most {most:.0%}"
                    )
        acquitted, of = _sum(mine, "acquitted"), sum(row.judged for row in mine)
        if acquitted:
            told.append(f"{name}: acquitted {acquitted} of {of}, never")
        told += _weak(mine)
        told += _falling(mine, climbs=family.climbs)
    return told


def _weak(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        least = FAMILIES[row.family].power.get((row.variant, row.repeats))
        lost = row.matrices - row.outcomes["found"]
        if least is not None and _above(lost, row.matrices, 1 - least):
            found = _share(row.outcomes["found"], row.matrices)
            yield f"{row.family}, {row.variant}, {row.repeats} repeats: found {found}, at least {least:.0%}"


def _falling(rows: Sequence[Row], *, climbs: bool) -> Iterable[str]:
    """Power that falls with repeats, or from one variant to the next where that is more of something."""
    if not any(row.outcomes["found"] for row in rows):
        return
    series = [
        (
            f"{variant}: found at {{}} and {{}} repeats",
            [row for row in rows if row.variant == variant],
        )
        for variant in dict.fromkeys(row.variant for row in rows)
    ]
    if climbs:
        series += [
            (
                f"{repeats} repeats: found in {{}} and {{}}",
                [r for r in rows if r.repeats == repeats],
            )
            for repeats in dict.fromkeys(row.repeats for row in rows)
        ]
    for title, line in series:
        for row, other in itertools.pairwise(line):
            if row.matrices and other.matrices and _fell(row, other):
                by = "variant" if row.variant != other.variant else "repeats"
                yield (
                    f"{row.family}, {title.format(getattr(row, by), getattr(other, by))}: "
                    f"{_share(row.outcomes['found'], row.matrices)}, then "
                    f"{_share(other.outcomes['found'], other.matrices)}"
                )


def _fell(one: Row, other: Row) -> bool:
    shares = [row.outcomes["found"] / row.matrices for row in (one, other)]
    both = (one.outcomes["found"] + other.outcomes["found"]) / (one.matrices + other.matrices)
    error = math.sqrt(both * (1 - both) * (1 / one.matrices + 1 / other.matrices))
    return shares[0] - shares[1] > 3.5 * error > 0


def _groups(rows: Sequence[Row]) -> Iterable[tuple[Sequence[Row], str]]:
    yield rows, "all"
    for repeats in dict.fromkeys(row.repeats for row in rows):
        yield [row for row in rows if row.repeats == repeats], f"{repeats} repeats"
    for variant in dict.fromkeys(row.variant for row in rows):
        yield [row for row in rows if row.variant == variant], variant


def _sum(rows: Iterable[Row], outcome: str) -> int:
    return sum(row.outcomes[outcome] for row in rows)


def _above(count: int, of: int, most: float) -> bool:
    return bool(of and binom.sf(count - 1, of, most) < CHANCE)


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} % of {of}" if of else "–"
