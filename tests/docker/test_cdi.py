"""GPUs by CDI on an engine that has no NVIDIA runtime, with devices that are made: a variable, a file, a node.

Docker before 25 has no CDI. Where the installed one is older, TRT_MATRIX_NEWER_DOCKER names a folder with the
programs of a newer one; .ci/run puts one there.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docker import rootfs
from tests.docker.podman_engine import PodmanEngine
from tests.docker.scripted import Scripted
from tests.docker.second_engine import SecondEngine
from tests.unit.hosts import gpu
from trt_matrix.containers.job import pack_docker
from trt_matrix.core.hosts.cdi import Cdi
from trt_matrix.core.hosts.compatibility import ImageFacts, obstacles
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.environment import given
from trt_matrix.environments.host import facts_of

CARD = gpu("T4", uuid="GPU-5a1f2a3b-1111-2222-3333-444455556666")
MADE = {
    CARD.uuid: "env: [MADE=by-uuid], deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/null}]",
    "1": "env: [MADE=by-number]",
    "gone": "deviceNodes: [{path: /dev/nvidia-gone}]",
    "updated": "mounts: [{hostPath: /no/libcuda.so.1, containerPath: /no/libcuda.so.1, options: [bind]}]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cdi")


@pytest.fixture(scope="module", params=["docker", "podman"])
def second(request: pytest.FixtureRequest, folder: Path) -> Iterator[SecondEngine | PodmanEngine]:
    if request.param == "podman":
        podman = PodmanEngine(folder)
        yield podman
        podman.close()
        return
    engine: Engine = request.getfixturevalue("engine")
    settings = {"features": {"cdi": True}, "cdi-spec-dirs": [str(folder)]}
    programs = os.environ.get("TRT_MATRIX_NEWER_DOCKER", "")
    if not programs and int(str(engine.facts["ServerVersion"]).partition(".")[0]) < 25:
        problem = (
            "Docker 25 or later is needed: name its programs' folder as TRT_MATRIX_NEWER_DOCKER"
        )
        pytest.skip(problem)
    one = SecondEngine(programs, settings)
    one.start()
    yield one
    one.close()


@pytest.fixture
def there(
    second: SecondEngine | PodmanEngine,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scripted]:
    monkeypatch.setattr("trt_matrix.environments.host.PODMAN_CDI_FOLDERS", (str(folder),))
    devices = [f"- {{name: '{name}', containerEdits: {{{edits}}}}}" for name, edits in MADE.items()]
    text = "\n".join(['cdiVersion: "0.5.0"', "kind: nvidia.com/gpu", "devices:", *devices, ""])
    (folder / "nvidia.yaml").write_text(text)
    engine = Engine(second.address)
    one = Scripted(engine, rootfs.python_image(engine.client), tmp_path)
    yield one
    assert one.left() == []
    engine.close()


SEEN = "import os; print(os.environ.get('MADE'), os.path.exists('/dev/nvidia0'))"


def test_the_engine_gives_the_gpu_that_its_specification_names(there: Scripted) -> None:
    host = facts_of(
        there.engine.facts, [], Driver(version="580.1", gpus=(CARD,)), frozenset(), local=True
    )
    assert not host.nvidia_runtime
    assert host.cdi == Cdi(frozenset(MADE))
    assert obstacles(ImageFacts(reference="x"), host, "gpu:0") is None
    ending = there(SEEN, device=given("gpu:0", host))
    assert (ending.exit_code, ending.error) == (0, None), there.said()
    assert there.said() == "by-uuid True\n"
    assert f"--device=nvidia.com/gpu={CARD.uuid}" in ending.command  # this goes into the record

    second = replace(CARD, index=1, uuid="GPU-another")
    both = replace(host, gpus=(CARD, second))
    there(SEEN, device=given("gpu:1", both))
    assert there.said() == "by-number False\n"


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("nvidia.com/gpu=9", "no CDI specification of this engine gives nvidia.com/gpu=9: write"),
        ("nvidia.com/gpu=gone", "stale: it names /dev/nvidia-gone, which is not there"),
        ("nvidia.com/gpu=updated", "stale: it names /no/libcuda.so.1, which is not there"),
    ],
)
def test_a_specification_that_is_stale_or_lacks_the_gpu(
    there: Scripted, device: str, words: str
) -> None:
    ending = there(SEEN, device=device)
    assert ending.exit_code is None
    assert words in (ending.error or "")


def test_what_was_asked_before_there_was_cdi_is_refused_with_it_too(there: Scripted) -> None:
    ending = there(SEEN, device=CARD.uuid)
    if there.engine.is_podman:  # which would have started it without
        assert (ending.exit_code, there.said()) == (0, "by-uuid True\n")
    else:
        assert "no NVIDIA runtime" in (ending.error or "")


def test_a_specification_that_is_missing(there: Scripted, folder: Path) -> None:
    (folder / "nvidia.yaml").unlink()
    driver = Driver(version="580.1", gpus=(CARD,))
    host = facts_of(there.engine.facts, [], driver, frozenset(), local=True)
    found = obstacles(ImageFacts(reference="x"), host, "gpu:0")
    assert found is not None
    assert "this engine has CDI, but no specification of NVIDIA's GPUs" in found[1]
    ending = there(SEEN, device=given("gpu:0", host))
    assert "no CDI specification of this engine gives" in (ending.error or "")


def test_a_pack_is_given_gpus_the_same_way(
    there: Scripted, second: SecondEngine | PodmanEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "podman" if there.engine.is_podman else "docker"
    if shutil.which(program) is None:
        pytest.skip(f"the {program} command is not installed")
    monkeypatch.setattr(pack_docker, "program", lambda: program)
    monkeypatch.setenv("CONTAINER_HOST" if program == "podman" else "DOCKER_HOST", second.address)
    told = pack_docker.info()
    assert pack_docker.is_podman(told) == (program == "podman")
    assert not pack_docker.is_rootless(told)
    chosen = pack_docker.gpu_options(f"device={CARD.uuid}", told)
    command = [program, "run", "--rm", "--network=none", *chosen]
    command += ["--ulimit=nofile=1024", "--ulimit=nproc=1024"]
    command += ["--entrypoint=python3", there.image, "-c", SEEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "by-uuid True\n"), done.stderr
