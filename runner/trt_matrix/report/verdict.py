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


def rows(headline: Headline) -> tuple[StripRow, ...]:
    many = len(headline.strips) > SHOWN
    return tuple(
        StripRow(
            strip,
            parts(strip),
            strip.shares.sentence().replace(", ", " · ").replace("the ", "")
            if strip.shares
            else "",
            rest=many and number >= SHOWN_OF_MANY and strip.state not in ("severe", "visible"),
        )
        for number, strip in enumerate(headline.strips)
    )


def parts(strip: Strip) -> tuple[BarPart, ...]:
    if strip.shares is None:
        return ()
    told = strip.shares.percents
    shares: Mapping[str, tuple[float, int]] = {
        "limit": (strip.shares.limit, told["8 bits"]),
        "table": (strip.shares.table, told["the table"]),
        "engine": (strip.shares.engine, told["the engine"]),
    }
    bar_parts, start = [], 0.0
    for cause, (share, percent) in shares.items():
        if percent:
            bar_parts.append(BarPart(cause, round(start, 1), round(BAR * share, 1)))
        start += BAR * share
    return tuple(bar_parts)


def copied(judgement: Judgement, headline: Headline) -> str:
    """Returns the first screen as text for a mail."""
    first = f"{short(judgement.name, 80)}, run {short(judgement.run_id, 80)}"
    return "\n".join((first, *(short(line, LONGEST) for line in headline.lines())))


def fix_command(judgement: Judgement) -> str:
    """Returns the lines that do the first fix that gains; empty where there are none."""
    fix = best_fix(judgement.fixes)
    return fix.command if fix else ""
