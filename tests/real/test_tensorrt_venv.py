"""TensorRT and TensorRT-RTX from packages, really installed: up to what the probe says where no driver is."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.causes import engines
from trt_matrix.containers.job import protocol
from trt_matrix.environments.base import JobRun
from trt_matrix.environments.devices import read_driver
from trt_matrix.environments.venv import VenvEnvironment
from trt_matrix.errors import EnvironmentUnavailableError

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo" / "digits3.onnx"
RTX = {"venv": "tensorrt-rtx", "versions": ["1.7.1.116"]}
WHOLE = {"venv": "tensorrt", "versions": ["8.5.3.1"]}

pytestmark = pytest.mark.skipif(
    read_driver().version is not None, reason="there is a driver here: the job would run"
)


def probed(environment: VenvEnvironment, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs a job of one fp32 pass; returns its result.json and probe.json."""
    request, result = folder / "request", folder / "result"
    request.mkdir()
    result.mkdir()
    (request / "model.onnx").symlink_to(DEMO)
    np.save(request / "images.npy", np.zeros((1, 3, 96, 96), np.float32))
    one = {"name": "fp32", "precision": "fp32", "model": "model.onnx", "table": None,
           "compare_with": None, "implicit": None}  # fmt: skip
    asked = {
        "schema_version": 1, "engine": "tensorrt", "engine_options": {}, "input": "image",
        "heads": [["large", "large"]], "evaluation": "images.npy", "calibration": None,
        "passes": [one], "timing": None, "plugins": [],
    }  # fmt: skip
    protocol.write_json(str(request / protocol.REQUEST), asked)
    log = folder / "job.log"
    ending = environment.run(JobRun(request=request, result=result, log=log, deadline_s=300))
    assert ending.exit_code == 0, log.read_text()
    return tuple(
        json.loads((result / name).read_text()) for name in (protocol.RESULT, protocol.PROBE)
    )


def no_driver(environment: VenvEnvironment, folder: Path) -> None:
    result, probe = probed(environment, folder)
    assert (result["status"], result["stage"]) == ("job_failed", "probe")
    assert "cudaErrorInsufficientDriver" in result["error"]["message"], result
    assert probe["engine"] is None
    assert any(package.startswith("tensorrt") for package in probe["packages"])
    assert "no NVIDIA driver" in str(environment.obstacle("gpu:0"))


def test_rtx_from_its_packages(tmp_path: Path) -> None:
    environment, _ = engines.interpreter(RTX)
    no_driver(environment, tmp_path)


def test_a_whole_wheel_with_the_libraries_that_it_ran_with(tmp_path: Path) -> None:
    if not os.environ.get("TRT_MATRIX_LARGE"):
        pytest.skip("1.7 GB of packages: TRT_MATRIX_LARGE=1 fetches them")
    try:
        environment, _ = engines.interpreter(WHOLE)
    except EnvironmentUnavailableError as error:
        if "there is no Python >=3.6,<3.11 here" not in str(error):
            raise
        pytest.skip(str(error))
    no_driver(environment, tmp_path)


def test_what_only_nvidias_own_index_has_is_said(tmp_path: Path) -> None:
    engines.interpreter(RTX)  # there is a network, or this is skipped
    with pytest.raises(EnvironmentUnavailableError) as caught:
        engines.interpreter({"venv": "tensorrt-cu12", "versions": ["10.13.3.9"]})
    assert "tensorrt-cu12-libs" in str(caught.value)
    assert "is only on NVIDIA's own package index" in str(caught.value)
    assert "name it as `index:`" in str(caught.value)


def test_the_plan_tells_gigabytes_before_they_are_fetched(tmp_path: Path) -> None:
    engines.interpreter(RTX)
    environment = VenvEnvironment(
        name="rtx", engine="tensorrt", python=None, cache=tmp_path,
        requirements=["tensorrt-rtx-cu12-libs==1.7.1.116"],
    )  # fmt: skip
    sizes = environment.to_fetch()
    assert sizes == {"tensorrt-rtx-cu12-libs": 89265483}
    assert not (tmp_path / "environments").exists()
