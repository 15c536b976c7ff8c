"""Numbers as a reader sees them, and foreign text made harmless."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from trt_matrix.core.words import count, visible
from trt_matrix.report import formatting
from trt_matrix.report.formatting import (
    duration,
    finalize,
    fixed,
    listed,
    log,
    number,
    percent,
    ratio,
    short,
    signed,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12.3 ms"),
        (0.00084, "840 µs"),
        (0.0009999, "1.00 ms"),  # rounds into the next unit
        (0.9994, "999 ms"),
        (2.0, "2.00 s"),
        (3.2e-8, "32.0 ns"),
        (0.0, "0 ns"),
        (123.4, "123 s"),
        (None, "–"),
        (math.inf, "–"),
    ],
)
def test_duration_has_three_digits_and_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text.replace(" ", formatting.THIN)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "0.0123"),
        (12345.0, "12,300"),
        (9.996, "10.0"),
        (1.23e-5, "1.23×10⁻⁵"),
        (-4.56e-13, "−4.56×10⁻¹³"),
        (7.8e300, "7.80×10³⁰⁰"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_number_keeps_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300, max_value=1e300))
def test_number_reads_back_within_half_of_its_last_digit(value: float) -> None:
    text = number(value).replace(",", "")
    mantissa, _, exponent = text.partition("×10")
    digits = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    assert float(f"{mantissa}e{digits or 0}") == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.0, "0 %"), (0.99999, ">99.9 %"), (1e-6, "<0.1 %"), (0.973, "97.3 %")],
)
def test_percent_says_100_and_0_only_where_they_are_exact(share: float, text: str) -> None:
    assert percent(share) == text.replace(" ", formatting.THIN)


@given(st.floats(min_value=0, max_value=1))
def test_percent_never_rounds_to_all_or_nothing(share: float) -> None:
    assert (percent(share).startswith(("100", "0 ", "0\u202f"))) == (share in (0, 1))


def test_signs() -> None:
    assert signed(1.25) == "+1.2"
    assert signed(-1.25) == "−1.2"
    assert signed(-0.04) == "0.0"
    assert signed(0.04) == "0.0"
    assert signed(0.0, 2) == "0.00"
    assert signed(None) == "–"
    assert fixed(-0.001) == "0.0"
    assert fixed(-12345.67) == "−12,345.7"


@pytest.mark.parametrize(
    ("value", "text"), [(0.984, "0.98×"), (12.34, "12.3×"), (1234.5, "1,234×"), (None, "–")]
)
def test_ratio(value: float | None, text: str) -> None:
    assert ratio(value) == text


def test_counts_and_lists() -> None:
    assert [count(1, "cell"), count(1200, "cell")] == ["1 cell", "1,200 cells"]
    assert count(2, "pass", "passes") == "2 passes"
    assert listed(["a", "b", "c"], 1) == "a + 2 more"
    assert listed(["a", "b"], 2) == "a, b"
    assert listed([], 2) == ""


@given(st.text(), st.integers(min_value=3, max_value=60))
def test_short_keeps_both_ends_within_the_limit(text: str, limit: int) -> None:
    cut = short(text, limit)
    assert len(cut) <= limit
    if len(text) <= limit:
        assert cut == text
    else:
        head, _, tail = cut.partition("…") if "…" not in text else (cut[:1], "", cut[-1:])
        assert text.startswith(head)
        assert text.endswith(tail)


def test_what_steers_the_display_is_spelled_out() -> None:
    assert visible("a\u202egpj.exe") == "a[U+202E]gpj.exe"
    assert visible("nul\x00 bell\x07") == "nul[U+0000] bell[U+0007]"
    assert visible("\ud800") == "[U+D800]"
    assert visible("זה שם\n\tünïcode 日本") == "זה שם\n\tünïcode 日本"


@given(st.text(st.characters()))  # all of Unicode, lone surrogates too
def test_visible_text_is_encodable_and_steers_nothing(text: str) -> None:
    shown = visible(text)
    assert shown.encode().decode() == shown
    assert not set(shown) & set("\x00\x1b\u202e\u2066\u200f\ufeff")
    assert visible(shown) == shown


def test_finalize_leaves_markup_and_numbers() -> None:
    markup = Markup("<b>\u200b</b>")
    assert finalize(markup) is markup
    assert finalize(3) == 3
    assert finalize("\u200b") == "[U+200B]"


def test_log_loses_its_colours_and_carriage_returns() -> None:
    assert log("\x1b[1;31mE\x1b[0m a\r\nb\rc\x1b[2K") == "E a\nb\nc"
