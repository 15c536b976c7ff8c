"""A ticket's reproduce.sh where there is Docker and no Python."""

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from tests.unit import tickets
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.ticket.making import TicketWish, make

IMAGE = "trt-matrix-test/engine:ticket"
PACKAGES = ("numpy", "numpy.libs", "onnxruntime")
FOLDERS = "import site; print(site.getsitepackages()[-1])"
PROGRAMS = ("sh", "docker", "id", "dirname", "mkdir", "rm", "cat")
"""All that is on PATH."""


@pytest.fixture
def engine_image(engine: Engine, python_image: str) -> Iterator[str]:
    """An image whose python3 has numpy and onnxruntime, as a user's own would."""
    client = engine.client
    container = client.containers.create(python_image, entrypoint=["python3"])
    try:
        # Where the copied interpreter looks: Debian's own calls it dist-packages.
        said = subprocess.check_output([sys._base_executable, "-c", FOLDERS], text=True)  # type: ignore[attr-defined]
        target = Path(said.strip())
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name in PACKAGES:
                tar.add(Path(sysconfig.get_path("purelib")) / name, target.relative_to("/") / name)
        container.put_archive("/", stream.getvalue())
        container.commit(*IMAGE.split(":"))
    finally:
        container.remove()
    yield IMAGE
    try:
        client.images.remove(IMAGE, force=True)
    except ImageNotFound:
        pytest.fail(f"{IMAGE} is gone: another test removed it")


def test_with_nothing_but_docker(engine_image: str, tmp_path: Path) -> None:
    ticket = make("latest", tickets.run(tmp_path), tmp_path / "t.zip", TicketWish(images=2))
    with zipfile.ZipFile(ticket.path) as archive:
        archive.extractall(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).symlink_to(shutil.which(name) or f"/no/{name}")
    script = tmp_path / "ticket" / "cells" / "here@cpu@int8-shared-entropy" / "reproduce.sh"
    done = subprocess.run(
        ["sh", str(script), "--docker", engine_image],
        env={"PATH": str(programs), **{k: v for k, v in os.environ.items() if "DOCKER" in k}},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same: every head's error is that of the ticket" in done.stdout
    assert "2 of 2 answered" in done.stdout
