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
from tests.unit.passes import FP16
from tests.unit.test_severity import boxes
from trt_matrix.core.answer import BEARABLE, BOXES, Answer, Finding
from trt_matrix.core.answers.network import LEAST_AP, network_answer
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.boxes.results import BoxErrors, CellBoxes
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import Kind, Verdict

OK = Verdict(kind=Kind.OK, cell="c", head="small")


def cell(name: str = BASELINE, whole: BoxErrors | None = None, **changes: Any) -> CellResult:
    head_result = replace(head("small", 0.001, verdicts=(OK,), gate_sqnr_db=20), boxes=boxes())
    result = cell_result(name, SHARED, [head_result])
    return replace(result, boxes=CellBoxes(whole=whole) if whole else None, **changes)


def answer(*cells: CellResult, sentence: str = "") -> Answer:
    return network_answer(cells, answers(("small",), cells, BASELINE), sentence)


def test_nothing_wrong_is_clean() -> None:
    one = answer(cell(), cell("old", boxes()))
    assert (one.head, one.fault) == (WHOLE_NETWORK, "nobody's: nothing is wrong")
    assert (one.clean, one.passed, one.findings) == (True, None, ())
    assert one.severity is Severity.NONE


@pytest.mark.parametrize(("share", "told"), [(0.99, False), (1, True), (1.01, True)])
def test_boxes_that_anybody_would_miss_are_told(share: float, *, told: bool) -> None:
    for some in (boxes(lost=5 * share), boxes(ap_drop=0.01 * share)):
        one = answer(cell(whole=some))
        assert bool(one.findings) is told
        assert one.clean is not told
        if told:
            (finding,) = one.findings
            assert finding.kind is Kind.UNEXPLAINED_LOSS
            assert (finding.severity, finding.fails) == (Severity.VISIBLE, False)
            assert finding.advice == "No head has a cause by itself: compare the boxes below."


def test_a_gate_that_fails_is_severe_however_few_boxes() -> None:
    one = answer(cell(whole=boxes(lost=1, ap_drop=0.001), passed=False), sentence="Its gate.")
    (finding,) = one.findings
    assert (finding.severity, finding.fails, one.passed) == (Severity.SEVERE, True, False)
    assert one.fault == "1 of 1,000 boxes are lost; the gate fails"
    assert one.text.endswith("Its gate.")


def test_what_a_gate_accepts_is_no_finding() -> None:
    one = answer(cell(whole=boxes(lost=100, ap_drop=0.1), passed=True))
    assert (one.findings, one.passed) == ((), True)


def test_a_gate_that_nobody_can_judge_does_not_hold() -> None:
    one = answer(cell(passed=False))
    (finding,) = one.findings
    assert (finding.kind, finding.fails) == (Kind.NOT_COMPARABLE, True)
    assert "cannot be judged in ort-1.32.0/cpu/int8-shared-entropy" in finding.text
    assert one.fault == "the gate fails: what became of boxes is not known"
    assert one.advice.startswith("Say how the outputs become boxes (`decode`)")
    assert (one.severity, one.confidence) == (Severity.SEVERE, "seen, not inferred")
    assert (finding.cells, finding.environments) == ((cell().cell.id,), (BASELINE,))
    assert not one.clean


def test_of_several_cells_the_span_is_told() -> None:
    cells = [cell(name, boxes(lost=n, ap_drop=n / 500)) for name, n in (("a", 50), ("b", 100))]
    one = answer(*cells)
    assert one.fault == "50 to 100 of 1,000 boxes are lost, AP falls by 0.10 to 0.20"
    assert one.findings[0].environments == ("b", "a"), "those that lose most are named first"
    assert one.severity is Severity.SEVERE


def by_minmax(result: CellResult) -> CellResult:
    return replace(result, cell=replace(result.cell, pass_=MINMAX))


def test_a_hair_of_ap_does_not_make_the_table_that_loses_more_boxes_the_best() -> None:
    few, many = cell(whole=boxes(0.0302, lost=10)), cell(whole=boxes(0.03, lost=14))
    one = answer(few, by_minmax(many))
    assert one.fault.startswith("10 of 1,000 boxes are lost")
    assert one.findings[0].cells == (few.cell.id,)


@pytest.mark.parametrize(("share", "lost"), [(0.99, 10), (1.01, 14)])
def test_half_a_hundredth_of_ap_decides_whatever_boxes_are_lost(share: float, lost: int) -> None:
    assert LEAST_AP == 0.005
    fewer = cell(whole=boxes(0.03 + share * 0.005, lost=10))
    assert answer(fewer, by_minmax(cell(whole=boxes(0.03, lost=14)))).fault.startswith(f"{lost} of")


