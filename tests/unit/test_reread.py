"""What reading the whole change once more found: each said something false, or nothing, before it was mended."""

import dataclasses
from typing import Any

from tests.unit.judgements import BASELINE, OWN, SHARED, cell_result, changes, head, judgement
from trt_matrix.core.answers.degree import degree
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.answers.unexplained import with_unexplained
from trt_matrix.core.boxes.results import ALL, BoxErrors, CellBoxes
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.manifest import Ranked
from trt_matrix.core.network.ranked_sentences import why_not_compared
from trt_matrix.core.rules import DB
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict


def test_ghost_boxes_are_told_where_no_box_is_lost() -> None:
    """Hundreds of new boxes, none lost: severe, and the card has a reason that names them."""
    boxes = BoxErrors(changes={ALL: changes(reference=200, new=90)})
    head_result = dataclasses.replace(head("small", 0.001, gate_sqnr_db=None), boxes=boxes)
    cell = cell_result(BASELINE, SHARED, [head_result])
    results = with_unexplained([dataclasses.replace(cell, boxes=CellBoxes(whole=boxes))])
    (answer,) = answers(("small",), results, BASELINE)
    assert answer.severity is Severity.SEVERE
    assert "90 new boxes beside 200" in answer.text
    network = network_answer(results, (answer,), "")
    assert "90 new boxes beside 200 boxes" in network.text
    assert "lost" not in network.fault


def test_small_boxes_that_are_all_lost_are_told_where_they_are_few() -> None:
    small = {ALL: changes(reference=10_000, lost=30), "small": changes(reference=30, lost=30)}
    head_result = dataclasses.replace(
        head("small", 0.001, gate_sqnr_db=None), boxes=BoxErrors(changes=small)
    )
    (answer,) = answers(
        ("small",), with_unexplained([cell_result("v", SHARED, [head_result])]), "v"
    )
    assert answer.severity is Severity.SEVERE
    assert "of small ones 30 of 30 are lost" in answer.text


def test_which_table_a_bad_calibrator_is_given_is_computed() -> None:
    """The shared table loses more still: the advice may not name it."""
    bad = Verdict(
        kind=Kind.CALIBRATOR_REGRESSION, cell="old/cpu/own", head="small", against="good/cpu/own"
    )
    own = head("small", 0.02, limit=0.004, calibration=0.016, verdicts=(bad,))
    worse = head("small", 0.03, limit=0.004, calibration=0.026)
    results = [cell_result("old", OWN, [own]), cell_result("old", SHARED, [worse])]
    (answer,) = answers(("small",), results, BASELINE)
    assert answer.advice == "Carry the table of good over to old."
    better = cell_result("old", SHARED, [head("small", 0.006, limit=0.004, calibration=0.002)])
    (answer,) = answers(("small",), [results[0], better], BASELINE)
    assert answer.advice == "Give old the shared entropy table, which loses less there."


def beaten_table(**changes: Any) -> list[CellResult]:
    """Returns two cells of one environment: the own table is worse than the shared one, which lost no box."""
    why = Verdict(
        kind=Kind.CALIBRATION_PROBLEM, cell="v/cpu/own", head="small", against="the best table"
    )
    bad = head("small", 0.12, calibration=0.06, limit=0.06, gate_sqnr_db=None, verdicts=(why,))
    good = head("small", 0.06, calibration=0, limit=0.06, gate_sqnr_db=None)
    return [
        cell_result("v", OWN, [dataclasses.replace(bad, **changes)]),
        cell_result("v", SHARED, [good]),
    ]


def test_a_better_table_does_not_acquit_a_head_whose_boxes_nobody_saw() -> None:
    """NanoDet kept 12 dB with the best of its tables: no gate, no decoder, and only the other table accused."""
    (answer,) = answers(("small",), beaten_table(), "v")
    assert answer.findings[0].beaten
    assert answer.fault == "not known whether it matters: int8 keeps 12.2 dB"
    assert degree(answer) == "not known"
    assert "decode" in answer.advice


