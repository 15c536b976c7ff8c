"""What every benchmark here needs: the machine in words, medians, peak memory, a Markdown table."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from trt_matrix.containers.job import probe


def facts() -> str:
    """Returns one line: processor, cores, memory, Python and numpy."""
    found = probe.facts()
    memory = (found["memory_bytes"] or 0) / 2**30
    numpy = found["packages"]["numpy"]
    return (
        f"{found['processor'] or found['machine']}, {found['usable_cores']} cores, {memory:.0f} GiB, "
        f"Python {found['python']}, numpy {numpy}"
    )


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Returns the median wall time of `repeats` calls, after one that is not counted."""
    call()
    return median(_seconds(call) for _ in range(repeats))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def run(command: Sequence[str], **named: object) -> tuple[float, int, str]:
    """Runs `command`; returns its seconds, its peak anonymous memory in bytes, and its stdout.

    Anonymous memory is what the process itself holds; pages of mapped files, which the system can
    drop at any time, are not in it. Sampled every 5 ms, so a shorter peak may be missed.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            **named,  # type: ignore[call-overload]
        )
        while process.poll() is None:
            peak = max(peak, _anonymous_bytes(process.pid))
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        message = f"{command} ended with {process.returncode}:\n{text[-4000:]}"
        raise RuntimeError(message)
    return seconds, peak, text


def _anonymous_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has just ended
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields.get("RssAnon", "0 kB").split()[0]) * 1024


def environment_of_job() -> dict[str, str]:
    """Returns environment variables with which a child process finds the package `job`."""
    containers = Path(probe.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(containers)}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table; the first column is text, the others are numbers."""
    head = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(head + ["| " + " | ".join(map(str, row)) + " |" for row in rows])
