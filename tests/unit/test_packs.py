"""Packed here, run by run-pack.py as on another machine, merged: the same numbers as run directly."""

import csv
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import networks
import numpy as np
import pytest
from archives import unpack
from matrices import Told
from PIL import Image

from job import run_pack
from runner import session
from runner.errors import NothingSelectedError, StoreError
from runner.packs.merging import merge
from runner.packs.packing import Packed, pack

MATRIX = """
name: tiny
model: {{onnx: tiny.onnx}}
heads: {{large: {{stride: 4}}, small: {{stride: 2}}}}
data:
  calibration: {{images: images}}
  evaluation: {{images: images}}
calibration: {{algorithms: [minmax], shared: entropy}}
repeats: 2
baseline: here
timing: {{min_samples: 2, max_samples: 3, max_s: 0.01, warm_up_max_s: 0.01}}
engines: {{onnxruntime: {{threads: 1}}}}
environments:
  - {{interpreter: {python}, name: here}}
  - {{interpreter: {python}, name: lab}}
"""


def experiment(folder: Path) -> Path:
    (folder / "images").mkdir()
    folder.joinpath("tiny.onnx").write_bytes(networks.detector().SerializeToString())
    random_ = np.random.default_rng(7)
    for index in range(3):
        pixels = random_.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    path = folder / "matrix.yaml"
    path.write_text(MATRIX.format(python=sys.executable))
    return path


