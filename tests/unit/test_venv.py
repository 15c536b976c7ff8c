"""Real uv, real environments; the packages are tiny wheels made here, so no network is needed."""

import base64
import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uv

from trt_matrix.environments import local, packages, preflight, venv
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.packages import Sources
from trt_matrix.environments.venv import STAMP, VenvEnvironment, default_cache
from trt_matrix.errors import EnvironmentUnavailableError

ROOT = Path(__file__).parents[2]


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    needs: tuple[str, ...] = (),
) -> Path:
    """Writes a wheel whose one module tells its version."""
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text)}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def only_index(folder: Path) -> Path:
    """Returns a configuration of uv that knows no other index than this folder of wheels."""
    configuration = folder / "uv.toml"
    configuration.write_text(f"no-index = true\nfind-links = [{json.dumps(str(folder))}]\n")
    return configuration


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


Make = Callable[..., VenvEnvironment]


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


def run_job(environment: VenvEnvironment, result: Path) -> dict[str, Any]:
    log = result.parent / "job.log"
    ending = environment.run(
        result.parent / "request", result, log, deadline_s=600, tick=lambda: None
    )
    assert ending.exit_code == 0, log.read_text()
    assert log.read_text() == "done\n"
    return json.loads((result / "result.json").read_text())


def folders(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "environments").iterdir())


