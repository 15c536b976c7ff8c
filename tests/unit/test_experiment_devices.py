"""The devices of matrix.yaml as cells: every GPU that is here once, and a row for what is not."""

from pathlib import Path

import pytest
import yaml

from tests.unit.experiments import changed, write
from tests.unit.hosts import gpu, host
from trt_matrix.core.cells import Status
from trt_matrix.environments import preflight
from trt_matrix.environments.devices import Driver
from trt_matrix.errors import NothingSelectedError
from trt_matrix.planning.experiment import read_experiment


def cells_on(
    monkeypatch: pytest.MonkeyPatch, folder: Path, devices: list[str], driver: Driver
) -> dict[str, str]:
    """Returns environment/device → status, of its first pass."""
    monkeypatch.setattr(preflight, "this_driver", lambda: driver)
    here = host(*driver.gpus, driver=driver.version)
    monkeypatch.setattr(preflight, "this_host", lambda: here)
    matrix = write(folder)
    matrix.write_text(yaml.safe_dump(changed(devices=devices)))
    found: dict[str, str] = {}
    for cell in read_experiment(matrix, []).cells:
        status = cell.obstacle[0] if cell.obstacle else Status.OK
        found.setdefault(f"{cell.environment}/{cell.device}", status)
    return found


def test_every_gpu_that_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = Driver(version="610.43.02", gpus=(gpu("T4"), gpu("H200", 1)))
    assert cells_on(monkeypatch, tmp_path, ["cpu", "gpu:*"], driver) == {
        "ort-1.26.0/cpu": "ok",
        "ort-1.32.0/cpu": "ok",
        "ngc-19.09-py3/gpu:0": "ok",
        "ngc-19.09-py3/gpu:1": "unsupported",
    }


def test_a_gpu_that_is_not_here_keeps_its_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = Driver(version="610.43.02", gpus=(gpu("T4"),))
    assert cells_on(monkeypatch, tmp_path, ["gpu:T4", "gpu:A100"], driver) == {
        "ngc-19.09-py3/gpu:0": "ok",
        "ngc-19.09-py3/gpu:A100": "unavailable",
    }


def test_without_a_driver_all_gpus_are_one_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = Driver(problem="no NVIDIA driver")
    assert cells_on(monkeypatch, tmp_path, ["cpu", "gpu:*"], driver) == {
        "ort-1.26.0/cpu": "ok",
        "ort-1.32.0/cpu": "ok",
        "ngc-19.09-py3/gpu:*": "unavailable",
    }


def test_devices_that_no_environment_has_are_told(tmp_path: Path) -> None:
    matrix = write(tmp_path)
    only = [{"interpreter": "/usr/bin/python3", "name": "rt", "engine": "tensorrt"}]
    matrix.write_text(yaml.safe_dump(changed(devices=["cpu"], environments=only, baseline="rt")))
    with pytest.raises(NothingSelectedError, match="rt is left out: it runs on gpu"):
        read_experiment(matrix, [])
