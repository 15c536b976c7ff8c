"""Jobs that mean harm, each with its attack: the host's files stay its own, and one cell alone fails."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from docker.models.containers import Container

from tests.fakes.environment import HONEST, ScriptedEnvironment
from tests.unit.hostile_jobs import BAD_ANSWERS, LINKS
from tests.unit.matrices import Trial, store_of
from tests.unit.passes import FP32, SHARED
from trt_matrix.core.cells import Status
from trt_matrix.core.records import Record
from trt_matrix.environments.docker import remote_files
from trt_matrix.environments.docker.remote_files import fetch_results
from trt_matrix.errors import EnvironmentUnavailableError
from trt_matrix.execution import quota
from trt_matrix.execution.answer_models import PassAnswer
from trt_matrix.execution.answers import AnswerError, ResultFolder
from trt_matrix.store.results import Store

SECRET = b"host's own file, of nobody's concern"


def run(tmp_path: Path, script: str, *, results_bytes: int | None = None) -> dict[str, Record]:
    """Runs a hostile job beside an honest one; returns the hostile one's records, by pass."""
    bad, well = ScriptedEnvironment("bad", [script]), ScriptedEnvironment("well")
    trial = Trial(
        tmp_path, bad, well, passes=[FP32, SHARED], repeats=1, results_bytes=results_bytes
    )
    records = trial.records()
    for record in records.values():
        trial.run.write_record(record)
        json.dumps(record.model_dump(mode="json"), allow_nan=False)
    for name in ("fp32", "int8-shared-entropy"):
        assert records[f"well/cpu/{name}"].status is Status.OK
    assert not list((trial.store.root / "work").iterdir()), "nothing is left behind"
    return {record.pass_.name: record for record in records.values() if record.environment == "bad"}


# 1: check, then use

SWAP = """
import os, sys
target, link = sys.argv[1:]
while True:
    os.rename(target, target + ".real")
    os.rename(link, target)
    os.rename(target, link)
    os.rename(target + ".real", target)
"""


def test_a_file_swapped_for_a_link_never_brings_a_host_file_in(tmp_path: Path) -> None:
    store, host = store_of(tmp_path), tmp_path / "host.npy"
    np.save(host, np.full((4, 200), 7, np.float32))  # valid: nothing but the link is wrong
    host.chmod(0o600)
    home = tmp_path / "result/passes/fp32"
    home.mkdir(parents=True)
    np.save(home / "small.npy", np.ones((4, 200), np.float32))
    (home / "link").symlink_to(host)
    told = {
        "schema_version": 1, "name": "fp32", "status": "ok", "error": None, "stages": {},
        "outputs": {"small": {"file": "small.npy", "shape": [4, 200]}}, "latency": None,
        "executed": None,
    }  # fmt: skip
    answer = PassAnswer.model_validate(told)
    swapping = subprocess.Popen(
        [sys.executable, "-c", SWAP, str(home / "small.npy"), str(home / "link")]
    )
    taken, end = set(), time.monotonic() + 5
    while time.monotonic() < end:
        answers = ResultFolder(tmp_path / "result")
        with contextlib.suppress(AnswerError):
            path = answers.output("fp32", "small", answer, images=4, shape=(4, 200))
            taken.add(store.adopt(path))
    swapping.kill()
    swapping.wait()
    assert [float(store.array(one).max()) for one in taken] == [1.0]
    assert (host.stat().st_mode & 0o777, host.stat().st_nlink) == (0o600, 1)


