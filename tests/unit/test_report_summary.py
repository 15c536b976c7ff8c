import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judgements import SHARED, cell_result, head, judgement, whole
from trt_matrix.core.cells import Status
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report.summary import summary


def test_it_says_what_failed_and_why() -> None:
    effect = Effect(log=0.7, low=0.6, high=0.8, p=0.0, builds=0)
    verdict = Verdict(kind=Kind.CALIBRATION_PROBLEM, cell="c", head="small", effect=effect)
    bad = dataclasses.replace(head("small", 0.02, verdicts=(verdict,)), passed=False)
    slow = Verdict(kind=Kind.LATENCY_REGRESSION, cell="c", head=None)
    cells = [
        dataclasses.replace(cell_result("a", SHARED, heads=(bad,)), verdicts=(slow,)),
        cell_result("b", status=Status.CRASHED, reason="segmentation fault"),
    ]
    text = summary(
        judgement(
            cells, heads=("small",), sentences={"small": "The table is bad."},
            latency_sentence="a is slower.",
        )
    )  # fmt: skip
    assert "**Failed without a gate: b crashed.**" in text
    assert (
        "- **small** (severe): **The calibration's (the shared entropy table).** Calibrate" in text
    )
    assert "The shared entropy table costs 3.0 dB more than the best" in text
    assert "Of the error in a/cpu/int8-shared-entropy: 60 % the engine, 30 % 8 bits" in text
    network = text.index("- **whole network** (severe): **B crashed.**")
    assert network < text.index("- **small**")
    assert "| **17.0** |" in text
    assert "calibration problem (small); latency regression |" in text
    assert "- b/cpu/int8-shared-entropy: crashed, segmentation fault" in text
    assert "**Latency**: a is slower." in text


def test_every_measured_cell_has_a_row_of_equal_width() -> None:
    lines = summary(whole()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + sum(cell.status is Status.OK for cell in whole().cells)
    assert len({row.count("|") for row in rows}) == 1
    assert any("24 cells" in line and "no NVIDIA driver" in line for line in lines)


@given(st.text(max_size=300))
def test_no_name_becomes_markup_or_a_line(text: str) -> None:
    plain = summary(judgement([cell_result("a", heads=(head("h"),))], heads=("h",)))
    made = summary(
        judgement(
            [cell_result(text, heads=(head(text),))], heads=(text,), sentences={text: text},
            baseline=text,
        )
    )  # fmt: skip
    assert made.count("\n") == plain.count("\n")
    _, _, row = [line for line in made.splitlines() if line.startswith("| ")]  # header, rule, row
    assert row.replace("\\|", "").count("|") == 7
    assert "<" not in made.replace("\\<", "")
