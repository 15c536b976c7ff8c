"""Which GPU a device means, and whether one was disturbed."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hosts import gpu
from trt_matrix.core.hosts.gpu_models import DATA_CENTRE, MODELS, OTHERS, model, similar
from trt_matrix.core.hosts.gpus import GpuState, Machine, disturbed, expanded, holds, meant, words

T4, T4_B, H200 = gpu("T4"), gpu("T4", 1), gpu("H200", 2)
HERE = (T4, T4_B, H200)


@pytest.mark.parametrize(
    ("device", "indices"),
    [
        ("gpu:*", [0, 1, 2]),
        ("gpu:1", [1]),
        ("gpu:3", []),
        ("gpu:T4", [0, 1]),
        ("gpu:t4", [0, 1]),
        ("gpu:Tesla T4", [0, 1]),
        ("gpu:NVIDIA H200", [2]),
        ("gpu:H100", []),
        ("gpu:H20", []),
        ("gpu:H2", []),
        ("GPU-00000002-0000", [2]),
        ("GPU-00000002", []),
    ],
)
def test_what_a_device_means(device: str, indices: list[int]) -> None:
    assert [one.index for one in meant(device, HERE)] == indices


def test_a_name_in_full_comes_before_one_that_goes_on() -> None:
    plain, ti = gpu("RTX 4070"), gpu("RTX 4070 Ti", 1)
    assert meant("gpu:RTX 4070", (plain, ti)) == (plain,)
    assert meant("gpu:4070 Ti", (plain, ti)) == (ti,)
    assert meant("gpu:4070", (plain, ti)) == ()  # a number is a place


def test_devices_become_the_gpus_that_are_here() -> None:
    assert expanded(["cpu", "gpu:*"], HERE) == ("cpu", "gpu:0", "gpu:1", "gpu:2")
    assert expanded(["gpu:H200", "cpu"], HERE) == ("gpu:2", "cpu")


def test_one_gpu_written_twice_is_one_device() -> None:
    assert expanded(["gpu:H200", "gpu:2", H200.uuid, "gpu:*"], HERE) == ("gpu:2", "gpu:0", "gpu:1")


def test_what_means_no_gpu_here_keeps_its_row() -> None:
    assert expanded(["cpu", "gpu:*", "gpu:A100"], ()) == ("cpu", "gpu:*", "gpu:A100")
    assert expanded(["gpu:*", "gpu:A100"], (T4,)) == ("gpu:0", "gpu:A100")


def test_the_same_place_with_another_card_or_driver_is_another_device() -> None:
    found = {
        Machine(driver="535.1", gpus=(T4,)).decides("gpu:0"),
        Machine(driver="550.1", gpus=(T4,)).decides("gpu:0"),
        Machine(driver="535.1", gpus=(dataclasses.replace(T4, uuid="GPU-9"),)).decides("gpu:0"),
    }
    assert len(found) == 3


def test_what_jobs_cannot_share_has_one_name() -> None:
    here, there = Machine(driver="535.1", gpus=HERE), Machine(name="t4box", gpus=(T4,))
    assert here.place("gpu:H200") == here.place("gpu:2") == H200.uuid
    assert here.place("cpu") == here.decides("cpu") == "cpu"
    assert there.place("cpu") == "t4box/cpu"
    assert there.place("gpu:1") == "t4box/gpu:1", "no such card: the engine will say so"


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_name_holds_itself_and_any_text_is_a_name(one: str, more: str) -> None:
    assert holds(words(one), words(one)) is bool(words(one))
    if words(one):
        assert holds(words(f"{one} {more}"), words(one))


# Models


@pytest.mark.parametrize(
    ("name", "capability", "data_centre"),
    [
        ("T4", (7, 5), True),
        ("Tesla V100-SXM2-16GB", (7, 0), True),
        ("NVIDIA A100-SXM4-80GB", (8, 0), True),
        ("NVIDIA H200", (9, 0), True),
        ("H100 NVL", (9, 0), True),
        ("A10G", (8, 6), True),
        ("NVIDIA GeForce RTX 4070 Ti", (8, 9), False),
        ("rtx4090", (8, 9), False),
        ("4090", (8, 9), False),
        ("1080", (6, 1), False),
        ("Quadro RTX 6000", (7, 5), False),
        ("NVIDIA RTX 6000 Ada Generation", (8, 9), False),
        ("A6000", (8, 6), False),
        ("8.6", (8, 6), True),
        ("sm_90", (9, 0), True),
        ("sm120", (12, 0), True),
        ("12.1", (12, 1), False),
    ],
)
def test_gpus_by_name(name: str, capability: tuple[int, int], data_centre: bool) -> None:
    gpu_model = model(name)
    assert gpu_model is not None
    assert (gpu_model.capability, gpu_model.data_centre) == (capability, data_centre)


@pytest.mark.parametrize("name", ["", "H20", "6000", "9.9", "RTX", "Radeon 7900", "…"])
def test_what_is_no_gpu_or_may_be_several(name: str) -> None:
    assert model(name) is None


def test_an_unknown_name_has_similar_ones() -> None:
    assert "RTX 4090" in similar("RTX 40900")
    assert similar("") == []


def test_every_model_is_found_by_its_own_name_and_is_there_once() -> None:
    assert len(MODELS) == len({words(model.name) for model in MODELS})
    for gpu_model in MODELS:
        assert model(gpu_model.name) == gpu_model
        assert model(f"NVIDIA GeForce {gpu_model.name}") == gpu_model
    assert (
        not set(DATA_CENTRE)
        - set(OTHERS)
        - {(10, 3), (10, 0), (9, 0), (8, 0), (3, 7), (3, 5), (3, 0)}
    )


# Disturbance

QUIET = GpuState(
    uuid="GPU-1",
    time_ns=10**9,
    sm_clock_mhz=375,
    set_clocks_mhz=(1980, 3201),
    power_w=88.0,
    power_limit_w=700.0,
    temperature_c=42,
    utilisation=0.0,
    held_back_ns={"heat": 0, "power": 5},
)
LATER = dataclasses.replace(
    QUIET, time_ns=11 * 10**9, sm_clock_mhz=1980, power_w=294.0, temperature_c=62, utilisation=0.9
)
"""After a job of ours: warm, its clocks up, its last kernels still in the sample."""


def test_our_own_work_is_no_disturbance() -> None:
    assert disturbed(QUIET, LATER) is None
    assert disturbed(QUIET, QUIET) is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({"processes": ("python (7)",)}, {}, "the GPU was busy with python (7)"),
        ({}, {"processes": ("b (2)", "a (1)")}, "the GPU was busy with a (1), b (2)"),
        ({"utilisation": 0.4}, {}, "the GPU was busy: 40% used before the job"),
        ({}, {"slowdowns": ("heat",)}, "it was throttled: heat"),
        ({}, {"set_clocks_mhz": (1200, 3201)}, "its clocks were set from 1980/3201 MHz to 1200/3201 MHz"),
        ({}, {"set_clocks_mhz": ()}, "its clocks were set from 1980/3201 MHz to unset"),
        ({}, {"power_limit_w": 350.0}, "its power limit went from 700.0 W to 350.0 W"),
        ({}, {"held_back_ns": {"heat": 8 * 10**9}}, "it was throttled: heat held its clocks back 80% of the time"),
        ({}, {"uuid": "GPU-2"}, "another GPU: GPU-1 before, GPU-2 after"),
    ],
)  # fmt: skip
def test_disturbances(before: dict[str, object], after: dict[str, object], why: str) -> None:
    found = disturbed(
        dataclasses.replace(QUIET, **before),  # type: ignore[arg-type]
        dataclasses.replace(LATER, **after),  # type: ignore[arg-type]
    )
    assert found == why


def test_a_load_of_our_own_that_reaches_the_power_limit_is_no_disturbance() -> None:
    # Measured on an H200 under large matrix products: 62 % of the time.
    assert disturbed(QUIET, dataclasses.replace(LATER, held_back_ns={"power": 6 * 10**9})) is None


def test_a_little_is_not_told() -> None:
    held = dataclasses.replace(LATER, held_back_ns={"heat": 10**8})
    assert disturbed(dataclasses.replace(QUIET, utilisation=0.02), held) is None


def test_a_card_that_tells_nothing_is_not_suspected() -> None:
    before, after = (GpuState(uuid="GPU-1", time_ns=now) for now in (0, 0))
    assert disturbed(before, after) is None
    # Told of after the job only: there is nothing to compare it with.
    assert disturbed(before, dataclasses.replace(after, held_back_ns={"heat": 10**12})) is None
