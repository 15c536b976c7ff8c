"""`identity()`: what an environment is, where that is known without making it."""

import sys
from pathlib import Path

import pytest

from tests.unit.tiny_wheels import Make
from trt_matrix.environments.docker.environment import NgcEnvironment
from trt_matrix.environments.interpreter import InterpreterEnvironment
from trt_matrix.environments.venv import STAMP, VenvEnvironment


@pytest.fixture
def venv(environment: Make) -> VenvEnvironment:
    return environment("pebble==2.0")


def test_a_venv_is_known_once_it_is_made_and_as_long_as_it_is_whole(
    venv: VenvEnvironment, tmp_path: Path
) -> None:
    assert venv.identity() is None
    assert not (tmp_path / "cache").exists(), "looking makes nothing"
    identity = venv.prepare(offline=False)
    assert venv.identity() == identity
    [stamp] = (tmp_path / "cache" / "environments").glob(f"*/{STAMP}")
    stamp.unlink()
    assert venv.identity() is None


def test_a_venv_with_a_damaged_resolution_is_not_known(
    venv: VenvEnvironment, tmp_path: Path
) -> None:
    venv.prepare(offline=False)
    [lock] = (tmp_path / "cache" / "resolutions").glob("*/pylock.toml")
    lock.write_text("[[packages")
    assert venv.identity() is None
    assert lock.read_text() == "[[packages", "looking repairs nothing"


def test_a_venv_whose_python_is_not_here_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    environment = VenvEnvironment(
        name="old", engine="onnxruntime", requirements=(), python="3.1", cache=tmp_path / "cache"
    )
    assert environment.identity() is None
    assert not list((tmp_path / "cache").iterdir())


def test_an_interpreter_is_there_or_not(tmp_path: Path) -> None:
    here = InterpreterEnvironment(name="here", engine="onnxruntime", python=Path(sys.executable))
    assert here.identity() == here.prepare(offline=True)
    gone = InterpreterEnvironment(name="gone", engine="onnxruntime", python=tmp_path / "python")
    assert gone.identity() is None


def test_a_container_whose_image_is_not_here_is_not_known(tmp_path: Path) -> None:
    ngc = NgcEnvironment(name="ngc-24.04-py3", tag="24.04-py3", cache=tmp_path)
    assert ngc.identity() is None
