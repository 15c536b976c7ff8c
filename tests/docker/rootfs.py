"""Base images without a registry: this machine's own interpreter, packed and imported.

Files of the interpreter, its standard library and the shared libraries that it and common wheels
need; no shell, no pip, no packages.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path

import docker
from docker.errors import ImageNotFound

LEFT_OUT = {"site-packages", "dist-packages", "test", "idlelib", "tkinter", "ensurepip", "lib2to3",
            "__pycache__", "turtledemo", "pydoc_data"}  # fmt: skip
FOR_WHEELS = ("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libdl.so.2", "librt.so.1",
              "libpthread.so.0")  # fmt: skip


def python_image(client: docker.DockerClient) -> str:
    """Returns the name of an image with this interpreter as `python3`; made once for each content."""
    executable = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    stamp = f"2 {sys.version} {executable} {executable.stat().st_mtime_ns} {library}"
    name = f"trt-matrix-test/python:{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    return _imported(client, name, lambda tar: _add_python(tar, executable, library))


def empty_image(client: docker.DockerClient) -> str:
    """Returns the name of an image without any program."""
    return _imported(client, "trt-matrix-test/empty:1", lambda tar: _add_text(tar, "etc/motd", "x"))


def _imported(
    client: docker.DockerClient, name: str, add: Callable[[tarfile.TarFile], None]
) -> str:
    try:
        client.images.get(name)
    except ImageNotFound:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            add(tar)
        repository, _, tag = name.rpartition(":")
        said = client.api.import_image_from_data(stream.getvalue(), repository=repository, tag=tag)
        # Podman 4 ignores the tag.
        made = json.loads(said.splitlines()[-1])["status"]
        client.images.get(made).tag(repository, tag)
    return name


def _add_python(tar: tarfile.TarFile, executable: Path, library: Path) -> None:
    def chosen(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        name = Path(entry.name).name
        return None if name in LEFT_OUT or name.startswith("config-3") else entry

    tar.add(executable, str(executable))
    tar.add(library, str(library), filter=chosen)
    link = tarfile.TarInfo("usr/bin/python3")
    link.type, link.linkname = tarfile.SYMTYPE, str(executable)
    tar.addfile(link)
    programs = [executable, *library.rglob("lib-dynload/*.so")]
    for path in sorted(_libraries(programs) | _for_wheels()):
        tar.add(Path(path).resolve(), path)
    _add_text(tar, "etc/passwd", "root:x:0:0:root:/:/none\n")


def _libraries(programs: list[Path]) -> set[str]:
    said = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, check=False
    ).stdout
    return set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE))


def _for_wheels() -> set[str]:
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    found = dict(
        re.findall(r"^\s+(\S+) \(libc6,x86-64[^)]*\) => (\S+)", known.stdout, re.MULTILINE)
    )
    return {found[name] for name in FOR_WHEELS if name in found}


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))
