"""What the page's script adds: sorting, filtering, other gates, links to a view, copying."""

import csv
import io
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from shown_pages import PAGES, Open, hostile

from runner.core.judgement import Judgement
from runner.plan import Status
from tests.unit.judgements import SHARED, cell_result, head, judgement, whole

BODY = "#matrix tbody:nth-of-type(2)"
"""INT8 with the shared table."""


def column(page: Page, number: int, body: str = BODY) -> list[str]:
    return page.locator(f"{body} tr:visible > :nth-child({number})").all_inner_texts()[1:]


def names(page: Page, body: str = BODY) -> list[str]:
    return page.locator(f"{body} tr[data-environment]:visible bdi").all_inner_texts()


def environments(page: Page) -> list[str]:
    return page.locator("#matrix tr[data-environment]:visible").evaluate_all(
        "rows => rows.map(one => one.dataset.environment)"
    )


def sqnr(page: Page, number: int) -> list[float]:
    found = page.locator(f"{BODY} tr[data-environment] > :nth-child({number})[data-value]")
    return [float(one.get_attribute("data-value") or "nan") for one in found.all()]


@pytest.fixture
def page(opened: Open) -> Page:
    return opened(whole())


def test_a_column_sorts_down_up_and_back(page: Page) -> None:
    before = environments(page)
    button = page.locator("#matrix thead th:nth-child(4) button")
    button.click()
    down = sqnr(page, 4)
    assert down == sorted(down, reverse=True)
    assert page.locator("#matrix thead th:nth-child(4)").get_attribute("aria-sort") == "descending"
    button.press("Enter")
    up = sqnr(page, 4)
    assert up == sorted(up)
    assert up != down
    button.click()
    assert environments(page) == before
    assert page.locator("#matrix [aria-sort]").count() == 0


def test_names_sort_as_people_count(opened: Open) -> None:
    cells = [cell_result(f"ort-1.{minor}", SHARED, [head()]) for minor in (10, 9, 30, 1)]
    page = opened(judgement(cells, heads=("small",), baseline="ort-1.9"))
    page.locator("#matrix thead th:first-child button").click()
    page.locator("#matrix thead th:first-child button").click()
    assert environments(page) == ["ort-1.1", "ort-1.9", "ort-1.10", "ort-1.30"]


def test_what_has_no_number_stays_last(page: Page) -> None:
    """The crashed cell, whichever way the others are sorted."""
    for _ in range(2):
        page.locator("#matrix thead th:nth-child(4) button").click()
        last = page.locator("#matrix tbody:nth-of-type(4) tr").last
        assert last.get_attribute("data-status") == "crashed"


def test_the_filter_narrows_the_matrix_and_the_sections_below(page: Page) -> None:
    page.get_by_role("searchbox", name="Filter").fill("1.26 cpu")
    assert set(environments(page)) == {"ort-1.26.0"}
    for section in ("#budget", "#latency", "#metrics"):
        shown = page.locator(
            f"{section} tbody:not([hidden]) tr:not([hidden]) > th[data-cell]"
        ).all_text_contents()
        assert shown
        assert all("ort-1.26.0" in one for one in shown)
    expect(page.locator(".count")).to_have_text(re.compile(r"^4 of \d+ rows, here and"))
    page.get_by_role("searchbox", name="Filter").fill("nothing such")
    expect(page.locator(".count")).to_have_text(re.compile("nothing matches"))
    page.get_by_role("searchbox", name="Filter").press("Escape")
    assert len(set(environments(page))) == 12


def test_selects_narrow_and_show_all_again(page: Page) -> None:
    page.get_by_role("combobox", name="Pass").select_option("int8-own-minmax")
    page.get_by_role("combobox", name="Status").select_option("crashed")
    assert environments(page) == ["ort-1.22.1"]
    page.get_by_role("button", name="Show all again").click()
    assert len(set(environments(page))) == 12
    assert page.url.endswith("#matrix")


def test_the_verdict_filter(opened: Open) -> None:
    page = opened(PAGES["h200"]())
    page.get_by_role("combobox", name="Verdict").select_option("inconclusive")
    assert environments(page)
    assert set(environments(page)) == {"trt-8.5.3.1"}


def test_another_gate_marks_cells_and_says_that_it_is_a_what_if(page: Page) -> None:
    assert page.locator(".if").count() == 0
    small = page.get_by_role("spinbutton", name="small")
    small.fill("60")
    small.press("Tab")
    marked = page.locator("#matrix td.if-failed")
    assert marked.count() == page.locator('td[data-head="2"][data-gate]').count()
    expect(marked.first).to_contain_text("✗ would fail 60 dB")
    expect(page.locator(".what-if")).to_contain_text("With these gates")
    expect(page.locator(".what-if")).to_contain_text("the exit code are for the latter")
    small.fill("1")
    small.press("Tab")
    assert page.locator("#matrix td.if-failed").count() == 0
    expect(page.locator("#matrix td.if-held").first).to_contain_text("✓ would hold 1 dB")
    small.fill("")
    small.press("Tab")
    assert page.locator(".if").count() == 0
    assert page.locator(".what-if").inner_text() == ""


