"""Packed here, run by run-pack.py as on another machine, merged: the same numbers as run directly."""

import contextlib
import json
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.archives import Change, changed, files_of, resealed, unpack, with_values, write
from tests.unit.matrices import Told
from tests.unit.programs import ran
from tests.unit.trips import Trip, experiment
from trt_matrix.commands import session
from trt_matrix.errors import NothingSelectedError, StoreError
from trt_matrix.packs.merging import merge
from trt_matrix.packs.packing import Packed, pack


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    return Trip(tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def first(trip: Trip) -> Packed:
    packed = trip.pack()
    trip.carry(packed)
    return packed


def test_two_trips_give_the_numbers_of_a_direct_run(trip: Trip, first: Packed) -> None:
    assert [request.rpartition("@")[2] for request in first.requests] == [
        "calibrate", "repeat-0", "repeat-1",
    ]  # fmt: skip
    merged = merge(trip.answers, trip.results)
    assert merged.environments == {"lab": 1 + 2 * 2}
    assert merged.failed == 0
    # Before a run takes them in, the plan says what came back; own tables wait for the calibration.
    planned = session.plan_experiment(trip.matrix, trip.results, select=["lab/*"])
    assert dict(planned.known) == {"lab/cpu/fp32": 2, "lab/cpu/int8-shared-entropy": 2}
    assert "known: 2 repeats reused" in planned.text()
    rows = trip.rows()
    for name, head in (("fp32", "large"), ("int8-shared-entropy", "small")):
        here, there = rows["here", name, head], rows["lab", name, head]
        assert there["status"] == "ok"
        assert there["repeats"] == "2"
        assert there["nmse"] == here["nmse"]
        assert "here/cpu/" in there["identical_to"]
        assert float(there["latency_median_s"]) > 0
    repeats = [trip.began("repeat-0"), trip.began("repeat-1")]
    assert trip.started("lab/cpu/fp32") == repeats
    assert "" not in repeats
    # Own tables are known only now, so that their networks go out with the second pack.
    own = rows["lab", "int8-own-minmax", "small"]
    assert own["status"] == "unavailable"
    assert "`trt-matrix pack` again" in own["reason"]

    second = trip.pack()
    assert [request.rpartition("@")[2] for request in second.requests] == ["repeat-0", "repeat-1"]
    assert "2 job starts" in second.text()
    trip.carry(second)
    assert merge(trip.answers, trip.results).environments == {"lab": 2}
    rows = trip.rows()
    assert {row["status"] for row in rows.values()} == {"ok"}
    own, here = rows["lab", "int8-own-minmax", "small"], rows["here", "int8-own-minmax", "small"]
    assert own["nmse"] == here["nmse"]
    with pytest.raises(NothingSelectedError, match="nothing to pack"):
        trip.pack()


def test_without_a_name_only_what_is_elsewhere_is_packed(tmp_path: Path) -> None:
    matrix = experiment(tmp_path)
    arguments: dict[str, Any] = {"select": [], "progress": Told()}
    with pytest.raises(
        NothingSelectedError, match="no `elsewhere:` environment; name what to pack"
    ):
        pack(matrix, tmp_path / "results", tmp_path / "pack.tar", **arguments)
    far = "  - {elsewhere: [far], engine: onnxruntime}\n"
    matrix.write_text(matrix.read_text() + far)
    packed = pack(matrix, tmp_path / "results", tmp_path / "pack.tar", **arguments)
    assert {request.partition("@")[0] for request in packed.requests} == {"far"}


def test_when_it_ran_is_not_known_of_packs_that_did_not_say(tmp_path: Path) -> None:
    """The time of taking it in is no time of measuring: latencies of other hours would be compared."""
    trip = Trip(tmp_path)
    trip.carry(trip.pack())
    merge(trip.answers, trip.results)
    kept = list((trip.results / ".store" / "merged" / "lab").glob("*/ending.json"))
    assert kept
    for path in kept:
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": ""}))
    old = json.loads(kept[0].read_text())
    del old["started"]
    kept[0].write_text(json.dumps(old))
    trip.rows("lab/cpu/fp32", "lab/cpu/int8-shared*")
    assert trip.started("lab/cpu/fp32") == ["", ""]


def test_what_ended_is_kept_when_it_is_run_again(trip: Trip, first: Packed) -> None:
    trip.carry(first)
    work = trip.lab / "pack" / "work"
    calibrated = (work / "lab@cpu@calibrate" / "done.json").stat().st_mtime_ns
    repeat = work / "lab@cpu@repeat-0"
    passes = repeat / "start-1" / "result" / "passes"
    kept = (passes / "fp32" / "pass.json").stat().st_mtime_ns
    # As an interruption in the second pass leaves it.
    (repeat / "done.json").unlink()
    (repeat / "start-1" / "ending.json").unlink()
    (passes / "int8-shared-entropy" / "pass.json").unlink()
    (work / "lab@cpu@repeat-1" / "done.json").unlink()
    (work / "lab@cpu@repeat-1" / "start-1" / "request" / "request.json").unlink()
    said = trip.run()
    assert "[1/3] lab@cpu@calibrate: 1 of 1 answered\n" in said
    assert "[2/3] lab@cpu@repeat-0: 2 of 2 answered\n" in said
    assert "[3/3] lab@cpu@repeat-1: 2 of 2 answered\n" in said
    assert (work / "lab@cpu@calibrate" / "done.json").stat().st_mtime_ns == calibrated
    assert (passes / "fp32" / "pass.json").stat().st_mtime_ns == kept
    again = json.loads((repeat / "start-2" / "request" / "request.json").read_text())
    assert [pass_["name"] for pass_ in again["passes"]] == ["int8-shared-entropy"]
    merged = merge(trip.answers, trip.results)
    assert (merged.environments, merged.failed) == ({"lab": 5}, 0)


def test_a_job_that_dies_there_has_failed_here(tmp_path: Path) -> None:
    trip = Trip(tmp_path)
    packed = trip.pack()
    python = tmp_path / "python"
    # It can be asked whether it has the engine, and dies of the job.
    asked = f'[ "$1" = -c ] && exec {sys.executable} "$@"'
    python.write_text(f"#!/bin/sh\n{asked}\necho out of order >&2\nkill -SEGV $$\n")
    python.chmod(0o755)
    assert "0 of 2 answered; out of order" in trip.carry(packed, "--python", str(python))
    merged = merge(trip.answers, trip.results)
    assert merged.failed == 5
    assert "5 of them failed there" in merged.text()
    rows = trip.rows()
    broken = rows["lab", "fp32", "small"]
    assert broken["status"] == "crashed"
    assert "SIGSEGV" in broken["reason"]
    assert rows["here", "fp32", "small"]["status"] == "ok"


def test_a_wrong_python_is_noticed_before_any_job_and_can_be_tried_again(
    trip: Trip, first: Packed, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no packages
    dead = tmp_path / "dead"
    dead.write_text("#!/bin/sh\nexit 3\n")
    for python, words in (
        ("/nowhere/python", "cannot start /nowhere/python"),
        (
            str(bare),
            "bare cannot run jobs of onnxruntime: ModuleNotFoundError: No module named 'numpy'",
        ),
        (str(dead), "dead cannot run jobs of onnxruntime: it ended with 3"),
    ):
        if python != "/nowhere/python":
            Path(python).chmod(0o755)
        shutil.rmtree(trip.lab, ignore_errors=True)
        unpack(first.file, trip.lab)
        done = ran(sys.executable, "pack/run-pack.py", "--python", python, code=2, cwd=trip.lab)
        assert words in done.stderr
        assert "nothing was run" in done.stderr
        assert not (trip.lab / "pack" / "work").exists()
        assert not trip.answers.exists()
    assert "[1/1] lab@cpu@calibrate: 1 of 1 answered" in trip.run("--only", "*calibrate*")


def test_what_goes_back_is_compressed(trip: Trip, answers: Path) -> None:
    with tarfile.open(answers, "r:gz") as archive:
        assert archive.getmember("results.json").isfile()


def test_a_damaged_pack_is_not_run(trip: Trip, first: Packed) -> None:
    trip.carry(first, "--only", "*calibrate*")
    victim = min((trip.lab / "pack" / "objects").glob("*.onnx"))
    victim.write_bytes(victim.read_bytes()[:-1])
    done = ran(sys.executable, "pack/run-pack.py", code=2, cwd=trip.lab)
    assert f"damaged, pack again or copy again: objects/{victim.name}" in done.stderr


# What comes back may be damaged, mixed up or hostile


@pytest.fixture(scope="module")
def answers(trip: Trip, first: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    trip.carry(first)
    return Path(shutil.copy(trip.answers, tmp_path_factory.mktemp("answers")))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"small.npy": lambda content: content[:-1] + b"\x7f"}, r"changed on the way: lab@cpu@.*small\.npy"),
        ({"small.npy": None}, "changed on the way"),
        ({"results.json": None}, r"results\.json is missing or damaged"),
        ({"results.json": with_values(pack="../../manifest")}, r"results\.json is missing or damaged \(pack: "),
    ],
)  # fmt: skip
def test_what_was_changed_on_the_way_is_refused(
    trip: Trip, answers: Path, tmp_path: Path, changes: dict[str, Change], told: str
) -> None:
    archive = write(tmp_path / "r.tar", changed(files_of(answers), changes))
    with pytest.raises(StoreError, match=told):
        merge(archive, trip.results)


