"""Verdicts of one kind → one finding: how much it matters, how sure it is, whether the run fails for it."""

from collections.abc import Sequence

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.rows import Row, ToldVerdict, int8_of, loss_db
from trt_matrix.core.answers.speaking import speaking
from trt_matrix.core.answers.sureness import sureness
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import KINDS, Kind

REDUCED = (Kind.TF32_REGRESSION, Kind.FP16_REGRESSION, Kind.BF16_REGRESSION)
VERSIONS = frozenset({*REDUCED, Kind.ENGINE_REGRESSION, Kind.VERSION_REGRESSION})
"""Kinds that compare one version's outputs with another's."""


BEATABLE = (Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION, Kind.PER_TENSOR_WEIGHTS)
"""What another table, or a scale a channel, undoes wherever that ran."""


def made(
    told_verdicts: Sequence[ToldVerdict],
    rows: Sequence[Row],
    fault: str,
    text: str,
    advice: str,
    least: Severity | None = None,
) -> Finding:
    """Returns the finding, with how much it matters.

    Args:
        told_verdicts: The verdicts that it is made of, all of one kind.
        rows: All cells of the head.
        fault: Whose it is.
        text: What was seen.
        advice: What to do next.
        least: How much it matters at least; from its verdicts where None.
    """
    kind = told_verdicts[0].verdict.kind
    beatable = kind in BEATABLE
    spoken = speaking(int8_of(rows), everywhere=not beatable)
    judged = {result.id for result, _ in spoken}
    cells = tuple(dict.fromkeys(row.result.id for row in told_verdicts))
    int8 = all(row.result.pass_.precision == "int8" for row in told_verdicts)
    fails = KINDS[kind].fault and any(row.head.passed is False for row in told_verdicts)
    if kind is Kind.INCONCLUSIVE:
        fails = any(_may_fail(row) for row in told_verdicts)
    matters = [_severity(row, rows) for row in told_verdicts] if least is None else [least]
    return Finding(
        kind=kind,
        fault=fault,
        text=text,
        advice=advice,
        environments=tuple(dict.fromkeys(row.result.environment for row in told_verdicts)),
        cells=cells,
        severity=Severity.SEVERE if fails else severity.worst(matters),
        confidence=sureness(kind, told_verdicts),
        fails=fails,
        beaten=int8 and not fails and bool(judged) and judged.isdisjoint(cells),
    )


def _may_fail(row: ToldVerdict) -> bool:
    """Whether what is not decided would be half of what a head lacks to its gate, or more."""
    if row.head.passed is not False:
        return False
    gate, now, loss = row.head.gate_sqnr_db, row.head.sqnr_db, loss_db(row.verdict)
    return gate is None or now is None or loss is None or loss >= (gate - now) / 2


def _severity(row: ToldVerdict, rows: Sequence[Row]) -> Severity:
    """Returns how much the effect costs in dB, or in boxes against what it is compared with."""
    of_db = severity.of_db(loss_db(row.verdict))
    if row.verdict.kind not in VERSIONS:
        return of_db
    base = next((h for r, h in rows if r.id == row.verdict.against), None)
    boxes = severity.boxes_apart(row.head.boxes, base.boxes if base else None)
    return severity.worst((of_db, boxes))
