"""The engine itself stops in the middle of a job, on a second engine that is ours to stop."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.docker import rootfs
from tests.docker.scripted import Scripted
from tests.docker.second_engine import SecondEngine
from trt_matrix.core.cells import Status
from trt_matrix.environments.docker import container
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.sweep import sweep
from trt_matrix.execution.classify import classify

SCRIPT = "import time; open('/results/a', 'w'); time.sleep(600)"


@pytest.fixture
def there(second: SecondEngine, tmp_path: Path) -> Iterator[Scripted]:
    engine = Engine(second.address)
    yield Scripted(engine, rootfs.python_image(engine.client), tmp_path)
    engine.close()


class OnceStarted:
    """A tick that does something in the background when the job has begun."""

    def __init__(self, scripted: Scripted, *actions: object) -> None:
        self.scripted = scripted
        self.thread = threading.Thread(target=lambda: [action() for action in actions])  # type: ignore[operator]
        self.begun = False

    def __call__(self) -> None:
        if not self.begun and (self.scripted.results / "a").exists():
            self.begun = True
            self.thread.start()


@pytest.mark.parametrize(
    ("end", "words"),
    [("stop", "the container was stopped from outside"), ("kill", "the Docker engine stopped")],
)
def test_an_engine_restarted_in_the_middle(
    second: SecondEngine, there: Scripted, end: str, words: str
) -> None:
    tick = OnceStarted(there, getattr(second, end), second.start)
    ending = there(SCRIPT, tick=tick)
    tick.thread.join()
    assert ending.error
    assert ending.error.startswith(words)
    assert "run again" in ending.error
    assert classify(ending, "infer fp32", None)[0] is Status.UNAVAILABLE
    assert there.left() == []


def test_an_engine_that_stays_away(
    second: SecondEngine, there: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "BACK_S", 1.0)
    tick = OnceStarted(there, second.kill)
    started = time.monotonic()
    ending = there(SCRIPT, tick=tick)
    tick.thread.join()
    assert ending.error
    assert "did not come back" in ending.error
    assert time.monotonic() - started < 60
    with closing(Engine(second.address)) as again:
        problem = again.obstacle()
    assert problem
    assert "Docker does not answer: is it installed and started?" in problem
    second.start()
    sweep(there.engine)
    assert len(there.left()) == 1, "its runner, this test, is alive"
    there.engine.client.containers.get(there.left()[0]).remove(force=True)
