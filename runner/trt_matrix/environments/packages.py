"""Requirements → exact packages → an environment of them; all by uv, which does the network's part.

A resolution is a `pylock.toml` (PEP 751): for each package one version and the wheels that fit this
Python and platform, with their hashes. Nothing is ever built from source: that would run a package's own code and
take minutes, and no two machines would get the same.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import uv

from trt_matrix.environments.uv_errors import explain
from trt_matrix.errors import EnvironmentUnavailableError

RESOLVE = (
    "pip", "compile", "-", "--format=pylock.toml", "--no-header", "--no-build", "--quiet",
)  # fmt: skip
"""What of uv writes the resolution of requirements on stdin."""

_FOREIGN = ("CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "VIRTUAL_ENV")
"""Variables that would point uv at another Python than the one it is told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One package of a resolution."""

    version: str
    files: Mapping[str, str]
    """Wheel → SHA-256: one, seldom more; uv installs the most specific that fits."""

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where packages are looked for, beside what uv's own settings name."""

    index: tuple[str, ...] = ()
    """Before the others: addresses, or folders that are laid out as an index."""
    wheels: Path | None = None
    """A folder of wheels; offline, nothing else is looked in."""

    def arguments(self, *, offline: bool) -> list[str]:
        named = [f"--index={index}" for index in self.index]
        if self.wheels is None:
            return named
        only = ["--no-index"] if offline else named
        return [*only, f"--find-links={self.wheels.absolute()}"]

    @property
    def facts(self) -> dict[str, Any]:
        """What can change which packages requirements give; empty where nothing is named."""
        held = sorted(path.name for path in self.wheels.glob("*.whl")) if self.wheels else []
        return {"index": list(self.index), "wheels": held} if self.index or self.wheels else {}


USUAL = Sources()
"""What uv's own settings name, nothing else."""


class LockError(ValueError):
    """A resolution that is damaged, or names something without a hash."""


def read_lock(text: str) -> dict[str, Package]:
    """Returns the packages of a `pylock.toml`, by name.

    Raises:
        LockError: it is no such file, or a package is not given by a hashed file.
    """
    try:
        entries = tomllib.loads(text)["packages"]
        return {entry["name"]: _package(entry) for entry in entries}
    except LockError:
        raise
    # No TOML, no URL, no hash; nested so deeply that tomllib gives up.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LockError(f"not a resolution: {type(error).__name__} {error}") from error


def lock_bytes(text: str) -> dict[str, int]:
    """Returns name → bytes to fetch of the packages of a `pylock.toml`; without those of which it is not told."""
    by_package = {}
    for entry in tomllib.loads(text)["packages"]:
        sizes = [wheel["size"] for wheel in entry.get("wheels", ()) if "size" in wheel]
        if sizes:
            by_package[entry["name"]] = max(sizes)
    return by_package


def _package(entry: Mapping[str, Any]) -> Package:
    files = [*entry.get("wheels", ()), *([entry["archive"]] if "archive" in entry else [])]
    if not files:
        raise LockError(f"{entry['name']} is not given by a hashed file; name a version or a wheel")
    return Package(
        version=entry.get("version", ""),
        files={_name(file): file["hashes"]["sha256"] for file in files},
    )


def _name(file: Mapping[str, Any]) -> str:
    name: str | None = file.get("name")
    return name or PurePosixPath(unquote(urlsplit(file.get("url") or file["path"]).path)).name


