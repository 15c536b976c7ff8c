"""Docker engines on other machines, reached as their user reaches them: by ssh.

The tunnel is OpenSSH's own (`ssh -L` to the engine's socket), so the user's keys, agent, jump hosts
and ~/.ssh/config hold, nothing is installed there, and no second implementation of ssh is needed
here. It lives as long as this process: the other side waits for the end of its standard input.
"""

import atexit
import csv
import functools
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import docker

from trt_matrix.core.hosts.compatibility import HostFacts
from trt_matrix.core.hosts.gpus import Gpu
from trt_matrix.environments.devices import Driver
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.host import host_of
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.store.untrusted import remove

SOCKET = "/var/run/docker.sock"
CONNECT_S = 30
CONSUMER = ("GeForce", "RTX", "TITAN", "Quadro")
"""Names of cards that are not for data centres; `RTX` also names workstation cards."""

QUESTION = "index,name,uuid,compute_cap,memory.total,driver_version"


class RemoteEngine(Engine):
    """An engine that does not see this machine's folders."""

    def __init__(self, address: str, target: Sequence[str] = ()) -> None:
        """Takes the address of its socket here, and the arguments with which ssh reaches it."""
        super().__init__(address)
        self._target = tuple(target)

    @property
    def has_remote_files(self) -> bool:
        return True

    @functools.cached_property
    def host(self) -> HostFacts:
        """What that machine offers; asked once."""
        return host_of(self, self._driver(), local=False)

    def _driver(self) -> Driver:
        if not self._target:
            return Driver(
                problem="nobody can say which GPUs that host has: a Docker context without ssh leads "
                "to its engine only; name it as ssh://user@host"
            )
        command = ["ssh", *_OPTIONS, *self._target, "nvidia-smi"]
        command += [f"--query-gpu={QUESTION}", "--format=csv,noheader,nounits"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return driver_of(done.stdout) if done.returncode == 0 else driver_of("")


def driver_of(table: str) -> Driver:
    """Returns the driver and GPUs that `nvidia-smi --query-gpu` told, as CSV by QUESTION; none where it told none."""
    gpus, version = [], None
    for row in csv.reader(table.splitlines(), skipinitialspace=True):
        if len(row) != 6 or not row[0].isdecimal():
            continue
        index, name, uuid, capability, memory, version = row
        major, _, minor = capability.partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            continue
        gpus.append(
            Gpu(
                index=int(index),
                name=name,
                uuid=uuid,
                capability=(int(major), int(minor)),
                data_centre=not any(brand in name for brand in CONSUMER),
                memory_bytes=int(memory) << 20 if memory.isdecimal() else None,
            )
        )
    if version is None:
        return Driver(problem="no NVIDIA driver")
    return Driver(version=version, gpus=tuple(gpus))


def remote_engine(address: str) -> RemoteEngine:
    """Returns the engine at `ssh://user@host[:port][/socket]`, `unix://…` or `context:NAME`.

    Raises:
        EnvironmentUnavailableError: it cannot be reached; says what ssh said.
    """
    engine = _reached(address)
    if isinstance(engine, str):
        raise EnvironmentUnavailableError(engine)
    return engine


@functools.cache
def _reached(address: str) -> RemoteEngine | str:
    """Returns the engine, or why it cannot be reached: asked once, since a dead host answers late."""
    try:
        if address.startswith("context:"):
            return _reached(_of_context(address.removeprefix("context:")))
        if not address.startswith("ssh://"):
            return RemoteEngine(address)
        target, socket = ssh_target(address)
        return RemoteEngine(f"unix://{_tunnel(target, socket)}", target)
    except EnvironmentUnavailableError as error:
        return str(error)


def ssh_target(address: str) -> tuple[tuple[str, ...], str]:
    """Returns ssh's arguments for a host, and the engine's socket there.

    Raises:
        EnvironmentUnavailableError: it is no such address.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        message = f"{address!r}: {error}; ssh://user@host is expected"
        raise EnvironmentUnavailableError(message) from error
    if not host or host.startswith("-") or parts.password:
        message = f"{address.partition('@')[2]!r}: ssh://user@host is expected, without a password"
        raise EnvironmentUnavailableError(message)
    user = f"{parts.username}@" if parts.username else ""
    port_of = ("-p", str(port)) if port else ()
    return (*port_of, "--", f"{user}{host}"), parts.path or SOCKET


_OPTIONS = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S // 2}",
            "-o", "ServerAliveInterval=15")  # fmt: skip


def _tunnel(target: Sequence[str], socket: str) -> Path:
    """Returns the path of a socket here that leads to `socket` there."""
    folder = Path(tempfile.mkdtemp(prefix="trt-matrix-"))
    here = folder / "docker.sock"
    command = ["ssh", "-T", *_OPTIONS, "-o", "ExitOnForwardFailure=yes", "-L", f"{here}:{socket}"]
    with (folder / "said").open("wb") as said:
        try:
            process = subprocess.Popen(
                [*command, *target, "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # ctrl-C is for the runner, which still has to clean up
            )
        except FileNotFoundError as error:
            remove(folder)
            message = "ssh is not installed here: apt-get install openssh-client"
            raise EnvironmentUnavailableError(message) from error
    _TUNNELS.append((process, folder))
    give_up = time.monotonic() + CONNECT_S
    while not here.exists():
        if process.poll() is not None or time.monotonic() > give_up:
            lines = (folder / "said").read_text(errors="replace").strip().splitlines()
            last = lines[-1].removeprefix(f"{target[-1]}: ") if lines else "ssh does not connect"
            message = f"{target[-1]}: {last}"
            _end(*_TUNNELS.pop())
            raise EnvironmentUnavailableError(message)
        time.sleep(0.05)
    return here


_TUNNELS: list[tuple["subprocess.Popen[bytes]", Path]] = []


@atexit.register
def close_all() -> None:
    """Ends all tunnels; engines asked for later get new ones."""
    _reached.cache_clear()
    while _TUNNELS:
        _end(*_TUNNELS.pop())


def _end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    if process.stdin:
        process.stdin.close()
    process.terminate()
    process.wait()
    remove(folder)


def _of_context(name: str) -> str:
    context = docker.ContextAPI.get_context(name)
    if context is None:
        message = f"there is no Docker context {name!r}; `docker context ls` lists them"
        raise EnvironmentUnavailableError(message)
    return str(context.Host)