def test_a_link_gives_the_same_view_back(page: Page, opened: Open) -> None:
    page.get_by_role("searchbox", name="Filter").fill("ort-1.2")
    page.locator("#matrix thead th:nth-child(4) button").click()
    page.get_by_role("spinbutton", name="small").fill("21")
    page.get_by_role("spinbutton", name="small").press("Tab")
    again = opened(whole(), fragment=f"#{page.url.partition('#')[2]}")
    assert environments(again) == environments(page)
    assert again.get_by_role("searchbox", name="Filter").input_value() == "ort-1.2"
    assert again.get_by_role("spinbutton", name="small").input_value() == "21"
    assert again.locator(".if").count() == page.locator(".if").count() > 0


def test_back_and_forward(page: Page) -> None:
    page.get_by_role("combobox", name="Pass").select_option("fp32")
    one = environments(page)
    page.get_by_role("combobox", name="Status").select_option("unavailable")
    other = environments(page)
    page.go_back()
    assert environments(page) == one
    page.go_forward()
    assert environments(page) == other
    page.go_back()
    page.go_back()
    assert len(set(environments(page))) == 12


def test_a_link_to_a_cell_opens_what_it_is_folded_in(opened: Open) -> None:
    page = opened(whole())
    anchor = page.locator("#cells details [id]").first.get_attribute("id")
    assert anchor
    page = opened(whole(), fragment=f"#{anchor}")
    expect(page.locator(f"[id='{anchor}']")).to_be_in_viewport()


@pytest.mark.parametrize(
    "fragment",
    ["#~", "#~q=%", "#~sort=99d", "#~sort=1d1d", "#~gate=0:NaN", "#~gate=9:3", "#~gate=__proto__:1",
     "#~pass=<img src=x onerror=alert(1)>", "#~q=" + "x" * 5000, "#%", "#%E0%A4%A", "#nothing", "#"],
)  # fmt: skip
def test_a_fragment_that_is_none_does_no_harm(opened: Open, fragment: str) -> None:
    page = opened(whole(), fragment=fragment)
    assert page.told == []  # type: ignore[attr-defined]
    assert page.locator("#controls").is_visible()
    assert page.locator("main img").count() == 0


def copied(page: Page, form: str, table: str) -> str:
    """Clicks the button and returns what came to the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(f"{table} .copy button", has_text=form).click()
    expect(page.locator("#said")).to_have_text(f"Copied as {form}.")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_the_matrix_as_csv_has_numbers_and_units(page: Page) -> None:
    lines = list(csv.reader(io.StringIO(copied(page, "CSV", ".matrix"))))
    assert len({len(line) for line in lines}) == 1
    header, *rows = lines
    assert header[0] == "Pass"
    assert header[2].endswith("[dB]")
    assert header[-1] == "Latency ↕ [s]" or header[-1] == "Latency [s]"
    row = next(one for one in rows if one[0].startswith("INT8, shared") and "1.26.0" in one[1])
    assert float(row[4]) == pytest.approx(19.281, abs=0.01)
    assert float(row[-1]) < 0.1


def test_a_table_as_markdown_is_a_table(page: Page) -> None:
    page.get_by_role("searchbox", name="Filter").fill("1.26")
    lines = copied(page, "Markdown", ".matrix").splitlines()
    assert lines[1].replace(" ", "") == "|" + "---|" * 6
    assert len(lines) == 2 + 4, "what is filtered out stays out"
    assert all(line.count(" | ") == 5 for line in lines)


def test_copied_text_is_no_formula_and_no_markup(opened: Open) -> None:
    evil = '=HYPERLINK("http://x")|a,b'
    crashed = cell_result("b", SHARED, status=Status.CRASHED, reason="-1+1|cmd")
    page = opened(judgement([cell_result(evil, SHARED, [head()]), crashed], heads=("small",)))
    rows = list(csv.reader(io.StringIO(copied(page, "CSV", ".matrix"))))
    assert any(one[1].startswith("'=HYPERLINK") for one in rows)
    assert not [text for row in rows for text in row if text.startswith(("=", "-1+"))]
    assert "\\|a,b" in copied(page, "Markdown", ".matrix")


@pytest.mark.parametrize("made", PAGES.values(), ids=PAGES)
def test_every_table_can_be_copied(opened: Open, made: Callable[[], Judgement]) -> None:
    page = opened(made())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tables = page.locator("table:has(caption)").count()
    assert page.locator(".copy").count() == tables > 5
    regular = page.evaluate(
        """() => [...document.querySelectorAll("table:has(.copy)")].every(table =>
        table.querySelectorAll(".copy button").length === 2)"""
    )
    assert regular


def test_a_page_that_may_not_copy_uses_the_old_way(page: Page) -> None:
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.locator(".matrix .copy button", has_text="CSV").click()
    expect(page.locator("#said")).to_have_text(re.compile("Copied as CSV|Not copied"))


def test_hostile_names_filter_and_sort_like_others(opened: Open) -> None:
    page = opened(hostile())
    page.get_by_role("searchbox", name="Filter").fill("<script>alert(1)")
    assert environments(page)
    page.locator("#matrix thead th:nth-child(2) button").click()
    assert page.told == []  # type: ignore[attr-defined]
