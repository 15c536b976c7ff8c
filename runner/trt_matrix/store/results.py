"""`results/`: one folder a run, and beside them what runs share.

    results/
      RUN/            manifest.json, SHA256SUMS, matrix.yaml, tables/, records/, logs/, judgement.json, report.html, …
      latest          → the newest run that ended
      .store/
        objects/      arrays, models and logs by content (objects.py): SHA-256 and suffix
        facts/KIND/   small JSON by fingerprint: measurements, calibrations, derived objects; each
                      with a checksum of its own

Every file is written whole or not at all, and nothing that is stored changes, so a killed run loses
only what was in work, and two runs at once cannot harm each other. What no run needs any more goes
by `trt-matrix gc` alone (commands/gc.py), which has the store to itself.
"""

import contextlib
import datetime
import errno
import fcntl
import functools
import json
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic

from trt_matrix.containers.job import protocol
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import Derived, Object, Record, Stored, digest
from trt_matrix.errors import StoreError
from trt_matrix.store.arrays import read_array
from trt_matrix.store.locks import held, taken
from trt_matrix.store.objects import Objects, explained, object_of, same_file_system_link, sha256_of
from trt_matrix.store.sealing import checksums, sealed, unsealed
from trt_matrix.store.untrusted import remove

T = TypeVar("T", bound=Stored)

__all__ = [
    "Run", "Store", "explained", "hashes", "json_text", "object_of", "same_file_system_link",
    "sha256_of", "utc_now", "write_text",
]  # fmt: skip
"""Those of `trt_matrix.store.objects` among them: whoever keeps files needs both."""

_HASH = re.compile(r"\b[0-9a-f]{64}\b")


