"""A difference stands beside the numbers that it is of: it is what a reader gets from them."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pages import parse
from tests.unit.test_headline import versions
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.fix import Basis, Fix, FixKind, KeptQuality
from trt_matrix.core.rounding import ap_change, ap_drop, difference
from trt_matrix.core.severity import box_harm
from trt_matrix.report.fixes import fixes
from trt_matrix.report.html import render
from trt_matrix.report.summary import summary

AP = st.floats(0.0, 1.0)


@given(AP, AP)
def test_a_difference_is_that_of_what_is_shown(before: float, after: float) -> None:
    told = f"{difference(after, before, 3):.3f}"
    assert float(told) == pytest.approx(float(f"{after:.3f}") - float(f"{before:.3f}"), abs=1e-9)


@given(AP, st.floats(-0.2, 0.8))
def test_ap_is_told_with_digits_that_agree(before: float, drop: float) -> None:
    change = ap_change(before, drop)
    apart = float(change.before) - float(change.after)
    assert float(change.drop) == pytest.approx(apart, abs=1e-9)
    assert float(change.drop) == pytest.approx(drop, abs=0.011 if drop >= 0.05 else 0.0011)


def test_without_the_ap_itself_the_drop_is_rounded() -> None:
    assert ap_drop(None, 0.0064) == 0.006
    assert ap_drop(0.8224, 0.0072) == 0.008, "0.830 and 0.822"


def test_what_a_fix_gains_is_what_its_two_numbers_differ_by() -> None:
    """AP 0.58245 → 0.58451 is shown as 0.582 → 0.585, and is 0.00206 apart; 22.74 and 22.96 dB are 22.7 and 23.0."""
    fix = Fix(
        kind=FixKind.LAYERS, what="keep small/Conv in float", why="", basis=Basis.MEASURED, against="x",
        now=KeptQuality(ap_drop=0.8 - 0.58245, sqnr_db={"small": 22.74}),
        reaches=KeptQuality(ap_drop=0.8 - 0.58451, sqnr_db={"small": 22.96}),
    )  # fmt: skip
    judgement = replace(versions((8, 0.21755)), fixes=(fix,))
    (row,) = fixes(judgement).rows
    assert (row.gain, row.then, row.gains_db) == (0.003, "0.582 → 0.585", (0.3,))
    told = headline(judgement)
    assert "AP 0.582 → 0.585, small 22.7 → 23.0 dB" in told.remedy
    assert "AP 0.582 → 0.585, small 22.7 → 23.0 dB" in summary(judgement)
    text = parse(render(judgement)).by_id("fixes").text
    assert "+0.003 0.582 → 0.585" in text


@pytest.mark.parametrize("drop", [0.0064, 0.0065, 0.00749, 0.0496, 0.0504, 0.21755])
def test_headline_strips_matrix_and_summary_tell_one_loss(drop: float) -> None:
    """AP of the reference is 0.8, so what is lost is 0.8 less what is shown."""
    judgement = versions((8, drop))
    told = headline(judgement)
    after = f"{0.8 - drop:.3f}"
    lost = f"{0.8 - float(after):.3f}"
    page = parse(render(judgement))
    strip = page.by_id("strips").text
    assert f"−{lost}" in strip
    assert f"0.800 → {after}" in strip
    assert f"−{lost}" in page.by_id("matrix").text
    assert f"AP −{lost}" in summary(judgement)
    assert judgement.network
    boxes = judgement.judged[0].heads[0].boxes
    assert boxes
    assert f"AP falls by {lost}" in " ".join(box_harm(boxes))
    few = re.search(r"AP (0\.\d+) → (0\.\d+)", told.text)
    assert few
    apart = f"−{float(few[1]) - float(few[2]):.{len(few[2]) - 2}f} AP"
    assert apart in page.by_id("questions").text
