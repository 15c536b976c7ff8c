"""Real processes, no fakes: what is tested is the operating system's side of a job."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.environments import process
from trt_matrix.environments.base import Ending, Tick
from trt_matrix.environments.log import BoundedLog
from trt_matrix.environments.process import run_process

NEVER_S = 600.0

Run = Callable[..., Ending]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(
        code: str, *, deadline_s: float = NEVER_S, tick: Tick = lambda: None, **options: Any
    ) -> Ending:
        return run_process(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={"PATH": os.defpath, **options.pop("env", {})},
            log=tmp_path / "job.log",
            deadline_s=deadline_s,
            tick=tick,
            **options,
        )

    return start


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def is_written(path: Path) -> bool:
    """Says whether a process id is in it, to its end; who is killed before never writes it."""
    return path.exists() and path.read_text().endswith("\n")


def read_pid(path: Path) -> int:
    wait_for(lambda: is_written(path))
    return int(path.read_text())


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "job.log").read_text()


SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def test_exit_code_output_and_surroundings(run: Run, tmp_path: Path) -> None:
    ending = run(
        """
        import os, sys
        print("out", os.getcwd(), sorted(os.environ), sys.stdin.read() == "")
        print("err", file=sys.stderr)
        sys.exit(3)
        """,
        env={"ONLY": "this", "LC_CTYPE": "C.UTF-8"},
    )
    assert (ending.exit_code, ending.signal, ending.timed_out, ending.error) == (
        3,
        None,
        False,
        None,
    )
    assert ending.command[0] == sys.executable
    assert ending.wall_s > 0
    assert str(tmp_path) in log_of(tmp_path)
    assert "['LC_CTYPE', 'ONLY', 'PATH'] True" in log_of(tmp_path)
    assert "err\n" in log_of(tmp_path)


def test_an_exit_code_over_128_is_no_signal(run: Run) -> None:
    ending = run("import sys; sys.exit(139)")
    assert (ending.exit_code, ending.signal) == (139, None)


def test_a_segmentation_fault_is_a_signal_and_leaves_no_core(run: Run, tmp_path: Path) -> None:
    ending = run("import ctypes; ctypes.string_at(0)")
    assert (ending.exit_code, ending.signal) == (None, signal.SIGSEGV)
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]


def test_a_kill_from_elsewhere_is_a_signal(run: Run) -> None:
    ending = run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert (ending.signal, ending.timed_out, ending.oom_killed) == (signal.SIGKILL, False, False)


def test_a_kill_while_the_kernel_counts_one_for_lack_of_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([4, 5])
    monkeypatch.setattr(process, "_oom_kills", lambda: next(counts))
    ending = run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert ending.oom_killed


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("missing", None, "No such file"),
        ("not-executable", "#!/bin/sh\n", "Permission denied"),
        ("not-a-program", "\x7fELFnonsense", "Exec format error"),
    ],
)
def test_a_program_that_cannot_start(
    tmp_path: Path, name: str, content: str | None, why: str
) -> None:
    program = tmp_path / name
    if content is not None:
        program.write_text(content)
        program.chmod(0o644 if name == "not-executable" else 0o755)
    ending = run_process(
        [str(program)],
        cwd=tmp_path,
        env={},
        log=tmp_path / "job.log",
        deadline_s=NEVER_S,
        tick=lambda: None,
    )
    assert (ending.exit_code, ending.signal) == (None, None)
    assert str(program) in (ending.error or "")
    assert why in (ending.error or "")


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    words = ["$HOME; echo no", "a b", "", "naïve\n", "x" * 100_000]
    code = "import sys; open('words', 'w').write(repr(sys.argv[1:]))"
    run_process(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={"PYTHONUTF8": "1"},
        log=tmp_path / "job.log",
        deadline_s=NEVER_S,
        tick=lambda: None,
    )
    assert (tmp_path / "words").read_text(encoding="utf-8") == repr(words)


def test_the_deadline_asks_first(run: Run, tmp_path: Path, hurry: None) -> None:
    ending = run(
        """
        import signal, sys, time
        def stop(*_):
            print("asked to stop", flush=True)
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        time.sleep(600)
        """,
        deadline_s=0.5,
    )
    assert ending.timed_out
    assert (ending.exit_code, ending.signal) == (7, None)
    assert "asked to stop" in log_of(tmp_path)


def test_the_deadline_kills_what_does_not_listen(run: Run, hurry: None) -> None:
    ending = run(STUBBORN + SLEEP, deadline_s=0.3)
    assert ending.timed_out
    assert (ending.exit_code, ending.signal) == (None, signal.SIGKILL)
    assert not ending.oom_killed
    assert 0.5 < ending.wall_s < NEVER_S


CHILD = """
    import os, subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", {code!r}], start_new_session={own_session})
    with open("child.pid", "w") as stream:
        print(child.pid, file=stream)
    {then}
