"""A second Docker engine on this machine, which tests may stop, kill and restart.

Like an installed one it has a containerd of its own, which outlives it.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from trt_matrix.environments.docker.engine import Engine


class SecondEngine:
    def __init__(
        self,
        programs: str = "",
        settings: Mapping[str, Any] | None = None,
        below: Sequence[str] = (),
    ) -> None:
        """Starts its containerd.

        Args:
            programs: Folder of an engine's programs that comes before the installed ones.
            settings: As in daemon.json.
            below: Command that starts its programs: with fewer rights, say.
        """
        self.below = tuple(below)
        self.path = os.pathsep.join(filter(None, [programs, os.defpath, "/usr/sbin"]))
        found = [shutil.which(name, path=self.path) for name in NEEDED]
        if None in found or os.getuid() != 0:
            pytest.skip(f"a second Docker engine needs root and {', '.join(NEEDED)}")
        dockerd, containerd = map(str, found)
        # Not pytest's folder: that is kept for a while, and this holds images and mounts.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="trt-matrix-engine-"))
        self.address = f"unix://{folder / 'docker.sock'}"
        self.log = (folder / "log").open("ab")
        socket = folder / "containerd.sock"
        (folder / "containerd.toml").write_text(
            f"version = 2\nroot = '{folder / 'root'}'\nstate = '{folder / 'state'}'\n"
            f"disabled_plugins = ['io.containerd.grpc.v1.cri']\n[grpc]\naddress = '{socket}'\n"
        )
        (folder / "daemon.json").write_text(json.dumps(settings or {}))
        self.command = [
            dockerd, "--config-file", str(folder / "daemon.json"), "--host", self.address, "--containerd", str(socket),
            "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "pid"), "--bridge=none", "--iptables=false",
            "--userland-proxy=false", "--ip-forward=false", "--shutdown-timeout=3",
        ]  # fmt: skip
        self.containerd = self._run([containerd, "--config", str(folder / "containerd.toml")])
        self._wait(socket.exists, self.containerd)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self._run(self.command)
        self._wait(self.answers, self.process)

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        variables = {**os.environ, "PATH": self.path}
        return subprocess.Popen(
            [*self.below, *command], stdout=self.log, stderr=self.log, env=variables
        )

    def _wait(self, ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        wait_until(ready, process, self.folder / "log")

    def answers(self) -> bool:
        return answers(self.address)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop()
        self.containerd.terminate()
        self.containerd.wait(30)
        self.log.close()
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


NEEDED = ("dockerd", "containerd")


def answers(address: str) -> bool:
    engine = Engine(address)
    try:
        return engine.obstacle() is None
    finally:
        engine.close()


def wait_for_engine(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    wait_until(lambda: answers(address), process, log)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, "the engine does not start"
        time.sleep(0.1)


def unmount_below(folder: Path) -> None:
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if (where := line.split()[1]).startswith(str(folder)):
            subprocess.run(["umount", "--lazy", where], check=False)
