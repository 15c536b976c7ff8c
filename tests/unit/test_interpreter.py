"""Real interpreters: this one, virtual environments made from it, and programs that are none."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trt_matrix.environments import local, preflight
from trt_matrix.environments.base import JobRun
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.interpreter import InterpreterEnvironment
from trt_matrix.environments.python import ask_python
from trt_matrix.errors import EnvironmentUnavailableError

Make = Callable[..., InterpreterEnvironment]


@pytest.fixture
def environment() -> Make:
    def make(python: Path = Path(sys.executable), **options: object) -> InterpreterEnvironment:
        return InterpreterEnvironment(
            name="own",
            engine="tensorrt",
            python=python,
            **options,  # type: ignore[arg-type]
        )

    return make


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The Python of a virtual environment without packages."""
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def site_packages(python: Path) -> Path:
    [folder] = python.parents[1].glob("lib/python*/site-packages")
    return folder


def add_package(python: Path, *, record: str | None) -> None:
    info = site_packages(python) / "Pebble_Stone-1.5.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Pebble_Stone\nVersion: 1.5\n\nx: y"
    )
    if record is not None:
        (info / "RECORD").write_text(record)


def program(path: Path, text: str, *, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_identity_names_python_and_packages(environment: Make) -> None:
    facts = environment().prepare(offline=True).facts
    assert facts["kind"] == "interpreter"
    assert facts["executable"] == sys.executable
    assert facts["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["packages"]["numpy"]["version"]
    assert len(facts["packages"]["numpy"]["record_sha256"]) == 64
    json.dumps(facts, allow_nan=False)


def test_the_same_gives_the_same_fingerprint(environment: Make) -> None:
    assert environment().prepare(offline=False) == environment().prepare(offline=True)


def test_a_package_put_in_changes_the_fingerprint(environment: Make, bare: Path) -> None:
    prints = [environment(bare).prepare(offline=True).fingerprint]
    for record in (None, "pebble.py,sha256=a,1\n", "pebble.py,sha256=b,1\n"):
        add_package(bare, record=record)
        prints.append(environment(bare).prepare(offline=True).fingerprint)
    assert len(set(prints)) == 4
    packages = environment(bare).prepare(offline=True).facts["packages"]
    assert list(packages) == ["pebble-stone"]
    assert packages["pebble-stone"]["version"] == "1.5"


def test_a_package_without_record_is_named_without_hash(environment: Make, bare: Path) -> None:
    (site_packages(bare) / "old-0.1.egg-info").write_text("Name: old\nVersion: 0.1\n")
    (site_packages(bare) / "empty-1.dist-info").mkdir()
    packages = environment(bare).prepare(offline=True).facts["packages"]
    assert packages == {"old": {"version": "0.1", "record_sha256": None}}


def test_variables_and_libraries_change_the_fingerprint(environment: Make, tmp_path: Path) -> None:
    library = tmp_path / "libnvinfer.so.8"
    library.write_bytes(b"1")
    (tmp_path / "readme.txt").touch()

    def fingerprint(**variables: str) -> str:
        own = environment(variables=variables, library_paths=[tmp_path])
        identity = own.prepare(offline=True)
        assert list(identity.facts["libraries"][str(tmp_path)]) == ["libnvinfer.so.8"]
        return identity.fingerprint

    prints = [fingerprint(), fingerprint(A="1"), fingerprint(A="2")]
    library.write_bytes(b"22")
    prints.append(fingerprint())
    os.utime(library, ns=(0, 0))
    prints.append(fingerprint())
    assert len(set(prints)) == 5


def test_a_job_sees_variables_and_library_paths(
    environment: Make, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "containers" / "job"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import json, os, sys\n"
        "answer = [dict(os.environ), sys.argv, sys.prefix]\n"
        "json.dump(answer, open(sys.argv[2] + '/result.json', 'w'))\n"
        "sys.exit(4)\n"
    )
    monkeypatch.setattr(local, "JOB_HOME", package.parent)
    libraries, result = tmp_path / "lib", tmp_path / "result"
    libraries.mkdir()
    result.mkdir()
    own = environment(
        bare,
        variables={"PYTHONPATH": "/more", "LD_LIBRARY_PATH": "/old", "OMP_NUM_THREADS": "2"},
        library_paths=[libraries],
    )
    ending = own.run(JobRun(request=tmp_path, result=result, log=tmp_path / "log", deadline_s=600))
    assert ending.exit_code == 4
    env, argv, prefix = json.loads((result / "result.json").read_text())
    assert env["LD_LIBRARY_PATH"] == f"{libraries}:/old"
    assert env["PYTHONPATH"] == f"{package.parent}:/more"
    assert env["OMP_NUM_THREADS"] == "2"
    assert argv[1:] == [str(tmp_path), str(result)]
    assert prefix == str(bare.parents[1])
    assert not list(package.parent.rglob("__pycache__"))


# Obstacles


def test_no_obstacle_on_a_processor(environment: Make) -> None:
    assert environment().obstacle("cpu") is None


def test_a_gpu_needs_a_driver(environment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "this_driver", lambda: Driver(problem="no NVIDIA driver"))
    assert environment().obstacle("gpu:0") == "no NVIDIA driver"


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("#!/bin/sh\n", 0o644, "cannot be run (Permission denied)"),
        ("\x7fELF nonsense", 0o755, "cannot be run (Exec format error)"),
        ("#!/bin/sh\nexit 0\n", 0o755, "is no Python"),
        ("#!/bin/sh\necho '[1, 2]'\n", 0o755, "is no Python"),
        ("#!/bin/sh\necho '{}'\n", 0o755, "is no Python"),
        ("#!/bin/sh\necho libpython3.so: cannot open >&2; exit 127\n", 0o755, "libpython3.so"),
        ("#!/bin/sh\nexit 3\n", 0o755, "it ended with 3"),
        ("#!/bin/sh\nprintf '\\377\\376' >&2; exit 3\n", 0o755, "does not work as a Python"),
    ],
)
def test_what_is_no_python(
    environment: Make, tmp_path: Path, text: str, mode: int, expected: str
) -> None:
    path = program(tmp_path / "python", text, mode=mode)
    obstacle = environment(path).obstacle("cpu")
    assert obstacle is not None
    assert obstacle.startswith(f"{path}: ")
    assert expected in obstacle
    with pytest.raises(EnvironmentUnavailableError, match=r"^own: "):
        environment(path).prepare(offline=False)


