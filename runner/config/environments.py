"""The entries of `environments` in matrix.yaml, and the options of the engine inside."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from runner import catalog
from runner.dumps.pattern import pattern_problem

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]
"""A name that becomes part of a cell id, a folder and a file."""

Version = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9._+-]*$", max_length=60)]

Host = Annotated[
    str, StringConstraints(pattern=r"^(ssh://[^\s:-][^\s]*|context:\S+)$", max_length=300)
]
"""A Docker engine elsewhere: `ssh://user@host`, or `context:NAME` for a Docker context."""

BRANCH = "\x1f"
"""Begins what pydantic puts into the place of an error to tell the branch of a union: no key does."""


class Section(BaseModel):
    # Strict: `repeats: yes` is no 1, and `threads: "4"` no number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class OnnxRuntime(Section):
    """Options of ONNX Runtime, recorded with every measurement."""

    provider: str | None = Field(
        None,
        description="Default: CUDAExecutionProvider for onnxruntime-gpu, CPUExecutionProvider else.",
    )
    provider_options: Mapping[str, str] = {}
    threads: int = Field(default_factory=lambda: min(4, os.cpu_count() or 1), ge=1, le=1024)
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    session_config: Mapping[str, str] = Field(
        # Without it ONNX Runtime leaves most int8 convolutions in float on x86, silently.
        {"session.qdqisint8allowed": "1"},
        description="Session configuration entries.",
    )


class TensorRt(Section):
    """Options of TensorRT, recorded with every measurement."""

    workspace_bytes: int = Field(1 << 30, ge=0, description="Scratch memory a layer may ask for.")
    typed: Literal["weak", "strong"] = Field(
        "weak",
        description="strong: the network's own types decide (9 and later), and fp16 and bf16 run it converted.",
    )
    fallback: Literal["fp32", "tf32", "fp16"] = Field(
        "fp32", description="Of an int8 engine's layers that do not run in int8."
    )
    fp32_layers: tuple[str, ...] = Field(
        (),
        description="Of an implicit int8 engine, held in fp32: nodes, or tensors that they make.",
    )
    optimization_level: int | None = Field(None, ge=0, le=5, description="From 8.6.")
    tactic_sources: tuple[str, ...] | None = Field(
        None, description='Such as ["CUBLAS_LT", "CUDNN"], from 7.2; default: TensorRT\'s choice.'
    )


GPU_PROVIDERS = frozenset(
    {"CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}
)


def _which_options(value: Any) -> str:
    if isinstance(value, TensorRt):
        return f"{BRANCH}tensorrt"
    of_tensorrt = isinstance(value, Mapping) and TensorRt.model_fields.keys() & value.keys()
    return f"{BRANCH}tensorrt" if of_tensorrt else f"{BRANCH}onnxruntime"


EngineOptions = Annotated[
    Annotated[OnnxRuntime, Tag(f"{BRANCH}onnxruntime")]
    | Annotated[TensorRt, Tag(f"{BRANCH}tensorrt")],
    Discriminator(_which_options),
]
OWN_OPTIONS = "In place of engines.onnxruntime or engines.tensorrt, whichever is inside."


def _of_engine(options: OnnxRuntime | TensorRt | None, engine: str) -> None:
    wanted = OnnxRuntime if engine == "onnxruntime" else TensorRt
    if options is not None and not isinstance(options, wanted):
        names = ", ".join(wanted.model_fields)
        message = f"these are no options of {engine}, which is inside; it has: {names}"
        raise ValueError(message)


class Requirements(Section):
    """What pip would be asked for, onnxruntime among it: a wheel as `onnxruntime @ file:///…`."""

    requirements: tuple[str, ...] = Field(min_length=1)


Package = Literal["onnxruntime", "onnxruntime-gpu"]


def _package_or_requirements(value: Any) -> str:
    return (
        f"{BRANCH}requirements" if isinstance(value, Mapping | Requirements) else f"{BRANCH}package"
    )


class Venv(Section):
    """Virtual environments made by uv: one a version, or one of any requirements."""

    venv: Annotated[
        Annotated[Package, Tag(f"{BRANCH}package")]
        | Annotated[Requirements, Tag(f"{BRANCH}requirements")],
        Discriminator(_package_or_requirements),
    ]
    versions: tuple[Version, ...] = Field((), description='Of the package, in quotes: ["1.26.0"].')
    python: str | None = Field(None, description='Such as "3.11"; default: this tool\'s own.')
    with_: tuple[str, ...] = Field((), alias="with", description="Further requirements.")
    name: Name | None = Field(
        None, description="Prefix of the ids (default: ort, ort-gpu), or the id with requirements."
    )
    options: OnnxRuntime | None = Field(None, description="In place of engines.onnxruntime.")

    @model_validator(mode="after")
    def _named_by_version_or_name(self) -> Self:
        if isinstance(self.venv, Requirements):
            if self.versions:
                message = "requirements state their versions themselves: leave out `versions`"
                raise ValueError(message)
            if self.name is None:
                message = "an environment of requirements needs a `name`"
                raise ValueError(message)
        elif not self.versions:
            message = 'name at least one version: `versions: ["1.32.0"]`'
            raise ValueError(message)
        return self

    def ids(self) -> tuple[str, ...]:
        if isinstance(self.venv, Requirements):
            return (self.name or "",)
        prefix = self.name or ("ort" if self.venv == "onnxruntime" else "ort-gpu")
        return tuple(f"{prefix}-{version}" for version in self.versions)

    def requirements(self, index: int) -> tuple[str, ...]:
        """Returns what is installed in the environment `ids()[index]`."""
        if isinstance(self.venv, Requirements):
            return (*self.venv.requirements, *self.with_)
        return (f"{self.venv}=={self.versions[index]}", *self.with_)


class Interpreter(Section):
    """An installed Python that has the engine."""

    interpreter: Path
    name: Name
    engine: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    env: Mapping[str, str] = {}
    library_path: tuple[Path, ...] = ()
    options: EngineOptions | None = Field(None, description=OWN_OPTIONS)

    @model_validator(mode="after")
    def _options_of_its_engine(self) -> Self:
        _of_engine(self.options, self.engine)
        return self

    def ids(self) -> tuple[str, ...]:
        return (self.name,)


class TensorRtRange(Section):
    """The newest NGC container of each minor version of TensorRT in a range."""

    tensorrt: str = Field(max_length=100, description='Such as ">=6,<11" or "==8.6.*".')

    @field_validator("tensorrt")
    @classmethod
    def _selects_something(cls, value: str) -> str:
        if problem := catalog.range_problem(value):
            raise ValueError(problem)
        return value


ONE_PER_MAJOR = "one-per-major"


def _one_per_major(value: str) -> str:
    if value != ONE_PER_MAJOR:
        message = (
            f'{value!r:.60} is no selector: a list of tags as ["24.04-py3"], {ONE_PER_MAJOR}, '
            'or a range as {tensorrt: ">=6,<11"}'
        )
        raise ValueError(message)
    return value


def _tags_range_or_each(value: Any) -> str:
    if isinstance(value, Mapping | TensorRtRange):
        return f"{BRANCH}range"
    return f"{BRANCH}each" if isinstance(value, str) else f"{BRANCH}tags"


class Ngc(Section):
    """NGC TensorRT containers: by tag, by a range of TensorRT versions, or one of each major."""

    ngc: Annotated[
        Annotated[tuple[Name, ...], Field(min_length=1), Tag(f"{BRANCH}tags")]
        | Annotated[TensorRtRange, Tag(f"{BRANCH}range")]
        | Annotated[
            str,
            AfterValidator(_one_per_major),
            Field(json_schema_extra={"enum": [ONE_PER_MAJOR]}),
            Tag(f"{BRANCH}each"),
        ],
        Discriminator(_tags_range_or_each),
    ]

    def tags(self) -> tuple[str, ...]:
        match self.ngc:
            case tuple():
                return self.ngc
            case TensorRtRange():
                return catalog.newest_of_each(2, self.ngc.tensorrt)
            case _:
                return catalog.newest_of_each(1)

    name: Name | None = Field(None, description="Prefix of the ids; default: ngc.")
    host: Name | None = Field(None, description="One of `hosts`; default: this machine.")
    options: TensorRt | None = Field(None, description="In place of engines.tensorrt.")

    def ids(self) -> tuple[str, ...]:
        ngc = self.name or "ngc"
        prefix = f"{self.host}-{ngc}" if self.host else ngc
        return tuple(f"{prefix}-{tag}" for tag in self.tags())


class Image(Section):
    """Containers of any image: one, or one a version of an engine that is added to it."""

    image: str = Field(
        min_length=1,
        max_length=300,
        pattern=r"^[^\s-]\S*$",
        description="As `docker pull` takes it; name@sha256:… pins the content.",
    )
    name: Name = Field(description="The id, or with versions the prefix of the ids.")
    engine: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    versions: tuple[Version, ...] = Field(
        (), description='Of onnxruntime, added to the image: ["1.26.0", "1.32.0"].'
    )
    with_: tuple[str, ...] = Field((), alias="with", description="Requirements that are added.")
    python: str = Field(
        "python3", min_length=1, pattern=r"^[^-]", description="The interpreter inside."
    )
    memory_gb: float | None = Field(
        None, gt=0, description="Limit of a container; default: nine tenths of the machine."
    )
    options: EngineOptions | None = Field(None, description=OWN_OPTIONS)
    host: Name | None = Field(None, description="One of `hosts`; default: this machine.")

    @model_validator(mode="after")
    def _options_of_its_engine(self) -> Self:
        _of_engine(self.options, self.engine)
        return self

    @model_validator(mode="after")
    def _versions_of_onnxruntime(self) -> Self:
        if self.versions and self.engine != "onnxruntime":
            message = "versions are added of onnxruntime only; TensorRT comes with its image"
            raise ValueError(message)
        return self

    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{version}" for version in self.versions) or (self.name,)

    def requirements(self, index: int) -> tuple[str, ...]:
        """Returns what is added to the image for `ids()[index]`."""
        version = (f"onnxruntime=={self.versions[index]}",) if self.versions else ()
        return (*version, *self.with_)


class Elsewhere(Section):
    """Environments of other machines: their jobs are packed, carried there, and merged."""

    elsewhere: tuple[Name, ...] = Field(min_length=1, description="Ids, one a machine and version.")
    engine: Literal["onnxruntime", "tensorrt"] = "tensorrt"
    options: EngineOptions | None = Field(None, description=OWN_OPTIONS)

    @model_validator(mode="after")
    def _options_of_its_engine(self) -> Self:
        _of_engine(self.options, self.engine)
        return self

    def ids(self) -> tuple[str, ...]:
        return self.elsewhere


RECORDED_DEVICE = re.compile(r"cpu|gpu:[A-Za-z0-9][A-Za-z0-9 ._-]*")


def _pattern(text: str) -> str:
    if problem := pattern_problem(text):
        raise ValueError(problem)
    return text


def twice_named(names: Mapping[str, str]) -> str | None:
    """Returns why a map of a table's names cannot be one, None where it can."""
    twice = [one for one, often in Counter(names.values()).items() if often > 1]
    return f"`names` gives two tensors of the table the one name {twice[0]!r}" if twice else None


