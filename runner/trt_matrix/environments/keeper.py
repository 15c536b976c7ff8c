"""Stands between the runner and one job, so that no process outlives either of them.

A script of its own (`python -I -S keeper.py`; standard library only, imports nothing of runner):
only a parent process sees what its descendants do after the runner was killed with -9. It is the
subreaper of everything the job starts (prctl(2), PR_SET_CHILD_SUBREAPER), so that even a daemon
that left the job's process group comes back to it and is killed.

    stdin   one line of JSON {"command", "cwd", "env"}, then orders: each byte asks the job to end
            (SIGTERM to its group), end of file kills everything. The runner's death is one.
    stdout  one line of JSON: {"returncode"} as subprocess tells it, or {"error"}
    stderr  what the job prints
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def main() -> None:
    libc = ctypes.CDLL(None)
    if _LINUX:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    task = json.loads(_line())
    try:
        job = _start(task, libc)
    except OSError as error:
        _answer({"error": f"{task['command'][0]}: {error.strerror}"})
        return
    threading.Thread(target=_obey, args=(job,), daemon=True).start()
    returncode = job.wait()
    _sweep(job.pid)
    _answer({"returncode": returncode})


def _line() -> bytes:
    # Not sys.stdin: its buffer would swallow the orders that follow.
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("the runner ended before it said what to run")
        line += byte
    return bytes(line)


def _start(task: dict[str, Any], libc: ctypes.CDLL) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is told by its signal
        if _LINUX:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should this keeper itself be killed

    return subprocess.Popen(
        task["command"],
        cwd=task["cwd"],
        env=task["env"],
        stdin=subprocess.DEVNULL,
        stdout=2,
        stderr=2,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509  (one thread until the job is started)
    )


def _obey(job: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
    _kill(job.pid)


def _sweep(group: int) -> None:
    """Kills and reaps whatever the job left behind; its orphans become children of this process."""
    while True:
        _kill(group)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for pid in _children():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    # /proc/self/task/*/children would be shorter, but not every kernel is built with it.
    parent = str(os.getpid())
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name, in brackets, may hold blanks and brackets; then state and parent.
            if status.read_text(errors="replace").rpartition(")")[2].split()[1] == parent:
                children.append(int(status.parent.name))
    return children


def _answer(value: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the runner is gone: there is no one to tell
        os.write(1, json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
