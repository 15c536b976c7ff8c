"""What the page's script adds: sorting, filtering, other gates, links to a view, copying."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.shown_pages import Open, html
from tests.unit.judgements import SHARED, cell_result, head, judgement
from trt_matrix.report.html import render

BODY = "#matrix tbody:nth-of-type(2)"
"""INT8 with the shared table."""


ROWS = "#matrix tbody:not([hidden]) tr[data-environment]:not([hidden])"
"""What the filter leaves; where it leaves all, some stand behind a row for several."""


def environments(page: Page) -> list[str]:
    return page.locator(ROWS).evaluate_all("rows => rows.map(one => one.dataset.environment)")


def expect_environments(page: Page, wanted: list[str]) -> None:
    """Waits, since a page hears of the way back a moment later."""
    expect(page.locator(ROWS)).to_have_count(len(wanted))
    assert environments(page) == wanted


def fragment_of(page: Page) -> str:
    """Returns that of the page now: `page.url` follows it a moment later."""
    fragment: str = page.evaluate("location.hash")
    return fragment


def sqnr(page: Page, number: int) -> list[float]:
    found = page.locator(f"{BODY} tr[data-environment] > :nth-child({number})[data-value]")
    return [float(locator.get_attribute("data-value") or "nan") for locator in found.all()]


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
    page = opened(render(judgement(cells, heads=("small",), baseline="ort-1.9")))
    page.locator("#matrix thead th:first-child button").click()
    page.locator("#matrix thead th:first-child button").click()
    assert environments(page) == ["ort-1.1", "ort-1.9", "ort-1.10", "ort-1.30"]


def test_what_has_no_number_stays_last(page: Page) -> None:
    """The crashed cell, whichever way the others are sorted."""
    for _ in range(2):
        page.locator("#matrix thead th:nth-child(4) button").click()
        last = page.locator("#matrix tbody:nth-of-type(4) tr[data-environment]").last
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
    expect(page.locator(".count")).to_have_text(re.compile(r"^4 of \d+ rows, here and in Details"))
    page.get_by_role("searchbox", name="Filter").fill("nothing such")
    expect(page.locator(".count")).to_have_text(re.compile("nothing matches"))
    page.get_by_role("searchbox", name="Filter").press("Escape")
    assert len(set(environments(page))) == 12


def test_selects_narrow_and_show_all_again(page: Page) -> None:
    page.get_by_role("combobox", name="Pass").select_option("int8-own-minmax")
    assert set(environments(page)) > {"ort-1.22.1", "ngc-18.12-py3"}, "what never ran was planned"
    page.get_by_role("combobox", name="Status").select_option("crashed")
    assert environments(page) == ["ort-1.22.1"]
    page.get_by_role("button", name="Show all again").click()
    assert len(set(environments(page))) == 12
    assert fragment_of(page) == "#matrix"


def test_the_verdict_filter(opened: Open) -> None:
    page = opened(html("h200"))
    rows = page.locator("#matrix tr[data-environment]")
    wanted = rows.filter(has=page.locator('[data-verdicts~="inconclusive"]')).count()
    assert 0 < wanted < rows.count(), "some rows are to stay and some to go"
    page.get_by_role("combobox", name="Verdict").select_option("inconclusive")
    shown = page.locator("#matrix tr[data-environment]:visible")
    expect(shown).to_have_count(wanted)
    for row in shown.all():
        expect(row.locator('[data-verdicts~="inconclusive"]')).not_to_have_count(0)


def test_another_gate_marks_cells_and_says_that_it_is_a_what_if(page: Page) -> None:
    small = page.get_by_role("spinbutton", name="small")
    assert small.input_value() == "20"
    assert page.locator(".if").count() == 0
    small.fill("60")
    marked = page.locator("#matrix tr[data-environment] td.if-failed")
    gated = page.locator("td[data-gate]:nth-child(4)").count()
    assert marked.count() == gated > 10
    expect(page.locator("#matrix tr[data-environment] td.if-failed").first).to_contain_text(
        "✗ fails 60 dB"
    )
    locator = page.locator(".what-if")
    expect(locator).to_contain_text(re.compile(rf"^With these gates {gated} of \d+ int8 results"))
    expect(locator).to_contain_text("the exit code are for the latter")
    small.fill("1")
    assert page.locator("#matrix td.if-failed").count() == 0
    expect(page.locator("#matrix tr[data-environment] td.if-held").first).to_contain_text(
        "✓ holds 1 dB"
    )


def test_a_gate_that_is_none_is_that_of_the_matrix(page: Page) -> None:
    small = page.get_by_role("spinbutton", name="small")
    for typed in ("", "20", "20.0", "1e9", "-5000"):
        small.fill("21")
        assert page.locator(".if").count() > 0
        small.fill(typed)
        assert page.locator(".if").count() == 0, typed
        assert page.locator(".what-if").inner_text() == ""
        small.press("Tab")
        assert small.input_value() == "20"


def test_a_gate_can_be_typed_digit_by_digit(page: Page) -> None:
    """On the way to 20.5 stands 20, the head's own gate."""
    small = page.get_by_role("spinbutton", name="small")
    small.press("Control+a")
    small.press_sequentially("20.5")
    assert small.input_value() == "20.5"
    expect(page.locator("#matrix .if").first).to_contain_text("20.5 dB")
    small.press("ArrowUp")
    expect(page.locator("#matrix .if").first).to_contain_text("21.5 dB")
    page.go_back()
    expect(small).to_have_value("20")  # what is typed at one go is one step back


