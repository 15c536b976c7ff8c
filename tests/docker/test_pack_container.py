"""A pack whose jobs run in containers, on real engines that may not raise a process's limits."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.docker import rootfs
from tests.docker.podman_engine import PodmanEngine
from tests.docker.second_engine import SecondEngine
from tests.unit.archives import unpack
from tests.unit.trips import Trip
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.environment import DockerEnvironment
from trt_matrix.environments.docker.options import FILES, PIDS
from trt_matrix.packs.merging import merge

NO_RIGHTS = ("setpriv", "--bounding-set=-sys_resource")
"""Before an engine: it is root, but cannot give a process more than it has itself."""


@pytest.fixture(params=["docker", "podman"])
def there(
    request: pytest.FixtureRequest, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Engine]]:
    """The program of an engine, and the engine."""
    program = str(request.param)
    if shutil.which(program) is None or shutil.which(NO_RIGHTS[0]) is None:
        pytest.skip(f"the commands {program} and {NO_RIGHTS[0]} are needed")
    one: SecondEngine | PodmanEngine
    if program == "podman":
        one = PodmanEngine(below=NO_RIGHTS)
    else:
        one = SecondEngine(below=NO_RIGHTS)
        one.start()
    monkeypatch.setenv("CONTAINER_HOST" if program == "podman" else "DOCKER_HOST", one.address)
    with closing(Engine(one.address)) as found:
        yield program, found
    one.close()


def image_with_an_engine(engine: Engine, cache: Path) -> str:
    """Returns an image whose python3 has numpy and ONNX Runtime: run-pack.py adds nothing to one."""
    base = rootfs.python_image(engine.client)
    environment = DockerEnvironment(
        name="x", engine="onnxruntime", image=base, requirements=["onnxruntime==1.26.0"],
        cache=cache, address=engine.address,
    )  # fmt: skip
    facts = environment.prepare(offline=False).facts
    packages = f"{sysconfig.get_path('stdlib')}/site-packages"
    text = f"FROM {facts['derived']['reference']} AS made\nFROM {base}\n"
    folder = cache / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        text + f"COPY --from=made /opt/trt-matrix/packages {packages}\n"
    )
    engine.client.images.build(path=str(folder), tag="trt-matrix-test/engine:1", rm=True)
    return "trt-matrix-test/engine:1"


def test_a_pack_runs_in_containers_of_an_engine_that_may_not_raise_limits(
    there: tuple[str, Engine], tmp_path: Path
) -> None:
    program, engine = there
    image = image_with_an_engine(engine, tmp_path / "cache")
    trip = Trip(tmp_path)
    unpack(trip.pack().file, trip.lab)
    path = tmp_path / "bin"
    path.mkdir()
    (path / program).symlink_to(str(shutil.which(program)))  # and no other engine's
    containers = ["--docker", image, "--gpus", "none"]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "pack/run-pack.py", *arguments],
            cwd=trip.lab, env={**os.environ, "PATH": str(path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    empty = rootfs.empty_image(engine.client)
    done = run("--docker", empty, "--gpus", "none")
    assert done.returncode == 2, done.stdout
    assert f"the image {empty} cannot run jobs of onnxruntime" in done.stderr
    assert "nothing was run" in done.stderr
    assert not (trip.lab / "pack" / "work").exists()

    done = run(*containers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the engine may not raise limits") == 1, "asked once, not once a job"
    assert "lab@cpu@calibrate: 1 of 1 answered" in done.stdout
    started = list((trip.lab / "pack" / "work").glob("*/start-1"))
    assert started
    for start in started:
        ending = json.loads((start / "ending.json").read_text())
        assert ending["command"][:2] == [program, "run"]
        limits = [one for one in ending["command"] if one.startswith("--ulimit")]
        least = [f"--ulimit=nofile={FILES}:{FILES}", f"--ulimit=nproc={PIDS}:{PIDS}"]
        assert limits == (least if program == "podman" else [])
        assert ending["exit_code"] == 0
        written = list((start / "result").rglob("*"))
        assert {(one.stat().st_uid, one.stat().st_gid) for one in written} == {
            (os.getuid(), os.getgid())
        }
    merged = merge(trip.answers, trip.results)
    assert (merged.environments, merged.failed) == ({"lab": 5}, 0)
    assert engine.client.containers.list(all=True) == []
