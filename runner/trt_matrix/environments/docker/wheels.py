"""Wheels for a Python that is not on this machine: resolved and unpacked by the host's uv.

Nothing of the image runs for that, and the host's own package settings and credentials stay here.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from trt_matrix.environments.packages import Package, run_uv
from trt_matrix.environments.python import Python
from trt_matrix.errors import EnvironmentUnavailableError

MANYLINUX = ((2, 17), (2, 28), *((2, minor) for minor in range(31, 41)))
"""Versions of glibc that uv has a platform for."""

NUMPY = "numpy"

NUMPY_OF_35 = Package(
    version="1.18.5",
    files={
        "numpy-1.18.5-cp35-cp35m-manylinux1_x86_64.whl": (
            "a78e438db8ec26d5d9d0e584b27ef25c7afa5a182d1bf4d05e313d2d6d515271"
        )
    },
)
"""The last for Python 3.5, which images of 2018 have and uv does not know."""


def pinned(requirements: Sequence[str], python: Python) -> dict[str, Package] | None:
    """Returns the packages of a Python too old for uv; None where uv finds them."""
    old = python.release == (3, 5) and python.platform == "linux-x86_64"
    return {NUMPY: NUMPY_OF_35} if old and tuple(requirements) == (NUMPY,) else None


def platform_of(python: Python) -> str:
    """Returns uv's name of the platform inside: `x86_64-manylinux_2_28`."""
    machine = python.platform.partition("-")[2]
    match_ = re.match(r"glibc (\d+)\.(\d+)", python.libc or "")
    if not match_:
        return f"{machine}-unknown-linux-musl"
    libc = int(match_[1]), int(match_[2])
    fitting = [glibc for glibc in MANYLINUX if glibc <= libc]
    if not fitting:
        message = f"its {python.libc} is older than what wheels are made for"
        raise EnvironmentUnavailableError(message)
    major, minor = fitting[-1]
    return f"{machine}-manylinux_{major}_{minor}"


def install_foreign(lock: Path, folder: Path, python: Python, *, offline: bool) -> None:
    """Unpacks exactly the packages of `lock` into `folder`.

    Raises:
        EnvironmentUnavailableError: they cannot be had; `folder` may be half made.
    """
    run_uv(
        "pip",
        "install",
        "--no-build",
        "--no-deps",
        "--quiet",
        "--require-hashes",
        f"--target={folder}",
        *options_for(python),
        f"--requirements={lock}",
        version=python.version,
        offline=offline,
        cwd=lock.parent,
    )


def install_pinned(packages: Mapping[str, Package], folder: Path, *, offline: bool) -> None:
    """Unpacks what `pinned` named into `folder`, by pip: uv refuses Python 3.5.

    Raises:
        EnvironmentUnavailableError: they cannot be had; `folder` may be half made.
    """
    if offline:
        message = f"{', '.join(packages)} for Python 3.5 must be fetched once, without --offline"
        raise EnvironmentUnavailableError(message)
    wanted = folder / "requirements.txt"
    wanted.write_text(
        "".join(
            f"{name}=={package.version} --hash=sha256:{sha256}\n"
            for name, package in packages.items()
            for sha256 in package.files.values()
        )
    )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--python-version=3.5"]
    command += ["--implementation=cp", "--abi=cp35m", "--platform=manylinux1_x86_64"]
    command += [f"--target={folder}", f"--requirement={wanted}", "--no-compile"]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    wanted.unlink()
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["pip told no reason"]
        raise EnvironmentUnavailableError(said[-1][:300])


def options_for(python: Python) -> tuple[str, ...]:
    """Returns uv's options for a Python inside."""
    # A Python of this machine, or uv would look for one of that version.
    return (
        f"--python={sys.executable}",
        f"--python-version={'.'.join(map(str, python.release))}",
        f"--python-platform={platform_of(python)}",
    )