@pytest.mark.parametrize("attack", LINKS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_links_pipes_and_folders_bring_nothing_in(tmp_path: Path, attack: str, when: str) -> None:
    host = tmp_path / "host"
    host.write_bytes(SECRET)
    script = f"""
HOST = {str(host)!r}
one = request["passes"][0]
name = one["name"]
def attack():
    path = os.path.join(RESULT, "passes", name, "small.npy")
    if os.path.exists(path):
        os.unlink(path)
    {attack}
answer(one, **({{}} if {when!r} == "after" else {{"status": "ok"}}))
attack()
finish()
"""
    run(tmp_path, script)
    assert host.read_bytes() == SECRET
    assert SECRET not in [
        path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()
    ]


# 3: a tree without a bottom


def test_a_deep_folder_harms_neither_this_run_nor_the_next(tmp_path: Path) -> None:
    script = """
os.chdir(RESULT)
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chdir("/")
""" + HONEST.replace("finish()", "")
    deep = run(tmp_path, script)
    assert deep["fp32"].status is Status.CRASHED or deep["fp32"].status is Status.OK
    assert {record.status for record in run(tmp_path, HONEST).values()} == {Status.OK}


def test_what_a_killed_run_left_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    left = store.root / "work" / "killed"
    left.mkdir()
    handle = os.open(left, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    assert not list((Store(store.results).root / "work").iterdir())


# 4: one answer


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_an_answer_is_no_more_than_its_cells_failure(tmp_path: Path, what: str) -> None:
    script = f"""
one = request["passes"][0]
if one["name"] == "fp32":
    {BAD_ANSWERS[what]}
for one in request["passes"]:
    if one["name"] != "fp32":
        answer(one)
finish()
"""
    records = run(tmp_path, script)
    assert records["fp32"].status is Status.CRASHED
    assert records["fp32"].reason
    assert len(records["fp32"].reason) < 3000
    assert records["int8-shared-entropy"].status is Status.OK


@pytest.mark.parametrize(
    "attack",
    ["write('probe.json', {'engine': 'text', 'packages': 7})", "write('probe.json', '[' * 100000)",
     "write('stage.txt', chr(27) + '[2J' + 'x' * 10 ** 6)", "os.mkdir(os.path.join(RESULT, 'stage.txt'))"],
)  # fmt: skip
def test_what_is_shown_alone_costs_no_cell(tmp_path: Path, attack: str) -> None:
    script = HONEST.replace("finish()", "finish()\n" + attack)
    records = run(tmp_path, "stage = lambda text: None\n" + attack + script)
    assert {record.status for record in records.values()} == {Status.OK}


# 5: what was taken is nobody else's


def test_a_job_that_holds_its_file_open_changes_nothing_that_was_taken(tmp_path: Path) -> None:
    script = """
import time
held = []
for one in request["passes"]:
    answer(one, value=1.5)  # not what the reference gives: that is stored already
    for head, _ in request["heads"]:
        held.append(open(os.path.join(RESULT, "passes", one["name"], head + ".npy"), "r+b"))
time.sleep(1)  # the host takes them meanwhile
for stream in held:
    stream.seek(-8, 2)
    stream.write(b"\\xff" * 8)
    stream.flush()
finish()
"""
    records = run(tmp_path, script)
    store = store_of(tmp_path)
    for record in records.values():
        assert record.status is Status.OK
        for stored in record.measurements[0].outputs.values():
            assert store.has(stored)
            assert (store.array(stored) == 1.5).all()


# 7: how much


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("open(os.path.join(RESULT, 'large'), 'wb').write(b'x' * 30_000_000)", "left more than 0.0 GB"),
        ("[open(os.path.join(RESULT, str(n)), 'w').close() for n in range(300)]", "more than 200 files"),
        ("os.makedirs(os.path.join(RESULT, '/'.join('d' * 60)))", "folders without end"),
    ],
)  # fmt: skip
def test_a_job_that_leaves_too_much_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str, words: str
) -> None:
    monkeypatch.setattr(quota, "MOST_FILES", 200)
    script = f"""
import time
stage("build fp32")
{attack}
time.sleep(60)
"""
    records = run(tmp_path, script, results_bytes=20_000_000)
    for record in records.values():
        assert record.status is Status.CRASHED
        assert words in (record.reason or "")
    assert "in stage 'build fp32'" in (records["fp32"].reason or "")


def test_a_disk_that_a_job_filled_is_its_own_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "RESERVE_BYTES", 1 << 60)  # whatever is free is too little
    monkeypatch.setattr(quota, "LARGE_BYTES", 1_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2_000_000}))
    script = "import time\nopen(os.path.join(RESULT, 'large'), 'wb').write(b'x' * 3_000_000)\ntime.sleep(60)"
    records = run(tmp_path, script)
    assert {record.status for record in records.values()} == {Status.CRASHED}
    assert "it filled the disk with 0.0 GB" in (records["fp32"].reason or "")


# On another machine's engine: what comes back as an archive


class Returning:
    """A container whose results are this archive."""

    def __init__(self, members: list[tarfile.TarInfo]) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for member in members:
                archive.addfile(member, io.BytesIO(b"x" * member.size))
        self.content = stream.getvalue()

    def get_archive(self, path: str, chunk_size: int = 0) -> tuple[Iterator[bytes], object]:
        return iter([self.content]), {}


def member(name: str, size: int = 3, type_: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    tar_info = tarfile.TarInfo(f"results/{name}")
    tar_info.size, tar_info.type, tar_info.linkname = size, type_, "/etc/passwd"
    return tar_info


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "/".join("d" * 3000), "\x1b[2J", "n" * 300]
)
def test_no_name_in_what_comes_back_leads_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(EnvironmentUnavailableError) as caught:
        fetch_results(cast("Container", Returning([member(name)])), tmp_path)
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_links_do_not_come_back_and_files_do(tmp_path: Path) -> None:
    members = [
        member("link", 0, tarfile.SYMTYPE),
        member("hard", 0, tarfile.LNKTYPE),
        member("pipe", 0, tarfile.FIFOTYPE),
        member("a/b"),
    ]
    fetch_results(cast("Container", Returning(members)), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["b"]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_what_does_not_fit_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "RESERVE_BYTES", 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(EnvironmentUnavailableError, match="more than fits here"):
        fetch_results(cast("Container", Returning([member("a", 900), member("b", 200)])), tmp_path)
    assert not (tmp_path / "b").exists()
