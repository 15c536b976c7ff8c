"""An index of tiny wheels, environments made of it, and a job that tells where it runs."""

import os
from pathlib import Path

import pytest

from tests.unit.tiny_wheels import Make, make_wheel, only_index
from trt_matrix.environments import local
from trt_matrix.environments.venv import VenvEnvironment


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only index there is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "pebble", "1.0", needs=("grain>=2",))
    make_wheel(folder, "pebble", "2.0")
    make_wheel(folder, "grain", "2.5")
    make_wheel(folder, "fossil", "1.0", tag="cp38-cp38-manylinux2014_x86_64")
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CONFIG_FILE", str(only_index(folder)))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


@pytest.fixture
def environment(tmp_path: Path, wheels: Path) -> Make:
    def make(*requirements: str, python: str | None = None) -> VenvEnvironment:
        return VenvEnvironment(
            name="stone",
            engine="onnxruntime",
            requirements=requirements,
            python=python,
            cache=tmp_path / "cache",
        )

    return make


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that tells where it runs; returns the folder for its result."""
    package = tmp_path / "containers" / "job"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import json, os, sys, pebble\n"
        "facts = {'version': pebble.VERSION, 'file': pebble.__file__, 'env': dict(os.environ),\n"
        "         'argv': sys.argv[1:], 'path': sys.path, 'prefix': sys.prefix}\n"
        "json.dump(facts, open(os.path.join(sys.argv[2], 'result.json'), 'w'))\n"
        "print('done')\n"
    )
    monkeypatch.setattr(local, "JOB_HOME", package.parent)
    (tmp_path / "result").mkdir()
    return tmp_path / "result"
