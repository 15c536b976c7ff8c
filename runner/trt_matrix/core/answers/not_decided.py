"""One sentence of what is open: of which heads, whose fault it may be, and what would decide it."""

from trt_matrix.core.answers.findings import lead
from trt_matrix.core.answers.undecided import PERHAPS
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed


def undecided_sentence(judgement: Judgement) -> str:
    """Returns of which heads what is not decided, and what would decide it; empty where nothing is open."""
    heads: dict[tuple[str, str], list[str]] = {}
    for answer in judgement.answers:
        first = lead(answer.findings, answer.unseen)
        if first and first.kind is Kind.INCONCLUSIVE:
            whose = first.fault.partition(PERHAPS)[2]
            heads.setdefault((whose, _deciding(first.advice)), []).append(answer.head)
    if not heads:
        return ""
    (whose, advice), names = next(iter(heads.items()))
    loses = f"{listed(names, 3)} lose{'s' if len(names) == 1 else ''} by"
    who = f"Whether {loses} {whose}" if whose else f"What {loses}"
    return f"{who} is not decided: {advice[:1].lower() + advice[1:]}."


def _deciding(advice: str) -> str:
    before, found, _ = advice.partition(" would decide")
    return f"{before}{found}".rstrip(".")
