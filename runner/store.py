"""`results/`: one folder a run, and beside them what runs share.

    results/
      RUN/            manifest.json, matrix.yaml, tables/, records/, logs/, results.csv, report.html
      latest          → the newest run that ended
      .store/
        objects/      arrays, models and logs by content: SHA-256 and suffix
        facts/KIND/   small JSON by fingerprint: measurements, calibrations, derived objects

Every file is written whole or not at all, and nothing that is stored changes, so a killed run loses
only what was in work, and two runs at once cannot harm each other. What no run needs any more goes
by `trt-matrix gc` alone (garbage.py), which has the store to itself.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import pydantic

from job import protocol
from runner.core.metrics import Sums
from runner.errors import StoreError
from runner.records import Derived, Manifest, Object, Record, Stored, digest

T = TypeVar("T", bound=Stored)

_FREE = "free space and run again, finished cells are kept; `trt-matrix gc --help`"
_HASH = re.compile(r"\b[0-9a-f]{64}\b")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals into a message with what to do next.

    Raises:
        StoreError: in place of every OSError.
    """
    advice = {
        errno.ENOSPC: f"the disk is full: {_FREE}",
        errno.EDQUOT: f"the disk quota is used up: {_FREE}",
        errno.EACCES: "it may not be written: check its owner and mode, or name another --results",
        errno.EPERM: "it may not be written: check its owner and mode, or name another --results",
        errno.EROFS: "the file system is read-only: name another folder with --results",
        errno.ENOTDIR: "a part of this path is a file: name another folder with --results",
    }
    try:
        yield
    except OSError as error:
        told = advice.get(error.errno or 0, "it cannot be used: name another folder with --results")
        message = f"{path}: {told} ({error.strerror or error})"
        raise StoreError(message) from error


