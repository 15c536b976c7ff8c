"""How progress looks on a terminal, in a log, for a program, and when it should be quiet."""

import io
import json
import threading
import time

import pytest
from rich.console import Console

from trt_matrix.commands.console import JsonLines, PlainProgress, QuietProgress, Terminal, chosen
from trt_matrix.core.cells import Status
from trt_matrix.execution.progress import Progress


def play(progress: Progress) -> None:
    progress.expect(4)
    progress.note("waiting for another run to end")
    progress.warn("no shared table")
    progress.stage("ort-1/cpu", "infer fp32")
    progress.ended("ort-1/cpu")
    progress.done("ort-1/cpu/fp32", Status.OK, "1.5 s")
    progress.done("ort-2/cpu/fp32", Status.CRASHED, "[bold]ended by SIGSEGV[/]")
    progress.expect(-1)
    progress.done("ort-3/cpu/fp32", Status.OK, "reused", reused=True)


def test_plain_lines() -> None:
    stream = io.StringIO()
    with PlainProgress(stream) as progress:
        play(progress)
    assert stream.getvalue().splitlines() == [
        "waiting for another run to end",
        "warning: no shared table",
        "[1/4] ok          ort-1/cpu/fp32  1.5 s",
        "[2/4] crashed     ort-2/cpu/fp32  [bold]ended by SIGSEGV[/]",
        "[3/3] ok          ort-3/cpu/fp32  reused",
    ]


def test_a_long_step_shows_its_stage_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = PlainProgress(stream)
    for now in range(0, 40, 2):
        progress.stage("ort-1/cpu", f"calibrate {now}/128")
    assert stream.getvalue().splitlines() == [
        "[0/0] ort-1/cpu: calibrate 16/128",
        "[0/0] ort-1/cpu: calibrate 32/128",
    ]


def test_the_time_left_is_told_by_what_took_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.expect(10)
    progress.done("known", Status.OK, "reused", steps=4, reused=True)
    for step in range(1, 4):
        now = step * 10.0
        progress.done(f"step {step}", Status.OK, "10 s")
    lines = stream.getvalue().splitlines()
    assert "left" not in "".join(lines[:3])
    assert lines[3].endswith("(about 30 s left)")


def test_json_lines_are_one_object_each() -> None:
    stream = io.StringIO()
    with JsonLines(stream) as progress:
        play(progress)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "expect", "note", "warning", "done", "done", "expect", "done",
    ]  # fmt: skip
    assert events[4] == {
        "event": "done",
        "what": "ort-2/cpu/fp32",
        "status": "crashed",
        "detail": "[bold]ended by SIGSEGV[/]",
        "steps": 1,
        "reused": False,
    }


def test_quiet_tells_warnings_only() -> None:
    stream = io.StringIO()
    with QuietProgress(stream) as progress:
        play(progress)
    assert stream.getvalue() == "warning: no shared table\n"


def test_a_terminal_shows_what_a_job_said_literally() -> None:
    stream = io.StringIO()
    with Terminal(stream) as progress:
        play(progress)
        task = progress.bar.tasks[0]
        assert (task.completed, task.total) == (3, 3)
    text = stream.getvalue()
    assert "crashed" in text
    assert "[bold]ended by SIGSEGV[/]" in text
    assert "warning: no shared table" in text


def test_lines_of_several_threads_stay_whole() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)

    def notes() -> None:
        for _ in range(50):
            progress.note("x" * 50)

    threads = [threading.Thread(target=notes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(stream.getvalue().splitlines()) == {"x" * 50}


@pytest.mark.parametrize(
    ("quiet", "as_json", "kind"),
    [
        (False, False, PlainProgress),
        (True, False, QuietProgress),
        (False, True, JsonLines),
        (True, True, JsonLines),
    ],
)
def test_what_is_chosen_where_there_is_no_terminal(quiet: bool, as_json: bool, kind: type) -> None:
    assert type(chosen(quiet=quiet, as_json=as_json)) is kind


def test_several_places_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.stage("a/gpu:0", "build fp32")
    progress.stage("a/gpu:1", "infer fp32")
    progress.transfer("b: layer 1", 2_000_000, 5_000_000)
    now = 20.0
    progress.stage("a/gpu:1", "time fp32")
    progress.ended("b")
    progress.ended("a/gpu:0")
    now = 40.0
    progress.stage("a/gpu:1", "time fp32")
    assert stream.getvalue().splitlines() == [
        "[0/0] a/gpu:0: build fp32; a/gpu:1: time fp32; b: layer 1: 2.0 MB of 5.0 MB",
        "[0/0] a/gpu:1: time fp32",
    ]


def test_a_terminal_has_a_row_for_each_place_and_download() -> None:
    terminal = Terminal(io.StringIO())
    terminal.expect(12)
    terminal.stage("a/gpu:0", "build fp32")
    terminal.stage("a/gpu:1", "[infer] fp32")
    terminal.transfer("b: layer 1", 2_000_000, 5_000_000)
    terminal.stage("a/gpu:0", "infer fp32")
    screen = io.StringIO()
    Console(file=screen, width=100).print(terminal.bar.get_renderable())
    rows = [line.split() for line in screen.getvalue().splitlines()]
    assert rows[0][0] == "all"
    assert "0/12" in rows[0]
    assert rows[1] == ["a/gpu:0:", "infer", "fp32"]
    assert rows[2] == ["a/gpu:1:", "[infer]", "fp32"]
    assert rows[3][:3] == ["b:", "layer", "1"]
    assert "MB/5.0" in " ".join(rows[3])
    for where in ("a/gpu:0", "b", "never begun"):
        terminal.ended(where)
    assert [task.description for task in terminal.bar.tasks] == ["all", "a/gpu:1: \\[infer] fp32"]
