"""The page in a real browser: whole, quiet, readable, and asking nobody for anything."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from shown_pages import EVILS, PAGES, Open, html

SECTIONS = (
    "heads", "questions", "matrix", "budget", "latency", "boxes", "images", "tables", "layers", "integers",
    "metrics", "cells", "provenance",
)  # fmt: skip


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")


@pytest.mark.parametrize("name", PAGES)
def test_it_is_whole_and_as_wide_as_the_window(opened: Open, name: str) -> None:
    """Wide tables scroll in their own container; nothing is pushed out by a name of 10,000 letters.

    That pages say nothing and ask nobody is what the fixture `told` holds, here and in every test.
    """
    page = opened(html(name))
    for section in SECTIONS:
        assert page.locator(f"section#{section}").count() == 1, section
    assert page.locator("footer").is_visible()
    unfold(page)
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        heights = page.locator("tr").evaluate_all("rows => rows.map(one => one.offsetHeight)")
        assert max(heights) < 1500


def test_what_breaks_the_rules_would_have_been_noticed(opened: Open, told: list[str]) -> None:
    """The control of the test above: its detectors see a page that does break the rules."""
    broken = (
        '<p style="color: red"></p><script>alert(1)</script><img src="http://sentinel.invalid/x">'
    )
    opened(html("ordinary").replace("</main>", f"{broken}</main>"))
    assert sum("Content Security Policy" in one for one in told) == 3
    opened(f"{broken}<script>throw new Error('thrown')</script>")
    assert "request: http://sentinel.invalid/x" in told
    assert "dialog: 1" in told
    assert any("thrown" in one for one in told if one.startswith("error:"))
    told.clear()


@pytest.mark.parametrize(
    ("name", "width", "colours"),
    [
        ("complete", 1440, "light"),
        ("complete", 1440, "dark"),
        ("complete", 390, "light"),
        ("complete", 390, "dark"),
        ("ordinary", 390, "dark"),
        ("h200", 390, "light"),
        ("evil-attribute", 1440, "light"),
    ],
)
def test_nothing_that_axe_calls_serious(opened: Open, name: str, width: int, colours: str) -> None:
    page = opened(html(name), width, color_scheme=colours)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response
    serious = [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"][:3]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found["passes"]) > 15, "axe did look"


def test_colours_follow_the_system(opened: Open) -> None:
    grounds = [
        opened(html("ordinary"), color_scheme=colours).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for colours in ("light", "dark")
    ]
    assert grounds[0] != grounds[1]


def test_a_regression_is_a_step_the_eye_sees(opened: Open) -> None:
    widths = opened(html("ordinary")).evaluate(
        "[...document.querySelectorAll('#budget rect.engine')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(widths) > 10
    assert max(widths) > 4 * min(widths)


@pytest.mark.parametrize("name", ["ordinary", "h200", "complete"])
def test_without_javascript_nothing_is_missing(opened: Open, name: str) -> None:
    with_it, without = (
        opened(html(name), java_script_enabled=enabled) for enabled in (True, False)
    )
    assert without.locator("tr:visible").count() == with_it.locator("tr:visible").count() > 10
    for section in SECTIONS:
        shown, whole = (one.locator(f"section#{section}") for one in (without, with_it))
        for row, other in zip(
            shown.locator("tbody tr").all_inner_texts(),
            whole.locator("tbody tr").all_inner_texts(),
            strict=True,
        ):
            assert row == other
    assert not without.locator("#controls").is_visible()
    assert without.locator("button").count() == 0
    assert with_it.locator("#controls").is_visible()


@pytest.mark.parametrize("name", ["ordinary", "h200", "complete", "crowded"])
def test_on_paper_no_table_is_cut(opened: Open, name: str) -> None:
    page = opened(html(name), width=1046)  # A4 across, less its margins
    page.emulate_media(media="print")
    unfold(page)
    cut = page.evaluate(
        """[...document.querySelectorAll("table, .cards, svg, pre")]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => [String(one.className), one.getBoundingClientRect().right])"""
    )
    hidden = page.evaluate(
        """[...document.querySelectorAll(".scroll")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible")
        .map(one => [one.ariaLabel, one.scrollWidth])"""
    )
    assert (cut, hidden) == ([], [])
    for one in page.locator("nav, #controls, .copy, #said").all():
        assert not one.is_visible()


def test_it_prints(opened: Open) -> None:
    paper = opened(html("ordinary")).pdf(format="A4", landscape=True)
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") > 3


@pytest.mark.parametrize("name", EVILS)
def test_hostile_names_are_text(opened: Open, name: str) -> None:
    page = opened(html(name))
    unfold(page)
    made = page.evaluate(
        """[...document.querySelectorAll("main *")].flatMap(one => [...one.attributes].map(
        attribute => `${one.localName} ${attribute.name}`))"""
    )
    assert {one for one in made if one.split()[1].startswith(("on", "style"))} == set()
    assert page.locator("main :is(img, script, style, iframe, form, object, a[href^='http'])").count() == 0  # fmt: skip
    if name == "evil-markup":
        assert "</script></style></title><script>alert(1)" in page.locator("#heads").inner_text()
    if name == "evil-reversed":
        assert "[U+202E]" in page.locator("#matrix").inner_text()
    reversing = page.evaluate("/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)")
    assert not reversing
