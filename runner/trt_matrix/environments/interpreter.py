"""A Python that is there already, with variables and library paths: TensorRT from a tar file.

Also what the host's own reference engine runs in (`sys.executable`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trt_matrix.core.records import digest
from trt_matrix.environments.base import Ending, Identity, JobRun, Transfer, untold
from trt_matrix.environments.local import job_variables, run_job
from trt_matrix.environments.preflight import gpu_obstacle, gpu_variables
from trt_matrix.environments.python import Python, ask_python
from trt_matrix.errors import EnvironmentUnavailableError


class InterpreterEnvironment:
    """One installed interpreter of matrix.yaml."""

    def __init__(
        self,
        *,
        name: str,
        engine: str,
        python: Path,
        variables: Mapping[str, str] | None = None,
        library_paths: Sequence[Path] = (),
    ) -> None:
        """Starts nothing yet.

        A virtual environment's `python` is used as such; `variables` are beside those that every job gets,
        `library_paths` folders for LD_LIBRARY_PATH.
        """
        self.name = name
        self.engine = engine
        # Not resolved: the link in a virtual environment is what makes it one.
        self._python = python.expanduser().absolute()
        self._library_paths = tuple(path.expanduser().absolute() for path in library_paths)
        self._variables = dict(variables or {})

    @property
    def _env(self) -> dict[str, str]:
        # Its packages may be the system's, so their folders are none of ours to write to.
        variables = {"PYTHONDONTWRITEBYTECODE": "1", **self._variables}
        return job_variables(self._python, variables, self._library_paths)

    def obstacle(self, device: str) -> str | None:
        try:
            self._ask()
        except EnvironmentUnavailableError as error:
            return str(error)
        return gpu_obstacle(device)

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:  # noqa: ARG002  (there is nothing to download)
        """Asks the interpreter what it is.

        The fingerprint covers the hash of every installed package's RECORD (which holds the hashes
        of its files) and name, size and time of every shared library in `library_paths`: hashing
        gigabytes would take longer than the job. A file changed in place after its package was
        installed is not noticed.
        """
        try:
            python = self._ask()
            libraries = {str(path): _libraries(path) for path in self._library_paths}
        except EnvironmentUnavailableError as error:
            raise EnvironmentUnavailableError(f"{self.name}: {error}") from error
        facts: dict[str, Any] = {
            "kind": "interpreter",
            "executable": str(self._python),
            "python": python.facts,
            "packages": python.distributions,
            "variables": self._variables,
            "libraries": libraries,
        }
        return Identity(fingerprint=digest(facts), facts=facts)

    def identity(self) -> Identity | None:
        try:
            return self.prepare(offline=True)
        except EnvironmentUnavailableError:
            return None

    def run(self, job: JobRun) -> Ending:
        return run_job(self._python, {**self._env, **gpu_variables(job.device)}, job)

    def _ask(self) -> Python:
        for path in self._library_paths:
            if not path.is_dir():
                message = f"{path}: library_paths names a folder that does not exist"
                raise EnvironmentUnavailableError(message)
        return ask_python(self._python, self._env)


def _libraries(folder: Path) -> dict[str, list[int]]:
    """Returns file name → [size in bytes, time of the last change in ns] of shared libraries."""
    stats = {path.name: path.stat() for path in sorted(folder.glob("*.so*")) if path.is_file()}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in stats.items()}
