"""The matrix of more cells than are told in detail: what a browser lays out at once is little."""

import pytest
from playwright.sync_api import expect

from benchmarks.report import large
from tests.browser.shown_pages import Open
from trt_matrix.report.html import render

CELLS = 6 * 100


@pytest.fixture(scope="module")
def page_of_many() -> str:
    return render(large(CELLS // 6))


def test_few_rows_are_shown_and_all_are_there(opened: Open, page_of_many: str) -> None:
    page = opened(page_of_many)
    rows = page.locator("#matrix tr[data-environment]")
    assert rows.count() == CELLS
    assert page.locator("#matrix tr[data-environment]:visible").count() < 80
    assert page.evaluate("document.documentElement.scrollHeight") < 8000
    more = page.locator("#matrix tr.more .toggle").first
    more.click()
    assert page.locator("#matrix tr[data-environment]:visible").count() > 80
    expect(more).to_have_attribute("aria-expanded", "true")


def test_what_is_looked_for_is_shown_as_cells_and_not_more_than_a_browser_can_lay_out(
    opened: Open, page_of_many: str
) -> None:
    page = opened(page_of_many)
    search = page.get_by_role("searchbox", name="Filter")
    search.fill("ngc-19.0")
    shown = page.locator("#matrix tr[data-environment]:visible")
    expect(shown).to_have_count(9 * 6)
    expect(page.locator("#matrix tr.alike:visible")).to_have_count(0)
    search.fill("")
    page.locator("#matrix thead th:nth-child(2) button").click()
    expect(shown).to_have_count(500)
    expect(page.locator(".count")).to_contain_text("the first 500 are shown")


def test_that_not_all_is_told_below_is_said(opened: Open, page_of_many: str) -> None:
    note = opened(page_of_many).locator("#matrix [role=note]")
    expect(note).to_contain_text("Below 40 of 600 cells are told in detail")
