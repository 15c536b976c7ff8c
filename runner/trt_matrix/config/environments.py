"""The entries of `environments` in matrix.yaml."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from trt_matrix.config import catalog
from trt_matrix.config.entry_point import WithFunction
from trt_matrix.config.sections import (
    BRANCH,
    OWN_OPTIONS,
    EngineOptions,
    Name,
    Section,
    TensorRt,
    Version,
    of_engine,
)
from trt_matrix.config.venv import Venv
from trt_matrix.dumps.pattern import pattern_problem

Host = Annotated[
    str, StringConstraints(pattern=r"^(ssh://[^\s:-][^\s]*|context:\S+)$", max_length=300)
]
"""A Docker engine elsewhere: `ssh://user@host`, or `context:NAME` for a Docker context."""


class Interpreter(WithFunction):
    """An installed Python that has the engine."""

    interpreter: Path
    name: Name
    engine: Literal["onnxruntime", "tensorrt", "python"] = "onnxruntime"
    env: Mapping[str, str] = {}
    library_path: tuple[Path, ...] = ()
    options: EngineOptions | None = Field(None, description=OWN_OPTIONS)

    @model_validator(mode="after")
    def _options_of_its_engine(self) -> Self:
        return self._of_engine(self.engine, self.options)

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
        raise ValueError(
            f'{value!r:.60} is no selector: a list of tags as ["24.04-py3"], {ONE_PER_MAJOR}, '
            'or a range as {tensorrt: ">=6,<11"}'
        )
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

    @property
    def engine(self) -> str:
        return "tensorrt"

    def ids(self) -> tuple[str, ...]:
        ngc = self.name or "ngc"
        prefix = f"{self.host}-{ngc}" if self.host else ngc
        return tuple(f"{prefix}-{tag}" for tag in self.tags())


class Image(WithFunction):
    """Containers of any image: one, or one a version of an engine that is added to it."""

    image: str = Field(
        min_length=1,
        max_length=300,
        pattern=r"^[^\s-]\S*$",
        description="As `docker pull` takes it; name@sha256:… pins the content.",
    )
    name: Name = Field(description="The id, or with versions the prefix of the ids.")
    engine: Literal["onnxruntime", "tensorrt", "python"] = "onnxruntime"
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
        self._of_engine(self.engine, self.options)
        if self.versions and self.engine != "onnxruntime":
            message = "versions are added of onnxruntime only; other engines come with the image, or by `with`"
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
        of_engine(self.options, self.engine)
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
    twice = [name for name, often in Counter(names.values()).items() if often > 1]
    return f"`names` gives two tensors of the table the one name {twice[0]!r}" if twice else None


TableNames = Annotated[
    Mapping[str, str],
    Field(
        description="Tensor as the table calls it → as the network does; a common prefix or suffix and names "
        "of nodes are found without."
    ),
]


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
    names: TableNames = Field({})
    layers: Path | None = Field(
        None,
        description="What the engine's inspector told of its layers: trtexec --exportLayerInfo with "
        "--profilingVerbosity=detailed.",
    )
    profile: Path | None = Field(None, description="What its layers took: trtexec --exportProfile.")

    @model_validator(mode="after")
    def _names_of_a_table(self) -> Self:
        if self.names and self.table is None:
            raise ValueError("`names` are those of a table: say which, as `table`")
        if twice := twice_named(self.names):
            raise ValueError(twice)
        return self


class Dumps(Section):
    """Outputs that a program of the user's own wrote; what engine it was is stated, not probed."""

    dumps: Path = Field(
        description="A folder of raw files, .npy, .npz, or JSON of Polygraphy or trtexec."
    )
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

    @property
    def options(self) -> None:
        """It was run already, with whatever options."""

    @field_validator("device")
    @classmethod
    def _one_device(cls, value: str) -> str:
        if not RECORDED_DEVICE.fullmatch(value):
            raise ValueError(f"{value!r} is no device that a program ran on: cpu or gpu:NAME")
        return value

    @model_validator(mode="after")
    def _passes_and_repeats(self) -> Self:
        for name, pass_ in self.passes.items():
            if self.repeats > 1 and "{repeat" not in pass_.files:
                message = f"{self.repeats} repeats, but {name} has no {{repeat}} in {pass_.files!r}"
                raise ValueError(message)
        return self

    def ids(self) -> tuple[str, ...]:
        return (self.name,)


EnvironmentEntry = (
    Annotated[Venv, Tag(f"{BRANCH}venv")]
    | Annotated[Interpreter, Tag(f"{BRANCH}interpreter")]
    | Annotated[Ngc, Tag(f"{BRANCH}ngc")]
    | Annotated[Image, Tag(f"{BRANCH}image")]
    | Annotated[Elsewhere, Tag(f"{BRANCH}elsewhere")]
    | Annotated[Dumps, Tag(f"{BRANCH}dumps")]
)
"""Every kind, by the key that only its entries have."""

KINDS: Mapping[str, type[Section]] = {
    tag.tag.removeprefix(BRANCH): kind for kind, tag in map(get_args, get_args(EnvironmentEntry))
}


def kind_of(entry: Any) -> str | None:
    """Returns the key that says what kind an entry is, as written or as read."""
    if isinstance(entry, Mapping):
        return next((kind for kind in KINDS if kind in entry), None)
    return next((kind for kind, type_ in KINDS.items() if isinstance(entry, type_)), None)


def tag_of(entry: Any) -> str | None:
    kind = kind_of(entry)
    return kind and BRANCH + kind
