"""What would fix it, as the page shows it: none, one, and eight of them."""

from dataclasses import replace

import pytest

from tests.unit.pages import assert_inert, column_counts, parse
from tests.unit.test_headline import versions
from trt_matrix.core.fix import Basis, Fix, FixKind, KeptQuality
from trt_matrix.core.judgement import Judgement
from trt_matrix.report.fixes import BAR, fixes
from trt_matrix.report.html import render


def fix(number: int, basis: Basis = Basis.MEASURED, *, ap: bool = True) -> Fix:
    return Fix(
        kind=FixKind.LAYERS,
        what=f"keep {number} layers in float <b>",
        why=f"reason {number}",
        basis=basis,
        now=KeptQuality(
            sqnr_db={"small": 20.0}, ap_drop=0.2 if ap else None, lost=8, latency_s=0.002
        ),
        reaches=KeptQuality(
            sqnr_db={"small": 20.0 + number},
            ap_drop=0.2 - 0.02 * number if ap else None,
            lost=8 - number,
            latency_s=0.002 + 0.0001 * number,
            holds=number > 3,
        ),
        against="v1/cpu/int8",
        command=f"exclude: [layer{number}]",
    )


def with_fixes(*found: Fix) -> Judgement:
    return replace(versions((8, 0.2)), fixes=found)


def test_without_any_there_is_no_such_section() -> None:
    page = parse(render(with_fixes()))
    assert not [element for element in page.walk() if element.attributes.get("id") == "fixes"]
    assert "Fixes" not in page.all("nav")[0].text


@pytest.mark.parametrize(
    ("now", "then", "told"),
    [
        # 0.0946 ms, of 0.37 and 0.47: beside them 0.09 is a contradiction.
        (0.000372, 0.0004666, "+0.10 ms"),
        (0.000474, 0.000366, "−0.10 ms"),
        (0.0004, 0.0004001, "0.00 ms"),
        (0.0206, 0.0160, "−4.6 ms"),
    ],
)
def test_its_time_is_what_the_two_times_differ_by_that_are_told(
    now: float, then: float, told: str
) -> None:
    one = fix(1)
    one = replace(
        one, now=replace(one.now, latency_s=now), reaches=replace(one.reaches, latency_s=then)
    )
    assert [row.later for row in fixes(with_fixes(one)).rows] == [told]


@pytest.mark.parametrize("number", [1, 8])
def test_each_is_a_row_with_what_it_reaches_and_who_says_so(number: int) -> None:
    found = [
        fix(one, Basis.SIMULATED if one == 2 else Basis.MEASURED) for one in range(1, number + 1)
    ]
    page = parse(render(with_fixes(*found)))
    assert_inert(page)
    section = page.by_id("fixes")
    assert len(column_counts(section.all("table")[0])) == 1
    rows = section.all("tr")[1:]
    assert len(rows) == number
    for one, row in zip(range(1, number + 1), rows, strict=True):
        assert f"Keep {one} layers in float <b>" in row.text
        assert f"+{0.02 * one:.3f}" in row.text
        # AP of the reference is 0.8; what was simulated had other images, so it has no AP of these.
        reaches = f"lost 0.200 → {0.2 - 0.02 * one:.3f}"
        measured = f"0.600 → {0.6 + 0.02 * one:.3f}"
        assert (reaches if one == 2 else measured) in row.text
        assert ("◇ simulated" if one == 2 else "◆ measured") in row.text
        assert f"exclude: [layer{one}]" in row.text
        assert ("every gate holds" if one > 3 else "a gate fails") in row.text


def test_gains_are_in_ap_where_it_is_known_and_in_decibels_else() -> None:
    made = fixes(with_fixes(fix(1), fix(4)))
    assert made.unit == "AP"
    assert [row.width for row in made.rows] == [pytest.approx(BAR / 4), BAR]
    made = fixes(with_fixes(fix(1, ap=False), fix(4, ap=False)))
    assert (made.unit, [row.gain for row in made.rows]) == ("dB", [1.0, 4.0])


def test_what_nobody_tried_promises_no_number() -> None:
    untried = replace(fix(1, Basis.UNKNOWN), reaches=KeptQuality())
    page = parse(render(with_fixes(untried)))
    row = page.by_id("fixes").all("tr")[1]
    assert "? not tried" in row.text
    assert not row.all("rect")
    assert "◆" not in page.by_id("verdict").all("p")[0].text


def test_the_lines_that_do_the_first_one_are_there_to_copy() -> None:
    assert parse(render(with_fixes(fix(3), fix(4)))).by_id("as-fix").text == "exclude: [layer3]"
