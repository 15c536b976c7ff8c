"""The loop, with jobs that crash, hang or answer nonsense: the fault is named and harms no other cell."""

import signal
from pathlib import Path

import pytest

from tests.fakes.environment import HONEST, ScriptedEnvironment
from tests.unit.matrices import Trial, cells_of, statuses
from tests.unit.passes import FP32, MINMAX, OWN, SHARED
from trt_matrix.core.cells import Cell, Status

pytestmark = pytest.mark.usefixtures("hurry")

CRASH_IN_OWN = """
if request["calibration"]:
    calibrate()
for one in request["passes"]:
    if one["name"] == "int8-own-minmax":
        stage("infer " + one["name"])
        print("about to crash", flush=True)
        os.kill(os.getpid(), 11)
    answer(one)
finish()
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 11)", "time.sleep(600)"])
def test_a_job_that_ends_while_it_times_layers_loses_their_times_only(
    tmp_path: Path, end: str
) -> None:
    profiling = f"""
import time
plain = write
def write(name, value):
    plain(name.replace("pass.json", "untimed.json") if "{FP32.name}" in name else name, value)
if request["calibration"]:
    calibrate()
for one in request["passes"]:
    answer(one)
    if one["name"] == "{FP32.name}":
        stage("profile " + one["name"])
        {end}
