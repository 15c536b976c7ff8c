"""What stands together on the first screen agrees: of recorded runs and of random ones, whatever is in them."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from tests.unit import h200
from tests.unit.fixes import boxes, cell
from tests.unit.fixes import told as fixes_of
from tests.unit.judgements import (
    BASELINE,
    FP32,
    OWN,
    SHARED,
    cell_result,
    fp32_head,
    head,
    judgement,
    whole,
)
from tests.unit.passes import MINMAX
from tests.unit.random_judgements import FP16, Draw
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.undecided import PERHAPS
from trt_matrix.core.boxes.results import BoxReport, CellBoxes
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.fix import Basis
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.verdict import KINDS, Kind, Verdict
from trt_matrix.report.html import render
from trt_matrix.report.questions import NO, UNKNOWN, YES, questions
from trt_matrix.report.summary import summary

RECORDED = ("h200", "h200-cudnn", "h200-docker", "h200-images", "h200-mixed", "h200-packages")


@pytest.mark.parametrize("name", RECORDED)
def test_of_recorded_runs(name: str) -> None:
    agree(h200.judged(h200.ROOT / "tests" / "data" / name))


def test_of_a_whole_matrix() -> None:
    agree(whole())


@pytest.mark.parametrize("seed", range(80))
def test_of_random_runs(seed: int) -> None:
    agree(Draw(seed).judgement())


@pytest.mark.parametrize("seed", range(40))
def test_of_random_runs_without_boxes(seed: int) -> None:
    made = with_fixes(Draw(seed, boxless=True).judgement())
    agree(made)
    told = headline(made)
    said = [
        *told.lines(),
        *(question.number + question.why for question in questions(made, told)),
        summary(made),
    ]
    assert not re.search(r"\b(box(es)?|decode|AP)\b", "\n".join(said), re.IGNORECASE)


@pytest.mark.parametrize("boxless", [False, True])
@pytest.mark.parametrize("passes", [(FP32,), (FP16,), (FP32, FP16), (SHARED,), (SHARED, OWN)])
@pytest.mark.parametrize("seed", range(6))
def test_of_random_runs_of_few_cells(seed: int, passes: tuple[Pass, ...], *, boxless: bool) -> None:
    """One version, one precision: what nobody ran is no number, and no INT8 is spoken of where there is none."""
    for versions in (1, 5):
        made = Draw(seed, boxless=boxless, passes=passes, versions=versions).judgement()
        agree(made)
        if not {SHARED, OWN}.intersection(passes):
            told = headline(made)
            assert not re.search(r"INT8 (leaves|keeps|costs|loses)", told.text)
            assert told.strips[0].sqnr_db is None


def test_nothing_is_known_of_int8_where_none_ran() -> None:
    """It was "Nothing is wrong", and to be sent to nobody, while no int8 cell had been started."""
    fp32 = cell_result("v1", FP32, [fp32_head()])
    for status in (Status.UNAVAILABLE, Status.UNSUPPORTED, Status.NOT_RUN):
        idle = cell_result("v1", SHARED, status=status, reason="no NVIDIA driver")
        made = judgement([fp32, idle], heads=("small",), baseline="v1")
        told = headline(made)
        assert told.text == "No cell in int8 ran, and nothing was found in the others."
        assert (told.state, "Send to" in dict(told.facts)) == ("none", False)
        assert questions(made, told)[0].answer == UNKNOWN
        agree(made)


def test_floating_point_alone_is_said_to_be_all() -> None:
    made = judgement([cell_result("v1", FP32, [fp32_head()])], heads=("small",), baseline="v1")
    told = headline(made)
    assert told.text == "Nothing is wrong in floating point; no cell of this matrix is int8."
    assert questions(made, told)[0][:3] == ("Does it matter?", NO, "0")
    agree(made)


def test_what_no_cell_ran_is_not_called_harmless() -> None:
    idle = [
        cell_result("v1", pass_, status=Status.UNAVAILABLE, reason="no NVIDIA driver")
        for pass_ in (FP32, SHARED)
    ]
    made = judgement(idle, heads=("small",), baseline="v1")
    told = headline(made)
    assert told.lines()[0] == "[nothing ran] Nothing ran: no NVIDIA driver."
    assert "trt-matrix doctor" in told.remedy
    assert questions(made, told)[0].why == told.text


def beside_boxes(gate: float | None) -> Judgement:
    """A detector with a class of the whole image beside it, of which no boxes are made."""
    cells = []
    for version in ("v1", "v2"):
        det = replace(head("small", 1e-3, gate_sqnr_db=None), boxes=boxes(0))
        scene = head("scene", 1e-2, gate_sqnr_db=gate)
        result = cell_result(
            version, SHARED, [det, replace(scene, passed=None if gate is None else True)]
        )
        whole = CellBoxes(whole=boxes(0), heads={"small": boxes(0)})
        cells.append(replace(result, boxes=whole))
    report = BoxReport(heads=("small",), shown_score=0.3, match_iou=0.5, sizes={})
    return judgement(cells, heads=("small", "scene"), baseline="v1", boxes=report)


def test_of_a_head_beside_boxes_a_gate_says_whether_its_error_matters() -> None:
    """It was to be said how it becomes boxes, which it never does, and what to do was nothing."""
    made = beside_boxes(None)
    told = headline(made)
    assert told.text == (
        "INT8 loses no box, at worst of 2 environments; no gate says whether the error of scene matters."
    )
    assert told.remedy == "To know more: give each head a gate (`gate: {sqnr_db: …}`)"
    asked = questions(made, told)[0]
    assert asked.answer == UNKNOWN
    assert asked.why.endswith("To know: give each head a gate (`gate: {sqnr_db: …}`).")
    agree(made)
    assert headline(beside_boxes(15.0)).state == "clean"
    agree(beside_boxes(15.0))


def test_what_helps_and_is_not_enough_is_told_with_the_gate_that_still_fails() -> None:
    """ "Keep 2 layers in float: 53.9 → 56.1 dB" stood under a gate of 60 dB as all there is to do."""
    for reached, still in ((18, True), (21, False)):
        made = fixes_of(cell(BASELINE), cell(BASELINE, MINMAX, reached))
        told = headline(made)
        assert told.remedy.startswith("Use the minmax table: small 16.0 → ")
        assert told.remedy.endswith("; a gate fails all the same") is still
        agree(made)


def test_what_every_version_does_is_not_counted_to_one_that_also_failed() -> None:
    cells = []
    for version in ("v1", "v2"):
        why = "NaN or infinite in 4 of 4 images"
        verdict = Verdict(kind=Kind.BROKEN_OUTPUT, cell=version, head="small", why=why)
        cells.append(cell_result(version, SHARED, [head("small", None, verdicts=(verdict,))]))
    asked = "Is it a version's fault?"
    made = judgement(cells, heads=("small",), baseline="v1")
    answers = {question.question: question for question in questions(made, headline(made))}
    assert answers[asked].answer == NO
    crashed = cell_result("v2", OWN, status=Status.CRASHED, reason="killed")
    made = judgement([*cells, crashed], heads=("small",), baseline="v1")
    answers = {question.question: question for question in questions(made, headline(made))}
    assert (answers[asked].answer, answers[asked].number) == (YES, "1 of 2 versions")
    assert answers[asked].why == "v2 crashed."


def agree(made: Judgement) -> None:
    told = headline(made)
    facts = dict(told.facts)
    answers = {question.question: question for question in questions(made, told)}
    open_ = {
        (first.fault.partition(PERHAPS)[2], answer.head)
        for answer in made.answers
        if (first := answer.lead) and first.kind is Kind.INCONCLUSIVE
    }
    # Said once: what to do is not in the sentence above it, nor one sentence twice.
    said = [*told.text.rstrip(".").split("; "), *told.remedy.split(". ")]
    assert max(Counter(said).values()) == 1, said
    # What is not decided is answered by nobody with no.
    for suspicion, _ in open_:
        if suspicion == KINDS[Kind.CALIBRATION_PROBLEM].suspicion:
            assert answers["Is it the calibration's?"].answer != NO
    if told.state in ("severe", "visible"):
        assert answers["Does it matter?"].answer == YES
    if told.state == "clean":
        assert answers["Does it matter?"].answer == NO
        assert not told.remedy
    # That nothing was found stands beside no fault.
    if "nothing found" in facts.get("Whose", ""):
        assert all(strip.nothing or strip.state == "clean" for strip in told.strips)
    # A measured promise is nobody's to ignore.
    if told.measured and facts.get("Send to", "").startswith("nobody"):
        assert "→" not in told.remedy or any(fix.kind == "version" for fix in made.fixes)
    for strip in told.strips:
        if strip.shares:
            assert sum(strip.shares.percents.values()) == 100
        if strip.reaches:
            assert strip.state not in ("clean", "none")
    for answer in made.answers:
        assert answer.advice
        assert all(finding.advice for finding in answer.findings)
    # Said to be measured where an engine showed it, to be kept where a cell kept it.
    if told.measured:
        assert made.choices or any(fix.basis is Basis.MEASURED for fix in made.fixes)
    kept = {
        f"{head_result.error.sqnr_db:z.1f}"
        for result in made.cells
        for head_result in result.heads
        if head_result.error.sqnr_db is not None
    }
    if "against" not in told.text:
        assert set(re.findall(r"(-?[0-9.]+) dB", told.text.partition(";")[0])) <= kept
    page = render(made)
    assert "…" not in page.partition('<p class="cost">')[2].partition("</p>")[0]
