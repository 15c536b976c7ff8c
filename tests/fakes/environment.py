"""An environment whose job is a script of the test, run by the same code that runs the real job."""

import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from trt_matrix.environments.base import Ending, Identity, JobRun, Transfer, untold
from trt_matrix.environments.process import run_process
from trt_matrix.errors import EnvironmentUnavailableError

PRELUDE = (Path(__file__).parent / "scripted_job.py").read_text()

HONEST = """
if request["calibration"]:
    calibrate()
for one in request["passes"]:
    answer(one)
finish()
"""
"""Does what is asked; every output is 1.0, every range 2.0."""


class InstantEnvironment:
    """Writes what an honest job would, without a process: a reference that costs no time."""

    name = "reference"
    engine = "onnxruntime"

    def __init__(self) -> None:
        self.starts = 0

    def obstacle(self, device: str) -> str | None:
        return None

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        return Identity(fingerprint=self.name, facts={"kind": "instant"})

    def identity(self) -> Identity | None:
        return self.prepare(offline=True)

    def run(self, job: JobRun) -> Ending:
        self.starts += 1
        code = PRELUDE.replace("sys.argv[1:3]", repr((str(job.request), str(job.result)))) + HONEST
        exec(compile(code, "scripted_job.py", "exec"), {})
        return Ending(exit_code=0)


class ScriptedEnvironment:
    """Runs one script a start, the last one for all further starts; counts its starts."""

    engine = "onnxruntime"

    def __init__(
        self,
        name: str,
        scripts: Sequence[str] = (HONEST,),
        *,
        fingerprint: str | None = None,
        refusal: str | None = None,
        made: bool = True,
    ) -> None:
        """Starts nothing.

        Args:
            name: Unique in the matrix.
            scripts: In the names of `scripted_job`.
            fingerprint: Default: the name.
            refusal: Why it cannot be prepared.
            made: Whether it is there before it is prepared.
        """
        self.name = name
        self.scripts = [textwrap.dedent(script) for script in scripts]
        self.refusal = refusal
        self.made = made
        self.starts = 0
        self._identity = Identity(fingerprint=fingerprint or name, facts={"kind": "scripted"})

    def obstacle(self, device: str) -> str | None:
        return None

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        if self.refusal:
            raise EnvironmentUnavailableError(self.refusal)
        self.made = True
        return self._identity

    def identity(self) -> Identity | None:
        return self._identity if self.made else None

    def run(self, job: JobRun) -> Ending:
        script = self.scripts[min(self.starts, len(self.scripts) - 1)]
        self.starts += 1
        return run_process(
            [sys.executable, "-I", "-S", "-c", PRELUDE + script, str(job.request), str(job.result)],
            cwd=job.result,
            env={"PATH": os.defpath},
            log=job.log,
            deadline_s=job.deadline_s,
            tick=job.tick,
        )
