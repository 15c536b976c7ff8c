"""What Python an image has, asked in a container of it; known for ever, since an id is its content."""

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from job import protocol
from runner.environments.docker import owner
from runner.environments.docker.container import run_container
from runner.environments.docker.engine import Engine
from runner.environments.docker.image import Image
from runner.environments.docker.options import Wanted, memory_bytes
from runner.environments.python import INSPECTION, OLDEST, Python
from runner.errors import EnvironmentUnavailableError
from runner.records import digest

ANSWER_S = 120.0


def known_python(cache: Path, image: Image, python: str) -> Python | None:
    """Returns what an image was found to have; None where it was not asked yet."""
    try:
        found = json.loads(_file(cache, image, python).read_text(encoding="utf-8"))
        return Python(**found)
    except (FileNotFoundError, ValueError, TypeError):
        return None  # a damaged answer is asked again


def ask_image(engine: Engine, cache: Path, image: Image, python: str) -> Python:
    """Returns what the Python of `image` says of itself.

    Args:
        engine: Has the image.
        cache: Keeps the answer.
        image: Which.
        python: `python3`, or a path inside.

    Raises:
        EnvironmentUnavailableError: there is none, or it is too old.
    """
    if known := known_python(cache, image, python):
        return known
    wanted = Wanted(
        image=image.id,
        name=f"trt-matrix-ask-{uuid.uuid4().hex[:12]}",
        entrypoint=(python, "-B", "-c", INSPECTION.read_text(encoding="utf-8")),
        labels=owner.labels("", "inspection"),
        user="65534:65534",
        binds=(),
        memory_bytes=memory_bytes(engine.facts["MemTotal"], None),
        working_dir="/",
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        ending = run_container(engine, wanted, log=log, deadline_s=ANSWER_S, tick=lambda: None)
        said = log_lines(log)
    where = f"{image.reference}: its {python}"
    if ending.error:
        message = f"{image.reference}: {ending.error}"
        raise EnvironmentUnavailableError(message)
    if ending.exit_code != 0:
        message = f"{where} does not work as a Python ({said[-1][:200]})"
        raise EnvironmentUnavailableError(message)
    try:
        answer: dict[str, Any] = json.loads(said[-1])
        found = Python(**answer)
    except (ValueError, TypeError) as error:
        message = f"{where} is no Python (it ran, but did not answer as one)"
        raise EnvironmentUnavailableError(message) from error
    if found.release < OLDEST:
        message = f"{where} is Python {found.version}; the job needs {'.'.join(map(str, OLDEST))}"
        raise EnvironmentUnavailableError(message)
    protocol.write_json(str(_file(cache, image, python)), answer)
    return found


def log_lines(log: Path) -> list[str]:
    """Returns the lines of a log, at least one."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return text.strip().splitlines() or ["it said nothing"]


def _file(cache: Path, image: Image, python: str) -> Path:
    return cache / "images" / f"{digest([image.id, python])[:32]}.json"
