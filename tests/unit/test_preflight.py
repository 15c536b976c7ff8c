"""What is asked of this host before anything is pulled, and what wins over the catalogue."""

from typing import NoReturn

import pytest

from tests.unit.hosts import gpu, host, row
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.compatibility import HostFacts, ImageFacts
from trt_matrix.environments import preflight
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.preflight import (
    extra_variables,
    gpu_obstacle,
    gpu_variables,
    image_of,
    preflight_tag,
)

REFERENCE = "nvcr.io/nvidia/tensorrt:24.04-py3"


def never() -> NoReturn:
    pytest.fail("Docker was asked")


def this_machine(monkeypatch: pytest.MonkeyPatch, here: HostFacts) -> None:
    driver = Driver(version=here.driver, problem=here.driver_problem, gpus=here.gpus)
    monkeypatch.setattr(preflight, "this_driver", lambda: driver)
    monkeypatch.setattr(preflight, "this_host", lambda: here)


@pytest.mark.parametrize("device", ["cpu", "gpu:*"])
def test_docker_is_not_asked_where_it_could_not_help(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(preflight, "this_driver", lambda: Driver(problem="no NVIDIA driver"))
    monkeypatch.setattr(preflight, "this_host", never)
    found = preflight_tag("24.04-py3", device)
    assert found is not None
    assert found[1] == ("TensorRT runs on GPUs only" if device == "cpu" else "no NVIDIA driver")


def test_an_image_without_tensorrt_on_the_cpu_needs_docker_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    this_machine(monkeypatch, HostFacts(docker="Docker does not answer"))
    image = ImageFacts(reference="python:3.11")
    assert preflight.preflight(image, "cpu") == (Status.UNAVAILABLE, "Docker does not answer")
    this_machine(monkeypatch, HostFacts())
    assert preflight.preflight(image, "cpu") is None


def test_what_an_image_tells_of_itself_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    # Published as TensorRT 8.6.3, which knows Pascal; this one says that it is 10.5.
    told = {REFERENCE: {"tensorrt": "10.5.0"}}
    this_machine(monkeypatch, host(gpu("P100")))
    assert preflight_tag("24.04-py3", "gpu:0") is None
    this_machine(monkeypatch, host(gpu("P100"), images=told))
    found = preflight_tag("24.04-py3", "gpu:0")
    assert found is not None
    assert found[0] is Status.UNSUPPORTED
    assert "TensorRT 10.5.0 of 24.04-py3" in found[1]
    image = image_of("24.04-py3", host(images=told))
    assert image is not None
    assert image.confidence == "reported"


def test_another_host_is_asked_about_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "this_driver", never)
    monkeypatch.setattr(preflight, "this_host", never)
    assert preflight_tag("24.04-py3", "gpu:0", host(gpu("T4"))) is None
    found = preflight_tag("24.04-py3", "gpu:0", host(gpu("B200")))
    assert found is not None
    assert found[0] is Status.UNSUPPORTED


def test_an_unknown_tag_comes_before_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    this_machine(monkeypatch, HostFacts())
    found = preflight_tag("24.4-py3", "gpu:0")
    assert found is not None
    assert found[1].startswith("unknown tag '24.4-py3'")


@pytest.mark.parametrize(
    ("driver", "name", "expected"),
    [
        ("610.43.02", "RTX 4090", {}),
        ("580.65", "RTX 4090", {"NVIDIA_DISABLE_REQUIRE": "1"}),
        ("570.195", "H200", {}),  # forward compatibility: the image lists this branch itself
    ],
)
def test_the_hook_is_told_of_minor_version_compatibility(
    driver: str, name: str, expected: dict[str, str]
) -> None:
    image, here = row("26.06"), host(gpu(name), driver=driver)
    assert extra_variables(image, "gpu:0", here) == expected
    assert extra_variables(image, "cpu", here) == {}


def test_without_a_driver_there_is_nothing_to_tell_the_hook() -> None:
    assert extra_variables(row("26.06"), "gpu:0", HostFacts()) == {}


# Processes of this machine


def test_a_process_needs_the_gpu_that_it_is_to_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    this_machine(monkeypatch, host(gpu("H200")))
    assert [gpu_obstacle(device) for device in ("cpu", "gpu:0", "gpu:H200", "gpu:*")] == [None] * 4
    assert gpu_obstacle("gpu:1") == "no GPU here is gpu:1; there is gpu:0 (NVIDIA H200)"
    this_machine(monkeypatch, HostFacts(driver_problem="no NVIDIA driver"))
    assert gpu_obstacle("cpu") is None
    assert gpu_obstacle("gpu:0") == "no NVIDIA driver"


def test_the_gpu_of_a_device_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(preflight, "read_state_if_there", lambda uuid, ours: asked.append(uuid))
    this_machine(monkeypatch, host(gpu("T4"), gpu("T4", 1)))
    for device in ("cpu", "gpu:1", "gpu:7"):
        assert preflight.watch(device) is None
    assert asked == ["GPU-00000001-0000"]


def test_a_process_sees_its_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    this_machine(monkeypatch, host(gpu("T4"), gpu("T4", 1)))
    assert gpu_variables("gpu:1") == {"CUDA_VISIBLE_DEVICES": "GPU-00000001-0000"}
    assert gpu_variables("cpu") == {}
    assert gpu_variables("gpu:7") == {}