def refusal(environment: VenvEnvironment, *, offline: bool = False) -> str:
    with pytest.raises(EnvironmentUnavailableError) as caught:
        environment.prepare(offline=offline)
    assert str(caught.value).startswith("stone: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What an environment is


def test_the_identity_names_every_package_and_its_hash(environment: Make, wheels: Path) -> None:
    identity = environment("pebble==1.0").prepare(offline=False)
    wheel = wheels / "grain-2.5-py3-none-any.whl"
    assert set(identity.facts["packages"]) == {"pebble", "grain"}
    assert identity.facts["packages"]["grain"] == {
        "version": "2.5",
        "files": {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()},
    }
    assert identity.facts["kind"] == "venv"
    assert identity.facts["requirements"] == ["pebble==1.0"]
    assert identity.facts["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    json.dumps(identity.facts, allow_nan=False)


def test_what_resolves_alike_is_one_environment(environment: Make, tmp_path: Path) -> None:
    first = environment("pebble==2.0").prepare(offline=False)
    second = environment("pebble>1.5").prepare(offline=False)
    other = environment("pebble==1.0").prepare(offline=False)
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert len(folders(tmp_path)) == 2


def test_a_second_run_needs_neither_uv_nor_an_index(
    environment: Make, monkeypatch: pytest.MonkeyPatch, wheels: Path
) -> None:
    first = environment("pebble==1.0").prepare(offline=False)
    shutil.rmtree(wheels)
    monkeypatch.setattr(packages.uv, "find_uv_bin", lambda: "/nonexistent/uv")
    assert environment("pebble==1.0").prepare(offline=True) == first


def test_a_resolution_stays_until_the_index_is_another(
    environment: Make, wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = environment("pebble").prepare(offline=False)
    make_wheel(wheels, "pebble", "3.0")
    assert environment("pebble").prepare(offline=False) == before
    elsewhere = shutil.copytree(wheels, tmp_path / "elsewhere")
    monkeypatch.setenv("UV_CONFIG_FILE", str(only_index(elsewhere)))
    after = environment("pebble").prepare(offline=False)
    assert after.facts["packages"]["pebble"]["version"] == "3.0"


def test_offline_with_a_warm_cache_makes_it_anew(environment: Make, tmp_path: Path) -> None:
    first = environment("pebble==1.0").prepare(offline=False)
    shutil.rmtree(folders(tmp_path)[0])
    assert environment("pebble==1.0").prepare(offline=True) == first
    assert (folders(tmp_path)[0] / STAMP).exists()


# Where packages are looked for


def with_sources(tmp_path: Path, sources: Sources) -> VenvEnvironment:
    return VenvEnvironment(
        name="stone", engine="onnxruntime", requirements=["pebble"], python=None,
        cache=tmp_path / "cache", sources=sources,
    )  # fmt: skip


def test_a_wheelhouse_is_enough_offline(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = shutil.copytree(wheels, tmp_path / "house")
    for wheel in wheels.glob("*.whl"):
        wheel.unlink()
    monkeypatch.delenv("UV_CONFIG_FILE")
    # An index that is not there, as on a machine without a network.
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    stone = with_sources(tmp_path, Sources(wheels=house))
    made = stone.prepare(offline=True)
    assert made.facts["packages"]["pebble"]["version"] == "2.0"
    # Another wheel in the folder is another question.
    make_wheel(house, "pebble", "3.0")
    made = with_sources(tmp_path, Sources(wheels=house)).prepare(offline=True)
    assert made.facts["packages"]["pebble"]["version"] == "3.0"
    for wheel in house.glob("*.whl"):
        wheel.unlink()
    with pytest.raises(EnvironmentUnavailableError, match="pebble"):
        with_sources(tmp_path, Sources(wheels=house)).prepare(offline=True)


def test_an_index_comes_before_the_others(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    (index / "pebble").mkdir(parents=True)
    newer = make_wheel(index / "pebble", "pebble", "7.0")
    page = f'<a href="{newer.name}">{newer.name}</a>'
    (index / "pebble" / "index.html").write_text(page)
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    made = with_sources(tmp_path, Sources(index=(str(index),))).prepare(offline=False)
    assert made.facts["packages"]["pebble"]["version"] == "7.0"


# Jobs


def test_a_job_runs_isolated(
    environment: Make, job: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    stone = environment("pebble==1.0")
    stone.prepare(offline=False)
    facts = run_job(stone, job)
    folder = next(path for path in folders(tmp_path))
    assert facts["version"] == "1.0"
    assert facts["file"].startswith(str(folder))
    assert facts["argv"] == [str(job.parent / "request"), str(job)]
    assert not {"OMP_NUM_THREADS", "LD_LIBRARY_PATH"} & set(facts["env"])
    assert facts["env"]["PYTHONPATH"] == str(local.JOB_HOME)
    assert facts["env"]["HOME"] == str(job)
    assert str(ROOT) not in facts["path"]
    assert not any("site-packages" in path for path in facts["path"] if str(folder) not in path)
    assert not list(local.JOB_HOME.rglob("__pycache__"))


def test_the_gpus_that_are_ours_are_handed_on(
    environment: Make, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    stone = environment("pebble==1.0")
    stone.prepare(offline=False)
    assert run_job(stone, job)["env"]["CUDA_VISIBLE_DEVICES"] == "1"


def test_running_before_it_is_prepared_is_a_mistake(environment: Make, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="prepare it"):
        environment("pebble").run(tmp_path, tmp_path, tmp_path, deadline_s=1, tick=lambda: None)


def test_obstacles(environment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "this_driver", lambda: Driver(problem="no NVIDIA driver"))
    assert environment("pebble").obstacle("cpu") is None
    assert environment("pebble").obstacle("gpu:0") == "no NVIDIA driver"


# What can go wrong


def test_a_version_that_does_not_exist(environment: Make) -> None:
    assert "pebble==9.9 does not exist" in refusal(environment("pebble==9.9"))


def test_a_package_that_does_not_exist(environment: Make) -> None:
    told = refusal(environment("pebbel"))
    assert "the folder named by `wheels:` has no wheel of pebbel" in told
    assert "check the spelling" in told


def test_a_wheel_for_another_python_names_that_python(environment: Make) -> None:
    message = refusal(environment("fossil==1.0"))
    assert f"fossil==1.0 has no wheel for Python {sys.version.split()[0]}" in message
    assert 'set `python: "3.8"` for it in matrix.yaml' in message


def test_sources_are_not_built(environment: Make, wheels: Path) -> None:
    (wheels / "quarry-1.0.tar.gz").write_bytes(b"")
    message = refusal(environment("quarry==1.0"))
    assert "quarry==1.0 has no wheel that fits" in message
    assert "nothing is built from source" in message


def test_requirements_that_contradict_each_other(environment: Make) -> None:
    message = refusal(environment("pebble==1.0", "grain<2"))
    assert "the requirements contradict each other: " in message
    assert "grain" in message


@pytest.mark.parametrize("requirement", ["pebble=1", "pebble==", "peb ble", "🪨"])
def test_a_requirement_that_cannot_be_read(environment: Make, requirement: str) -> None:
    assert "a requirement in matrix.yaml cannot be read: " in refusal(environment(requirement))


@pytest.mark.parametrize("requirement", ["-r /etc/passwd", " --index-url=x", "a\n--pre"])
def test_options_are_refused(environment: Make, requirement: str) -> None:
    assert "is an option, not one requirement" in refusal(environment(requirement))


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

    monkeypatch.setattr(packages.uv, "find_uv_bin", missing)
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


# Killed in the middle, and two at once

PREPARE = """
import sys
from pathlib import Path
from trt_matrix.environments.venv import VenvEnvironment
stone = VenvEnvironment(name="stone", engine="onnxruntime", requirements=("pebble==1.0",),
                        python=None, cache=Path(sys.argv[1]))
print(stone.prepare(offline=False).fingerprint)
"""


def prepare_elsewhere(tmp_path: Path, *, uv_binary: Path | None = None) -> subprocess.Popen[bytes]:
    code = PREPARE
    if uv_binary:
        code = f"import uv\nuv.find_uv_bin = lambda: {str(uv_binary)!r}\n{PREPARE}"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "cache")], cwd=ROOT, stdout=subprocess.PIPE
    )


@pytest.fixture
def slow_uv(tmp_path: Path) -> Path:
    """A uv that stops before it installs, tells so by a file, and goes on when told by another."""
    script = tmp_path / "slow-uv"
    script.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" sync "*) touch "{tmp_path}/installing"\n'
        f'  while [ ! -e "{tmp_path}/go" ]; do sleep 0.01; done;; esac\n'
        f'exec "{uv.find_uv_bin()}" "$@"\n'
    )
    script.chmod(0o755)
    return script


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_two_processes_and_two_threads_make_it_once(
    environment: Make, tmp_path: Path, job: Path
) -> None:
    elsewhere = [prepare_elsewhere(tmp_path) for _ in range(2)]
    stones = [environment("pebble==1.0") for _ in range(2)]
    threads = [
        threading.Thread(target=stone.prepare, kwargs={"offline": False}) for stone in stones
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fingerprints = {process.communicate()[0] for process in elsewhere}
    assert {process.returncode for process in elsewhere} == {0}
    assert len(fingerprints) == len(folders(tmp_path)) == 1
    assert [run_job(stone, job)["version"] for stone in stones] == ["1.0", "1.0"]


def test_waiting_tells_so(
    environment: Make, tmp_path: Path, slow_uv: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with prepare_elsewhere(tmp_path, uv_binary=slow_uv) as other:
        wait_for(tmp_path / "installing")
        stone = environment("pebble==1.0")
        thread = threading.Thread(target=stone.prepare, kwargs={"offline": False})
        thread.start()
        while "waiting for another run" not in caplog.text:
            assert thread.is_alive()
            time.sleep(0.01)
        (tmp_path / "go").touch()
        thread.join()
        fingerprint = other.stdout.read().decode().strip()
    assert stone.prepare(offline=True).fingerprint == fingerprint


def test_killed_with_9_while_making_it(
    environment: Make, tmp_path: Path, slow_uv: Path, job: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with prepare_elsewhere(tmp_path, uv_binary=slow_uv) as other:
        wait_for(tmp_path / "installing")
        other.kill()
    [half] = folders(tmp_path)
    assert not (half / STAMP).exists()
    (half / "leftover").touch()

    # Its uv still runs and will write: nobody else may until it has ended.
    stone = environment("pebble==1.0")
    thread = threading.Thread(target=stone.prepare, kwargs={"offline": False})
    thread.start()
    while "waiting for another run" not in caplog.text:
        assert thread.is_alive()
        time.sleep(0.01)
    assert (half / "leftover").exists()
    (tmp_path / "go").touch()
    thread.join()
    assert not (half / "leftover").exists()
    assert (half / STAMP).exists()
    assert run_job(stone, job)["version"] == "1.0"


def test_interrupted_from_the_keyboard_while_making_it(
    environment: Make, tmp_path: Path, slow_uv: Path, job: Path
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", f"import uv\nuv.find_uv_bin = lambda: {str(slow_uv)!r}\n{PREPARE}",
         str(tmp_path / "cache")],
        cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with other:
        wait_for(tmp_path / "installing")
        os.killpg(other.pid, signal.SIGINT)
        assert b"KeyboardInterrupt" in other.stderr.read()
    stone = environment("pebble==1.0")
    stone.prepare(offline=False)
    assert run_job(stone, job)["version"] == "1.0"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TRT_MATRIX_CACHE": "/a/b"}, Path("/a/b")),
        ({"TRT_MATRIX_CACHE": "/a", "XDG_CACHE_HOME": "/x"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/trt-matrix")),
        ({"XDG_CACHE_HOME": "relative"}, Path("~/.cache/trt-matrix").expanduser()),
        ({"TRT_MATRIX_CACHE": ""}, Path("~/.cache/trt-matrix").expanduser()),
    ],
)
def test_where_environments_are_kept(environ: dict[str, str], expected: Path) -> None:
    assert default_cache(environ) == expected


@pytest.mark.slow
def test_a_real_engine_from_the_network(tmp_path: Path) -> None:
    stone = VenvEnvironment(
        name="ort-1.26.0",
        engine="onnxruntime",
        requirements=("onnxruntime==1.26.0",),
        python=None,
        cache=tmp_path / "cache",
    )
    try:
        stone.prepare(offline=False)
    except EnvironmentUnavailableError as error:
        if "cannot be reached" not in str(error):
            raise
        pytest.skip("no network")
    [folder] = folders(tmp_path)
    code = "import onnxruntime; print(onnxruntime.__version__)"
    done = subprocess.run(
        [folder / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1.26.0\n"
