"""What a report says first of each head: whose fault its error is, how much it matters, what helps."""

from dataclasses import dataclass

from trt_matrix.core.severity import Severity
from trt_matrix.core.shares import Shares
from trt_matrix.core.verdicts.verdict import Kind


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
