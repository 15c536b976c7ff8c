"""What tests of several files use: the command line, called in this process, and short waits."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.experiments import write
from tests.unit.migrations import Call
from trt_matrix import cli
from trt_matrix.store.results import Store


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """Commands take SIGTERM for themselves."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """Calls `trt-matrix` with arguments, in a folder of the test's own; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["trt-matrix", *arguments])
        with pytest.raises(SystemExit) as ending:
            cli.main()
        said = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return ending.value.code, said.out, said.err

    return run


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are looked at, and stopped, sooner."""
    monkeypatch.setattr("trt_matrix.environments.process.TICK_S", 0.02)
    monkeypatch.setattr("trt_matrix.environments.process.GRACE_S", 0.3)


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A small experiment's matrix.yaml, with all that it names."""
    return write(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")