class Store(Objects):
    """Raises StoreError where the folder cannot be used."""

    FOLDER = ".store"

    def __init__(self, results: Path) -> None:
        self.results = results
        self.root = results / self.FOLDER
        super().__init__(self.root / "objects")
        with explained(results):
            for folder in ("objects", "facts", "work"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.root, os.O_RDONLY)
            weakref.finalize(self, os.close, self._lock)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._sweep()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the whole store: nobody else has it open meanwhile, and who opens it waits.

        Raises:
            StoreError: somebody has it open.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            message = f"{self.results}: in use by another trt-matrix; try again when it has ended"
            raise StoreError(message) from error
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _sweep(self) -> None:
        """Removes what runs that were killed left in work: whatever nobody holds any more."""
        work = self.root / "work"
        with held(work):
            for folder in work.iterdir():
                try:
                    with held(folder, wait=False):
                        remove(folder)
                except (BlockingIOError, FileNotFoundError):
                    continue  # it is in use, or was just given up

    def release(self, outputs: Iterable[Object]) -> int:
        """Removes outputs that nobody needs any more; returns how many bytes that freed.

        Nobody else may have the store open: see `alone`.
        """
        freed = 0
        with explained(self.root):
            for one in outputs:
                with contextlib.suppress(FileNotFoundError):
                    self._file(one).unlink()
                    freed += one.size_bytes
        return freed

    def require(self, size_bytes: int) -> None:
        """Raises StoreError where the disk has less free: what failed there failed for that."""
        with explained(self.root):
            if shutil.disk_usage(self.root).free < size_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Facts, by fingerprint

    def _fact(self, kind: str, fingerprint: str) -> Path:
        return self.root / "facts" / kind / f"{fingerprint}.json"

    def get(self, kind: type[T], fingerprint: str) -> T | None:
        """Returns the stored fact; None where there is none, or only a damaged one (with a warning)."""
        path = self._fact(kind.__name__.lower(), fingerprint)
        return self._read(kind, path, "what it told is measured again")

    def keep(self, fact: Stored, fingerprint: str) -> None:
        self._seal(self._fact(type(fact).__name__.lower(), fingerprint), fact)

    def _seal(self, path: Path, fact: Stored) -> None:
        with explained(self.root):
            protocol.write_json(str(path), sealed(fact))

    def derive(self, key: Any, suffix: str, make: Callable[[Path], None]) -> Object:
        """Returns the object that `make` writes, made once for each `key`.

        Args:
            key: Any JSON value; every SHA-256 in it names something that the object is made of.
            suffix: Of the object's name.
            make: Writes it to the path that it is given.
        """
        if known := self.derived(key):
            return known
        with self.workspace() as folder:
            target = folder / f"derived{suffix}"
            with explained(target):
                make(target)
            made = self.adopt(target)
        fact = Derived(**made.model_dump(), sources=tuple(sorted(hashes(json.dumps(key)))))
        self._seal(self._derived(key), fact)
        return made

    def derived(self, key: Any) -> Object | None:
        """Returns what `derive` made earlier for `key`; makes nothing."""
        known = self._read(Derived, self._derived(key), "it is made again")
        return known.object if known and self.has(known) else None

    def _derived(self, key: Any) -> Path:
        return self._fact("object", digest(key))

    def sums(self, y: Object, r: Object, epsilon: float) -> Sums:
        """Returns the per-image sums of `y` against `r`, computed once for the two contents."""
        # Imported here: the sums of an unchanged experiment are read, never computed.
        from trt_matrix.containers.job.reductions import compare  # noqa: PLC0415

        def make(target: Path) -> None:
            np.save(target, compare(self.array(y), self.array(r), epsilon))

        sums: Sums = read_array(
            self.path(self.derive(_sums_key(y.sha256, r.sha256, epsilon), ".npy", make))
        )
        return sums

    def take_sums(self, y: str, r: str, epsilon: float, told: Sums) -> Sums:
        """Keeps sums of outputs that stayed elsewhere, and returns what is known of the same contents.

        Args:
            y: SHA-256 of the output.
            r: Of what it was compared with.
            epsilon: As `sums` takes it.
            told: Its sums; not kept where others are known.
        """
        key = _sums_key(y, r, epsilon)
        known: Sums = read_array(
            self.path(self.derive(key, ".npy", lambda target: np.save(target, told)))
        )
        return known

    # Work

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yields an empty folder on the store's file system; it is removed on every path.

        It is held by a lock while it is in use, which ends with this process however that ends.
        """
        work = self.root / "work"
        with contextlib.ExitStack() as holding:
            with explained(self.root), held(work):  # so that no sweep comes in between
                folder = Path(tempfile.mkdtemp(dir=work))
                holding.enter_context(held(folder))
            holding.callback(remove, folder)
            yield folder

    @contextlib.contextmanager
    def turn(self, device: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Holds a device against other runs on this machine: latencies need it alone.

        Args:
            device: Any name of it that is always the same.
            waiting: Called again and again while another run has it; what it raises ends the wait.
        """
        safe = "".join(c if c.isalnum() else "-" for c in device)
        with contextlib.ExitStack() as holding:
            with explained(self.root):
                lock = holding.enter_context((self.root / f"{safe}.lock").open("w"))
                while not taken(lock):
                    waiting()
                    time.sleep(TURN_S)
            yield

    # Runs

    def new_run(self, name: str, now: datetime.datetime) -> "Run":
        stem = f"{now:%Y%m%dT%H%M%SZ}-{name}"
        for attempt in range(1000):
            run_id = stem if attempt == 0 else f"{stem}-{attempt}"
            with explained(self.results):
                try:
                    (self.results / run_id).mkdir()
                except FileExistsError:
                    continue
            return Run(self, run_id)
        message = f"{self.results / stem}: a thousand runs in one second"
        raise StoreError(message)

    def open_run(self, name: str) -> "Run":
        """Opens a finished run by its folder's name; `latest` is one."""
        folder = self.results / name
        if not (folder / "manifest.json").is_file():
            runs = sorted(path.parent.name for path in self.results.glob("*/manifest.json"))
            known = f"runs there: {', '.join(runs[-5:])}" if runs else "run `trt-matrix run` first"
            message = f"{folder}: no finished run; {known}"
            raise StoreError(message)
        return Run(self, folder.resolve().name)

    def _read(self, kind: type[T], path: Path, consequence: str) -> T | None:
        try:
            with explained(path):
                content = path.read_bytes() if path.exists() else None
            return None if content is None else unsealed(kind, content)
        except ValueError as error:
            text = f"{path}: damaged, or of another version ({_told(error)}); {consequence}"
            self.warn(text)
            return None