class Store:
    """Raises StoreError where the folder cannot be used."""

    FOLDER = ".store"

    def __init__(self, results: Path) -> None:
        self.results = results
        self.root = results / self.FOLDER
        self.warnings: list[str] = []
        """What the user should know, each once."""
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
        with _held(work):
            for folder in work.iterdir():
                try:
                    with _held(folder, wait=False):
                        shutil.rmtree(folder, ignore_errors=True)
                except (BlockingIOError, FileNotFoundError):
                    continue  # it is in use, or was just given up

    def require(self, size_bytes: int) -> None:
        """Raises StoreError where the disk has less free: what failed there failed for that."""
        with explained(self.root):
            if shutil.disk_usage(self.root).free < size_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Objects, by content

    def path(self, stored: Object) -> Path:
        return self.root / "objects" / stored.file

    def has(self, stored: Object) -> bool:
        """Tells whether the object is there in full; a truncated one is not."""
        try:
            return self.path(stored).stat().st_size == stored.size_bytes
        except FileNotFoundError:
            return False

    def adopt(self, file: Path) -> Object:
        """Takes `file` (on the same file system) in without copying; it stays where it is, too.

        Nobody may write to it any more.
        """
        with explained(self.root):
            stored = Object(
                sha256=sha256_of(file), suffix=file.suffix, size_bytes=file.stat().st_size
            )
            if not self.has(stored):
                file.chmod(0o644)
                with self.workspace() as folder:
                    same_file_system_link(file, folder / stored.file)
                    (folder / stored.file).replace(self.path(stored))
            return stored

    def put(self, content: bytes, suffix: str) -> Object:
        stored = object_of(content, suffix)
        if not self.has(stored):
            with explained(self.root):
                protocol.write_bytes(str(self.path(stored)), content)
        return stored

    def array(self, stored: Object) -> np.ndarray[Any, Any]:
        """Returns the array memory-mapped, read only."""
        array: np.ndarray[Any, Any] = np.load(self.path(stored), mmap_mode="r", allow_pickle=False)
        return array

    # Facts, by fingerprint

    def _fact(self, kind: str, fingerprint: str) -> Path:
        return self.root / "facts" / kind / f"{fingerprint}.json"

    def get(self, kind: type[T], fingerprint: str) -> T | None:
        """Returns the stored fact; None where there is none, or only a damaged one (with a warning)."""
        path = self._fact(kind.__name__.lower(), fingerprint)
        return self._read(kind, path, "what it told is measured again")

    def keep(self, fact: Stored, fingerprint: str) -> None:
        path = self._fact(type(fact).__name__.lower(), fingerprint)
        with explained(self.root):
            protocol.write_json(str(path), fact.model_dump(mode="json"))

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
        with explained(self.root):
            protocol.write_json(str(self._derived(key)), fact.model_dump(mode="json"))
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
        from job.reductions import compare  # noqa: PLC0415

        def make(target: Path) -> None:
            np.save(target, compare(self.array(y), self.array(r), epsilon))

        key = {"sums": SUMS_VERSION, "y": y.sha256, "r": r.sha256, "epsilon": epsilon}
        sums: Sums = np.load(self.path(self.derive(key, ".npy", make)), allow_pickle=False)
        return sums

    # Work

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yields an empty folder on the store's file system; it is removed on every path.

        It is held by a lock while it is in use, which ends with this process however that ends.
        """
        work = self.root / "work"
        with contextlib.ExitStack() as holding:
            with explained(self.root), _held(work):  # so that no sweep comes in between
                folder = Path(tempfile.mkdtemp(dir=work))
                holding.enter_context(_held(folder))
            holding.callback(shutil.rmtree, folder, ignore_errors=True)
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
                while not _taken(lock):
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
            known = f"; runs there: {', '.join(runs[-5:])}" if runs else "; run `make matrix` first"
            message = f"{folder}: no finished run{known}"
            raise StoreError(message)
        return Run(self, folder.resolve().name)

    def _read(self, kind: type[T], path: Path, consequence: str) -> T | None:
        try:
            with explained(path):
                content = path.read_bytes() if path.exists() else None
            return None if content is None else kind.model_validate_json(content)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            told = f"{where}: {first['msg']}" if where else first["msg"]
            text = f"{path}: damaged, or of another version ({told}); {consequence}"
            if text not in self.warnings:
                self.warnings.append(text)
            return None


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
        """Ends the run: only a folder with a manifest is a finished one."""
        self._write("manifest.json", manifest)

    def _write(self, name: str, fact: Stored) -> None:
        path = self.folder / name
        with explained(path):
            protocol.write_json(str(path), fact.model_dump(mode="json"))

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
            message = f"{why}; run `make matrix` again: what is still whole is reused"
            raise StoreError(message)
        return found

    def make_latest(self) -> None:
        link = self.store.results / "latest"
        temporary = self.store.results / f".latest-{self.id}"
        with explained(link):
            temporary.unlink(missing_ok=True)  # of a run that was killed here
            temporary.symlink_to(self.id)
            temporary.replace(link)


TURN_S = 0.1
"""Between two looks whether another run has ended."""

SUMS_VERSION = 1
"""Raise when `job.reductions` changes what it computes."""


def hashes(text: str) -> frozenset[str]:
    """Returns every SHA-256 (hex) in a text."""
    return frozenset(_HASH.findall(text))


def write_text(path: Path, text: str) -> Path:
    """Writes a text whole or not at all; returns where it is."""
    with explained(path):
        protocol.write_bytes(str(path), text.encode("utf-8", "surrogateescape"))
    return path


def object_of(content: bytes, suffix: str) -> Object:
    """Returns how the store addresses `content`; stores nothing."""
    sha256 = hashlib.sha256(content).hexdigest()
    return Object(sha256=sha256, suffix=suffix, size_bytes=len(content))


def _taken(lock: IO[str]) -> bool:
    """Says whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _held(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a lock on a folder.

    Raises:
        BlockingIOError: somebody else holds it, and `wait` is False.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def json_text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def same_file_system_link(source: Path, target: Path) -> None:
    """Makes `target` another name of `source`, or a copy where links are not to be had."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, target)
