"""The rules of preflight against cases that published texts and users told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hosts import gpu, host, row
from trt_matrix.config import catalog
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.cdi import Cdi
from trt_matrix.core.hosts.compatibility import (
    DriverSupport,
    HostFacts,
    ImageFacts,
    capability_range,
    driver_support,
    gpu_obstacle,
    obstacles,
    version,
)
from trt_matrix.core.hosts.gpu_models import MODELS, GpuModel
from trt_matrix.core.hosts.gpus import Gpu

NEW = "615.10"

# Compute capability


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        # Each: the first and the last container for the card, and that the ones beside refuse it.
        ("H200", "22.10", "26.08"),  # Hopper needs CUDA 11.8
        ("H100", "22.10", "26.08"),
        ("B200", "25.01", "26.08"),  # Blackwell needs TensorRT 10.8
        ("RTX 5090", "25.01", "26.08"),
        ("GB10", "25.11", "26.08"),
        ("Thor", "25.11", "26.08"),  # TensorRT 10.14
        ("L4", "22.10", "26.08"),
        ("A10", "20.10", "26.08"),  # CUDA 11.1
        ("A100", "20.06", "26.08"),  # CUDA 11.0
        ("T4", "18.09", "26.08"),  # CUDA 10
        ("V100", "18.06", "24.09"),  # TensorRT 10.5 dropped Volta
        ("P100", "18.06", "24.04"),  # TensorRT 10.0 dropped Pascal
        ("P4", "18.06", "24.04"),
        ("M60", "18.06", "24.04"),  # and Maxwell
        ("K80", "18.06", "23.03"),  # TensorRT 8.6 dropped Kepler
        ("K10", "18.06", "21.06"),  # TensorRT 8.0 dropped 3.0
    ],
)
def test_which_containers_a_gpu_can_run(name: str, first: str, last: str) -> None:
    able = [facts.tag for facts in catalog.rows() if gpu_obstacle(facts, NEW, gpu(name)) is None]
    assert (able[0], able[-1]) == (f"{first}-py3", f"{last}-py3")
    tags = [facts.tag for facts in catalog.rows()]
    assert able == tags[tags.index(able[0]) : tags.index(able[-1]) + 1]


def test_no_gpu_spans_everything() -> None:
    spans = [
        all(gpu_obstacle(facts, NEW, gpu(m.name)) is None for facts in catalog.rows())
        for m in MODELS
    ]
    assert not any(spans)


def test_an_architecture_that_an_image_never_knows_is_unsupported_and_names_the_nearest() -> None:
    found = obstacles(row("19.09"), host(gpu("H200")), "gpu:0", catalog.rows())
    assert found == (
        Status.UNSUPPORTED,
        "TensorRT 6.0.1 of 19.09-py3 is for compute capability 3.0 to 7.5, NVIDIA H200 has 9.0; "
        "the nearest that would run: 22.10-py3 (TensorRT 8.5.0.12)",
    )


def test_the_nearest_may_be_older() -> None:
    found = obstacles(row("26.08"), host(gpu("V100"), driver="535.104"), "gpu:0", catalog.rows())
    assert found is not None
    assert found[0] is Status.UNSUPPORTED
    assert found[1].endswith("the nearest that would run: 24.09-py3 (TensorRT 10.4.0)")


def test_no_container_would_run() -> None:
    found = obstacles(row("26.08"), host(gpu("B200"), driver="304.1"), "gpu:0", catalog.rows())
    assert found is not None
    assert found[1].endswith("; no container of the catalogue would run")


@pytest.mark.parametrize("tensorrt", ["3.0.1", None])
def test_a_release_that_is_not_known_has_no_bounds(tensorrt: str | None) -> None:
    assert capability_range(tensorrt, "9.0") == (None, None)
    assert gpu_obstacle(ImageFacts(tensorrt=tensorrt), NEW, gpu("H200")) is None


# Drivers

N, M, F = DriverSupport.NATIVE, DriverSupport.MINOR_VERSION, DriverSupport.FORWARD


@pytest.mark.parametrize(
    ("month", "driver", "name", "support"),
    [
        # Newer drivers run older CUDA.
        ("18.12", "580.159.04", "T4", N),
        ("24.04", "550.54.15", "T4", N),
        ("24.04", "550.54.14", "T4", M),
        # CUDA 11.x from 450.80.02, 12.x from 525, 13.x from 580, on any card.
        ("22.12", "450.80.02", "RTX 3090", M),
        ("22.12", "450.80.01", "RTX 3090", None),
        ("25.06", "525.60.13", "RTX 4090", M),
        ("25.06", "520.61.05", "RTX 4090", None),
        ("26.03", "580.105.08", "T4", M),  # a user ran exactly this
        ("26.04", "595.91", "T4", N),  # and this
        ("26.06", "580.65", "RTX 5090", M),
        ("26.06", "575.57.08", "RTX 5090", None),
        # CUDA 9 and 10 have no such rule.
        ("19.09", "418.39", "RTX 2080", N),
        ("19.09", "417.35", "RTX 2080", None),
        ("18.06", "384.81", "V100", N),
        ("18.06", "375.66", "V100", None),
        # Compatibility packages, on data-centre GPUs, of the branches that they name.
        ("19.09", "410.104", "T4", F),
        ("19.09", "384.145", "T4", F),
        ("19.09", "384.81", "T4", None),
        ("19.09", "396.44", "T4", F),
        ("19.09", "390.12", "T4", None),
        ("19.09", "410.104", "RTX 2080", None),
        ("20.09", "440.33", "T4", F),
        ("20.09", "440.20", "T4", None),
        ("20.09", "418.226", "T4", F),
        ("20.09", "430.64", "T4", None),
        ("20.09", "440.33", "RTX 2080", None),
        ("21.09", "460.27.04", "T4", M),
        ("21.09", "440.33.01", "T4", F),
        ("23.08", "470.57.02", "T4", F),
        ("23.08", "470.42.01", "T4", None),
        ("23.08", "510.47.03", "T4", F),
        ("23.08", "515.65.01", "T4", None),
        ("24.06", "470.57.02", "V100", F),
        ("25.01", "470.256.02", "A100", F),
        ("25.06", "470.256.02", "A100", None),
        ("26.01", "570.195.03", "H200", F),
        ("26.01", "550.54.15", "H200", F),
        ("26.03", "550.54.15", "H200", None),
        ("26.03", "535.104.05", "H200", F),
        ("26.03", "570.195.03", "RTX 4090", None),
        # What is not known of a month is what its CUDA release has.
        ("21.06", "440.33.01", "T4", F),
        ("22.06", "450.80.02", "RTX 3090", M),
        ("23.10", "525.60.13", "RTX 4090", M),
        ("23.10", "470.57.02", "RTX 3090", None),
    ],
)  # fmt: skip
def test_how_a_driver_runs_a_container(
    month: str, driver: str, name: str, support: DriverSupport | None
) -> None:
    assert driver_support(row(month), driver, gpu(name)) is support
    refused = gpu_obstacle(row(month), driver, gpu(name))
    if support is None:
        assert refused is not None
        assert refused[0] is Status.UNAVAILABLE
        assert f"driver {driver} is too old" in refused[1]
    else:
        assert refused is None


def test_a_driver_too_old_says_which_is_needed() -> None:
    here = host(gpu("H200"), driver="550.54.15")
    assert obstacles(row("26.05"), here, "gpu:0", catalog.rows()) == (
        Status.UNAVAILABLE,
        "driver 550.54.15 is too old for CUDA 13.2.1.009 of 26.05-py3: it needs 580 or later "
        "(or of R535, R570); the nearest that would run: 26.06-py3 (TensorRT 11.0.0.114)",
    )
    geforce = obstacles(row("26.08"), host(gpu("RTX 4090"), driver="535.1"), "gpu:0")
    assert geforce == (
        Status.UNAVAILABLE,
        "driver 535.1 is too old for CUDA 13.4.1 of 26.08-py3: it needs 580 or later",
    )


DRIVERS = st.tuples(st.integers(300, 620), st.integers(0, 250)).map(lambda v: f"{v[0]}.{v[1]:02d}")
ROWS = st.sampled_from(catalog.rows())
GPUS = st.sampled_from(MODELS).map(lambda gpu_model: gpu(gpu_model.name))


@given(ROWS, GPUS.filter(lambda one: not one.data_centre), DRIVERS, DRIVERS)
def test_a_newer_driver_never_stops_a_container(
    image: ImageFacts, card: Gpu, one: str, other: str
) -> None:
    older, newer = sorted((one, other), key=version)
    if driver_support(image, older, card) is not None:
        assert driver_support(image, newer, card) is not None


@given(ROWS, GPUS, DRIVERS, st.integers(0, 250))
def test_a_newer_driver_of_the_same_branch_never_stops_a_container(
    image: ImageFacts, card: Gpu, driver: str, more: int
) -> None:
    branch, _, release = driver.partition(".")
    newer = f"{branch}.{int(release) + more}"
    if driver_support(image, driver, card) is not None:
        assert driver_support(image, newer, card) is not None


@given(ROWS, DRIVERS, st.sampled_from([m for m in MODELS if m.data_centre]))
def test_a_data_centre_gpu_runs_whatever_its_geforce_twin_runs(
    image: ImageFacts, driver: str, one: GpuModel
) -> None:
    card = gpu(one.name)
    twin = type(card)(
        index=0, name="GeForce", uuid="GPU-1", capability=card.capability, data_centre=False
    )
    if gpu_obstacle(image, driver, twin) is None:
        assert gpu_obstacle(image, driver, card) is None


@given(ROWS, GPUS, DRIVERS, st.booleans(), st.booleans(), st.integers(0, 10**11))
def test_every_refusal_is_of_the_two_kinds_and_says_something(
    image: ImageFacts, card: Gpu, driver: str, runtime: bool, docker: bool, free: int
) -> None:
    here = host(
        card,
        driver=driver,
        nvidia_runtime=runtime,
        docker=None if docker else "Docker does not answer",
        disk_free_bytes=free,
    )
    found = obstacles(image, here, "gpu:0", catalog.rows())
    if found is not None:
        status, reason = found
        assert status in (Status.UNSUPPORTED, Status.UNAVAILABLE)
        assert reason
        # Only what the image itself refuses can never be helped on this GPU.
        assert (status is Status.UNSUPPORTED) is ("compute capability" in reason)


# Docker, disk, registries, devices


def test_what_stands_in_the_way_is_told_in_the_order_of_what_can_be_done_least() -> None:
    card, image = gpu("H200"), row("26.06")
    everything: dict[str, Any] = {
        "docker": "Docker does not answer",
        "nvidia_runtime": False,
        "disk_free_bytes": 10**9,
    }
    told = []
    for repair in ({"docker": None}, {"nvidia_runtime": True}, {"disk_free_bytes": 10**12}):
        found = obstacles(image, host(card, **everything), "gpu:0")
        assert found is not None
        assert found[0] is Status.UNAVAILABLE
        told.append(found[1])
        everything |= repair
    assert told[0] == "Docker does not answer"
    assert told[1].startswith("Docker cannot reach the GPUs: install nvidia-container-toolkit")
    assert told[2].startswith("26.06-py3 takes about 11 GB of disk, Docker has 1.0 GB free")
    assert obstacles(image, host(card, **everything), "gpu:0") is None


def by_cdi(*names: str, cards: int = 1) -> HostFacts:
    cards_ = [gpu("H200", index) for index in range(cards)]
    return host(*cards_, nvidia_runtime=False, cdi=Cdi(frozenset(names)))


@pytest.mark.parametrize(
    "here", [by_cdi("0"), by_cdi("GPU-00000000-0000"), by_cdi("all"), by_cdi("1", "all", cards=2)]
)
def test_cdi_is_a_way_to_the_gpus(here: HostFacts) -> None:
    assert obstacles(row("26.06"), here, "gpu:*") is None


def test_a_cdi_specification_that_is_missing_or_of_other_gpus() -> None:
    for here, device, words in (
        (by_cdi(), "gpu:0", "no specification of NVIDIA's GPUs: `sudo nvidia-ctk cdi generate"),
        (
            by_cdi("GPU-old"),
            "gpu:0",
            "gives no GPU-00000000-0000, 0, only GPU-old: it is of other GPUs",
        ),
        # `all` of two is not the one that is meant.
        (by_cdi("0", "all", cards=2), "gpu:1", "gives no GPU-00000001-0000, 1, only 0, all"),
    ):
        found = obstacles(row("26.06"), here, device)
        assert found is not None
        assert found[0] is Status.UNAVAILABLE
        assert words in found[1]


def test_a_gpu_by_the_name_that_its_specification_gives_it() -> None:
    first, second = gpu("H200"), gpu("H200", 1)
    both = (first, second)
    for names, name in (
        (("0", first.uuid, "all"), first.uuid),
        (("0", "1", "all"), "0"),
        (("all",), None),
    ):
        wanted = name and f"nvidia.com/gpu={name}"
        assert Cdi(frozenset(names)).device(first, both) == wanted
    assert Cdi(frozenset({"all"})).device(first, [first]) == "nvidia.com/gpu=all"
    assert Cdi(None).device(second, both) == f"nvidia.com/gpu={second.uuid}"


def test_an_image_that_is_here_needs_neither_disk_nor_login() -> None:
    image = ImageFacts(reference="nvcr.io/own/x:1", size_bytes=10**10, registry_login="nvcr.io")
    poor = host(disk_free_bytes=0)
    assert obstacles(image, host(disk_free_bytes=0, images={"nvcr.io/own/x:1": {}}), "cpu") is None
    found = obstacles(image, poor, "cpu")
    assert found is not None
    assert "wants a login" in found[1]
    found = obstacles(image, host(disk_free_bytes=0, logins=frozenset({"nvcr.io"})), "cpu")
    assert found is not None
    assert "about 10 GB" in found[1]


def test_what_is_not_known_forbids_nothing() -> None:
    card = gpu("T4")
    assert obstacles(ImageFacts(), host(card, disk_free_bytes=None), "gpu:0") is None
    assert driver_support(ImageFacts(), "300", card) is DriverSupport.UNKNOWN
    assert obstacles(ImageFacts(), host(), "cpu") is None


def test_tensorrt_has_no_cpu() -> None:
    assert obstacles(row("24.04"), host(), "cpu") == (
        Status.UNSUPPORTED,
        "TensorRT runs on GPUs only",
    )


def test_no_driver_and_a_driver_that_does_not_answer() -> None:
    assert obstacles(row("24.04"), HostFacts(), "gpu:*") == (Status.UNAVAILABLE, "no NVIDIA driver")
    odd = HostFacts(driver_problem="the NVIDIA driver does not answer")
    assert obstacles(row("24.04"), odd, "gpu:0") == (
        Status.UNAVAILABLE,
        "the NVIDIA driver does not answer",
    )


@pytest.mark.parametrize("device", ["gpu:7", "gpu:T4", "GPU-ffff"])
def test_a_gpu_that_is_not_here_says_which_are(device: str) -> None:
    found = obstacles(row("24.04"), host(gpu("H200")), device)
    assert found == (Status.UNAVAILABLE, f"no GPU here is {device}; there is gpu:0 (NVIDIA H200)")


def test_of_several_gpus_one_must_do() -> None:
    both = host(gpu("V100"), gpu("H200", 1))
    assert obstacles(row("26.06"), both, "gpu:*") is None
    found = obstacles(row("26.06"), both, "gpu:0")
    assert found is not None
    assert found[0] is Status.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("5.0.0 RC", (5, 0, 0)),
        ("10.1 Update 1", (10, 1)),
        ("440.33.01", (440, 33, 1)),
        ("8.2.2.1+cuda11.4.2.006", (8, 2, 2, 1)),
        ("v10.3", (10, 3)),
        ("384", (384,)),
    ],
)
def test_versions_as_nvidia_writes_them(text: str, release: tuple[int, ...]) -> None:
    assert version(text).release == release


def test_a_release_candidate_comes_before_its_release() -> None:
    assert version("5.0.0 RC") < version("5.0.0")


@pytest.mark.parametrize("text", ["", "abc", ".5", "-1"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        version(text)
