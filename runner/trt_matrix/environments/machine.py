"""What of this machine and of this tool decides numbers: the processor, and the job's own files."""

import functools
import hashlib
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from trt_matrix.core.hosts.processor import X86, Processor
from trt_matrix.environments.local import JOB_HOME
from trt_matrix.store.results import sha256_of

CPUINFO = Path("/proc/cpuinfo")
PROGRAM = JOB_HOME / "job"
"""Folder of the package `job`."""


def program() -> str:
    """Returns the hash of the job's own files: another program may give other numbers."""
    hashes = hashlib.sha256()
    for path in sorted(PROGRAM.rglob("*.py")):
        hashes.update(f"{path.relative_to(PROGRAM)}\0{sha256_of(path)}\n".encode())
    return hashes.hexdigest()


def processor() -> Mapping[str, str]:
    """Returns what of this machine decides numbers on the CPU."""
    wanted = ("model name", "flags", "CPU part", "Features")
    fields = {key: value for key, value in _cpu_information() if key in wanted}
    return {"machine": platform.machine(), "system": platform.system(), **fields}


@functools.cache
def this_processor() -> Processor | None:
    """Returns the processor, read once a command; None of an x86 whose instruction sets nobody tells."""
    machine = platform.machine()
    lists = (value for key, value in _cpu_information() if key in ("flags", "Features"))
    flags = frozenset(flag for value in lists for flag in value.split())
    if not flags and machine.lower() in X86:
        return None
    return Processor(machine=machine, flags=flags)


def _cpu_information() -> Iterator[tuple[str, str]]:
    """Yields (key, value) as Linux tells them, of each core; nothing on other systems."""
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()