def test_a_link_gives_the_same_view_back(page: Page, opened: Open) -> None:
    page.get_by_role("searchbox", name="Filter").fill("ort-1.2")
    page.locator("#matrix thead th:nth-child(4) button").click()
    page.get_by_role("spinbutton", name="small").fill("21")
    again = opened(html("ordinary"), fragment=fragment_of(page))
    assert environments(again) == environments(page)
    assert again.get_by_role("searchbox", name="Filter").input_value() == "ort-1.2"
    assert again.get_by_role("spinbutton", name="small").input_value() == "21"
    assert again.locator(".if").count() == page.locator(".if").count() > 0


def test_back_and_forward(page: Page) -> None:
    whole = environments(page)
    page.get_by_role("combobox", name="Pass").select_option("fp32")
    one = environments(page)
    page.get_by_role("combobox", name="Status").select_option("unavailable")
    other = environments(page)
    assert len(whole) > len(one) > len(other) > 0
    page.go_back()
    expect_environments(page, one)
    page.go_forward()
    expect_environments(page, other)
    page.go_back()
    expect_environments(page, one)
    page.go_back()
    expect_environments(page, whole)


def test_links_within_the_page_keep_the_view(page: Page, opened: Open) -> None:
    page.get_by_role("searchbox", name="Filter").fill("1.26")
    page.locator("nav a[href='#questions']").click()
    expect(page.locator("#questions")).to_be_in_viewport()
    assert set(environments(page)) == {"ort-1.26.0"}
    expect(page).to_have_url(re.compile("#~q=1.26&at=questions$"))
    again = opened(html("ordinary"), fragment=fragment_of(page))
    expect(again.locator("#questions")).to_be_in_viewport()
    assert set(environments(again)) == {"ort-1.26.0"}
    page.go_back()
    expect(page).to_have_url(re.compile("#~q=1.26$"))
    page.go_back()
    expect(page.locator(".count")).to_have_text(re.compile(r"^\d+ rows$"))
    assert len(set(environments(page))) == 12


def test_an_unfiltered_page_has_plain_links(page: Page) -> None:
    page.locator("nav a[href='#questions']").click()
    page.locator("nav a[href='#details']").click()
    expect(page).to_have_url(re.compile("#details$"))
    page.go_back()
    expect(page).to_have_url(re.compile("#questions$"))
    page.get_by_role("searchbox", name="Filter").fill("1.26")
    page.go_back()
    expect(page.locator(".count")).to_have_text(re.compile(r"^\d+ rows$"))
    expect(page).to_have_url(re.compile("#questions$"))


def test_a_link_to_a_cell_opens_what_it_is_folded_in(opened: Open) -> None:
    page = opened(html("ordinary"))
    anchor = page.locator("#cells details [id]").first.get_attribute("id")
    assert anchor
    page = opened(html("ordinary"), fragment=f"#{anchor}")
    expect(page.locator(f"[id='{anchor}']")).to_be_in_viewport()


