"""What of this tool and of this machine decides numbers."""

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

from trt_matrix.containers import job
from trt_matrix.store.results import sha256_of


def program() -> str:
    """Returns the hash of the job's own files: another program may give other numbers."""
    folder = Path(job.__file__).parent
    hashes = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        hashes.update(f"{path.relative_to(folder)}\0{sha256_of(path)}\n".encode())
    return hashes.hexdigest()


def processor() -> Mapping[str, str]:
    """Returns what of this machine decides numbers on the CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    wanted = ("model name", "flags", "CPU part", "Features")
    found = {
        key.strip(): value.strip()
        for line in lines
        for key, _, value in [line.partition(":")]
        if key.strip() in wanted
    }
    return {"machine": platform.machine(), "system": platform.system(), **found}
