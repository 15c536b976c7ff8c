"""NVIDIA's TensorRT containers, by tag: what each holds and needs is in containers/catalog.yaml.

This version knows them and says why they cannot run; it does not start them.
"""

import difflib
import functools
from collections.abc import Mapping
from typing import Any, NoReturn

import yaml

from runner.environments.local import JOB_HOME
from runner.environments.nvidia import driver_obstacle
from runner.errors import EnvironmentUnavailableError

CATALOG = JOB_HOME / "catalog.yaml"

NOT_YET = "this version of trt-matrix does not run containers; use a venv or an interpreter"


@functools.cache
def catalog() -> Mapping[str, Mapping[str, Any]]:
    """Returns tag → row; the fields are explained at the top of the file."""
    # The same as yaml.safe_load, ten times faster where libyaml is there.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows = yaml.load(CATALOG.read_text(encoding="utf-8"), loader)  # noqa: S506  (both are safe)
    return {row["tag"]: row for row in rows["containers"]}


class NgcEnvironment:
    """One container of matrix.yaml."""

    engine = "tensorrt"

    def __init__(self, *, name: str, tag: str) -> None:
        self.name = name
        self.tag = tag

    def obstacle(self, device: str) -> str | None:
        if self.tag not in catalog():
            near = difflib.get_close_matches(self.tag, catalog(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"unknown tag {self.tag!r}: {CATALOG.name} has no such container{hint}"
        if obstacle := driver_obstacle():
            return obstacle
        return "TensorRT runs on GPUs only" if device == "cpu" else NOT_YET

    def identity(self) -> None:
        return None

    def prepare(self, *, offline: bool) -> NoReturn:  # noqa: ARG002  (nothing is pulled)
        raise EnvironmentUnavailableError(self._refusal())

    def run(self, *_: object, **__: object) -> NoReturn:
        raise EnvironmentUnavailableError(self._refusal())

    def _refusal(self) -> str:
        return f"{self.name}: {self.obstacle('gpu:*')}"
