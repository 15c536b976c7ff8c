"""The page: what it shows, what it must never do, and that nothing foreign becomes markup."""

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
    HEADS,
    NGC,
    OWN,
    SHARED,
    VERSIONS,
    cell_result,
    head,
    judgement,
    whole,
)
from tests.unit.pages import Element, assert_inert, column_counts, parse
from trt_matrix.core.cells import Status
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report.facts import data
from trt_matrix.report.html import embedded, render


@pytest.fixture(scope="module")
def page() -> Element:
    return parse(render(whole()))


def row_of(section: Element, environment: str, number: int = 0) -> Element:
    """Returns the environment's `number`-th row of a section."""
    rows = [
        row
        for row in section.all("tr")
        if row.all("th") and row.all("th")[0].text.split()[:1] == [environment]
    ]
    return rows[number]


# What it shows


def test_each_head_has_its_sentence_and_its_state_in_words(page: Element) -> None:
    made = whole()
    assert "[severe]" in page.by_id("as-text").text
    assert (
        page.by_id("verdict").all("h1")[0].text.startswith("INT8 leaves small at 19.5 dB (gate 20)")
    )
    cards = page.by_id("cards").all("article")
    assert [card.all("h4")[0].text for card in cards] == ["whole network", *HEADS]
    assert "✗ Severe ort-1.22.1 crashed" in cards[0].text
    cards = cards[1:]
    for card, name in zip(cards, HEADS, strict=True):
        assert made.sentences[name] in card.text
    assert "Gate holds in all 17 int8 cells" in cards[0].text
    assert "crashed" not in cards[2].text, "the first card says it"
    assert "✗ Severe Not known; most of the error is the engine's int8 kernels" in cards[2].text
    assert "Gate fails in 11 of 17 int8 cells ort-1.18.1/cpu/int8-shared" in cards[2].text
    assert "Made up of 81 % the engine, 19 % 8 bits" in cards[2].text


def test_of_many_heads_the_worst_are_shown_and_none_that_is_bad_is_hidden() -> None:
    heads = [f"h{n}" for n in range(12)]
    rows = [head(name, 0.1 if n in (3, 7) else 0.001) for n, name in enumerate(heads)]
    page = parse(render(judgement([cell_result(BASELINE, SHARED, rows)], heads=tuple(heads))))
    strips = page.by_id("strips").all("tr")[1:]
    assert len(strips) == 12
    shown = [one for one in strips if "shut" not in one.classes]
    assert len(shown) == 4
    assert {one.all("bdi")[0].text for one in shown[:2]} == {"h3", "h7"}
    bad = [head(name, 0.1) for name in heads]
    page = parse(render(judgement([cell_result(BASELINE, SHARED, bad)], heads=tuple(heads))))
    assert not [one for one in page.by_id("strips").all("tr") if "shut" in one.classes]


def test_every_planned_cell_is_in_the_matrix(page: Element) -> None:
    section = page.by_id("matrix")
    rows = [one for one in section.all("tr") if "data-environment" in one.attributes]
    assert len(rows) == len(VERSIONS) * 4 + len(NGC)
    idle = section.all("tbody")[-1]
    assert "24 cells of 6 environments, unavailable: no NVIDIA driver: install one" in idle.text
    assert "4 passes: fp32, int8-shared-entropy" in idle.text
    crashed = row_of(section, "ort-1.22.1", 3).text
    assert "crashed segmentation fault in stage build" in crashed


def groups_of(section: Element, number: int) -> list[list[str]]:
    """Returns the fields of the rows that stand for several, of the `number`-th pass."""
    return [
        [one.text for one in row.children if isinstance(one, Element)]
        for row in section.all("tbody")[number].all("tr")
        if "alike" in row.classes
    ]


