"""NGC containers as environments: what is said of them before anything is pulled."""

from pathlib import Path

import pytest

from tests.unit.hosts import gpu, host
from trt_matrix.core.cells import Status
from trt_matrix.environments import preflight
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.docker.environment import NgcEnvironment

TAG = "24.04-py3"
NO_DRIVER = Driver(problem="no NVIDIA driver")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NgcEnvironment:
    monkeypatch.setattr(preflight, "this_driver", lambda: NO_DRIVER)
    return NgcEnvironment(name=f"ngc-{TAG}", tag=TAG, cache=tmp_path)


@pytest.mark.parametrize("device", ["gpu:*", "gpu:0"])
def test_no_driver(environment: NgcEnvironment, device: str) -> None:
    assert environment.obstacle(device) == (Status.UNAVAILABLE, "no NVIDIA driver")


def test_tensorrt_has_no_cpu(environment: NgcEnvironment) -> None:
    assert environment.obstacle("cpu") == (Status.UNSUPPORTED, "TensorRT runs on GPUs only")


def test_on_a_gpu_host(
    environment: NgcEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = host(gpu("H200"))
    monkeypatch.setattr(
        preflight, "this_driver", lambda: Driver(version=here.driver, gpus=here.gpus)
    )
    monkeypatch.setattr(preflight, "this_host", lambda: here)
    assert environment.obstacle("gpu:0") is None
    old = NgcEnvironment(name="x", tag="19.09-py3", cache=tmp_path).obstacle("gpu:0")
    assert old is not None
    assert old[0] is Status.UNSUPPORTED
    assert "the nearest that would run: 22.10-py3" in old[1]


def test_an_unknown_tag(environment: NgcEnvironment, tmp_path: Path) -> None:
    found = NgcEnvironment(name="x", tag="24.4-py3", cache=tmp_path).obstacle("gpu:0")
    assert found is not None
    assert found[0] is Status.UNAVAILABLE
    assert "did you mean '24.04-py3'?" in found[1]
