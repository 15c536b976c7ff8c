"""What a container is started with: pure, from what is wanted to the engine's options.

It sees the job and its inputs read-only, writes to its results folder and a bounded /tmp, and
nothing else: no network, no capabilities, no way to new ones.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from trt_matrix.core.hosts.cdi import PREFIX
from trt_matrix.environments.host import is_rootless

PROGRAM = "/trt-matrix"
"""Folder of the package `job`, inside."""
REQUEST = "/request"
RESULTS = "/results"

PIDS = 4096
SHM_BYTES = 1 << 30
TMP_BYTES = 4 << 30
MEMORY_SHARE = 0.9
"""Of the machine: a job that takes all of it ends alone, not the machine."""

STACK_BYTES = 67108864
"""NVIDIA recommends this stack and unlimited locked memory for its images."""

GPU_CAPABILITIES = ("compute", "utility")


FILES = 1024
"""What a process may have open where nobody says more: POSIX systems' ordinary soft limit."""


class ProcessLimits(enum.IntEnum):
    """What a process inside may have; an engine that may not raise limits (rootless, nested) refuses some."""

    RECOMMENDED = 0
    """NVIDIA's."""
    ENGINE = 1
    """The engine's own, which Podman takes for a million files and processes where it runs as root."""
    LEAST = 2
    """What every engine may give."""


@dataclass(frozen=True, slots=True)
class Bind:
    source: str
    """A folder of this machine, or a volume; a volume without a name goes with its container."""
    target: str
    read_only: bool = True
    volume: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedContainer:
    """One container."""

    image: str
    """Content id: a tag may have moved."""
    name: str
    entrypoint: tuple[str, ...]
    labels: Mapping[str, str]
    user: str
    binds: tuple[Bind, ...]
    memory_bytes: int
    variables: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    working_dir: str = PROGRAM
    limits: ProcessLimits = ProcessLimits.RECOMMENDED
    userns: str | None = None
    """`host` where the engine remaps users and we want our own."""


def options(wanted: WantedContainer) -> dict[str, Any]:
    """Returns the arguments of the SDK's `containers.create`."""
    arguments: dict[str, Any] = {
        "image": wanted.image,
        "name": wanted.name,
        "entrypoint": list(wanted.entrypoint),
        "command": [],
        "labels": dict(wanted.labels),
        "environment": dict(wanted.variables),
        "use_config_proxy": False,  # there is no network, and its variables may hold passwords
        "working_dir": wanted.working_dir,
        "user": wanted.user,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "tmpfs": {"/tmp": f"size={TMP_BYTES},mode=1777"},  # noqa: S108  (inside)
        "mounts": [mount(bind) for bind in wanted.binds],
        "init": True,  # as the first process, a Python would ignore SIGTERM
        "pids_limit": PIDS,
        "mem_limit": wanted.memory_bytes,
        "memswap_limit": wanted.memory_bytes,  # that is: no swap
        "shm_size": SHM_BYTES,
        "ulimits": [Ulimit(name=name, soft=value, hard=value) for name, value in limits(wanted)],
        # The runner reads along and keeps a bounded log; the engine would keep all.
        "log_config": LogConfig(type=LogConfig.types.NONE),
        "stop_signal": "SIGTERM",
    }
    if requests := device_requests(wanted.device):
        arguments["device_requests"] = requests
    if wanted.userns:
        arguments["userns_mode"] = wanted.userns
    return arguments


def mount(bind: Bind) -> Mount:
    return Mount(
        bind.target,
        bind.source or None,
        type="volume" if bind.volume else "bind",
        read_only=bind.read_only,
    )


def limits(wanted: WantedContainer) -> Sequence[tuple[str, int]]:
    """Returns the limits of a process inside that are asked for; -1 is none."""
    no_dump = ("core", 0)  # a crash is told by its signal
    more = {
        ProcessLimits.RECOMMENDED: (("memlock", -1), ("stack", STACK_BYTES)),
        ProcessLimits.ENGINE: (),
        ProcessLimits.LEAST: (("nofile", FILES), ("nproc", PIDS)),
    }
    return (no_dump, *more[wanted.limits])


