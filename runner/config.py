"""matrix.yaml as types. The shape is held here; what it refers to is checked in `config_checks`."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from runner.errors import ConfigError
from runner.plan import Precision
from runner.yaml_file import Document, Path_, read

Algorithm = Literal["entropy", "minmax", "percentile", "mse"]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]
"""A name that becomes part of a cell id, a folder and a file."""

Version = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9.+!_-]*$", max_length=60)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Model(Section):
    onnx: Path = Field(description="The float32 network, relative to this file.")


class Gate(Section):
    sqnr_db: float | None = Field(
        None, description="Least SQNR of an int8 cell against the reference, in dB."
    )
    ap50_drop: float | None = Field(
        None, ge=0, le=1, description="Largest loss of AP50 against the reference (not judged yet)."
    )


class Head(Section):
    output: str | None = Field(None, description="The network's output; default: the head's name.")
    stride: int | None = Field(None, ge=1, description="Pixels per cell, for decoding boxes.")
    gate: Gate = Gate()


class Images(Section):
    images: Path = Field(description="A folder of images.")
    limit: int | None = Field(None, ge=1, description="Use the first so many, by name.")


class LabelledImages(Images):
    labels: Path | None = Field(None, description="COCO JSON of those images.")


class Preprocess(Section):
    """value = (pixel · scale − mean) / std, after resizing."""

    resize: Literal["letterbox", "stretch"] = "letterbox"
    size: tuple[int, int] | None = Field(
        None, description="[height, width]; default: the network's input."
    )
    scale: float = Field(1 / 255, gt=0)
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    pad: int = Field(114, ge=0, le=255, description="Pixel value beside a letterboxed image.")

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> Self:
        channels = 1 if self.color == "gray" else 3
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != channels:
                message = f"{name} has {len(value)} values, {self.color} has {channels} channels"
                raise ValueError(message)
        if 0 in (self.std if isinstance(self.std, tuple) else (self.std,)):
            message = "std is 0: every value would be infinite"
            raise ValueError(message)
        return self


class Data(Section):
    calibration: Images
    evaluation: LabelledImages
    preprocess: Preprocess = Preprocess()


class Calibration(Section):
    algorithms: tuple[Algorithm, ...] = Field(
        ("entropy", "minmax"), min_length=1, description="Own tables that every environment makes."
    )
    shared: Algorithm | None = Field(
        "entropy", description="Algorithm of the one table given to all environments."
    )
    percentile: float = Field(99.99, gt=50, le=100, description="For the algorithm percentile.")


class OnnxRuntime(Section):
    """Options of ONNX Runtime, recorded with every measurement."""

    provider: str = "CPUExecutionProvider"
    provider_options: Mapping[str, str] = {}
    threads: int = Field(default_factory=lambda: min(4, os.cpu_count() or 1), ge=1, le=1024)
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    session_config: Mapping[str, str] = Field(
        # Without it ONNX Runtime leaves most int8 convolutions in float on x86, silently.
        {"session.qdqisint8allowed": "1"},
        description="Session configuration entries.",
    )


class Engines(Section):
    onnxruntime: OnnxRuntime = OnnxRuntime()


class Timing(Section):
    """How long latency is measured in each repeat of each cell."""

    min_samples: int = Field(20, ge=1)
    max_samples: int = Field(200, ge=1)
    max_s: float = Field(0.5, gt=0)
    warm_up_max_s: float = Field(0.25, ge=0)


class Venv(Section):
    """Virtual environments, one a version, made by uv."""

    venv: Literal["onnxruntime", "onnxruntime-gpu"]
    versions: tuple[Version, ...] = Field(min_length=1)
    python: str | None = Field(None, description="Such as 3.11; default: this tool's own.")
    with_: tuple[str, ...] = Field((), alias="with", description="Further requirements.")
    name: Name | None = Field(None, description="Prefix of the ids; default: ort.")
    options: OnnxRuntime | None = Field(None, description="In place of engines.onnxruntime.")

    def ids(self) -> tuple[str, ...]:
        prefix = self.name or ("ort" if self.venv == "onnxruntime" else "ort-gpu")
        return tuple(f"{prefix}-{version}" for version in self.versions)


class Interpreter(Section):
    """An installed Python that has the engine."""

    interpreter: Path
    name: Name
    engine: Literal["onnxruntime"] = "onnxruntime"
    env: Mapping[str, str] = {}
    library_path: tuple[Path, ...] = ()
    options: OnnxRuntime | None = None

    def ids(self) -> tuple[str, ...]:
        return (self.name,)


class Ngc(Section):
    """NGC TensorRT containers, by tag."""

    ngc: tuple[Name, ...] = Field(min_length=1)

    def ids(self) -> tuple[str, ...]:
        return tuple(f"ngc-{tag}" for tag in self.ngc)


EnvironmentEntry = Venv | Interpreter | Ngc

KINDS: Mapping[str, type[Venv] | type[Interpreter] | type[Ngc]] = {
    "venv": Venv,
    "interpreter": Interpreter,
    "ngc": Ngc,
}


def _kind_of(entry: Any) -> str | None:
    if isinstance(entry, Mapping):
        return next((kind for kind in KINDS if kind in entry), None)
    return next((kind for kind, type_ in KINDS.items() if isinstance(entry, type_)), None)


class Config(Section):
    """One experiment."""

    name: Name
    model: Model
    heads: Mapping[str, Head] = Field(min_length=1)
    data: Data
    calibration: Calibration = Calibration()
    precisions: tuple[Precision, ...] = Field((Precision.FP32, Precision.INT8), min_length=1)
    repeats: int = Field(3, ge=1, le=100)
    devices: tuple[str, ...] = Field(("cpu",), min_length=1)
    baseline: str
    environments: tuple[
        Annotated[
            Annotated[Venv, pydantic.Tag("venv")]
            | Annotated[Interpreter, pydantic.Tag("interpreter")]
            | Annotated[Ngc, pydantic.Tag("ngc")],
            pydantic.Discriminator(
                _kind_of,
                custom_error_type="environment_kind",
                custom_error_message=f"an environment needs one of the keys {', '.join(KINDS)}",
            ),
        ],
        ...,
    ] = Field(min_length=1)
    engines: Engines = Engines()
    timing: Timing = Timing()
    deadline_s: float = Field(1800, gt=0, description="A job that runs longer is stopped.")

    def environment_ids(self) -> tuple[str, ...]:
        return tuple(name for entry in self.environments for name in entry.ids())


_DEVICE = re.compile(r"cpu|gpu:(\*|[0-9]+|[A-Za-z0-9 ._-]+)|GPU-[0-9a-fA-F-]+")


def load(path: Path) -> tuple[Config, Document]:
    """Reads matrix.yaml and checks its shape; every problem at once.

    Raises:
        ConfigError: the file is not readable as an experiment.
    """
    document = read(path)
    config = validate(document)
    return config, document


def validate(document: Document) -> Config:
    try:
        config = Config.model_validate(document.value)
    except pydantic.ValidationError as error:
        # Where every item is wrong, pydantic also calls the list too short: told once is enough.
        told = [e for e in error.errors() if e["type"] != "too_short" or not e.get("input")]
        problems = list(dict.fromkeys(_problem(document, one) for one in told))
        raise ConfigError(document.source, problems) from error
    problems = [
        f"{document.where(('devices', index))}: {device!r} is no device; cpu, gpu:*, gpu:0, "
        "gpu:NAME or a GPU's uuid"
        for index, device in enumerate(config.devices)
        if not _DEVICE.fullmatch(device)
    ]
    if problems:
        raise ConfigError(document.source, problems)
    return config


def schema() -> Mapping[str, Any]:
    """Returns the JSON schema of matrix.yaml."""
    return Config.model_json_schema(mode="validation") | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "matrix.yaml",
    }


def _problem(document: Document, error: Any) -> str:
    """Says one of pydantic's errors in this tool's words."""
    path = _without_tag(error["loc"])
    where = document.where(path)
    given = error.get("input")
    match error["type"]:
        case "extra_forbidden":
            allowed = _allowed_keys(document, path[:-1])
            close = did_you_mean(str(path[-1]), allowed)
            return f"{where}: unknown key{close or '; allowed: ' + ', '.join(allowed)}"
        case "missing":
            return f"{where}: missing"
        case "literal_error" | "enum":
            expected = str(error["ctx"]["expected"])
            words = re.findall(r"'([^']*)'", expected)
            return f"{where}: {given!r:.80} is not {expected}{did_you_mean(str(given), words)}"
        case "string_type" if isinstance(given, int | float):
            return f"{where}: read as the number {given!r}; put what was meant in quotes"
        case "too_short":
            return f"{where}: empty; name at least one"
        case "string_pattern_mismatch":
            return f"{where}: {given!r:.80} names files: letters a to z, digits and . _ + - only"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
        case _:
            scalar = given is None or isinstance(given, str | int | float)
            shown = f" (is {given!r:.80})" if scalar else ""
            return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}{shown}"


def _without_tag(location: Path_) -> Path_:
    """Drops the kind that pydantic puts behind the index: environments[1].venv.versions."""
    if location[:1] == ("environments",) and len(location) > 3:
        return (*location[:2], *location[3:])
    return location


SECTIONS: Mapping[str, type[Section]] = {
    "": Config,
    "model": Model,
    "heads.*": Head,
    "heads.*.gate": Gate,
    "data": Data,
    "data.calibration": Images,
    "data.evaluation": LabelledImages,
    "data.preprocess": Preprocess,
    "calibration": Calibration,
    "environments.*.options": OnnxRuntime,
    "engines": Engines,
    "engines.onnxruntime": OnnxRuntime,
    "timing": Timing,
}
"""Which section stands where; an environment's own section depends on its kind."""


def _allowed_keys(document: Document, path: Path_) -> list[str]:
    parts = [str(part) for part in path]
    if parts[:1] in (["heads"], ["environments"]) and len(parts) > 1:
        parts[1] = "*"
    section = SECTIONS.get(".".join(parts))
    if section is None:
        entry = document.value["environments"][path[1]]
        section = KINDS[_kind_of(entry) or "venv"]
    return [field.alias or name for name, field in section.model_fields.items()]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
