import datetime
import errno
import gc
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.new_records import new_manifest, new_measurement, new_record
from trt_matrix.core.cells import Status
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.records import Measurement, StoredObject, digest
from trt_matrix.errors import StoreError
from trt_matrix.store import objects
from trt_matrix.store.results import CHECKSUMS, RunFolder, Store, finished_run

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


def measurement(store: Store, **changes: Any) -> Measurement:
    outputs = {"large": store.put(b"x" * 100, ".npy")}
    return new_measurement(fingerprint="f" * 64, outputs=outputs, **changes)


def test_equal_content_is_one_object(store: Store, tmp_path: Path) -> None:
    first = store.put(b"content", ".bin")
    again = tmp_path / "again.bin"
    again.write_bytes(b"content")
    assert store.adopt(again) == first
    assert again.read_bytes() == b"content"
    assert [path.name for path in (store.root / "objects").iterdir()] == [first.file]


def test_a_truncated_object_is_not_there(store: Store) -> None:
    stored = store.put(b"content", ".bin")
    assert store.has(stored)
    store.path(stored).write_bytes(b"con")
    assert not store.has(stored)
    assert store.put(b"content", ".bin") == stored
    assert store.has(stored)


@pytest.mark.parametrize("content", [b"c0ntent", b"con", b"content and more"])
def test_a_changed_object_is_no_longer_there(store: Store, content: bytes) -> None:
    stored = store.put(b"content", ".bin")
    store.path(stored).write_bytes(content)
    again = Store(store.results)
    assert not again.has(stored)
    with pytest.raises(StoreError, match="damaged.*made again"):
        again.path(stored)
    assert again.put(b"content", ".bin") == stored
    assert again.path(stored).read_bytes() == b"content"


def test_an_object_is_hashed_once_a_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.put(b"content", ".bin")
    again = Store(store.results)
    hashed: list[Path] = []

    def sha256_of(path: Path) -> str:
        hashed.append(path)
        return stored.sha256

    monkeypatch.setattr(objects, "sha256_of", sha256_of)
    for _ in range(3):
        assert again.has(stored)
        again.path(stored)
    assert hashed == [again.path(stored)]


def test_a_number_that_changed_in_a_fact_is_not_believed(store: Store) -> None:
    fact = measurement(store, stages={"infer": 1.25})
    store.keep(fact, fact.fingerprint)
    path = store.root / "facts" / "measurement" / f"{fact.fingerprint}.json"
    path.write_text(path.read_text().replace("1.25", "1.75"))
    assert store.get(Measurement, fact.fingerprint) is None
    assert "changed since it was written" in store.warnings[0]
    # Before there were checksums, facts had none.
    path.write_text(fact.model_dump_json())
    assert store.get(Measurement, fact.fingerprint) == fact


def test_facts_come_back_as_they_were(store: Store) -> None:
    fact = measurement(store)
    store.keep(fact, fact.fingerprint)
    assert store.get(Measurement, fact.fingerprint) == fact
    assert store.get(Measurement, "e" * 64) is None
    assert store.warnings == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"schema_version": 2}', b"null", b"[" * 100_000, b"{}" * 3],
)
def test_a_damaged_fact_is_measured_again_and_told(store: Store, content: bytes) -> None:
    fact = measurement(store)
    store.keep(fact, fact.fingerprint)
    path = store.root / "facts" / "measurement" / f"{fact.fingerprint}.json"
    path.write_bytes(content)
    assert store.get(Measurement, fact.fingerprint) is None
    assert str(path) in store.warnings[0]
    assert "measured again" in store.warnings[0]


def test_derived_objects_are_made_once(store: Store) -> None:
    paths = []

    def make(target: Path) -> None:
        paths.append(target)
        target.write_bytes(b"derived")

    first = store.derive({"a": 1}, ".bin", make)
    assert store.derive({"a": 1}, ".bin", make) == first
    assert len(paths) == 1
    store.path(first).unlink()
    assert store.derive({"a": 1}, ".bin", make) == first
    assert len(paths) == 2


