"""One container image of matrix.yaml as an environment.

Docker's SDK takes a third of a second to import, so it is imported where a container is really
wanted: most commands only ask for obstacles.
"""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core.compatibility import ImageFacts, Obstacle
from runner.core.gpus import meant
from runner.environments.base import Ending, Identity, Tick, Transfer, untold
from runner.environments.local import JOB_HOME
from runner.errors import EnvironmentUnavailableError
from runner.preflight import extra_variables, preflight, this_driver

if TYPE_CHECKING:
    from runner.environments.docker.engine import Engine
    from runner.environments.docker.prepared import Prepared, Recipe


class DockerEnvironment:
    """Prepared once (pulled, asked, given what it lacks); then one container a start of the job."""

    def __init__(
        self,
        *,
        name: str,
        engine: str,
        image: str,
        cache: Path,
        python: str = "python3",
        requirements: Sequence[str] = (),
        memory_gb: float | None = None,
        stated: ImageFacts | None = None,
    ) -> None:
        """Asks nothing yet.

        Args:
            name: Unique in the matrix.
            engine: `onnxruntime` or `tensorrt`.
            image: `name:tag`, `name@sha256:…` or an id; pulled where the engine has none.
            cache: What is known of images is kept there: `default_cache`.
            python: The interpreter inside.
            requirements: As pip takes them; added by a derived image.
            memory_gb: Limit of a container; None for nine tenths of the machine.
            stated: What the catalogue says of the image.
        """
        self.name = name
        self.engine = engine
        self.image = image
        self.stated = stated or ImageFacts(reference=image)
        self._cache = cache
        self._python = python
        self._requirements = tuple(requirements)
        self._memory_gb = memory_gb
        self._made: Prepared | None = None

    @property
    def docker(self) -> "Engine":
        from runner.environments.docker.engine import local_engine  # noqa: PLC0415

        return local_engine()

    @property
    def _recipe(self) -> "Recipe":
        from runner.environments.docker.prepared import Recipe  # noqa: PLC0415

        return Recipe(
            image=self.image,
            executable=self._python,
            requirements=self._requirements,
            stated=self.stated,
        )

    def obstacle(self, device: str) -> Obstacle | None:
        return preflight(self.stated, device)

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        from runner.environments.docker.prepared import prepare  # noqa: PLC0415

        recipe = self._recipe
        try:
            self._made = prepare(
                self.docker, recipe, cache=self._cache, offline=offline, transfer=transfer
            )
        except EnvironmentUnavailableError as error:
            message = f"{self.name}: {error}"
            raise EnvironmentUnavailableError(message) from error
        return self._made.identity(recipe)

    def identity(self) -> Identity | None:
        from runner.environments.docker.prepared import known  # noqa: PLC0415

        recipe = self._recipe
        try:
            made = known(self.docker, recipe, cache=self._cache)
        except EnvironmentUnavailableError:
            return None
        return made.identity(recipe) if made else None

    def run(
        self,
        request: Path,
        result: Path,
        log: Path,
        *,
        deadline_s: float,
        tick: Tick,
        device: str = "cpu",
        run_id: str = "",
    ) -> Ending:
        from runner.environments.docker import options, owner  # noqa: PLC0415
        from runner.environments.docker.container import run_container  # noqa: PLC0415

        if self._made is None:
            message = f"{self.name}: prepare it before it runs"
            raise RuntimeError(message)
        docker, made = self.docker, self._made
        security = docker.facts.get("SecurityOptions") or ()
        user, userns = options.user(security, os.getuid(), os.getgid())
        wanted = options.Wanted(
            image=made.image.id,
            name=options.container_name(run_id, self.name, uuid.uuid4().hex[:8]),
            entrypoint=(self._python, "-m", "job", options.REQUEST, options.RESULTS),
            labels=owner.labels(run_id, self.name),
            user=user,
            userns=userns,
            binds=(
                options.Bind(str(JOB_HOME / "job"), f"{options.PROGRAM}/job"),
                options.Bind(str(request.absolute()), options.REQUEST),
                options.Bind(str(result.absolute()), options.RESULTS, read_only=False),
            ),
            memory_bytes=options.memory_bytes(docker.facts["MemTotal"], self._memory_gb),
            variables={
                **options.variables(made.base.variables, made.packages_folder),
                **extra_variables(self.stated, device),
            },
            device=_one_gpu(device),
        )
        return run_container(docker, wanted, log=log, deadline_s=deadline_s, tick=tick)


def _one_gpu(device: str) -> str:
    """Returns the uuid of the GPU that is meant: a number may mean another one inside.

    What the driver here does not know is handed on; the engine says then that it is not there.
    """
    gpus = [] if device == "cpu" else meant(device, this_driver().gpus)
    return gpus[0].uuid if gpus else device