class Trip:
    """One way there and back."""

    def __init__(self, folder: Path) -> None:
        self.matrix = experiment(folder)
        self.results = folder / "results"
        self.lab = folder / "lab"
        self.packs = 0

    def pack(self) -> Packed:
        self.packs += 1
        return pack(
            self.matrix, self.results, self.matrix.parent / f"pack-{self.packs}.tar",
            select=["lab/*"], progress=Told(),
        )  # fmt: skip

    def carry(self, packed: Packed, *arguments: str, expected: int = 0) -> str:
        shutil.rmtree(self.lab, ignore_errors=True)
        unpack(packed.file, self.lab)
        return self.run(*arguments, expected=expected)

    def run(self, *arguments: str, expected: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "pack/run-pack.py", *arguments],
            cwd=self.lab, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == expected, done.stderr
        return done.stdout

    @property
    def answers(self) -> Path:
        return self.lab / "pack" / "results.tar"

    def rows(self, *select: str) -> dict[tuple[str, str, str], dict[str, str]]:
        session.run_experiment(
            self.matrix, self.results, select=select, offline=True, progress=Told()
        )
        with (self.results / "latest" / "results.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        return {(row["environment"], row["pass"], row["head"]): row for row in rows}

    def started(self, cell: str) -> list[str]:
        """Returns when each repeat was started, as the newest run tells it."""
        records = map(
            json.loads, map(Path.read_text, self.results.glob("latest/records/**/*.json"))
        )
        (record,) = (one for one in records if one["cell"] == cell)
        return [one["start"]["started"] for one in record["measurements"]]

    def began(self, name: str) -> str:
        """Returns when run-pack.py started this there."""
        ending = self.lab / "pack" / "work" / f"lab@cpu@{name}" / "start-1" / "ending.json"
        return str(json.loads(ending.read_text())["started"])


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    return Trip(tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def first(trip: Trip) -> Packed:
    packed = trip.pack()
    trip.carry(packed)
    return packed


def test_two_trips_give_the_numbers_of_a_direct_run(trip: Trip, first: Packed) -> None:
    assert [one.rpartition("@")[2] for one in first.requests] == [
        "calibrate", "repeat-0", "repeat-1",
    ]  # fmt: skip
    merged = merge(trip.answers, trip.results)
    assert merged.environments == {"lab": 1 + 2 * 2}
    assert merged.failed == 0
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
    assert [one.rpartition("@")[2] for one in second.requests] == ["repeat-0", "repeat-1"]
    assert "2 job starts" in second.text()
    trip.carry(second)
    assert merge(trip.answers, trip.results).environments == {"lab": 2}
    rows = trip.rows()
    assert {row["status"] for row in rows.values()} == {"ok"}
    own, here = rows["lab", "int8-own-minmax", "small"], rows["here", "int8-own-minmax", "small"]
    assert own["nmse"] == here["nmse"]
    with pytest.raises(NothingSelectedError, match="nothing to pack"):
        trip.pack()


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
    assert [one["name"] for one in again["passes"]] == ["int8-shared-entropy"]
    merged = merge(trip.answers, trip.results)
    assert (merged.environments, merged.failed) == ({"lab": 5}, 0)


def test_a_job_that_dies_there_has_failed_here(tmp_path: Path) -> None:
    trip = Trip(tmp_path)
    packed = trip.pack()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho out of order >&2\nkill -SEGV $$\n")
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


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    trip = Trip(tmp_path)
    trip.carry(trip.pack(), "--python", "/nowhere/python")
    merge(trip.answers, trip.results)
    row = trip.rows("lab/*")["lab", "fp32", "small"]
    assert row["status"] == "unavailable"
    assert "cannot start /nowhere/python" in row["reason"]


def test_a_damaged_pack_is_not_run(trip: Trip, first: Packed) -> None:
    trip.carry(first, "--only", "*calibrate*")
    victim = min((trip.lab / "pack" / "objects").glob("*.onnx"))
    victim.write_bytes(victim.read_bytes()[:-1])
    done = subprocess.run(
        [sys.executable, "pack/run-pack.py"],
        cwd=trip.lab,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"damaged, pack again or copy again: objects/{victim.name}" in done.stderr


# What comes back may be damaged, mixed up or hostile


def rewritten(source: Path, target: Path, change: object) -> Path:
    """Copies an archive member by member; `change(name, content)` gives the new content or None."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream
            content = change(member.name, stream.read())  # type: ignore[operator]
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return target


@pytest.fixture(scope="module")
def answers(trip: Trip, first: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    trip.carry(first)
    return Path(shutil.copy(trip.answers, tmp_path_factory.mktemp("answers")))


def test_a_changed_answer_is_refused(trip: Trip, answers: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        return content[:-1] + b"\x7f" if name.endswith("small.npy") else content

    with pytest.raises(StoreError, match=r"changed on the way: lab@cpu@.*small\.npy"):
        merge(rewritten(answers, tmp_path / "r.tar", change), trip.results)


def test_a_missing_and_an_added_file_are_refused(trip: Trip, answers: Path, tmp_path: Path) -> None:
    def drop(name: str, content: bytes) -> bytes | None:
        return None if name.endswith("small.npy") else content

    with pytest.raises(StoreError, match="changed on the way"):
        merge(rewritten(answers, tmp_path / "r.tar", drop), trip.results)
    with pytest.raises(StoreError, match=r"results\.json is missing or damaged"):
        merge(
            rewritten(answers, tmp_path / "r.tar", lambda n, c: None if n == "results.json" else c),
            trip.results,
        )


def test_answers_to_another_pack_are_refused(answers: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="answers a pack that was not made from"):
        merge(answers, tmp_path / "results")


def test_a_pack_id_is_no_path(trip: Trip, answers: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        if name != "results.json":
            return content
        return json.dumps(json.loads(content) | {"pack": "../../manifest"}).encode()

    with pytest.raises(StoreError, match="answers a pack that was not made from"):
        merge(rewritten(answers, tmp_path / "r.tar", change), trip.results)


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_nothing_is_written_outside(trip: Trip, tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(StoreError, match="no plain file below the archive"):
        merge(path, trip.results)


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


# The program that runs there, on its own


def test_who_is_to_blame_there() -> None:
    crash = {"error": None, "exit_code": None, "stage": "infer b"}
    assert run_pack.blamed(crash, ["b", "c"], True) == ["b"]
    assert run_pack.blamed({**crash, "stage": "probe"}, ["b", "c"], True) == []
    assert run_pack.blamed({**crash, "stage": None}, ["b", "c"], False) == ["b", "c"]
    assert run_pack.blamed({**crash, "exit_code": 0}, ["b", "c"], True) == ["b", "c"]


def test_a_container_gets_the_pack_read_only_and_no_network() -> None:
    options = run_pack.parser().parse_args(["--docker", "image:tag", "--gpus", "none"])
    start = f"{run_pack.HERE}/work/lab@cpu@repeat-0/start-1"
    command = run_pack.docker_command(start, options)
    assert command[:4] == ["docker", "run", "--rm", "--network=none"]
    assert f"{run_pack.HERE}:/pack:ro" in command
    assert "--gpus" not in command
    assert command[-5:] == [
        "image:tag", "-m", "job",
        "/pack/work/lab@cpu@repeat-0/start-1/request", "/pack/work/lab@cpu@repeat-0/start-1/result",
    ]  # fmt: skip


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
    said = subprocess.run(
        [older[0], "pack/run-pack.py", "--only", "*calibrate", "--python", sys.executable],
        cwd=trip.lab, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "lab@cpu@calibrate: 1 of 1 answered" in said
