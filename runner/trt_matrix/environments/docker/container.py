"""Runs one container to its end: with a deadline, a bounded log, and nothing left behind."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from trt_matrix.environments.base import Ending, Tick
from trt_matrix.environments.docker import failures
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.options import ProcessLimits, WantedContainer
from trt_matrix.environments.log import LOG_LIMIT_BYTES, LogPump
from trt_matrix.errors import EnvironmentUnavailableError

TICK_S = 0.2
POLL_S = 0.02
"""Between the end of the output and that of the container, which are next to each other."""
GRACE_S = 5
"""From SIGTERM to SIGKILL."""
BACK_S = 30.0
"""How long an engine that went away in the middle of a job is waited for."""

Collect = Callable[[Container], None]
"""Takes what a container left before it is removed."""


def run_container(
    engine: Engine,
    wanted: WantedContainer,
    *,
    log: Path,
    deadline_s: float,
    tick: Tick,
    prepare: Collect | None = None,
    collect: Collect | None = None,
) -> Ending:
    """Creates, starts, watches and removes one container; on every path it is removed.

    `deadline_s` is from the start to SIGTERM; SIGKILL follows GRACE_S later. `tick` is called every TICK_S while it
    runs, `prepare` with the created container before its start, `collect` with the ended one.
    """
    while True:
        asked = replace(wanted, limits=engine.limits)
        try:
            return _run(engine, asked, log, deadline_s, tick, prepare, collect)
        except LimitsRefusedError:
            engine.limits = ProcessLimits(asked.limits + 1)


class LimitsRefusedError(Exception):
    """The engine has no right to raise the limits of a process so far: it is rootless, or nested."""


def _run(
    engine: Engine,
    wanted: WantedContainer,
    log: Path,
    deadline_s: float,
    tick: Tick,
    prepare: Collect | None,
    collect: Collect | None,
) -> Ending:
    started = time.monotonic()
    try:
        with (
            _container(engine, wanted, prepare) as container,
            _Log(engine, wanted, container, log) as output,
        ):
            started = time.monotonic()
            _start(engine, wanted, container)
            watched = _Watch(engine, container, output, started + deadline_s, tick)
            ending = watched.until_end()
            if collect:
                with engine.explained(failures.of_start):
                    collect(container)
    except EnvironmentUnavailableError as error:
        ending = Ending(exit_code=None, error=str(error))
    refusal = failures.of_output(_code(ending), _tail(log))
    return replace(
        ending,
        error=ending.error or (None if ending.timed_out else refusal),
        command=engine.command_line(wanted),
        wall_s=time.monotonic() - started,
    )


def _start(engine: Engine, wanted: WantedContainer, container: Container) -> None:
    with engine.explained(failures.of_start), _granted(wanted):
        container.start()


@contextlib.contextmanager
def _granted(wanted: WantedContainer) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        if wanted.limits < max(ProcessLimits) and failures.refuses_limits(str(error.explanation)):
            raise LimitsRefusedError from error
        raise


def ending_of(state: Mapping[str, Any], *, timed_out: bool) -> Ending:
    """Returns what the engine's `State` of an ended container tells.

    Containers tell a signal as 128 + its number, as shells do.
    """
    code = int(state.get("ExitCode", 0))
    ended_by = code - 128 if code - 128 in set(signal.Signals) else None
    return Ending(
        exit_code=None if ended_by else code,
        signal=ended_by,
        timed_out=timed_out,
        # The flag is also set where a child process was killed and the job went on.
        oom_killed=bool(state.get("OOMKilled")) and code != 0 and not timed_out,
        error=failures.of_start(state["Error"]) if state.get("Error") else None,
    )


@contextlib.contextmanager
def _container(
    engine: Engine, wanted: WantedContainer, prepare: Collect | None
) -> Iterator[Container]:
    with engine.explained(failures.of_start):
        container = engine.create(wanted)
    try:
        if prepare:
            with engine.explained(failures.of_start):
                prepare(container)
        yield container
    finally:
        _remove(container)


def _remove(container: Container) -> None:
    """Waits for an engine that went away; where it stays away, the sweep of the next start removes."""
    give_up = time.monotonic() + BACK_S
    while time.monotonic() < give_up:
        try:
            container.remove(force=True, v=True)
        except APIError as error:
            if error.is_client_error():  # it is gone, or another runner removes it now
                return
        except (DockerException, requests.RequestException, OSError):
            pass
        else:
            return
        time.sleep(TICK_S)


class _Log(contextlib.AbstractContextManager["_Log"]):
    """Reads a container's output along, from before its start."""

    def __init__(
        self, engine: Engine, wanted: WantedContainer, container: Container, path: Path
    ) -> None:
        # Podman makes the process here already, so refuses here what Docker refuses at the start.
        with engine.explained(failures.of_start), _granted(wanted):
            self._stream = container.attach(stdout=True, stderr=True, stream=True, logs=False)
        self.pump = LogPump(self._stream, path, LOG_LIMIT_BYTES)

    def __enter__(self) -> "_Log":
        self.pump.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Where the container never started, nothing would end its output.
        if self.pump.is_alive():
            self.pump.join(TICK_S)
        self._stream.close()
        self.pump.join(GRACE_S)
        # The SDK closes its socket, but not the response that holds the socket's last descriptor.
        self._stream._response.close()  # type: ignore[attr-defined]

    def wait(self, timeout_s: float) -> bool:
        """Returns whether the output has ended; waits no longer than `timeout_s` for that."""
        self.pump.join(timeout_s)
        return not self.pump.is_alive()