def test_a_python_that_is_missing(environment: Make, tmp_path: Path) -> None:
    obstacle = environment(tmp_path / "python9").obstacle("cpu")
    assert f"{tmp_path / 'python9'}: cannot be run (No such file or directory)" in str(obstacle)


def test_a_python_that_is_too_old(environment: Make, tmp_path: Path) -> None:
    answer: dict[str, Any] = {
        "version": "2.7.18",
        "implementation": "CPython",
        "platform": "linux-x86_64",
        "libc": None,
        "distributions": {},
    }
    path = program(tmp_path / "python", f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    obstacle = environment(path).obstacle("cpu")
    assert obstacle == f"{path}: is Python 2.7.18; the job needs 3.5 or later"


def test_a_library_path_that_is_missing(environment: Make, tmp_path: Path) -> None:
    own = environment(library_paths=[tmp_path / "lib64"])
    assert f"{tmp_path / 'lib64'}: library_paths names a folder" in str(own.obstacle("cpu"))
    with pytest.raises(EnvironmentUnavailableError, match="library_paths"):
        own.prepare(offline=True)


def test_a_python_that_prints_first_is_understood(bare: Path) -> None:
    (site_packages(bare) / "sitecustomize.py").write_text("print('hello')\n")
    assert ask_python(bare, {}).implementation == "CPython"


def test_a_broken_description_of_a_package_does_not_matter(bare: Path) -> None:
    add_package(bare, record="")
    info = site_packages(bare) / "Pebble_Stone-1.5.dist-info"
    (info / "METADATA").write_bytes(b"\xff\xfe\x00Name Version\n: :\n")
    assert ask_python(bare, {}).distributions[""]["version"] is None
