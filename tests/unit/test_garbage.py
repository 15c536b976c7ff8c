"""`trt-matrix gc`: what a kept run needs stays, all else goes, whenever it is stopped."""

import datetime
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.unit.new_records import new_manifest, new_measurement, new_record
from trt_matrix.commands.gc import Collected, age, collect, collect_in
from trt_matrix.core.cells import Status
from trt_matrix.core.records import Calibration, Measurement, StoredObject, digest
from trt_matrix.core.tables.table import Provenance, from_ranges
from trt_matrix.errors import ConfigError, StoreError
from trt_matrix.store.results import RunFolder, Store

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
HOUR_NS = 3600 * 10**9


def array(store: Store, value: float) -> StoredObject:
    with store.workspace() as folder:
        np.save(folder / "one.npy", np.full((4, 3), value, np.float32))
        return store.adopt(folder / "one.npy")


def measured(store: Store, value: float) -> Measurement:
    """Stores a measurement whose output is `value` everywhere."""
    measurement = new_measurement(
        fingerprint=digest(["measurement", value]),
        model_sha256=store.put(b"network", ".onnx").sha256,
        outputs={"small": array(store, value)},
    )
    store.keep(measurement, measurement.fingerprint)
    return measurement


def calibrated(store: Store, amax: float) -> str:
    """Stores a calibration; returns the digest of its table."""
    ranges = {"x": amax}
    calibration = Calibration(
        fingerprint=digest(["calibration", amax]), status=Status.OK, tables={"minmax": ranges}
    )
    store.keep(calibration, calibration.fingerprint)
    return from_ranges(ranges, Provenance(algorithm="minmax")).digest


def finished(store: Store, value: float, days_ago: float, *, amax: float = 1.0) -> RunFolder:
    """Makes a run of one cell, with a reference of zeros, as old as it is said to be."""
    run = store.new_run("demo", NOW - days_ago * DAY)
    reference, measurement = measured(store, 0.0), measured(store, value)
    table = calibrated(store, amax)
    cell = "a/cpu/fp32"
    run.write_record(new_record("a", measurements=(measurement,)))
    run.write_text("report.html", "<html>")
    store.sums(measurement.outputs["small"], reference.outputs["small"], 1e-3)
    run.write_manifest(
        new_manifest(
            run_id=run.id,
            baseline="a",
            images=4,
            cells=(cell,),
            reference=reference,
            tables={table: {}},
        )
    )
    run.make_latest()
    return run


def age_all(store: Store) -> None:
    """Makes everything in the store an hour old, as a run that ended since leaves it."""
    old = time.time_ns() - HOUR_NS
    for path in store.root.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(old, old))


def collected(
    store: Store,
    *,
    keep: int | None = None,
    older_than: datetime.timedelta | None = None,
    dry_run: bool = False,
) -> Collected:
    return collect(store, keep=keep, older_than=older_than, now=NOW, dry_run=dry_run)


def everything(store: Store) -> dict[str, bytes]:
    return {
        str(path.relative_to(store.results)): path.read_bytes()
        for path in store.results.rglob("*")
        if path.is_file()
    }


def whole(run: RunFolder) -> None:
    """Asserts that a run can be judged, and measured again for nothing."""
    reference = run.manifest().reference
    assert reference is not None
    for record in run.records():
        for measurement in record.measurements:
            assert run.store.get(Measurement, measurement.fingerprint) == measurement
            sums = run.store.sums(measurement.outputs["small"], reference.outputs["small"], 1e-3)
            assert len(sums) == 4


def test_without_garbage_nothing_goes(store: Store) -> None:
    runs = [finished(store, value, 10 - value, amax=value) for value in (1.0, 2.0)]
    age_all(store)
    before = everything(store)
    done = collected(store)
    assert (done.runs, done.freed_bytes, done.kept_runs) == ([], 0, 2)
    assert "every file is needed" in done.text()
    assert everything(store) == before
    for run in runs:
        whole(run)


