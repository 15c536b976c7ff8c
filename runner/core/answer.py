"""What a report says first of each head: whose fault its error is."""

from dataclasses import dataclass

from runner.core.verdicts.verdict import Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause of one head's error, over all cells that show it."""

    kind: Kind
    fault: str
    """Whose fault it is, in a few words: `the version's (ONNX Runtime)`."""
    text: str
    """What was seen, in one or two sentences."""
    advice: str
    """What to do next, one sentence."""
    environments: tuple[str, ...]
    fails: bool = False
    """Whether it may be why a gate fails: one of its cells is beyond its gate, and the cause costs error."""
    multiples: tuple[float, ...] = ()
    """Of the noise floor, a number a verdict; infinite where builds are bit-identical."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One head's causes, and all that is known of it."""

    head: str
    fault: str
    """Whose fault it is, in a few words; of several causes the first."""
    findings: tuple[Finding, ...]
    """In the order in which a person must deal with them; empty where nothing is wrong."""
    text: str
    """What was seen where nothing is wrong; else the first finding's."""
    advice: str
    confidence: str
    """How sure that is, in a few words."""
    passed: bool | None
    """Whether every gate holds in every int8 cell; None where none is set."""
