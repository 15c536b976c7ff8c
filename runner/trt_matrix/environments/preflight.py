"""Can an image run here? Asked before anything is pulled: this host's facts and the pure rules.

A container environment calls `preflight` from its `obstacle`.
"""

import functools
import os
from collections.abc import Mapping

from trt_matrix.config import catalog
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.compatibility import (
    DriverSupport,
    HostFacts,
    ImageFacts,
    Obstacle,
    driver_support,
    obstacles,
)
from trt_matrix.core.hosts.gpus import GpuState, Machine, absent, meant
from trt_matrix.environments.devices import Driver, read_driver, read_state_if_there
from trt_matrix.environments.host import read_host
from trt_matrix.environments.machine import this_processor


@functools.cache
def this_driver() -> Driver:
    """Returns this machine's NVIDIA driver and GPUs, asked once a command."""
    return read_driver()


@functools.cache
def this_host() -> HostFacts:
    """Returns this machine's facts, asked once a command."""
    return read_host()


def this_machine() -> Machine:
    """Returns this machine as a place for jobs."""
    driver = this_driver()
    return Machine(driver=driver.version, gpus=driver.gpus, processor=this_processor())


def gpu_obstacle(device: str) -> str | None:
    """Returns why a process of this machine has no such GPU; None where it has, and for `cpu`."""
    if device == "cpu":
        return None
    return this_driver().problem or absent(device, this_driver().gpus)


def gpu_variables(device: str) -> dict[str, str]:
    """Returns the variables that show a process the GPU that its device means, and no other."""
    gpus = () if device == "cpu" else meant(device, this_driver().gpus)
    return {"CUDA_VISIBLE_DEVICES": gpus[0].uuid} if gpus else {}


def watch(device: str) -> GpuState | None:
    """Returns what the GPU of a device does now; None for `cpu` and for GPUs that are not here."""
    gpus = () if device == "cpu" else meant(device, this_driver().gpus)
    return read_state_if_there(gpus[0].uuid, ours=frozenset({os.getpid()})) if gpus else None


def preflight(image: ImageFacts, device: str, host: HostFacts | None = None) -> Obstacle | None:
    """Returns why an image cannot run on a device; None where nothing speaks against it.

    Args:
        image: `catalog.find(tag)`, or `ImageFacts(reference=…)` of any other image; with
            `catalog.corrected` where the image is here already and tells its versions.
        device: `cpu`, `gpu:*`, `gpu:0`, `gpu:T4` or a uuid.
        host: Where; default: this machine.

    Returns:
        `unsupported` (this image never can on this GPU) or `unavailable` (this host cannot), the
        reason and the nearest container that would run.
    """
    if host is None and (image.tensorrt if device == "cpu" else this_driver().version is None):
        # Docker need not be asked: nothing that it says would help.
        return obstacles(image, HostFacts(driver_problem=this_driver().problem), device)
    candidates = catalog.rows() if image.tensorrt else ()
    return obstacles(image, host or this_host(), device, candidates)


def preflight_tag(tag: str, device: str, host: HostFacts | None = None) -> Obstacle | None:
    """Returns `preflight` of one of NVIDIA's TensorRT containers."""
    image = image_of(tag, host)
    if image is None:
        return Status.UNAVAILABLE, catalog.unknown(tag)
    return preflight(image, device, host)


def image_of(tag: str, host: HostFacts | None = None) -> ImageFacts | None:
    """Returns what is known of a container; what it tells itself, where it is on the host, wins."""
    row = catalog.find(tag)
    if row is None or (host is None and this_driver().version is None):
        return row
    return catalog.corrected(row, (host or this_host()).images.get(row.reference or "", {}))


def extra_variables(
    image: ImageFacts, device: str, host: HostFacts | None = None
) -> Mapping[str, str]:
    """Returns the variables that a container of this image must be started with on a device.

    NVIDIA's hook compares the driver with what the image asks for and knows no minor-version
    compatibility of GeForce cards: where the driver does run the image, it is told not to.
    """
    facts = host or this_host()
    driver = facts.driver
    if device == "cpu" or driver is None:
        return {}
    support = {driver_support(image, driver, gpu) for gpu in meant(device, facts.gpus)}
    return {"NVIDIA_DISABLE_REQUIRE": "1"} if DriverSupport.MINOR_VERSION in support else {}
