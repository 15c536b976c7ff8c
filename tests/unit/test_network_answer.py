"""What concerns no single head: boxes of all heads together, gates of the whole network, cells that did not run."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.judgements import (
    BASELINE,
    FP32,
    MINMAX,
    NO_DRIVER,
    SHARED,
    cell_result,
    fp32_head,
    head,
)
from tests.unit.test_severity import boxes
from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.boxes.results import BoxErrors, CellBoxes
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind, Verdict

OK = Verdict(kind=Kind.OK, cell="c", head="small")


def cell(name: str = BASELINE, whole: BoxErrors | None = None, **changes: Any) -> CellResult:
    one = replace(head("small", 0.001, verdicts=(OK,), gate_sqnr_db=20), boxes=boxes())
    made = cell_result(name, SHARED, [one])
    return replace(made, boxes=CellBoxes(whole=whole) if whole else None, **changes)


def answer(*cells: CellResult, sentence: str = "") -> Answer:
    return network_answer(cells, answers(("small",), cells, BASELINE), sentence)


def test_nothing_wrong_is_clean() -> None:
    one = answer(cell(), cell("old", boxes()))
    assert (one.head, one.fault) == (WHOLE_NETWORK, "nobody's: nothing is wrong")
    assert (one.clean, one.passed, one.findings) == (True, None, ())
    assert one.severity is Severity.NONE


@pytest.mark.parametrize(("share", "told"), [(0.99, False), (1.01, True)])
def test_boxes_that_anybody_would_miss_are_told(share: float, *, told: bool) -> None:
    for some in (boxes(lost=5 * share), boxes(ap_drop=0.01 * share)):
        one = answer(cell(whole=some))
        assert bool(one.findings) is told
        assert one.clean is not told
        if told:
            (found,) = one.findings
            assert found.kind is Kind.UNEXPLAINED_LOSS
            assert (found.severity, found.fails) == (Severity.VISIBLE, False)
            assert found.advice == "No head has a cause by itself: compare the boxes below."


def test_a_gate_that_fails_is_severe_however_few_boxes() -> None:
    one = answer(cell(whole=boxes(lost=1, ap_drop=0.001), passed=False), sentence="Its gate.")
    (found,) = one.findings
    assert (found.severity, found.fails, one.passed) == (Severity.SEVERE, True, False)
    assert one.fault == "1 of 1,000 boxes are lost; the gate fails"
    assert one.text.endswith("Its gate.")


def test_what_a_gate_accepts_is_no_finding() -> None:
    one = answer(cell(whole=boxes(lost=100, ap_drop=0.1), passed=True))
    assert (one.findings, one.passed) == ((), True)


def test_a_gate_that_nobody_can_judge_does_not_hold() -> None:
    one = answer(cell(passed=False))
    (found,) = one.findings
    assert (found.kind, found.fails) == (Kind.NOT_COMPARABLE, True)
    assert "cannot be judged in ort-1.32.0/cpu/int8-shared-entropy" in found.text
    assert not one.clean


def test_of_several_cells_the_span_is_told() -> None:
    cells = [cell(name, boxes(lost=n, ap_drop=n / 500)) for name, n in (("a", 50), ("b", 100))]
    one = answer(*cells)
    assert one.fault == "50 to 100 of 1,000 boxes are lost, AP falls by 0.10 to 0.20"
    assert one.findings[0].environments == ("b", "a"), "those that lose most are named first"
    assert one.severity is Severity.SEVERE


def by_minmax(one: CellResult) -> CellResult:
    return replace(one, cell=replace(one.cell, pass_=MINMAX))


def test_a_hair_of_ap_does_not_make_the_table_that_loses_more_boxes_the_best() -> None:
    few, many = cell(whole=boxes(0.0302, lost=10)), cell(whole=boxes(0.03, lost=14))
    one = answer(few, by_minmax(many))
    assert one.fault.startswith("10 of 1,000 boxes are lost")
    assert one.findings[0].cells == (few.cell.id,)
    more = cell(whole=boxes(0.036, lost=10))
    assert answer(more, by_minmax(many)).fault.startswith("14 of 1,000"), "AP comes first"


def test_of_tables_that_lose_as_many_boxes_the_one_in_use_is_told() -> None:
    """Its AP stands beside the fixes, which are told of that table."""
    used, other = cell(whole=boxes(0.0307, lost=10)), by_minmax(cell(whole=boxes(0.03, lost=10)))
    assert answer(other, used).findings[0].cells == (used.cell.id,)
    fewer = by_minmax(cell(whole=boxes(0.03, lost=9)))
    assert answer(used, fewer).findings[0].cells == (fewer.cell.id,)


def test_what_the_best_table_keeps_is_not_lost() -> None:
    """Nobody would see what it loses: what another table loses is that table's, and heads tell it."""
    fine, bad = cell(whole=boxes(0.001)), by_minmax(cell(whole=boxes(0.2, lost=90)))
    assert answer(fine, bad).findings == ()


