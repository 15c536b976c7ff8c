"""Kills a real small run at chosen points, lets the next one go on, and compares what both judge.

    python -m tests.unit.killing --points 200

Half of the points are moments, spread over the time that a whole run takes. Half are before one of the calls
that make, write, link, rename or remove a file of the results, spread over all that a whole run makes: so each
also comes after the call before it. The run is killed by SIGKILL. Runs are forked from this process, which has
imported all; with --forked, so are their jobs: the same job and engine, without the start of a Python.
"""

import argparse
import ctypes
import dataclasses
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.unit import small_networks as networks
from tests.unit.experiments import noise_images, quick
from tests.unit.matrices import run_offline
from trt_matrix.containers.job.__main__ import main as job_main
from trt_matrix.environments import local
from trt_matrix.environments.base import Ending
from trt_matrix.environments.process import run_process
from trt_matrix.judging.judgement_file import JUDGEMENT
from trt_matrix.store.locks import held
from trt_matrix.store.results import Store

WRITES = frozenset(
    ("open", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod")
)  # fmt: skip
"""Audit events (PEP 578) of what changes files; of `open`, those that may write."""

MATRIX = quick(
    quantisation={"mixed": None},
    # One sample: of one duration no verdict follows, so none differs between two runs.
    timing={"min_samples": 1, "max_samples": 1, "max_s": 0.01, "warm_up_max_s": 0, "layer_runs": 0},
)

PDEATHSIG = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

VOLATILE = frozenset(
    ("run_id", "created", "seconds", "reused", "latency", "facts", "stages", "started")
)
"""What two whole runs differ in: names, times, and facts that hold times."""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """Where a run is killed."""

    after_s: float | None = None
    call: int | None = None
    """Before this call that changes a file of the results, counted from 0."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    point: Point
    killed: bool
    """Whether it was, before it ended."""
    equal: bool
    """Whether the next run judged what an undisturbed one does."""
    told: str = ""


def experiment(folder: Path) -> Path:
    """Writes a tiny experiment; returns where its matrix.yaml is."""
    (folder / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    noise_images(folder, 7, calibration=3, evaluation=3)
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(MATRIX))
    return path


def judged(results: Path) -> Any:
    """Returns the newest judgement without what two whole runs differ in."""

    def steady(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: steady(one) for key, one in value.items() if key not in VOLATILE}
        return [steady(one) for one in value] if isinstance(value, list) else value

    return steady(json.loads((results / "latest" / JUDGEMENT).read_text()))


def _run(matrix: Path, results: Path, *, forked: bool) -> None:
    if forked:
        local.run_process = _forked_job  # type: ignore[assignment, attr-defined]
    run_offline(matrix, results)


def _forked_job(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    deadline_s: float,
    tick: Callable[[], None],
) -> Ending:
    """Does what `run_process` does with a job, in a fork of this process."""
    if list(command[1:3]) != ["-m", "job"]:
        return run_process(command, cwd=cwd, env=env, log=log, deadline_s=deadline_s, tick=tick)

    def work() -> None:
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(written, 1)
        os.dup2(written, 2)
        if job_main(list(command[3:])):
            raise SystemExit(1)

    pid = _forked(work)
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        tick()
        time.sleep(0.02)
    return Ending(exit_code=os.waitstatus_to_exitcode(ended[1]), command=tuple(command))


def _forked(work: Callable[[], None]) -> int:
    """Returns the id of a process that does it: what is imported here, it need not import."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - of a fork nothing may go on above
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def _waited(pid: int) -> int:
    """Returns the exit code of a process, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _changes(event: str, arguments: tuple[Any, ...], results: str) -> bool:
    if event not in WRITES:
        return False
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return False
    # Names below a descriptor are relative: they count as well, and are this run's, too.
    return any(
        str(argument).startswith(results) or not str(argument).startswith("/")
        for argument in arguments[:2]
        if isinstance(argument, str | os.PathLike)
    )


def _killed_at(call: int, work: Callable[[], None], results: Path) -> None:
    seen = -1

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if _changes(event, arguments, str(results)):
            seen += 1
            if seen == call:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work()


def _counted(work: Callable[[], None], results: Path, path: Path) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += _changes(event, arguments, str(results))

    sys.addaudithook(hook)
    work()
    path.write_text(str(seen))


class Killing:
    """An experiment, and what an undisturbed run of it judges."""

    def __init__(self, folder: Path, *, forked: bool) -> None:
        self.forked = forked
        self.folder = folder
        self.matrix = experiment(folder)
        whole = folder / "whole"
        started = time.monotonic()
        if code := _waited(_forked(lambda: _counted(self._work(whole), whole, folder / "calls"))):
            message = f"the undisturbed run ended with {code}"
            raise RuntimeError(message)
        self.seconds = time.monotonic() - started
        self.calls = int((folder / "calls").read_text())
        self.expected = judged(whole)

    def _work(self, results: Path) -> Callable[[], None]:
        return functools.partial(_run, self.matrix, results, forked=self.forked)

    def points(self, number: int) -> list[Point]:
        moments = number // 2
        calls = number - moments
        return [
            *(Point(after_s=self.seconds * (one + 0.5) / moments) for one in range(moments)),
            *(Point(call=self.calls * one // calls) for one in range(calls)),
        ]

    def at(self, point: Point) -> Ended:
        """Kills a run there, lets the next go on."""
        results = self.folder / "killed"
        shutil.rmtree(results, ignore_errors=True)
        if point.call is not None:
            call = point.call
            pid = _forked(lambda: _killed_at(call, self._work(results), results))
        else:
            pid = _forked(self._work(results))
            time.sleep(point.after_s or 0)
            os.kill(pid, signal.SIGKILL)
        killed = _waited(pid) == -signal.SIGKILL
        code = _waited(_forked(self._work(results)))
        if code:
            return Ended(point, killed, False, f"the next run ended with {code}")
        left = [
            path.name for path in (results / Store.FOLDER / "work").iterdir() if not _in_use(path)
        ]
        if left:
            return Ended(point, killed, False, f"left in work: {left}")
        found = judged(results)
        return Ended(point, killed, found == self.expected, _first(found, self.expected))


def _in_use(folder: Path) -> bool:
    """Whether a job that was forked, and outlived its run, has the lock that it inherited: nobody may remove it yet."""
    try:
        with held(folder, wait=False):
            return False
    except BlockingIOError:
        return True


def _first(found: Any, expected: Any, where: str = "") -> str:
    """Returns the first place where two judgements differ; empty where they are one."""
    if found == expected:
        return ""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        return next(
            _first(found[k], expected[k], f"{where}.{k}") for k in found if found[k] != expected[k]
        )
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return next(_first(a, b, f"{where}[{i}]") for i, (a, b) in pairs if a != b)
    return f"{where}: {found!s:.80}, not {expected!s:.80}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--forked", action="store_true", help="jobs are forks of this process")
    parser.add_argument("--part", default="1/1", help="2/4: every fourth point, from the second on")
    options = parser.parse_args(arguments)
    first, parts = map(int, options.part.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        killing = Killing(Path(folder), forked=options.forked)
        print(
            f"a whole run: {killing.seconds:.1f} s, {killing.calls} calls that change files",
            flush=True,
        )
        ended = []
        for number, point in enumerate(killing.points(options.points)[first - 1 :: parts]):
            ended.append(killing.at(point))
            if not ended[-1].equal:
                print(ended[-1], flush=True)
            if number % 20 == 19:
                print(f"{number + 1} points", flush=True)
    equal = sum(one.equal for one in ended)
    print(
        f"{equal} of {len(ended)} judgements equal, {sum(one.killed for one in ended)} runs killed"
    )
    return 0 if equal == len(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
