"""The page in a real browser: whole, quiet, readable, and asking nobody for anything."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from shown_pages import PAGES, Open, hostile

from runner.core.judgement import Judgement
from runner.report.html import render
from tests.unit.judgements import whole

SECTIONS = (
    "heads", "questions", "matrix", "budget", "latency", "tables", "layers", "integers", "metrics",
    "cells", "provenance",
)  # fmt: skip


@pytest.mark.parametrize("made", PAGES.values(), ids=PAGES)
def test_it_renders_whole_says_nothing_and_asks_nobody(
    opened: Open, made: Callable[[], Judgement]
) -> None:
    page: Page = opened(made())
    for section in SECTIONS:
        assert page.locator(f"section#{section}").count() == 1, section
    assert page.locator("footer").is_visible()
    page.locator("summary").first.click()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.told == []  # type: ignore[attr-defined]


def test_what_breaks_the_rules_would_have_been_noticed(opened: Open) -> None:
    """The control of the test above: its detectors see a page that does break the rules."""
    broken = (
        '<p style="color: red"></p><script>alert(1)</script><img src="http://sentinel.invalid/x">'
    )
    page = opened(render(whole()).replace("</main>", f"{broken}</main>"))
    told = page.told  # type: ignore[attr-defined]
    assert sum("Content Security Policy" in one for one in told) == 3
    page = opened('<img src="http://sentinel.invalid/x">')
    assert any("request: http://sentinel.invalid/x" in one for one in told)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", ["ordinary", "h200"])
def test_nothing_that_axe_calls_serious(opened: Open, name: str, width: int, colours: str) -> None:
    page = opened(PAGES[name](), width, color_scheme=colours)
    found = Axe().run(page)
    serious = [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"][:3]])
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found.response["passes"]) > 15, "axe did look"


@pytest.mark.parametrize("width", [1440, 1024, 390])
@pytest.mark.parametrize("made", PAGES.values(), ids=PAGES)
def test_the_page_is_as_wide_as_the_window(
    opened: Open, made: Callable[[], Judgement], width: int
) -> None:
    """Wide tables scroll in their own container; nothing is pushed out by a name of 10,000 letters."""
    page = opened(made(), width)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("Math.max(...[...document.rows ?? document.querySelectorAll('tr')].map(one => one.offsetHeight))") < 1500  # fmt: skip


def test_colours_follow_the_system(opened: Open) -> None:
    grounds = [
        opened(whole(), color_scheme=colours).evaluate("getComputedStyle(document.body).backgroundColor")
        for colours in ("light", "dark")
    ]  # fmt: skip
    assert grounds[0] != grounds[1]


def test_a_regression_is_a_step_the_eye_sees(opened: Open) -> None:
    widths = opened(whole()).evaluate(
        "[...document.querySelectorAll('#budget rect.engine')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(widths) > 10
    assert max(widths) > 4 * min(widths)


@pytest.mark.parametrize("name", ["ordinary", "h200"])
def test_without_javascript_nothing_is_missing(opened: Open, name: str) -> None:
    with_it, without = (
        opened(PAGES[name](), java_script_enabled=enabled) for enabled in (True, False)
    )
    assert (
        without.locator("#matrix tbody tr").count() == with_it.locator("#matrix tbody tr").count()
    )
    assert without.locator("tr:visible").count() == with_it.locator("tr:visible").count()
    assert not without.locator("#controls").is_visible()
    assert without.locator("button").count() == 0
    assert with_it.locator("#controls").is_visible()


@pytest.mark.parametrize("name", ["ordinary", "h200", "hostile"])
def test_on_paper_no_table_is_cut(opened: Open, name: str) -> None:
    page = opened(PAGES[name](), width=1046)  # A4 across, less its margins
    page.emulate_media(media="print")
    cut = page.evaluate(
        """[...document.querySelectorAll("table, .cards, svg")]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => [one.className, one.getBoundingClientRect().right])"""
    )
    if name != "hostile":
        assert cut == []
    assert not page.locator("nav, #controls, .copy").first.is_visible()
    paper = page.pdf(format="A4", landscape=True)
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") > 3


def test_hostile_names_are_text(opened: Open) -> None:
    page = opened(hostile())
    assert "</script></style><script>alert(1)" in page.locator("h1").inner_text()
    assert page.locator("main img").count() == 0
    assert "[U+202E]" in page.locator("#matrix").inner_text()
