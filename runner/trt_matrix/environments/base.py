"""What every kind of environment offers: it is prepared once, then starts jobs.

Kinds never read results and never judge; they start a process or a container, watch it, stop it at
its deadline and say how it ended.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trt_matrix.core.cells import Status

Tick = Callable[[], None]
"""Called several times a second while a job runs; the host collects finished passes in it."""

Transfer = Callable[[str, int, int], None]
"""Called while something large is fetched: what (a layer), how many bytes of it are here, of how many."""


PACKED = "packed"
"""Kind of an environment whose jobs run elsewhere, as its identity calls it."""


def untold(what: str, done: int, total: int) -> None:
    """A Transfer that tells nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What an environment is, known before anything runs in it.

    `fingerprint` decides reuse: two environments with an equal one give equal numbers. `facts` go
    into every record (package names with versions and hashes, interpreter, image digest).
    """

    fingerprint: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a started job ended, as seen from outside. Evidence only: no reading of its results."""

    exit_code: int | None
    """None where it was ended by a signal or never started."""
    signal: int | None = None
    timed_out: bool = False
    oom_killed: bool = False
    error: str | None = None
    """What the environment itself said (no such file, engine error), not what the job said."""
    stopped: str | None = None
    """Why the host stopped it before its deadline."""
    command: tuple[str, ...] = field(default=())
    started: str | None = None
    """When, where that was not when it was asked for: ISO 8601, UTC; empty where nobody knows."""
    wall_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRun:
    """A job that is to run: `python -m job request result`."""

    request: Path
    """Folder of request.json and of the files that it names."""
    result: Path
    """Empty folder for its answer."""
    log: Path
    """Takes its stdout and stderr."""
    deadline_s: float
    tick: Tick = lambda: None
    device: str = "cpu"
    run_id: str = ""
    """Marks what outlives a killed runner, so that it is found."""


class Environment(Protocol):
    """One environment of matrix.yaml."""

    @property
    def name(self) -> str:
        """Unique in the matrix: `ort-1.26.0`."""
        ...

    @property
    def engine(self) -> str:
        """`onnxruntime`, `tensorrt` or `python`."""
        ...

    def obstacle(self, device: str) -> str | tuple[Status, str] | None:
        """Why no job can run on `device` (`cpu`, `gpu:*`, …); None where one can. Fast, no downloads.

        A bare reason means `unavailable`.
        """
        ...

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        """Makes the environment (or finds it made); may take minutes and use the network.

        Raises:
            EnvironmentUnavailableError: it cannot be made here; says why and what to do.
        """
        ...

    def identity(self) -> Identity | None:
        """What `prepare` would return, if that is made already; never makes, downloads or waits."""
        ...

    def run(self, job: JobRun) -> Ending:
        """Runs a job to its end; on KeyboardInterrupt it is stopped before the exception goes on."""
        ...