class RecordedPass(Section):
    """What a program of the user's own wrote of one pass."""

    files: Annotated[str, AfterValidator(_pattern)] = Field(
        description="Below the folder: {head}, {image} (its name without suffix), {index}, {repeat}; "
        "without {image} and {index} a file holds all images."
    )
    table: Path | None = Field(
        None,
        description="The calibration table that it ran with, which is simulated: TensorRT's cache, ONNX "
        "Runtime's text, JSON or flatbuffers, one of this tool's, or a network with Q/DQ.",
    )
    names: Mapping[str, str] = Field(
        {},
        description="Tensor as the table calls it → as the network does; a common prefix or suffix and names "
        "of nodes are found without.",
    )

    @model_validator(mode="after")
    def _names_of_a_table(self) -> Self:
        if self.names and self.table is None:
            message = "`names` are those of a table: say which, as `table`"
            raise ValueError(message)
        if twice := twice_named(self.names):
            raise ValueError(twice)
        return self


class Dumps(Section):
    """Outputs that a program of the user's own wrote; what engine it was is stated, not probed."""

    dumps: Path = Field(description="A folder of raw files, .npy or .npz.")
    name: Name
    passes: Mapping[str, RecordedPass] = Field(
        min_length=1,
        description="fp32, tf32, fp16, bf16, int8, or a pass by its name in cell ids: "
        "int8-implicit-own-entropy2.",
    )
    engine: Literal["onnxruntime", "tensorrt"] = Field(
        "tensorrt", description="Whose rules of quantisation its tables are simulated with."
    )
    version: str = Field("unknown", max_length=60, description="Of the engine.")
    stated: Mapping[str, str] = Field(
        {}, description='What else is known: {cuDNN: "7.1.4", CUDA: "9.0", GPU: Tesla P4}.'
    )
    device: str = Field(
        "gpu:recorded", max_length=60, description="Where it ran, cpu or gpu:NAME, as stated."
    )
    repeats: int = Field(1, ge=1, le=100, description="Builds that were recorded, as {repeat}.")
    heads: Mapping[str, str] = Field(
        {}, description="Head → what {head}, or an array of an .npz, calls it."
    )
    shapes: Mapping[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(
        {}, description="Head → axes of one image, channels first; default: as in the network."
    )
    dtype: Literal["float16", "float32", "float64"] | None = Field(
        None, description="Of raw files; default: float32."
    )
    byte_order: Literal["little", "big"] | None = Field(
        None, description="Of raw files; default: little."
    )
    layout: Literal["nchw", "nhwc"] = "nchw"

    @field_validator("device")
    @classmethod
    def _one_device(cls, value: str) -> str:
        if not RECORDED_DEVICE.fullmatch(value):
            message = f"{value!r} is no device that a program ran on: cpu or gpu:NAME"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _passes_and_repeats(self) -> Self:
        for name, one in self.passes.items():
            if self.repeats > 1 and "{repeat" not in one.files:
                message = f"{self.repeats} repeats, but {name} has no {{repeat}} in {one.files!r}"
                raise ValueError(message)
        return self

    def ids(self) -> tuple[str, ...]:
        return (self.name,)


EnvironmentEntry = Venv | Interpreter | Ngc | Image | Elsewhere | Dumps

KINDS: Mapping[str, type[EnvironmentEntry]] = {
    "venv": Venv,
    "interpreter": Interpreter,
    "ngc": Ngc,
    "image": Image,
    "elsewhere": Elsewhere,
    "dumps": Dumps,
}


def kind_of(entry: Any) -> str | None:
    """Returns the key that says what kind an entry is, as written or as read."""
    if isinstance(entry, Mapping):
        return next((kind for kind in KINDS if kind in entry), None)
    return next((kind for kind, type_ in KINDS.items() if isinstance(entry, type_)), None)


def tag_of(entry: Any) -> str | None:
    kind = kind_of(entry)
    return kind and BRANCH + kind
