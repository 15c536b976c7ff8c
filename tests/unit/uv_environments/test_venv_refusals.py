"""Real uv, and what can go wrong with it: each refusal says what to do next."""

import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.tiny_wheels import Make, folders, make_wheel, run_job
from trt_matrix.environments import venv
from trt_matrix.environments.venv import VenvEnvironment
from trt_matrix.errors import EnvironmentUnavailableError


def refusal(environment: VenvEnvironment, *, offline: bool = False) -> str:
    with pytest.raises(EnvironmentUnavailableError) as caught:
        environment.prepare(offline=offline)
    assert str(caught.value).startswith("stone: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


HERE = sys.version.split()[0]


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        (["pebble==9.9"], ["pebble==9.9 does not exist"]),
        (["pebbel"], ["the folder named by `wheels:` has no wheel of pebbel", "check the spelling"]),
        (["fossil==1.0"], [f"fossil==1.0 has no wheel for Python {HERE}",
                           'set `python: "3.8"` for it in matrix.yaml']),
        (["pebble==1.0", "grain<2"], ["the requirements contradict each other: ", "grain"]),
        *(([one], ["a requirement in matrix.yaml cannot be read: "])
          for one in ("pebble=1", "pebble==", "peb ble", "🪨")),
        *(([one], ["is an option, not one requirement"])
          for one in ("-r /etc/passwd", " --index-url=x", "a\n--pre")),
    ],
)  # fmt: skip
def test_requirements_that_cannot_be_met(
    environment: Make, requirements: list[str], told: list[str]
) -> None:
    message = refusal(environment(*requirements))
    assert all(one in message for one in told), message


def test_sources_are_not_built(environment: Make, wheels: Path) -> None:
    (wheels / "quarry-1.0.tar.gz").write_bytes(b"")
    message = refusal(environment("quarry==1.0"))
    assert "quarry==1.0 has no wheel that fits" in message
    assert "nothing is built from source" in message


def test_a_folder_has_no_hash(environment: Make, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text("[project]\nname = 'own'\nversion = '1'\n")
    refusal(environment(f"own @ {source.as_uri()}"))
    assert not (tmp_path / "cache" / "environments").exists()


def test_a_local_wheel_is_a_requirement(environment: Make, tmp_path: Path, job: Path) -> None:
    wheel = make_wheel(tmp_path, "pebble", "7.0")
    stone = environment(f"pebble @ {wheel.as_uri()}")
    facts = stone.prepare(offline=False).facts["packages"]["pebble"]
    assert facts["files"] == {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert run_job(stone, job)["version"] == "7.0"


def test_cold_and_offline(environment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    message = refusal(environment("pebble==1.0"), offline=True)
    assert "pebble==1.0 is not in the package cache and this run is offline" in message
    assert "run once with network" in message


def test_no_network(environment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    message = refusal(environment("pebble==1.0"))
    assert "the package index cannot be reached (Connection refused" in message


def test_a_wheel_that_changed_since(environment: Make, wheels: Path, tmp_path: Path) -> None:
    environment("pebble==2.0").prepare(offline=False)
    shutil.rmtree(folders(tmp_path)[0])
    shutil.rmtree(tmp_path / "uv")
    make_wheel(wheels, "pebble", "2.0", needs=("grain",))
    assert "pebble==2.0 is not the file that it was" in refusal(environment("pebble==2.0"))
    assert folders(tmp_path) == []


def test_a_damaged_wheel(environment: Make, wheels: Path) -> None:
    (wheels / "pebble-4.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 truncated")
    assert "uv failed: " in refusal(environment("pebble==4.0"))


def test_uv_missing(environment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("uv.find_uv_bin", missing)
    assert "uv is not installed" in refusal(environment("pebble"))


@pytest.mark.parametrize("python", ["3.999", "-x"])
def test_a_python_that_is_not_here(environment: Make, python: str) -> None:
    message = refusal(environment("pebble", python=python))
    assert f"there is no Python {python} here" in message
    assert "`python:` in matrix.yaml" in message


def test_a_python_by_version_and_by_path(environment: Make) -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    own = environment("pebble").prepare(offline=False)
    assert environment("pebble", python=sys.executable).prepare(offline=False) == own
    found = environment("pebble", python=version).prepare(offline=False)
    assert found.facts["python"]["version"].startswith(version)


def test_a_cache_that_is_a_file(environment: Make, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    message = refusal(environment("pebble"))
    assert str(tmp_path / "cache") in message
    assert "set TRT_MATRIX_CACHE" in message


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "the disk is full: free space"),
        (errno.EACCES, "it may not be written"),
        (errno.EROFS, "the file system is read-only"),
    ],
)
def test_a_cache_that_the_system_refuses(
    environment: Make, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise OSError(number, os.strerror(number), "/the/cache")

    monkeypatch.setattr(venv, "find_python", refuse)
    message = refusal(environment("pebble"))
    assert f"/the/cache: {expected}" in message
    assert "set TRT_MATRIX_CACHE to another folder" in message


def test_an_error_of_the_system_that_nobody_expects_is_not_swallowed(
    environment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(venv, "find_python", fail)
    with pytest.raises(OSError, match="Input/output"):
        environment("pebble").prepare(offline=False)


def test_a_damaged_resolution_is_made_anew(
    environment: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = environment("pebble==1.0").prepare(offline=False)
    [lock] = (tmp_path / "cache" / "resolutions").glob("*/pylock.toml")
    lock.write_bytes(lock.read_bytes()[:-40])
    assert environment("pebble==1.0").prepare(offline=False) == first
    assert "damaged" in caplog.text


def test_an_environment_whose_python_was_removed_is_made_anew(
    environment: Make, tmp_path: Path, job: Path
) -> None:
    stone = environment("pebble==1.0")
    stone.prepare(offline=False)
    python = folders(tmp_path)[0] / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python")
    stone.prepare(offline=False)
    assert run_job(stone, job)["version"] == "1.0"
