"""Containers of Podman, asked for in its own words.

Its Docker-compatible API, by which all else is done, gives a container no GPU: it passes over a request for one in
silence, and takes the name of a CDI device for a path (4.3 to 5;
https://github.com/containers/podman/issues/22645). So the job would run without its GPU, or not at all.
"""

import signal
from dataclasses import replace
from typing import Any

import docker
import requests
from docker.errors import create_api_error_from_http_exception
from docker.models.containers import Container

from trt_matrix.core.hosts.cdi import PREFIX
from trt_matrix.environments.docker import options
from trt_matrix.environments.docker.options import Bind, WantedContainer

OLDEST = "4.1"
"""The first with CDI."""

API = "v4.0.0/libpod"
"""Served by 4 and 5."""

ONLY = (
    "--security-opt=label=disable",
    "--read-only-tmpfs=false",
    "--systemd=false",
    "--http-proxy=false",
)
"""What `podman run` needs besides to do as `docker run` does: no tmpfs but ours, and no variable of the host.

Where SELinux is on, folders of the user are not relabelled, so a container with a label of its own could not read them.
"""

WORKING_DIR = "/tmp"  # noqa: S108  (inside)
"""`podman run` wants one that the image has, or a mount makes; the job is found by PYTHONPATH."""

UNLIMITED = (1 << 64) - 1


def create(client: docker.DockerClient, wanted: WantedContainer) -> Container:
    """Returns a created container.

    Raises:
        docker.errors.APIError: it was refused, in Podman's words.
    """
    api = client.api
    answer = api.post(
        f"{api.base_url}/{API}/containers/create", json=specification(wanted), timeout=api.timeout
    )
    try:
        answer.raise_for_status()
    except requests.HTTPError as error:
        create_api_error_from_http_exception(error)
    return client.containers.get(answer.json()["Id"])


def specification(wanted: WantedContainer) -> dict[str, Any]:
    """Returns what `options.options` says, as Podman's SpecGenerator.

    https://docs.podman.io/en/latest/_static/api.html#tag/containers/operation/ContainerCreateLibpod
    """
    binds = [bind for bind in wanted.binds if not bind.volume]
    specified: dict[str, Any] = {
        "image": wanted.image,
        "name": wanted.name,
        "entrypoint": list(wanted.entrypoint),
        "command": [],
        "labels": dict(wanted.labels),
        "env": dict(wanted.variables),
        "httpproxy": False,
        "work_dir": WORKING_DIR,
        "user": wanted.user,
        "netns": {"nsmode": "none"},
        "cap_drop": ["ALL"],
        "no_new_privileges": True,
        "selinux_opts": ["disable"],
        "read_only_filesystem": True,
        "systemd": "false",
        "init": True,
        "mounts": [_tmpfs(), *map(_bind, binds)],
        "volumes": [_volume(bind) for bind in wanted.binds if bind.volume],
        "resource_limits": {
            "pids": {"limit": options.PIDS},
            "memory": {"limit": wanted.memory_bytes, "swap": wanted.memory_bytes},
        },
        "shm_size": options.SHM_BYTES,
        "r_limits": [_limit(name, value) for name, value in options.limits(wanted)],
        "log_configuration": {"driver": "none"},
        "stop_signal": int(signal.SIGTERM),
    }
    if wanted.device != "cpu":
        specified["devices"] = [{"path": cdi_name(wanted.device)}]
    if wanted.userns:
        specified["userns"] = {"nsmode": wanted.userns}
    return specified


def command_line(wanted: WantedContainer) -> tuple[str, ...]:
    """Returns the same as a `podman run`."""
    there = replace(wanted, working_dir=WORKING_DIR)
    return options.command_line(
        there, ("podman", "run", *ONLY), f"--device={cdi_name(wanted.device)}"
    )


def cdi_name(device: str) -> str:
    """Returns the CDI device of a GPU that is wanted: Podman has no other way to one."""
    chosen = device.removeprefix("gpu:")
    return device if device.startswith(PREFIX) else PREFIX + ("all" if chosen == "*" else chosen)


def _tmpfs() -> dict[str, Any]:
    mode = ["rw", "nosuid", "nodev", f"size={options.TMP_BYTES}", "mode=1777"]
    return {"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": mode}  # noqa: S108  (inside)


def _bind(bind: Bind) -> dict[str, Any]:
    mode = ["rbind", "ro" if bind.read_only else "rw"]
    return {"type": "bind", "source": bind.source, "destination": bind.target, "options": mode}


def _volume(bind: Bind) -> dict[str, Any]:
    return {"Name": bind.source, "Dest": bind.target, "Options": ["ro" if bind.read_only else "rw"]}


def _limit(name: str, value: int) -> dict[str, Any]:
    number = UNLIMITED if value < 0 else value
    return {"type": name, "soft": number, "hard": number}
