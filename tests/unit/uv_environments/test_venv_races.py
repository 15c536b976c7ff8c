"""Environments that are made twice at once, or whose making is killed."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uv

from tests.unit.tiny_wheels import ROOT, Make, folders, run_job
from trt_matrix.environments.venv import STAMP, VenvEnvironment

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


def waiting(stone: VenvEnvironment, caplog: pytest.LogCaptureFixture) -> threading.Thread:
    """Prepares it in a thread, which has said that it waits."""
    thread = threading.Thread(target=stone.prepare, kwargs={"offline": False})
    thread.start()
    while "waiting for another run" not in caplog.text:
        assert thread.is_alive()
        time.sleep(0.01)
    return thread


def test_waiting_tells_so(
    environment: Make, tmp_path: Path, slow_uv: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with prepare_elsewhere(tmp_path, uv_binary=slow_uv) as other:
        wait_for(tmp_path / "installing")
        stone = environment("pebble==1.0")
        thread = waiting(stone, caplog)
        (tmp_path / "go").touch()
        thread.join()
        assert other.stdout
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
    thread = waiting(stone, caplog)
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
        assert other.stderr
        assert b"KeyboardInterrupt" in other.stderr.read()
    stone = environment("pebble==1.0")
    stone.prepare(offline=False)
    assert run_job(stone, job)["version"] == "1.0"
