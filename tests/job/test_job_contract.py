"""The whole job as the host starts it: a process, a request folder, a result folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import job
from job import protocol, thresholds
from job.__main__ import main
from tests.job.two_heads import TENSORS, golden, one_pass, write_request
from tests.unit.programs import ran

CONTAINERS = Path(job.__file__).parents[1]


def interpreters() -> list[str]:
    """Returns the other Python 3 interpreters found on PATH and under pyenv."""
    names = [f"python3.{minor}" for minor in range(5, 15)]
    on_path = [found for name in names if (found := shutil.which(name))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    under_pyenv = [str(path) for path in pyenv.glob("versions/3.*/bin/python3")]
    real = {
        os.path.realpath(path): path
        for path in [*under_pyenv, *on_path]
        if "shims" not in Path(path).parts
    }
    real.pop(os.path.realpath(sys.executable), None)
    return sorted(real.values())


OTHERS = interpreters()
ENVIRONMENT = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}


def start(
    request: Path, result: Path, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    return ran(python, "-m", "job", request, result, code=None, cwd=CONTAINERS, env=ENVIRONMENT)


def answer(request: Path, result: Path, python: str | None = None) -> dict[str, Any]:
    """Returns result.json after a start that must end with the job's own answer.

    In this process where no `python` is given: the same, faster.
    """
    if python:
        done = start(request, result, python)
        assert done.returncode == 0, done.stderr
    else:
        assert main([str(request), str(result)]) == 0
    document = json.loads((result / "result.json").read_text(encoding="utf-8"))
    assert document.keys() == {"schema_version", "status", "stage", "error"}
    assert document["schema_version"] == protocol.SCHEMA_VERSION
    assert document["stage"] in protocol.STAGES
    if document["status"] == "job_failed":
        assert document["error"].keys() == {"type", "message", "traceback"}
    else:
        assert (document["status"], document["error"]) == ("ok", None)
    return document


def pass_answer(result: Path, name: str) -> dict[str, Any]:
    document = json.loads((result / "passes" / name / "pass.json").read_text(encoding="utf-8"))
    keys = "schema_version name status error stages outputs latency compare executed build layers"
    keys += " cache model refused settled"
    assert document.keys() == set(keys.split())
    assert document["name"] == name
    assert document["stages"].keys() <= set(protocol.STAGES)
    return document


def test_golden_request(request_folder: Path, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    result = tmp_path / "result"
    done = start(request_folder, result)
    assert done.returncode == 0, done.stderr
    assert json.loads((result / "result.json").read_text()) == {
        "schema_version": 1,
        "status": "ok",
        "stage": "compare",
        "error": None,
    }
    assert "again against fp32" in done.stdout
    assert "identical" in done.stdout
    assert (result / "stage.txt").read_text() == "compare again\n"

    probed = json.loads((result / "probe.json").read_text())
    assert probed["engine"]["version"] == onnxruntime.__version__
    assert probed["mapped"]["packages"]["onnxruntime"] == onnxruntime.__version__

    calibrated = json.loads((result / "calibration.json").read_text())
    assert (calibrated["images"], calibrated["unusable"]) == (6, {})
    assert calibrated["algorithms"].keys() == set(thresholds.ALGORITHMS)
    minmax = calibrated["algorithms"]["minmax"]
    images = np.load(request_folder / "calibration.npy")
    assert minmax["image"] == float(np.abs(images).max())
    for name, table in calibrated["algorithms"].items():
        assert table.keys() == set(TENSORS)
        most = 2.001 if name == "entropy" else 1
        assert all(0 < table[tensor] <= most * minmax[tensor] for tensor in TENSORS)
    assert calibrated["seen"] == minmax
    assert calibrated["clipped"].keys() == calibrated["algorithms"].keys()
    assert set(calibrated["clipped"]["minmax"].values()) == {0.0}
    above = np.abs(images) > calibrated["algorithms"]["percentile"]["image"]
    assert calibrated["clipped"]["percentile"]["image"] == pytest.approx(above.mean(), abs=1e-4)

    session = onnxruntime.InferenceSession(
        str(request_folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    evaluation = np.load(request_folder / "evaluation.npy")
    wanted = [session.run(["large", "small"], {"image": image[None]}) for image in evaluation]
    for name in ("fp32", "again"):
        found = pass_answer(result, name)
        assert (found["status"], found["error"]) == ("ok", None)
        assert found["latency"]["batch"] == 1
        assert 3 <= len(found["latency"]["samples_s"]) <= 5
        assert all(sample > 0 for sample in found["latency"]["samples_s"])
        onnx.checker.check_model(onnx.load(result / "passes" / name / found["executed"]))
        for index, head in enumerate(("large", "small")):
            stored = np.load(result / "passes" / name / found["outputs"][head]["file"])
            assert list(stored.shape) == found["outputs"][head]["shape"]
            rows = np.concatenate([image[index] for image in wanted])
            np.testing.assert_allclose(stored, rows, rtol=1e-5, atol=1e-6)
    assert pass_answer(result, "fp32")["compare"] is None
    identical = {"sqnr_db": None, "mae": 0.0, "max_abs": 0.0, "nonfinite": 0}
    assert pass_answer(result, "again")["compare"] == {"large": identical, "small": identical}
    assert not [path for path in result.rglob("*") if path.name.endswith(".part")]


def test_a_pass_that_fails_harms_no_other(request_folder: Path, tmp_path: Path) -> None:
    (request_folder / "truncated.onnx").write_bytes(
        (request_folder / "model.onnx").read_bytes()[:300]
    )
    np.save(request_folder / "wide.npy", np.zeros((2, 3, 16, 17), np.float32))
    (request_folder / "table.json").write_text('{"c1": 1.0}')
    request = golden() | {"calibration": None, "timing": None}
    request["passes"] = [
        one_pass("truncated", model="truncated.onnx"),
        one_pass("absent", model="absent.onnx"),
        one_pass("calibration-net", model="calibration.onnx", compare_with="absent"),
        one_pass("tabled", table="table.json"),
        one_pass("fp32", compare_with="never"),
    ]
    write_request(request_folder, request)
    result = tmp_path / "result"
    assert answer(request_folder, result)["status"] == "ok"
    for name in ("truncated", "absent", "tabled"):
        found = pass_answer(result, name)
        assert found["status"] == "job_failed"
        assert found["stages"].keys() == {"build"}
        assert found["outputs"] == {}
        assert list((result / "passes" / name).glob("*.npy")) == []
    assert "needs no table" in pass_answer(result, "tabled")["error"]["message"]
    for name in ("calibration-net", "fp32"):
        found = pass_answer(result, name)
        assert (found["status"], found["compare"]) == ("ok", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": [["large", "larg"]]}, "no output larg; it has: large, small"),
        ({"input": "img"}, "no input 'img'; it has: image"),
        ({"evaluation": "absent.npy"}, "absent.npy"),
        ({"evaluation": "wide.npy"}, "17"),
        (
            {"timing": {"min_samples": 0, "max_samples": 1, "max_s": 1, "warm_up_max_s": 1}},
            "min_samples",
        ),
    ],
)
def test_what_every_pass_needs(
    request_folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    np.save(request_folder / "wide.npy", np.zeros((2, 3, 16, 17), np.float32))
    write_request(request_folder, golden() | {"calibration": None, "timing": None} | change)
    assert answer(request_folder, tmp_path / "result")["status"] == "ok"
    found = pass_answer(tmp_path / "result", "fp32")
    assert found["status"] == "job_failed"
    assert message in found["error"]["message"]


def calibration(**changes: Any) -> dict[str, Any]:
    return {"calibration": golden()["calibration"] | changes}


@pytest.mark.parametrize(
    ("change", "stage", "message"),
    [
        (
            {"engine": "tensorflow"},
            "probe",
            "unknown engine 'tensorflow'; known: onnxruntime, python, tensorrt",
        ),
        (
            {"engine_options": {"thread": 1}},
            "probe",
            "no option thread; it has: graph_optimization",
        ),
        ({"engine_options": {"graph_optimization": "max"}}, "probe", "known: all, basic, disabled"),
        ({"schema_version": 2}, "probe", "schema version 2, this job reads 1"),
        ({"passes": [one_pass("../x")]}, "probe", "named '../x': a pass becomes a folder"),
        ({"passes": [one_pass("a"), one_pass("a")]}, "probe", "two passes have one name: a, a"),
        (
            {"passes": [{"name": "a"}]},
            "probe",
            "passes[0] lacks compare_with, model, precision, table",
        ),
        ({"passes": ["a"]}, "probe", "passes[0] is no JSON object"),
        ({"timing": {"max_s": 1}}, "probe", "timing lacks max_samples, min_samples, warm_up_max_s"),
        (calibration(tensors=["nope"]), "calibrate", "no output nope"),
        (
            calibration(algorithms=[{"name": "kl"}]),
            "calibrate",
            "unknown calibration algorithm 'kl'",
        ),
        (calibration(images="absent.npy"), "calibrate", "absent.npy"),
    ],
)
def test_a_job_that_cannot_go_on_says_so(
    request_folder: Path, tmp_path: Path, change: dict[str, Any], stage: str, message: str
) -> None:
    write_request(request_folder, golden() | change)
    document = answer(request_folder, tmp_path / "result")
    assert (document["status"], document["stage"]) == ("job_failed", stage)
    assert message in document["error"]["message"]
    assert json.loads((tmp_path / "result" / "probe.json").read_text())["python"]


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"3", b'{"schema_version": NaN}', b"\xff\xfe"]
)
def test_a_request_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "request.json").write_bytes(content)
    document = answer(tmp_path, tmp_path / "result")
    assert (document["status"], document["stage"]) == ("job_failed", "probe")
    assert document["error"]["type"] == "ProtocolError"
    assert "request" in document["error"]["message"]


def test_provider_that_is_not_there(request_folder: Path, tmp_path: Path) -> None:
    options = {"provider": "NoSuchExecutionProvider"}
    write_request(request_folder, golden() | {"engine_options": options, "calibration": None})
    assert answer(request_folder, tmp_path / "result")["status"] == "ok"
    message = pass_answer(tmp_path / "result", "fp32")["error"]["message"]
    assert "NoSuchExecutionProvider is not in this onnxruntime" in message
    assert "CPUExecutionProvider" in message


def test_fallback_to_cpu_fails_the_pass(
    monkeypatch: pytest.MonkeyPatch, request_folder: Path
) -> None:
    import onnxruntime

    from job.engines.onnxruntime import Engine

    class FellBack:
        def __init__(self, *given: Any, **named: Any) -> None:
            pass

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", FellBack)
    engine = Engine({"provider": "CUDAExecutionProvider"})
    with pytest.raises(RuntimeError, match="fell back from CUDAExecutionProvider to CPU"):
        engine.build(str(request_folder / "model.onnx"), "fp32", None, None)


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "c"], ["--help", "x"]])
def test_wrong_calls_show_the_usage(arguments: list[str], tmp_path: Path) -> None:
    done = ran(
        sys.executable,
        "-m",
        "job",
        *arguments,
        code=2,
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(CONTAINERS)},
    )
    assert "python3 -m job REQUEST_DIR RESULT_DIR" in done.stderr
    assert list(tmp_path.iterdir()) == []


def has(python: str, module: str) -> bool:
    probe = [python, "-c", f"import {module}"]
    return subprocess.run(probe, env=ENVIRONMENT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("python", OTHERS)
def test_every_interpreter_answers(python: str, request_folder: Path, tmp_path: Path) -> None:
    if has(python, "onnxruntime") and has(python, "numpy"):
        assert answer(request_folder, tmp_path / "result", python)["status"] == "ok"
        return
    document = answer(request_folder, tmp_path / "result", python)
    assert (document["status"], document["stage"]) == ("job_failed", "probe")
    assert document["error"]["type"] in ("ImportError", "ModuleNotFoundError")
    assert ("numpy" if not has(python, "numpy") else "onnxruntime") in document["error"]["message"]
    probed = json.loads((tmp_path / "result" / "probe.json").read_text())
    assert probed["python"].startswith("3.")
    assert probed["engine"] is None


@pytest.mark.parametrize("python", OTHERS)
def test_every_interpreter_refuses_a_bad_request(python: str, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"schema_version": 99}')
    assert "99" in answer(tmp_path, tmp_path / "result", python)["error"]["message"]


def started(request: Path, result: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "job", str(request), str(result)]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        command, cwd=CONTAINERS, env=ENVIRONMENT, stdout=nowhere, stderr=nowhere
    )


def test_killed_in_a_pass_loses_no_earlier_one(request_folder: Path, tmp_path: Path) -> None:
    request = golden() | {"calibration": None}
    request["passes"] = [one_pass(f"p{number}") for number in range(50)]
    request["timing"] |= {"min_samples": 3000, "max_samples": 3000}
    write_request(request_folder, request)
    result = tmp_path / "result"
    running = started(request_folder, result)
    try:
        while not (result / "passes" / "p1" / "pass.json").exists():
            assert running.poll() is None
            time.sleep(0.005)
    finally:
        running.kill()
    assert running.wait() == -signal.SIGKILL
    assert not (result / "result.json").exists()
    finished = list(result.glob("passes/*/pass.json"))
    assert 2 <= len(finished) < 50
    for path in finished:
        outputs = pass_answer(result, path.parent.name)["outputs"]
        for output in outputs.values():
            assert np.load(path.parent / output["file"]).shape == tuple(output["shape"])
    for path in result.rglob("*.npy"):  # also those of the pass that was cut off
        np.load(path)


def test_interrupted_job_leaves_no_result(request_folder: Path, tmp_path: Path) -> None:
    request = golden() | {"calibration": None}
    request["timing"] |= {"min_samples": 10**9, "max_samples": 10**9}
    write_request(request_folder, request)
    result = tmp_path / "result"
    running = started(request_folder, result)
    try:
        stage = result / "stage.txt"
        while not stage.exists() or stage.read_text() != "time fp32\n":
            assert running.poll() is None
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        assert running.wait() != 0
    finally:
        running.kill()
        running.wait()
    assert not (result / "result.json").exists()
    assert not list(result.glob("passes/*/pass.json"))


def test_threads_do_not_spin_while_histograms_are_counted() -> None:
    from job.engines.onnxruntime import CALM, Engine

    spinning = "session.intra_op.allow_spinning"
    calm = Engine({})._settings(CALM)
    assert calm.get_session_config_entry(spinning) == "0"
    stated = Engine({"session_config": {spinning: "1"}})._settings(CALM)
    assert stated.get_session_config_entry(spinning) == "1"