def test_answers_to_another_pack_are_refused(answers: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="answers a pack that was not made from"):
        merge(answers, tmp_path / "results")


def test_links_are_refused(trip: Trip, tmp_path: Path) -> None:
    path = tmp_path / "r.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(StoreError, match="no plain file below the archive"):
        merge(path, trip.results)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x00" * 600])
def test_what_is_no_archive(trip: Trip, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.tar"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"r\.tar: "):
        merge(path, trip.results)
    with pytest.raises(StoreError, match="absent"):
        merge(tmp_path / "absent.tar", trip.results)


def named(name: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        request = json.loads(content)
        for pass_ in request["passes"]:
            pass_["name"] = name
        return json.dumps({**request, "passes": request["passes"]}).encode()

    return change


DEEP = b"[" * 100_000

REQUEST, ENDING = "request/request.json", "ending.json"


@pytest.mark.parametrize(
    "changes",
    [
        {REQUEST: named("../../../evil")},
        {REQUEST: named("/tmp/evil")},
        {REQUEST: named("n" * 5000)},
        {REQUEST: named("a\0b")},
        {REQUEST: named("\x1b[2J")},
        {REQUEST: named(7)},
        {REQUEST: named(None)},
        {REQUEST: DEEP},
        {REQUEST: b"{}"},
        {REQUEST: b"null"},
        {REQUEST: b"\xff"},
        {REQUEST: None},
        {REQUEST: with_values(passes=7)},
        {REQUEST: with_values(passes=[[]])},
        {REQUEST: with_values(calibration=[1])},
        {REQUEST: with_values(timing={"a": 1e308})},
        {ENDING: DEEP},
        {ENDING: b"[]"},
        {ENDING: with_values(failed="all")},
        {ENDING: with_values(failed=["../../../evil"])},
        {ENDING: with_values(wall_s=1e308)},
        {ENDING: with_values(wall_s=-1)},
        {ENDING: with_values(signal="x")},
        {ENDING: with_values(signal=10**30)},
        {ENDING: with_values(command=7)},
        {ENDING: with_values(exit_code=10**400)},
        {"job.log": None},
    ],
)
def test_an_archive_that_means_harm_is_refused_and_nothing_kept(
    trip: Trip, answers: Path, tmp_path: Path, changes: dict[str, Change]
) -> None:
    results = tmp_path / "results"
    shutil.copytree(trip.results / ".store/packs", results / ".store/packs")
    with pytest.raises(StoreError, match=r"r\.tar: ") as caught:
        merge(resealed(answers, tmp_path / "r.tar", changes), results)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()
    assert not (results / ".store/merged").exists()
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((one, "no plain file below the archive") for one in ("../outside", "/outside", "a/../../outside")),
        *((one, r"r\.tar: ") for one in ("/".join("d" * 3000), "n" * 300, "a\x1b[2J", "a/./b", "C:/x", "a\\b", "\udcff", "a\nb")),
    ],
)  # fmt: skip
def test_every_name_in_an_archive_goes_through_one_check(
    trip: Trip, tmp_path: Path, name: str, told: str
) -> None:
    with pytest.raises(StoreError, match=told) as caught:
        merge(write(tmp_path / "r.tar", {name: b""}), trip.results)
    assert str(caught.value).isprintable()


