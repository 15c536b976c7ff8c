"""`trt-matrix gc`: what no kept run needs any more goes, out of results/ and out of its store.

A kept run needs whatever its manifest and its records name by SHA-256, and what was derived from
that alone. What an interrupted run left since the newest finished one is needed, too: the next run
goes on from it. Answers merged from other machines stay: they cost a journey.

Runs go first, each by a rename, then facts, then objects: killed at any moment, nothing that stays
points to what is gone, and the next collection ends the work.
"""

import datetime
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trt_matrix.containers.job.protocol import PARTIAL
from trt_matrix.core.records import Calibration, DerivedObject, Measurement, Stored
from trt_matrix.core.tables.table import Provenance, from_ranges
from trt_matrix.core.words import count
from trt_matrix.errors import ConfigError, StoreError
from trt_matrix.store.results import Store, explained, hashes
from trt_matrix.store.sealing import unsealed
from trt_matrix.store.untrusted import remove, size_text

T = TypeVar("T", bound=Stored)

RUN = re.compile(r"(\d{8}T\d{6})Z-.+")
"""Name of a run's folder, which begins with when it began."""

AGE = re.compile(r"([1-9]\d{0,4})([hdw])")
UNITS = {"h": "hours", "d": "days", "w": "weeks"}

KINDS: tuple[type[Stored], ...] = (Measurement, Calibration)
"""Facts that are collected, beside derived objects; whatever else there is stays."""

SHOWN_RUNS = 10


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one sort, and how large they are."""

    count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What went, or would go."""

    dry_run: bool
    runs: Sequence[str]
    """Names of the folders."""
    kept_runs: int
    """Finished ones."""
    run_files: Files
    facts: Files
    objects: Files
    kept_bytes: int
    """What is left in the store."""

    @property
    def freed_bytes(self) -> int:
        return sum(files.size_bytes for files in (self.run_files, self.facts, self.objects))

    def text(self) -> str:
        would = "would be " if self.dry_run else ""
        lines = [f"run {name}: {would}removed" for name in self.runs[:SHOWN_RUNS]]
        if len(self.runs) > SHOWN_RUNS:
            lines.append(f"and {len(self.runs) - SHOWN_RUNS} more")
        parts = (
            (len(self.runs), "run", self.run_files.size_bytes),
            (self.objects.count, "stored file", self.objects.size_bytes),
            (self.facts.count, "fact", self.facts.size_bytes),
        )
        gone = [
            f"{count(amount, noun)} ({size_text(freed)})" for amount, noun, freed in parts if amount
        ]
        removed = ", ".join(gone) or "every file is needed by a kept run"
        lines.append(f"{would}freed {size_text(self.freed_bytes)}: {removed}")
        lines.append(
            f"kept {count(self.kept_runs, 'run')}, {size_text(self.kept_bytes)} in the store"
        )
        return "\n".join(lines)

    def summary(self) -> dict[str, object]:
        return {
            "dry_run": self.dry_run,
            "runs": list(self.runs),
            "objects": self.objects.count,
            "facts": self.facts.count,
            "freed_bytes": self.freed_bytes,
            "kept_runs": self.kept_runs,
            "kept_bytes": self.kept_bytes,
        }


def age(text: str) -> datetime.timedelta:
    """Reads `12h`, `30d`, `2w`.

    Raises:
        ConfigError: it is none of these.
    """
    match_ = AGE.fullmatch(text)
    if not match_:
        raise ConfigError("--older-than", [f"{text!a:.40} is no age: write 12h, 30d or 2w"])
    return datetime.timedelta(**{UNITS[match_[2]]: int(match_[1])})


def collect_in(
    results: Path,
    *,
    keep: int | None,
    older_than: datetime.timedelta | None,
    now: datetime.datetime,
    dry_run: bool,
) -> Collected:
    """Opens the store of `results` and collects; see `collect`.

    Raises:
        StoreError: there is none, or it is in use.
    """
    if not (results / Store.FOLDER).is_dir():
        raise StoreError(f"{results}: no results here; name their folder with --results")
    return collect(Store(results), keep=keep, older_than=older_than, now=now, dry_run=dry_run)


def collect(
    store: Store,
    *,
    keep: int | None,
    older_than: datetime.timedelta | None,
    now: datetime.datetime,
    dry_run: bool,
) -> Collected:
    """Removes the runs that are not kept, and what no kept run needs; nobody else may have the store open.

    Kept are in any case the newest `keep` finished runs, of them the newest always, and those younger than
    `older_than`; with neither, all. A dry run only tells.

    Raises:
        StoreError: the store is in use, or cannot be written.
    """
    with store.alone(), explained(store.results):
        ended = (path.parent for path in store.results.glob("*/manifest.json"))
        finished = sorted(run for run in ended if not run.is_symlink())
        gone = _gone(store, finished, keep, None if older_than is None else now - older_than)
        kept = [run for run in finished if run not in gone]
        needs = _Needs(kept)
        facts = list(needs.unneeded_facts(store))
        objects = list(needs.unneeded(_files(store.root / "objects")))
        collected = Collected(
            dry_run=dry_run,
            runs=[run.name for run in gone],
            kept_runs=len(kept),
            run_files=_sizes(file for run in gone for file in _files(run)),
            facts=_sizes(facts),
            objects=_sizes(objects),
            kept_bytes=_sizes(set(_files(store.root)) - {*facts, *objects}).size_bytes,
        )
        if not dry_run:
            _remove(store, gone, facts, objects)
    return collected


