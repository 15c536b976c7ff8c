"""The processor of this machine."""

import functools
import platform
from pathlib import Path

from trt_matrix.core.hosts.processor import X86, Processor

CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def this_processor() -> Processor | None:
    """Returns it, read once a command; None of an x86 whose instruction sets nobody tells."""
    machine = platform.machine()
    try:
        text = CPUINFO.read_text("utf-8", "replace")
    except OSError:  # no Linux
        text = ""
    flags = frozenset(
        flag
        for line in text.splitlines()
        for key, _, value in [line.partition(":")]
        if key.strip() in ("flags", "Features")
        for flag in value.split()
    )
    if not flags and machine.lower() in X86:
        return None
    return Processor(machine=machine, flags=flags)
