"""Whose container is it: a label names the runner's process, so that the next start sweeps orphans.

A kill -9 leaves a container that nobody watches. A number of a process alone would not do: numbers
are given again, and each container and machine counts its own.
"""

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LABEL = "trt-matrix.owner"
RUN_LABEL = "trt-matrix.run"
ENVIRONMENT_LABEL = "trt-matrix.environment"


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """One process, named so that no other one ever has the same name."""

    machine: str
    boot: str
    """Changes with every start of the machine."""
    namespace: str
    """Of process numbers."""
    pid: int
    started: int
    """Clock ticks after the boot."""

    @property
    def text(self) -> str:
        return f"{self.machine}/{self.boot}/{self.namespace}/{self.pid}/{self.started}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Returns the owner that a label names; None where it is none of ours."""
        parts = text.split("/")
        if len(parts) != 5 or not (parts[3].isdecimal() and parts[4].isdecimal()):
            return None
        machine, boot, namespace, pid, started = parts
        return cls(
            machine=machine, boot=boot, namespace=namespace, pid=int(pid), started=int(started)
        )

    def is_gone(self, here: "Owner", started: int | None) -> bool:
        """Whether this process surely ended; what cannot be seen from `here`, the process that asks, counts as alive.

        `started` is when the process that has this number now did; None where there is none.
        """
        if self.machine != here.machine:
            return False
        if self.boot != here.boot:
            return True
        return self.namespace == here.namespace and started != self.started


@functools.cache
def own() -> Owner:
    """Returns this process."""
    pid = os.getpid()
    return Owner(
        machine=_line("/etc/machine-id") or platform.node().replace("/", "-"),
        boot=_line("/proc/sys/kernel/random/boot_id") or "unknown",
        namespace=_namespace(),
        pid=pid,
        started=started(pid) or 0,
    )


def labels(run_id: str, environment: str) -> Mapping[str, str]:
    """Returns the labels of a container of this process."""
    return {LABEL: own().text, RUN_LABEL: run_id, ENVIRONMENT_LABEL: environment}


def started(pid: int) -> int | None:
    """Returns when the process with this number started, in clock ticks; None where there is none."""
    text = _line(f"/proc/{pid}/stat")
    # The name, in brackets, may hold blanks and brackets; the start is the 22nd field: proc(5).
    return int(text.rpartition(")")[2].split()[19]) if text else None


def _namespace() -> str:
    try:
        return Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return "0"


def _line(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
