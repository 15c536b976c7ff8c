"""A real Docker engine, and base images made without any registry.

Where no engine answers these tests are skipped and say so; with TRT_MATRIX_REQUIRE_DOCKER=1, as in
.ci/run, they fail instead.
"""

import gc
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.environments.base import Ending
from runner.environments.docker import options, owner
from runner.environments.docker.container import run_container
from runner.environments.docker.engine import Engine, local_engine

sys.path.insert(0, str(Path(__file__).parent))

import rootfs
from second_engine import SecondEngine

SMALL_MEMORY = 256 << 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)
            # The SDK leaves a socket that could not be connected to the garbage collector.
            item.add_marker(
                pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
            )


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()  # here, where that is expected, not in the middle of another test


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    found = Engine()
    if problem := found.obstacle():
        if os.environ.get("TRT_MATRIX_REQUIRE_DOCKER"):
            pytest.fail(f"TRT_MATRIX_REQUIRE_DOCKER is set, but: {problem}")
        pytest.skip(problem)
    yield found
    found.close()
    local_engine().close()


@pytest.fixture(scope="session")
def python_image(engine: Engine) -> str:
    return rootfs.python_image(engine.client)


@pytest.fixture(scope="session")
def empty_image(engine: Engine) -> str:
    return rootfs.empty_image(engine.client)


@pytest.fixture(scope="session")
def second(engine: Engine) -> Iterator[SecondEngine]:
    """Another engine, which has no images but the test's Python; may be restarted, not left stopped."""
    one = SecondEngine()
    one.start()
    yield one
    one.close()


class Scripted:
    """Runs Python text in a container as a job is run, and keeps what came of it."""

    def __init__(self, engine: Engine, image: str, folder: Path) -> None:
        self.engine = engine
        self.image = image
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.request, self.results = folder / "request", folder / "results"
        self.log = folder / "log"
        for path in (self.request, self.results):
            path.mkdir(exist_ok=True)

    def wanted(self, script: str, **changes: Any) -> options.Wanted:
        named: dict[str, Any] = {
            "image": self.image,
            "name": options.container_name("", self.name, uuid.uuid4().hex[:8]),
            "entrypoint": ("python3", "-c", script),
            "labels": owner.labels(self.name, "test"),
            "user": f"{os.getuid()}:{os.getgid()}",
            "binds": (
                options.Bind(str(self.request), options.REQUEST),
                options.Bind(str(self.results), options.RESULTS, read_only=False),
            ),
            "memory_bytes": SMALL_MEMORY,
            "variables": options.variables({}, None),
        }
        return options.Wanted(**(named | changes))

    def __call__(
        self,
        script: str,
        *,
        deadline_s: float = 60,
        tick: Callable[[], None] = lambda: None,
        **changes: Any,
    ) -> Ending:
        return run_container(
            self.engine,
            self.wanted(script, **changes),
            log=self.log,
            deadline_s=deadline_s,
            tick=tick,
        )

    def said(self) -> str:
        return self.log.read_text()

    def left(self) -> Sequence[str]:
        """Returns the names of its containers that are still there."""
        label = f"{owner.RUN_LABEL}={self.name}"
        found = self.engine.client.containers.list(all=True, filters={"label": label})
        return [one.name for one in found]


@pytest.fixture
def scripted(engine: Engine, python_image: str, tmp_path: Path) -> Iterator[Scripted]:
    one = Scripted(engine, python_image, tmp_path)
    yield one
    assert one.left() == []