def test_what_only_a_removed_run_needed_goes_with_it(store: Store) -> None:
    old, middle, new = (finished(store, value, 10 - value, amax=value) for value in (1.0, 2.0, 3.0))
    age_all(store)
    before = sum(len(content) for content in everything(store).values())
    done = collected(store, keep=2)
    assert list(done.runs) == [old.id]
    assert not old.folder.exists()
    # Its output and the sums; measurement, calibration and what is known of the sums.
    assert (done.objects.count, done.facts.count) == (2, 3)
    assert before - sum(map(len, everything(store).values())) == done.freed_bytes > 0
    for run in (middle, new):
        whole(run)
    assert store.get(Calibration, digest(["calibration", 1.0])) is None
    assert store.get(Calibration, digest(["calibration", 2.0])) is not None
    assert store.warnings == []
    assert collected(store, keep=2).freed_bytes == 0
    assert not list((store.root / "work").iterdir())


def test_a_dry_run_says_the_same_and_does_nothing(store: Store) -> None:
    finished(store, 1.0, 9)
    finished(store, 2.0, 1)
    age_all(store)
    before = everything(store)
    told = collected(store, keep=1, dry_run=True)
    assert everything(store) == before
    assert "would be removed" in told.text()
    done = collected(store, keep=1)
    assert told.freed_bytes == done.freed_bytes
    assert told.kept_bytes == done.kept_bytes
    assert "would" not in done.text()
    assert done.text().splitlines()[-1].startswith("kept 1 run, ")


@pytest.mark.parametrize(
    ("keep", "days", "left"),
    [
        (None, None, [9, 5, 1]),
        (1, None, [1]),
        (2, None, [5, 1]),
        (9, None, [9, 5, 1]),
        (None, 7, [5, 1]),
        (None, 0.5, [1]),
        (2, 0.5, [5, 1]),
        (1, 7, [5, 1]),
    ],
)
def test_the_newest_and_the_younger_runs_are_kept(
    store: Store, keep: int | None, days: float | None, left: list[int]
) -> None:
    runs = {days_ago: finished(store, days_ago, days_ago) for days_ago in (9, 5, 1)}
    done = collected(store, keep=keep, older_than=None if days is None else days * DAY)
    assert [one for one, run in runs.items() if run.folder.exists()] == left
    assert done.kept_runs == len(left)


def test_the_run_that_latest_names_is_kept_however_old(store: Store) -> None:
    old = finished(store, 1.0, 9)
    new = finished(store, 2.0, 1)
    old.make_latest()
    done = collected(store, keep=1)
    assert (list(done.runs), done.kept_runs) == ([], 2)
    whole(old)
    whole(new)


def test_unfinished_runs_and_other_folders(store: Store) -> None:
    dead = store.new_run("killed", NOW - 9 * DAY)
    finished(store, 1.0, 5)
    fresh = store.new_run("killed", NOW - DAY)
    (store.results / "notes").mkdir()
    (store.results / "README.md").write_text("mine")
    collected(store)
    assert dead.folder.exists(), "without an option no run goes"
    collected(store, keep=1)
    assert not dead.folder.exists()
    assert fresh.folder.exists()
    assert (store.results / "notes").exists()
    assert (store.results / "README.md").exists()


def test_what_an_interrupted_run_measured_since_is_kept(store: Store) -> None:
    finished(store, 1.0, 5)
    age_all(store)
    since = measured(store, 7.0)
    table = calibrated(store, 7.0)
    old = measured(store, 8.0)
    for path in (store.root / "facts/measurement" / f"{old.fingerprint}.json",
                 store.path(old.outputs["small"])):  # fmt: skip
        os.utime(path, (0, 0))
    collected(store)
    assert store.get(Measurement, since.fingerprint) == since
    assert store.has(since.outputs["small"])
    assert store.get(Calibration, digest(["calibration", 7.0])) is not None
    assert table
    assert store.get(Measurement, old.fingerprint) is None
    assert not store.has(old.outputs["small"])


