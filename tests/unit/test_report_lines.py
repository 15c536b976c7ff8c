"""Lines over versions: what they join, what they mark, and when they are not there."""

import itertools
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.unit import h200
from tests.unit.judgements import FP32, SHARED, cell_result, fp32_head, head, judgement, whole
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.cells import Pass, Precision
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.layers.choices import Choice
from trt_matrix.report.lines import HEIGHT, WIDTH
from trt_matrix.report.panels import panels


def versions(*nmse: float, latency_s: float | None = 0.01) -> Judgement:
    def engine(result: CellResult, number: int) -> CellResult:
        return replace(result, versions={"ONNX Runtime": f"1.{number}"})

    cells = [
        engine(one, number)
        for number, value in enumerate(nmse)
        for one in (
            cell_result(f"ort-1.{number}", FP32, [fp32_head("small")], latency_s=latency_s),
            cell_result(f"ort-1.{number}", SHARED, [head("small", value)], latency_s=latency_s),
        )
    ]
    return judgement(cells, heads=("small",), baseline="ort-1.0")


def test_a_step_is_marked_where_it_is_and_nowhere_else() -> None:
    first = panels(versions(0.01, 0.01, 0.005, 0.005))[0]
    assert first.svg.count('class="stepline"') == 1
    assert "1.2: +3.0 dB" in first.svg
    assert 'class="stepline"' not in panels(versions(0.01, 0.01, 0.01))[0].svg


def test_the_picture_is_of_what_the_headline_speaks_of() -> None:
    """It showed a flat line 4 dB above the gate, of Q/DQ, below a headline of 14.7 dB in implicit int8."""
    made = h200.judged()
    strip = headline(made).strips[0]
    first = panels(made)[0]
    assert "INT8 implicit, own entropy2 table" in first.note
    assert f"{strip.head}: {strip.sqnr_db:.1f}" in first.svg
    # No version's step, says the headline: builds chose, and nothing is marked.
    assert "stepline" not in first.svg
    assert "Medium and small: by the layers that builds chose, so no step." in first.note


def test_a_step_of_a_pass_in_which_nothing_is_chosen_is_marked() -> None:
    chosen = Choice(head="small", layers=("a",), worse_db=(9.0,), better_db=(12.0,), tables=1)
    first = panels(replace(versions(0.01, 0.005), choices=(chosen,)))[0]
    assert "stepline" in first.svg
    assert "chose" not in first.note


def test_where_nothing_is_int8_the_line_is_of_what_ran_instead() -> None:
    fp16 = Pass(precision=Precision.FP16)
    made = versions(0.01, 0.001)
    cells = [
        replace(result, cell=replace(result.cell, pass_=fp16))
        if result.cell.pass_ == SHARED
        else result
        for result in made.cells
    ]
    first = panels(replace(made, cells=tuple(cells)))[0]
    assert first.note.startswith("FP16")
    assert "gate 20" in first.svg


def test_a_version_that_gave_nan_is_marked_and_one_that_did_not_run_is_not() -> None:
    nan = head("small", None, nonfinite=7)
    made = versions(0.01, 0.01, 0.01, 0.02)
    cells = [
        replace(result, heads=(nan,)) if result.cell.id.startswith("ort-1.2/cpu/int8") else result
        for result in made.cells
        if not result.cell.id.startswith("ort-1.1/cpu/int8")
    ]
    (drawn, *_) = panels(replace(made, cells=tuple(cells)))
    assert drawn.svg.count("✗ NaN") == 1
    assert "NaN in 1.2" in drawn.svg


def test_gates_are_drawn_where_the_first_version_did_not_run_the_pass() -> None:
    made = versions(0.01, 0.01, 0.01)
    cells = [result for result in made.cells if not result.cell.id.startswith("ort-1.0/cpu/int8")]
    assert "gate 20" in panels(replace(made, cells=tuple(cells)))[0].svg


@pytest.mark.parametrize("made", [versions(0.01), judgement([])], ids=["one", "none"])
def test_of_one_version_there_is_no_line(made: Judgement) -> None:
    assert panels(made) == ()


def test_versions_of_two_engines_are_not_joined() -> None:
    made = versions(0.01, 0.02, 0.01)
    other = [
        replace(result, versions={"TensorRT": "8"})
        if result.cell.environment == "ort-1.1"
        else result
        for result in made.cells
    ]
    first = panels(replace(made, cells=tuple(other)))[0]
    assert "Versions 1.0, 1.2." in first.svg
    names = [
        panel for panel in panels(h200.judged()) if "Versions 8.5.1.7, 8.5.3.1, 8.6.0." in panel.svg
    ]
    assert names, "a version that stands there twice, with another option, is one point"


def test_what_was_not_timed_has_no_line_and_batches_are_not_mixed() -> None:
    assert [panel.title for panel in panels(versions(0.01, 0.02, latency_s=None))] == [
        "Signal kept, dB"
    ]
    made = versions(0.01, 0.02)
    odd = [
        replace(result, latency=replace(result.latency, batch=4))
        if result.latency and number == 0
        else result
        for number, result in enumerate(made.cells)
    ]
    assert len(panels(replace(made, cells=tuple(odd)))) == 1


@pytest.mark.parametrize(
    "made",
    [
        whole(),
        h200.judged(),
        versions(*[0.01] * 40),
        versions(0.01, 0.010000001),
        versions(1e-9, 10.0),
        versions(0.0, 0.0),
    ],
    ids=range(6),
)
def test_every_mark_is_inside_and_the_text_is_well_formed(made: Judgement) -> None:
    for panel in panels(made):
        root = ET.fromstring(str(panel.svg))
        assert "nan" not in panel.svg
        for mark in root.iter():
            for name, end in (("cx", WIDTH), ("cy", HEIGHT), ("x", WIDTH), ("y", HEIGHT)):
                assert 0 <= float(mark.get(name, 0)) <= end
        ends = [
            float(mark.get("y", 0))
            for mark in root.iter("text")
            if mark.get("class") in ("lab", "labf", "badt")
        ]
        assert all(abs(a - b) >= 12 for a, b in itertools.pairwise(ends)), "no label on another"


def test_names_of_heads_stay_text() -> None:
    evil = "</svg><script>\u202e"
    cells = [
        replace(cell_result(f"v{n}", SHARED, [head(evil)]), versions={"E": str(n)}) for n in (1, 2)
    ]
    drawn = "".join(panel.svg for panel in panels(judgement(cells, heads=(evil,), baseline="v1")))
    assert "<script" not in drawn
    assert "\u202e" not in drawn
    assert re.search("script", drawn)
