"""What a judgement is made from: stored facts, and a way to the per-image sums."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from runner.core.box_evidence import BoxEvidence
from runner.core.metrics import Sums
from runner.core.verdicts import Rules
from runner.plan import Cell, Status
from runner.records import Manifest, Measurement, Object, Record

SumsOf = Callable[[Object, Object], Sums]
"""(y, r) → per-image sums of y against r."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that one judgement is made from."""

    manifest: Manifest
    cells: Sequence[Cell]
    records: Sequence[Record]
    sums_of: SumsOf
    boxes: BoxEvidence | None = None
    """None where the run does not say how to decode."""

    @property
    def rules(self) -> Rules:
        """Repeating until something is found finds too much: each look gets its share of errors."""
        rules = Rules()
        return replace(
            rules, familywise_error_rate=rules.familywise_error_rate / self.manifest.looks
        )

    @property
    def reference(self) -> Measurement | None:
        """The reference, where it could be computed."""
        reference = self.manifest.reference
        return reference if reference and reference.status is Status.OK else None


def good(record: Record) -> list[Measurement]:
    """Returns the repeats that were measured."""
    return [one for one in record.measurements if one.status is Status.OK]
