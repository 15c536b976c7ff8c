"""One Docker engine: connected once, asked what it is, its errors told in words.

The address and the credentials for registries are Docker's own (DOCKER_HOST, the current context,
~/.docker/config.json); nothing of them is kept or shown.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from trt_matrix.core.hosts.compatibility import version
from trt_matrix.environments.docker import failures, options, podman
from trt_matrix.environments.docker.options import ProcessLimits, WantedContainer
from trt_matrix.environments.host import is_podman
from trt_matrix.errors import EnvironmentUnavailableError

T = TypeVar("T")

OLDEST_API = "1.40"
"""Docker 19.03: the first with GPU requests."""

ANSWER_S = 60
"""Longest silence of the engine, pulls and builds included: they tell their progress."""


class Engine:
    """A connection; every method may be called from several threads."""

    def __init__(self, address: str | None = None) -> None:
        """Connects to nothing yet; without an address (`unix:///…`, `tcp://…`) to what the `docker` command would use."""
        self.address = address or _current_address()
        self.limits = ProcessLimits.RECOMMENDED
        """The highest that it can give containers; found out by the first one."""
        self._client: docker.DockerClient | None = None

    @property
    def client(self) -> docker.DockerClient:
        """The SDK's client.

        Raises:
            EnvironmentUnavailableError: the engine does not answer, or is too old.
        """
        if self._client is None:
            with self.explained():
                client = (
                    docker.DockerClient(base_url=self.address, version="auto", timeout=ANSWER_S)
                    if self.address
                    else docker.from_env(version="auto", timeout=ANSWER_S)
                )
            api = client.api.api_version
            if tuple(map(int, api.split("."))) < tuple(map(int, OLDEST_API.split("."))):
                message = f"this Docker engine is too old (API {api}); 19.03 or later is needed"
                raise EnvironmentUnavailableError(message)
            self._client = client
        return self._client

    def close(self) -> None:
        """Ends the connections; a later question opens new ones."""
        if self._client is not None:
            self._client.close()

    @functools.cached_property
    def facts(self) -> Mapping[str, Any]:
        """`docker info`; asked once."""
        with self.explained():
            info: Mapping[str, Any] = self.client.info()
        if is_podman(info) and version(info["ServerVersion"]) < version(podman.OLDEST):
            message = f"this Podman is too old ({info['ServerVersion']}); {podman.OLDEST} or later is needed"
            raise EnvironmentUnavailableError(message)
        return info

    @property
    def is_podman(self) -> bool:
        """Whether it is Podman, behind its API that is as Docker's."""
        return is_podman(self.facts)

    @property
    def id(self) -> str:
        """Which engine it is: the same at each call, another one on each machine."""
        # Podman makes up a new ID at each question.
        name = "{Name} {DockerRootDir}" if self.is_podman else "{ID}"
        return name.format_map(self.facts)

    def create(self, wanted: WantedContainer) -> Container:
        """Returns a created container. Raises the SDK's errors, for `explained`."""
        if self.is_podman:
            return podman.create(self.client, wanted)
        return self.client.containers.create(**options.options(wanted))

    def command_line(self, wanted: WantedContainer) -> tuple[str, ...]:
        """Returns the same container as a line to repeat by hand."""
        if self.is_podman:
            return podman.command_line(wanted)
        return options.command_line(wanted)

    @property
    def has_remote_files(self) -> bool:
        """Whether its containers cannot mount this machine's folders."""
        return False

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (DockerException, requests.RequestException, EnvironmentUnavailableError):
            return False

    def obstacle(self) -> str | None:
        """Returns why nothing can run here; None where the engine answers."""
        try:
            return None if self.facts else "Docker tells nothing of itself"
        except EnvironmentUnavailableError as error:
            return str(error)

    @contextlib.contextmanager
    def explained(
        self, tell: Callable[[str], str] = failures.of_engine, what: str = ""
    ) -> Iterator[None]:
        """Turns the SDK's errors into EnvironmentUnavailableError, whose message `what` begins: the image, the container.

        `tell` puts the engine's words into ours, where it answered with a refusal.
        """
        prefix = f"{what}: " if what else ""
        try:
            yield
        except APIError as error:
            message = prefix + tell(str(error.explanation or error))
            raise EnvironmentUnavailableError(message) from error
        except (DockerException, requests.RequestException, OSError) as error:
            raise EnvironmentUnavailableError(prefix + failures.of_engine(str(error))) from error


@functools.cache
def local_engine() -> Engine:
    """Returns the engine that the `docker` command of this user talks to."""
    return Engine()


def _current_address() -> str | None:
    """Returns the address of the current Docker context; None for the default one."""
    if os.environ.get("DOCKER_HOST"):
        return None  # from_env reads it, and its TLS variables
    context = docker.ContextAPI.get_current_context()
    return None if context is None or context.name == "default" else str(context.Host)
