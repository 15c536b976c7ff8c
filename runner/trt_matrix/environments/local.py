"""Starts the job in a Python of this machine, in surroundings that do not depend on the user's.

The engine must see the same variables on every machine: no thread counts from a login script, no
packages from the user's own site, no library path that is not in matrix.yaml.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from trt_matrix.containers.job import protocol
from trt_matrix.environments.base import Ending, JobRun
from trt_matrix.environments.process import run_process

JOB_HOME = Path(protocol.__file__).resolve().parents[1]
"""The folder that holds the package `job`."""

_HANDED_ON = ("CUDA_VISIBLE_DEVICES", "TMPDIR")
"""What the machine's administrator decides: which GPUs are ours, where temporary files go."""


def job_variables(
    python: Path, variables: Mapping[str, str], library_paths: Sequence[Path] = ()
) -> dict[str, str]:
    """Returns the whole environment of a job run by `python`; `variables` come last and win.

    A PYTHONPATH or LD_LIBRARY_PATH among them is added to, not replaced.
    """
    env = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    env |= {
        "PATH": os.pathsep.join([str(python.parent), os.defpath]),
        "LANG": "C.UTF-8",
        "PYTHONFAULTHANDLER": "1",  # a crash tells the log where
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",  # what was printed before a crash is in the log
    }
    env |= variables
    env["PYTHONPATH"] = _joined([JOB_HOME], variables.get("PYTHONPATH"))
    if library_paths:
        env["LD_LIBRARY_PATH"] = _joined(library_paths, variables.get("LD_LIBRARY_PATH"))
    return env


def _joined(paths: Sequence[Path], more: str | None) -> str:
    return os.pathsep.join([*(str(path) for path in paths), *([more] if more else [])])


def run_check(
    python: Path, env: Mapping[str, str], request: Path, answer: Path, log: Path, deadline_s: float
) -> Ending:
    """Runs `python -m job.check request answer` to its end; its HOME is the answer's folder."""
    return run_process(
        [str(python), "-m", "job.check", str(request.absolute()), str(answer.absolute())],
        cwd=JOB_HOME,
        env={"HOME": str(answer.absolute().parent), **env},
        log=log,
        deadline_s=deadline_s,
        tick=lambda: None,
    )


def run_job(python: Path, env: Mapping[str, str], job: JobRun) -> Ending:
    """Runs a job by this Python; its HOME is the result folder, where nothing is found."""
    return run_process(
        [str(python), "-m", "job", str(job.request.absolute()), str(job.result.absolute())],
        cwd=JOB_HOME,
        env={"HOME": str(job.result.absolute()), **env},
        log=job.log,
        deadline_s=job.deadline_s,
        tick=job.tick,
    )
