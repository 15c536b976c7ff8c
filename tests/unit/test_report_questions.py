"""The six questions of the page: each is answered, and says so where nothing is known."""

import dataclasses
import json
from pathlib import Path

import pytest

from runner.cells import Status
from runner.core.factors.versions import versions
from runner.core.judgement import CustomOperator, Judgement
from runner.core.verdicts.verdict import Kind, Verdict
from runner.records import Record, Start
from runner.report.html import render
from runner.report.questions import questions
from runner.report.views import matrix
from tests.unit.judgements import BASELINE, FP32, NGC, SHARED, cell_result, head, judgement, whole
from tests.unit.pages import parse
from tests.unit.test_report_boxes import judged

H200 = Path(__file__).parents[1] / "data" / "h200" / "records.json"


def answer(made: Judgement, start: str) -> str:
    (found,) = [one.answer for one in questions(made) if one.question.startswith(start)]
    return found


def test_six_in_the_order_of_the_design_and_each_leads_to_its_section() -> None:
    document = parse(render(whole()))
    rows = document.by_id("questions").all("dt")
    assert len(rows) == 6
    for one in questions(whole()):
        assert one.answer.strip()
        assert document.by_id(one.section)


def test_version_calibration_and_limit_are_told_apart() -> None:
    told = [
        Verdict(kind=kind, cell="c", head="small")
        for kind in (Kind.ENGINE_LOSS, Kind.CALIBRATION_PROBLEM, Kind.INT8_LIMIT)
    ]
    made = judgement([cell_result(BASELINE, heads=[head(verdicts=tuple(told))])], heads=("small",))
    text = answer(made, "Is it the version")
    assert text == (
        "small: the engine's int8 kernels (what is lost was seen; whose it is, by its largest part, not by a test). How the loss is made up: small 50 % 8 bits, "
        "33 % the engine, 17 % the table."
    )


def test_what_is_open_is_not_called_innocent() -> None:
    undecided = Verdict(kind=Kind.INCONCLUSIVE, cell="c", head="small", needs="2 more repeats")
    made = judgement([cell_result(heads=[head(verdicts=(undecided,))])], heads=("small",))
    text = answer(made, "Is it the version")
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
        assert words in answer(made, "Is the calibration")
    assert answer(whole(), "Is the calibration") == "Nothing is known of its images."


def test_a_custom_layer_is_named_with_the_heads_behind_it() -> None:
    custom = CustomOperator(node="up_7", operator="UpsamplePlugin", heads=("medium", "small"))
    text = answer(dataclasses.replace(whole(), custom=(custom,)), "Is a custom layer")
    assert text.startswith("up_7 (UpsamplePlugin): medium and small are behind.")
    assert "no custom operator" in answer(whole(), "Is a custom layer")


@pytest.mark.parametrize("cells", [[], [cell_result(f"ngc-{NGC[0]}", FP32, status=Status.CRASHED)]])
def test_with_nothing_measured_every_question_still_has_an_answer(cells: list[object]) -> None:
    made = judgement(cells)  # type: ignore[arg-type]
    assert all(one.answer for one in questions(made))


def test_versions_are_those_found_inside_a_real_tensorrt_process() -> None:
    records = [Record.model_validate(one) for one in json.loads(H200.read_text())]
    start = next(one.measurements[0].start for one in records if "trt-8.5.3.1" in one.cell)
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
        dataclasses.replace(cell_result(name, SHARED, [head()]), versions=found)
        for name, found in stacks.items()
    ]
    (group,) = matrix(judgement(cells)).groups
    assert [row.result.cell.environment for row in group.rows] == ["a", "d", "c", "b"]
