"""Whether an image can run on a host: its driver, its GPUs, its disk; rules only, no I/O.

Every rule and its source is told in docs/how-to/containers.md. Where a fact is not known, no rule speaks:
a wrong "no" hides a cell for ever, a wrong "yes" costs one failed start, which says so itself.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from packaging.version import Version

from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.cdi import Cdi
from trt_matrix.core.hosts.gpus import Capability, Gpu, absent, meant, written

Obstacle = tuple[Status, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """What an image holds and asks for; None is not known."""

    tag: str | None = None
    """Of NVIDIA's TensorRT containers; None for any other image."""
    tensorrt: str | None = None
    cuda: str | None = None
    cuda_major: int | None = None
    """Known also where only the months around it tell."""
    cudnn: str | None = None
    python: str | None = None
    driver_min: str | None = None
    """Driver that its CUDA release came with: enough on any GPU."""
    driver_branches: tuple[str, ...] = ()
    """Older branches that its compatibility package supports on data-centre GPUs; each its first
    release: 450.51 is R450 from there on, 418 all of R418."""
    capability_min: Capability | None = None
    capability_max: Capability | None = None
    size_bytes: int | None = None
    """On disk."""
    confidence: str | None = None
    """`documented`, `secondary`, `inferred`, or `reported` by the container itself."""
    registry_login: str | None = None
    """Registry that gives it only to those logged in; None where all may pull."""
    reference: str | None = None
    """Where it is pulled from: `nvcr.io/nvidia/tensorrt:24.04-py3`."""

    @property
    def name(self) -> str:
        return self.tag or "this image"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What a Docker host offers."""

    docker: str | None = None
    """Why Docker does not answer; None where it does."""
    docker_version: str | None = None
    rootless: bool = False
    """Whether it runs as a user."""
    limits: bool = True
    """Whether it limits a container's memory and processes; a rootless one does by cgroup v2 and systemd alone."""
    nvidia_runtime: bool = False
    cdi: Cdi | None = None
    """What it gives by CDI; None where Docker has none."""
    driver: str | None = None
    driver_problem: str | None = None
    """Why there is no `driver`."""
    gpus: tuple[Gpu, ...] = ()
    disk_free_bytes: int | None = None
    """Where Docker keeps images; None where that cannot be asked for, as on another host."""
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Reference of every image that it has → the versions that its labels tell."""
    logins: frozenset[str] = frozenset()
    """Registries that Docker has credentials for; never the credentials."""


class DriverSupport(StrEnum):
    """How a driver runs the CUDA release of an image."""

    NATIVE = "native"
    MINOR_VERSION = "minor-version compatibility"
    """The container is to be started with NVIDIA_DISABLE_REQUIRE=1: its hook asks for more."""
    FORWARD = "forward compatibility"
    UNKNOWN = "unknown"


MINOR_VERSION_DRIVER = {11: "450.80.02", 12: "525", 13: "580"}
"""CUDA major → the driver from which all its minor versions run on any GPU."""

CAPABILITIES: tuple[tuple[str, str | None, str | None], ...] = (
    # from TensorRT, oldest, newest compute capability; newest None: CUDA decides
    ("4.0", "3.0", "7.0"),
    ("5.0", "3.0", "7.5"),
    ("7.1", "3.0", None),
    ("8.0", "3.5", None),
    ("8.6", "5.0", "9.0"),
    ("10.0", "7.0", "9.0"),
    ("10.5", "7.5", "9.0"),
    ("10.8", "7.5", "12.0"),
    ("10.14", "7.5", "12.1"),
)
NEWEST_BY_CUDA: tuple[tuple[str, str], ...] = (("11.0", "8.0"), ("11.1", "8.6"), ("11.8", "9.0"))
THOR, THOR_FROM = (11, 0), "10.14"
"""Newer than the 10.x and older than the 12.x cards that TensorRT knew before it."""


def version(text: str) -> Version:
    """Reads versions as NVIDIA writes them: `5.0.0 RC`, `10.1 Update 1`, `440.33.01`, `8.2.2+cuda11`.

    Raises:
        ValueError: it begins with no number.
    """
    match_ = re.match(r"\s*v?(\d+(?:\.\d+)*)(\s*RC)?", text)
    if match_ is None:
        message = f"{text!r:.40} is no version"
        raise ValueError(message)
    return Version(match_[1] + ("rc0" if match_[2] else ""))


def capability(text: str) -> Capability:
    """Reads `8.6` as (8, 6)."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def capability_range(
    tensorrt: str | None, cuda: str | None
) -> tuple[Capability | None, Capability | None]:
    """Returns the oldest and newest compute capability that a TensorRT release knows."""
    if tensorrt is None:
        return None, None
    release = version(tensorrt).release
    known = [row for row in CAPABILITIES if version(row[0]).release <= release]
    if not known:
        return None, None
    _, oldest, newest = known[-1]
    if newest is None and cuda is not None:
        by_cuda = [most for least, most in NEWEST_BY_CUDA if version(least) <= version(cuda)]
        newest = by_cuda[-1] if by_cuda else None
    return capability(oldest) if oldest else None, capability(newest) if newest else None


