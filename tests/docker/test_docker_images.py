"""Pulling through a real registry with a password, and images that lack what the job needs."""

import io
import json
import logging
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.docker.registry import PASSWORD, USER, Registry, login
from trt_matrix.environments.base import JobRun
from trt_matrix.environments.docker import image as images
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.environment import DockerEnvironment
from trt_matrix.errors import EnvironmentUnavailableError

Login = Callable[[str], Engine]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    one = Registry(tmp_path_factory.mktemp("registry"))
    one.start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def pushed(engine: Engine, registry: Registry) -> Iterator[str]:
    """An image of several layers, pushed and then removed from the engine; its name."""
    name = f"{registry.address}/team/big:1"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        layers = {f"layer{number}": os.urandom(20 << 20) for number in range(3)}
        text = "FROM scratch\n" + "".join(f"COPY {layer} /\n" for layer in layers)
        for path, content in {"Dockerfile": text.encode(), **layers}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    client = engine.client
    client.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    said = client.api.push(name, auth_config={"username": USER, "password": PASSWORD})
    assert "error" not in said, said
    remove(engine, name)
    yield name
    remove(engine, name)


@pytest.fixture
def logged_in(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Login]:
    engines = []

    def make(password: str) -> Engine:
        monkeypatch.setenv(
            "DOCKER_CONFIG", str(login(tmp_path / "config", registry.address, password))
        )
        engines.append(Engine())
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def remove(engine: Engine, name: str) -> None:
    if images.find(engine, name):
        engine.client.images.remove(name, force=True)


def untold(what: str, done: int, total: int) -> None:
    pass


# Pulls


def test_a_pull_tells_its_layers_and_pins_the_content(logged_in: Login, pushed: str) -> None:
    engine = logged_in(PASSWORD)
    remove(engine, pushed)
    told: dict[str, list[tuple[int, int]]] = {}
    image = images.obtain(
        engine,
        pushed,
        offline=False,
        transfer=lambda what, done, total: told.setdefault(what, []).append((done, total)),
    )
    assert len(told) == 3
    assert all(steps[-1] == (1, 1) for steps in told.values())
    assert any(
        total == 20 << 20 or total > 20 << 20 for steps in told.values() for _, total in steps
    )
    assert image.id.startswith("sha256:")
    [digest] = image.digests
    assert digest.startswith(pushed.rpartition(":")[0] + "@sha256:")
    assert PASSWORD not in json.dumps(image.facts)
    # By its digest it is the same.
    assert images.obtain(engine, digest, offline=True, transfer=untold).id == image.id


def test_a_wrong_password(logged_in: Login, pushed: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    engine = logged_in("wrong-horse")
    remove(engine, pushed)
    with pytest.raises(
        EnvironmentUnavailableError, match="wants a login that it accepts"
    ) as caught:
        images.pull(engine, pushed, untold, sleep=lambda _: pytest.fail("no use in trying again"))
    assert "wrong-horse" not in str(caught.value) + caplog.text


def test_no_login_at_all(
    engine: Engine, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    refusal = pytest.raises(EnvironmentUnavailableError, match="docker login")
    with closing(Engine()) as one, refusal:
        images.pull(one, pushed, untold, sleep=lambda _: pytest.fail("no use"))


def test_a_missing_tag(logged_in: Login, pushed: str) -> None:
    with pytest.raises(EnvironmentUnavailableError, match="the registry has no such tag"):
        images.pull(
            logged_in(PASSWORD), f"{pushed}9", untold, sleep=lambda _: pytest.fail("no use")
        )


def test_a_registry_that_dies_half_way_and_comes_back(
    logged_in: Login, pushed: str, registry: Registry
) -> None:
    engine = logged_in(PASSWORD)
    remove(engine, pushed)
    pauses: list[float] = []

    def kill(what: str, done: int, total: int) -> None:
        if registry.process and not pauses:
            registry.kill()

    def restart(pause: float) -> None:
        pauses.append(pause)
        if registry.process is None:
            registry.start()

    images.pull(engine, pushed, kill, retry_after_s=(1.0, 2.0, 3.0), sleep=restart)
    assert pauses[0] == 1.0
    assert images.find(engine, pushed)


def test_a_registry_that_stays_away(engine: Engine, pushed: str) -> None:
    pauses: list[float] = []
    name = "127.0.0.1:1/x:1"
    with pytest.raises(EnvironmentUnavailableError, match="the registry does not answer"):
        images.pull(engine, name, untold, retry_after_s=(1, 4), sleep=pauses.append)
    assert pauses == [1, 4]


def test_offline_uses_what_is_local(engine: Engine, python_image: str) -> None:
    assert images.obtain(engine, python_image, offline=True, transfer=untold)
    with pytest.raises(EnvironmentUnavailableError, match="--offline"):
        images.obtain(engine, "trt-matrix-test/none:1", offline=True, transfer=untold)


def test_what_is_no_name(engine: Engine) -> None:
    with pytest.raises(EnvironmentUnavailableError, match="no name of an image"):
        images.obtain(engine, "UPPER case::", offline=False, transfer=untold)


# What an image lacks


def environment(image: str, cache: Path, **changes: object) -> DockerEnvironment:
    named = {"name": "x", "engine": "onnxruntime", "image": image, "cache": cache, **changes}
    return DockerEnvironment(**named)  # type: ignore[arg-type]


def test_an_image_without_a_python(empty_image: str, tmp_path: Path) -> None:
    docker_environment = environment(empty_image, tmp_path)
    assert docker_environment.identity() is None
    with pytest.raises(EnvironmentUnavailableError, match="^x: .*the image has no "):
        docker_environment.prepare(offline=True)


def test_an_image_whose_python_is_something_else(python_image: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnavailableError, match="has no (/usr/bin/python2|such Python)"):
        environment(python_image, tmp_path, python="/usr/bin/python2").prepare(offline=True)


def test_an_image_without_numpy_gets_it(engine: Engine, python_image: str, tmp_path: Path) -> None:
    docker_environment = environment(python_image, tmp_path)
    assert docker_environment.identity() is None
    identity = docker_environment.prepare(offline=False)
    assert identity.facts["derived"]["added"] == ["numpy"]
    assert "has no numpy" in identity.facts["derived"]["because"]
    assert environment(python_image, tmp_path).identity() == identity
    # Known now: no network is needed, and nothing is built.
    assert environment(python_image, tmp_path).prepare(offline=True) == identity
    request, result = tmp_path / "request", tmp_path / "result"
    request.mkdir()
    result.mkdir()
    ending = docker_environment.run(
        JobRun(request=request, result=result, log=tmp_path / "log", deadline_s=60)
    )
    assert ending.exit_code == 0
    assert json.loads((result / "probe.json").read_text())["packages"]["numpy"]
    assert list(result.iterdir())
    assert {path.stat().st_uid for path in result.iterdir()} == {os.getuid()}


def test_packages_that_do_not_exist(python_image: str, tmp_path: Path) -> None:
    docker_environment = environment(python_image, tmp_path, requirements=["onnxruntime==0.0.1"])
    with pytest.raises(EnvironmentUnavailableError, match="^x: .*0.0.1"):
        docker_environment.prepare(offline=False)
