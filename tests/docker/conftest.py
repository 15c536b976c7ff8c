"""A real Docker engine, and base images made without any registry.

Where no engine answers these tests are skipped and say so; with TRT_MATRIX_REQUIRE_DOCKER=1, as in
.ci/run, they fail instead.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker import rootfs
from tests.docker.podman_engine import PodmanEngine
from tests.docker.scripted import Scripted
from tests.docker.second_engine import SecondEngine
from trt_matrix.environments.docker.engine import Engine, local_engine


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


@pytest.fixture(scope="session")
def podman() -> Iterator[Engine]:
    """Podman, where it is installed."""
    one = PodmanEngine()
    engine = Engine(one.address)
    yield engine
    engine.close()
    one.close()


@pytest.fixture(params=["docker", "podman"])
def scripted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scripted]:
    """What runs Python text in a container, of each engine that is here."""
    found = request.getfixturevalue("engine" if request.param == "docker" else request.param)
    one = Scripted(found, rootfs.python_image(found.client), tmp_path)
    yield one
    assert one.left() == []
