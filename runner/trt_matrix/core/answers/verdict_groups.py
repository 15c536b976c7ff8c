"""Verdicts of one kind → one finding: how much it matters, how sure it is, whether the run fails for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.rows import (
    HeadRow,
    HeadVerdict,
    environments,
    int8_of,
    loss_db,
    losses,
)
from trt_matrix.core.answers.speaking import speaking
from trt_matrix.core.answers.sureness import sureness
from trt_matrix.core.collecting import distinct
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import KINDS, Kind

REDUCED = (Kind.TF32_REGRESSION, Kind.FP16_REGRESSION, Kind.BF16_REGRESSION)
VERSIONS = frozenset({*REDUCED, Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION})
"""Kinds that compare one version's outputs with another's."""
BEATABLE = (Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION, Kind.PER_TENSOR_WEIGHTS)
"""What another table, or a scale a channel, undoes wherever that ran."""


@dataclass(frozen=True, slots=True)
class VerdictGroup:
    """Verdicts of one kind on one head, at least one, and all cells of that head."""

    verdicts: Sequence[HeadVerdict]
    rows: Sequence[HeadRow]
    baseline: str = ""
    """The environment that the others are compared with."""

    @property
    def kind(self) -> Kind:
        return self.verdicts[0].verdict.kind

    @property
    def environments(self) -> list[str]:
        return environments(self.verdicts)

    @property
    def passes(self) -> list[str]:
        """Names of those that it is told of."""
        return distinct(row.result.pass_.name for row in self.verdicts)

    @property
    def losses(self) -> list[float]:
        """What each verdict costs, in dB."""
        return losses(self.verdicts)

    def finding(self, fault: str, text: str, advice: str, least: Severity | None = None) -> Finding:
        """Returns the finding, with how much it matters.

        `least` is how much it matters at least; from its verdicts where None.
        """
        beatable = self.kind in BEATABLE
        judged = {row.result.id for row in speaking(int8_of(self.rows), everywhere=not beatable)}
        cells = tuple(distinct(row.result.id for row in self.verdicts))
        fails = KINDS[self.kind].fault and any(row.head.passed is False for row in self.verdicts)
        if self.kind is Kind.INCONCLUSIVE:
            fails = any(map(_may_fail, self.verdicts))
        matters = [self._severity(row) for row in self.verdicts] if least is None else [least]
        int8 = all(row.result.pass_.is_int8 for row in self.verdicts)
        return Finding(
            kind=self.kind,
            fault=fault,
            text=text,
            advice=advice,
            environments=tuple(distinct(row.result.environment for row in self.verdicts)),
            cells=cells,
            severity=Severity.SEVERE if fails else severity.worst(matters),
            confidence=sureness(self.kind, self.verdicts),
            fails=fails,
            beaten=int8 and not fails and bool(judged) and judged.isdisjoint(cells),
        )

    def _severity(self, row: HeadVerdict) -> Severity:
        """Returns how much the effect costs in dB, or in boxes against what it is compared with."""
        of_db = severity.of_db(loss_db(row.verdict))
        if self.kind not in VERSIONS:
            return of_db
        base = next(
            (row_.head for row_ in self.rows if row_.result.id == row.verdict.against), None
        )
        boxes = severity.boxes_apart(row.head.boxes, base.boxes if base else None)
        return severity.worst((of_db, boxes))


def _may_fail(row: HeadVerdict) -> bool:
    """Whether what is not decided would be half of what a head lacks to its gate, or more."""
    if row.head.passed is not False:
        return False
    gate, now, loss = row.head.gate_sqnr_db, row.head.sqnr_db, loss_db(row.verdict)
    return gate is None or now is None or loss is None or loss >= (gate - now) / 2
