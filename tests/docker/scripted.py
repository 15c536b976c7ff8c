"""Runs Python text in a container as a job is run."""

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trt_matrix.environments.base import Ending
from trt_matrix.environments.docker import options, owner
from trt_matrix.environments.docker.container import run_container
from trt_matrix.environments.docker.engine import Engine

SMALL_MEMORY = 256 << 20


class Scripted:
    """Runs Python text in a container as a job is run, and keeps what came of it."""

    def __init__(self, engine: Engine, image: str, folder: Path) -> None:
        self.engine = engine
        self.image = image
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.request, self.results = folder / "request", folder / "results"
        self.log = folder / "log"
        for path in (self.request, self.results):
            path.mkdir(exist_ok=True)

    def wanted(self, script: str, **changes: Any) -> options.WantedContainer:
        named: dict[str, Any] = {
            "image": self.image,
            "name": options.container_name("", self.name, uuid.uuid4().hex[:8]),
            "entrypoint": ("python3", "-c", script),
            "labels": owner.labels(self.name, "test"),
            "user": f"{os.getuid()}:{os.getgid()}",
            "binds": (
                options.Bind(str(self.request), options.REQUEST),
                options.Bind(str(self.results), options.RESULTS, read_only=False),
            ),
            "memory_bytes": SMALL_MEMORY,
            "variables": options.variables({}, None),
        }
        return options.WantedContainer(**(named | changes))

    def __call__(
        self,
        script: str,
        *,
        deadline_s: float = 60,
        tick: Callable[[], None] = lambda: None,
        **changes: Any,
    ) -> Ending:
        return run_container(
            self.engine,
            self.wanted(script, **changes),
            log=self.log,
            deadline_s=deadline_s,
            tick=tick,
        )

    def said(self) -> str:
        return self.log.read_text()

    def left(self) -> Sequence[str]:
        """Returns the names of its containers that are still there."""
        label = f"{owner.RUN_LABEL}={self.name}"
        containers = self.engine.client.containers.list(all=True, filters={"label": label})
        return [str(container.name) for container in containers]
