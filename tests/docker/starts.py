"""Starts jobs again and again in one process of the runner, and says what grew.

python -m tests.docker.starts --starts 1000 --containers 60
"""

import argparse
import dataclasses
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.docker import rootfs
from tests.docker.scripted import Scripted
from tests.fakes.environment import ScriptedEnvironment
from tests.unit.matrices import Trial
from tests.unit.passes import FP32
from trt_matrix.environments.docker import owner
from trt_matrix.environments.docker.engine import Engine

A_RUN = 10
"""Starts of one run, in two environments, beside its reference's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """What this process holds at a moment."""

    descriptors: int
    processes: int
    """Below this one."""
    threads: int
    temporary: int
    """Files and folders in the folder for them."""
    memory_mb: float

    def beyond(self, other: "Held") -> "Held":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Held(*(mine - theirs for mine, theirs in pairs))


def held() -> Held:
    """Counts it, once what nobody holds any more is gone."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    temporary = Path(tempfile.gettempdir())
    return Held(
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        processes=len(_below(os.getpid())),
        threads=threading.active_count(),
        temporary=sum(1 for _ in temporary.rglob("*")),
        memory_mb=int(status["VmRSS"].split()[0]) / 1024,
    )


def _below(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_below(int(child))]
    return found


def one_run(folder: Path) -> int:
    """Runs two environments; returns how many starts that were."""
    environments = [ScriptedEnvironment(name) for name in ("one", "other")]
    trial = Trial(folder, *environments, passes=[FP32], repeats=A_RUN // 2)
    trial.records()
    shutil.rmtree(folder)
    return sum(environment.starts for environment in environments)


def watched(number: int, work: Callable[[], int], told: Callable[[str], None]) -> Sequence[Held]:
    """Does it until so many starts were made; returns what was held after the first tenth, and then on."""
    made, helds, next_look = 0, [], number // 10
    while made < number:
        made += work()
        if made >= next_look:
            helds.append(held())
            told(f"{made} starts: {helds[-1]}")
            next_look += number // 10
    return helds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--containers", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        tempfile.tempdir = own  # ours alone: others use /tmp meanwhile
        folder = Path(own).parent / f"{Path(own).name}-run"

        def told(text: str) -> None:
            print(text, flush=True)

        helds = watched(options.starts, lambda: one_run(folder), told)
        told(f"{options.starts} starts, from a tenth of them on: {helds[-1].beyond(helds[0])}")
        engine = Engine()
        if options.containers and not engine.obstacle():
            image = rootfs.python_image(engine.client)

            def container() -> int:
                folder.mkdir()
                Scripted(engine, image, folder)("open('/results/x', 'w').write('x')")
                shutil.rmtree(folder)
                return 1

            def left() -> int:
                containers = engine.client.containers.list(all=True, filters={"label": owner.LABEL})
                return sum(
                    container.labels.get(owner.ENVIRONMENT_LABEL) == "test"
                    for container in containers
                )

            before = left()
            helds = watched(options.containers, container, told)
            told(
                f"{options.containers} containers, from a tenth of them on: {helds[-1].beyond(helds[0])}, "
                f"containers left: {left() - before}"
            )
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
