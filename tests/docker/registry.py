"""A real registry (Debian's docker-registry) on loopback, with a password; it can be killed and restarted."""

import base64
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

USER, PASSWORD = "user", "correct-horse"
HASH = "$2b$05$SqTLZZ7jH4tit9tMunX6Z.JMKURQy7fXaw3MFVvAxiS/HjVyVKBjW"


class Registry:
    def __init__(self, folder: Path) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            pytest.skip("docker-registry is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        (folder / "htpasswd").write_text(f"{USER}:{HASH}\n")
        (folder / "config.yml").write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
            f"http: {{addr: '{self.address}'}}\n"
            f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}\n"
        )
        self.command = [program, "serve", str(folder / "config.yml")]
        self.log = (folder / "log").open("wb")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < end, "the registry does not start"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.kill()
        self.log.close()


def login(folder: Path, address: str, password: str) -> Path:
    """Writes what `docker login` would; returns the folder for DOCKER_CONFIG."""
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))
    return folder
