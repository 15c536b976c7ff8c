"""Images: found, pulled with patience, and asked what they hold."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from docker.errors import APIError, DockerException, ImageNotFound

from trt_matrix.environments.base import Transfer
from trt_matrix.environments.docker import failures
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.errors import EnvironmentUnavailableError

RETRY_AFTER_S = (1.0, 4.0, 15.0)
"""Pauses before a pull is tried again; the engine goes on with the layers that it has."""

NVIDIA_LABELS = "com.nvidia."


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerImage:
    """One image of an engine."""

    reference: str
    """As in matrix.yaml."""
    id: str
    """Hash of its content: `sha256:…`. A tag can move, this cannot."""
    digests: tuple[str, ...]
    """Under which registries know it: `name@sha256:…`."""
    architecture: str
    variables: Mapping[str, str]
    labels: Mapping[str, str]
    """NVIDIA's, which state versions."""
    size_bytes: int

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "id": self.id,
            "digests": list(self.digests),
            "architecture": self.architecture,
            "labels": dict(self.labels),
        }


def find(engine: Engine, reference: str) -> ContainerImage | None:
    """Returns the image that the engine has under this name; None where it has none.

    Raises:
        EnvironmentUnavailableError: the engine does not answer, or this is no name.
    """
    with engine.explained(failures.of_image, reference):
        try:
            image = engine.client.images.get(reference)
        except ImageNotFound:
            return None
    return image_of(reference, image.attrs)


def image_of(reference: str, attributes: Mapping[str, Any]) -> ContainerImage:
    """Returns what `docker image inspect` tells."""
    config = attributes.get("Config") or {}
    labels = config.get("Labels") or {}
    return ContainerImage(
        reference=reference,
        id=attributes["Id"],
        digests=tuple(sorted(attributes.get("RepoDigests") or ())),
        architecture=attributes.get("Architecture", ""),
        variables=dict(pair.partition("=")[::2] for pair in config.get("Env") or ()),
        labels={name: value for name, value in labels.items() if name.startswith(NVIDIA_LABELS)},
        size_bytes=attributes.get("Size", 0),
    )


def obtain(engine: Engine, reference: str, *, offline: bool, transfer: Transfer) -> ContainerImage:
    """Returns the engine's image; pulls it where the engine has none.

    Raises:
        EnvironmentUnavailableError: it cannot be had; says why and what to do.
    """
    if image := find(engine, reference):
        return image
    if offline:
        raise EnvironmentUnavailableError(
            f"{reference}: not on this Docker engine, and --offline; `docker pull {reference}`"
        )
    pull(engine, reference, transfer)
    image = find(engine, reference)
    if image is None:
        raise EnvironmentUnavailableError(f"{reference}: pulled, but the engine does not find it")
    return image


def pull(
    engine: Engine,
    reference: str,
    transfer: Transfer,
    *,
    retry_after_s: Iterable[float] = RETRY_AFTER_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Pulls; tries again where that may help. Credentials are those of `docker login`.

    Raises:
        EnvironmentUnavailableError: see `obtain`.
    """
    pauses = iter(retry_after_s)
    while (said := _pulled(engine, reference, transfer)) is not None:
        pause = None if failures.is_final(said) else next(pauses, None)
        if pause is None:
            raise EnvironmentUnavailableError(f"{reference}: {failures.of_image(said)}")
        sleep(pause)


def _pulled(engine: Engine, reference: str, transfer: Transfer) -> str | None:
    """Pulls once; returns what went wrong, in the engine's words, None where nothing did."""
    client = engine.client
    try:
        for event in client.api.pull(reference, stream=True, decode=True):
            if "error" in event:
                return str(event["error"])
            _tell(event, transfer)
    except APIError as error:
        return str(error.explanation or error)
    except (DockerException, requests.RequestException, OSError) as error:
        return str(error)
    return None


def _tell(event: Mapping[str, Any], transfer: Transfer) -> None:
    """Hands on the state of one layer."""
    layer, status = event.get("id"), str(event.get("status", ""))
    detail = event.get("progressDetail") or {}
    if not layer:
        return
    if status in ("Pull complete", "Already exists"):
        transfer(layer, 1, 1)
    elif detail.get("total"):
        transfer(f"{layer}", int(detail.get("current", 0)), int(detail["total"]))
