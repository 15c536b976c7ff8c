"""What a Docker host offers: the engine, its way to the GPUs, its disk, the registries it logged in to.

Asks the engine and reads Docker's configuration; starts and downloads nothing, and takes no
credential into its answer.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trt_matrix.config.catalog import reported
from trt_matrix.core.hosts import cdi
from trt_matrix.core.hosts.cdi import Cdi
from trt_matrix.core.hosts.compatibility import HostFacts, version
from trt_matrix.environments.devices import Driver, read_driver
from trt_matrix.errors import EnvironmentUnavailableError

if TYPE_CHECKING:
    from trt_matrix.environments.docker.engine import Engine

HOOK = "nvidia-container-runtime-hook"
"""With it on its path an engine serves `--gpus`, whether or not the runtime is registered."""

DOCKER_ROOT = Path("/var/lib/docker")
CONTAINERD_ROOT = Path("/var/lib/containerd")

SYSTEM = ("/etc/", "/run/", "/var/")
"""Where folders of specifications begin that are root's, or gone after a restart."""

PODMAN_CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""Where Podman looks for specifications unless its configuration says otherwise; it does not tell."""


def read_host() -> HostFacts:
    """Returns the facts of this machine: its NVIDIA driver, and the Docker engine of its user."""
    # Docker's SDK takes a third of a second to import, and most commands need none of it.
    from trt_matrix.environments.docker.engine import local_engine  # noqa: PLC0415

    engine = local_engine()
    local = is_local(engine.address or os.environ.get("DOCKER_HOST"))
    return host_of(engine, read_driver(), local=local)


def host_of(engine: "Engine", driver: Driver, *, local: bool) -> HostFacts:
    """Asks an engine for the facts of its host, which has this driver; `local` says whether that is this machine."""
    try:
        info = engine.facts
        with engine.explained():
            listed = engine.client.api.images()
    except EnvironmentUnavailableError as error:
        return without_docker(driver, str(error))
    return facts_of(info, listed, driver, logins(), local=local)


def facts_of(
    info: Mapping[str, Any],
    listed: Sequence[Mapping[str, Any]],
    driver: Driver,
    registries: frozenset[str],
    *,
    local: bool,
) -> HostFacts:
    """Returns a host's facts from `GET /info` and `GET /images/json` of its engine, and its NVIDIA driver.

    `registries` are those that Docker has credentials for; `local` tells whether the engine's folders are this machine's.
    """
    return HostFacts(
        docker_version=info.get("ServerVersion"),
        rootless=is_rootless(info),
        limits=info.get("CgroupDriver") != "none",
        nvidia_runtime=_has_runtime(info, local=local),
        cdi=_cdi(info, local=local),
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


def is_podman(info: Mapping[str, Any]) -> bool:
    """Says whether an engine is Podman, whose `GET /info` says the same as Docker's but for this."""
    return "BuildahVersion" in info


def is_rootless(info: Mapping[str, Any]) -> bool:
    """Says whether an engine runs as a user, not as root; `info` as `is_podman` takes it."""
    security = info.get("SecurityOptions") or ()
    # Podman's name of it is another one.
    return bool(info.get("Rootless")) or any("name=rootless" in option for option in security)


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


def _has_runtime(info: Mapping[str, Any], *, local: bool) -> bool:
    if is_podman(info):  # it may know the runtime, but takes no wish for it by this API
        return False
    return "nvidia" in (info.get("Runtimes") or {}) or (local and shutil.which(HOOK) is not None)


def _cdi(info: Mapping[str, Any], *, local: bool) -> Cdi | None:
    """Returns what the engine gives by CDI; it tells folders of specifications where CDI is switched on."""
    folders = PODMAN_CDI_FOLDERS if is_podman(info) else info.get("CDISpecDirs") or []
    names = cdi.listed(device.get("ID") for device in info.get("DiscoveredDevices") or [])
    if not names and not folders:
        return None
    folder = _writable(folders) if is_rootless(info) else cdi.FOLDER
    if names or _lists_devices(info):
        return Cdi(names, folder)
    if not local:
        return Cdi(None, folder)
    documents = [_document(path) for folder in folders for path in _specs(Path(folder))]
    return Cdi(frozenset[str]().union(*map(cdi.specified, documents)), folder)


def _writable(folders: Sequence[str]) -> str:
    """Returns the first of an engine's folders that is a user's own and lasts; the system's where there is none.

    Newer rootless engines read `~/.config/cdi` besides (https://github.com/moby/moby/pull/51624).
    """
    return next((folder for folder in folders if not folder.startswith(SYSTEM)), cdi.FOLDER)


def _lists_devices(info: Mapping[str, Any]) -> bool:
    """Says whether the engine is of 28.2 or later: those before tell the folders only."""
    try:
        return version(str(info.get("ServerVersion"))) >= version("28.2")
    except ValueError:  # a build from source calls itself as it likes
        return False


def _specs(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in (".yaml", ".json")]


def _document(path: Path) -> Any:
    """Returns a specification; None where it cannot be read, as the engine cannot either."""
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506  (a safe one)
    except (OSError, ValueError, yaml.YAMLError):
        return None


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""JSON is YAML too."""


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
