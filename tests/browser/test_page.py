"""The page in a real browser: whole, quiet, readable, and asking nobody for anything."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.shown_pages import EVILS, PAGES, Open, html

SECTIONS = ("verdict", "matrix", "questions", "details")
"""Those that every page has."""
SIZES = {"12px", "14px", "16px", "20px", "24px", "32px"}
WIDTHS = (1920, 1440, 1024, 390)


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
    for width in WIDTHS:
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
        *(("ordinary", width, colours) for width in WIDTHS for colours in ("light", "dark")),
        ("complete", 1440, "light"),
        ("complete", 1440, "dark"),
        ("complete", 390, "light"),
        ("complete", 390, "dark"),
        ("h200", 390, "light"),
        ("h200", 1440, "dark"),
        ("evil-attribute", 1440, "light"),
    ],
)
def test_nothing_that_axe_calls_serious(opened: Open, name: str, width: int, colours: str) -> None:
    page = opened(html(name), width, color_scheme=colours)
    if name == "complete":
        unfold(page)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response
    serious = [
        (violation["id"], violation["impact"], [node["target"] for node in violation["nodes"][:3]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
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
    page = opened(html("ordinary"))
    unfold(page)
    widths = page.evaluate(
        "[...document.querySelectorAll('#budget rect.engine')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(widths) > 10
    assert max(widths) > 4 * min(widths)


@pytest.mark.parametrize("name", ["ordinary", "h200", "complete"])
@pytest.mark.parametrize("width", [1440, 390])
def test_six_sizes_of_text_and_none_under_12_px(opened: Open, name: str, width: int) -> None:
    page = opened(html(name), width)
    unfold(page)
    sizes = page.evaluate(
        """[...new Set([...document.querySelectorAll("body *")].filter(one => one.getClientRects().length
        && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
        .map(one => getComputedStyle(one).fontSize))]"""
    )
    assert set(sizes) <= SIZES
    seen = page.evaluate(
        """[...document.querySelectorAll("svg:has(text)")].filter(one => one.getClientRects().length).flatMap(svg => {
        const width = svg.getBoundingClientRect().width, scale = width / (svg.viewBox.baseVal?.width || width);
        return [...svg.querySelectorAll("text")].map(text => scale * parseFloat(getComputedStyle(text).fontSize)); })"""
    )
    assert all(one > 11.95 for one in seen), "nor in a picture that is scaled"


def test_a_section_has_one_name_and_the_navigation_stays_in_sight(opened: Open) -> None:
    page = opened(html("complete"))
    for link in page.locator("nav a").all():
        target = (link.get_attribute("href") or "")[1:]
        if target != "verdict":
            assert page.locator(f"#{target} > header > h2").inner_text() == link.inner_text()
    page.locator("#cells > summary").click()
    page.locator("#cells").scroll_into_view_if_needed()
    expect(page.locator("nav a", has_text="Details")).to_be_in_viewport()
    for link in page.locator("#questions td > a").all():
        name = page.locator(f"{link.get_attribute('href')} :is(h2, h3)").first.inner_text()
        assert name == link.inner_text()


def test_nothing_is_hidden_from_a_picture_of_the_whole_page(opened: Open) -> None:
    page = opened(html("ordinary"))
    found = page.evaluate(
        """[...document.querySelectorAll("body *")]
        .filter(one => getComputedStyle(one).contentVisibility !== "visible").length"""
    )
    assert found == 0


def test_the_first_column_stays_and_the_worst_head_is_on_the_first_screen(opened: Open) -> None:
    page = opened(html("h200"), 390)
    box = page.locator("#matrix .scroll")
    before = page.locator("#matrix tr.alike th").first.bounding_box()
    box.evaluate("one => { one.scrollLeft = 200; }")
    after = page.locator("#matrix tr.alike th").first.bounding_box()
    assert before
    assert after
    assert before["x"] == after["x"]
    wide = opened(html("h200"))
    for part in ("h1", ".do", ".cost", ".facts-list", "#strips tbody tr:first-child"):
        expect(wide.locator(f"#verdict {part}")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("name", ["ordinary", "h200", "complete"])
def test_without_javascript_nothing_is_missing(opened: Open, name: str) -> None:
    with_it, without = (
        opened(html(name), java_script_enabled=enabled) for enabled in (True, False)
    )
    planned = without.locator("#matrix tbody tr").count()
    assert without.locator("#matrix tbody tr:visible").count() == planned, "all is unfolded"
    assert with_it.locator("#matrix tbody tr:visible").count() < planned or name == "complete"
    with_it.evaluate("document.querySelectorAll('.toggle').forEach(one => one.remove())")
    for section in SECTIONS[1:]:
        rows, others = (
            [
                re.sub(r"[\s·]", "", row)
                for row in one.locator(f"#{section} tbody tr").all_text_contents()
            ]
            for one in (without, with_it)
        )
        assert rows == others
    assert not without.locator("#controls").is_visible()
    assert without.locator("button").count() == 0
    assert with_it.locator("#controls").is_visible()


@pytest.mark.parametrize("name", ["ordinary", "h200", "complete", "crowded"])
def test_on_paper_no_table_is_cut(opened: Open, name: str) -> None:
    page = opened(html(name), width=1046)  # A4 across, less its margins
    page.emulate_media(media="print")
    unfold(page)
    cut = page.evaluate(
        """[...document.querySelectorAll("table, .cards, svg, pre, .top, .panels, .shots")]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => [String(one.className), one.getBoundingClientRect().right])"""
    )
    hidden = page.evaluate(
        """[...document.querySelectorAll(".scroll")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible")
        .map(one => [one.ariaLabel, one.scrollWidth])"""
    )
    assert (cut, hidden) == ([], [])
    for one in page.locator("nav, #controls, .copy, #said, .toggle, .toggle-dot, #peek").all():
        assert not one.is_visible()


@pytest.mark.parametrize("name", ["ordinary", "h200"])
def test_with_nothing_open_it_prints_on_four_pages(opened: Open, name: str) -> None:
    paper = opened(html(name)).pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert 1 < len(re.findall(rb"/Type /Page\b(?!s)", paper)) <= 4


@pytest.mark.parametrize(("width", "height"), [(1440, 5000), (390, 10_000)])
def test_with_nothing_open_it_is_short(opened: Open, width: int, height: int) -> None:
    for name in ("ordinary", "h200"):
        page = opened(html(name), width)
        assert page.evaluate("document.documentElement.scrollHeight") < height


def test_fp32_and_int8_boxes_can_be_looked_at_in_turn(opened: Open) -> None:
    for enabled in (True, False):
        page = opened(html("complete"), java_script_enabled=enabled)
        sides = [page.locator(f"#images .from-{side}").first for side in ("fp32", "int8")]
        for value, seen in (
            ("both", (True, True)),
            ("fp32", (True, False)),
            ("int8", (False, True)),
        ):
            page.locator(f"#images label:has([value={value}])").click()
            assert tuple(side.is_visible() for side in sides) == seen


def test_the_drawing_is_chosen_without_a_script_and_leads_to_the_layers(opened: Open) -> None:
    for enabled in (True, False):
        page = opened(html("h200"), java_script_enabled=enabled)
        builds = page.locator("#network figure.by-precision")
        cost = page.locator("#network figure.by-cost")
        seen = [one.is_visible() for one in builds.all()]
        assert (len(seen), sum(seen), cost.is_visible()) == (8, 2, False)
        page.locator("#network label:has([name=build][value=H])").click()
        assert builds.nth(7).is_visible()
        page.locator("#network label:has([name=cone][value='0'])").click()
        shades = (
            builds.nth(7)
            .locator("a")
            .evaluate_all("links => links.map(one => Number(getComputedStyle(one).opacity))")
        )
        assert min(shades) < 0.5 < max(shades) == 1
        page.locator("#network label:has([value=work])").click()
        assert cost.is_visible()
        assert not builds.nth(7).is_visible()
        assert "8.5" in cost.inner_text()
    page = opened(html("h200"))
    link = page.locator("#network figure:visible a").first
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator(link.get_attribute("href") or "")).to_be_visible()


@pytest.mark.parametrize("name", EVILS)
def test_hostile_names_are_text(opened: Open, name: str) -> None:
    page = opened(html(name))
    unfold(page)
    made = page.evaluate(
        """[...document.querySelectorAll("main *")].flatMap(one => [...one.attributes].map(
        attribute => `${one.localName} ${attribute.name}`))"""
    )
    assert {one for one in made if one.split()[1].startswith(("on", "style"))} == set()
    foreign = "img:not([src^='data:image/']), script, style, iframe, form, object, a[href^='http']"
    assert (
        page.locator(f"main :is({foreign})").count() == 0
    )  # a picture as it was fed is in the page
    if name == "evil-markup":
        assert "</script></style></title><script>alert(1)" in page.locator("#verdict").inner_text()
    if name == "evil-reversed":
        assert "[U+202E]" in page.locator("#matrix").inner_text()
    reversing = page.evaluate("/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)")
    assert not reversing


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_legend_of_the_strips_has_the_colours_of_their_bars(opened: Open, theme: str) -> None:
    page = opened(html("h200"), color_scheme=theme)
    fill = "(one) => getComputedStyle(one).fill"
    legend = page.locator("#strips thead .swatch rect")
    told = [one.evaluate(fill) for one in legend.all()]
    assert len(set(told)) == 3
    drawn = {one.evaluate(fill) for one in page.locator("#strips tbody svg.split rect").all()}
    assert drawn == set(told)


def test_what_would_help_has_the_width_of_a_phone_and_charts_are_whole(opened: Open) -> None:
    page = opened(html("h200"), width=390)
    strips = page.locator("#strips").bounding_box()
    cell = page.locator("#strips td.fix").first.bounding_box()
    assert strips
    assert cell
    assert cell["width"] > 0.8 * strips["width"]
    for panel in page.locator("#versions .panel").all():
        assert panel.evaluate("(one) => one.scrollWidth <= one.clientWidth")
        sizes = panel.evaluate(
            "(one) => { const svg = one.querySelector('svg');"
            " const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;"
            " return [...svg.querySelectorAll('text')].map((text) => scale * parseFloat(getComputedStyle(text).fontSize)); }"
        )
        assert min(sizes) >= 12
        ends = panel.evaluate(
            "(one) => { const svg = one.querySelector('svg'), end = svg.getBoundingClientRect();"
            " return [...svg.querySelectorAll('text')].map((text) => text.getBoundingClientRect())"
            "   .filter((text) => text.right > end.right + 0.5 || text.left < end.left - 0.5).length; }"
        )
        assert ends == 0, "no label is cut"


def test_short_lines_of_the_first_screen_are_not_broken(opened: Open) -> None:
    """Beside one number a phone has room for `gate fails in 6 of 28`, and a desk for a layer's whole name."""
    page = opened(html("h200"), width=390)
    for width in (390, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for gate in page.locator("#strips .of.bad").all():
            assert gate.evaluate("(one) => one.offsetHeight") < 24, "one line of 12 px"
    text = page.locator("#fixes pre").first
    lines = text.evaluate(
        "(one) => { const range = document.createRange(), node = one.firstChild, tops = [];"
        ' for (const name of one.textContent.matchAll(/"[^"]+"/g)) {'
        "   range.setStart(node, name.index); range.setEnd(node, name.index + name[0].length);"
        "   tops.push(new Set([...range.getClientRects()].map((rect) => rect.top)).size); }"
        " return tops; }"
    )
    assert lines == [1, 1]
    page.set_viewport_size({"width": 1024, "height": 900})
    table = page.locator("#fixes .scroll")
    assert table.evaluate("(one) => one.scrollWidth <= one.clientWidth"), "what to do is in sight"


def test_a_column_without_content_is_not_there(opened: Open) -> None:
    """What was never divided has no bar: of fp16, of recorded outputs without a table."""
    shown = opened(html("h200"))
    assert shown.locator("#strips thead th").count() == 4
    undivided = opened(html("undivided"))
    assert undivided.locator("#strips thead th").all_inner_texts() == [
        "Head, worst first",
        "Signal kept, at worst",
        "What would help",
    ]
    assert undivided.locator("#strips svg.split").count() == 0
