"""Whether a run gives reason to look for layers that should be kept in float; pure."""

from collections.abc import Iterable

from trt_matrix.core import severity
from trt_matrix.core.cells import TableSource
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.severity import Severity


def why_mix(judgement: Judgement) -> str | None:
    """Returns what int8 breaks or loses, the worst; None where that is nothing.

    Of explicit int8 with the shared table alone. Of implicit int8 with any table, its own calibrator's too: it may
    lose what no table is to blame for.

    `small breaks its gate in ort-1.18.1/cpu/int8-shared-entropy`, `5 of 722 boxes are lost in …`.
    """
    reasons = sorted(_reasons(judgement.cells), key=lambda reason: -reason[0].rank)
    return reasons[0][1] if reasons else None


def _reasons(results: Iterable[CellResult]) -> Iterable[tuple[Severity, str]]:
    for result in results:
        pass_ = result.pass_
        tried = pass_.implicit or pass_.source is TableSource.SHARED
        if not result.status.ok or not pass_.is_int8:
            continue
        if pass_.mixed or not tried:
            continue
        for head in result.heads:
            if head.passed is False:
                yield Severity.SEVERE, f"{head.head} breaks its gate in {result.id}"
        if result.passed is False:
            yield Severity.SEVERE, f"the whole network breaks its gate in {result.id}"
        whole = result.whole_boxes
        matters = severity.of_boxes(whole)
        if whole and matters.matters and whole.total.reference:
            yield matters, f"{', '.join(severity.box_harm(whole))} in {result.id}"
