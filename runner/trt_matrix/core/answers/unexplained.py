"""Boxes that were lost, or a gate that fails, where no test names a cause: it is told all the same.

What is lost is put down to the largest part of the budget: to 8 bits' own where that is most of it, else it
stays unexplained, with what it looks like.
"""

from collections.abc import Iterable
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.cells import Precision
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.shares import shares_of
from trt_matrix.core.verdicts.verdict import FAULTS, Kind, Verdict

BOX_GATES = frozenset({"ap_drop", "ap50_drop", "lost", "iou"})

PARTS = {
    "8 bits": Kind.INT8_LIMIT,
    "the table": Kind.CALIBRATION_PROBLEM,
    "the engine": Kind.ENGINE_LOSS,
}
NEARLY_DB = 0.5
"""Without a test, the best table must be so far beyond a gate to be called so."""
MOST = 0.5
"""So much of the error is what a loss is called after."""


def with_unexplained(results: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """Returns the results, those that lose something for no known cause with a verdict that says so."""
    return tuple(
        replace(result, heads=tuple(_looked_at(result, head) for head in result.heads))
        if result.status.ok
        and result.pass_.precision is not Precision.FP32
        and not result.pass_.mixed
        else result
        for result in results
    )


def _looked_at(result: CellResult, head: HeadResult) -> HeadResult:
    harm = _harm(head)
    # A cause was found, or is looked for still; a fallback makes nothing worse.
    if not harm or head.kinds & {*FAULTS, Kind.INCONCLUSIVE}:
        return head
    kept = tuple(verdict for verdict in head.verdicts if verdict.kind is not Kind.OK)
    return replace(head, verdicts=(*kept, _verdict(result, head, harm)))


def _harm(head: HeadResult) -> str:
    """Returns what was lost, in words: a gate that fails, or boxes or AP where anybody would see it."""
    failed = [gate.text() for gate in head.gates if not gate.passed]
    if failed:
        return f"a gate fails ({failed[0]})"
    if head.boxes is None or not severity.of_boxes(head.boxes).matters:
        return ""
    parts = severity.box_harm(head.boxes)
    if parts and BOX_GATES.intersection(gate.name for gate in head.gates):
        parts.append("within the gate")
    return ", ".join(parts)


def _reachable(head: HeadResult) -> bool:
    """Whether the SQNR gate fails though the best table would hold it, or nearly: 8 bits are enough then."""
    gate, budget = head.gate_sqnr_db, head.budget
    if not any(result.name == "sqnr_db" and not result.passed for result in head.gates):
        return False
    return gate is None or budget is None or budget.limit <= 10 ** ((NEARLY_DB - gate) / 10)


def _verdict(result: CellResult, head: HeadResult, harm: str) -> Verdict:
    lost = Verdict(kind=Kind.UNEXPLAINED_LOSS, cell=result.id, head=head.head, why=harm)
    shares = shares_of(result.id, head.budget) if head.budget else None
    if shares is None:
        return lost
    name, share = shares.parts[0]
    kind = PARTS[name]
    if kind is Kind.INT8_LIMIT and share >= MOST and not _reachable(head):
        why = f"{harm}; {100 * share:.0f} % of the error is what 8 bits cost with the best table known"
        return replace(lost, kind=kind, why=why)
    return replace(lost, why=f"{harm} ({shares.sentence()})", suspected=kind)