def test_sums_are_computed_once_for_two_contents(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [np.full((4, 3), value, np.float32) for value in (1.0, 1.5)]
    objects: list[StoredObject] = []
    for index, array in enumerate(arrays):
        np.save(tmp_path / f"{index}.npy", array)
        objects.append(store.adopt(tmp_path / f"{index}.npy"))
    sums = store.sums(objects[1], objects[0], 1e-3)
    assert sums["d2"].tolist() == [0.75] * 4
    monkeypatch.setattr("trt_matrix.containers.job.reductions.compare", None)
    assert store.sums(objects[1], objects[0], 1e-3)["d2"].tolist() == [0.75] * 4


def test_a_run_reads_back_in_the_order_of_the_plan(store: Store) -> None:
    run = store.new_run("demo", NOW)
    cells = ("b/cpu/fp32", "a/gpu:*/int8-own-minmax")
    for cell in reversed(cells):
        record = new_record("x", status=Status.NOT_RUN, reason="told")
        run.write_record(record.model_copy(update={"cell": cell}))
    manifest = new_manifest(
        run_id=run.id,
        baseline="b",
        heads=(HeadGate(head="small", sqnr_db=20.0), HeadGate(head="large", sqnr_db=None)),
        images=4,
        cells=cells,
    )
    run.write_manifest(manifest)
    run.make_latest()
    again = store.open_run("latest")
    assert again.id == run.id
    assert [head.head for head in again.manifest().heads] == ["small", "large"]
    assert [record.cell for record in again.records()] == list(cells)
    (run.folder / "records/b/cpu/fp32.json").write_text("{")
    with pytest.raises(StoreError, match="fp32.json: damaged"):
        again.records()
    (run.folder / "records/b/cpu/fp32.json").unlink()
    with pytest.raises(StoreError, match="fp32.json: it is missing"):
        again.records()


def test_two_runs_in_one_second_get_two_folders(store: Store) -> None:
    assert store.new_run("demo", NOW).id != store.new_run("demo", NOW).id


def test_opening_what_is_no_run_names_the_runs_there_are(store: Store) -> None:
    with pytest.raises(StoreError, match="run `trt-matrix run` first"):
        store.open_run("latest")
    with pytest.raises(StoreError, match="no finished run"):
        store.open_run("../..")


def test_latest_is_replaced_not_removed(store: Store) -> None:
    for _ in range(2):
        run = store.new_run("demo", NOW)
        run.make_latest()
    assert (store.results / "latest").readlink() == Path(run.id)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "its owner and mode"),
    ],
)
def test_refusals_of_the_file_system_say_what_to_do(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StoreError, match=words):
        store.put(b"content", ".bin")
    assert not list((store.root / "objects").iterdir()), "half a file was left"


def test_a_real_full_disk_is_told(tmp_path: Path) -> None:
    """/dev/full refuses every write as a full disk does."""
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OSError, match="No space"),
    ):
        full.write(b"x")
    results = tmp_path / "file"
    results.write_text("not a folder")
    with pytest.raises(StoreError, match="a part of this path is a file"):
        Store(results)


def _hold(root: Path, held: "multiprocessing.synchronize.Event", device: str) -> None:
    with Store(root).turn(device, lambda: None):
        held.set()
        time.sleep(60)


def test_a_device_is_held_by_one_run_and_freed_when_that_is_killed(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=_hold, args=(store.results, held, "gpu:0"))
    other.start()
    assert held.wait(60)
    told = []

    def waiting() -> None:
        told.append("waits")
        os.kill(other.pid or 0, signal.SIGKILL)

    with store.turn("cpu", lambda: told.append("cpu was held too")):
        pass
    with store.turn("gpu:0", waiting):
        assert told == ["waits"]
    other.join()


