"""Fields of the matrix: what each shows, how it is coloured, and which columns are there."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.judgements import FP32, SHARED, cell_result, fp32_head, head, judgement
from tests.unit.pages import column_counts, parse
from tests.unit.passes import FP16
from trt_matrix.core.cells import Pass
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report.fields import Shown, head_shown
from trt_matrix.report.html import render
from trt_matrix.report.views import matrix


def shown(head_result: HeadResult, pass_: Pass = SHARED) -> Shown:
    (group,) = matrix(judgement([cell_result("a", pass_, [head_result])], heads=("small",)))
    return head_shown(group.rows[0], "small")


def told(kind: Kind, log: float | None) -> tuple[Verdict, ...]:
    effect = None if log is None else Effect(log=log, low=log, high=log, p=0.0, builds=2)
    return (Verdict(kind=kind, cell="a", head="small", effect=effect),)


@pytest.mark.parametrize(
    ("kind", "log", "level"),
    [
        (Kind.FP16_REGRESSION, 6.79, 4),
        (Kind.FP16_REGRESSION, 0.3, 2),
        (Kind.OK, 6.79, 0),
        (Kind.FP16_REGRESSION, None, 0),
    ],
)
def test_floating_point_that_lost_is_coloured_by_what_a_test_says(
    kind: Kind, log: float | None, level: int
) -> None:
    """fp16 at 10 dB beside 60 dB was as white as that."""
    head_result = replace(fp32_head("small", 0.09), verdicts=told(kind, log))
    assert shown(head_result, FP16).level == level


def test_int8_is_coloured_by_its_own_8_bits_whatever_a_test_says() -> None:
    head_result = head("small", 0.0061, verdicts=told(Kind.ENGINE_REGRESSION, 6.79))
    assert shown(head_result).level == 0


def test_what_cannot_be_judged_says_so_and_has_no_colour() -> None:
    head_result = head("small", 0.5, gate_sqnr_db=None, verdicts=told(Kind.NOT_COMPARABLE, None))
    assert shown(head_result) == Shown(text="3.0", note="not judged")


@pytest.mark.parametrize("times", [(None, None), (0.01, None), (0.01, 0.02)])
def test_there_is_a_column_of_time_where_anything_was_timed(times: tuple[Any, Any]) -> None:
    cells = [
        cell_result("a", FP32, [fp32_head()], latency_s=times[0]),
        cell_result("a", SHARED, [head()], latency_s=times[1]),
        cell_result("b", SHARED, [head()], latency_s=times[1]),
    ]
    table = parse(render(judgement(cells, heads=("small",)))).by_id("matrix").all("table")[0]
    assert len(column_counts(table)) == 1
    header = table.all("th")[1:3]
    assert ("Time" in " ".join(element.text for element in header)) is (times[0] is not None)
    assert ("not timed" in table.text) is (times[0] is not None and times[1] is None)
