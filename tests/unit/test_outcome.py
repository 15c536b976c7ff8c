"""What a run tells at its end, and what a plan tells before."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.judgements import FP32, SHARED, cell_result, fp32_head, head, judgement
from trt_matrix.commands.plan import Planned
from trt_matrix.core.cells import Cell, Status
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.errors import ExitCode
from trt_matrix.judging.outcome import Outcome

GOOD = cell_result("ort-1", SHARED, heads=(head("small", nmse=0.001),))
BAD = cell_result("ort-2", SHARED, heads=(head("small", nmse=0.3),))
GONE = cell_result("ngc", FP32, status=Status.UNAVAILABLE, reason="no NVIDIA driver")
CRASHED = cell_result("ort-3", FP32, status=Status.CRASHED, reason="ended by SIGSEGV")
FAILED = cell_result("ort-4", FP32, status=Status.JOB_FAILED, reason="build: no memory")
SLOW = cell_result("ort-5", FP32, status=Status.TIMED_OUT, reason="ran for 60 s")
UNSUPPORTED = cell_result("old", SHARED, status=Status.UNSUPPORTED, reason="no int8")
NAN = Verdict(
    kind=Kind.BROKEN_OUTPUT, cell="ort-6/cpu/fp32", head="small", why="NaN or infinite in 2 images"
)
BROKEN = cell_result("ort-6", FP32, heads=(replace(fp32_head("small"), verdicts=(NAN,)),))
"""No gate is set for fp32."""


def outcome(*cells: object) -> Outcome:
    made: Judgement = judgement(list(cells), heads=("small",))  # type: ignore[arg-type]
    return Outcome(made, Path("results/run"), Path("results/latest/report.html"), {"wall": 12.3})


@pytest.mark.parametrize(
    ("cells", "plain", "strict"),
    [
        ([GOOD], ExitCode.OK, ExitCode.OK),
        ([BAD], ExitCode.GATE_FAILED, ExitCode.GATE_FAILED),
        ([GOOD, GONE], ExitCode.OK, ExitCode.COULD_NOT_RUN),
        ([GOOD, CRASHED], ExitCode.COULD_NOT_RUN, ExitCode.COULD_NOT_RUN),
        ([GOOD, FAILED], ExitCode.COULD_NOT_RUN, ExitCode.COULD_NOT_RUN),
        ([GOOD, SLOW], ExitCode.COULD_NOT_RUN, ExitCode.COULD_NOT_RUN),
        ([GOOD, UNSUPPORTED], ExitCode.OK, ExitCode.COULD_NOT_RUN),
        ([BAD, CRASHED], ExitCode.GATE_FAILED, ExitCode.COULD_NOT_RUN),
        ([BROKEN], ExitCode.GATE_FAILED, ExitCode.GATE_FAILED),
        ([BROKEN, CRASHED], ExitCode.GATE_FAILED, ExitCode.COULD_NOT_RUN),
        ([BAD, GONE], ExitCode.GATE_FAILED, ExitCode.COULD_NOT_RUN),
        ([GONE], ExitCode.COULD_NOT_RUN, ExitCode.COULD_NOT_RUN),
    ],
)
def test_exit_codes(cells: list[object], plain: ExitCode, strict: ExitCode) -> None:
    assert outcome(*cells).exit_code(strict=False) is plain
    assert outcome(*cells).exit_code(strict=True) is strict


def test_failures_are_named_and_equal_reasons_counted() -> None:
    gone = cell_result("ngc", SHARED, status=Status.UNAVAILABLE, reason="no NVIDIA driver")
    lines = outcome(GOOD, BAD, GONE, gone, CRASHED).text().splitlines()
    assert "2 cells unavailable: no NVIDIA driver" in lines
    assert "ort-3/cpu/fp32 crashed: ended by SIGSEGV" in lines
    assert "gate failed: ort-2/cpu/int8-shared-entropy small" in lines
    assert "2 of 5 cells ok (0 known before), 12.3 s" in lines
    assert lines[-1] == "report: results/latest/report.html"


def test_the_summary_is_json_and_holds_every_cell() -> None:
    summary = json.loads(json.dumps(outcome(GOOD, CRASHED).summary(), allow_nan=False))
    assert [cell["id"] for cell in summary["cells"]] == [GOOD.cell.id, CRASHED.cell.id]
    assert [cell["status"] for cell in summary["cells"]] == ["ok", "crashed"]
    assert summary["cells"][1]["reason"] == "ended by SIGSEGV"


def planned() -> Planned:
    cells = [
        Cell(environment="known", device="cpu", pass_=FP32),
        Cell(environment="half", device="cpu", pass_=FP32),
        Cell(environment="new", device="cpu", pass_=FP32),
        Cell(
            environment="ngc",
            device="gpu:*",
            pass_=FP32,
            obstacle=(Status.UNAVAILABLE, "no NVIDIA driver"),
        ),
    ]
    known = {"known/cpu/fp32": 3, "half/cpu/fp32": 1}
    return Planned(cells=cells, known=known, repeats=3, most_repeats=3, bytes_a_repeat=2_000_000)


def test_a_plan_tells_the_fate_of_every_cell() -> None:
    lines = [line.split(None, 1) for line in planned().text().splitlines()]
    assert lines == [
        ["known/cpu/fp32", "known: 3 repeats reused"],
        ["half/cpu/fp32", "2 repeats, 1 reused"],
        ["new/cpu/fp32", "3 repeats"],
        ["ngc/gpu:*/fp32", "unavailable: no NVIDIA driver"],
        ["4", "cells, 3 can run here: 5 measurements to make, 10 MB of outputs at most"],
    ]


def test_a_plan_tells_what_is_kept_beside_the_outputs() -> None:
    kept = {"prepared images": 315_000_000, "outputs": 20_000_000}
    told = dataclasses.replace(planned(), running_bytes=50_000_000, kept=kept).text()
    assert "up to 50 MB of outputs while it runs" in told
    assert "at most 335 MB (315 MB of prepared images, 20 MB of outputs)" in told


def test_a_plan_tells_what_is_fetched_first() -> None:
    sizes = {"tensorrt": 549_495_010, "nvidia-cudnn-cu11": 728_496_150, "numpy": 18_000_000}
    lines = (
        replace(planned(), fetch={"trt": sizes, "other": "no package index"}).text().splitlines()
    )
    assert lines[4] == (
        "trt: 1.3 GB of packages to fetch first (nvidia-cudnn-cu11 0.7, tensorrt 0.5)"
    )
    assert lines[5] == "other: no package index"


def test_a_plan_as_json() -> None:
    cells = json.loads(json.dumps(planned().summary(), allow_nan=False))["cells"]
    assert [cell["reused"] for cell in cells] == [3, 1, 0, 0]
    assert [cell["status"] for cell in cells] == ["planned"] * 3 + ["unavailable"]
    assert cells[3]["reason"] == "no NVIDIA driver"
    assert cells[0]["bytes"] == 6_000_000
