"""The calibration images as the page, the terminal and the summary tell them; pure."""

from collections.abc import Sequence
from typing import Any

from trt_matrix.core.calibration.claims import costs_told
from trt_matrix.core.calibration.curve import Trend
from trt_matrix.core.calibration.report import CalibrationReport
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.words import count

TRENDS = {
    Trend.ENOUGH: "more images of this kind will not help",
    Trend.GAINS: "still gaining",
    Trend.WORSE: "more images make it worse",
    Trend.UNDECIDED: "not decided",
}
MOST = 4
"""Sentences that an answer has; the page's section has all."""


def images(judgement: Judgement) -> dict[str, Any]:
    """Returns what the template of the section reads beside the judgement."""
    seen = judgement.calibration
    return {
        "said": seen.said() if seen else (),
        "cost": costs_told(seen.costs) if seen else "",
        "trends": TRENDS,
    }


def told(seen: CalibrationReport) -> Sequence[str]:
    """Returns the sentences that answer whether the calibration set is good: what is wrong first."""
    wrong = [f"{'A hint: ' if claim.hint else ''}{claim.text}" for claim in seen.said()]
    more = len(wrong) - MOST
    sentences = [costs_told(seen.costs), *wrong[:MOST]]
    if more > 0:
        sentences.append(f"And {more} more in the section below.")
    # Where something is wrong, the rest is in the section.
    if seen.well and not wrong:
        sentences.append(f"Looked at, and nothing found: {'; '.join(seen.well)}.")
    if seen.unknown:
        sentences.append(f"Not looked at: {'; '.join(seen.unknown[:2])}.")
    return [*filter(None, sentences)]


def lines(seen: CalibrationReport) -> list[str]:
    """Returns what a terminal tells: what is wrong and what to do; nothing of a sound set."""
    claims = [f"{claim.text} {claim.advice}".rstrip() for claim in seen.said(hints=False)]
    more = len(claims) - MOST
    rest = [f"and {count(more, 'more thing')} in the report"] if more > 0 else []
    return [f"calibration images: {line}" for line in (*claims[:MOST], *rest)]