def test_versions_that_do_the_same_are_one_row_and_a_step_is_told(page: Element) -> None:
    section = page.by_id("matrix")
    names = [row[0] for row in groups_of(section, 1)]
    assert names == [
        "Aort-1.18.1 to ort-1.26.0same to 0.1 dB",
        "Bort-1.27.0 to ort-1.32.0same bytes",
    ]
    made = whole()
    found = [
        dataclasses.replace(one, versions={"ONNX Runtime": one.engine_version or ""})
        for one in made.cells
    ]
    stepped = parse(render(dataclasses.replace(made, cells=tuple(found)))).by_id("matrix")
    steps = [one.text for one in stepped.all("tr") if "step" in one.classes]
    assert "Step at ort-1.27.0: large +0.7 dB, medium +4.6 dB, small +7.1 dB" in steps
    assert not steps[0].startswith("Step at ort-1.18"), "the first one is none"


def test_neighbours_are_one_row_only_where_all_that_matters_is_alike() -> None:
    base = head("small", 0.012)
    other = dataclasses.replace(base, passed=not base.passed)
    told = dataclasses.replace(
        base, verdicts=(Verdict(kind=Kind.ENGINE_LOSS, cell="c", head="small"),)
    )
    for one, rows in ((base, 1), (head("small", 0.0122), 0), (other, 0), (told, 0)):
        cells = [cell_result("a", SHARED, [base]), cell_result("b", SHARED, [one])]
        section = parse(render(judgement(cells, heads=("small",)))).by_id("matrix")
        assert len(groups_of(section, 0)) == rows
    crashed = cell_result("b", SHARED, status=Status.CRASHED)
    section = parse(
        render(judgement([cell_result("a", SHARED, [base]), crashed], heads=("small",)))
    ).by_id("matrix")
    assert groups_of(section, 0) == []


def test_of_many_unlike_versions_the_worst_and_the_newest_are_shown() -> None:
    cells = [cell_result(f"v{n}", SHARED, [head("small", 0.01 * 1.1**n)]) for n in range(40)]
    section = parse(render(judgement(cells, heads=("small",), baseline="v20"))).by_id("matrix")
    rows = [one for one in section.all("tr") if "data-environment" in one.attributes]
    shown = [one.attributes["data-environment"] for one in rows if "shut" not in one.classes]
    assert shown == ["v20", *(f"v{n}" for n in range(32, 40))]
    assert len(rows) == 40


def test_a_field_shows_what_is_left_and_what_is_missing(page: Element) -> None:
    section = page.by_id("matrix")
    old = row_of(section, "ort-1.26.0", 1).all("td")
    (link,) = old[2].all("a")
    assert link.text == "19.3 −7.5"
    assert "fail" in link.classes
    assert "h4" in old[2].classes
    title = link.attributes["title"] or ""
    assert "✗ SQNR 19.3 dB, at least 20 dB; 99.7 % integer" in title.replace("\u202f", " ")
    assert "−7.1 dB to the baseline" in title
    words = row_of(page.by_id("results"), "ort-1.26.0", 1).all("td")[2].text
    assert words.startswith("19.3 dB ✗ SQNR 19.3 dB, at least 20 dB · 99.7 % integer")
    assert "= ort-1.18.1 + 1 more" in words
    new = row_of(section, "ort-1.30.0", 1).all("td")
    assert new[3].text.replace("\u202f", " ") == "5.10 ms 0.40× fp32"
    exact = row_of(section, "ort-1.18.1", 0).all("td")[0]
    assert exact.text == "exact"
    assert "baseline" in row_of(section, BASELINE, 1).all("th")[0].text


def test_verdicts_are_told_in_words_with_their_size_and_sureness() -> None:
    effect = Effect(log=1.4, low=1.2, high=1.6, p=0.0, builds=5)
    told = Verdict(kind=Kind.ENGINE_REGRESSION, cell="c", head="small", effect=effect)
    undecided = Verdict(
        kind=Kind.INCONCLUSIVE,
        cell="c",
        head="small",
        effect=effect,
        needs="2 more repeats",
        suspected=Kind.ENGINE_LOSS,
    )
    unknown = dataclasses.replace(told, effect=dataclasses.replace(effect, known=False))
    verdicts = (told, undecided, unknown, Verdict(kind=Kind.OK, cell="c", head="small"))
    one = cell_result(heads=(head("small", verdicts=verdicts),))
    text = render(judgement([one], heads=("small",)))
    assert "engine regression</span> +6.1 dB (5.2 to 6.9)" in text
    assert (
        "inconclusive</span> perhaps engine loss +6.1 dB (5.2 to 6.9); 2 more repeats would decide"
    ) in text
    assert "engine regression</span> +6.1 dB, noise unknown" in text
    assert 'tag bad">ok<' not in text


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (None, ""),
        (-0.2, "no worse than the baseline"),
        (0.31, "at most 0.4 dB worse"),
        (4.2, "up to 4.2 dB would not have been seen"),
    ],
)
def test_ok_says_what_would_not_have_been_seen(bound: float | None, words: str) -> None:
    fine = Verdict(kind=Kind.OK, cell="c", head="small", bound_db=bound)
    section = parse(
        render(judgement([cell_result(heads=(head("small", verdicts=(fine,)),))], heads=("small",)))
    ).by_id("results")
    text = row_of(section, BASELINE).text
    assert words in text
    assert ("dB worse" in text or "not have been" in text or "no worse" in text) == bool(words)


