"""A second Docker engine on this machine, which tests may stop, kill and restart.

Like an installed one it has a containerd of its own, which outlives it.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from runner.environments.docker.engine import Engine


class SecondEngine:
    def __init__(self) -> None:
        programs = [shutil.which(name, path=f"{os.defpath}:/usr/sbin") for name in NEEDED]
        if None in programs or os.getuid() != 0:
            pytest.skip(f"a second Docker engine needs root and {', '.join(NEEDED)}")
        dockerd, containerd = map(str, programs)
        # Not pytest's folder: that is kept for a while, and this holds images and mounts.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="trt-matrix-engine-"))
        self.address = f"unix://{folder / 'docker.sock'}"
        self.log = (folder / "log").open("ab")
        below = folder / "containerd.sock"
        (folder / "containerd.toml").write_text(
            f"version = 2\nroot = '{folder / 'root'}'\nstate = '{folder / 'state'}'\n"
            f"disabled_plugins = ['io.containerd.grpc.v1.cri']\n[grpc]\naddress = '{below}'\n"
        )
        self.command = [
            dockerd, "--host", self.address, "--containerd", str(below),
            "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "pid"), "--bridge=none", "--iptables=false",
            "--ip-forward=false", "--shutdown-timeout=3",
        ]  # fmt: skip
        self.containerd = self._run([containerd, "--config", str(folder / "containerd.toml")])
        self._wait(below.exists, self.containerd)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self._run(self.command)
        self._wait(self.answers, self.process)

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def _wait(self, ready: object, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 60
        while not ready():  # type: ignore[operator]
            assert process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < end, "the second engine does not start"
            time.sleep(0.1)

    def answers(self) -> bool:
        engine = Engine(self.address)
        try:
            return engine.obstacle() is None
        finally:
            engine.close()

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
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (where := line.split()[1]).startswith(str(self.folder)):
                subprocess.run(["umount", "--lazy", where], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


NEEDED = ("dockerd", "containerd")