def resolve(
    requirements: Sequence[str],
    *,
    python: Sequence[str],
    version: str,
    lock: Path,
    offline: bool,
    sources: Sources = USUAL,
) -> dict[str, Package]:
    """Finds out the packages that `requirements` give, and writes them to `lock`, whole or not at all.

    `python` are uv's options that say for which Python, of `version`.

    Raises:
        EnvironmentUnavailableError: there are none, or they cannot be found out here.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    draft = lock.with_name(f"pylock.{uuid.uuid4().hex}.toml")  # two images may ask for the same
    try:
        run_uv(
            *RESOLVE,
            *python,
            f"--output-file={draft}",
            *sources.arguments(offline=offline),
            version=version,
            offline=offline,
            cwd=lock.parent,
            text="\n".join(requirements),
        )
        packages = read_lock(draft.read_text(encoding="utf-8"))
        draft.replace(lock)
    except LockError as error:
        raise EnvironmentUnavailableError(str(error)) from error
    finally:
        draft.unlink(missing_ok=True)
    return packages


def install(
    lock: Path,
    folder: Path,
    *,
    python: Path,
    version: str,
    offline: bool,
    held: int,
    sources: Sources = USUAL,
) -> None:
    """Makes a virtual environment in `folder`, which must not exist, with exactly the packages of `lock`.

    `held` is the descriptor of the lock on `folder`. uv holds it too, so that nobody else writes there even where
    this process was killed and uv still runs. `sources` are those that `lock` was resolved with.

    Raises:
        EnvironmentUnavailableError: it cannot be made here; `folder` may be half made.
    """
    known: dict[str, Any] = {
        "version": version,
        "offline": offline,
        "cwd": lock.parent,
        "held": held,
    }
    run_uv("venv", "--no-project", "--quiet", f"--python={python}", str(folder), **known)
    run_uv(
        "pip",
        "sync",
        "--no-build",
        "--quiet",
        "--require-hashes",
        f"--python={folder / 'bin' / 'python'}",
        *sources.arguments(offline=offline),
        str(lock),
        **known,
    )


def find_python(wanted: str | None, *, cwd: Path) -> Path:
    """Returns an installed Python: the runner's own, or the one that `wanted` describes for uv: `3.9`, `pypy3.9`, a path.

    `cwd` is a folder that belongs to no project.

    Raises:
        EnvironmentUnavailableError: there is none; no interpreter is ever downloaded.
    """
    if wanted is None:
        return Path(sys.executable)
    done = _run(["python", "find", "--no-project", "--system", "--", wanted], cwd=cwd, offline=True)
    if done.returncode == 0:
        return Path(done.stdout.strip())
    said = " ".join(done.stderr.split()).rpartition("error: ")[2].partition(" cause: ")[0]
    message = f"there is no Python {wanted} here ({said[:200]}); {_installed(cwd)}"
    raise EnvironmentUnavailableError(message)


def _installed(cwd: Path) -> str:
    done = _run(
        ["python", "list", "--only-installed", "--output-format=json"], cwd=cwd, offline=True
    )
    entries = json.loads(done.stdout) if done.returncode == 0 else []
    versions = dict.fromkeys(entry["version"] for entry in entries)  # newest first
    here = f" (found here: {', '.join(versions)})" if versions else ""
    return f"install it, or name another{here} or a path as `python:` in matrix.yaml"


def _pyenv(env: Mapping[str, str]) -> list[str]:
    """Returns the folders of pyenv's Pythons, newest first: of these uv sees the chosen one alone."""
    root = Path(env.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    return sorted((str(path) for path in root.glob("3.*/bin")), key=_numbers, reverse=True)


def _numbers(path: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", Path(path).parent.name)]


def run_uv(
    *arguments: str,
    version: str,
    offline: bool,
    cwd: Path,
    text: str = "",
    held: int | None = None,
) -> None:
    """Runs uv for a Python of `version`.

    Raises:
        EnvironmentUnavailableError: it failed; with its reason in plain words.
    """
    done = _run(arguments, cwd=cwd, offline=offline, text=text, held=held)
    if done.returncode != 0:
        raise EnvironmentUnavailableError(explain(done.stderr, version))


def _run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    offline: bool,
    text: str = "",
    held: int | None = None,
) -> subprocess.CompletedProcess[str]:
    try:
        binary = uv.find_uv_bin()
    except FileNotFoundError as error:
        message = f"uv is not installed beside {sys.executable}; run `make` again"
        raise EnvironmentUnavailableError(message) from error
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    env |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), *_pyenv(env)])
    return subprocess.run(
        [binary, *(["--offline"] if offline else []), *arguments],
        cwd=cwd,
        env=env,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        pass_fds=() if held is None else (held,),
        check=False,
    )
