"""Virtual environments in matrix.yaml: which package, which versions, from where."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Tag, model_validator

from trt_matrix.config.entry_point import WithFunction
from trt_matrix.config.sections import (
    BRANCH,
    OWN_OPTIONS,
    EngineOptions,
    Name,
    Section,
    Version,
    branches,
)
from trt_matrix.core.hosts.onnxruntime_wheels import Python, beside, pythons
from trt_matrix.core.hosts.wheels import Wheel, wheel


class Requirements(Section):
    """What pip would be asked for, the engine among it: a wheel as `onnxruntime @ file:///…`."""

    requirements: tuple[str, ...] = Field(
        min_length=1,
        description="Where `versions` are given, {version} stands for each: openvino=={version}.",
    )


Package = Literal[
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu11",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
]
PREFIXES: Mapping[str, str] = {"onnxruntime": "ort", "tensorrt": "trt", "tensorrt-rtx": "rtx"}
"""Package, without what follows `-gpu` or `-cu`, → what its ids begin with."""
VERSION = "{version}"
ENGINE_PACKAGE = re.compile(r"(nvidia[-_.])?(tensorrt|onnxruntime)([^A-Za-z]|$)", re.IGNORECASE)


def _no_secret(value: str) -> str:
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError(
            "an index is named without user and password: uv reads those from its own settings"
        )
    return value


class Venv(WithFunction):
    """Virtual environments made by uv: one a version, or one of any requirements."""

    venv: Annotated[
        Annotated[Package, Tag(f"{BRANCH}package")]
        | Annotated[Requirements, Tag(f"{BRANCH}requirements")],
        branches(Mapping | Requirements, "requirements", "package"),
    ]
    versions: tuple[Version, ...] = Field((), description='Of the package, in quotes: ["1.26.0"].')
    python: str | None = Field(
        None,
        description='Such as "3.11"; default: this tool\'s own, else one that the version has.',
    )
    with_: tuple[str, ...] = Field((), alias="with", description="Further requirements.")
    index: tuple[Annotated[str, AfterValidator(_no_secret)], ...] = Field(
        (),
        description="Package indexes to look in first, such as NVIDIA's own, or folders like one.",
    )
    wheels: Path | None = Field(
        None, description="A folder of wheels; with --offline nothing else is looked in."
    )
    name: Name | None = Field(
        None,
        description="Prefix of the ids (default: ort, trt, rtx), or the id with requirements without versions.",
    )
    stated_engine: Literal["python"] | None = Field(
        None, alias="engine", description="Where a function of your own is the engine."
    )
    options: EngineOptions | None = Field(None, description=OWN_OPTIONS)

    @model_validator(mode="after")
    def _named_by_version_or_name(self) -> Self:
        if isinstance(self.venv, Requirements):
            if self.versions and not any(VERSION in requirement for requirement in self._stated):
                raise ValueError(
                    "requirements state their versions themselves: leave out `versions`, or write "
                    f"{VERSION} where they belong"
                )
            if not self.versions and any(VERSION in requirement for requirement in self._stated):
                raise ValueError(f"{VERSION} stands for each of `versions`: name at least one")
            if self.name is None:
                raise ValueError("an environment of requirements needs a `name`")
        elif not self.versions:
            raise ValueError('name at least one version: `versions: ["1.32.0"]`')
        elif self.engine == "tensorrt":
            for version in self.versions:
                wheel(self.venv, version, None)
        return self._of_engine(self.engine, self.options)

    @property
    def _stated(self) -> tuple[str, ...]:
        if isinstance(self.venv, str):
            return (self.venv,)
        return (*self.venv.requirements, *self.with_)

    @property
    def engine(self) -> Literal["onnxruntime", "tensorrt", "python"]:
        """What is inside; ONNX Runtime too where its provider of TensorRT comes with it."""
        if self.stated_engine:
            return self.stated_engine
        matches = (ENGINE_PACKAGE.match(requirement.strip()) for requirement in self._stated)
        named = {match[2].lower() for match in matches if match}
        return "tensorrt" if named == {"tensorrt"} else "onnxruntime"

    def ids(self) -> tuple[str, ...]:
        if isinstance(self.venv, Requirements):
            name = self.name or ""
            return tuple(f"{name}-{version}" for version in self.versions) or (name,)
        package, *kind = re.split(r"-(?=gpu|cu\d)", self.venv)
        prefix = self.name or "-".join([PREFIXES[package], *kind])
        return tuple(f"{prefix}-{version}" for version in self.versions)

    def tensorrt(self, index: int, driver: str | None) -> Wheel | None:
        """Returns how the TensorRT of `ids()[index]` is installed; None where something else is."""
        if isinstance(self.venv, Requirements) or self.engine != "tensorrt":
            return None
        return wheel(self.venv, self.versions[index], driver)

    def requirements(self, index: int, driver: str | None = None) -> tuple[str, ...]:
        """Returns what is installed in the environment `ids()[index]`; `driver` as in `wheel`."""
        if isinstance(self.venv, Requirements):
            version = self.versions[index] if self.versions else VERSION
            return tuple(one.replace(VERSION, version) for one in self._stated)
        stated = {_distribution(one) for one in self.with_}
        if wheel := self.tensorrt(index, driver):
            own = (
                requirement
                for requirement in wheel.requirements
                if _distribution(requirement) not in stated
            )
            return (*own, *self.with_)
        release = self.versions[index]
        own = (one for one in beside(release) if _distribution(one) not in stated)
        return (f"{self.venv}=={release}", *own, *self.with_)

    def pythons(self, index: int) -> tuple[Python, Python] | None:
        """Returns the oldest and the newest Python that `ids()[index]` has wheels for; None where that is not known."""
        if isinstance(self.venv, Requirements):
            return None
        if wheel := self.tensorrt(index, None):
            return wheel.pythons
        return pythons(self.versions[index])


def _distribution(requirement: str) -> str:
    """Returns the name that a requirement begins with, as indexes spell it."""
    match_ = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", match_[0]).lower() if match_ else requirement