def test_without_a_finished_run_all_is_kept(store: Store) -> None:
    measurement = measured(store, 1.0)
    age_all(store)
    done = collected(store, keep=1)
    assert (done.freed_bytes, done.kept_runs) == (0, 0)
    assert store.has(measurement.outputs["small"])


def test_damaged_and_half_written_files_go_and_unknown_facts_stay(store: Store) -> None:
    run = finished(store, 1.0, 5)
    age_all(store)
    named = store.put(b"named by a fact of a later version", ".bin")
    objects, facts = store.root / "objects", store.root / "facts"
    (objects / f".x{'y' * 5}.part").write_bytes(b"half")
    os.utime(store.path(named), (0, 0))
    (facts / "later").mkdir()
    (facts / "later" / "one.json").write_text(f'{{"of": "{named.sha256}"}}')
    for kind in ("object", "calibration", "measurement"):
        (facts / kind / f"{'e' * 64}.json").write_bytes(b"{")
        os.utime(facts / kind / f"{'e' * 64}.json", (0, 0))
    done = collected(store)
    assert done.facts.count == 3
    assert done.objects.count == 1
    assert store.has(named)
    whole(run)


def test_what_was_derived_before_sources_were_put_down(store: Store) -> None:
    """Such a fact has an object's fields alone; its object stays where a run names it."""
    run = finished(store, 1.0, 5)
    reference = run.manifest().reference
    assert reference is not None
    facts = store.root / "facts" / "object"
    for name, stored in (("a" * 64, reference.outputs["small"]), ("b" * 64, array(store, 9.0))):
        (facts / f"{name}.json").write_text(stored.model_dump_json())
    run.write_manifest(run.manifest())
    age_all(store)
    collected(store)
    assert [(facts / f"{name * 64}.json").exists() for name in "ab"] == [True, False]


def test_nothing_is_collected_while_a_run_is_in_progress(store: Store) -> None:
    finished(store, 1.0, 9)
    finished(store, 2.0, 1)
    age_all(store)
    before = everything(store)
    run = Store(store.results)
    with pytest.raises(StoreError, match="in use by another trt-matrix; try again"):
        collected(store, keep=1)
    assert everything(store) == before
    del run
    assert collected(store, keep=1).runs


def _collect_and_die(results: Path, after: int) -> None:
    """Collects, and kills itself before it removes one file more than `after`."""
    unlink, left = Path.unlink, [after]

    def fatal(path: Path, missing_ok: bool = False) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        unlink(path, missing_ok)

    Path.unlink = fatal  # type: ignore[assignment, method-assign]
    collect_in(results, keep=1, older_than=None, now=NOW, dry_run=False)


def test_killed_at_any_moment_the_kept_run_is_whole_and_the_next_collection_ends_it(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    for after in (0, 3, 4):
        results = tmp_path / str(after)
        store = Store(results)
        finished(store, 1.0, 9, amax=1.0)
        kept = finished(store, 2.0, 1, amax=2.0)
        age_all(store)
        del store, kept.store
        other = context.Process(target=_collect_and_die, args=(results, after))
        other.start()
        other.join()
        assert other.exitcode == -signal.SIGKILL
        store = Store(results)
        kept.store = store
        whole(kept)
        age_all(store)
        collected(store)
        whole(kept)
        assert len(list((store.root / "facts/measurement").iterdir())) == 2
        assert len(list((store.root / "objects").iterdir())) == 4, "network, two outputs, sums"


def test_ages() -> None:
    assert age("12h") == DAY / 2
    assert age("30d") == 30 * DAY
    assert age("2w") == 14 * DAY
    for wrong in ("", "3", "0d", "-1d", "1.5d", "d", "1 d", "9" * 99 + "d"):
        with pytest.raises(ConfigError, match="write 12h, 30d or 2w"):
            age(wrong)


def test_where_there_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results here"):
        collect_in(tmp_path, keep=None, older_than=None, now=NOW, dry_run=False)
    assert not list(tmp_path.iterdir()), "nothing was made"
