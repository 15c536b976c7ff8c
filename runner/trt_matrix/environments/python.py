"""Asks a Python what it is: version, platform, and the packages that it would import."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from trt_matrix.errors import EnvironmentUnavailableError

OLDEST = (3, 5)
"""What the job is written for."""

_ANSWER_S = 60.0

INSPECTION = Path(__file__).with_name("inspection.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """One interpreter, as it describes itself."""

    version: str
    """`3.11.7`."""
    implementation: str
    """`CPython`."""
    platform: str
    """`linux-x86_64`."""
    libc: str | None
    """`glibc 2.36`; None where it is another. Its libm decides last digits."""
    distributions: Mapping[str, Mapping[str, Any]]
    """name → {version, record_sha256}; the hash of RECORD stands for every installed file, and is
    None where the installer wrote none."""

    @property
    def release(self) -> tuple[int, ...]:
        """(3, 11)."""
        return tuple(int(part) for part in self.version.split(".")[:2])

    @property
    def facts(self) -> dict[str, Any]:
        """What decides numbers besides the packages; JSON."""
        return {
            "version": self.version,
            "implementation": self.implementation,
            "platform": self.platform,
            "libc": self.libc,
        }


class _Distribution(BaseModel):
    model_config = ConfigDict(strict=True)

    version: Annotated[str, Field(max_length=200)] | None
    record_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None


class _PythonAnswer(BaseModel):
    """What a Python prints: from an image, say, that nobody has looked into."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: str = Field(pattern=r"^[0-9]{1,3}\.[0-9]{1,4}[0-9A-Za-z.+-]{0,60}$")
    implementation: str = Field(max_length=100)
    platform: str = Field(max_length=200)
    libc: Annotated[str, Field(max_length=200)] | None
    distributions: Annotated[
        dict[Annotated[str, Field(max_length=200)], _Distribution], Field(max_length=20_000)
    ]


def told_python(answer: str | bytes) -> Python:
    """Returns what the line that `inspection.py` prints says.

    Raises:
        ValueError: it is no such line.
    """
    try:
        python_answer = _PythonAnswer.model_validate(json.loads(answer))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return Python(**python_answer.model_dump())


def ask_python(executable: Path, env: Mapping[str, str], *flags: str) -> Python:
    """Starts `executable` with `flags` and `env` and returns its description of itself.

    Raises:
        EnvironmentUnavailableError: it is missing, may not be run, is no Python, or too old.
    """
    command = [str(executable), *flags, "-c", INSPECTION.read_text(encoding="utf-8")]
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except OSError as error:
        message = f"{executable}: cannot be run ({error.strerror}); name a Python in matrix.yaml"
        raise EnvironmentUnavailableError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"{executable}: no answer within {_ANSWER_S:.0f} s; is it a Python?"
        raise EnvironmentUnavailableError(message) from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = lines[-1][:200] if lines else f"it ended with {done.returncode}"
        message = f"{executable}: does not work as a Python ({said}); does it need library_paths?"
        raise EnvironmentUnavailableError(message)
    try:
        # The last line: a sitecustomize may print before.
        python = told_python(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        message = f"{executable}: is no Python (it ran, but did not answer as one)"
        raise EnvironmentUnavailableError(message) from error
    if python.release < OLDEST:
        raise EnvironmentUnavailableError(
            f"{executable}: is Python {python.version}; the job needs "
            f"{'.'.join(map(str, OLDEST))} or later"
        )
    return python
