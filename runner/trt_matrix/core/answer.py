"""What a report says first of each head: whose fault its error is, how much it matters, what helps."""

from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.severity import Severity
from trt_matrix.core.shares import Shares
from trt_matrix.core.verdicts.verdict import Kind

BOXES = "what became of boxes"
"""Not looked at: the outputs are not decoded, so nobody knows whether an error matters."""
BEARABLE = "how much error the application bears"
"""Not known, where the network makes no boxes and no gate says it: nobody knows whether an error matters."""
HARM_UNKNOWN = frozenset({BOXES, BEARABLE})
"""With one of these unseen, an error is a number and no harm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was found of one head, over all cells that show it."""

    kind: Kind
    fault: str
    """Whose fault it is, in a few words: `the version's (ONNX Runtime)`."""
    text: str
    """What was seen, in one or two sentences."""
    advice: str
    """What to do next, one sentence."""
    environments: tuple[str, ...]
    cells: tuple[str, ...] = ()
    """Ids."""
    severity: Severity = Severity.NONE
    confidence: str = ""
    """How sure exactly this is, in a few words."""
    fails: bool = False
    """Whether the run fails for it: a cell beyond its gate that it costs error, a broken output, a failed cell."""
    beaten: bool = False
    """Whether it is about tables alone that another one beats in the same way to int8."""

    @property
    def planned(self) -> bool:
        """Whether it only says that cells were never meant to run here."""
        return self.kind is Kind.COULD_NOT_RUN and self.severity is Severity.NONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One head's findings, and all that is known of it."""

    head: str
    fault: str
    """Whose fault it is, in a few words; of several findings the first."""
    findings: tuple[Finding, ...]
    """In the order in which a person must deal with them; empty where nothing was found."""
    text: str
    """What was seen where nothing was found; else the first finding's."""
    advice: str
    confidence: str
    """How sure that is, in a few words."""
    passed: bool | None
    """Whether every gate holds in every cell; None where none is set."""
    severity: Severity = Severity.NONE
    """The worst of its findings and of the cells that it is judged by."""
    clean: bool = False
    """Whether everything was looked at, and nothing was found."""
    unseen: tuple[str, ...] = ()
    """What was not looked at, so that nothing wrong is not yet all well."""
    shares: Shares | None = None
    """Of the cell that it is judged by, the worst of those with the best table that ran."""

    @property
    def lead(self) -> Finding | None:
        """What it speaks of first; None where there is nothing to blame."""
        return lead(self.findings, self.unseen)


def lead(findings: Sequence[Finding], unseen: Sequence[str] = ()) -> Finding | None:
    """Returns what an answer speaks of first; None where there is nothing to blame.

    What is better than 8 bits, or was never meant to run here, is no fault. A table that another one beats leads
    only where all else was looked at: with the other table the head may be as bad, and nobody knows whether that
    matters.
    """
    open_ = bool(HARM_UNKNOWN.intersection(unseen))
    wrong = (
        finding
        for finding in findings
        if finding.kind is not Kind.PRECISION_FALLBACK
        and not finding.planned
        and not (finding.beaten and open_)
    )
    return next(wrong, None)