def test_where_the_best_table_did_not_run_the_other_one_speaks() -> None:
    fine, bad = cell("v1", boxes(0.001)), by_minmax(cell("v2", boxes(0.2, lost=90)))
    assert answer(fine, by_minmax(cell("v1", boxes(0.2, lost=90))), bad).findings[0].cells == (
        bad.cell.id,
    )


def test_fp32_has_no_gate_and_is_judged_by_its_own_level() -> None:
    exact = replace(
        cell_result(BASELINE, FP32, [fp32_head()]), boxes=CellBoxes(whole=boxes(lost=1))
    )
    assert answer(exact, cell()).findings == ()


def test_a_cell_that_failed_fails_the_run() -> None:
    gone = cell_result("old", SHARED, status=Status.CRASHED, reason="ended by SIGSEGV")
    one = answer(cell(), gone)
    (found,) = one.findings
    assert (found.kind, found.fails, found.severity) == (
        Kind.COULD_NOT_RUN, True, Severity.SEVERE,
    )  # fmt: skip
    assert one.fault == "old crashed"
    assert not one.clean


@pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.UNSUPPORTED, Status.NOT_RUN])
def test_a_cell_that_was_never_started_is_told_and_no_fault(status: Status) -> None:
    gone = cell_result("ngc", SHARED, status=status, reason=NO_DRIVER)
    one = answer(cell(), gone)
    (found,) = one.findings
    assert (found.fault, found.fails, found.severity) == (
        "1 cell did not run",
        False,
        Severity.NONE,
    )
    # What the run did not come to may come yet; what was never meant to run here is no fault.
    unseen = status is Status.NOT_RUN
    assert one.clean is not unseen
    assert one.fault == (
        "nothing found, but not all was seen (small)" if unseen else "nobody's: nothing is wrong"
    )


def test_a_version_that_fails_from_some_version_on_is_told_so() -> None:
    good, bad = cell("v1"), cell_result("v2", SHARED, status=Status.JOB_FAILED, reason="no parser")
    (found,) = answer(good, bad).findings
    assert ", since v2 (v1 is the last that ran): no parser." in found.text
    (found,) = answer(bad, good).findings
    assert ", since v2 (v1" in found.text, "the versions say so, and not their order in matrix.yaml"
    newer = cell("v10")
    (found,) = answer(newer, bad).findings
    assert ", until v2 (v10 is the first that ran): no parser." in found.text
    (found,) = answer(good, bad, newer).findings
    assert "since" not in found.text
    assert "until" not in found.text


def test_the_worst_head_leads_where_the_network_itself_has_nothing() -> None:
    lost = Verdict(kind=Kind.ENGINE_LOSS, cell="c", head="small")
    bad = cell_result(BASELINE, SHARED, [head("small", 0.02, verdicts=(lost,), gate_sqnr_db=20)])
    one = answer(bad)
    assert one.findings == ()
    assert one.fault == "the engine's int8 kernels (small)"
    assert one.severity is Severity.SEVERE
    assert not one.clean


def test_without_heads_it_is_still_an_answer() -> None:
    one = network_answer([], [], "")
    assert (one.passed, one.advice, one.text) == (None, "", "")