def obstacles(
    image: ImageFacts, host: HostFacts, device: str, nearest: Sequence[ImageFacts] = ()
) -> Obstacle | None:
    """Returns why an image cannot run on a device of a host; None where nothing speaks against it.

    Args:
        image: What is to run.
        host: Where.
        device: `cpu`, `gpu:*`, `gpu:0`, `gpu:T4` or a uuid. Of several GPUs one must do.
        nearest: Other images, oldest first; the one nearest to `image` that would run is named.

    Returns:
        `unsupported` where no driver or disk would help, else `unavailable`, and why.
    """
    if device == "cpu":
        if image.tensorrt is not None:
            return Status.UNSUPPORTED, "TensorRT runs on GPUs only"
        return _of_docker(host) or _of_storage(image, host)
    if host.driver is None and not host.gpus:
        return Status.UNAVAILABLE, host.driver_problem or "no NVIDIA driver"
    if reason := absent(device, host.gpus):
        return Status.UNAVAILABLE, reason
    gpus = meant(device, host.gpus)
    reasons = [gpu_obstacle(image, host.driver, gpu) for gpu in gpus]
    if all(reasons):
        return _with_nearest(next(filter(None, reasons)), image, host, gpus, nearest)
    return _of_docker(host) or _of_gpu_access(host, gpus) or _of_storage(image, host)


def gpu_obstacle(image: ImageFacts, driver: str | None, gpu: Gpu) -> Obstacle | None:
    """Returns why an image cannot run on one GPU with one driver, whatever Docker offers."""
    return _of_capability(image, gpu) or _of_driver(image, driver, gpu)


def driver_support(image: ImageFacts, driver: str, gpu: Gpu) -> DriverSupport | None:
    """Returns by what rule a driver runs an image's CUDA; None where none does."""
    if image.driver_min is not None and version(driver) >= version(image.driver_min):
        return DriverSupport.NATIVE
    floor = MINOR_VERSION_DRIVER.get(image.cuda_major or 0)
    if floor is not None and version(driver) >= version(floor):
        return DriverSupport.MINOR_VERSION
    has = version(driver)
    branches = map(version, image.driver_branches)
    if gpu.data_centre and any(has.major == first.major and has >= first for first in branches):
        return DriverSupport.FORWARD
    return DriverSupport.UNKNOWN if image.driver_min is None and floor is None else None


def nearest_running(
    image: ImageFacts, candidates: Sequence[ImageFacts], runs: Callable[[ImageFacts], bool]
) -> ImageFacts | None:
    """Returns the running candidate with the fewest releases between it and `image`; newer first."""
    tags = [facts.tag for facts in candidates]
    place = tags.index(image.tag) if image.tag in tags else len(tags)
    others = [(n, facts) for n, facts in enumerate(candidates) if n != place]
    able = [(abs(n - place), -n) for n, facts in others if runs(facts)]
    return candidates[-min(able)[1]] if able else None


def _of_capability(image: ImageFacts, gpu: Gpu) -> Obstacle | None:
    oldest, newest, has = image.capability_min, image.capability_max, gpu.capability
    release = version(image.tensorrt or THOR_FROM).release
    thor_unknown = has == THOR and release < version(THOR_FROM).release
    if (oldest is None or has >= oldest) and (newest is None or has <= newest) and not thor_unknown:
        return None
    bounds = f"{written(oldest)} " if oldest else ""
    bounds += f"to {written(newest)}" if newest else "and later"
    return Status.UNSUPPORTED, (
        f"TensorRT {image.tensorrt} of {image.name} is for compute capability {bounds}, "
        f"{gpu.name} has {written(has)}"
    )


def _of_driver(image: ImageFacts, driver: str | None, gpu: Gpu) -> Obstacle | None:
    if driver is None or driver_support(image, driver, gpu) is not None:
        return None
    floor = MINOR_VERSION_DRIVER.get(image.cuda_major or 0)
    needed = min(filter(None, (floor, image.driver_min)), key=version)
    older = ""
    if image.driver_branches and gpu.data_centre:
        branches = ", ".join(f"R{first.partition('.')[0]}" for first in image.driver_branches)
        older = f" (or of {branches})"
    cuda = image.cuda or f"{image.cuda_major}"
    return Status.UNAVAILABLE, (
        f"driver {driver} is too old for CUDA {cuda} of {image.name}: "
        f"it needs {needed} or later{older}"
    )


def _with_nearest(
    found: Obstacle,
    image: ImageFacts,
    host: HostFacts,
    gpus: Sequence[Gpu],
    candidates: Sequence[ImageFacts],
) -> Obstacle:
    def runs(facts: ImageFacts) -> bool:
        return any(gpu_obstacle(facts, host.driver, gpu) is None for gpu in gpus)

    status, reason = found
    if other := nearest_running(image, candidates, runs):
        reason += f"; the nearest that would run: {other.tag} (TensorRT {other.tensorrt})"
    elif candidates:
        reason += "; no container of the catalogue would run"
    return status, reason


def _of_docker(host: HostFacts) -> Obstacle | None:
    return (Status.UNAVAILABLE, host.docker) if host.docker is not None else None


def _of_gpu_access(host: HostFacts, gpus: Sequence[Gpu]) -> Obstacle | None:
    if host.nvidia_runtime:
        return None
    if host.cdi is not None:
        reason = host.cdi.obstacle(gpus, host.gpus)
        return (Status.UNAVAILABLE, reason) if reason else None
    return Status.UNAVAILABLE, (
        "Docker cannot reach the GPUs: install nvidia-container-toolkit, then "
        "`sudo nvidia-ctk runtime configure --runtime=docker` and restart Docker"
    )


def _of_storage(image: ImageFacts, host: HostFacts) -> Obstacle | None:
    if image.reference in host.images:
        return None
    login = image.registry_login
    if login is not None and login not in host.logins:
        return Status.UNAVAILABLE, f"{login} wants a login for {image.name}: `docker login {login}`"
    free, size = host.disk_free_bytes, image.size_bytes
    if free is not None and size is not None and free < size:
        return Status.UNAVAILABLE, (
            f"{image.name} takes about {size / 1e9:.0f} GB of disk, Docker has {free / 1e9:.1f} GB "
            "free: remove images (`docker image prune -a`) or move its data-root"
        )
    return None
