"""What a Docker host offers: the engine, its way to the GPUs, its disk, the registries it logged in to.

Asks the engine and reads Docker's configuration; starts and downloads nothing, and takes no
credential into its answer.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.catalog import reported
from runner.core.hosts.compatibility import HostFacts
from runner.environments.devices import Driver, read_driver
from runner.errors import EnvironmentUnavailableError

HOOK = "nvidia-container-runtime-hook"
"""With it on its path an engine serves `--gpus`, whether or not the runtime is registered."""

DOCKER_ROOT = Path("/var/lib/docker")
CONTAINERD_ROOT = Path("/var/lib/containerd")


def read_host() -> HostFacts:
    """Returns the facts of this machine: its NVIDIA driver, and the Docker engine of its user."""
    # Docker's SDK takes a third of a second to import, and most commands need none of it.
    from runner.environments.docker.engine import local_engine  # noqa: PLC0415

    driver, engine = read_driver(), local_engine()
    try:
        info = engine.facts
        with engine.explained():
            listed = engine.client.api.images()
    except EnvironmentUnavailableError as error:
        return without_docker(driver, str(error))
    local = is_local(engine.address or os.environ.get("DOCKER_HOST"))
    return facts_of(info, listed, driver, logins(), local=local)


def facts_of(
    info: Mapping[str, Any],
    listed: Sequence[Mapping[str, Any]],
    driver: Driver,
    registries: frozenset[str],
    *,
    local: bool,
) -> HostFacts:
    """Returns a host's facts.

    Args:
        info: What its engine says of itself (`GET /info`).
        listed: Its images (`GET /images/json`).
        driver: Its NVIDIA driver.
        registries: Those that Docker has credentials for.
        local: Whether the engine's folders are folders of this machine.
    """
    return HostFacts(
        docker_version=info.get("ServerVersion"),
        nvidia_runtime="nvidia" in (info.get("Runtimes") or {})
        or (local and shutil.which(HOOK) is not None),
        cdi=_has_cdi(info, local=local),
        driver=driver.version,
        driver_problem=driver.problem,
        gpus=driver.gpus,
        disk_free_bytes=_free(_image_root(info)) if local else None,
        images={
            reference: reported(image.get("Labels") or {})
            for image in listed
            for reference in [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]
        },
        logins=registries,
    )


def without_docker(driver: Driver, why: str) -> HostFacts:
    return HostFacts(
        docker=why, driver=driver.version, driver_problem=driver.problem, gpus=driver.gpus
    )


def is_local(address: str | None) -> bool:
    """Says whether an engine's address is a socket of this machine."""
    return not address or address.startswith("unix:")


def logins(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Returns the registries that Docker's own configuration has credentials for, never these.

    A configuration that is missing or cannot be read has none: whoever pulls will be told.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        read = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return frozenset()
    sections = (
        [read.get(name) for name in ("auths", "credHelpers")] if isinstance(read, dict) else []
    )
    return frozenset(
        _registry(name) for section in sections if isinstance(section, dict) for name in section
    )


def _registry(name: str) -> str:
    """Returns `docker.io` of `https://index.docker.io/v1/`."""
    host = name.partition("://")[2] or name
    host = host.partition("/")[0]
    return "docker.io" if host == "index.docker.io" else host


def _has_cdi(info: Mapping[str, Any], *, local: bool) -> bool:
    devices = info.get("DiscoveredDevices") or []
    if any(str(one.get("ID", "")).startswith("nvidia.com/gpu") for one in devices):
        return True
    # Engines before 28.2 tell their folders only, and only where CDI is switched on.
    folders = (info.get("CDISpecDirs") or []) if local else []
    return any("nvidia" in spec.name for folder in folders for spec in _specs(Path(folder)))


def _specs(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in (".yaml", ".json")]


def _image_root(info: Mapping[str, Any]) -> Path:
    status = {pair[0]: pair[1] for pair in info.get("DriverStatus") or [] if len(pair) == 2}
    if str(status.get("driver-type", "")).startswith("io.containerd.snapshotter"):
        return CONTAINERD_ROOT
    return Path(info.get("DockerRootDir") or DOCKER_ROOT)


def _free(folder: Path) -> int | None:
    """Returns the free bytes where a folder lies; None where it is none of this machine's."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # such as from a container that was given the socket alone
        return None