def _work_and_die(root: Path) -> None:
    with Store(root).workspace() as folder:
        (folder / "half.npy").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_run_left_in_work_is_swept_and_others_work_is_not(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=_work_and_die, args=(store.results,))
    other.start()
    other.join()
    assert other.exitcode == -signal.SIGKILL
    with store.workspace() as mine:
        assert len(list((store.root / "work").iterdir())) == 2
        Store(store.results)
        assert list((store.root / "work").iterdir()) == [mine]
    assert not mine.exists()


def test_what_an_earlier_run_of_this_process_left_in_a_circle_does_not_hold_the_store(
    store: Store,
) -> None:
    """Whether its outputs went depended on when Python last collected; a store in use is still respected."""
    gc.disable()
    try:
        circle: list[object] = [Store(store.results)]
        circle.append(circle)
        del circle
        with store.alone():
            pass
    finally:
        gc.enable()
    other = Store(store.results)
    with pytest.raises(StoreError, match="in use by another trt-matrix"), store.alone():
        pass
    assert other.results == store.results


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    with pytest.raises(ValueError, match="Out of range"):
        digest(float("nan"))


def test_json_is_whole_and_sorted(store: Store) -> None:
    fact = measurement(store)
    store.keep(fact, fact.fingerprint)
    text = (store.root / "facts" / "measurement" / f"{fact.fingerprint}.json").read_text()
    assert list(json.loads(text)) == sorted(json.loads(text))


# What a run wrote of itself


def finished(store: Store) -> RunFolder:
    run = store.new_run("demo", NOW)
    run.write_record(new_record("a", measurements=(measurement(store),)))
    run.write_manifest(new_manifest(run_id=run.id, baseline="a", images=4, cells=("a/cpu/fp32",)))
    return run


def told_of(store: Store, run: RunFolder) -> list[str]:
    told: list[str] = []
    again = finished_run(run.id, store.results, told.append)
    again.manifest()
    again.records()
    again.records()
    return told


def test_a_run_that_nobody_touched_is_read_without_a_word(store: Store) -> None:
    run = finished(store)
    assert told_of(store, run) == []
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=run.folder, check=False)
        assert done.returncode == 0


@pytest.mark.parametrize("name", ["manifest.json", "records/a/cpu/fp32.json"])
def test_a_changed_file_of_a_run_is_taken_as_it_is_and_told_once(store: Store, name: str) -> None:
    run = finished(store)
    path = run.folder / name
    # One bit of a digit: still JSON, and of the right shape.
    path.write_text(path.read_text().replace("2026", "2027").replace('"repeat": 0', '"repeat": 1'))
    [text] = told_of(store, run)
    assert str(path) in text
    assert "changed since the run ended" in text
    assert "run `trt-matrix run` again" in text


def test_a_run_of_before_there_were_checksums_is_taken_as_it_is(store: Store) -> None:
    run = finished(store)
    (run.folder / CHECKSUMS).unlink()
    path = run.folder / "manifest.json"
    path.write_text(path.read_text().replace("2026", "2027"))
    assert told_of(store, run) == []


@pytest.mark.parametrize("content", ["", "nonsense\n", "0" * 64 + "  ../../evil\n", "\xff\x00"])
def test_checksums_that_are_damaged_themselves_harm_nothing(store: Store, content: str) -> None:
    run = finished(store)
    (run.folder / CHECKSUMS).write_text(content, "latin-1")
    assert told_of(store, run) == []


def test_a_run_killed_while_it_is_written_again_warns_of_nothing(store: Store) -> None:
    run = finished(store)
    before = run.records()[0]
    run.write_record(before.model_copy(update={"reused": 1}))  # and no manifest after it
    assert told_of(store, run) == []
    run.write_manifest(run.manifest().model_copy(update={"name": "other"}))
    assert told_of(store, run) == []
    assert run.manifest().name == "other"
