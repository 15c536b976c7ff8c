"""An environment that is on another machine: nothing of it is here but its name."""

from trt_matrix.environments.base import Ending, Identity, JobRun, Transfer, untold
from trt_matrix.errors import EnvironmentUnavailableError


class ElsewhereEnvironment:
    """Cannot run here; `trt_matrix.packs` packs its jobs, and answers for it once they came back."""

    def __init__(self, name: str, engine: str) -> None:
        self.name = name
        self.engine = engine
        self._where = (
            f"it is on another machine: `trt-matrix pack -e {name}`, run it there, "
            "`trt-matrix merge results.tar`"
        )

    def obstacle(self, device: str) -> str | None:
        del device
        return self._where

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        del offline, transfer
        raise EnvironmentUnavailableError(self._where)

    def identity(self) -> Identity | None:
        return None

    def run(self, job: JobRun) -> Ending:
        del job
        return Ending(exit_code=None, error=self._where)
