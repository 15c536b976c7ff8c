"""Losses of which no test names the cause: told all the same, and put down to the largest part of the budget."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.judgements import BASELINE, FP32, SHARED, cell_result, fp32_head, head
from tests.unit.passes import FP16
from tests.unit.test_severity import boxes
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.answers.unexplained import MOST, NEARLY_DB, with_unexplained
from trt_matrix.core.boxes.results import BoxErrors
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.gates import GateResult, all_hold
from trt_matrix.core.verdicts.verdict import FAULTS, Kind, Verdict

OK = Verdict(kind=Kind.OK, cell="c", head="small")


def lost(
    nmse: float = 0.02,
    *verdicts: Verdict,
    limit: float = 0.004,
    calibration: float = 0.004,
    gate_sqnr_db: float | None = None,
    **changes: Any,
) -> HeadResult:
    head_result = head(
        "small",
        nmse,
        limit=limit,
        calibration=calibration,
        gate_sqnr_db=gate_sqnr_db,
        verdicts=verdicts or (OK,),
    )
    return replace(head_result, **changes)


def looked_at(head_result: HeadResult, pass_: Pass = SHARED, **more: Any) -> tuple[Verdict, ...]:
    (result,) = with_unexplained([cell_result(BASELINE, pass_, [head_result], **more)])
    return result.heads[0].verdicts


def kinds(verdicts: Iterable[Verdict]) -> list[Kind]:
    return [verdict.kind for verdict in verdicts]


def test_without_harm_nothing_is_told() -> None:
    assert looked_at(lost()) == (OK,)
    assert looked_at(lost(0.001, gate_sqnr_db=20)) == (OK,)
    assert looked_at(lost(boxes=boxes(lost=1))) == (OK,), "harmless"


def test_a_gate_that_fails_is_told_with_what_it_looks_like() -> None:
    (verdict,) = looked_at(lost(gate_sqnr_db=20))
    assert (verdict.kind, verdict.suspected) == (Kind.UNEXPLAINED_LOSS, Kind.ENGINE_LOSS)
    assert (verdict.cell, verdict.head) == (cell_result(BASELINE, SHARED).cell.id, "small")
    assert verdict.why == (
        "a gate fails (SQNR 17.0 dB, at least 20 dB) (60 % the engine, 20 % 8 bits, 20 % the table)"
    )
    (table,) = looked_at(lost(limit=0.004, calibration=0.014, gate_sqnr_db=20))
    assert table.suspected is Kind.CALIBRATION_PROBLEM


@pytest.mark.parametrize(
    ("share", "kind"), [(0.99, Kind.UNEXPLAINED_LOSS), (1.01, Kind.INT8_LIMIT)]
)
def test_what_is_mostly_8_bits_own_is_8_bits_own(share: float, kind: Kind) -> None:
    limit = 0.02 * MOST * share
    (verdict,) = looked_at(lost(limit=limit, calibration=0.009, gate_sqnr_db=22))
    assert verdict.kind is kind
    if kind is Kind.INT8_LIMIT:
        assert "of the error is what 8 bits cost with the best table known" in (verdict.why or "")


@pytest.mark.parametrize(
    ("share", "kind"), [(0.99, Kind.UNEXPLAINED_LOSS), (1.01, Kind.INT8_LIMIT)]
)
def test_a_gate_that_the_best_table_nearly_holds_is_no_limit_of_8_bits(
    share: float, kind: Kind
) -> None:
    """Without a test, half a decibel."""
    limit = 0.01 * 10 ** (share * NEARLY_DB / 10)
    (verdict,) = looked_at(lost(limit=limit, calibration=0.0, gate_sqnr_db=20))
    assert verdict.kind is kind


@pytest.mark.parametrize(("share", "told"), [(0.99, False), (1.01, True)])
def test_boxes_that_anybody_would_miss_are_told_without_a_gate(share: float, *, told: bool) -> None:
    for some, words in (
        (boxes(lost=5 * share), "5 of 1000 boxes are lost"),
        (boxes(ap_drop=0.01 * share), "AP falls by 0.010"),
    ):
        verdicts = looked_at(lost(boxes=some))
        assert (kinds(verdicts) == [Kind.UNEXPLAINED_LOSS]) is told
        if told and "AP" in words:
            assert words in (verdicts[0].why or "")


def box_gate(*, passed: bool, name: str = "ap_drop") -> tuple[GateResult, ...]:
    return (GateResult(name=name, limit=0.1, value=0.05 if passed else 0.2, passed=passed),)


def test_that_the_best_table_would_hold_a_gate_says_nothing_of_another_gate() -> None:
    """The SQNR gate holds here; that of boxes fails, and 8 bits are most of the error."""
    sqnr = GateResult(name="sqnr_db", limit=10.0, value=17.0, passed=True)
    head_result = lost(
        limit=0.018, calibration=0.001, gates=(sqnr, *box_gate(passed=False)), passed=False
    )
    (verdict,) = looked_at(replace(head_result, gate_sqnr_db=10.0))
    assert verdict.kind is Kind.INT8_LIMIT
    assert (verdict.cell, verdict.head) == (cell_result(BASELINE, SHARED).cell.id, "small")
    assert "; 90 % of the error is what 8 bits cost" in (verdict.why or "")


def test_boxes_that_a_gate_of_boxes_accepts_are_told_to_be_within_it() -> None:
    for gates, accepted in ((box_gate(passed=True), True), (box_gate(passed=False), False)):
        head_result = lost(boxes=boxes(ap_drop=0.05), gates=gates, passed=all_hold(gates))
        (verdict,) = looked_at(head_result)
        assert verdict.kind is Kind.UNEXPLAINED_LOSS
        assert ("within the gate" in (verdict.why or "")) is accepted
    sqnr = lost(0.001, boxes=boxes(ap_drop=0.05), gate_sqnr_db=20)
    assert kinds(looked_at(sqnr)) == [Kind.UNEXPLAINED_LOSS], "a gate of dB accepts no boxes"


@pytest.mark.parametrize("kind", sorted(FAULTS | {Kind.INCONCLUSIVE}))
def test_where_a_cause_is_named_or_looked_for_nothing_is_added(kind: Kind) -> None:
    named = Verdict(kind=kind, cell="c", head="small")
    assert looked_at(lost(0.02, named, gate_sqnr_db=20)) == (named,)


@pytest.mark.parametrize("kind", [Kind.PRECISION_FALLBACK, Kind.NOT_COMPARABLE])
def test_a_fallback_or_half_a_table_explains_no_loss(kind: Kind) -> None:
    other = Verdict(kind=kind, cell="c", head="small")
    assert kinds(looked_at(lost(0.02, other, gate_sqnr_db=20))) == [kind, Kind.UNEXPLAINED_LOSS]


def test_without_a_budget_nothing_is_suspected() -> None:
    (verdict,) = looked_at(lost(gate_sqnr_db=20, budget=None))
    assert (verdict.kind, verdict.suspected) == (Kind.UNEXPLAINED_LOSS, None)
    spared = lost(0.02, limit=0.03, calibration=0.0, gate_sqnr_db=20)
    assert looked_at(spared)[0].suspected is None, "it ran layers in float, and fails all the same"


def floating(pass_: Pass, some: BoxErrors | None, **changes: Any) -> tuple[Verdict, ...]:
    return looked_at(replace(fp32_head(), verdicts=(OK,), boxes=some, **changes), pass_)


def test_reduced_floating_point_is_looked_at_too() -> None:
    (verdict,) = floating(FP16, boxes(lost=100))
    assert (verdict.kind, verdict.why) == (Kind.UNEXPLAINED_LOSS, "100 of 1000 boxes are lost")


def test_cells_that_did_not_run_are_left_as_they_are() -> None:
    gone = cell_result(BASELINE, SHARED, status=Status.CRASHED, reason="SIGSEGV")
    assert with_unexplained([gone]) == (gone,)


def test_fp32_boxes_that_a_gate_does_not_ask_for_are_no_loss_of_int8() -> None:
    assert floating(FP32, boxes(lost=1)) == (OK,)


def test_it_fails_the_answer_of_its_head() -> None:
    results = with_unexplained([cell_result(BASELINE, SHARED, [lost(gate_sqnr_db=20)])])
    (answer,) = answers(("small",), results, BASELINE)
    assert answer.fault == "not known; the largest part of the error is the engine's int8 kernels"
    assert answer.severity is Severity.SEVERE
    assert answer.findings[0].fails
    assert not answer.clean


def test_fp32_that_loses_a_fifth_of_all_boxes_is_never_clean() -> None:
    head_result = replace(fp32_head(), verdicts=(OK,), boxes=boxes(lost=200))
    results = with_unexplained([cell_result(BASELINE, FP32, [head_result])])
    (answer,) = answers(("small",), results, BASELINE)
    assert not answer.clean
