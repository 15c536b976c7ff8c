"""What tests leave open, and what they cannot judge: with what would decide it."""

from collections.abc import Sequence
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.rows import HeadVerdict
from trt_matrix.core.answers.verdict_groups import VerdictGroup
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.network.ranked_sentences import without_boxes
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import KINDS, MORE_REPEATS, Kind
from trt_matrix.core.words import capital, listed, span

COVERS = "its table covers"
"""What is said of tensors that have no scale."""
PERHAPS = "perhaps "
"""Behind it a finding that is not decided says whose fault it may be."""


def undecided(group: VerdictGroup) -> list[Finding]:
    """Returns what is not decided, a finding for each suspicion; what would cost most first."""
    by_kind = grouped((row.verdict.suspected, row) for row in group.verdicts)
    groups = [(kind, replace(group, verdicts=verdicts)) for kind, verdicts in by_kind.items()]
    groups.sort(key=lambda pair: -max(pair[1].losses, default=0.0))
    return [_open(kind, part) for kind, part in groups]


def _open(suspected: Kind | None, group: VerdictGroup) -> Finding:
    whose = KINDS[suspected].suspicion if suspected else ""
    where = listed(group.environments, 3)
    wanted = f"{_needs(group.verdicts)} would decide."
    amounts = [amount for amount in group.losses if amount > 0]
    why = next((row.verdict.why for row in group.verdicts if row.verdict.why), "")
    reason = f" {capital(why)}." if why else ""
    return group.finding(
        f"not decidable yet; {PERHAPS}{whose}" if whose else "not decidable yet",
        f"In {where} {span(amounts)} dB look like {whose}: {wanted}{reason}"
        if whose and amounts
        else f"Not decidable yet in {where}: {wanted}{reason}",
        f"{capital(wanted)} What is measured stays: only what is missing runs.",
        severity.worst(severity.of_db(amount) for amount in amounts),
    )


def _needs(rows: Sequence[HeadVerdict]) -> str:
    """Returns what would decide all of it: of several numbers of repeats the largest."""
    needs = distinct(row.verdict.needs or "more repeats" for row in rows)
    repeats = [need for need in needs if MORE_REPEATS.fullmatch(need)]
    most = max(repeats, key=lambda need: int(need.split()[0]), default=None)
    return " and ".join(need for need in needs if need not in repeats or need == most)


def _ranked_advice(head: str, why: str, *, boxless: bool) -> str:
    """Returns what would tell of a ranked head: its boxes, or the tensor before it where that is not a head yet."""
    before = why.rpartition("; ")[2]
    if boxless:
        return f"{capital(before)}."
    if before.startswith("name the tensor"):
        return f"{capital(before)}, or say how the rows of {head} become boxes (`decode`)."
    return f"Say how the rows of {head} become boxes (`decode`): {before}."


def uncomparable(group: VerdictGroup, *, boxless: bool) -> list[Finding]:
    """Returns the cells that are not judged, with the reason of each; none where no reason is known."""
    verdicts = [row for row in group.verdicts if row.verdict.why]
    if not verdicts:
        return []
    group = replace(group, verdicts=verdicts)
    reasons = distinct(row.verdict.why or "" for row in verdicts)
    if boxless:
        reasons = [without_boxes(reason) for reason in reasons]
    if "rows are ranked" in reasons[0]:
        boxes = all(row.head.boxes for row in verdicts)
        finding = group.finding(
            f"not told by SQNR: its rows are ranked{'' if boxes or boxless else ', and its boxes are not known'}",
            f"{capital(reasons[0])}.",
            "See its boxes below."
            if boxes
            else _ranked_advice(verdicts[0].head.head, reasons[0], boxless=boxless),
            Severity.NONE,
        )
        return [finding]
    finding = group.finding(
        "not comparable",
        f"Cannot judge {listed([row.result.id for row in verdicts], 3)}: {'; '.join(reasons[:2])}.",
        "Give the tensors that have no scale one; where their names are those of another exporter, make the "
        "table of the file that is built, or bring its names to that file's."
        if COVERS in reasons[0]
        else "Mend that first: nothing else can be said of this head.",
        Severity.VISIBLE,
    )
    return [finding]
