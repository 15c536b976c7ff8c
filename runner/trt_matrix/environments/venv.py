"""Environments of pip packages, made by uv, named by what is in them, shared by all runs.

    $TRT_MATRIX_CACHE, else $XDG_CACHE_HOME/trt-matrix, else ~/.cache/trt-matrix
      resolutions/KEY/pylock.toml   requirements + Python → exact packages
      environments/FINGERPRINT/     a virtual environment; made.json, written last, says it is whole
        bytecode/                   what its Python compiled
      locks/                        held while one of these is made

An environment is made in place, since it does not survive being moved. One without made.json was
interrupted, and is removed and made anew.
"""

import contextlib
import errno
import fcntl
import functools
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.core.hosts.compatibility import Obstacle
from trt_matrix.core.hosts.gpus import meant
from trt_matrix.core.hosts.wheels import Wheel
from trt_matrix.core.records import digest
from trt_matrix.environments.base import Ending, Identity, JobRun, Transfer, untold
from trt_matrix.environments.local import job_variables, run_check, run_job
from trt_matrix.environments.packages import (
    USUAL,
    LockError,
    Package,
    Sources,
    find_python,
    install,
    lock_bytes,
    read_lock,
    resolve,
)
from trt_matrix.environments.preflight import gpu_obstacle, gpu_variables, this_driver
from trt_matrix.environments.python import Python, ask_python
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.store.locks import taken
from trt_matrix.store.untrusted import remove

_LOG = logging.getLogger(__name__)

STAMP = "made.json"
LIBRARIES = "lib/python3*/site-packages/nvidia/*/lib"
"""Folders of CUDA's and cuDNN's packages, of which TensorRT's own know nothing."""

_RESOLVED_BY = (
    "UV_CONFIG_FILE",
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
)
"""uv's variables that can change which packages the same requirements give."""


