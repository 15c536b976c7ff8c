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
import gc
import json
import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record, Stored, StoredObject
from trt_matrix.core.tables.table import Table, from_json
from trt_matrix.errors import StoreError
from trt_matrix.store.facts import Fact, Facts, hashes
from trt_matrix.store.locks import held, taken
from trt_matrix.store.objects import explained, object_of, same_file_system_link, sha256_of
from trt_matrix.store.sealing import checksums
from trt_matrix.store.untrusted import remove

__all__ = [
    "RunFolder", "Store", "explained", "hashes", "json_text", "object_of", "same_file_system_link",
    "sha256_of", "utc_now", "write_text",
]  # fmt: skip
"""Those of `trt_matrix.store.objects` among them: whoever keeps files needs both."""


class Store(Facts):
    """Raises StoreError where the folder cannot be used."""

    FOLDER = ".store"

    def __init__(self, results: Path) -> None:
        self.results = results
        super().__init__(results / self.FOLDER)
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
            self._lock_alone()
        except BlockingIOError as error:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            message = f"{self.results}: in use by another trt-matrix; try again when it has ended"
            raise StoreError(message) from error
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _lock_alone(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # An earlier run of this process that ended may still be held by a circle of references.
            gc.collect()
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

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

    def release(self, outputs: Iterable[StoredObject]) -> int:
        """Removes outputs that nobody needs any more; returns how many bytes that freed.

        Nobody else may have the store open: see `alone`.
        """
        freed = 0
        with explained(self.root):
            for output in outputs:
                with contextlib.suppress(FileNotFoundError):
                    self._file(output).unlink()
                    freed += output.size_bytes
        return freed

    def require(self, size_bytes: int) -> None:
        """Raises StoreError where the disk has less free: what failed there failed for that."""
        with explained(self.root):
            if shutil.disk_usage(self.root).free < size_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def turn(self, device: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Holds a device against other runs on this machine: latencies need it alone.

        `device` is any name of it that is always the same. `waiting` is called again and again while another run has it;
        what it raises ends the wait.
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

    def new_run(self, name: str, now: datetime.datetime) -> "RunFolder":
        stem = f"{now:%Y%m%dT%H%M%SZ}-{name}"
        for attempt in range(1000):
            run_id = stem if attempt == 0 else f"{stem}-{attempt}"
            with explained(self.results):
                try:
                    (self.results / run_id).mkdir()
                except FileExistsError:
                    continue
            return RunFolder(self, run_id)
        raise StoreError(f"{self.results / stem}: a thousand runs in one second")

    def open_run(self, name: str) -> "RunFolder":
        """Opens a finished run by its folder's name; `latest` is one."""
        folder = self.results / name
        if not (folder / "manifest.json").is_file():
            runs = sorted(path.parent.name for path in self.results.glob("*/manifest.json"))
            known = f"runs there: {', '.join(runs[-5:])}" if runs else "run `trt-matrix run` first"
            raise StoreError(f"{folder}: no finished run; {known}")
        return RunFolder(self, folder.resolve().name)


class RunFolder:
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
        """Returns file → SHA-256 when the run ended; none in runs made before these were written."""
        try:
            return checksums((self.folder / CHECKSUMS).read_text("utf-8", "replace"))
        except FileNotFoundError:
            return {}

    def _write(self, name: str, fact: Stored) -> None:
        path = self.folder / name
        with explained(path):
            # The old checksums are of other contents: killed here, a run has none, and is taken as it is.
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

    def table(self, digest: str) -> Table:
        """Returns a calibration table of the run.

        Raises:
            OSError, UnicodeDecodeError, TableError: its file is not there any more, or not whole.
        """
        return from_json((self.folder / "tables" / f"{digest[:12]}.json").read_text("utf-8"))

    def _required(self, kind: type[Fact], path: Path) -> Fact:
        fact = self.store.read_fact(kind, path, "this run cannot be read")
        if fact is None:
            why = self.store.warnings[-1] if path.exists() else f"{path}: it is missing"
            raise StoreError(f"{why}; run `trt-matrix run` again: what is still whole is reused")
        name = path.relative_to(self.folder).as_posix()
        if self._checksums.get(name) not in (None, sha256_of(path)):
            self.store.warn(
                f"{path}: changed since the run ended, and taken as it is; where nobody edited it, the disk is to "
                "be doubted: run `trt-matrix run` again, what is whole is reused"
            )
        return fact

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


def write_text(path: Path, text: str) -> Path:
    """Writes a text whole or not at all; returns where it is."""
    with explained(path):
        protocol.write_bytes(str(path), text.encode("utf-8", "surrogateescape"))
    return path


def finished_run(
    name: str, results: Path, warn: Callable[[str], None] = lambda _: None
) -> RunFolder:
    """Opens a finished run, by its folder's name, `latest` or a path, without making a folder of results where none is.

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