@dataclass(eq=False)
class _Watch:
    engine: Engine
    container: Container
    output: _Log
    deadline: float
    tick: Tick
    went_away: bool = False

    def until_end(self) -> Ending:
        timed_out = False
        while True:
            if self.output.wait(TICK_S):
                state = self._state()
                if state is None:
                    break
                if not state["Running"]:
                    return self._ending(state, timed_out=timed_out)
                time.sleep(POLL_S)
            self.tick()
            if time.monotonic() >= self.deadline and not timed_out:
                timed_out = True
                self._stop()
        return Ending(exit_code=None, error=f"{_AWAY}, and did not come back within {BACK_S:.0f} s")

    def _ending(self, state: Mapping[str, Any], *, timed_out: bool) -> Ending:
        ending = ending_of(state, timed_out=timed_out)
        if self.went_away and _code(ending) != 0:
            return replace(ending, error=f"{_AWAY}; run again to go on")
        if ending.signal == signal.SIGTERM and not timed_out:
            return replace(ending, error=_STOPPED)
        return ending

    def _stop(self) -> None:
        try:
            self.container.stop(timeout=GRACE_S)
        except (DockerException, requests.RequestException):
            self.went_away = not self.engine.answers()

    def _state(self) -> Mapping[str, Any] | None:
        """Returns the container's state; None where the engine went away and stays away."""
        give_up = time.monotonic() + BACK_S
        while time.monotonic() < give_up:
            try:
                self.container.reload()
            except NotFound:
                return {"Running": False, "ExitCode": 0, "Error": _REMOVED}
            except (DockerException, requests.RequestException, OSError):
                self.went_away = True
                self.tick()
                time.sleep(TICK_S)
            else:
                state: Mapping[str, Any] = self.container.attrs["State"]
                return state
        return None


_REMOVED = "the container was removed from outside; run again to go on"
_STOPPED = (
    "the container was stopped from outside (`docker stop`, or the Docker engine ended); run again "
    "to go on"
)
_AWAY = "the Docker engine stopped or was restarted while the job ran"


def _code(ending: Ending) -> int | None:
    """Returns the container's exit code, with signals as shells tell them."""
    return 128 + ending.signal if ending.signal is not None else ending.exit_code


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-4000:].decode(errors="replace")
    except FileNotFoundError:
        return ""
