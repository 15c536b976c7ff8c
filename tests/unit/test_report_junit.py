import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judgements import FP32, cell_result, fp32_head, head, judgement, whole
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.verdicts.gates import GateResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.errors import ExitCode
from trt_matrix.judging.outcome import Outcome
from trt_matrix.report.junit import junit

FAILED = GateResult(name="sqnr_db", limit=20.0, value=18.25, passed=False)
HELD = GateResult(name="ap_drop", limit=0.1, value=0.05, passed=True)


def gated(*gates: GateResult, name: str = "small") -> HeadResult:
    return dataclasses.replace(head(name), gates=gates)


def test_every_gate_is_a_test_and_every_broken_cell_is_told() -> None:
    cells = [
        cell_result("a", heads=(gated(FAILED, HELD),)),
        cell_result("a", FP32, heads=(fp32_head("small"),)),
        cell_result("b", status=Status.CRASHED, reason="segmentation fault", log_tail="frame 0"),
        cell_result("c", status=Status.UNAVAILABLE, reason="no NVIDIA driver"),
    ]
    root = ET.fromstring(junit(judgement(cells, heads=("small",), sentences={"small": "Bad."})))
    counts = {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    (failure,) = root.iter("failure")
    assert failure.get("message") == "small: SQNR 18.2 dB, at least 20 dB"
    assert "Bad." in (failure.text or "")
    (error,) = root.iter("error")
    assert (error.get("message"), error.text) == ("crashed: segmentation fault", "frame 0")
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "unavailable: no NVIDIA driver"
    assert [case.get("name") for case in root.iter("testcase")] == [
        "small sqnr_db", "small ap_drop", "runs", "runs", "runs",
    ]  # fmt: skip


def test_what_a_run_fails_for_without_a_gate_is_a_failure_too() -> None:
    verdict = Verdict(kind=Kind.BROKEN_OUTPUT, cell="a", head="small", why="all zero")
    made = judgement(
        [
            cell_result("a", heads=(head("small", gate_sqnr_db=None, verdicts=(verdict,)),)),
            cell_result("b", heads=(gated(HELD),)),
        ],
        heads=("small",),
    )
    assert Outcome(made, Path(), Path(), {}).exit_code(strict=False) is ExitCode.GATE_FAILED
    root = ET.fromstring(junit(made))
    (failure,) = root.iter("failure")
    assert failure.get("message") == "small: a broken output: all zero in a"
    assert root.get("failures") == "1"
    problem = answers(("small",), made.cells, "b", problems={"small": "the reference is all zero"})
    root = ET.fromstring(junit(dataclasses.replace(made, answers=problem)))
    assert [one.get("message") for one in root.iter("failure")] == [
        "small: a broken output: all zero in a",
        "small: the reference's own output",
    ]


def test_suites_add_up_to_the_whole() -> None:
    root = ET.fromstring(junit(whole()))
    for name in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(name) or 0) == sum(int(one.get(name) or 0) for one in root)
    assert int(root.get("tests") or 0) >= len(whole().cells)


@given(st.text())
def test_any_text_gives_xml_that_can_be_read(text: str) -> None:
    cells = [
        cell_result(text, heads=(gated(FAILED, name=text),)),
        cell_result("b", status=Status.CRASHED, reason=text, log_tail=text),
    ]
    made = junit(judgement(cells, heads=(text,), name=text, sentences={text: text}))
    ET.fromstring(made.encode("utf-8"))
