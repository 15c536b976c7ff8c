"""A job's files on an engine that does not see ours: inputs go once by content, results come back.

volume `trt-matrix-inputs`, kept: /inputs/objects/SHA256.SUFFIX, /inputs/programs/SHA256/job,
    and /inputs/known/NAME for each of these that is whole
volumes without a name, removed with the container: /request (its files link to /inputs), /results
"""

import io
import shutil
import tarfile
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from docker.errors import NotFound
from docker.models.containers import Container

from trt_matrix.environments import machine
from trt_matrix.environments.docker import options, owner
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.store.unpacking import is_plain, take_out
from trt_matrix.store.untrusted import MOST_FILES

RESERVE_BYTES = 512 << 20
"""Of this machine's disk, which stay free."""

VOLUME = "trt-matrix-inputs"
INPUTS = "/inputs"
LABEL = "trt-matrix.inputs"

BINDS = (
    options.Bind(VOLUME, INPUTS, volume=True),
    options.Bind("", options.REQUEST, read_only=False, volume=True),
    options.Bind("", options.RESULTS, read_only=False, volume=True),
)


def send_inputs(engine: Engine, image: str, request: Path) -> int:
    """Copies what the engine does not have yet; returns the bytes of it.

    A container of `image`, never started, carries the files: the package `job`, and the inputs in `request`, which
    are named by their content.
    """
    wanted: dict[str, tuple[Path, str]] = {machine.program(): (machine.PROGRAM, "programs")}
    wanted |= {path.name: (path, "objects") for path in _objects(request)}
    with engine.explained(what=VOLUME):
        engine.client.volumes.create(VOLUME, labels={LABEL: "1"})
        courier = engine.client.containers.create(
            image,
            entrypoint=["/none"],
            command=[],
            name=options.container_name("", "courier", uuid.uuid4().hex[:8]),
            labels=dict(owner.labels("", "courier")),
            network_mode="none",
            mounts=[options.mount(options.Bind(VOLUME, INPUTS, read_only=False, volume=True))],
        )
        try:
            known = _known(courier)
            missing = {name: wanted[name] for name in wanted if name not in known}
            return _send(courier, missing) if missing else 0
        finally:
            courier.remove(force=True)


def send_request(container: Container, request: Path) -> None:
    """Puts request.json, and links to the inputs beside it, into a created container."""
    inputs = {path.name for path in _objects(request)}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(request.iterdir()):
            if path.name in inputs:
                link = tarfile.TarInfo(path.name)
                link.type, link.linkname = tarfile.SYMTYPE, f"{INPUTS}/objects/{path.name}"
                tar.addfile(link)
            else:
                tar.add(path, path.name, filter=_roots)
    container.put_archive(options.REQUEST, stream.getvalue())


def fetch_results(container: Container, results: Path) -> None:
    """Takes everything out of /results, files and folders only, nothing outside `results`.

    Raises:
        EnvironmentUnavailableError: the job left something that is neither.
    """
    chunks, _ = container.get_archive(options.RESULTS, chunk_size=1 << 20)
    left = shutil.disk_usage(results).free - RESERVE_BYTES
    with tarfile.open(fileobj=_Chunks(chunks), mode="r|") as tar:
        for number, entry in enumerate(tar):
            left -= entry.size
            if left < 0 or number > MOST_FILES:
                raise EnvironmentUnavailableError(
                    "the job left more than fits here, or files without end: nothing is fetched"
                )
            _, _, name = entry.name.partition("/")
            if not name:
                continue
            if not (entry.isfile() or entry.isdir()):
                continue  # a link or a pipe is no answer
            if not is_plain(name):
                message = f"the job left {name!a:.200}, which is no name that is copied back"
                raise EnvironmentUnavailableError(message)
            if entry.isdir():
                (results / name).mkdir(parents=True, exist_ok=True)
            else:
                take_out(tar, entry, results / name)


def _objects(request: Path) -> Iterable[Path]:
    """Returns the inputs that are named by their content: a SHA-256 and a suffix."""
    return [
        path
        for path in sorted(request.iterdir())
        if len(path.stem) == 64 and set(path.stem) <= set("0123456789abcdef")
    ]


def _known(courier: Container) -> frozenset[str]:
    try:
        chunks, _ = courier.get_archive(f"{INPUTS}/known")
    except NotFound:
        return frozenset()
    with tarfile.open(fileobj=_Chunks(chunks), mode="r|") as tar:
        return frozenset(Path(entry.name).name for entry in tar if entry.isfile())


def _send(courier: Container, missing: Mapping[str, tuple[Path, str]]) -> int:
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, (path, kind) in missing.items():
                inside = f"{kind}/{name}/job" if path.is_dir() else f"{kind}/{name}"
                tar.add(path, inside, filter=_roots)
            for name in missing:  # last: what was cut off on its way is sent again
                tar.addfile(tarfile.TarInfo(f"known/{name}"), io.BytesIO())
        size = stream.tell()
        stream.seek(0)
        courier.put_archive(INPUTS, stream)
        return size


def _roots(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
    return entry


class _Chunks(io.RawIOBase):
    """A stream of what an iterator yields."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
