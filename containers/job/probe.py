"""Facts about the environment, found from inside; standard library only."""

import functools
import os
import platform
import re
import sys

from . import gpu, mapped

CPU_FLAGS = (  # what decides which int8 and float kernels a processor gets; x86, then Arm
    ("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx_vnni")
    + ("amx_int8", "amx_bf16")
    + ("asimd", "asimddp", "i8mm", "bf16", "sve")
)
VARIABLES = re.compile(r"(NVIDIA_|CUDA_|CUDNN_).*|LD_LIBRARY_PATH|OMP_NUM_THREADS")
SECRETS = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def facts():
    """Returns a JSON object: Python, machine, packages, libraries mapped by now, environment variables.

    What a platform does not tell is None.
    """
    cpu = _cpu(_read("/proc/cpuinfo"))
    libraries = mapped.facts(
        _read("/proc/self/maps"), os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    )
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "libc": libc(),
        "machine": platform.machine(),
        "processor": cpu["model"],
        "processor_flags": cpu["flags"],
        "logical_cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory_bytes(_read("/proc/meminfo")),
        "packages": packages(),
        "mapped": libraries,
        "gpu": gpu.facts([library["path"] for library in libraries["libraries"] or []]),
        "environment": variables(os.environ),
    }


def libc():
    """Returns `glibc 2.36`, None where the C library does not tell."""
    names = getattr(os, "confstr_names", {})
    return os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in names else None


def variables(environment):
    """Returns those of `environment` that change how an engine runs; never all of them."""
    return {
        name: value
        for name, value in environment.items()
        if VARIABLES.fullmatch(name) and not SECRETS.search(name)
    }


@functools.lru_cache(maxsize=None)
def packages():
    """Returns {distribution: version} of all installed ones, None before Python 3.8."""
    try:
        from importlib import metadata
    except ImportError:
        return None
    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and name not in found:  # the first on sys.path is the one imported
            found[name] = distribution.version
    return found


def _cpu(cpuinfo):
    fields = {}
    for line in (cpuinfo or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    known = fields.get("flags", fields.get("Features", "")).split()
    return {
        "model": fields.get("model name"),
        "flags": [flag for flag in CPU_FLAGS if flag in known] if known else None,
    }


def _memory_bytes(meminfo):
    match = re.search(r"^MemTotal:\s*(\d+) kB", meminfo or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _read(path):
    """Returns the text of a file that only some platforms have, None where this one has not."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None
