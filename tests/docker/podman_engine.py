"""Podman behind its socket for Docker's programs, with a storage of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.docker.second_engine import unmount_below, wait_for_engine

NEEDED = ("podman", "unshare")
INIT = "/usr/libexec/podman/catatonit"


class PodmanEngine:
    def __init__(self, cdi: Path | None = None, below: Sequence[str] = ()) -> None:
        """Starts it.

        Args:
            cdi: Folder that is /etc/cdi to it.
            below: Command that starts it: with fewer rights, say.
        """
        if os.getuid() != 0 or any(shutil.which(name) is None for name in NEEDED):
            pytest.skip(f"Podman's tests need root and {', '.join(NEEDED)}")
        if not Path(INIT).exists():
            pytest.skip(f"Podman's tests need its init, {INIT}: apt-get install catatonit")
        # Not pytest's folder: that is kept for a while, and this holds images and mounts.
        self.folder = Path(tempfile.mkdtemp(prefix="trt-matrix-podman-"))
        self.address = f"unix://{self.folder / 'podman.sock'}"
        # Where CDI's folder is another one, so is it to nobody else.
        seen = f"mkdir -p /etc/cdi && mount --bind '{cdi}' /etc/cdi &&" if cdi else ""
        storage = f"--root={self.folder / 'root'} --runroot={self.folder / 'run'}"
        command = f"{seen} exec podman {storage} system service --time=0 {self.address}"
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*below, "unshare", "--mount", "sh", "-c", command],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        wait_for_engine(self.address, self.process, self.folder / "log")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
