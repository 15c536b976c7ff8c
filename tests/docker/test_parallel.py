"""Two engines at work at once, the second one through a Docker context; ctrl-C stops both."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.docker import rootfs
from tests.docker.second_engine import SecondEngine
from tests.docker.test_container import wait_for
from tests.docker.test_docker_matrix import MATRIX, ROOT, VERSION, records, start
from trt_matrix.core.cells import Status
from trt_matrix.environments.docker import hosts, owner
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.environment import DockerEnvironment
from trt_matrix.errors import EnvironmentUnavailableError


@pytest.fixture
def context(second: SecondEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text("{}")  # or the SDK would take the user's own folder
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    docker.ContextAPI.create_context("elsewhere", host=second.address)
    yield "context:elsewhere"
    hosts.close_all()


def test_a_context_leads_to_its_engine(
    context: str, second: SecondEngine, engine: Engine, tmp_path: Path
) -> None:
    # Not its ID: engines on one machine may share that.
    data = hosts.remote_engine(context).facts["DockerRootDir"]
    assert data == str(second.folder / "data")
    assert data != engine.facts["DockerRootDir"]
    environment = DockerEnvironment(
        name="x", engine="onnxruntime", image="i:1", cache=tmp_path, address=context
    )
    assert environment.obstacle("cpu") is None
    found = environment.obstacle("gpu:0")
    assert found
    assert found[0] is Status.UNAVAILABLE
    assert "name it as ssh://user@host" in found[1]
    with pytest.raises(EnvironmentUnavailableError, match="no Docker context 'nowhere'"):
        hosts.remote_engine("context:nowhere")


LONG = "timing: {min_samples: 1000000, max_samples: 1000000, max_s: 600}\n"


def test_ctrl_c_stops_the_containers_of_both_and_keeps_what_ended(
    context: str, second: SecondEngine, engine: Engine, python_image: str, tmp_path: Path
) -> None:
    """Both containers are there at the same time: machines are measured side by side."""
    short = MATRIX.format(demo=ROOT / "demo", image=python_image, version=VERSION)
    head, _, _ = short.partition("environments:\n")
    timing = next(line for line in head.splitlines(keepends=True) if line.startswith("timing:"))
    entries = "".join(
        f"  - {{image: {python_image}, name: {name}, versions: ['{VERSION}']{host}}}\n"
        for name, host in (("near", ""), ("far", ", host: box"))
    )
    text = head.replace(f"ort-{VERSION}", f"near-{VERSION}")
    text += f"hosts: {{box: '{context}'}}\nenvironments:\n{entries}"
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(text.replace(timing, LONG))
    with closing(Engine(second.address)) as far:
        rootfs.python_image(far.client)
        running = start(matrix, tmp_path / "results", "*/fp32")
        names = {engine: f"near-{VERSION}", far: f"far-{VERSION}"}

        def theirs(one: Engine) -> list[str]:
            label = f"{owner.ENVIRONMENT_LABEL}={names[one]}"
            containers = one.client.containers.list(filters={"label": label}, ignore_removed=True)
            return [str(container.name) for container in containers]

        def both() -> bool:
            assert running.poll() is None, running.communicate()
            return all(map(theirs, names))

        wait_for(both, timeout_s=180)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate()
        assert running.returncode == 130, said
        assert "run again to go on" in said
        assert not any(map(theirs, names))
        found = records(tmp_path / "results")
        assert {one["status"] for one in found.values()} == {"not_run"}
        assert all("interrupted" in one["reason"] for one in found.values())
        # And the next run goes on.
        matrix.write_text(text)
        again = start(matrix, tmp_path / "results", "*/fp32")
        said, _ = again.communicate()
        assert again.returncode == 0, said
        assert not any(map(theirs, names))
    near, far_one = (
        records(tmp_path / "results")[f"{name}-{VERSION}/cpu/fp32"]["measurements"][0]
        for name in ("near", "far")
    )
    assert near["outputs"] == far_one["outputs"]
    assert near["fingerprint"] != far_one["fingerprint"], json.dumps(near["start"])[:300]