def test_no_damage_of_an_archive_ends_in_a_traceback(
    trip: Trip, answers: Path, tmp_path: Path
) -> None:
    content = answers.read_bytes()
    random_ = random.Random(21)
    path = tmp_path / "r.tar"
    for number in range(200):
        damaged = bytearray(content)
        for _ in range(1 + number % 4):
            # Headers and JSON rather than arrays: there is more to go wrong.
            at = random_.randrange(0, len(damaged), 512) + random_.randrange(512)
            damaged[at % len(damaged)] = random_.randrange(256)
        path.write_bytes(damaged[: random_.choice([len(damaged), random_.randrange(len(damaged))])])
        with contextlib.suppress(StoreError):
            merge(path, trip.results)


def test_the_oldest_python_found_runs_the_pack(trip: Trip, first: Packed) -> None:
    older = [path for minor in range(5, 11) if (path := shutil.which(f"python3.{minor}"))]
    older = [
        path
        for path in older
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
    ]
    if not older:
        pytest.skip("no Python from 3.5 to 3.10 on PATH")
    trip.carry(first, "--only", "nothing-yet", expected=2)
    said = ran(
        older[0],
        "pack/run-pack.py",
        "--only",
        "*calibrate",
        "--python",
        sys.executable,
        cwd=trip.lab,
    ).stdout
    assert "lab@cpu@calibrate: 1 of 1 answered" in said
