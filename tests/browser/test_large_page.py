"""The matrix of more cells than are told in detail: other boxes, which must look and read as a table."""

from collections import Counter

import hostile
import pytest
from playwright.sync_api import Page
from shown_pages import Open, html

from runner.report.html import render
from tests.unit.judgements import whole

EDGES = """rows => rows.map(row => [...row.cells].map(cell => {
    const { left, right } = cell.getBoundingClientRect();
    return [Math.round(left), Math.round(right), cell.colSpan];
}))"""
IN_VIEW = """() => [...document.querySelectorAll('.matrix tr')].every(
    row => row.checkVisibility({ contentVisibilityAuto: true })
)"""
ROLES = {"table", "row", "rowgroup", "columnheader", "rowheader", "cell", "caption", "gridcell"}
LARGE = {
    "usual": whole(),
    "long": hostile.spoiled(hostile.complete(), hostile.EVIL["long"]),
    "empty": hostile.spoiled(hostile.complete(), ""),
}


def edges(page: Page) -> list[list[tuple[int, int, int]]]:
    return page.locator(".matrix tr").evaluate_all(EDGES)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_columns_stand_under_their_headers(opened: Open, name: str, width: int) -> None:
    page = opened(render(LARGE[name], most_cells=1), width)
    assert page.locator("table.matrix.large").count() == 1
    header, *rows = edges(page)
    assert rows
    spanned = 0
    for row in rows:
        column = 0
        for left, right, span in row:
            assert (left, right) == (header[column][0], header[column + span - 1][1])
            column += span
            spanned += span > 1
        assert column == len(header)
    assert spanned, "groups and what did not run were looked at, too"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def roles(page: Page) -> Counter[str]:
    """Returns what a screen reader is told that the matrix consists of, once it is in view."""
    page.set_viewport_size({"width": 1440, "height": 8000})
    page.locator(".matrix").scroll_into_view_if_needed()
    page.wait_for_function(IN_VIEW)
    session = page.context.new_cdp_session(page)
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": "table.matrix"})
    found = session.send("Accessibility.queryAXTree", node)["nodes"]
    return Counter(one["role"]["value"] for one in found if one["role"]["value"] in ROLES)


def test_it_reads_as_the_same_table(opened: Open) -> None:
    usual = roles(opened(html("ordinary")))
    assert roles(opened(render(whole(), most_cells=1))) == usual
    assert usual["row"] > 10
    assert usual["table"] == 1


def test_on_paper_it_is_a_table_with_its_header_on_each_page(opened: Open) -> None:
    page = opened(render(whole(), most_cells=1))
    shown = "one => getComputedStyle(one).display"
    assert page.locator(".matrix tbody").first.evaluate(shown) == "block"
    page.emulate_media(media="print")
    assert page.locator(".matrix thead").evaluate(shown) == "table-header-group"
    assert page.locator(".matrix tbody").first.evaluate(shown) == "table-row-group"


def test_usual_sizes_are_ordinary_tables(opened: Open) -> None:
    assert opened(html("ordinary")).locator(".large").count() == 0
