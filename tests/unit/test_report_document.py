"""The page as a document: regular, inert, the same bytes each time, whole for programs; nothing foreign becomes markup."""

import base64
import dataclasses
import hashlib
import json
import math
import re
from typing import Any

import pytest

from tests.unit.judgements import (
    BASELINE,
    FP32,
    NGC,
    OWN,
    SHARED,
    VERSIONS,
    cell_result,
    head,
    judgement,
    whole,
)
from tests.unit.pages import Element, assert_inert, column_counts, parse, row_of
from trt_matrix.core.cells import Status
from trt_matrix.report.facts import data
from trt_matrix.report.html import embedded, render


@pytest.fixture(scope="module")
def page() -> Element:
    return parse(render(whole()))


# Structure


def test_tables_are_regular_and_labelled(page: Element) -> None:
    tables = page.all("table")
    places = len(VERSIONS) + len(NGC)
    facts = 1 + 1  # those that all environments share, and the run's
    first = 3  # strips, matrix, questions
    assert len(tables) == first + 1 + 3 + 1 + 1 + 3 + 1 + places + facts
    for table in tables:
        assert len(column_counts(table)) == 1
        assert table.all("caption")[0].text
        assert all(element.attributes.get("scope") for element in table.all("th"))


def test_references_inside_the_page_resolve(page: Element) -> None:
    ids = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.walk():
        target = element.attributes.get("href") or ""
        assert target == "" or (target.startswith("#") and target[1:] in ids)
        assert set((element.attributes.get("aria-labelledby") or "").split()) <= set(ids)


def test_the_page_is_inert_and_its_policy_forbids_all_else(page: Element) -> None:
    assert_inert(page)
    policy = next(
        element.attributes["content"]
        for element in page.all("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = page.all("style")[0].raw
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    first, _, own = page.all("script")
    scripts = [
        base64.b64encode(hashlib.sha256(element.raw.encode()).digest()).decode()
        for element in (first, own)
    ]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        f"script-src 'sha256-{scripts[0]}' 'sha256-{scripts[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"@import|https?:|url\((?!#(?:hatch|p-table|p-float)\))", style)


def test_no_address_is_in_the_page() -> None:
    assert "://" not in render(whole())


def test_the_same_judgement_gives_the_same_bytes() -> None:
    assert render(whole()) == render(whole())


# The embedded data


def test_the_embedded_data_is_the_judgement(page: Element) -> None:
    read = json.loads(page.by_id("judgement").raw)
    made = whole()
    assert read == json.loads(json.dumps(data(made)))
    assert [cell["id"] for cell in read["cells"]] == [result.cell.id for result in made.cells]
    cell = read["cells"][1]
    assert cell["cell"]["pass"] == {
        "precision": "int8",
        "source": "shared",
        "algorithm": "entropy",
        "implicit": False,
        "per_tensor": False,
        "mixed": False,
    }
    results = rows_of_data(read)
    one = results[cell["id"], "small"]
    assert one["error.nmse"] == pytest.approx(made.cells[1].heads[2].error.nmse, rel=1e-5)
    assert one["output"] == results["ort-1.22.1/cpu/int8-shared-entropy", "small"]["output"]
    assert one["output"] != results["ort-1.30.0/cpu/int8-shared-entropy", "small"]["output"]
    assert len(read["cell_facts"]) == len(VERSIONS)
    assert read["cell_facts"][cell["facts"]]["probed"]["engine"]["version"] == "1.18.1"
    assert "processor" in read["common_facts"]["probed"], "said once"
    assert "facts" not in read["cells"][-1]


def rows_of_data(read: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns (cell, head) → its row of the embedded results."""
    columns = read["results"]["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in read["results"]["rows"]]
    return {(row["cell"], row["head"]): row for row in rows}


def test_a_large_matrix_is_whole_and_tells_the_rest_of_a_part() -> None:
    document = parse(render(whole(), most_cells=9))
    matrix, budget = document.by_id("matrix"), document.by_id("budget")
    for version in VERSIONS:
        assert f"ort-{version}" in matrix.text
    assert f"Below 9 of {len(whole().cells)} cells are told in detail" in document.text
    assert "of 9 cells, the others are in the matrix" in document.by_id("details").text
    assert BASELINE in budget.text, "what all is compared with stays"
    assert "segmentation fault" in document.by_id("cells").text, "and what broke"
    assert "ort-1.30.0" not in budget.text
    read = json.loads(document.by_id("judgement").raw)
    assert len(read["cells"]) == len(whole().cells)
    assert read["left_out"] == [f"details of {len(whole().cells) - 9} cells"]
    assert all(set(cell) == {"id", "status"} for cell in read["cells"] if "repeats" not in cell)


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a & b", "it's", "\u2028", "\ud800"])
def test_embedded_json_is_inert_and_reads_back(text: str) -> None:
    shown = str(embedded({"key": [text]}))
    assert not set(shown) & set("<>&'\u2028\ud800")
    assert json.loads(shown) == {"key": [text]}


# Hostile and degenerate input

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style></title></pre></table>--><b>",
    "\"'><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% include 'x' %}",
    "\u202egpj.exe\u2066",
    "a\x00b\x1b[31m\r\n\ud800\ufffe",
    "name\nwith\tspace  ",
    "x" * 10_000,
    "&lt;b&gt;&amp;",
    "",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_foreign_text_stays_text_everywhere(text: str) -> None:
    facts = {text or "empty": [text, {text: text}], "list": [text, text]}
    good = head(text, float_layers=(text, text), identical_to=(text, text))
    cells = [
        cell_result(text, SHARED, [good], device=text, version=text, facts=facts),
        cell_result(text, dataclasses.replace(OWN, algorithm=text), [good], device=text),
        cell_result(text, FP32, device="other", status=Status.CRASHED, reason=text, log_tail=text),
        cell_result("idle", FP32, device=text, status=Status.UNAVAILABLE, reason=text),
    ]
    made = judgement(
        cells,
        heads=(text,),
        name=text,
        run_id=text,
        created=text,
        baseline=text,
        sentences={text: text},
        facts=facts,
    )
    shown = render(made)
    document = parse(shown)
    assert_inert(document)
    assert shown.encode()
    assert all(len(column_counts(table)) == 1 for table in document.all("table"))
    assert json.loads(document.by_id("judgement").raw).get("name", "") == text
    visible = document.by_id("verdict").raw
    if 0 < len(text) < 40 and text.isascii() and text.isprintable():
        assert text in visible
    assert not set(visible) & set("\x00\x1b\u202e\u2066\ud800")


def test_long_names_are_cut_in_the_tables_and_whole_in_the_data() -> None:
    long = f"start-{'x' * 10_000}-end"
    shown = render(judgement([cell_result(long, heads=[head()])], heads=("small",)))
    before, _, after = shown.partition('<script type="application/json"')
    assert long not in before
    assert "start-" in before
    assert "x-end" in before
    assert long in after


def test_a_budget_that_overflowed_is_not_drawn() -> None:
    good = head(nmse=0.012)
    assert good.budget
    bad = dataclasses.replace(
        good, budget=dataclasses.replace(good.budget, observed=math.inf, calibration=math.nan)
    )
    document = parse(
        render(
            judgement([cell_result(heads=[good]), cell_result("b", heads=[bad])], heads=("small",))
        )
    )
    assert "no finite error" in row_of(document.by_id("budget"), "b").text
    read = rows_of_data(json.loads(document.by_id("judgement").raw))
    assert read["b/cpu/int8-shared-entropy", "small"]["budget.observed"] is None