finish()
"""
    environment = ScriptedEnvironment("a", [profiling])
    trial = Trial(tmp_path, environment, passes=[FP32, OWN, SHARED], repeats=1, deadline_s=3.0)
    records = trial.records()
    assert set(statuses(records).values()) == {Status.OK}
    assert environment.starts == 3, "calibration, then the passes; what had no turn got another"


def test_a_crash_hits_its_own_pass_and_no_other(tmp_path: Path) -> None:
    sick = ScriptedEnvironment("sick", [CRASH_IN_OWN.replace("calibrate()", CALIBRATE_APART)])
    trial = Trial(tmp_path, sick, ScriptedEnvironment("well"))
    records = trial.records()
    crashed = records["sick/cpu/int8-own-minmax"]
    assert crashed.status is Status.CRASHED
    assert crashed.reason == (
        "ended by SIGSEGV in stage 'infer int8-own-minmax'; see logs/sick/cpu/repeat-0.log"
    )
    assert crashed.measurements[0].log_tail == "about to crash\n"
    assert (trial.run.folder / "logs/sick/cpu/repeat-0.log").read_text() == "about to crash\n"
    others = {cell: status for cell, status in statuses(records).items() if cell != crashed.cell}
    assert set(others.values()) == {Status.OK}
    assert trial.told.steps == trial.told.expected


CALIBRATE_APART = """calibrate(algorithms={
        one["name"]: dict.fromkeys(request["calibration"]["tensors"], 2.0 + 0.5 * index)
        for index, one in enumerate(request["calibration"]["algorithms"])
    })"""
"""Every algorithm makes another table."""


def test_passes_without_a_turn_get_a_new_start(tmp_path: Path) -> None:
    """The first of three passes crashes; the others run in a second start, with a log of its own."""
    script = """
    if request["calibration"]:
        CALIBRATE
    for one in request["passes"]:
        if one["name"] == "fp32":
            stage("build fp32")
            os.abort()
        answer(one)
    finish()
    """.replace("CALIBRATE", CALIBRATE_APART.replace("\n", "\n    "))
    sick = ScriptedEnvironment("sick", [script])
    trial = Trial(tmp_path, sick, repeats=1)
    records = trial.records()
    assert records["sick/cpu/fp32"].status is Status.CRASHED
    assert "SIGABRT in stage 'build fp32'" in (records["sick/cpu/fp32"].reason or "")
    assert {record.status for cell, record in records.items() if "int8" in cell} == {Status.OK}
    assert sick.starts == 3
    logs = trial.run.folder / "logs/sick/cpu"
    assert sorted(path.name for path in logs.iterdir()) == [
        "calibrate.log",
        "repeat-0-start-2.log",
        "repeat-0.log",
    ]


def test_a_crash_after_a_pass_blames_none_that_had_no_turn(tmp_path: Path) -> None:
    """An engine that dies when it takes a session down: every start ends one pass more."""
    script = "answer(request['passes'][0])\nos.abort()"
    odd = ScriptedEnvironment("odd", [HONEST, script])
    records = Trial(tmp_path, odd, passes=[FP32, SHARED, OWN], repeats=1).records()
    assert set(statuses(records).values()) == {Status.OK}


def test_a_crash_before_any_pass_is_every_passes_failure(tmp_path: Path) -> None:
    dead = ScriptedEnvironment("dead", ["stage('probe')\nos.abort()"])
    trial = Trial(tmp_path, dead, passes=[FP32, SHARED])
    records = trial.records()
    assert set(statuses(records).values()) == {Status.CRASHED}
    assert dead.starts == 1, "neither again for the other pass, nor for the second repeat"
    assert trial.told.steps == trial.told.expected


def test_a_hanging_job_is_stopped_at_its_deadline(tmp_path: Path) -> None:
    script = """
    import time
    for one in request["passes"]:
        if one["name"] != "fp32":
            stage("infer " + one["name"])
            time.sleep(600)
        answer(one)
    """
    trial = Trial(
        tmp_path, ScriptedEnvironment("slow", [script]), passes=[FP32, SHARED], deadline_s=1.5
    )
    records = trial.records()
    assert records["slow/cpu/fp32"].status is Status.OK
    hung = records["slow/cpu/int8-shared-entropy"]
    assert hung.status is Status.TIMED_OUT
    assert "in stage 'infer int8-shared-entropy'; see deadline_s" in (hung.reason or "")


def test_a_gigabyte_of_output_is_cut_and_the_numbers_stay(tmp_path: Path) -> None:
    script = "for _ in range(1000): os.write(1, b'noise ' * 10000)\n" + HONEST
    trial = Trial(tmp_path, ScriptedEnvironment("loud", [script]), passes=[FP32], repeats=1)
    assert trial.records()["loud/cpu/fp32"].status is Status.OK
    log = trial.run.folder / "logs/loud/cpu/repeat-0.log"
    assert log.stat().st_size < 5_000_000
    assert b"bytes of output cut here" in log.read_bytes()


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("pass", Status.CRASHED, "exit code 0 before its first stage, but no valid answer"),
        ("stage('probe')\nsys.exit(3)", Status.CRASHED, "exit code 3 in stage 'probe'"),
        ("write('result.json', '{')", Status.CRASHED, "result.json is not a valid answer"),
        ("write('result.json', '[' * 100000)", Status.CRASHED, "result.json is not a valid"),
        (
            "finish(status='job_failed', stage='probe', error="
            "{'type': 'ImportError', 'message': 'No module named numpy'})",
            Status.JOB_FAILED,
            "probe: ImportError: No module named numpy; see logs/bad/cpu/repeat-0.log",
        ),
        ("write('passes/fp32/pass.json', 'NaN')\nfinish()", Status.CRASHED, "not a valid answer"),
        ("write('passes/fp32/pass.json', {})\nfinish()", Status.CRASHED, "schema_version"),
        (
            "answer(request['passes'][0], status='job_failed', error="
            "{'type': 'RuntimeError', 'message': 'no kernel'})\nfinish()",
            Status.JOB_FAILED,
            "RuntimeError: no kernel",
        ),
        (
            "answer(request['passes'][0], outputs={})\nfinish()",
            Status.CRASHED,
            "the answer lacks head 'large'",
        ),
        (
            "answer(request['passes'][0], shape=(IMAGES - 1, 2))\nfinish()",
            Status.CRASHED,
            "expected 4 images of float32",
        ),
        (
            "answer(request['passes'][0], shape=(IMAGES, 3))\nfinish()",
            Status.CRASHED,
            "has shape (4, 3), the reference's is (4, 2)",
        ),
        (
            "answer(request['passes'][0], executed='x.onnx')\nfinish()",
            Status.CRASHED,
            "'x.onnx', which is no file",
        ),
        (
            "write('passes/fp32/executed.onnx', 'no graph')\n"
            "answer(request['passes'][0], executed='executed.onnx')\nfinish()",
            Status.CRASHED,
            "executed.onnx is no graph",
        ),
    ],
)
def test_a_bad_job_is_named_and_harms_no_other(
    tmp_path: Path, script: str, status: Status, words: str
) -> None:
    bad, well = ScriptedEnvironment("bad", [script]), ScriptedEnvironment("well")
    records = Trial(tmp_path, bad, well, passes=[FP32], repeats=1).records()
    assert records["bad/cpu/fp32"].status is status
    assert words in (records["bad/cpu/fp32"].reason or "")
    assert records["well/cpu/fp32"].status is Status.OK


def test_a_failure_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    Trial(tmp_path, ScriptedEnvironment("a", ["os.abort()"]), passes=[FP32]).records()
    records = Trial(tmp_path, ScriptedEnvironment("a"), passes=[FP32]).records()
    assert records["a/cpu/fp32"].status is Status.OK
    assert records["a/cpu/fp32"].reused == 0


def test_an_environment_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    gone = ScriptedEnvironment("gone", refusal="gone: no network; connect, or use --offline")
    trial = Trial(tmp_path, gone, ScriptedEnvironment("well"), passes=[FP32, SHARED])
    records = trial.records()
    assert records["gone/cpu/fp32"].status is Status.UNAVAILABLE
    assert records["gone/cpu/fp32"].reason == gone.refusal
    assert records["well/cpu/fp32"].status is Status.OK
    assert trial.told.steps == trial.told.expected


def test_a_planned_obstacle_keeps_its_reason_and_prepares_nothing(tmp_path: Path) -> None:
    broken = ScriptedEnvironment("ngc", refusal="must not be prepared")
    obstacle = (Status.UNAVAILABLE, "no NVIDIA driver")
    cells = [
        Cell(environment="ngc", device="gpu:*", pass_=FP32, obstacle=obstacle),
        *cells_of([ScriptedEnvironment("well")], [FP32]),
    ]
    trial = Trial(tmp_path, broken, ScriptedEnvironment("well"), cells=cells)
    records = trial.records()
    assert records["ngc/gpu:*/fp32"].reason == "no NVIDIA driver"
    assert records["well/cpu/fp32"].status is Status.OK
    assert not [line for line in trial.told.lines if "must not" in line]


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        ("os.abort()", "SIGABRT"),
        ("finish()", "no valid answer"),
        ("write('calibration.json', '{}')\nfinish()", "schema_version"),
        ("calibrate(algorithms={'minmax': {}})\nfinish()", "lacks the algorithms entropy"),
        ("calibrate(amax=float('inf'))\nfinish()", "no finite number"),
    ],
)
def test_a_failed_calibration_stops_its_own_tables_only(
    tmp_path: Path, calibration: str, words: str
) -> None:
    bad = ScriptedEnvironment("bad", [calibration, HONEST])
    trial = Trial(tmp_path, bad, ScriptedEnvironment("well"))
    records = trial.records()
    for pass_ in (OWN, MINMAX):
        record = records[f"bad/cpu/{pass_.name}"]
        assert record.status is Status.JOB_FAILED
        assert "its calibration failed" in (record.reason or "")
        assert words in (record.reason or "")
    assert records["bad/cpu/fp32"].status is Status.OK
    assert records["bad/cpu/int8-shared-entropy"].status is Status.OK
    assert trial.told.steps == trial.told.expected


def test_a_signal_to_the_job_alone_is_a_crash_not_an_interrupt(tmp_path: Path) -> None:
    script = f"stage('build fp32')\nos.kill(os.getpid(), {int(signal.SIGINT)})\nimport time\ntime.sleep(9)"
    records = Trial(tmp_path, ScriptedEnvironment("a", [script]), passes=[FP32]).records()
    assert records["a/cpu/fp32"].status is Status.CRASHED
