"""One sentence of what is open: of which heads, and whose fault it may be."""

from trt_matrix.core.answers.findings import lead
from trt_matrix.core.answers.undecided import PERHAPS
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed


def undecided_sentence(judgement: Judgement) -> str:
    """Returns of which heads what is not decided; empty where nothing is open. What would decide it is the remedy."""
    heads: dict[str, list[str]] = {}
    for answer in judgement.answers:
        first = lead(answer.findings, answer.unseen)
        if first and first.kind is Kind.INCONCLUSIVE:
            heads.setdefault(first.fault.partition(PERHAPS)[2], []).append(answer.head)
    if not heads:
        return ""
    whose, names = next(iter(heads.items()))
    loses = f"{listed(names, 3)} lose{'s' if len(names) == 1 else ''} by"
    return f"{f'Whether {loses} {whose}' if whose else f'What {loses}'} is not decided."
