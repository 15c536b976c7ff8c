"""Latency against accuracy: the front, and its drawing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judgements import (
    FP32,
    HEADS,
    SHARED,
    cell_result,
    fp32_head,
    head,
    judgement,
    whole,
)
from tests.unit.pages import Element, parse
from trt_matrix.core.cells import Pass, Precision, TableSource
from trt_matrix.core.judgement import CellResult
from trt_matrix.report.html import render
from trt_matrix.report.plots import ACROSS, BOTTOM, LEFT, RIGHT, TOP, plot
from trt_matrix.report.tradeoff import Tradeoff, tradeoffs
from trt_matrix.report.views import matrix

IMPLICIT = Pass(
    precision=Precision.INT8, source=TableSource.SHARED, algorithm="entropy", implicit=True
)


def of(*cells: CellResult, heads: tuple[str, ...] = ("small",)) -> tuple[Tradeoff, ...]:
    return tradeoffs(matrix(judgement(cells, heads=heads)).groups, heads)


def cell(
    name: str,
    latency_s: float | None,
    nmse: float | None,
    pass_: Pass = SHARED,
    device: str = "cpu",
) -> CellResult:
    return cell_result(name, pass_, [head("small", nmse)], latency_s=latency_s, device=device)


def test_the_front_is_what_no_other_beats_in_both() -> None:
    (found,) = of(
        cell("slow", 0.03, 0.001),
        cell("fast", 0.01, 0.01),
        cell("beaten", 0.031, 0.002),
        cell("between", 0.02, 0.005),
    )
    names = [one.row.result.cell.environment for one in found.front]
    assert names == ["fast", "between", "slow"]
    assert [one.number for one in found.front] == [1, 2, 3]
    assert [one.number for one in found.points] == [3, 1, None, 2]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.001, 0.002, 0.005]), st.sampled_from([0.0, 1e-9, 0.01, 0.5])),
        min_size=2,
        max_size=12,
    )
)
def test_a_point_is_on_the_front_where_nothing_is_as_good_and_better_in_one(
    drawn: list[tuple[float, float]],
) -> None:
    cells = [cell(f"v{i}", one, nmse) for i, (one, nmse) in enumerate(drawn)]
    (found,) = of(*cells)
    front = [(one.latency_s, one.sqnr_db) for one in found.front]
    assert front == sorted(front)
    assert [one for _, one in front] == sorted({one for _, one in front})
    for point in found.points:
        beaten = any(
            other.latency_s <= point.latency_s
            and other.sqnr_db >= point.sqnr_db
            and (other.latency_s, other.sqnr_db) != (point.latency_s, point.sqnr_db)
            for other in found.points
        )
        assert beaten or (point.latency_s, point.sqnr_db) in front


def test_devices_and_batches_are_not_mixed() -> None:
    big = cell("b", 0.05, 0.01)
    assert big.latency
    big = replace(big, latency=replace(big.latency, batch=8))
    found = of(
        cell("a", 0.01, 0.01),
        cell("b", 0.01, 0.02),
        big,
        replace(big, cell=replace(big.cell, environment="c")),
        cell("g", 0.001, 0.01, device="gpu:0"),
    )
    assert [(one.device, one.batch, len(one.points)) for one in found] == [
        ("cpu", 1, 2),
        ("cpu", 8, 2),
    ], "one cell alone has nothing to trade"


def test_what_has_no_place_is_left_out() -> None:
    found = of(
        cell("a", 0.01, 0.01),
        cell("untimed", None, 0.01),
        cell("nan", 0.01, None),
        cell("zero", 0.0, 0.01),
        cell("b", 0.02, 0.02),
    )
    assert [one.row.result.cell.environment for one in found[0].points] == ["a", "b"]


def test_what_equals_the_reference_stands_at_the_upper_edge() -> None:
    exact = cell_result("exact", FP32, [fp32_head("small", 0.0)], latency_s=0.02)
    (found,) = of(cell("a", 0.01, 0.01), cell("b", 0.02, 0.1, IMPLICIT), exact)
    assert [one.kind for one in found.points] == ["int8", "int8 implicit", "fp32"]
    assert math.isinf(found.points[2].sqnr_db)
    assert found.top_db == pytest.approx(26), "6 dB above the best int8 cell, 20 dB"
    assert found.bottom_db == pytest.approx(8)


def page(*cells: CellResult, heads: tuple[str, ...] = ("small",)) -> Element:
    return parse(render(judgement(cells, heads=heads)))


def test_a_plot_has_attributes_only() -> None:
    """A strict policy forbids style attributes."""
    drawings = [one for one in parse(render(whole())).all("svg") if "plot" in one.classes]
    assert len(drawings) == len(HEADS)
    for drawing in drawings:
        assert drawing.attributes["role"] == "img"
        for element in drawing.walk():
            assert not {"style", "onload"} & set(element.attributes)


def test_a_mark_for_every_point_and_a_number_for_those_on_the_front() -> None:
    cells = (
        cell("a", 0.01, 0.01), cell("b", 0.02, 0.001), cell("c", 0.03, 0.05),
        cell("d", 0.3, 0.05, IMPLICIT),
    )  # fmt: skip
    section = page(*cells).by_id("tradeoff")
    (drawing,) = [one for one in section.all("svg") if "plot" in one.classes]
    shapes = {one.attributes.get("id") for one in section.all("g")}
    marks = list(drawing.all("use"))
    assert [one.attributes["href"] for one in marks] == [*["#mark-int8"] * 3, "#mark-int8-implicit"]
    assert all((one.attributes["href"] or "")[1:] in shapes for one in marks), "drawn by nothing"
    (numbers,) = [one for one in drawing.all("g") if "numbers" in one.classes]
    assert [one.text for one in numbers.all("text")] == ["1", "2"]
    assert [one for one in drawing.all("line") if "gate" in one.classes]


def test_places_say_what_the_axes_say() -> None:
    """Between two ticks a mark stands where its number does: the axes are not ornaments."""
    (found,) = of(cell("a", 0.010, 0.01), cell("b", 0.014, 0.001), cell("c", 0.0112, 0.1))
    drawn = plot(found)
    across = [(float(one.text), one.at) for one in drawn.across]
    up = [(float(one.text), one.at) for one in drawn.up]
    ((_, marks),) = drawn.marks
    for mark, point in zip(marks, found.points, strict=True):
        x = np.interp(point.latency_s * 1e3, *zip(*across, strict=True))
        y = np.interp(point.sqnr_db, *zip(*up, strict=True))
        assert (mark.x, mark.y) == (pytest.approx(x, abs=0.11), pytest.approx(y, abs=0.11))
    assert drawn.gate == pytest.approx(np.interp(20, *zip(*up, strict=True)), abs=0.11)


@pytest.mark.parametrize(
    "slowest", [0.01, 0.010001, 0.0101, 0.0131, 0.02, 0.2, 0.2001, 0.5, 10.0, 1000.0, 1e9]
)
def test_any_range_of_latencies_can_be_drawn(slowest: float) -> None:
    (found,) = of(cell("a", 0.01, 0.01), cell("b", slowest, 0.01))
    drawn = plot(found)
    texts = [one.text for one in drawn.across]
    assert 2 <= len(set(texts)) == len(texts) <= ACROSS + 1, "two ticks of one text say nothing"
    values = [float(text.replace(",", "")) for text in texts]
    assert values == sorted(values)
    assert all(LEFT <= one.at <= RIGHT for one in drawn.across)
    assert all(TOP <= one.at <= BOTTOM for one in drawn.up)
    for _, marks in drawn.marks:
        assert all(LEFT <= one.x <= RIGHT and TOP <= one.y <= BOTTOM for one in marks)


def test_what_is_above_the_scale_stands_on_its_edge_and_ticks_do_not() -> None:
    exact = cell_result("exact", FP32, [fp32_head("small", 0.0)], latency_s=0.02)
    (found,) = of(cell("a", 0.01, 0.0105), exact)
    drawn = plot(found)
    marks = dict(drawn.marks)
    assert found.top_db == pytest.approx(26, abs=0.3)
    assert marks["fp32"][0].y >= TOP
    steps = np.diff([one.at for one in drawn.up])
    assert steps == pytest.approx(steps[0], abs=0.11), "one unit is as high everywhere"


def test_the_front_runs_in_steps_through_its_marks() -> None:
    (found,) = of(cell("slow", 0.03, 0.001), cell("fast", 0.01, 0.01), cell("off", 0.02, 0.02))
    drawn = plot(found)
    ((_, (slow, fast, _)),) = drawn.marks
    assert drawn.front == f"M{fast.x},{fast.y}H{slow.x}V{slow.y}"


def test_hostile_titles_stay_text() -> None:
    hostile = "</title><script>alert(1)</script>"
    cells = [cell_result(name, SHARED, [head(hostile, 0.01)], latency_s=0.01) for name in "ab"]
    document = parse(render(judgement(cells, heads=(hostile,))))
    assert "</title><script" in document.by_id("plot-0-title").text
    assert not document.by_id("tradeoff").all("script")


def test_two_hundred_cells_stay_small() -> None:
    cells = [cell(f"ort-1.{i}", 0.01 + 0.0001 * i, 0.001 * (i + 1)) for i in range(240)]
    text = render(judgement(cells, heads=("small",)), most_cells=240)
    drawing = text[text.index('<svg class="plot"') :]
    assert len(drawing[: drawing.index("</svg>")]) < 20_000


def test_the_page_lists_the_front_beside_each_plot() -> None:
    section = parse(render(whole())).by_id("tradeoff")
    assert len(section.all("figure")) == len(HEADS)
    first = section.all("figure")[0]
    assert first.all("li")[0].text.startswith("ort-1.27.0 INT8, own entropy table: 5.05")


def test_a_page_without_times_has_no_such_section() -> None:
    document = parse(render(judgement([cell("a", None, 0.01)], heads=("small",))))
    ids = {one.attributes.get("id") for one in document.walk()}
    assert not ids & {"tradeoff", "latency"}
