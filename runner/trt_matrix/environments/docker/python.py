"""What Python an image has, asked in a container of it; known for ever, since an id is its content."""

import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

from trt_matrix.containers.job import protocol
from trt_matrix.core.records import digest
from trt_matrix.environments.docker import owner
from trt_matrix.environments.docker.container import run_container
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.image import ContainerImage
from trt_matrix.environments.docker.options import WantedContainer, memory_bytes
from trt_matrix.environments.python import INSPECTION, OLDEST, Python, told_python
from trt_matrix.errors import EnvironmentUnavailableError

ANSWER_S = 120.0


def known_python(cache: Path, image: ContainerImage, python: str) -> Python | None:
    """Returns what an image was found to have; None where it was not asked yet."""
    try:
        return told_python(_file(cache, image, python).read_bytes())
    except (FileNotFoundError, ValueError):
        return None  # a damaged answer is asked again


def ask_image(engine: Engine, cache: Path, image: ContainerImage, python: str) -> Python:
    """Returns what `python` in `image`, a name or a path inside, says of itself; `cache` keeps the answer.

    Raises:
        EnvironmentUnavailableError: there is none, or it is too old.
    """
    if known := known_python(cache, image, python):
        return known
    wanted = WantedContainer(
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
        raise EnvironmentUnavailableError(f"{image.reference}: {ending.error}")
    if ending.exit_code != 0:
        raise EnvironmentUnavailableError(f"{where} does not work as a Python ({said[-1][:200]})")
    try:
        asked = told_python(said[-1])
    except ValueError as error:
        message = f"{where} is no Python (it ran, but did not answer as one)"
        raise EnvironmentUnavailableError(message) from error
    if asked.release < OLDEST:
        message = f"{where} is Python {asked.version}; the job needs {'.'.join(map(str, OLDEST))}"
        raise EnvironmentUnavailableError(message)
    protocol.write_json(str(_file(cache, image, python)), asdict(asked))
    return asked


def log_lines(log: Path) -> list[str]:
    """Returns the lines of a log, at least one."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return text.strip().splitlines() or ["it said nothing"]


def _file(cache: Path, image: ContainerImage, python: str) -> Path:
    return cache / "images" / f"{digest([image.id, python])[:32]}.json"
