"""Latency against accuracy: the front, and its drawing."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

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
from tests.unit.pages import parse
from trt_matrix.core.cells import Pass, Precision, TableSource
from trt_matrix.core.judgement import CellResult
from trt_matrix.report.html import render
from trt_matrix.report.plots import tradeoff_svg
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


def svg(one: Tradeoff, title: str = "title") -> str:
    return str(tradeoff_svg(one, "plot-0", title, "what it says"))


def test_a_plot_has_attributes_only_and_is_always_the_same() -> None:
    """A strict policy forbids style attributes; the golden file needs the same bytes."""
    first, *_ = tradeoffs(matrix(whole()).groups, HEADS)
    drawn = svg(first)
    assert drawn == svg(first)
    tree = ElementTree.fromstring(drawn)
    for element in tree.iter():
        assert not {"style", "onload"} & set(element.attrib)
        assert element.tag.rpartition("}")[2] in (
            "svg",
            "g",
            "path",
            "line",
            "text",
            "title",
            "desc",
        )
    assert tree.attrib["role"] == "img"
    assert len(drawn) < 40_000
    assert set(re.findall(r"(?:fill|stroke)=\"(?!var|none)([^\"]*)\"", drawn)) <= {"transparent"}


def test_a_mark_for_every_point_and_a_number_for_those_on_the_front() -> None:
    (found,) = of(
        cell("a", 0.01, 0.01), cell("b", 0.02, 0.001), cell("c", 0.03, 0.05), cell("d", 0.3, 0.05)
    )
    drawn = svg(found)
    marks = re.findall(r'<g ([^>]*stroke="var\(--card\)"[^>]*)>(.*?)</g>', drawn)
    assert sum(inner.count("<path ") for _, inner in marks) == 4
    assert re.findall(r"fill=\"var\(--ink\)\">(\d)<", drawn) == ["1", "2"]
    assert 'stroke="var(--bad)"' in drawn


@pytest.mark.parametrize("slowest", [0.01, 0.010001, 0.02, 0.5, 1000.0])
def test_any_range_of_latencies_can_be_drawn(slowest: float) -> None:
    (found,) = of(cell("a", 0.01, 0.01), cell("b", slowest, 0.01))
    assert "NaN" not in svg(found)


def test_hostile_titles_stay_text() -> None:
    (found,) = of(cell("a", 0.01, 0.01), cell("b", 0.02, 0.01))
    drawn = svg(found, "</title><script>alert(1)</script>")
    assert "<script" not in drawn
    ElementTree.fromstring(drawn)


def test_forty_versions_stay_small() -> None:
    cells = [cell(f"ort-1.{i}", 0.01 + 0.0001 * i, 0.001 * (i + 1)) for i in range(240)]
    (found,) = of(*cells)
    assert len(svg(found)) < 40_000


def test_the_page_lists_the_front_beside_each_plot() -> None:
    section = parse(render(whole())).by_id("tradeoff")
    assert len(section.all("figure")) == len(HEADS)
    first = section.all("figure")[0]
    assert first.all("li")[0].text.startswith("ort-1.27.0 INT8, own entropy table: 5.05")


def test_a_page_without_times_has_no_such_section() -> None:
    document = parse(render(judgement([cell("a", None, 0.01)], heads=("small",))))
    ids = {one.attributes.get("id") for one in document.walk()}
    assert not ids & {"tradeoff", "latency"}
