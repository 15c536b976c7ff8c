"""Limits of a head, and the sentences about them, on values given by hand."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.judgements import MINMAX, OWN, SHARED, cell_result, changes, errors, head
from trt_matrix.core.answers.gate_sentences import disagreement_sentence, gates_sentence
from trt_matrix.core.answers.rows import HeadRow
from trt_matrix.core.boxes.results import ALL, BoxErrors
from trt_matrix.core.cells import Pass
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.verdicts.gates import GateResult, all_hold, gate_results

ALL_LIMITS = HeadGate(head="small", sqnr_db=20, ap_drop=0.1, ap50_drop=0.02, iou=0.8, lost=0.05)


def boxes(
    ap_drop: float | None = 0.05,
    ap50_drop: float | None = 0.0,
    iou: float | None = 0.9,
    lost: int = 1,
    reference: int = 100,
) -> BoxErrors:
    made = changes(lost, reference, mean_iou=iou)
    return BoxErrors(changes={ALL: made}, ap_drop=ap_drop, ap50_drop=ap50_drop)


def failed(
    nmse: float | None, box_errors: BoxErrors | None, gate: HeadGate = ALL_LIMITS
) -> list[str]:
    return [
        gate_result.name
        for gate_result in gate_results(gate, errors(nmse), box_errors)
        if not gate_result.passed
    ]


def test_every_limit_that_is_set_is_judged_and_no_other() -> None:
    assert failed(0.001, boxes()) == []
    assert len(gate_results(ALL_LIMITS, errors(0.001), boxes())) == 5
    assert gate_results(HeadGate(head="small", sqnr_db=None), errors(0.5), None) == ()
    only = HeadGate(head="small", sqnr_db=None, iou=0.8)
    assert [gate_result.name for gate_result in gate_results(only, errors(0.5), boxes())] == ["iou"]


@pytest.mark.parametrize(
    ("nmse", "found", "expected"),
    [
        (0.02, boxes(), ["sqnr_db"]),
        (0.001, boxes(ap_drop=0.11), ["ap_drop"]),
        (0.001, boxes(ap50_drop=0.03), ["ap50_drop"]),
        (0.001, boxes(iou=0.79), ["iou"]),
        (0.001, boxes(lost=6), ["lost"]),
        (0.001, boxes(ap_drop=-0.5, ap50_drop=-0.5), []),
        (0.001, boxes(ap_drop=0.1, ap50_drop=0.02, iou=0.8, lost=5), []),
    ],
)
def test_each_limit(nmse: float, found: BoxErrors, expected: list[str]) -> None:
    assert failed(nmse, found) == expected


def test_what_cannot_be_judged_does_not_hold() -> None:
    everything = ["ap_drop", "ap50_drop", "iou", "lost"]
    assert failed(0.001, None) == everything
    assert failed(0.001, boxes(ap_drop=None, ap50_drop=None)) == ["ap_drop", "ap50_drop"]
    assert failed(0.001, boxes(iou=None, lost=0, reference=0)) == ["iou", "lost"]
    assert failed(None, boxes()) == ["sqnr_db"]


def test_an_identical_output_passes_and_a_nan_never() -> None:
    gate = HeadGate(head="small", sqnr_db=20)
    (exact,) = gate_results(gate, errors(0.0), None)
    assert (exact.passed, exact.exact, exact.value) == (True, True, None)
    (broken,) = gate_results(gate, errors(0.0, nonfinite=1), None)
    assert (broken.passed, broken.exact) == (False, False)


def test_the_whole_gate() -> None:
    held = GateResult(name="iou", limit=0.5, value=0.6, passed=True)
    assert all_hold([]) is None
    assert all_hold([held]) is True
    assert all_hold([held, replace(held, passed=False)]) is False


def test_a_limit_is_told_with_its_value() -> None:
    def text(name: str, value: float | None) -> str:
        return GateResult(name=name, limit=0.1, value=value, passed=False).text()

    assert text("ap_drop", 0.3141) == "AP drop 0.314, at most 0.1"
    assert text("iou", 0.05) == "mean IoU 0.050, at least 0.1"
    assert text("sqnr_db", -3.0) == "SQNR -3.0 dB, at least 0.1 dB"
    assert text("lost", None) == "share of lost boxes unknown, at most 0.1"


# Sentences


def row(
    environment: str,
    pass_: Pass,
    nmse: float,
    gate: HeadGate = ALL_LIMITS,
    found: BoxErrors | None = None,
) -> HeadRow:
    found = found or boxes()
    head_result = replace(
        head("small", nmse), boxes=found, gates=gate_results(gate, errors(nmse), found)
    )
    return HeadRow(cell_result(environment, pass_, (head_result,)), head_result)


def test_gates_that_hold_are_told_in_one_sentence() -> None:
    assert gates_sentence([row("a", SHARED, 0.001), row("b", SHARED, 0.001)]) == (
        "All 2 int8 cells hold the gate, SQNR at least 20 dB, AP drop at most 0.1, AP50 "
        "drop at most 0.02, mean IoU at least 0.8 and share of lost boxes at most 0.05."
    )
    only = HeadGate(head="small", sqnr_db=20)
    assert gates_sentence([row("a", SHARED, 0.001, only)]) == (
        "The one int8 cell holds the gate, SQNR at least 20 dB."
    )
    assert gates_sentence([row("a", SHARED, 0.1, HeadGate(head="small", sqnr_db=None))]) == ""
    assert gates_sentence([]) == ""


def test_cells_that_gave_no_result_are_not_said_to_hold_the_gate() -> None:
    told = gates_sentence([row("a", SHARED, 0.001)], ["b/cpu/int8-own", "c/cpu/int8-own"])
    assert told.startswith("1 of 3 int8 cells hold the gate, SQNR at least 20 dB")
    assert told.endswith("; b/cpu/int8-own and c/cpu/int8-own gave nothing to judge.")


def test_cells_that_did_not_run_are_counted() -> None:
    only = HeadGate(head="small", sqnr_db=20)
    rows = [row(name, SHARED, 0.001, only) for name in ("a", "b", "c")]
    assert gates_sentence(rows, not_started=6) == (
        "All 3 int8 cells that ran hold the gate, SQNR at least 20 dB; 6 did not run."
    )
    assert gates_sentence(rows, ["d/cpu/int8-own"], 6) == (
        "3 of 4 int8 cells that ran hold the gate, SQNR at least 20 dB; d/cpu/int8-own gave nothing "
        "to judge; 6 did not run."
    )


def test_a_limit_within_the_interval_is_not_sure() -> None:
    def told(*ends: tuple[float, float]) -> str:
        only = HeadGate(head="small", sqnr_db=None, ap_drop=0.1)
        all_errors = [replace(boxes(ap_drop=0.09), intervals={"ap_drop": end}) for end in ends]
        return gates_sentence(
            [
                row(f"e{index}", SHARED, 0.001, only, box_errors)
                for index, box_errors in enumerate(all_errors)
            ]
        )

    sure, unsure = (0.08, 0.0999), (0.0801, 0.1102)
    assert "sure" not in told(sure, sure)
    assert told(sure, unsure, sure).endswith(
        "All 3 int8 cells hold the gate, AP drop at most 0.1. Not sure with these images: AP drop at "
        "most 0.1 in e1/cpu/int8-shared-entropy, since its 95 % interval is 0.080 to 0.110; more "
        "images would tell."
    )
    assert told(unsure, unsure).endswith(
        "AP drop at most 0.1 in every int8 cell, since their 95 % intervals hold it; more images "
        "would tell."
    )


@pytest.mark.parametrize(
    ("ends", "unsure"),
    [((0.05, 0.1), False), ((0.05, 0.11), True), ((0.1, 0.2), True), ((0.11, 0.2), False)],
)
def test_an_interval_on_one_side_of_the_limit_decides(
    ends: tuple[float, float], unsure: bool
) -> None:
    box_errors = replace(boxes(ap_drop=sum(ends) / 2), intervals={"ap_drop": ends})
    gate = HeadGate(head="small", sqnr_db=None, ap_drop=0.1)
    (gate_result,) = gate_results(gate, errors(0.001), box_errors)
    assert gate_result.interval == ends
    assert gate_result.unsure is unsure
    assert ("95 %" in gate_result.text()) is unsure


def test_gates_that_fail_name_their_cells_and_values() -> None:
    rows = [
        row("a", SHARED, 0.001, found=boxes(ap_drop=0.2, iou=0.7)),
        row("b", SHARED, 0.001, found=boxes(ap_drop=0.4)),
        row("c", SHARED, 0.001),
    ]
    assert gates_sentence(rows) == (
        "Gate failed, AP drop at most 0.1: a/cpu/int8-shared-entropy and b/cpu/int8-shared-entropy "
        "(0.200 to 0.400). Gate failed, mean IoU at least 0.8: a/cpu/int8-shared-entropy (0.700)."
    )
    assert "AP drop at most 0.1: every int8 cell (0.200 to 0.400)." in gates_sentence(rows[:2])


def test_a_pass_that_fails_everywhere_is_named_once() -> None:
    bad, good = boxes(ap_drop=0.2), boxes()
    rows = [row(name, MINMAX, 0.001, found=bad) for name in ("a", "b", "c")]
    rows += [row(name, OWN, 0.001, found=bad if name == "a" else good) for name in ("a", "b")]
    assert gates_sentence(rows) == (
        "Gate failed, AP drop at most 0.1: int8-own-minmax everywhere and "
        "a/cpu/int8-own-entropy (0.200)."
    )


def test_a_gate_with_nothing_to_judge_by_is_told_so() -> None:
    unknown = row("a", SHARED, 0.001, found=boxes(ap_drop=None))
    assert gates_sentence([unknown, row("b", SHARED, 0.001)]) == (
        "Gate failed, AP drop at most 0.1: a/cpu/int8-shared-entropy; nothing to judge by in "
        "a/cpu/int8-shared-entropy."
    )


def test_sqnr_that_got_better_while_ap_got_worse_is_said() -> None:
    gate = HeadGate(head="small", sqnr_db=10, ap_drop=0.5)
    better = row("a", OWN, 0.001, gate, boxes(ap_drop=0.15))
    worse = row("a", MINMAX, 0.01, gate, boxes(ap_drop=0.05))
    told = (
        "SQNR got better, AP got worse: a/cpu/int8-own-entropy keeps 10.0 dB more than "
        "a/cpu/int8-own-minmax, but 0.100 less AP; choose by the boxes."
    )
    assert disagreement_sentence([better, worse], "a") == told
    assert disagreement_sentence([worse, better], "a") == told
    other = row("b", OWN, 0.0011, gate, boxes(ap_drop=0.07))
    assert disagreement_sentence([better, worse, other], "a") == told, (
        "other environment: 0.4 dB apart"
    )


def test_a_worse_ap_that_may_be_chance_is_not_said() -> None:
    gate = HeadGate(head="small", sqnr_db=10, ap_drop=0.5)
    rows = [
        row("a", OWN, 0.001, gate, boxes(ap_drop=0.15)),
        row("a", MINMAX, 0.01, gate, boxes(ap_drop=0.05)),
    ]
    (better, _), (worse, _) = rows
    base = np.full((100, 2), 0.7)

    def told(low: float, high: float) -> str:
        """With draws that differ by so much, evenly."""
        lost = np.linspace(low, high, 100)[:, np.newaxis]
        draws = {(better.cell.id, "small"): base - lost, (worse.cell.id, "small"): base}
        return disagreement_sentence(rows, "a", draws)

    assert told(-0.01, 0.21) == ""
    assert "but 0.100 less AP (95 %: 0.080 to 0.120); choose" in told(0.079, 0.121)


AGREE: Mapping[str, tuple[float, float, HeadGate]] = {
    "ap is better too": (0.01, 0.02, HeadGate(head="small", sqnr_db=10, ap_drop=0.5)),
    "too small a difference of ap": (0.058, 0.05, HeadGate(head="small", sqnr_db=10, ap_drop=0.5)),
    "the gate names sqnr alone": (0.4, 0.05, HeadGate(head="small", sqnr_db=10)),
    "the gate names ap alone": (0.4, 0.05, HeadGate(head="small", sqnr_db=None, ap_drop=0.5)),
}


@pytest.mark.parametrize("case", AGREE)
def test_where_there_is_nothing_to_say_nothing_is_said(case: str) -> None:
    drop, other_drop, gate = AGREE[case]
    better = row("a", OWN, 0.001, gate, boxes(ap_drop=drop))
    worse = row("a", MINMAX, 0.01, gate, boxes(ap_drop=other_drop))
    assert disagreement_sentence([better, worse], "a") == ""


def test_an_environment_is_compared_with_the_baseline_at_the_same_table() -> None:
    gate = HeadGate(head="small", sqnr_db=10, ap50_drop=0.5)
    base = row("a", SHARED, 0.01, gate, boxes(ap50_drop=0.0))
    for environment in ("b", "c"):
        other = row(environment, SHARED, 0.001, gate, boxes(ap50_drop=0.02))
        assert disagreement_sentence([base, other], "a") == (
            f"SQNR got better, AP50 got worse: {environment}/cpu/int8-shared-entropy keeps 10.0 dB "
            "more than a/cpu/int8-shared-entropy, but 0.020 less AP50; choose by the boxes."
        )
        assert disagreement_sentence([base, other], "none") == ""


def test_cells_that_differ_in_two_things_are_not_compared() -> None:
    gate = HeadGate(head="small", sqnr_db=10, ap_drop=0.5)
    better = row("a", OWN, 0.001, gate, boxes(ap_drop=0.4))
    worse = row("b", MINMAX, 0.01, gate, boxes(ap_drop=0.05))
    assert disagreement_sentence([better, worse], "a") == ""


def test_gates_that_disagree_are_said() -> None:
    gate = HeadGate(head="small", sqnr_db=20, ap_drop=0.1)
    passes = row("a", OWN, 0.001, gate, boxes(ap_drop=0.101))
    assert disagreement_sentence([passes], "a") == (
        "SQNR alone would have passed a/cpu/int8-own-entropy; the boxes do not."
    )
    fails = row("a", OWN, 0.02, gate, boxes(ap_drop=0.0))
    assert disagreement_sentence([fails], "a") == (
        "SQNR alone fails a/cpu/int8-own-entropy; the boxes hold their limits."
    )
    unknown = row("a", OWN, 0.001, gate, boxes(ap_drop=None))
    assert disagreement_sentence([unknown], "a") == "", "gates_sentence says that it is unknown"
