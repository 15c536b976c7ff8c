"""What a job says reaches a terminal, a spreadsheet or a reader as text, and as nothing else."""

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.fakes.environment import HONEST, ScriptedEnvironment
from tests.unit.matrices import Trial
from tests.unit.passes import FP32
from trt_matrix.commands.console import PlainProgress, Terminal
from trt_matrix.core.cells import Status
from trt_matrix.core.words import one_line, visible
from trt_matrix.environments.docker.failures import of_output, of_start
from trt_matrix.environments.log import readable
from trt_matrix.errors import StoreError
from trt_matrix.report.frames import _csv
from trt_matrix.ticket.verifying import verify

ROOT = Path(__file__).parents[2]
STEERING = {
    "clear": "\x1b[2J", "title": "\x1b]0;owned\x07", "c1": "\x9b31m", "back": "safe\b\b\b\bevil",
    "return": "safe\revil", "reversed": "a\u202egpj.exe", "null": "a\0b", "hidden": "a\u200bb",
}  # fmt: skip


def steers(text: str) -> bool:
    return any(
        (ord(one) < 32 and one not in "\n\t") or 0x7F <= ord(one) < 0xA0 for one in text
    ) or any(one in text for one in "\u202e\u200b\u2066")


@given(st.text())
def test_whatever_is_shown_steers_nothing_and_loses_nothing(text: str) -> None:
    assert not steers(visible(text))
    assert visible(visible(text)) == visible(text)
    visible(text).encode()
    assert "\n" not in one_line(text)
    if text.isprintable():
        assert visible(text) == text


@pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)
@pytest.mark.parametrize("kind", ["plain", "terminal"])
def test_progress_shows_what_a_job_says_and_does_not_do_it(kind: str, text: str) -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream) if kind == "plain" else Terminal(stream)
    if isinstance(progress, PlainProgress):
        progress.last = -1e9  # a stage is told at once
    else:
        progress.console = Console(file=stream, width=200)  # no terminal: no colours of our own
    progress.stage("a/cpu", text)
    progress.note(text)
    progress.warn(text)
    progress.done(text, Status.CRASHED, f"{text}\nok          b/cpu/fp32  1.0 s")
    assert not steers(stream.getvalue())
    assert not any(line.startswith("ok ") for line in stream.getvalue().splitlines())


@pytest.mark.parametrize("split", range(1, 8))
def test_a_log_steers_no_terminal_however_it_is_cut(split: int) -> None:
    said = "a\x1b[31mred\x9b2Jc\x07é\n\tdone".encode()
    chunks = [said[start : start + split] for start in range(0, len(said), split)]
    assert b"".join(readable(chunks)).decode() == "a␛[31mred?2Jc?é\n\tdone"


def test_what_a_job_says_of_its_failure_is_one_line_of_text(tmp_path: Path) -> None:
    script = HONEST.replace(
        "answer(one)",
        "stage(chr(27) + '[2J'); answer(one, status='job_failed', "
        "error={'type': 'E', 'message': chr(27) + ']0;owned' + chr(7)})",
    )
    script = f"print(chr(27) + '[2J', flush=True)\n{script}"
    trial = Trial(tmp_path, ScriptedEnvironment("a", [script]), passes=[FP32], repeats=1)
    trial.records()
    (log,) = (trial.run.folder / "logs").rglob("*.log")
    assert log.read_text() == "␛[2J\n"


def command(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "trt_matrix", *arguments],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False, **options,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = command("schema", stdout=full)
    assert done.returncode == 5
    assert done.stderr == (
        "error: stdout cannot be written (No space left on device); what was asked for is stored\n"
    )


def test_an_error_shows_a_hostile_path_and_does_not_follow_it(tmp_path: Path) -> None:
    path = tmp_path / "\x1b]0;owned\x07.yaml"
    done = command("plan", "-c", str(path), stdout=subprocess.DEVNULL)
    assert done.returncode == 2
    assert not steers(done.stderr)
    assert "U+001B" in done.stderr or "x1b" in done.stderr


SLEEPER = """
import os, signal, sys, time
from trt_matrix import cli
from trt_matrix.commands import session
def sleeping(*_, **__):
    try:
        print("started", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        print("cleaned", file=sys.stderr, flush=True)
session.run_experiment = sleeping
sys.argv = ["trt-matrix", "run", "--quiet"]
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_is_an_interrupt(number: signal.Signals, ignored: bool) -> None:
    prelude = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n" if ignored else ""
    process = subprocess.Popen(
        [sys.executable, "-c", prelude + SLEEPER], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stderr
    assert process.stderr.readline() == "started\n"
    process.send_signal(number)
    if ignored:
        time.sleep(0.5)
        assert process.poll() is None
        process.kill()
        process.communicate()
        return
    assert "cleaned" in process.communicate(timeout=20)[1]
    assert process.returncode == 130


def test_a_table_starts_no_program() -> None:
    hostile = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "plain", None]
    numbers = [-1.5, 1.0, -2.0, 0.0, 0.0, 0.0, 0.0, None]
    table = [{"a": a, "number": number} for a, number in zip(hostile, numbers, strict=True)]
    rows = list(csv.DictReader(io.StringIO(_csv(["a", "number"], table).decode(), newline="")))
    assert [row["a"] for row in rows[:6]] == [f"'{visible(one or '')}" for one in hostile[:6]]
    assert rows[6]["a"] == "plain"
    assert rows[0]["number"] == "-1.5"


def test_a_broken_init_is_not_told_as_another_processor_alone() -> None:
    said = "OCI runtime create failed: exec /usr/local/bin/init: exec format error: unknown"
    for told in (of_start(said), of_output(1, said) or ""):
        assert "its init or Python is damaged" in told
        assert "another one" in told


@pytest.mark.parametrize("before", [b"#!/bin/sh\necho owned\n", b"\0", b"PK\x03\x04"])
def test_a_ticket_begins_with_its_first_member(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ticket/ticket.json", "{}")
    path.write_bytes(before + path.read_bytes())
    with pytest.raises(StoreError, match=f"{len(before)} bytes stand before the first member"):
        verify(path)


def test_a_ticket_has_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ticket/ticket.json", "{}")
        archive.comment = b"a payload"
    with pytest.raises(StoreError, match="9 bytes of comment"):
        verify(path)


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\u202eb", "a\x7f"])
def test_a_ticket_has_no_names_that_steer(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"ticket/{name}", "")
    with pytest.raises(StoreError) as caught:
        verify(path)
    assert not steers(str(caught.value))


def test_output_that_nobody_can_read_ends_no_run() -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    progress = PlainProgress(stream)
    progress.note("nobody reads this")
    progress.warn("nor this")
    with contextlib.suppress(BrokenPipeError):  # what is left in its buffer
        stream.close()
