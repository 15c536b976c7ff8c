"""Runs one process to its end: with a deadline, a bounded log, and nothing left behind."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from trt_matrix.environments.base import Ending, Tick
from trt_matrix.environments.log import LOG_LIMIT_BYTES, LogPump

_CHUNK_BYTES = 1 << 16

KEEPER = Path(__file__).with_name("keeper.py")

TICK_S = 0.2
GRACE_S = 5.0
"""From SIGTERM to SIGKILL."""
GIVE_UP_S = 10.0
"""From SIGKILL to the moment when a process that does not die is given up."""


def run_process(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    deadline_s: float,
    tick: Tick,
    log_limit_bytes: int = LOG_LIMIT_BYTES,
) -> Ending:
    """Runs `command` without a shell, in a session of its own, and says how it ended.

    Whatever it started is killed with it, also when it ends by itself, when `tick` or
    KeyboardInterrupt raises (the exception then goes on), and when this process is killed.
    `env` is its whole environment; `log` takes stdout and stderr, bounded as `BoundedLog` does.
    `deadline_s` is from the start to SIGTERM; SIGKILL follows GRACE_S later. `tick` is called every
    TICK_S while the process runs, in the calling thread.
    """
    oom_kills = _oom_kills()
    started = time.monotonic()
    with _Keeper(log, log_limit_bytes) as keeper:
        keeper.order(_task(command, cwd, env))
        timed_out = _watch(keeper, started + deadline_s, tick)
    wall_s = time.monotonic() - started
    answer = keeper.answer()
    returncode = answer.get("returncode")
    ended_by = -returncode if returncode is not None and returncode < 0 else None
    errors = [answer.get("error")]
    if keeper.pump.error:
        errors.append(f"{log}: the log could not be written: {keeper.pump.error.strerror}")
    return Ending(
        exit_code=returncode if ended_by is None else None,
        signal=ended_by,
        timed_out=timed_out,
        # A SIGKILL from elsewhere, while the kernel counted a kill for lack of memory.
        oom_killed=ended_by == signal.SIGKILL and not timed_out and _oom_kills() > oom_kills,
        error="; ".join(filter(None, errors)) or None,
        command=tuple(command),
        wall_s=wall_s,
    )


def _watch(keeper: "_Keeper", deadline: float, tick: Tick) -> bool:
    """Waits for the end; returns whether `deadline`, a time of time.monotonic(), passed before it.

    After the deadline it asks the process to end and waits for the grace, no longer.
    """
    timed_out = False
    while not keeper.has_answered(TICK_S):
        tick()
        if time.monotonic() < deadline:
            continue
        if timed_out:
            break
        timed_out = True
        deadline = time.monotonic() + GRACE_S
        keeper.order(b"T")
    return timed_out


class _Keeper:
    """The host's side of keeper.py: on leaving the context, the process and all it started ended."""

    def __init__(self, log: Path, log_limit_bytes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C on the terminal is for the runner, which tells it on
        )
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._orders, self._answers, self._output = (cast("BinaryIO", pipe) for pipe in pipes)
        self._said = b""
        self._gave_up = False
        chunks = iter(lambda: os.read(self._output.fileno(), _CHUNK_BYTES), b"")
        self.pump = LogPump(chunks, log, log_limit_bytes)

    def __enter__(self) -> Self:
        self.pump.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._orders.close()
        try:
            self._process.wait(GIVE_UP_S)
        except subprocess.TimeoutExpired:
            self._gave_up = True
            self._process.kill()  # the job gets a SIGKILL by that, too
            self._process.wait()
        self._said = self._answers.read()
        self._answers.close()
        self.pump.join(GIVE_UP_S)
        if not self.pump.is_alive():
            self._output.close()

    def order(self, words: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died; its missing answer tells that
            self._orders.write(words)

    def has_answered(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def answer(self) -> dict[str, Any]:
        if self._said:
            answer: dict[str, Any] = json.loads(self._said)
            return answer
        if self._gave_up:
            return {
                "error": f"still there {GIVE_UP_S:.0f} s after SIGKILL, so it waits inside the "
                "kernel (a driver that hangs?): see `dmesg`; a restart may be needed"
            }
        return {"error": "the process that watched over the job was killed, and the job with it"}


def _task(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> bytes:
    task = {"command": list(command), "cwd": str(cwd), "env": dict(env)}
    return json.dumps(task).encode() + b"\n"


def _oom_kills() -> int:
    """Returns how many processes this kernel has killed for lack of memory; 0 where it is silent."""
    try:
        counters = Path("/proc/vmstat").read_text().split()
    except FileNotFoundError:
        return 0
    return int(counters[counters.index("oom_kill") + 1]) if "oom_kill" in counters else 0
