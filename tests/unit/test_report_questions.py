"""The six questions of the page: each is answered, and says so where nothing is known."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.unit import h200
from tests.unit.judgements import (
    BASELINE,
    FP32,
    MINMAX,
    NGC,
    SHARED,
    cell_result,
    fp32_head,
    head,
    judgement,
    whole,
)
from tests.unit.pages import parse
from tests.unit.test_report_boxes import judged
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.cells import Pass, Precision, Status
from trt_matrix.core.factors.cell_factors import versions
from trt_matrix.core.judgement import CustomLayer, Judgement
from trt_matrix.core.records import Record, Start
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report.html import render
from trt_matrix.report.questions import PageQuestion, questions
from trt_matrix.report.views import matrix

H200 = Path(__file__).parents[1] / "data" / "h200" / "records.json"


def answer(made: Judgement, start: str) -> str:
    """Returns the evidence of a question."""
    return asked(made, start).evidence


def asked(made: Judgement, start: str) -> PageQuestion:
    (page_question,) = [
        question
        for question in questions(made, headline(made))
        if question.question.startswith(start)
    ]
    return page_question


def test_six_in_the_order_in_which_one_asks_and_each_leads_to_its_section() -> None:
    document = parse(render(whole()))
    rows = document.by_id("questions").all("tr")[1:]
    assert len(rows) == 6
    ids = {element.attributes.get("id") for element in document.walk()}
    for question, row in zip(questions(whole(), headline(whole())), rows, strict=True):
        assert row.text.startswith(
            f"{question.question} {question.answer} {question.number}".replace("  ", " ")
        )
        assert question.why in row.text.replace(
            "trt-matrix diagnose latest", "`trt-matrix diagnose latest`"
        )
        assert " ".join(question.evidence.split()) in row.text
        for link in row.all("a"):
            assert (link.attributes["href"] or "")[1:] in ids


ANSWERS = {
    "Does it matter": ("Yes", "9 of 84 gates"),
    "Is it a version": ("No", "8.1 dB"),
    "Is it the calibration": ("No", "2 to 3 %"),
    "Is it 8 bits": ("No", "14 to 97 %"),
    "Is it a few layers": ("Yes", "2 of 53"),
    "Is a custom layer": ("No", "0"),
}


@pytest.mark.parametrize("start", ANSWERS)
def test_what_the_h200_run_answers(start: str) -> None:
    question = asked(h200.judged(), start)
    assert (question.answer, question.number) == ANSWERS[start]


def test_no_needs_something_that_was_looked_at() -> None:
    """One version says nothing of others; undecoded outputs say nothing of boxes; nobody tried layers."""
    made = judgement([cell_result(heads=[head("small", 0.0081)])], heads=("small",))
    assert asked(made, "Is it a version").answer == "Unknown"
    assert asked(made, "Does it matter").answer == "Unknown"
    assert asked(made, "Is it a few layers").answer == "Unknown"
    assert asked(made, "Is it 8 bits").answer == "Yes"
    lone = dataclasses.replace(made.cells[0].heads[0], budget=None)
    blind = dataclasses.replace(made.cells[0], heads=(lone,))
    blind_ = judgement([blind], heads=("small",))
    for start in ("Is it 8 bits", "Is it the calibration"):
        assert asked(blind_, start)[1:3] == ("Unknown", "–")


def test_versions_are_innocent_only_where_a_test_says_so() -> None:
    cells = [cell_result(name, SHARED, [head("small", 0.0081)]) for name in ("a", "b")]
    made = judgement(cells, heads=("small",), baseline="a")
    assert asked(made, "Is it a version").answer == "Unknown"
    equal = Equivalence(
        head="small", device="cpu", pass_=SHARED.name, baseline="a", environments=("a", "b"),
        within_db=0.2, same_bits=False, all=True,
    )  # fmt: skip
    assert asked(dataclasses.replace(made, equal=(equal,)), "Is it a version").answer == "No"


def test_version_calibration_and_limit_are_told_apart() -> None:
    verdicts = [
        Verdict(kind=kind, cell="c", head="small")
        for kind in (Kind.ENGINE_LOSS, Kind.CALIBRATION_PROBLEM, Kind.INT8_LIMIT)
    ]
    made = judgement(
        [cell_result(BASELINE, heads=[head(verdicts=tuple(verdicts))])], heads=("small",)
    )
    text = answer(made, "Is it a version")
    assert text == (
        "small: the engine's int8 kernels (what is lost was seen; whose it is, by its largest part, not by a test). How the loss is made up: small 50 % 8 bits, "
        "33 % the engine, 17 % the table."
    )


def test_what_is_open_is_not_called_innocent() -> None:
    undecided = Verdict(kind=Kind.INCONCLUSIVE, cell="c", head="small", needs="2 more repeats")
    made = judgement([cell_result(heads=[head(verdicts=(undecided,))])], heads=("small",))
    text = answer(made, "Is it a version")
    assert text.startswith("small: not decidable yet. How the loss is made up: small 50 % 8 bits")
    assert text.endswith("Not decided yet: small (2 more repeats would decide).")


def test_the_boxes_tell_the_worst_cell() -> None:
    assert "small loses 2.5 of 200 boxes, mean IoU 0.85, AP −0.09" in answer(judged(), "Does it")
    assert "does not say how to decode" in answer(whole(), "Does it matter")


def test_images_of_the_evaluation_among_those_of_the_calibration_are_told() -> None:
    for shared, words in (
        (0, "It shares none with the evaluation."),
        (3, "3 of them are among those"),
    ):
        facts = {"images": {"calibration": {"count": 128}, "shared": shared}}
        made = dataclasses.replace(whole(), facts=facts)
        assert words in answer(made, "Is it the calibration")
    assert answer(whole(), "Is it the calibration") == "Nothing is known of its images."


def perhaps(kind: Kind) -> Verdict:
    return Verdict(
        kind=Kind.INCONCLUSIVE, cell="c", head="small", suspected=kind, needs="more images"
    )


@pytest.mark.parametrize(
    ("suspected", "answered"), [(Kind.CALIBRATION_PROBLEM, "Unknown"), (Kind.ENGINE_LOSS, "No")]
)
def test_a_table_that_may_be_to_blame_is_not_called_innocent(
    suspected: Kind, answered: str
) -> None:
    """The headline says that it is not decided; below it nothing says no."""
    made = judgement([cell_result(heads=[head(verdicts=(perhaps(suspected),))])], heads=("small",))
    question = asked(made, "Is it the calibration")
    assert question.answer == answered
    assert ("small, is not decided" in question.why) is (answered == "Unknown")


def test_the_table_of_a_head_in_which_nothing_is_wrong_is_not_to_blame() -> None:
    """Two heads were broken by the engine; the third held, and lost most of that by its table."""
    made = h200.judged(h200.ROOT / "tests/data/h200-images")
    question = asked(made, "Is it the calibration")
    assert (question.answer, question.number) == ("No", "2 to 4 %")
    cells = [cell_result(heads=[head(nmse=0.008, limit=0.002, calibration=0.006)])]
    sound = asked(judgement(cells, heads=("small",)), "Is it the calibration")
    assert (sound.answer, sound.number) == ("Yes", "75 %")


def test_a_table_that_another_one_beats_is_said_to_cost_more() -> None:
    beaten = Verdict(kind=Kind.CALIBRATION_PROBLEM, cell="c", head="small")
    cells = [
        cell_result(pass_=SHARED, heads=[head(nmse=0.007, calibration=0.0005)]),
        cell_result(pass_=MINMAX, heads=[head(nmse=0.009, verdicts=(beaten,))]),
    ]
    why = asked(judgement(cells, heads=("small",)), "Is it the calibration").why
    assert why == "So much of the error another table could save; the own minmax table costs more."


@pytest.mark.parametrize(
    ("failed", "answered", "number"),
    [(("a",), "Yes", "1 of 2 versions"), (("a", "b"), "No", "2 of 2 versions")],
)
def test_what_fails_in_every_version_is_no_versions_fault(
    failed: tuple[str, ...], answered: str, number: str
) -> None:
    cells = [
        cell_result(name, SHARED, status=Status.JOB_FAILED, reason="no kernel")
        if name in failed
        else cell_result(name, SHARED, [head(nmse=0.0081)])
        for name in ("a", "b")
    ]
    cells += [cell_result(name, FP32, [fp32_head()]) for name in ("a", "b")]
    cells += [cell_result("c", SHARED, status=Status.UNAVAILABLE, reason="no driver")]
    question = asked(judgement(cells, heads=("small",), baseline="a"), "Is it a version")
    assert (question.answer, question.number) == (answered, number)


def test_of_one_version_that_fails_another_would_tell() -> None:
    cells = [
        cell_result("a", FP32, [fp32_head()]),
        cell_result("a", SHARED, status=Status.CRASHED, reason="killed"),
    ]
    question = asked(judgement(cells, heads=("small",), baseline="a"), "Is it a version")
    assert question.answer == "Unknown"
    assert question.why.endswith("another version would tell.")


def test_where_nothing_is_int8_neither_a_table_nor_8_bits_are_to_blame() -> None:
    fp16 = Pass(precision=Precision.FP16)
    made = judgement([cell_result("a", fp16, [fp32_head()])], heads=("small",), baseline="a")
    failed = judgement(
        [cell_result("a", SHARED, status=Status.CRASHED)], heads=("small",), baseline="a"
    )
    for start in ("Is it the calibration", "Is it 8 bits"):
        assert asked(made, start)[1:3] == ("No", "0")
        assert asked(failed, start).answer == "Unknown"


def test_what_keeps_more_than_8_bits_can_is_said_to_be_spared() -> None:
    nmse = 0.002
    better = dataclasses.replace(
        head(nmse=nmse),
        budget=dataclasses.replace(head().budget, observed=nmse, limit=0.0075),  # type: ignore[type-var]
    )
    made = judgement([cell_result(heads=[better])], heads=("small",))
    question = asked(made, "Is it 8 bits")
    assert question.answer == "Unknown"
    assert "21.2 dB of small" in question.why
    assert "27.0 were measured: more than that" in question.why


def test_only_what_was_shown_of_all_versions_is_told_as_shown() -> None:
    cells = [
        cell_result(name, SHARED, [head(one, 0.0081) for one in ("large", "small")])
        for name in ("a", "b", "c")
    ]
    made = judgement(cells, heads=("large", "small"), baseline="a")
    equal = tuple(
        Equivalence(
            head=one, device="cpu", pass_=SHARED.name, baseline="a",
            environments=("a", "b", "c") if whole else ("a", "b"),
            within_db=0.2, same_bits=False, all=whole,
        )
        for one, whole in (("large", True), ("small", False))
    )  # fmt: skip
    why = asked(dataclasses.replace(made, equal=equal), "Is it a version").why
    assert why == "That versions lose the same was shown of large alone, and no test names one."


def test_a_custom_layer_is_named_with_the_heads_behind_it() -> None:
    custom = CustomLayer(node="up_7", operator="UpsamplePlugin", heads=("medium", "small"))
    text = answer(dataclasses.replace(whole(), custom=(custom,)), "Is a custom layer")
    assert text.startswith("up_7 (UpsamplePlugin): medium and small are behind.")
    assert "no custom operator" in answer(whole(), "Is a custom layer")


@pytest.mark.parametrize("cells", [[], [cell_result(f"ngc-{NGC[0]}", FP32, status=Status.CRASHED)]])
def test_with_nothing_measured_every_question_still_has_an_answer(cells: list[object]) -> None:
    made = judgement(cells)  # type: ignore[arg-type]
    assert all(question.answer and question.why for question in questions(made, headline(made)))


def test_versions_are_those_found_inside_a_real_tensorrt_process() -> None:
    records = [Record.model_validate(content) for content in json.loads(H200.read_text())]
    start = next(record.measurements[0].start for record in records if "trt-8.5.3.1" in record.cell)
    assert start
    assert versions(start) == {
        "TensorRT": "8.5.3.1",
        "cuDNN": "8",
        "CUDA": "13.0.96",
        "driver": "580.159.04",
        "GPU": "NVIDIA H200 9.0",
    }
    empty = start.model_copy(update={"probe": {}})
    assert versions(Start.model_validate(empty.model_dump())) == {}


def test_rows_of_one_engine_stand_together_and_else_in_their_order() -> None:
    stacks = {
        "a": {"TensorRT": "8", "cuDNN": "8.9"},
        "b": {"TensorRT": "7"},
        "c": {"TensorRT": "8", "cuDNN": "9.1"},
        "d": {"TensorRT": "8", "cuDNN": "8.9"},
    }
    cells = [
        dataclasses.replace(cell_result(name, SHARED, [head()]), versions=stack)
        for name, stack in stacks.items()
    ]
    (group,) = matrix(judgement(cells))
    assert [row.result.cell.environment for row in group.rows] == ["a", "d", "c", "b"]
