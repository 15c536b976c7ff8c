"""Devices of other machines: their own GPUs, and a host that is gone is asked once."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.unit.experiments import changed, write
from tests.unit.hosts import gpu, host
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.compatibility import HostFacts
from trt_matrix.core.hosts.gpus import Machine
from trt_matrix.environments import preflight
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.docker import hosts
from trt_matrix.environments.machine import this_processor
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.planning.experiment import read_experiment

NGC = {"ngc": ["24.04-py3"]}
THERE = host(gpu("T4", 0, uuid="GPU-there-0"), gpu("T4", 1, uuid="GPU-there-1"))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    hosts.close_all()
    yield
    hosts.close_all()


def cells_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, there: HostFacts
) -> tuple[dict[str, Status], dict[str, Machine]]:
    monkeypatch.setattr(preflight, "this_driver", lambda: Driver(problem="no NVIDIA driver"))
    monkeypatch.setattr(hosts, "remote_engine", lambda address: SimpleNamespace(host=there))
    matrix = write(folder)
    content = changed(
        devices=["cpu", "gpu:*"],
        environments=[{"venv": "onnxruntime", "versions": ["1.32.0"]}, NGC, NGC | {"host": "box"}],
        hosts={"box": "ssh://me@box"},
        baseline="ort-1.32.0",
    )
    matrix.write_text(yaml.safe_dump(content))
    experiment = read_experiment(matrix, [])
    cells = {
        f"{cell.environment}/{cell.device}": cell.obstacle[0] if cell.obstacle else Status.OK
        for cell in experiment.cells
    }
    return cells, dict(experiment.machines)


def test_a_hosts_gpus_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, machines = cells_of(tmp_path, monkeypatch, THERE)
    assert cells == {
        "ort-1.32.0/cpu": Status.OK,
        "ngc-24.04-py3/gpu:*": Status.UNAVAILABLE,
        "box-ngc-24.04-py3/gpu:0": Status.OK,
        "box-ngc-24.04-py3/gpu:1": Status.OK,
    }
    box = machines["box-ngc-24.04-py3"]
    assert box.place("gpu:1") == "GPU-there-1"
    assert box.decides("gpu:1").startswith("GPU-there-1 NVIDIA T4 7.5 driver ")
    here = Machine(processor=this_processor())
    assert machines["ort-1.32.0"] == machines["ngc-24.04-py3"] == here


def test_a_host_without_gpus_keeps_a_row_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = host(driver=None, driver_problem="no NVIDIA driver")
    cells, _ = cells_of(tmp_path, monkeypatch, none)
    assert cells["box-ngc-24.04-py3/gpu:*"] is Status.UNAVAILABLE


def test_a_host_that_is_gone_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho x >> {asked}\necho 'box: No route to host' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for _ in range(3):
        with pytest.raises(EnvironmentUnavailableError, match="box: No route to host"):
            hosts.remote_engine("ssh://me@box")
    assert asked.read_text() == "x\n"


def test_a_way_that_leads_to_no_driver_says_what_to_name_instead() -> None:
    driver = hosts.RemoteEngine("unix:///nowhere")._driver()
    assert driver.version is None
    assert "name it as ssh://user@host" in (driver.problem or "")
