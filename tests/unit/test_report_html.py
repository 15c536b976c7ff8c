"""What the page shows."""

import dataclasses

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
from tests.unit.pages import Element, column_counts, parse, row_of
from trt_matrix.core.cells import Status
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report.html import render


@pytest.fixture(scope="module")
def page() -> Element:
    return parse(render(whole()))


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
    assert (
        "✗ Severe Not known; the largest part of the error is the engine's int8 kernels"
        in cards[2].text
    )
    assert "Gate fails in 11 of 17 int8 cells ort-1.18.1/cpu/int8-shared" in cards[2].text
    assert "Made up of 81 % the engine, 19 % 8 bits" in cards[2].text


def test_of_many_heads_the_worst_are_shown_and_none_that_is_bad_is_hidden() -> None:
    heads = [f"h{n}" for n in range(12)]
    rows = [head(name, 0.1 if n in (3, 7) else 0.001) for n, name in enumerate(heads)]
    page = parse(render(judgement([cell_result(BASELINE, SHARED, rows)], heads=tuple(heads))))
    strips = page.by_id("strips").all("tr")[1:]
    assert len(strips) == 12
    shown = [strip for strip in strips if "shut" not in strip.classes]
    assert len(shown) == 4
    assert {element.all("bdi")[0].text for element in shown[:2]} == {"h3", "h7"}
    bad = [head(name, 0.1) for name in heads]
    page = parse(render(judgement([cell_result(BASELINE, SHARED, bad)], heads=tuple(heads))))
    assert not [element for element in page.by_id("strips").all("tr") if "shut" in element.classes]


def test_every_planned_cell_is_in_the_matrix(page: Element) -> None:
    section = page.by_id("matrix")
    rows = [element for element in section.all("tr") if "data-environment" in element.attributes]
    assert len(rows) == len(VERSIONS) * 4 + len(NGC)
    idle = section.all("tbody")[-1]
    assert "24 cells of 6 environments, unavailable: no NVIDIA driver: install one" in idle.text
    assert "4 passes: fp32, int8-shared-entropy" in idle.text
    crashed = row_of(section, "ort-1.22.1", 3).text
    assert "crashed segmentation fault in stage build" in crashed


def groups_of(section: Element, number: int) -> list[list[str]]:
    """Returns the fields of the rows that stand for several, of the `number`-th pass."""
    return [
        [child.text for child in row.children if isinstance(child, Element)]
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
    results = [
        dataclasses.replace(result, versions={"ONNX Runtime": result.engine_version or ""})
        for result in made.cells
    ]
    stepped = parse(render(dataclasses.replace(made, cells=tuple(results)))).by_id("matrix")
    steps = [element.text for element in stepped.all("tr") if "step" in element.classes]
    assert "Step at ort-1.27.0: large +0.7 dB, medium +4.6 dB, small +7.1 dB" in steps
    assert not steps[0].startswith("Step at ort-1.18"), "the first one is none"


def test_neighbours_are_one_row_only_where_all_that_matters_is_alike() -> None:
    base = head("small", 0.012)
    other = dataclasses.replace(base, passed=not base.passed)
    told = dataclasses.replace(
        base, verdicts=(Verdict(kind=Kind.ENGINE_LOSS, cell="c", head="small"),)
    )
    for result, rows in ((base, 1), (head("small", 0.0122), 0), (other, 0), (told, 0)):
        cells = [cell_result("a", SHARED, [base]), cell_result("b", SHARED, [result])]
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
    rows = [element for element in section.all("tr") if "data-environment" in element.attributes]
    shown = [row.attributes["data-environment"] for row in rows if "shut" not in row.classes]
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
    verdict = Verdict(kind=Kind.ENGINE_REGRESSION, cell="c", head="small", effect=effect)
    undecided = Verdict(
        kind=Kind.INCONCLUSIVE,
        cell="c",
        head="small",
        effect=effect,
        needs="2 more repeats",
        suspected=Kind.ENGINE_LOSS,
    )
    unknown = dataclasses.replace(verdict, effect=dataclasses.replace(effect, known=False))
    verdicts = (verdict, undecided, unknown, Verdict(kind=Kind.OK, cell="c", head="small"))
    result = cell_result(heads=(head("small", verdicts=verdicts),))
    text = render(judgement([result], heads=("small",)))
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
        element.attributes["class"]: float((element.attributes["width"] or "").rstrip("%"))
        for element in old.all("rect")
    }
    assert set(widths) == {"limit", "calibration", "engine"}
    assert widths["engine"] == pytest.approx(widths["limit"] * 9.2 / 2.1, rel=0.001)
    assert "gain" in {element.attributes["class"] for element in new.all("rect")}
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
    assert [element.text for element in row.all("td")[0].all("li")] == [
        "/up2/Resize",
        "/neck/Concat_1",
    ]
    assert "99.7 % 2 layers in float" in row.all("td")[0].text
    assert not [element for element in page.by_id("integers").all("tr") if "FP32" in element.text]


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
    ids = {element.attributes.get("id") for element in document.walk()}
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


def test_a_cell_that_ran_without_a_reference_says_so() -> None:
    document = parse(render(judgement([cell_result(heads=[])])))
    assert "– no reference" in document.by_id("matrix").text
    assert "no reference to compare with" in document.by_id("results").text
