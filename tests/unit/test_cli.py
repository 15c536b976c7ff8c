"""The command line: one exit code per cause, messages on stderr, results on stdout."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.unit.experiments import write
from tests.unit.judgements import FP32, SHARED, cell_result, head, judgement
from tests.unit.migrations import Call
from trt_matrix.commands import session
from trt_matrix.core.cells import Status
from trt_matrix.errors import (
    ConfigError,
    EnvironmentUnavailableError,
    ExitCode,
    NothingSelectedError,
    StoreError,
)
from trt_matrix.judging import run as judging
from trt_matrix.judging.outcome import Outcome

ROOT = Path(__file__).parents[2]


def outcome(*, passed: bool = True, available: bool = True) -> Outcome:
    cells = [cell_result("a", SHARED, heads=(head("small", nmse=0.001 if passed else 0.3),))]
    if not available:
        cells.append(cell_result("b", FP32, status=Status.UNAVAILABLE, reason="no driver"))
    return Outcome(judgement(cells, heads=("small",)), Path("run"), Path("report.html"), {})


def script(monkeypatch: pytest.MonkeyPatch, result: Outcome | BaseException) -> list[Any]:
    calls: list[Any] = []

    def run_experiment(*args: object, **options: object) -> Outcome:
        calls.append((args, options))
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(session, "run_experiment", run_experiment)
    return calls


@pytest.mark.parametrize(
    ("result", "arguments", "code"),
    [
        (outcome(), [], 0),
        (outcome(passed=False), [], 1),
        (outcome(available=False), [], 0),
        (outcome(available=False), ["--strict"], 4),
        (outcome(), ["--strict"], 0),
        (ConfigError("matrix.yaml", ["name: missing"]), [], 2),
        (NothingSelectedError("no cell matches x"), [], 3),
        (EnvironmentUnavailableError("the reference could not run"), [], 4),
        (StoreError("results: the disk is full"), [], 5),
        (KeyboardInterrupt(), [], 130),
        (ZeroDivisionError("a bug"), [], 70),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    result: Outcome | BaseException,
    arguments: list[str],
    code: int,
) -> None:
    script(monkeypatch, result)
    found, out, err = call("run", *arguments)
    assert found == code
    if isinstance(result, KeyboardInterrupt):
        assert "run again to go on" in err
    elif isinstance(result, Outcome):
        assert "report: report.html" in out
        assert err == ""
    else:
        assert out == ""
        assert str(result) in err
        assert ("Traceback" in err) is (code == 70)


def test_exit_codes_are_those_that_the_help_promises() -> None:
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 5, 70, 130]


@pytest.mark.parametrize(
    "arguments", [["run", "--colour"], ["fly"], ["run", "--select"], ["diff"], ["init"]]
)
def test_a_wrong_call_is_2_and_says_why(call: Call, arguments: list[str]) -> None:
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")


def test_help_is_0_and_names_the_exit_codes(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert "130 interrupted" in " ".join(out.split())


def test_options_reach_the_session(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    calls = script(monkeypatch, outcome())
    call("run", "-c", "m.yaml", "--results", "r", "-s", "a*", "--select", "b*", "--offline", "-q")
    [((config, results), options)] = calls
    assert (config, results) == (Path("m.yaml"), Path("r"))
    assert options["select"] == ["a*", "b*"]
    assert options["offline"] is True
    assert type(options["progress"]).__name__ == "QuietProgress"


@pytest.mark.parametrize("arguments", [["m.yaml"], ["-c", "m.yaml"], ["m.yaml", "-c", "m.yaml"]])
def test_the_experiment_is_an_argument_or_an_option(
    monkeypatch: pytest.MonkeyPatch, call: Call, arguments: list[str]
) -> None:
    calls = script(monkeypatch, outcome())
    assert call("run", *arguments)[0] == 0
    assert calls[0][0][0] == Path("m.yaml")


@pytest.mark.parametrize("command", ["run", "plan", "pack", "doctor"])
def test_two_experiments_or_a_pattern_of_cells_are_no_experiment(call: Call, command: str) -> None:
    code, _, err = call(command, "a.yaml", "--config", "b.yaml")
    assert (code, "two experiments: a.yaml and --config b.yaml" in err) == (2, True)
    code, _, err = call(command, "ort-1.2*")
    assert (code, "cells are chosen by --select 'ort-1.2*'" in err) == (2, True)


def test_the_version_is_that_of_the_package(call: Call) -> None:
    assert call("--version") == (0, f"trt-matrix {version('trt-matrix')}\n", "")


@pytest.mark.parametrize("arguments", [["ticket", "--output"], ["pack", "-o"]])
def test_an_output_whose_folder_is_not_there(call: Call, arguments: list[str]) -> None:
    code, _, err = call(*arguments, "nodir/out")
    assert code == 5
    assert "there is no folder nodir: make it, or name another place with --output" in err


def test_init_and_diagnose_ask_for_the_folder_before_they_work(call: Call, tmp_path: Path) -> None:
    network = tmp_path / "net.onnx"
    shutil.copy(ROOT / "demo" / "digits3.onnx", network)
    for arguments in (("init", str(network)), ("diagnose", "latest")):
        code, _, err = call(*arguments, "-o", "nodir/out")
        assert (code, "there is no folder nodir: make it" in err) == (5, True)


@pytest.mark.parametrize("command", ["verify", "merge"])
def test_an_archive_that_is_not_there(call: Call, command: str) -> None:
    code, _, err = call(command, "none.zip")
    assert (code, "none.zip: there is no such file" in err) == (5, True)
    assert "there is no folder nodir" in call(command, "nodir/none.zip")[2]


def test_a_file_in_place_of_a_command_or_of_an_experiment(call: Call, tmp_path: Path) -> None:
    for name, command in (("my matrix.yaml", "run"), ("net.onnx", "init"), ("a.zip", "verify")):
        code, _, err = call(name)
        assert (code, f"Did you mean `trt-matrix {command} {shlex.quote(name)}`?" in err) == (
            2,
            True,
        )
    assert "Did you mean `" not in call("nonsense.txt")[2]
    network = tmp_path / "net.onnx"
    network.write_bytes(bytes(2_000_000))
    code, _, err = call("run", str(network))
    assert (code, f"write its matrix.yaml with `trt-matrix init {network}`" in err) == (2, True)


def test_patterns_without_a_cell_are_told_what_there_is(call: Call, tmp_path: Path) -> None:
    matrix = str(write(tmp_path))
    for pattern in ("ort-1.9", "nothing*"):
        code, _, err = call("plan", matrix, "--select", pattern)
        assert code == 3
        assert f"no cell matches {pattern}; a cell's id: " in err
        assert "environments: " in err
        assert "9.9.9" not in err


def test_the_report_of_no_run_says_where_to_go(call: Call) -> None:
    code, _, err = call("report")
    assert code == 5
    assert "go to where `trt-matrix run` ran" in err
    assert "none.json: there is no such judgement" in call("report", "none.json")[2]


def test_json_is_all_that_stdout_gets(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    script(monkeypatch, outcome(passed=False))
    code, out, _ = call("run", "--json")
    assert code == 1
    assert json.loads(out)["gates_failed"] == [["a/cpu/int8-shared-entropy", "small"]]


def test_no_matrix_yaml_says_what_is_missing(call: Call) -> None:
    code, _, err = call("run")
    assert code == 2
    assert "matrix.yaml" in err


def test_judging_what_is_no_run(call: Call, tmp_path: Path) -> None:
    code, _, err = call("judge", "latest")
    assert code == 5
    assert "results: go to where `trt-matrix run` ran, or name its results with --results" in err
    assert not (tmp_path / "results").exists()
    (tmp_path / "results").mkdir()
    assert "run `trt-matrix run` first" in call("judge")[2]


def test_judging_tells_so_many_cells_as_asked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judged(name: str, *_: object, most_cells: int, **__: object) -> Outcome:
        assert name == "latest"
        asked.append(most_cells)
        return outcome()

    monkeypatch.setattr(judging, "judge_again", judged)
    assert call("judge")[0] == 0
    assert call("judge", "latest", "--most-cells", "2000")[0] == 0
    assert asked == [None, 2000]
    assert call("judge", "latest", "--most-cells", "0")[0] == 2


def test_the_schema_is_json(call: Call) -> None:
    code, out, _ = call("schema")
    assert code == 0
    assert json.loads(out)["title"] == "matrix.yaml"


def test_sigterm_is_an_interrupt(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal did nothing")

    monkeypatch.setattr(session, "run_experiment", stopped)
    code, _, err = call("run")
    assert code == 130
    assert "run again to go on" in err


def to_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Runs trt-matrix into a real pipe whose reading end was closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "trt_matrix", *map(str, arguments)]
    with os.fdopen(writer, "wb") as stream:
        return subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, cwd=ROOT, check=False)


def test_a_reader_that_left_changes_no_exit_code(tmp_path: Path) -> None:
    done = to_nobody("schema")
    assert (done.returncode, done.stderr) == (0, b"")
    done = to_nobody("plan", "-c", tmp_path / "no.yaml")
    assert done.returncode == 2
    assert b"no.yaml" in done.stderr


# What runs here


def test_the_catalogue_on_stdout(call: Call) -> None:
    code, out, err = call("catalog", "--for-gpu", "T4", "--driver", "535")
    assert (code, err) == (0, "")
    assert out.startswith("90 of 94 containers run on T4")
    code, out, _ = call("catalog", "--json")
    assert code == 0
    assert json.loads(out)["gpu"] is None


def test_a_gpu_that_is_not_known(call: Call) -> None:
    code, out, err = call("catalog", "--for-gpu", "RTX 40900")
    assert (code, out) == (2, "")
    assert "did you mean RTX 4090" in err


def test_the_doctor_on_any_machine(call: Call) -> None:
    code, out, err = call("doctor")
    assert (code, err) == (0, "")
    assert "driver" in out
    assert "matrix.yaml: not there" in out
    code, out, _ = call("doctor", "--json")
    assert code == 0
    assert json.loads(out)["environments"] == []


def test_the_doctor_and_a_wrong_matrix(call: Call, tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("name: 7\n")
    code, out, _ = call("doctor")
    assert code == 2
    assert "docker" in out
    assert "matrix.yaml" in out
