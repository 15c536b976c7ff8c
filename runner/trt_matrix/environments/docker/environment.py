"""One container image of matrix.yaml as an environment.

Docker's SDK takes a third of a second to import, so it is imported where a container is really
wanted: most commands only ask for obstacles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trt_matrix.config import catalog
from trt_matrix.core.cells import Status
from trt_matrix.core.hosts.cdi import PREFIX
from trt_matrix.core.hosts.compatibility import HostFacts, ImageFacts, Obstacle
from trt_matrix.core.hosts.gpus import meant
from trt_matrix.environments.base import Ending, Identity, JobRun, Transfer, untold
from trt_matrix.environments.preflight import (
    extra_variables,
    preflight,
    preflight_tag,
    this_host,
)
from trt_matrix.errors import EnvironmentUnavailableError

if TYPE_CHECKING:
    from trt_matrix.environments.docker.engine import Engine
    from trt_matrix.environments.docker.prepared import PreparedImage, Recipe


@dataclass(kw_only=True, eq=False)
class DockerEnvironment:
    """Prepared once (pulled, asked, given what it lacks); then one container a start of the job."""

    name: str
    engine: str
    image: str
    """`name:tag`, `name@sha256:…` or an id; pulled where the engine has none."""
    cache: Path
    """Keeps what is known of images."""
    python: str = "python3"
    requirements: Sequence[str] = ()
    """Added by a derived image."""
    memory_gb: float | None = None
    """What a container gets; None for nine tenths of the machine."""
    stated: ImageFacts | None = None
    """What the catalogue says."""
    address: str | None = None
    """As `remote_engine` takes it; None for this user's own engine."""
    _made: "PreparedImage | None" = field(default=None, init=False)

    @property
    def _facts(self) -> ImageFacts:
        return self.stated or ImageFacts(reference=self.image)

    @property
    def docker(self) -> "Engine":
        """The engine; asked for again where it went away. May raise EnvironmentUnavailableError."""
        if self.address is None:
            from trt_matrix.environments.docker.engine import local_engine  # noqa: PLC0415

            return local_engine()
        from trt_matrix.environments.docker.hosts import remote_engine  # noqa: PLC0415

        return remote_engine(self.address)

    def _host(self) -> HostFacts | None:
        """Returns the facts of another machine; None for this one, which preflight knows."""
        if self.address is None:
            return None
        from trt_matrix.environments.docker.hosts import remote_engine  # noqa: PLC0415

        return remote_engine(self.address).host

    @property
    def _recipe(self) -> "Recipe":
        from trt_matrix.environments.docker.prepared import Recipe  # noqa: PLC0415

        return Recipe(
            image=self.image,
            executable=self.python,
            requirements=tuple(self.requirements),
            stated=self._facts,
        )

    def obstacle(self, device: str) -> Obstacle | None:
        try:
            return self._preflight(device, self._host())
        except EnvironmentUnavailableError as error:
            return Status.UNAVAILABLE, str(error)

    def _preflight(self, device: str, host: HostFacts | None) -> Obstacle | None:
        return preflight(self._facts, device, host)

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        from trt_matrix.environments.docker.prepared import prepare  # noqa: PLC0415

        recipe = self._recipe
        try:
            self._made = prepare(
                self.docker, recipe, cache=self.cache, offline=offline, transfer=transfer
            )
        except EnvironmentUnavailableError as error:
            raise EnvironmentUnavailableError(f"{self.name}: {error}") from error
        return self._made.identity(recipe)

    def identity(self) -> Identity | None:
        from trt_matrix.environments.docker.prepared import known  # noqa: PLC0415

        recipe = self._recipe
        try:
            image = known(self.docker, recipe, cache=self.cache)
        except EnvironmentUnavailableError:
            return None
        return image.identity(recipe) if image else None

    def run(self, job: JobRun) -> Ending:
        from trt_matrix.environments.docker.start import ContainerStart, run_job  # noqa: PLC0415

        if self._made is None:
            raise RuntimeError(f"{self.name}: prepare it before it runs")
        host = self._host()
        start = ContainerStart(
            environment=self.name,
            made=self._made,
            executable=self.python,
            device=given(job.device, host or this_host()),
            memory_gb=self.memory_gb,
            variables=extra_variables(self._facts, job.device, host),
            job=job,
        )
        try:
            return run_job(self.docker, start)
        except EnvironmentUnavailableError as error:
            return Ending(exit_code=None, error=str(error))


class NgcEnvironment(DockerEnvironment):
    """One of NVIDIA's TensorRT containers; its row in containers/catalog.yaml says before a pull whether it can run."""

    def __init__(self, *, name: str, tag: str, cache: Path, address: str | None = None) -> None:
        row = catalog.find(tag)
        super().__init__(
            name=name,
            engine="tensorrt",
            image=(row and row.reference) or f"{catalog.REPOSITORY}:{tag}",
            cache=cache,
            stated=row,
            address=address,
        )
        self.tag = tag

    def _preflight(self, device: str, host: HostFacts | None) -> Obstacle | None:
        return preflight_tag(self.tag, device, host)


def given(device: str, host: HostFacts) -> str:
    """Returns what a container is given as the GPU that is meant: its uuid, or its name by CDI.

    A number may mean another one inside. Where an engine has NVIDIA's runtime too, that is asked. What the driver does not know is handed on; the engine says then that it is not there.
    """
    gpu = next(iter(meant(device, host.gpus)), None) if device != "cpu" else None
    if gpu is None:
        return device
    if host.nvidia_runtime or host.cdi is None:
        return gpu.uuid
    return host.cdi.device(gpu, host.gpus) or PREFIX + gpu.uuid
