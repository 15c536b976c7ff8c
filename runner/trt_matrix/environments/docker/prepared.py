"""An image that is ready for the job: had, asked for its Python, given the packages that it lacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_matrix.config import catalog
from trt_matrix.core.hosts.compatibility import ImageFacts
from trt_matrix.core.records import digest
from trt_matrix.environments.base import Identity, Transfer
from trt_matrix.environments.docker import derived
from trt_matrix.environments.docker.engine import Engine
from trt_matrix.environments.docker.image import ContainerImage, find, obtain
from trt_matrix.environments.docker.python import ask_image, known_python
from trt_matrix.environments.docker.sweep import sweep_once
from trt_matrix.environments.packages import Package
from trt_matrix.environments.python import Python


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is asked for."""

    image: str
    executable: str
    """The Python inside."""
    requirements: tuple[str, ...]
    stated: ImageFacts
    """What the catalogue says of the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedImage:
    base: ContainerImage
    image: ContainerImage
    """With the packages that were added; `base` where none were."""
    python: Python
    packages: Mapping[str, Package]
    """Those that were added."""
    engine: str | None = None
    """Which engine, where it is another machine's: its processor decides numbers too."""

    @property
    def packages_folder(self) -> str | None:
        return derived.PACKAGES if self.packages else None

    def identity(self, recipe: Recipe) -> Identity:
        """Returns what decides numbers, and what is told of it.

        An image's id is the hash of its content, so no tag is in the fingerprint; that of a derived
        image changes with each build, so its ingredients are in place of it.
        """
        added = {name: package.facts for name, package in self.packages.items()}
        variables = (f"{name}={value}" for name, value in self.base.variables.items())
        reported = catalog.reported(self.base.labels, variables)
        facts: dict[str, Any] = {
            "kind": "image",
            **self.base.facts,
            "executable": recipe.executable,
            "python": self.python.facts,
            "packages": {**self.python.distributions, **added},
            "reported": dict(reported),
            "differences": list(catalog.differences(recipe.stated, reported)),
        }
        if added:
            facts["derived"] = {
                "reference": self.image.reference,
                "id": self.image.id,
                "added": sorted(added),
                "because": f"matrix.yaml asks for {', '.join(recipe.requirements)}"
                if recipe.requirements
                else "the image has no numpy, which the job needs",
            }
        decides: dict[str, Any] = {
            "image": self.base.id,
            "executable": recipe.executable,
            "added": added,
        }
        if self.engine:
            decides["engine"] = facts["engine"] = self.engine
        return Identity(fingerprint=digest(decides), facts=facts)


def prepare(
    engine: Engine, recipe: Recipe, *, cache: Path, offline: bool, transfer: Transfer
) -> PreparedImage:
    """Makes it; sweeps first what killed runs left on this engine.

    Raises:
        EnvironmentUnavailableError: it cannot be made; says why and what to do.
    """
    sweep_once(engine)
    elsewhere = _elsewhere(engine)
    base = image = obtain(engine, recipe.image, offline=offline, transfer=transfer)
    python = ask_image(engine, cache, base, recipe.executable)
    packages: Mapping[str, Package] = {}
    if wanted := derived.wanted_packages(recipe.requirements, python):
        image, packages = derived.derive(
            engine, base, wanted, python, recipe.executable, cache=cache, offline=offline
        )
    return PreparedImage(base=base, image=image, python=python, packages=packages, engine=elsewhere)


def known(engine: Engine, recipe: Recipe, *, cache: Path) -> PreparedImage | None:
    """Returns what `prepare` would make, if all of that is there; makes and starts nothing.

    Raises:
        EnvironmentUnavailableError: the engine does not answer.
    """
    elsewhere = _elsewhere(engine)
    base = image = find(engine, recipe.image)
    python = known_python(cache, base, recipe.executable) if base else None
    if base is None or python is None:
        return None
    packages: Mapping[str, Package] = {}
    if wanted := derived.wanted_packages(recipe.requirements, python):
        resolved = derived.known_packages(cache, wanted, python)
        if resolved is None:
            return None
        packages = resolved
        image = find(engine, derived.tag_of(base, packages, recipe.executable))
    if image is None:
        return None
    return PreparedImage(base=base, image=image, python=python, packages=packages, engine=elsewhere)


def _elsewhere(engine: Engine) -> str | None:
    return engine.id if engine.has_remote_files else None
