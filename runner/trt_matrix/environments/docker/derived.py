"""Images with packages that theirs lacks: numpy in an old image, an engine in a plain Python.

The host resolves and fetches the wheels, with its own package settings, for the Python inside, and
the image is built on the engine, without network, from containers/Dockerfile.packages. Why an image
and no mounted folder: it works on a remote engine too, needs no pip inside, is compiled to bytecode
once, and its name says what is in it.
"""

import contextlib
import fcntl
import io
import string
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trt_matrix.core.records import digest
from trt_matrix.environments.docker import failures
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.image import ContainerImage, find
from trt_matrix.environments.docker.wheels import (
    NUMPY,
    install_foreign,
    install_pinned,
    options_for,
    pinned,
)
from trt_matrix.environments.local import JOB_HOME
from trt_matrix.environments.packages import Package, read_lock, resolve
from trt_matrix.environments.python import Python
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.store.untrusted import remove

PACKAGES = "/opt/trt-matrix/packages"
"""Folder inside a derived image; before the image's own packages on the path."""

TEMPLATE = JOB_HOME / "Dockerfile.packages"
REPOSITORY = "trt-matrix/derived"
LABEL = "trt-matrix.packages"


def wanted_packages(requirements: Sequence[str], python: Python) -> tuple[str, ...]:
    """Returns what must be added to an image: what is asked for, and numpy where nobody brings it."""
    if requirements or NUMPY in python.distributions:
        return tuple(requirements)
    return (NUMPY,)


def content_of(base: ContainerImage, packages: Mapping[str, Package], python: str) -> str:
    """Returns the hash of everything that decides what a derived image holds."""
    return digest(
        {
            "base": base.id,
            "packages": {name: package.facts for name, package in packages.items()},
            "python": python,
            "dockerfile": TEMPLATE.read_text(encoding="utf-8"),
        }
    )


def known_packages(
    cache: Path, requirements: Sequence[str], python: Python
) -> dict[str, Package] | None:
    """Returns what `requirements` were resolved to before; None where they were not."""
    if packages := pinned(requirements, python):
        return packages
    try:
        return read_lock(_lock(cache, requirements, python).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def derive(
    engine: Engine,
    base: ContainerImage,
    requirements: Sequence[str],
    python: Python,
    executable: str,
    *,
    cache: Path,
    offline: bool,
) -> tuple[ContainerImage, dict[str, Package]]:
    """Returns the image with the packages, built where the engine has none, and what they are.

    `executable` is the name of `python` inside `base`; resolutions and wheels are kept in `cache`.

    Raises:
        EnvironmentUnavailableError: they cannot be had or built.
    """
    packages = known_packages(cache, requirements, python)
    if packages is None:
        packages = resolve(
            requirements,
            python=options_for(python),
            version=python.version,
            lock=_lock(cache, requirements, python),
            offline=offline,
        )
    tag = tag_of(base, packages, executable)
    if image := find(engine, tag):
        return image, packages
    with _held(cache, tag.rpartition(":")[2]):
        if image := find(engine, tag):
            return image, packages
        with _unpacked(cache, requirements, python, packages, offline=offline) as folder:
            _build(engine, base, folder, packages, executable, tag)
    image = find(engine, tag)
    if image is None:
        raise EnvironmentUnavailableError(f"{tag}: built, but the engine does not find it")
    return image, packages


def tag_of(base: ContainerImage, packages: Mapping[str, Package], executable: str) -> str:
    """Returns what the derived image is called, by all that is in it."""
    return f"{REPOSITORY}:{content_of(base, packages, executable)[:16]}"


def dockerfile(base: str, python: str, packages: Mapping[str, Package]) -> str:
    """Returns the rendered containers/Dockerfile.packages."""
    stated = " ".join(f"{name}=={package.version}" for name, package in sorted(packages.items()))
    return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        base=base, python=python, packages=PACKAGES, stated=stated
    )


def _lock(cache: Path, requirements: Sequence[str], python: Python) -> Path:
    key = digest({"requirements": list(requirements), "python": python.facts, "for": "image"})
    return cache / "resolutions" / key[:32] / "pylock.toml"


@contextlib.contextmanager
def _unpacked(
    cache: Path,
    requirements: Sequence[str],
    python: Python,
    packages: Mapping[str, Package],
    *,
    offline: bool,
) -> Iterator[Path]:
    """Yields a folder with the packages, as an image gets them; removed on every path."""
    folder = cache / "unpacked" / digest([list(requirements), python.facts])[:32]
    remove(folder)
    folder.mkdir(parents=True)
    try:
        if pinned(requirements, python):
            install_pinned(packages, folder, offline=offline)
        else:
            install_foreign(_lock(cache, requirements, python), folder, python, offline=offline)
        yield folder
    finally:
        remove(folder)


def _build(
    engine: Engine,
    base: ContainerImage,
    folder: Path,
    packages: Mapping[str, Package],
    executable: str,
    tag: str,
) -> None:
    text = dockerfile(base.id, executable, packages)
    with _context(folder, text) as context, engine.explained(failures.of_image, tag):
        events = engine.client.api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            network_mode="none",
            use_config_proxy=False,
            labels={LABEL: "1"},
        )
        for event in events:
            if "error" in event:
                raise EnvironmentUnavailableError(
                    f"{base.reference}: packages could not be added ({event['error'].strip()})"
                )


@contextlib.contextmanager
def _context(folder: Path, text: str) -> Iterator[Any]:
    """Yields the build context as a tar file; it is on disk, since packages can have gigabytes."""
    with tempfile.TemporaryFile(dir=folder.parent) as stream:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            content = text.encode()
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            tar.add(folder, "packages", filter=_plain)
        stream.seek(0)
        yield stream


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's file of no time, so that the same packages give the same layer; all may read it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
    return entry


@contextlib.contextmanager
def _held(cache: Path, what: str) -> Iterator[None]:
    path = cache / "locks" / what
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
