"""Latency against accuracy: the front, and its drawing."""

import math
from collections.abc import Sequence
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
from tests.unit.passes import IMPLICIT
from trt_matrix.core.cells import Pass
from trt_matrix.core.judgement import CellResult
from trt_matrix.report.html import render
from trt_matrix.report.plots import ACROSS, BOTTOM, LEFT, RIGHT, TOP, Tick, plot
from trt_matrix.report.tradeoff import Tradeoff, tradeoffs
from trt_matrix.report.views import matrix


def of(*cells: CellResult, heads: tuple[str, ...] = ("small",)) -> tuple[Tradeoff, ...]:
    return tradeoffs(matrix(judgement(cells, heads=heads)), heads)


def cell(
    name: str,
    latency_s: float | None,
    nmse: float | None,
    pass_: Pass = SHARED,
    device: str = "cpu",
) -> CellResult:
    return cell_result(name, pass_, [head("small", nmse)], latency_s=latency_s, device=device)


def test_the_front_is_what_no_other_beats_in_both() -> None:
    (tradeoff,) = of(
        cell("slow", 0.03, 0.001),
        cell("fast", 0.01, 0.01),
        cell("beaten", 0.031, 0.002),
        cell("between", 0.02, 0.005),
    )
    names = [point.row.result.cell.environment for point in tradeoff.front]
    assert names == ["fast", "between", "slow"]
    assert [point.number for point in tradeoff.front] == [1, 2, 3]
    assert [point.number for point in tradeoff.points] == [3, 1, None, 2]


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
    (tradeoff,) = of(*cells)
    front = [(point.latency_s, point.sqnr_db) for point in tradeoff.front]
    assert front == sorted(front)
    assert [one for _, one in front] == sorted({one for _, one in front})
    for point in tradeoff.points:
        beaten = any(
            other.latency_s <= point.latency_s
            and other.sqnr_db >= point.sqnr_db
            and (other.latency_s, other.sqnr_db) != (point.latency_s, point.sqnr_db)
            for other in tradeoff.points
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
    assert [(tradeoff.device, tradeoff.batch, len(tradeoff.points)) for tradeoff in found] == [
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
    assert [point.row.result.cell.environment for point in found[0].points] == ["a", "b"]


def test_what_equals_the_reference_stands_at_the_upper_edge() -> None:
    exact = cell_result("exact", FP32, [fp32_head("small", 0.0)], latency_s=0.02)
    (tradeoff,) = of(cell("a", 0.01, 0.01), cell("b", 0.02, 0.1, IMPLICIT), exact)
    assert [point.kind for point in tradeoff.points] == ["int8", "int8 implicit", "fp32"]
    assert math.isinf(tradeoff.points[2].sqnr_db)
    assert tradeoff.top_db == pytest.approx(26), "6 dB above the best int8 cell, 20 dB"
    assert tradeoff.bottom_db == pytest.approx(8)


def page(*cells: CellResult, heads: tuple[str, ...] = ("small",)) -> Element:
    return parse(render(judgement(cells, heads=heads)))


def test_a_plot_has_attributes_only() -> None:
    """A strict policy forbids style attributes."""
    drawings = [
        element for element in parse(render(whole())).all("svg") if "plot" in element.classes
    ]
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
    (drawing,) = [element for element in section.all("svg") if "plot" in element.classes]
    shapes = {element.attributes.get("id") for element in section.all("g")}
    marks = list(drawing.all("use"))
    assert [mark.attributes["href"] for mark in marks] == [
        *["#mark-int8"] * 3,
        "#mark-int8-implicit",
    ]
    assert all((mark.attributes["href"] or "")[1:] in shapes for mark in marks), "drawn by nothing"
    (numbers,) = [element for element in drawing.all("g") if "numbers" in element.classes]
    assert [element.text for element in numbers.all("text")] == ["1", "2"]
    assert [element for element in drawing.all("line") if "gate" in element.classes]


def test_places_say_what_the_axes_say() -> None:
    """Between two ticks a mark stands where its number does: the axes are not ornaments."""
    (tradeoff,) = of(cell("a", 0.010, 0.01), cell("b", 0.014, 0.001), cell("c", 0.0112, 0.1))
    drawn = plot(tradeoff)

    def at(value: float, axis: Sequence[Tick]) -> float:
        texts, places = [float(tick.text) for tick in axis], [tick.at for tick in axis]
        return float(np.interp(value, texts, places))

    ((_, marks),) = drawn.marks
    for mark, point in zip(marks, tradeoff.points, strict=True):
        place = at(point.latency_s * 1e3, drawn.across), at(point.sqnr_db, drawn.up)
        assert (mark.x, mark.y) == pytest.approx(place, abs=0.11)
    assert drawn.gate == pytest.approx(at(20, drawn.up), abs=0.11)


@pytest.mark.parametrize(
    "slowest", [0.01, 0.010001, 0.0101, 0.0131, 0.02, 0.2, 0.2001, 0.5, 10.0, 1000.0, 1e9]
)
def test_any_range_of_latencies_can_be_drawn(slowest: float) -> None:
    (tradeoff,) = of(cell("a", 0.01, 0.01), cell("b", slowest, 0.01))
    drawn = plot(tradeoff)
    texts = [tick.text for tick in drawn.across]
    assert 2 <= len(set(texts)) == len(texts) <= ACROSS + 1, "two ticks of one text say nothing"
    values = [float(text.replace(",", "")) for text in texts]
    assert values == sorted(values)
    assert all(LEFT <= tick.at <= RIGHT for tick in drawn.across)
    assert all(TOP <= tick.at <= BOTTOM for tick in drawn.up)
    for _, marks in drawn.marks:
        assert all(LEFT <= mark.x <= RIGHT and TOP <= mark.y <= BOTTOM for mark in marks)


def test_what_is_above_the_scale_stands_on_its_edge_and_ticks_do_not() -> None:
    exact = cell_result("exact", FP32, [fp32_head("small", 0.0)], latency_s=0.02)
    (tradeoff,) = of(cell("a", 0.01, 0.0105), exact)
    drawn = plot(tradeoff)
    marks = dict(drawn.marks)
    assert tradeoff.top_db == pytest.approx(26, abs=0.3)
    assert marks["fp32"][0].y >= TOP
    steps = np.diff([tick.at for tick in drawn.up])
    assert steps == pytest.approx(steps[0], abs=0.11), "one unit is as high everywhere"


def test_the_front_runs_in_steps_through_its_marks() -> None:
    (tradeoff,) = of(cell("slow", 0.03, 0.001), cell("fast", 0.01, 0.01), cell("off", 0.02, 0.02))
    drawn = plot(tradeoff)
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
    ids = {element.attributes.get("id") for element in document.walk()}
    assert not ids & {"tradeoff", "latency"}