def default_cache(environ: Mapping[str, str]) -> Path:
    """Returns the folder for environments, from the variables of a process."""
    if named := environ.get("TRT_MATRIX_CACHE"):
        return Path(named).expanduser().absolute()
    base = Path(environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "trt-matrix"


@dataclass(kw_only=True, eq=False)
class VenvEnvironment:
    """One virtual environment of matrix.yaml; nothing is made before it is prepared."""

    name: str
    engine: str
    requirements: Sequence[str]
    """As pip takes them, without options."""
    python: str | None
    """As `find_python` takes it; None for the runner's own."""
    cache: Path
    sources: Sources = USUAL
    wheel: Wheel | None = None
    """Which TensorRT they are."""
    pythons: tuple[tuple[int, int], tuple[int, int]] | None = None
    """The oldest and the newest with wheels, where that is known."""
    _made: tuple[Path, Python] | None = field(default=None, init=False)

    def obstacle(self, device: str) -> Obstacle | str | None:
        if reason := gpu_obstacle(device):
            return reason
        driver = this_driver()
        gpus = () if device == "cpu" else meant(device, driver.gpus)
        return self.wheel.obstacle(driver.version, gpus) if self.wheel else None

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        try:
            with _explained(self.cache):
                return self._prepare(offline, transfer)
        except EnvironmentUnavailableError as error:
            raise EnvironmentUnavailableError(f"{self.name}: {error}") from error

    def _prepare(self, offline: bool, transfer: Transfer) -> Identity:
        self.cache.mkdir(parents=True, exist_ok=True)
        executable = self._base()
        python = _ask_base(executable)
        lock, packages = self._resolution(executable, python, offline)
        facts = _facts(python, packages)
        folder = self._folder(facts)
        if not _is_whole(folder):
            with self._locked(folder.name) as held:
                if not _is_whole(folder):
                    size = sum(lock_bytes(lock.read_text("utf-8")).values())
                    transfer("packages", 0, size)  # uv tells no more than that it is done
                    self._make(folder, lock, executable, python, offline, held)
                    transfer("packages", size, size)
                    protocol.write_json(str(folder / STAMP), facts)
        self._made = folder, python
        return self._identity(facts)

    def identity(self) -> Identity | None:
        if not self.cache.is_dir():
            return None
        try:
            with _explained(self.cache):
                python = _ask_base(self._base())
                packages = _known(self._lock(python))
        except EnvironmentUnavailableError:
            return None
        if packages is None:
            return None
        facts = _facts(python, packages)
        return self._identity(facts) if _is_whole(self._folder(facts)) else None

    def _base(self) -> Path:
        """Returns the Python that it is made from: this tool's own, unless its version has no wheels for that."""
        wanted = self.python
        if wanted is None and self.pythons:
            oldest, newest = self.pythons
            if not oldest <= sys.version_info[:2] <= newest:
                wanted = f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
        return find_python(wanted, cwd=self.cache)

    def to_fetch(self) -> Mapping[str, int] | None:
        """Returns package → bytes that making it fetches at most; None where it is made. Asks the index for sizes.

        Raises:
            EnvironmentUnavailableError: it cannot be made; says why and what to do.
        """
        if self.identity():
            return None
        with _explained(self.cache):
            self.cache.mkdir(parents=True, exist_ok=True)
            executable = self._base()
            lock, _ = self._resolution(executable, _ask_base(executable), offline=False)
            return lock_bytes(lock.read_text("utf-8"))

    def _identity(self, facts: Mapping[str, Any]) -> Identity:
        stated = {"kind": "venv", "requirements": list(self.requirements), **facts}
        return Identity(fingerprint=digest(facts), facts=stated)

    def _folder(self, facts: Mapping[str, Any]) -> Path:
        return self.cache / "environments" / digest(facts)[:32]

    def _lock(self, python: Python) -> Path:
        """Returns where the packages are kept that its requirements give for `python`."""
        key = digest(
            {
                "requirements": self.requirements,
                "python": python.facts,
                "uv": {name: os.environ[name] for name in _RESOLVED_BY if name in os.environ},
                **self.sources.facts,
            }
        )
        return self.cache / "resolutions" / key[:32] / "pylock.toml"

    def _make(
        self, folder: Path, lock: Path, executable: Path, python: Python, offline: bool, held: int
    ) -> None:
        _remove(folder)
        folder.parent.mkdir(exist_ok=True)
        try:
            install(
                lock,
                folder,
                python=executable,
                version=python.version,
                offline=offline,
                held=held,
                sources=self.sources,
            )
        except EnvironmentUnavailableError:
            _remove(folder)  # it may be what filled the disk
            raise

    def _resolution(
        self, executable: Path, python: Python, offline: bool
    ) -> tuple[Path, dict[str, Package]]:
        """Returns the file that fixes the packages, and those; found out once, then kept."""
        _refuse_options(self.requirements)
        lock = self._lock(python)
        if packages := _known(lock):
            return lock, packages
        with self._locked(lock.parent.name):
            if packages := _known(lock):
                return lock, packages
            return lock, resolve(
                self.requirements,
                python=[f"--python={executable}"],
                version=python.version,
                lock=lock,
                offline=offline,
                sources=self.sources,
            )

    @contextlib.contextmanager
    def _locked(self, what: str) -> Iterator[int]:
        """Holds the making of `what` against other threads and processes; yields the descriptor."""
        path = self.cache / "locks" / what
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as lock:
            if not taken(lock):
                _LOG.warning("%s: waiting for another run that makes this environment", self.name)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()

    def run(self, job: JobRun) -> Ending:
        executable, env = self._started()
        return run_job(executable, env | gpu_variables(job.device), job)

    def check(self, request: Path, answer: Path, log: Path, *, deadline_s: float) -> Ending:
        """Runs `python -m job.check request answer` to its end, as `run`."""
        executable, env = self._started()
        return run_check(executable, env, request, answer, log, deadline_s)

    def _started(self) -> tuple[Path, dict[str, str]]:
        """Returns the environment's Python and its variables."""
        if self._made is None:
            raise RuntimeError(f"{self.name}: prepare it before it runs")
        folder, python = self._made
        executable = folder / "bin" / "python"
        # Bytecode goes beside the packages: numpy and an engine import in half the time from the
        # second start on, and neither the packages nor the job's folder change. Python 3.8 and
        # later know the first variable, older ones obey the second.
        variables = (
            {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
            if python.release >= (3, 8)
            else {"PYTHONDONTWRITEBYTECODE": "1"}
        )
        libraries = sorted(folder.glob(LIBRARIES)) if self.engine == "tensorrt" else []
        return executable, job_variables(executable, variables, libraries)


def _facts(python: Python, packages: Mapping[str, Package]) -> dict[str, Any]:
    return {
        "python": python.facts,
        "packages": {name: package.facts for name, package in packages.items()},
    }


@functools.cache
def _ask_base(executable: Path) -> Python:
    return ask_python(executable, {}, "-I", "-S", "-B")


def _is_whole(folder: Path) -> bool:
    # The interpreter is a link: it dangles once the Python that it was made from is removed.
    return (folder / STAMP).is_file() and (folder / "bin" / "python").exists()


def _remove(folder: Path) -> None:
    (folder / STAMP).unlink(missing_ok=True)  # first, so that a kill leaves no stamped half
    remove(folder)


def _known(lock: Path) -> dict[str, Package] | None:
    try:
        return read_lock(lock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (LockError, UnicodeDecodeError) as error:
        _LOG.warning("%s: damaged (%s); resolved anew", lock, error)
        return None


def _refuse_options(requirements: Sequence[str]) -> None:
    for requirement in requirements:
        if requirement.lstrip().startswith("-") or "\n" in requirement:
            raise EnvironmentUnavailableError(
                f"{requirement!r} is an option, not one requirement; "
                "settings of package indexes belong into uv's own configuration"
            )


_ADVICE = {
    errno.ENOSPC: "the disk is full: free space",
    errno.EDQUOT: "the disk quota is used up: free space",
    errno.EACCES: "it may not be written",
    errno.EPERM: "it may not be written",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of this path is a file",
    errno.EEXIST: "a file is in its place",
}


@contextlib.contextmanager
def _explained(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        raise EnvironmentUnavailableError(
            f"{error.filename or cache}: {_ADVICE[error.errno]} ({error.strerror}), "
            "or set TRT_MATRIX_CACHE to another folder"
        ) from error