def test_what_a_beaten_table_loses_is_told_of_the_network() -> None:
    """36 of 47 boxes were lost with the table that another one beats, and the first card said nothing of it."""
    own, shared = beaten_table()
    lost = {one: BoxErrors(changes={ALL: changes(reference=47, lost=one)}) for one in (4, 36)}
    results = [
        dataclasses.replace(own, boxes=CellBoxes(whole=lost[36])),
        dataclasses.replace(shared, boxes=CellBoxes(whole=lost[4])),
    ]
    network = network_answer(results, answers(("small",), results, "v"), "")
    assert "Do not use the own entropy table: up to 36 are lost with it." in network.text
    assert "36" not in network.fault


def test_lost_boxes_stand_beside_a_finding_too_weak_to_explain_them() -> None:
    """A table that costs 1 dB leads the card; that half of the boxes are gone was said nowhere."""
    weak = Verdict(
        kind=Kind.CALIBRATION_PROBLEM, cell="v/cpu/shared", head="small",
        effect=Effect(log=DB, low=0.6 * DB, high=1.4 * DB, p=1e-9, typical=DB, builds=2),
        against="the best table",
    )  # fmt: skip
    boxes = BoxErrors(changes={ALL: changes(reference=100, lost=50)})
    head_result = head("small", 0.01, gate_sqnr_db=None, verdicts=(weak,))
    cell = cell_result("v", SHARED, [dataclasses.replace(head_result, boxes=boxes)])
    (answer,) = answers(("small",), [cell], "v")
    assert answer.findings[0].kind is Kind.CALIBRATION_PROBLEM
    assert "50 of 100 boxes" in answer.text, answer.text
    assert answer.severity is Severity.SEVERE


def test_a_number_stands_with_the_table_that_it_was_measured_with() -> None:
    """Every table is blamed and one keeps 12.1 dB: "with the shared entropy table … 12.1 dB" was false."""
    cells = []
    for pass_, nmse in ((SHARED, 10**-0.65), (OWN, 10**-1.21)):
        bad = Verdict(
            kind=Kind.CALIBRATION_PROBLEM, cell=f"v/cpu/{pass_.name}", head="small",
            effect=Effect(log=5 * DB, low=4 * DB, high=6 * DB, p=1e-9, typical=5 * DB, builds=2),
            against="the best table",
        )  # fmt: skip
        rest = nmse - 0.02
        head_result = head(
            "small", nmse, gate_sqnr_db=None, limit=0.02, calibration=rest, verdicts=(bad,)
        )
        cells.append(cell_result("v", pass_, [head_result]))
    told = headline(judgement(cells, baseline="v", heads=("small",))).text
    assert told == "INT8 with the own entropy table leaves small at 12.1 dB in v."


def test_ranked_rows_of_a_network_without_boxes_are_told_without_them() -> None:
    """A classifier that ends in its five best classes: `say how its rows become boxes` is no advice for it."""
    ranked = Ranked(operator="TopK", node="TopK_3", before=("raw",))
    why = why_not_compared("small", ranked, {"small": "top"})
    verdict = Verdict(kind=Kind.NOT_COMPARABLE, cell="v/cpu/shared", head="small", why=why)
    cell = cell_result("v", SHARED, [head("small", 0.5, gate_sqnr_db=None, verdicts=(verdict,))])
    for boxless in (False, True):
        (answer,) = answers(("small",), [cell], "v", boxless=boxless)
        (finding,) = answer.findings
        texts = (
            answer.fault,
            answer.text,
            answer.advice,
            finding.fault,
            finding.text,
            finding.advice,
        )
        assert ("box" in " ".join(texts)) is not boxless
        assert finding.advice.startswith("Name the tensor before it as head")
        assert "SQNR" in finding.text


def test_an_error_without_boxes_and_without_a_gate_is_no_harm_and_no_acquittal() -> None:
    cell = cell_result(
        "v", SHARED, [head("small", 0.06, calibration=0, limit=0.06, gate_sqnr_db=None)]
    )
    (answer,) = answers(("small",), [cell], "v", boxless=True)
    assert answer.fault == "not known whether it matters: int8 keeps 12.2 dB"
    assert (degree(answer), answer.clean) == ("not known", False)
    assert "give each head a gate" in answer.advice
    gated = cell_result(
        "v", SHARED, [head("small", 0.06, calibration=0, limit=0.06, gate_sqnr_db=10)]
    )
    (answer,) = answers(("small",), [gated], "v", boxless=True)
    assert answer.clean
    assert answer.unseen == ()