"""


@pytest.mark.parametrize("own_session", [False, True])
def test_a_job_that_exits_leaves_no_child_behind(
    run: Run, tmp_path: Path, own_session: bool
) -> None:
    ending = run(CHILD.format(code=STUBBORN + SLEEP, own_session=own_session, then="os._exit(0)"))
    assert (ending.exit_code, ending.timed_out) == (0, False)
    assert not is_running(read_pid(tmp_path / "child.pid"))


@pytest.mark.parametrize("own_session", [False, True])
def test_the_deadline_kills_grandchildren_too(
    run: Run, tmp_path: Path, hurry: None, own_session: bool
) -> None:
    then = "child.wait()"
    ending = run(
        CHILD.format(code=STUBBORN + SLEEP, own_session=own_session, then=then), deadline_s=0.5
    )
    assert ending.timed_out
    assert not is_running(read_pid(tmp_path / "child.pid"))


def test_ticks_come_while_it_runs_and_see_its_files(run: Run, tmp_path: Path, hurry: None) -> None:
    seen = []
    run(
        "import time; open('pass', 'w').close(); time.sleep(0.5)",
        tick=lambda: seen.append((tmp_path / "pass").exists()),
    )
    assert seen[-1] is True
    assert len(seen) > 3


@pytest.mark.parametrize("exception", [KeyboardInterrupt, ValueError])
def test_an_interruption_stops_the_job_and_goes_on(
    run: Run, tmp_path: Path, hurry: None, exception: type[BaseException]
) -> None:
    def tick() -> None:
        if is_written(tmp_path / "child.pid"):
            raise exception

    with pytest.raises(exception):
        run(CHILD.format(code=SLEEP, own_session=False, then="child.wait()"), tick=tick)
    assert not is_running(read_pid(tmp_path / "child.pid"))


RUNNER = """
import sys
from pathlib import Path
from trt_matrix.environments.process import run_process
folder = Path(sys.argv[1])
run_process([sys.executable, "-c", sys.argv[2]], cwd=folder, env={}, log=folder / "job.log",
            deadline_s=600, tick=lambda: None)
"""


def start_runner(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a runner of its own, whose job has a stubborn child; returns it and the child."""
    code = textwrap.dedent(
        CHILD.format(code=STUBBORN + SLEEP, own_session=True, then="child.wait()")
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path), code], stderr=subprocess.PIPE
    )
    return runner, read_pid(tmp_path / "child.pid")


def test_a_runner_killed_with_9_leaves_nothing_behind(tmp_path: Path) -> None:
    runner, child = start_runner(tmp_path)
    with runner:
        assert is_running(child)
        runner.kill()
    wait_for(lambda: not is_running(child))


def test_a_runner_interrupted_from_the_keyboard_leaves_nothing_behind(tmp_path: Path) -> None:
    runner, child = start_runner(tmp_path)
    with runner:
        runner.send_signal(signal.SIGINT)
        assert runner.stderr
        assert b"KeyboardInterrupt" in runner.stderr.read()
    assert not is_running(child)


KEEPER_PID = "import os; print(os.getppid(), file=open('keeper.pid', 'w'), flush=True); " + SLEEP


def signal_keeper(folder: Path, number: int) -> Tick:
    """Returns a tick that sends `number` to the keeper once the job has told who that is."""

    def tick() -> None:
        path = folder / "keeper.pid"
        if path.exists() and path.read_text().endswith("\n"):
            os.kill(int(path.read_text()), number)
            path.unlink()

    return tick


def test_a_killed_keeper_takes_the_job_with_it(run: Run, tmp_path: Path, hurry: None) -> None:
    ending = run(KEEPER_PID, tick=signal_keeper(tmp_path, signal.SIGKILL))
    assert (ending.exit_code, ending.signal) == (None, None)
    assert "watched over the job was killed" in (ending.error or "")


def test_what_does_not_die_is_given_up(
    run: Run, tmp_path: Path, hurry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GIVE_UP_S", 0.5)
    ending = run(KEEPER_PID, tick=signal_keeper(tmp_path, signal.SIGSTOP), deadline_s=1)
    assert ending.timed_out
    assert "after SIGKILL" in (ending.error or "")


def test_a_flood_of_output_is_bounded_and_keeps_both_ends(run: Run, tmp_path: Path) -> None:
    ending = run(
        """
        import os
        print("first", flush=True)
        block = b"x" * (1 << 20)
        for _ in range(200):
            os.write(1, block)
        print("last")
        """,
        log_limit_bytes=1 << 20,
    )
    assert ending.exit_code == 0
    text = log_of(tmp_path)
    assert (tmp_path / "job.log").stat().st_size < (1 << 20) + 100
    assert text.startswith("first\n")
    assert text.endswith(("x\nlast\n", "xlast\n"))
    assert f"[... {(200 << 20) + len('first') + len('last') + 2 - (1 << 20):,} bytes" in text


def test_the_start_of_a_log_can_be_read_while_the_job_runs(
    run: Run, tmp_path: Path, hurry: None
) -> None:
    seen = []
    run(
        "import time; print('begun', flush=True); time.sleep(0.5)",
        tick=lambda: seen.append(log_of(tmp_path)),
    )
    assert seen[-1] == "begun\n"


def test_a_log_that_cannot_be_written_does_not_stop_the_job(tmp_path: Path) -> None:
    ending = run_process(
        [sys.executable, "-c", "print('x' * 1_000_000)"],
        cwd=tmp_path,
        env={},
        log=Path("/dev/full"),
        deadline_s=NEVER_S,
        tick=lambda: None,
    )
    assert ending.exit_code == 0
    assert "/dev/full: the log could not be written: No space left on device" in (
        ending.error or ""
    )


@given(chunks=st.lists(st.binary(max_size=40)), limit=st.integers(0, 60))
def test_a_bounded_log_is_what_was_written_less_the_middle(chunks: list[bytes], limit: int) -> None:
    everything = b"".join(chunks)
    stream = io.BytesIO()
    log = BoundedLog(stream, limit)
    for chunk in chunks:
        log.write(chunk)
    log.finish()
    assert log.cut_bytes == max(0, len(everything) - limit)
    if not log.cut_bytes:
        assert stream.getvalue() == everything
        return
    notice = f"\n[... {log.cut_bytes} bytes of output cut here ...]\n".encode()
    head = limit // 2
    assert (
        stream.getvalue()
        == everything[:head] + notice + everything[len(everything) - (limit - head) :]
    )
