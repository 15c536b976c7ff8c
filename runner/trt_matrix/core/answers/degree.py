"""How much an answer matters, in the words that stand first in every report."""

from trt_matrix.core.answer import HARM_UNKNOWN, Answer, Finding
from trt_matrix.core.answers.sureness import UNDECIDED
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import Kind

NOT_KNOWN = "not known"
NOTHING = "nobody's: nothing is wrong"


def state(answer: Answer | None) -> str:
    """Returns a word of `Strip.state`; nothing but a clean answer is `clean`."""
    if answer is None:
        return "none"
    if answer.passed is False or any(finding.fails for finding in answer.findings):
        return "severe"
    first = answer.lead
    if first and first.kind is Kind.INCONCLUSIVE and "layer's:" not in answer.fault:
        return "open"
    if answer.severity.matters:
        return str(answer.severity)
    if is_open(answer.findings) or answer.confidence == UNDECIDED:
        return "open"
    if answer.clean:
        return "clean"
    return "harmless" if answer.severity is Severity.HARMLESS else "none"


def degree(answer: Answer | None) -> str:
    """Returns `severe`, `visible`, `harmless`; of none of them what is known instead."""
    if answer is None:
        return NOT_KNOWN
    if state(answer) == "open":
        return "not decided"
    if answer.severity is not Severity.NONE:
        return str(answer.severity)
    if HARM_UNKNOWN.intersection(answer.unseen) and answer.passed is None:
        return NOT_KNOWN
    return "no harm" if answer.clean else "no harm seen"


def how_sure(answer: Answer) -> str:
    """Returns how sure it is, where the fault does not say already that it is not decided."""
    return "" if answer.confidence == UNDECIDED else answer.confidence


def is_open(findings: tuple[Finding, ...]) -> bool:
    """Whether anything is undecided that another table would not settle."""
    return any(finding.kind is Kind.INCONCLUSIVE and not finding.beaten for finding in findings)