NO_VIEWS = (
    "#~", "#~sort=99d", "#~sort=1d1d", "#~gate=0:NaN", "#~gate=0:", "#~gate=0:1e400", "#~gate=9:3",
    "#~gate=__proto__:1", "#~at=%00", "#~verdict=none&at=nothing", "#~%E0%A4%A", "#%", "#%E0%A4%A",
    "#~pass=<img src=x onerror=alert(1)>", "#nothing", "#constructor", "#",
)  # fmt: skip


@pytest.mark.parametrize("fragment", ["#%E0%A4%A", "#~gate=__proto__:1&sort=1d1d&pass=<img>"])
def test_a_page_opened_with_a_fragment_that_is_none_is_whole(opened: Open, fragment: str) -> None:
    assert_untouched(opened(html("ordinary"), fragment=fragment))


def test_a_fragment_that_is_none_does_no_harm(page: Page) -> None:
    for fragment in NO_VIEWS:
        page.evaluate("location.hash = '#~q=1.26&sort=2d&gate=2:50'")
        expect(page.locator("#matrix tr:not([hidden]) .if").first).to_be_visible()
        page.evaluate("fragment => { location.hash = fragment; }", fragment)
        if not fragment.startswith("#~"):
            page.get_by_role("button", name="Show all again").click()
        assert_untouched(page)


def assert_untouched(page: Page) -> None:
    expect(page.locator(".count")).to_have_text(re.compile(r"^\d+ rows$"))
    assert len(set(environments(page))) == 12
    assert page.locator(".if, main img, [aria-sort]").count() == 0


def test_a_fragment_of_any_length_does_no_harm(opened: Open) -> None:
    page = opened(html("ordinary"), fragment="#~q=" + "x" * 5000 + "&gate=0:1" * 1000)
    expect(page.locator(".count")).to_have_text(re.compile("nothing matches"))


@pytest.mark.parametrize("name", ["evil-markup", "evil-lines", "evil-long"])
def test_hostile_names_filter_and_sort_like_others(opened: Open, name: str) -> None:
    page = opened(html(name))
    page.get_by_role("searchbox", name="Filter").fill("ort-1.26")
    assert len(environments(page)) == 1
    page.locator("#matrix thead th:nth-child(2) button").click()
    gate = page.get_by_role("spinbutton").first
    gate.fill("60")
    assert page.locator("#matrix .if").count() > 0
    again = opened(html(name), fragment=fragment_of(page))
    assert environments(again) == environments(page)


def test_a_row_for_several_opens_and_closes(page: Page) -> None:
    row = page.locator(f"{BODY} tr.alike").first
    button = row.get_by_role("button")
    members = page.locator(f"{BODY} tr.member:visible")
    before = members.count()
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    assert members.count() == before + int(row.get_attribute("data-rows") or 0)
    button.click()
    assert members.count() == before


def test_arrow_keys_walk_the_fields_with_one_stop_of_the_tab_key(page: Page) -> None:
    fields = page.locator("#matrix tbody td.c > a")
    assert fields.evaluate_all("all => all.filter(one => one.tabIndex === 0).length") == 1
    page.locator("#matrix tr.one td.c > a:visible").first.click()
    peek = page.locator("#peek")
    expect(peek).to_contain_text(" dB")
    told = peek.inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("td.c > a[aria-current]")).to_have_count(1)
    assert peek.inner_text() != told
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    assert fields.evaluate_all("all => all.filter(one => one.tabIndex === 0).length") == 1


def test_a_picked_field_leads_to_its_cell(page: Page) -> None:
    page.locator("#matrix tr.one td.c > a:visible").first.click()
    page.locator("#peek a").click()
    expect(page.locator("#cells tr:target")).to_be_in_viewport()


def test_the_first_screen_can_be_taken_along_as_text(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as text").click()
    expect(page.locator("#said")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.splitlines()[1].endswith(page.locator("h1").inner_text())
    assert len(text.splitlines()) <= 6


def test_another_gate_marks_the_row_that_stands_for_several(page: Page) -> None:
    page.get_by_role("spinbutton", name="small").fill("60")
    expect(page.locator(f"{BODY} tr.alike td.if-failed")).not_to_have_count(0)
    page.get_by_role("button", name="Show all again").click()
    expect(page.locator("#matrix .if-failed")).to_have_count(0)
