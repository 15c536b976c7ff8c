"""What tests leave open, and what they cannot judge: with what would decide it."""

from collections.abc import Sequence

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.making import made
from trt_matrix.core.answers.rows import Row, ToldVerdict, environments, losses
from trt_matrix.core.collecting import distinct
from trt_matrix.core.network.ranked_told import without_boxes
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import KINDS, MORE_REPEATS, Kind
from trt_matrix.core.words import capital, listed, span

COVERS = "its table covers"
"""What is said of tensors that have no scale."""
PERHAPS = "perhaps "
"""Behind it a finding that is not decided says whose fault it may be."""


def undecided(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row]) -> list[Finding]:
    """Returns what is not decided, a finding for each suspicion; what would cost most first."""
    groups: dict[Kind | None, list[ToldVerdict]] = {}
    for row in told_verdicts:
        groups.setdefault(row.verdict.suspected, []).append(row)
    most = sorted(groups.items(), key=lambda group: -max(losses(group[1]), default=0.0))
    return [_open(kind, some, rows) for kind, some in most]


def _open(
    suspected: Kind | None, told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row]
) -> Finding:
    whose = KINDS[suspected].suspicion if suspected else ""
    where = environments(told_verdicts)
    wanted = f"{_needs(told_verdicts)} would decide."
    amounts = [amount for amount in losses(told_verdicts) if amount > 0]
    why = distinct(row.verdict.why for row in told_verdicts if row.verdict.why)
    reason = f" {capital(why[0])}." if why else ""
    return made(
        told_verdicts,
        rows,
        f"not decidable yet; {PERHAPS}{whose}" if whose else "not decidable yet",
        f"In {listed(where, 3)} {span(amounts)} dB look like {whose}: {wanted}{reason}"
        if whose and amounts
        else f"Not decidable yet in {listed(where, 3)}: {wanted}{reason}",
        f"{capital(wanted)} What is measured stays: only what is missing runs.",
        severity.worst(severity.of_db(amount) for amount in amounts),
    )


def _needs(rows: Sequence[ToldVerdict]) -> str:
    """Returns what would decide all of it: of several numbers of repeats the largest."""
    needs = distinct(row.verdict.needs or "more repeats" for row in rows)
    repeats = [need for need in needs if MORE_REPEATS.fullmatch(need)]
    most = max(repeats, key=lambda one: int(one.split()[0]), default=None)
    return " and ".join(need for need in needs if need not in repeats or need == most)


def _ranked_advice(head: str, why: str, *, boxless: bool) -> str:
    """Returns what would tell of a ranked head: its boxes, or the tensor before it where that is not a head yet."""
    before = why.rpartition("; ")[2]
    if boxless:
        return f"{capital(before)}."
    if before.startswith("name the tensor"):
        return f"{capital(before)}, or say how the rows of {head} become boxes (`decode`)."
    return f"Say how the rows of {head} become boxes (`decode`): {before}."


def uncomparable(
    told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], *, boxless: bool = False
) -> Finding | None:
    """Cells that are not judged, with the reason of each."""
    told_verdicts = [row for row in told_verdicts if row.verdict.why]
    if not told_verdicts:
        return None
    reasons_ = distinct(row.verdict.why or "" for row in told_verdicts)
    if boxless:
        reasons_ = [without_boxes(one) for one in reasons_]
    cells = [row.result.id for row in told_verdicts]
    scales, ranked = COVERS in reasons_[0], "rows are ranked" in reasons_[0]
    if ranked:
        boxes = all(row.head.boxes for row in told_verdicts)
        return made(
            told_verdicts,
            rows,
            f"not told by SQNR: its rows are ranked{'' if boxes or boxless else ', and its boxes are not known'}",
            f"{capital(reasons_[0])}.",
            "See its boxes below."
            if boxes
            else _ranked_advice(told_verdicts[0].head.head, reasons_[0], boxless=boxless),
            Severity.NONE,
        )
    return made(
        told_verdicts,
        rows,
        "not comparable",
        f"Cannot judge {listed(cells, 3)}: {'; '.join(reasons_[:2])}.",
        "Give the tensors that have no scale one; where their names are those of another exporter, make the "
        "table of the file that is built, or bring its names to that file's."
        if scales
        else "Mend that first: nothing else can be said of this head.",
        Severity.VISIBLE,
    )
