"""What would fix it, as people read it: terminal, summary.md, cards and JSON tell one thing."""

import json
from dataclasses import replace
from pathlib import Path

from tests.unit.fixes import MIXED, boxes, cell, diagnosis, told
from tests.unit.judgements import BASELINE
from tests.unit.passes import MINMAX
from trt_matrix.core.fix import Basis
from trt_matrix.judging.outcome import Outcome
from trt_matrix.report.fix_lines import fix_rows, lines, on_card
from trt_matrix.report.html import render
from trt_matrix.report.summary import summary

MADE = told(
    replace(cell(BASELINE, whole=boxes(20, 0.1), latency_s=0.010), watched=True),
    cell(BASELINE, MINMAX, 21, 28, whole=boxes(18, 0.09)),
    replace(cell(BASELINE, MIXED, 22.4, whole=boxes(2, 0.01), latency_s=0.011), watched=True),
    diagnosis=diagnosis(),
)


def test_the_terminal_tells_what_who_why_and_how() -> None:
    assert [line.replace("\u202f", " ") for line in lines(MADE)] == [
        "what would fix it, most first:",
        "  1. keep 2 layers in float: stem/Conv and small/Conv (measured in ort-1.32.0/cpu/int8-mixed; "
        "11.0 ms (1.10 ×) an inference; gates hold)",
        "     In ort-1.32.0 small 16.0 to 22.4 dB, AP drop 0.100 to 0.010, 20 to 2 of 400 boxes lost.",
        '     quantisation: {exclude: ["stem/Conv", "small/Conv"]}',
        "  2. the minmax table (measured in ort-1.32.0/cpu/int8-own-minmax; 12.3 ms (1.23 ×) an inference; "
        "gates hold)",
        "     In ort-1.32.0 small 16.0 to 21.0 dB, AP drop 0.100 to 0.090, 20 to 18 of 400 boxes lost; "
        "large loses 2.0 dB by it.",
        "     calibration: {shared: minmax}",
    ]


def test_nothing_is_printed_where_nothing_is_wrong() -> None:
    well = told(cell(BASELINE, small_db=26))
    assert lines(well) == []
    assert "would fix" not in summary(well)
    assert 'id="fixes"' not in render(well)


def test_the_summary_has_a_table_of_equal_width() -> None:
    rows = summary(MADE).split("### What would fix it")[1].split("###")[0].splitlines()
    table = [row for row in rows if row.startswith("|")]
    assert len(table) == 4
    assert len({one.count("|") for one in table}) == 1
    assert "16.0 → 22.4" in table[2]


def test_json_has_it_too() -> None:
    made = Outcome(MADE, Path("run"), Path("report.html"), {}).summary()
    assert json.loads(json.dumps(made))["fixes"][0]["kind"] == "layers"


def test_what_nobody_tried_has_no_number() -> None:
    unknown = replace(MADE.fixes[0], basis=Basis.UNKNOWN)
    (row,) = fix_rows(replace(MADE, fixes=(unknown,)))
    assert set(row.sqnr_db) == {"–"}
    assert (row.ap_drop, row.lost, row.shown_by) == ("–", "–", "not tried")


def test_a_card_tells_only_what_helps_its_head() -> None:
    assert len(on_card(MADE, "small")) == 2
    assert on_card(MADE, "large") == ()


def test_names_are_escaped() -> None:
    hostile = replace(MIXED, exclude=("<script>x</script>",))
    judgement = told(cell(BASELINE), cell(BASELINE, hostile, 22))
    assert "<script>x" not in render(judgement)
    assert "<script>x" not in summary(judgement)
