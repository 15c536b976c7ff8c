"""What the first screen is filled with: the severity, the heads' bars, and the text to copy; pure."""

from collections.abc import Mapping
from typing import NamedTuple

from trt_matrix.core.answers.headline import Headline
from trt_matrix.core.answers.strips import Strip, best_fix
from trt_matrix.core.judgement import Judgement
from trt_matrix.report.formatting import short

SCALE = ("harmless", "visible", "severe")
BAR = 240
"""Pixels of a whole bar."""
SHOWN = 6
"""Heads that are shown at once; of more the rest stand behind a button."""
SHOWN_OF_MANY = 4
CAUSES = (("limit", "8 bits"), ("table", "calibration table"), ("engine", "engine"))
"""In the order of the bar: plain, striped, solid."""
LONGEST = 1200
"""Characters of a line: a name can have 10,000."""


class BarPart(NamedTuple):
    cause: str
    start: float
    width: float


class StripRow(NamedTuple):
    strip: Strip
    parts: tuple[BarPart, ...]
    text: str
    """`85 % 8 bits · 9 % table`."""
    rest: bool


def rows(told: Headline) -> tuple[StripRow, ...]:
    many = len(told.strips) > SHOWN
    return tuple(
        StripRow(
            one,
            parts(one),
            one.shares.sentence().replace(", ", " · ").replace("the ", "") if one.shares else "",
            rest=many and number >= SHOWN_OF_MANY and one.state not in ("severe", "visible"),
        )
        for number, one in enumerate(told.strips)
    )


def parts(one: Strip) -> tuple[BarPart, ...]:
    if one.shares is None:
        return ()
    told = one.shares.percents
    shares: Mapping[str, tuple[float, int]] = {
        "limit": (one.shares.limit, told["8 bits"]),
        "table": (one.shares.table, told["the table"]),
        "engine": (one.shares.engine, told["the engine"]),
    }
    found, start = [], 0.0
    for cause, (share, percent) in shares.items():
        if percent:
            found.append(BarPart(cause, round(start, 1), round(BAR * share, 1)))
        start += BAR * share
    return tuple(found)


def has_ap(told: Headline) -> bool:
    return any(one.ap_drop is not None for one in told.strips)


def has_shares(told: Headline) -> bool:
    return any(one.shares for one in told.strips)


def has_boxes(told: Headline) -> bool:
    return any(one.lost is not None for one in told.strips)


def copied(judgement: Judgement, told: Headline) -> str:
    """Returns the first screen as text for a mail."""
    first = f"{short(judgement.name, 80)}, run {short(judgement.run_id, 80)}"
    return "\n".join((first, *(short(one, LONGEST) for one in told.lines())))


def fix_command(judgement: Judgement) -> str:
    """Returns the lines that do the first fix that gains; empty where there are none."""
    fix = best_fix(judgement.fixes)
    return fix.command if fix else ""