def _told(error: ValueError) -> str:
    """Returns the first problem: `latency.samples_s: Field required`."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


class Run:
    """One folder of results."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.id = run_id
        self.folder = store.results / run_id

    def log(self, name: str) -> Path:
        """Returns where the log `ort-1.32.0/cpu/repeat-0` goes, its folder made."""
        path = self.folder / "logs" / f"{name}.log"
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_text(self, name: str, text: str) -> Path:
        return write_text(self.folder / name, text)

    def write_record(self, record: Record) -> None:
        self._write(f"records/{record.cell}.json", record)

    def write_manifest(self, manifest: Manifest) -> None:
        """Ends the run: only a folder with a manifest is a finished one; its checksums come last."""
        self._write("manifest.json", manifest)
        names = ["manifest.json", *(f"records/{cell}.json" for cell in manifest.cells)]
        with explained(self.folder):
            there = [name for name in names if (self.folder / name).is_file()]
            lines = [f"{sha256_of(self.folder / name)}  {name}\n" for name in sorted(there)]
        self.write_text(CHECKSUMS, "".join(lines))

    @functools.cached_property
    def _checksums(self) -> Mapping[str, str]:
        """Returns file → SHA-256 when the run ended; none of runs of before they were written."""
        try:
            return checksums((self.folder / CHECKSUMS).read_text("utf-8", "replace"))
        except FileNotFoundError:
            return {}

    def _write(self, name: str, fact: Stored) -> None:
        path = self.folder / name
        with explained(path):
            # Those of before are of other contents: killed here, a run has none, and is taken as it is.
            (self.folder / CHECKSUMS).unlink(missing_ok=True)
            protocol.write_json(str(path), fact.model_dump(mode="json"))
        self.__dict__.pop("_checksums", None)

    def manifest(self) -> Manifest:
        return self._required(Manifest, self.folder / "manifest.json")

    def records(self) -> tuple[Record, ...]:
        """Returns the records in the order of the plan."""
        return tuple(
            self._required(Record, self.folder / "records" / f"{cell}.json")
            for cell in self.manifest().cells
        )

    def _required(self, kind: type[T], path: Path) -> T:
        found = self.store._read(kind, path, "this run cannot be read")
        if found is None:
            why = self.store.warnings[-1] if path.exists() else f"{path}: it is missing"
            message = f"{why}; run `trt-matrix run` again: what is still whole is reused"
            raise StoreError(message)
        name = path.relative_to(self.folder).as_posix()
        if self._checksums.get(name) not in (None, sha256_of(path)):
            self.store.warn(
                f"{path}: changed since the run ended, and taken as it is; where nobody edited it, the disk is to "
                "be doubted: run `trt-matrix run` again, what is whole is reused"
            )
        return found

    def make_latest(self) -> None:
        link = self.store.results / "latest"
        temporary = self.store.results / f".latest-{self.id}"
        with explained(link):
            temporary.unlink(missing_ok=True)  # of a run that was killed here
            temporary.symlink_to(self.id)
            temporary.replace(link)


CHECKSUMS = "SHA256SUMS"
"""In a run's folder, as `sha256sum -c` reads it: its manifest and its records when it ended."""

TURN_S = 0.1
"""Between two looks whether another run has ended."""

SUMS_VERSION = 1
"""Raise when `job.reductions` changes what it computes."""


def _sums_key(y: str, r: str, epsilon: float) -> Mapping[str, Any]:
    return {"sums": SUMS_VERSION, "y": y, "r": r, "epsilon": epsilon}


def hashes(text: str) -> frozenset[str]:
    """Returns every SHA-256 (hex) in a text."""
    return frozenset(_HASH.findall(text))


def write_text(path: Path, text: str) -> Path:
    """Writes a text whole or not at all; returns where it is."""
    with explained(path):
        protocol.write_bytes(str(path), text.encode("utf-8", "surrogateescape"))
    return path


def finished_run(name: str, results: Path, warn: Callable[[str], None] = lambda _: None) -> Run:
    """Opens a finished run without making a folder of results where none is.

    Args:
        name: Of its folder in `results`, `latest` among them, or a path to it.
        results: Where results are kept.
        warn: Takes what the user should know of them.

    Raises:
        StoreError: there is none; says where to look.
    """
    path = Path(name)
    if len(path.parts) > 1 and (path / "manifest.json").is_file():
        name, results = path.name, path.parent
    elif not results.is_dir():
        message = f"no folder {results.absolute()}: go to where `trt-matrix run` ran, or name its results with --results"
        raise StoreError(message)
    store = Store(results)
    store.tell = warn
    return store.open_run(name)


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def json_text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
