"""Tables that are copied out of the page."""

import csv
import io
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.shown_pages import EVILS, Open, html
from tests.unit.judgements import SHARED, cell_result, head, judgement
from trt_matrix.core.cells import Status
from trt_matrix.report.html import render


def copied(page: Page, form: str, table: str) -> str:
    """Clicks the button and returns what came to the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(f"{table} .copy button", has_text=form).first.click()
    expect(page.locator("#said")).to_have_text(f"Copied as {form}.")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def table_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_the_matrix_as_csv_has_numbers_and_units(page: Page) -> None:
    header, *rows = table_of(copied(page, "CSV", "#matrix"))
    assert header == [
        "Pass", "Environment", "large [dB]", "medium [dB]", "small [dB]", "Time [s]",
    ]  # fmt: skip
    row = next(row for row in rows if row[0].startswith("INT8, shared") and "1.26.0" in row[1])
    assert float(row[4]) == pytest.approx(19.281, abs=0.01)
    assert float(row[-1]) < 0.1
    assert rows[0][2] == "exact"


def test_other_tables_as_csv_have_numbers_and_units(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    header, row, *_ = table_of(copied(page, "CSV", "#budget"))
    units = " [NMSE × 10⁻³]"
    assert header[2:] == [f"{one}{units}" for one in ("observed", "limit", "calibration", "engine", "± noise")]  # fmt: skip
    assert [float(one) for one in row[2:]] == pytest.approx([1.4, 1.1, 0.2, 0.1, 0.02])
    header, row, *_ = table_of(copied(page, "CSV", "#latency"))
    median = header.index("median [s]")
    assert float(row[median]) == 0.0121
    assert row[header.index("to baseline")] == "0.95"
    assert "Chart" not in header
    rows = table_of(copied(page, "CSV", "#metrics"))
    assert {row[rows[0].index("elements")] for row in rows[1:]} == {"2000000"}
    nmse = [float(row[rows[0].index("NMSE")]) for row in rows[1:]]
    assert min(nmse) == 0
    assert max(nmse) > 1e-3


def test_a_table_as_markdown_is_a_table(page: Page) -> None:
    page.get_by_role("searchbox", name="Filter").fill("1.26")
    lines = copied(page, "Markdown", "#matrix").splitlines()
    assert lines[1].replace(" ", "") == "|" + "---|" * 6
    assert len(lines) == 2 + 4, "what is filtered out stays out"
    assert all(line.count(" | ") == 5 for line in lines)


def test_copied_text_is_no_formula_and_no_markup(opened: Open) -> None:
    evil = '=HYPERLINK("http://x")|a,b'
    crashed = cell_result("b", SHARED, status=Status.CRASHED, reason="-1+1|cmd")
    page = opened(
        render(judgement([cell_result(evil, SHARED, [head()]), crashed], heads=("small",)))
    )
    rows = table_of(copied(page, "CSV", "#matrix"))
    assert any(row[1].startswith("'=HYPERLINK") for row in rows)
    assert not [text for row in rows for text in row if text.startswith(("=", "-1+"))]
    assert "\\|a,b" in copied(page, "Markdown", "#matrix")


@pytest.mark.parametrize("name", ["h200", "complete", *EVILS])
def test_every_table_can_be_copied_and_comes_out_regular(opened: Open, name: str) -> None:
    page = opened(html(name))
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tables = page.locator("main table").count()
    assert page.locator(".copy").count() == tables > 5, "the copies of the first screen apart"
    texts = page.evaluate(
        """async () => {
            const copied = [];
            navigator.clipboard.writeText = async text => { copied.push(text); };
            for (const one of document.querySelectorAll(".copy button")) one.click();
            await new Promise(requestAnimationFrame);
            return copied;
        }"""
    )
    assert len(texts) == 2 * tables
    for text in texts[0::2]:
        lines = text.splitlines()
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}) == 1
        assert len(lines) > 2
        assert not re.search(r"(?<!\\)[<`\[]", text), "neither markup, code nor links"
    for text in texts[1::2]:
        rows = table_of(text)
        assert len({len(row) for row in rows}) == 1
        for one in (one for row in rows for one in row):
            assert not one.startswith(("=", "@", "\t")), one[:80]
            assert not one.startswith(("+", "-")) or float(one) is not None


def test_every_copy_button_can_be_clicked(opened: Open) -> None:
    """Nothing lies over it: playwright's click waits until the button itself would get the event."""
    page = opened(html("complete"))
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    buttons = page.locator(".copy button").all()
    assert len(buttons) > 4
    for button in buttons:
        button.click(trial=True, timeout=5000)


def test_a_page_that_may_not_use_the_clipboard_copies_the_old_way(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read"])
    page.evaluate("navigator.clipboard.writeText = undefined")
    button = page.locator("#matrix .copy button", has_text="CSV")
    button.click()
    expect(page.locator("#said")).to_have_text("Copied as CSV.")
    assert page.evaluate("navigator.clipboard.readText()").startswith("Pass,Environment,")
    expect(button).to_be_focused()
    assert page.locator("textarea").count() == 0
    page.evaluate("document.execCommand = () => false")
    button.click()
    expect(page.locator("#said")).to_have_text(re.compile("^Not copied: the browser does not let"))
