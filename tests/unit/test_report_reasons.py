"""Why effects are there, as the report shows it: factors, confounded ones, cells to add, lineage."""

from dataclasses import replace
from typing import Any

from tests.unit.judgements import BASELINE, cell_result, head, judgement
from tests.unit.pages import Element, parse
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.network.lineage import Lineage
from trt_matrix.core.verdicts.attribution import Addition, Attribution, FactorChange
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report import frames, html
from trt_matrix.report.reasons import reasons

ENGINE = FactorChange(
    factor="ONNX Runtime", baseline="onnxruntime 1.32.0", cell="onnxruntime 1.26.0"
)
CUDNN = FactorChange(factor="cuDNN", baseline="8.9.7", cell=None)
ALONE = Attribution(factors=(ENGINE,))
SNIPPET = '- {venv: onnxruntime, versions: ["1.32.0"], name: "<b>"}'
CONFOUNDED = Attribution(
    confounded=(ENGINE, CUDNN),
    addition=Addition(yaml=f"{SNIPPET}\n- {{b: c}}", names=("one", "two")),
)
LINEAGE = Lineage(
    bad=("small",), good=("large",), suspects=(), causes=("x",), cells=("c",), sentence="only <it>"
)


def worse(attribution: Attribution | None, *names: str) -> list[Any]:
    return [
        head(
            name,
            verdicts=(
                Verdict(kind=Kind.ENGINE_REGRESSION, cell="c", head=name, attribution=attribution),
            ),
        )
        for name in names
    ]


def told(attribution: Attribution | None = ALONE, **changes: Any) -> Judgement:
    cells = [
        cell_result(BASELINE, heads=[head("small")]),
        cell_result("ort-1.26.0", heads=worse(attribution, "medium", "small")),
    ]
    return judgement(cells, **changes)


def section(of: Judgement) -> Element:
    return parse(html.render(of)).by_id("reasons")


def test_heads_with_one_reason_are_one_row() -> None:
    [row] = reasons(told())
    assert (row.place.environment, row.heads, row.state) == (
        "ort-1.26.0",
        ("medium", "small"),
        "alone",
    )
    assert row.sentence == "ONNX Runtime changed alone."


def test_each_line_to_add_is_there_once() -> None:
    assert told(CONFOUNDED).additions == (SNIPPET, "- {b: c}")
    assert told().additions == ()


def test_the_page_shows_values_and_the_lines_ready_to_paste() -> None:
    found = section(told(CONFOUNDED, lineage=(LINEAGE,)))
    assert "ONNX Runtime and cuDNN changed together; add one and two to tell" in found.text
    assert "cuDNN: 8.9.7 → none" in found.text
    assert "Only <it>" in found.text
    [pre] = found.all("pre")
    assert pre.raw == f"{SNIPPET}\n- {{b: c}}"


def test_without_a_reason_there_is_no_section() -> None:
    page = html.render(told(None))
    assert 'id="reasons"' not in page
    assert "#reasons" not in page


def test_latency_has_a_reason_too() -> None:
    slow = Verdict(kind=Kind.LATENCY_REGRESSION, cell="c", head=None, attribution=ALONE)
    result = cell_result("ort-1.26.0", heads=[head("small")])
    cells = [*told(None).cells[:1], replace(result, verdicts=(slow,))]
    [row] = reasons(judgement(cells))
    assert (row.kind, row.heads) == ("latency_regression", ())
    assert "latency" in section(judgement(cells)).text


def test_the_long_table_names_factors_and_confounded_ones() -> None:
    rows = frames.long_table(told(CONFOUNDED))
    small = [row for row in rows if row["head"] == "small"]
    assert [row["confounded_factors"] for row in small] == [[], ["ONNX Runtime", "cuDNN"]]
    rows = frames.long_table(told(ALONE))
    assert [row["factors"] for row in rows if row["head"] == "small"] == [[], ["ONNX Runtime"]]