def test_the_budget_has_a_bar_and_its_numbers_in_every_row(page: Element) -> None:
    small = page.by_id("budget").all("table")[2]
    assert "small: parts of the observed error, NMSE × 10⁻³ · gate 20.0 dB = 10.00" in small.text
    old, new = row_of(small, "ort-1.26.0"), row_of(small, BASELINE)
    assert [cell.text for cell in old.all("td")[1:]] == ["11.80", "2.10", "+0.50", "+9.20", "0.30"]
    assert [cell.text for cell in new.all("td")[1:]] == ["2.30", "2.10", "+0.50", "−0.30", "0.30"]
    widths = {
        one.attributes["class"]: float(one.attributes["width"].rstrip("%"))
        for one in old.all("rect")
    }
    assert set(widths) == {"limit", "calibration", "engine"}
    assert widths["engine"] == pytest.approx(widths["limit"] * 9.2 / 2.1, rel=0.001)
    assert "gain" in {one.attributes["class"] for one in new.all("rect")}
    assert row_of(small, "ort-1.22.1", 2).all("td")[0].text == "crashed"


def test_the_latency_table_has_intervals_and_ratios(page: Element) -> None:
    section = page.by_id("latency")
    fast = [cell.text for cell in row_of(section, "ort-1.26.0", 1).all("td")]
    assert fast[1:] == [
        "6.94 ms",
        "6.83 ms to 7.07 ms",
        "7.63 ms",
        "9.09 ms",
        "1.35×",
        "0.56×",
        "1",
        "240",
    ]
    assert row_of(section, "ort-1.30.0", 1).all("td")[5].text == "0.99× overlap"
    assert row_of(section, BASELINE, 1).all("td")[5].text == "is baseline"
    assert "reused" in row_of(section, "ort-1.18.1").text


def test_float_layers_are_named(page: Element) -> None:
    row = row_of(page.by_id("integers"), "ort-1.26.0")
    assert [one.text for one in row.all("td")[0].all("li")] == ["/up2/Resize", "/neck/Concat_1"]
    assert "99.7 % 2 layers in float" in row.all("td")[0].text
    assert not [one for one in page.by_id("integers").all("tr") if "FP32" in one.text]


def test_facts_are_told_once_and_the_log_of_the_crash_stands_with_its_cell(page: Element) -> None:
    section = page.by_id("cells")
    assert section.text.count("probed › processor › flags") == 1, "all environments share it"
    assert section.text.count("stated › packages › onnxruntime") == len(VERSIONS)
    (log,) = section.all("pre")
    assert log.raw.endswith("Segmentation fault (core dumped)")
    assert "\x1b" not in log.raw
    assert "[31m" not in log.raw
    assert "reference › optimisation" in page.by_id("provenance").text


def test_a_lone_version_number_is_not_said_twice(page: Element) -> None:
    assert "version" not in row_of(page.by_id("matrix"), "ort-1.32.0").text
    other = render(judgement([cell_result("mine", heads=[head()], version="10.3")]))
    assert "version 10.3" in row_of(parse(other).by_id("matrix"), "mine").text


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
        assert all(one.attributes.get("scope") for one in table.all("th"))