def device_requests(device: str) -> list[DeviceRequest]:
    """Returns the GPU request of `cpu` (none), `gpu:*`, `gpu:0`, a uuid `GPU-…`, or a CDI device's name.

    An engine without NVIDIA's runtime knows CDI's names only, and refuses the others.
    """
    if device == "cpu":
        return []
    if device.startswith(PREFIX):
        return [DeviceRequest(driver="cdi", device_ids=[device])]
    capabilities = [["gpu", *GPU_CAPABILITIES]]
    chosen = device.removeprefix("gpu:")
    if chosen == "*":
        return [DeviceRequest(count=-1, capabilities=capabilities)]
    return [DeviceRequest(device_ids=[chosen], capabilities=capabilities)]


def command_line(
    wanted: WantedContainer, run: Sequence[str] = ("docker", "run"), gpu: str | None = None
) -> tuple[str, ...]:
    """Returns the same as a `docker run`, to read in a record and to repeat by hand.

    `run` is how it begins, `gpu` how the GPU is asked for, where that is not Docker's way.
    """
    arguments = [*run, "--rm", "--init", "--network=none", "--cap-drop=ALL"]
    arguments += ["--security-opt=no-new-privileges", "--read-only"]
    arguments += [f"--tmpfs=/tmp:size={TMP_BYTES},mode=1777", f"--pids-limit={PIDS}"]
    arguments += [f"--memory={wanted.memory_bytes}", f"--memory-swap={wanted.memory_bytes}"]
    arguments += [f"--shm-size={SHM_BYTES}", f"--user={wanted.user}"]
    arguments += [f"--ulimit={name}={value}" for name, value in limits(wanted)]
    if wanted.device != "cpu":
        arguments += [gpu or _gpu(wanted.device)]
    if wanted.userns:
        arguments += [f"--userns={wanted.userns}"]
    arguments += [f"--env={name}={value}" for name, value in sorted(wanted.variables.items())]
    for bind in wanted.binds:
        kind = "volume" if bind.volume else "bind"
        mode = ",readonly" if bind.read_only else ""
        source = f",source={bind.source}" if bind.source else ""
        arguments += [f"--mount=type={kind}{source},target={bind.target}{mode}"]
    first, *rest = wanted.entrypoint
    return (
        *arguments,
        f"--workdir={wanted.working_dir}",
        f"--entrypoint={first}",
        wanted.image,
        *rest,
    )


def _gpu(device: str) -> str:
    if device.startswith(PREFIX):
        return f"--device={device}"
    chosen = device.removeprefix("gpu:")
    return "--gpus=all" if chosen == "*" else f"--gpus=device={chosen}"


def variables(
    image: Mapping[str, str], packages: str | None, program: str = PROGRAM
) -> dict[str, str]:
    """Returns the variables of a job: as those of an environment on the host, and nothing of the host.

    `packages` is the folder of those that were added to the image, `program` that of the package `job`, inside.
    """
    paths = [program, *filter(None, [packages, image.get("PYTHONPATH")])]
    return {
        "HOME": "/tmp",  # noqa: S108  (inside)
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": ":".join(paths),
    }


def user(info: Mapping[str, Any], uid: int, gid: int) -> tuple[str, str | None]:
    """Returns user and user namespace with which the files of the job belong to `uid`:`gid`; `info` as `is_podman`'s."""
    if is_rootless(info):
        return "0:0", None  # there, root inside is the user outside
    security = info.get("SecurityOptions") or ()
    remapped = any("name=userns" in option for option in security)
    return f"{uid}:{gid}", "host" if remapped else None


def memory_bytes(total: int, wanted_gb: float | None) -> int:
    """Returns the limit of a container on a machine with `total` bytes."""
    return round(wanted_gb * 1e9) if wanted_gb else round(total * MEMORY_SHARE)


def container_name(run_id: str, environment: str, unique: str) -> str:
    """Returns `trt-matrix-20261123-ort-1.32-3f2a9c01`; what Docker refuses in a name becomes `-`."""
    parts = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part)[:60] for part in (run_id, environment) if part]
    return "-".join(["trt-matrix", *parts, unique])
