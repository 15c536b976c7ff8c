"""Real uv, real environments; the packages are tiny wheels made here, so no network is needed."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.programs import ran
from tests.unit.tiny_wheels import ROOT, Make, folders, make_wheel, only_index, run_job
from trt_matrix.environments import local, preflight
from trt_matrix.environments.base import JobRun
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.packages import Sources
from trt_matrix.environments.venv import STAMP, VenvEnvironment, default_cache
from trt_matrix.errors import EnvironmentUnavailableError

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
    monkeypatch.setattr("uv.find_uv_bin", lambda: "/nonexistent/uv")
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
    identity = stone.prepare(offline=True)
    assert identity.facts["packages"]["pebble"]["version"] == "2.0"
    # Another wheel in the folder is another question.
    make_wheel(house, "pebble", "3.0")
    identity = with_sources(tmp_path, Sources(wheels=house)).prepare(offline=True)
    assert identity.facts["packages"]["pebble"]["version"] == "3.0"
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
    identity = with_sources(tmp_path, Sources(index=(str(index),))).prepare(offline=False)
    assert identity.facts["packages"]["pebble"]["version"] == "7.0"


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
        environment("pebble").run(
            JobRun(request=tmp_path, result=tmp_path, log=tmp_path, deadline_s=1)
        )


def test_obstacles(environment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "this_driver", lambda: Driver(problem="no NVIDIA driver"))
    assert environment("pebble").obstacle("cpu") is None
    assert environment("pebble").obstacle("gpu:0") == "no NVIDIA driver"


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
    done = ran(folder / "bin" / "python", "-I", "-c", code)
    assert done.stdout == "1.26.0\n"
