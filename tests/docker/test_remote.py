"""A second engine, reached over real ssh on loopback, that is told of none of our folders."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.docker import rootfs
from tests.docker.second_engine import SecondEngine
from tests.docker.ssh import Sshd
from trt_matrix.containers.job import protocol
from trt_matrix.core.cells import Status
from trt_matrix.environments.base import JobRun
from trt_matrix.environments.docker import hosts, remote_files
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.environment import DockerEnvironment
from trt_matrix.errors import EnvironmentUnavailableError


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    one = Sshd(tmp_path_factory.mktemp("ssh"))
    yield one
    one.close()


@pytest.fixture
def address(second: SecondEngine, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    yield sshd.address(Path(second.address.removeprefix("unix://")))
    hosts.close_all()


@pytest.fixture
def environment(address: str, second: SecondEngine, tmp_path: Path) -> DockerEnvironment:
    engine = Engine(second.address)
    image = rootfs.python_image(engine.client)
    engine.close()
    return DockerEnvironment(
        name="there", engine="onnxruntime", image=image, cache=tmp_path / "cache", address=address
    )


def asked(folder: Path) -> tuple[Path, Path]:
    """Returns a request with one large input, which the job answers with a failure, and a place."""
    request, result = folder / "request", folder / "result"
    request.mkdir(parents=True)
    result.mkdir()
    array = np.zeros((4, 1 << 18), np.float32)
    name = f"{'ab' * 32}.npy"
    np.save(request / name, array)
    value = {"schema_version": 1, "engine": "onnxruntime", "engine_options": {}, "input": "x",
             "heads": [], "evaluation": name, "calibration": None, "passes": [], "timing": None}  # fmt: skip
    protocol.write_json(str(request / protocol.REQUEST), value)
    return request, result


def test_a_job_runs_there_and_its_results_come_back(
    environment: DockerEnvironment, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment.obstacle("cpu") is None
    identity = environment.prepare(offline=False)
    assert identity.facts["engine"]
    assert address not in json.dumps(identity.facts)
    sent: list[int] = []
    send = remote_files.send_inputs
    monkeypatch.setattr(remote_files, "send_inputs", lambda *given: sent.append(send(*given)))
    for number in (1, 2):
        request, result = asked(tmp_path / str(number))
        ending = environment.run(
            JobRun(request=request, result=result, log=tmp_path / "log", deadline_s=60, run_id="r")
        )
        assert (ending.exit_code, ending.error) == (0, None), (tmp_path / "log").read_text()
        answer = json.loads((result / protocol.RESULT).read_text())
        assert "onnxruntime" in answer["error"]["message"]  # it is not in this image
        assert json.loads((result / protocol.PROBE).read_text())["packages"]["numpy"]
        assert (result / protocol.RESULT).stat().st_uid == os.getuid()
    assert sent[0] > 4 << 20, "the inputs went there"
    assert sent[1] == 0, "and only once"
    client = hosts.remote_engine(address).client
    assert client.containers.list(all=True) == []
    assert [volume.name for volume in client.volumes.list()] == [remote_files.VOLUME]


def test_links_and_pipes_do_not_come_back(
    environment: DockerEnvironment, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program" / "job"
    program.mkdir(parents=True)
    (program / "__init__.py").touch()
    (program / "__main__.py").write_text(
        "import os\n"
        "os.symlink('/etc/passwd', '/results/link')\n"
        "os.mkfifo('/results/pipe')\n"
        "os.makedirs('/results/passes/a')\n"
        "open('/results/passes/a/x', 'w').write('1')\n"
    )
    monkeypatch.setattr("trt_matrix.environments.machine.PROGRAM", program)
    environment.prepare(offline=False)
    request, result = asked(tmp_path / "one")
    ending = environment.run(
        JobRun(request=request, result=result, log=tmp_path / "log", deadline_s=60)
    )
    assert ending.exit_code == 0, (tmp_path / "log").read_text()
    found = sorted(str(path.relative_to(result)) for path in result.rglob("*"))
    assert found == ["passes", "passes/a", "passes/a/x"]


def test_a_host_that_does_not_let_us_in(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    docker_environment = DockerEnvironment(
        name="x", engine="onnxruntime", image="i", cache=Path("/none"),
        address=f"ssh://nobody-of-this-name@127.0.0.1:{sshd.port}",
    )  # fmt: skip
    found = docker_environment.obstacle("cpu")
    assert found
    assert found[0] is Status.UNAVAILABLE
    assert found[1].startswith("nobody-of-this-name@127.0.0.1: Permission denied (publickey")
    with pytest.raises(EnvironmentUnavailableError, match="^x: "):
        docker_environment.prepare(offline=False)


def test_a_host_without_an_engine(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    docker_environment = DockerEnvironment(
        name="x", engine="onnxruntime", image="i", cache=Path("/none"),
        address=sshd.address(Path("/nowhere.sock")),
    )  # fmt: skip
    found = docker_environment.obstacle("cpu")
    assert found
    assert "Docker" in found[1]
    hosts.close_all()