def test_the_best_table_is_that_of_the_mean_over_versions_however_many_ran() -> None:
    """Twice as many versions are twice as many boxes, and no worse table."""
    two = [cell(name, boxes(0.03, lost=10)) for name in ("v1", "v2")]
    result = by_minmax(cell("v1", boxes(0.03, lost=14)))
    assert answer(*two, result).findings[0].cells == tuple(each.cell.id for each in two)
    ap = [cell(name, boxes(0.03, lost=10)) for name in ("v1", "v2")]
    assert answer(*ap, by_minmax(cell("v1", boxes(0.04, lost=10)))).findings[0].environments == (
        "v1",
        "v2",
    )


def test_a_table_whose_ap_is_not_known_loses_none_of_it() -> None:
    plain, other = cell(whole=boxes(lost=10)), by_minmax(cell(whole=boxes(lost=9)))
    assert answer(plain, other).findings[0].cells == (other.cell.id,)
    kept = cell(whole=boxes(0.0, lost=6))
    worse = by_minmax(cell(whole=boxes(0.03, lost=5.5)))
    assert answer(kept, worse).findings[0].cells == (kept.cell.id,), "none of it lost is the least"
    empty = cell(whole=boxes(0.02, reference=0)), by_minmax(cell(whole=boxes(0.02, lost=9)))
    assert answer(*empty).findings[0].cells == (empty[0].cell.id,), "no box, none of it lost"


def test_each_precision_has_a_best_table_of_its_own() -> None:
    """FP16 keeps more than any table of int8, and says nothing of what int8 loses."""
    half = replace(cell(whole=boxes(0.011)), cell=replace(cell().cell, pass_=FP16))
    int8 = cell(whole=boxes(0.1, lost=90))
    assert set(answer(half, int8).findings[0].cells) == {half.cell.id, int8.cell.id}


@pytest.mark.parametrize(("share", "told"), [(0.99, False), (1, False), (1.01, True)])
def test_a_table_is_warned_of_that_loses_half_a_percent_of_the_boxes_more(
    share: float, *, told: bool
) -> None:
    used = cell(whole=boxes(0.03, lost=10))
    other = by_minmax(cell(whole=boxes(0.03, lost=10 + share * 5)))
    text = answer(used, other).text
    assert ("Do not use the own minmax table: up to 15.05 are lost with it." in text) is told
    assert ("Do not use" in text) is told


def test_of_several_bad_tables_each_is_named_once_with_the_most_that_is_lost() -> None:
    other = replace(cell().cell.pass_, algorithm="percentile")
    bad = [by_minmax(cell(name, boxes(0.03, lost=90))) for name in ("v1", "v2")]
    worst = replace(cell("v1", boxes(0.03, lost=95)), cell=replace(cell("v1").cell, pass_=other))
    used = [cell(name, boxes(0.03, lost=10)) for name in ("v1", "v2")]
    assert answer(*used, *bad, worst).text.split(" Do not use ")[1] == (
        "the own minmax table and the shared percentile table: up to 95 are lost with them."
    )


@pytest.mark.parametrize(
    ("whole", "fault"),
    [
        (boxes(0.0044, lost=10), "10 of 1,000 boxes are lost"),
        (boxes(0.005, lost=10), "10 of 1,000 boxes are lost, AP falls by 0.005"),
        (boxes(0.049, lost=10), "10 of 1,000 boxes are lost, AP falls by 0.049"),
        (boxes(0.05, lost=10), "10 of 1,000 boxes are lost, AP falls by 0.05"),
        (boxes(0.02), "AP falls by 0.020"),
        (boxes(new=10, lost=10), "10 of 1,000 boxes are lost"),
        (
            boxes(new=11, lost=10),
            "10 of 1,000 boxes are lost, up to 11 new boxes beside 1,000 boxes",
        ),
        (boxes(lost=1, reference=1), "1 of 1 box are lost"),
    ],
)
def test_what_became_of_boxes_is_told_with_as_many_digits_as_tell_it(
    whole: BoxErrors, fault: str
) -> None:
    one = answer(cell(whole=whole))
    assert one.fault == fault
    assert one.text == f"In {cell().cell.id} {fault.replace(', ', ', and ')}."
    assert one.confidence == "seen, not inferred"


def test_a_gate_that_fails_without_a_box_lost_says_that_boxes_change() -> None:
    assert answer(cell(whole=boxes(), passed=False)).fault == "boxes change; the gate fails"


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
    (finding,) = one.findings
    assert (finding.kind, finding.fails, finding.severity) == (
        Kind.COULD_NOT_RUN, True, Severity.SEVERE,
    )  # fmt: skip
    assert one.fault == "old crashed"
    assert not one.clean


@pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.UNSUPPORTED, Status.NOT_RUN])
def test_a_cell_that_was_never_started_is_told_and_no_fault(status: Status) -> None:
    gone = cell_result("ngc", SHARED, status=status, reason=NO_DRIVER)
    one = answer(cell(), gone)
    (finding,) = one.findings
    assert (finding.fault, finding.fails, finding.severity) == (
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
    (finding,) = answer(good, bad).findings
    assert ", since v2 (v1 is the last that ran): no parser." in finding.text
    (finding,) = answer(bad, good).findings
    assert ", since v2 (v1" in finding.text, (
        "the versions say so, and not their order in matrix.yaml"
    )
    newer = cell("v10")
    (finding,) = answer(newer, bad).findings
    assert ", until v2 (v10 is the first that ran): no parser." in finding.text
    (finding,) = answer(good, bad, newer).findings
    assert "since" not in finding.text
    assert "until" not in finding.text


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


def told_of(name: str, severity: Severity = Severity.NONE, **changes: Any) -> Answer:
    """Returns a head's answer; of one that is not clean its advice and confidence are its own."""
    values: dict[str, Any] = {
        "head": name, "fault": f"{name}'s", "findings": (), "text": "", "advice": f"mend {name}",
        "confidence": f"{name} seen", "passed": None, "severity": severity,
    }  # fmt: skip
    return Answer(**(values | changes))


def open_head(name: str, severity: Severity) -> Answer:
    doubt = Finding(
        kind=Kind.INCONCLUSIVE, fault="", text="", advice="", environments=(), severity=severity
    )
    return told_of(name, severity, findings=(doubt,))


@pytest.mark.parametrize("back", [1, -1])
def test_of_heads_the_worst_that_is_decided_leads(back: int) -> None:
    heads = [
        told_of("small", Severity.VISIBLE),
        open_head("large", Severity.SEVERE),
        told_of("medium", Severity.HARMLESS),
        told_of("none", clean=True),
    ]
    one = network_answer([], heads[::back], "Its gate.")
    assert (one.fault, one.advice, one.confidence) == (
        "small's (small)", "mend small", "small seen",
    )  # fmt: skip
    assert one.severity is Severity.VISIBLE, "what may turn out to be nothing is nothing yet"
    assert one.text == "Not decided: large; visible: small; harmless: medium. Its gate."
    undecided = [open_head("a", Severity.VISIBLE), open_head("b", Severity.SEVERE)]
    assert network_answer([], undecided[::back], "").fault == "b's (b)"


@pytest.mark.parametrize("back", [1, -1])
def test_a_clean_head_does_not_speak_for_one_of_which_not_all_is_known(back: int) -> None:
    """With a box lost in the clean one it said "a gate fails", where none was set, and "Nothing to do"."""
    heads = [told_of("fine", Severity.HARMLESS, clean=True), told_of("dark", unseen=(BOXES,))]
    one = network_answer([], heads[::back], "")
    assert (one.fault, one.advice, one.clean) == ("dark's (dark)", "mend dark", False)
    assert one.unseen == (BOXES,)
    assert one.confidence == "dark seen"


def test_all_together_do_not_know_what_one_head_does_not() -> None:
    heads = [
        told_of("a", unseen=(BEARABLE, "speed")),
        told_of("b", unseen=(BEARABLE,)),
        told_of("c", Severity.SEVERE, unseen=(BOXES,)),
    ]
    assert network_answer([], heads, "").unseen == (BEARABLE,), "how bad c is, is known"


def test_clean_heads_have_no_confidence_and_a_slower_cell_is_named() -> None:
    heads = [told_of("a", clean=True)]
    assert network_answer([], heads, "").confidence == ""
    slow = replace(
        cell(), verdicts=(Verdict(kind=Kind.LATENCY_REGRESSION, cell="c", head=None),), passed=True
    )
    one = network_answer([slow, cell("b", passed=True)], heads, "")
    assert (one.fault, one.clean, one.passed) == ("no error; 1 cell slower", False, True)
    fast = replace(slow, verdicts=(Verdict(kind=Kind.OK, cell="c", head=None),))
    assert network_answer([fast], heads, "").clean


def test_beside_boxes_the_heads_that_have_a_cause_are_named() -> None:
    lost = cell(whole=boxes(lost=100))
    (cause,) = answer(lost).findings
    heads = [
        told_of("a", Severity.SEVERE, findings=(cause,)),
        told_of("b", Severity.SEVERE),
        told_of("c", findings=(cause,), clean=True),
    ]
    one = network_answer([lost], heads, "")
    assert one.text.endswith("100 of 1,000 boxes are lost. Of its heads: a: a's.")
    assert one.advice == "See each head below for what would help."
    some = [told_of(name, Severity.SEVERE, findings=(cause,)) for name in "abcd"]
    assert (
        "Of its heads: a: a's, b: b's, c: c's and 1 more." in network_answer([lost], some, "").text
    )