def test_references_inside_the_page_resolve(page: Element) -> None:
    ids = [one.attributes["id"] for one in page.walk() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for one in page.walk():
        target = one.attributes.get("href") or ""
        assert target == "" or (target.startswith("#") and target[1:] in ids)
        assert set((one.attributes.get("aria-labelledby") or "").split()) <= set(ids)


def test_the_page_is_inert_and_its_policy_forbids_all_else(page: Element) -> None:
    assert_inert(page)
    policy = next(
        one.attributes["content"]
        for one in page.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = page.all("style")[0].raw
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    first, _, own = page.all("script")
    scripts = [
        base64.b64encode(hashlib.sha256(one.raw.encode()).digest()).decode() for one in (first, own)
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
    assert [cell["id"] for cell in read["cells"]] == [one.cell.id for one in made.cells]
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
    assert all(set(one) == {"id", "status"} for one in read["cells"] if "repeats" not in one)


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


def test_forty_versions_with_missing_cells() -> None:
    names = [f"ort-1.{minor}.0" for minor in range(40)]
    cells = [
        cell_result(name, pass_, [head("small", 0.01), head("large", 0.002)])
        for index, name in enumerate(names)
        for pass_ in (FP32, SHARED, OWN)
        if index % 3 or pass_ is not OWN
    ]
    document = parse(render(judgement(cells, heads=("large", "small"), baseline=names[-1])))
    assert all(len(column_counts(table)) == 1 for table in document.all("table"))
    groups = [
        [
            row.attributes.get("data-environment")
            for row in group.all("tr")
            if "data-environment" in row.attributes
        ]
        for group in document.by_id("matrix").all("tbody")
    ]
    assert [len(group) for group in groups] == [40, 40, 26]
    assert groups[0] == names


def test_a_matrix_where_nothing_ran() -> None:
    cells = [
        cell_result(f"ngc-{tag}", pass_, status=Status.UNAVAILABLE, reason="no NVIDIA driver")
        for tag in NGC
        for pass_ in (FP32, SHARED)
    ]
    document = parse(render(judgement(cells)))
    assert "Gate nothing measured that has one" in document.by_id("cards").text
    assert "Nothing ran: no NVIDIA driver." in document.by_id("verdict").text
    ids = {one.attributes.get("id") for one in document.walk()}
    assert not ids & {"budget", "latency", "versions", "fixes", "images", "metrics"}, (
        "nothing in them"
    )
    assert "12 cells planned: 12 unavailable" in document.text


@pytest.mark.parametrize("heads", [(), HEADS])
def test_an_empty_plan_is_a_page_all_the_same(heads: tuple[str, ...]) -> None:
    document = parse(render(judgement([], heads=heads, facts={})))
    assert "0 cells planned" in document.text


def test_no_gate_is_not_a_passed_gate() -> None:
    document = parse(
        render(judgement([cell_result(heads=[head(gate_sqnr_db=None)])], heads=("small",)))
    )
    assert "Gate none set" in document.by_id("cards").text
    assert "say how outputs become boxes" in document.by_id("verdict").text
    assert "✓" not in document.by_id("verdict").text + document.by_id("matrix").text


def test_values_that_are_not_finite_are_counted_in_words() -> None:
    bad = head(nmse=None, nonfinite=1234)
    document = parse(render(judgement([cell_result(heads=[bad])], heads=("small",))))
    assert "NaN 1,234 values" in row_of(document.by_id("matrix"), BASELINE).text
    shown = row_of(document.by_id("results"), BASELINE).text
    assert "undefined" in shown
    assert "! 1,234 values NaN or infinite" in shown


def test_only_int8_has_an_integer_share_to_speak_of() -> None:
    cells = [cell_result("a", pass_, [head(share=0.0)]) for pass_ in (FP32, SHARED)]
    section = parse(render(judgement(cells, heads=("small",)))).by_id("results")
    assert "integer" not in row_of(section, "a", 0).text
    assert "0 % integer" in row_of(section, "a", 1).text


def test_a_budget_that_overflowed_is_not_drawn() -> None:
    good = head(nmse=0.012)
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


def test_a_cell_that_ran_without_a_reference_says_so() -> None:
    document = parse(render(judgement([cell_result(heads=[])])))
    assert "– no reference" in document.by_id("matrix").text
    assert "no reference to compare with" in document.by_id("results").text
