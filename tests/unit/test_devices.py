"""What is read from the driver, over a fake whose surface is that of the real module."""

import dataclasses
import inspect

import pynvml
import pytest

from tests.fakes.nvml import Card, Nvml
from trt_matrix.core.hosts.gpus import OWN_LOAD, disturbed
from trt_matrix.environments.devices import (
    HELD_BACK,
    SLOWDOWNS,
    read_driver,
    read_state,
    read_state_if_there,
)

H200 = "GPU-d3615187-a850-b4eb-26fa-36c0adccf198"


@pytest.fixture(autouse=True)
def closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins without a driver, whatever machine it runs on."""
    Nvml(start=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND).install(monkeypatch)


def test_the_fake_has_the_surface_of_the_real_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    names = [name for name in dir(Nvml) if name.startswith("nvml")]
    assert len(names) > 15
    for name in names:
        theirs = list(inspect.signature(getattr(pynvml, name)).parameters.values())
        ours = list(inspect.signature(getattr(Nvml(), name)).parameters.values())
        assert len(ours) <= len(theirs), name
        assert all(parameter.default is not parameter.empty for parameter in theirs[len(ours) :]), (
            name
        )


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "no NVIDIA driver"),
        (
            pynvml.NVML_ERROR_NO_PERMISSION,
            "the NVIDIA driver does not answer (Insufficient Permissions); see `nvidia-smi`",
        ),
    ],
)
def test_no_driver(monkeypatch: pytest.MonkeyPatch, error: int, problem: str) -> None:
    Nvml(start=error).install(monkeypatch)
    driver = read_driver()
    assert (driver.version, driver.problem, driver.gpus) == (None, problem, ())


def test_without_the_fake_the_real_library_says_whether_there_is_a_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    driver = read_driver()
    assert (driver.version is None) is (driver.problem is not None)


def test_a_driver_and_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    t4 = Card(name="Tesla T4", uuid="GPU-2", brand=pynvml.NVML_BRAND_TESLA, capability=(7, 5))
    rtx = Card(name="NVIDIA GeForce RTX 4090", uuid="GPU-3", brand=pynvml.NVML_BRAND_GEFORCE)
    nvml = Nvml(Card(), t4, rtx).install(monkeypatch)
    driver = read_driver()
    assert (driver.version, driver.problem, driver.cuda) == ("580.159.04", None, "13.0")
    assert [gpu.index for gpu in driver.gpus] == [0, 1, 2]
    assert [gpu.data_centre for gpu in driver.gpus] == [True, True, False]
    first = driver.gpus[0]
    assert (first.name, first.uuid, first.capability) == ("NVIDIA H200", H200, (9, 0))
    assert first.memory_bytes == 150_754_820_096
    assert nvml.opened == 0


def test_a_lost_gpu_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Card(refuses={"nvmlDeviceGetHandleByIndex": pynvml.NVML_ERROR_GPU_IS_LOST})
    nvml = Nvml(lost, Card(uuid="GPU-2")).install(monkeypatch)
    driver = read_driver()
    assert [gpu.uuid for gpu in driver.gpus] == ["GPU-2"]
    assert driver.silent == ("gpu:0: GPU is lost",)
    assert nvml.opened == 0


def test_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(Card(used=30, pids=(4711, 12, 99))).install(monkeypatch)
    nvml.process_names = {4711: "/usr/bin/python3"}
    state = read_state(H200, ours=frozenset({99}))
    assert (state.sm_clock_mhz, state.memory_clock_mhz) == (375, 3201)
    assert state.set_clocks_mhz == (1980, 3201)
    assert (state.power_w, state.power_limit_w) == (87.669, 700.0)
    assert (state.temperature_c, state.utilisation) == (42, 0.3)
    assert state.slowdowns == ()
    assert state.held_back_ns == {"heat": 0, "power": 0, "board limit": 0, "reliability": 0}
    assert state.processes == ("python3 (4711)", "process 12")
    assert nvml.opened == 0


def test_a_card_that_tells_little(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = {
        name: pynvml.NVML_ERROR_NOT_SUPPORTED
        for name in dir(Nvml)
        if name.startswith("nvmlDeviceGet") and "Handle" not in name
    }
    Nvml(Card(refuses=silent)).install(monkeypatch)
    state = read_state(H200)
    assert dataclasses.replace(state, time_ns=0) == type(state)(uuid=H200, time_ns=0)
    assert disturbed(state, read_state(H200)) is None


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN])
def test_a_gpu_that_fails_is_no_card_that_tells_little(
    monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    nvml = Nvml(Card(refuses={"nvmlDeviceGetPowerUsage": error})).install(monkeypatch)
    with pytest.raises(pynvml.NVMLError):
        read_state(H200)
    assert nvml.opened == 0


def test_no_such_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Nvml(Card()).install(monkeypatch)
    with pytest.raises(pynvml.NVMLError_NotFound):
        read_state("GPU-0")


@pytest.mark.parametrize(("bit", "name"), SLOWDOWNS.items())
def test_heat_and_hardware_slow_down(monkeypatch: pytest.MonkeyPatch, bit: int, name: str) -> None:
    card = Card(reasons=bit | pynvml.nvmlClocksThrottleReasonSwPowerCap)
    Nvml(card).install(monkeypatch)
    state = read_state(H200)
    assert state.slowdowns == (name,)
    assert disturbed(state, state) == f"it was throttled: {name}"


@pytest.mark.parametrize(("cause", "policy"), HELD_BACK.items())
def test_clocks_held_back_between_two_states(
    monkeypatch: pytest.MonkeyPatch, cause: str, policy: int
) -> None:
    card = Card()
    Nvml(card).install(monkeypatch)
    before = read_state(H200)
    card.held_back[policy] += 10**12
    after = read_state(H200)
    assert after.held_back_ns[cause] == 10**12
    if cause != OWN_LOAD:
        found = disturbed(before, after)
        assert found is not None
        assert found.startswith(f"it was throttled: {cause} held its clocks back")


def test_a_gpu_that_is_gone_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_state_if_there(H200) is None
    Nvml(Card()).install(monkeypatch)
    assert read_state_if_there("GPU-0") is None
    assert read_state_if_there(H200) is not None
