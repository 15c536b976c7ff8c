"""What running a job in a container costs above a bare `docker run` of the same command.

cost     one start of a job that does nothing, through DockerEnvironment and by `docker run`, in turn
results  a gigabyte written by the job into its results folder, and by a process of the host beside it
cells    a hundred short starts: growth of this process in memory and open files
Without an engine: nothing. The base image is this machine's own interpreter.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.machine import table
from tests.docker.rootfs import python_image
from trt_matrix.environments.base import Ending
from trt_matrix.environments.docker.container import run_container
from trt_matrix.environments.docker.engine import Engine, local_engine
from trt_matrix.environments.docker.options import (
    RESULTS,
    Bind,
    WantedContainer,
    container_name,
    variables,
)

GIGABYTE = 10**9
WRITE = """
import os, sys, time
block = os.urandom(1 << 20)
start = time.perf_counter()
with open(sys.argv[1], "wb", buffering=0) as stream:
    for _ in range({size} >> 20):
        stream.write(block)
    os.fsync(stream.fileno())
print(time.perf_counter() - start)
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few starts, little data")
    quick = parser.parse_args(arguments).quick
    engine = local_engine()
    if problem := engine.obstacle():
        print(f"not measured: {problem}")
        return
    image = python_image(engine.client)
    with tempfile.TemporaryDirectory() as folder:
        start = Starter(engine, image, Path(folder))
        rows = [
            cost(start, 3 if quick else 15),
            results(start, (1 << 24) if quick else GIGABYTE),
            *cells(start, 5 if quick else 100),
        ]
    print(table(["what", "here", "beside", "difference", "wanted"], rows))


class Starter:
    def __init__(self, engine: Engine, image: str, folder: Path) -> None:
        self.engine = engine
        self.image = image
        self.folder = folder
        self.number = 0

    def __call__(self, *command: str) -> tuple[Ending, str]:
        self.number += 1
        wanted = WantedContainer(
            image=self.image,
            name=container_name("bench", str(os.getpid()), str(self.number)),
            entrypoint=("python3", *command),
            labels={},
            user=f"{os.getuid()}:{os.getgid()}",
            binds=(Bind(str(self.folder), RESULTS, read_only=False),),
            memory_bytes=4 * GIGABYTE,
            variables=variables({}, None),
        )
        log = self.folder / "log"
        ending = run_container(self.engine, wanted, log=log, deadline_s=600, tick=lambda: None)
        if ending.exit_code != 0:
            message = f"{ending}: {log.read_text()}"
            raise RuntimeError(message)
        return ending, log.read_text()


def cost(start: Starter, count: int) -> list[object]:
    ours, bare = [], []
    command = start("-c", "pass")[0].command
    for _ in range(count):
        ours.append(seconds(lambda: start("-c", "pass")))
        bare.append(seconds(lambda: subprocess.run(command, check=True, capture_output=True)))
    here, beside = median(ours), median(bare)
    difference = f"{here - beside:+.3f} s"
    return ["one start", f"{here:.3f} s", f"{beside:.3f} s", difference, "under +0.5 s"]


def results(start: Starter, size: int) -> list[object]:
    script = WRITE.format(size=size)
    inside = float(start("-c", script, f"{RESULTS}/inside")[1])
    target = start.folder / "outside"
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], check=True, capture_output=True, text=True
    )
    outside = float(done.stdout)
    rates = [f"{size / 1e6 / one:.0f} MB/s" for one in (inside, outside)]
    return [f"{size / 1e9:.2f} GB of results", *rates, f"× {outside / inside:.2f}", "disk speed"]


def cells(start: Starter, count: int) -> list[list[object]]:
    start("-c", "pass")
    before = footprint()
    for _ in range(count):
        start("-c", "pass")
    after = footprint()
    return [
        [f"memory, {count} starts", f"{after[0]:.1f} MB", f"{before[0]:.1f} MB",
         f"{after[0] - before[0]:+.1f} MB", "no growth"],
        [f"open files, {count} starts", after[1], before[1], f"{after[1] - before[1]:+d}", "no growth"],
    ]  # fmt: skip


def footprint() -> tuple[float, int]:
    """Returns the anonymous memory of this process in MB, and its open files."""
    status = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status)
    return int(fields["RssAnon"].split()[0]) / 1000, len(list(Path("/proc/self/fd").iterdir()))


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
