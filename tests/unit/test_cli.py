"""The command line: one exit code per cause, messages on stderr, results on stdout."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import cli, session
from runner.cells import Status
from runner.errors import (
    ConfigError,
    EnvironmentUnavailableError,
    ExitCode,
    NothingSelectedError,
    StoreError,
)
from runner.judging import run as judging
from runner.outcome import Outcome
from runner.report.limits import MOST
from tests.unit.judgements import FP32, SHARED, cell_result, head, judgement

ROOT = Path(__file__).parents[2]

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["trt-matrix", *arguments])
        with pytest.raises(SystemExit) as ending:
            cli.main()
        said = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return ending.value.code, said.out, said.err

    return run


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
    "arguments", [["run", "--colour"], ["fly"], ["run", "--select"], ["judge"], ["init"]]
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
    assert type(options["progress"]).__name__ == "Quiet"


def test_json_is_all_that_stdout_gets(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    script(monkeypatch, outcome(passed=False))
    code, out, _ = call("run", "--json")
    assert code == 1
    assert json.loads(out)["gates_failed"] == [["a/cpu/int8-shared-entropy", "small"]]


def test_no_matrix_yaml_says_what_is_missing(call: Call) -> None:
    code, _, err = call("run")
    assert code == 2
    assert "matrix.yaml" in err


def test_judging_what_is_no_run(call: Call) -> None:
    code, _, err = call("judge", "latest")
    assert code == 5
    assert "run `make matrix` first" in err


def test_judging_tells_so_many_cells_as_asked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judged(*_: object, most_cells: int, **__: object) -> Outcome:
        asked.append(most_cells)
        return outcome()

    monkeypatch.setattr(judging, "judge_again", judged)
    assert call("judge", "latest")[0] == 0
    assert call("judge", "latest", "--most-cells", "2000")[0] == 0
    assert asked == [MOST, 2000]
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


def test_a_reader_that_left_changes_no_exit_code(tmp_path: Path) -> None:
    """A real pipe whose reading end is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "runner", "schema"],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_behind_a_reader_that_left_keeps_its_exit_code(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "runner", "plan", "-c", str(tmp_path / "no.yaml")],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(writer)
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