def _gone(
    store: Store,
    finished: Sequence[Path],
    keep: int | None,
    before: datetime.datetime | None,
) -> list[Path]:
    """Returns the folders of the runs that are not kept, unfinished ones among them."""
    if (keep is None and before is None) or not finished:
        return []
    first_kept = finished[-max(keep or 0, 1) :][0]
    latest = (store.results / "latest").resolve().name
    return [
        run
        for run in sorted(store.results.iterdir())
        if (began := RUN.fullmatch(run.name))
        and run.is_dir()
        and run.name < first_kept.name
        and run.name != latest
        and (before is None or _stamp(began[1]) < before)
    ]


def _stamp(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)


class _Needs:
    """What the kept runs need of the store."""

    def __init__(self, kept: Sequence[Path]) -> None:
        self.named: set[str] = set()
        """SHA-256 of contents, tables and fingerprints."""
        ends = []
        for run in kept:
            ends.append((run / "manifest.json").stat().st_mtime_ns)
            for file in (run / "manifest.json", *(run / "records").rglob("*.json")):
                self.named |= hashes(file.read_text("utf-8", "replace"))
        self.since_ns = max(ends, default=0)
        """End of the newest run: what is younger was left by one that was interrupted."""

    def unneeded(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yields files that are named by their content, or by a fingerprint, that nothing names."""
        for file in files:
            if file.stem not in self.named and not self._new(file):
                yield file

    def unneeded_facts(self, store: Store) -> Iterator[Path]:
        """Yields the facts to remove; what the others are about is needed from then on."""
        facts = store.root / "facts"
        known = {kind.__name__.lower() for kind in KINDS} | {"object"}
        for folder in _folders(facts):
            if folder.name not in known:
                self._name_all(_files(folder))
        for kind in KINDS:
            files = list(_files(facts / kind.__name__.lower()))
            gone = {file for file in self.unneeded(files) if not self._wanted(kind, file)}
            self._name_all(set(files) - gone)
            yield from gone
        yield from self._unneeded_derived(list(_files(facts / "object")))

    def _wanted(self, kind: type[Stored], file: Path) -> bool:
        """Tells whether a kept run used a table that this calibration made."""
        if kind is not Calibration:
            return False
        fact = _read(Calibration, file)
        tables = fact.tables if fact else {}
        made = (from_ranges(table, Provenance(algorithm=name)) for name, table in tables.items())
        return any(table.digest in self.named for table in made)

    def _unneeded_derived(self, files: Sequence[Path]) -> Iterator[Path]:
        """Yields those that are named by nobody and not made of what is needed alone.

        What was made of a derived object is looked at after that object: until nothing changes.
        """
        waiting = {file: _read(DerivedObject, file) for file in files}
        while paths := [
            file for file, fact in waiting.items() if fact and (self._new(file) or self._made(fact))
        ]:
            for file in paths:
                fact = waiting.pop(file)
                self.named.add(fact.sha256 if fact else "")
        yield from waiting

    def _made(self, fact: DerivedObject) -> bool:
        of_needed = bool(fact.sources) and self.named.issuperset(fact.sources)
        return of_needed or fact.sha256 in self.named

    def _name_all(self, files: Iterable[Path]) -> None:
        for file in files:
            self.named |= hashes(file.read_text("utf-8", "replace"))

    def _new(self, file: Path) -> bool:
        """Whether an interrupted run left it; what a killed process had only begun is worth nothing."""
        return file.suffix != PARTIAL and file.stat().st_mtime_ns > self.since_ns


def _read(kind: type[T], file: Path) -> T | None:
    try:
        return unsealed(kind, file.read_bytes())
    except ValueError:
        return None  # damaged: nobody can use it


def _remove(
    store: Store, runs: Sequence[Path], facts: Collection[Path], objects: Collection[Path]
) -> None:
    # Whatever is in work goes when the store is opened next; a folder of one's own a full disk
    # would refuse.
    for run in runs:
        remove(run.rename(store.root / "work" / run.name))
    for file in (*facts, *objects):
        file.unlink()


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _sizes(files: Iterable[Path]) -> Files:
    sizes = [file.stat().st_size for file in files]
    return Files(len(sizes), sum(sizes))
