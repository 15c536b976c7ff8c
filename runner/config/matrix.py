"""matrix.yaml as types. The shape is held here; what it refers to is checked in `runner.checks`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pydantic
from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from runner.cells import Pass, Precision
from runner.config.decoding import Decode, Pixels, Share
from runner.config.environments import (
    BRANCH,
    KINDS,
    Dumps,
    Elsewhere,
    Host,
    Image,
    Interpreter,
    Name,
    Ngc,
    OnnxRuntime,
    RecordedPass,
    Requirements,
    Section,
    TensorRt,
    TensorRtRange,
    Venv,
    kind_of,
    tag_of,
)
from runner.config.forensics import Forensics
from runner.config.gates import OWN, BoxLimits, Gate, HeadLimits, NetworkGate
from runner.config.problems import problem
from runner.config.quantisation import Quantisation
from runner.config.shared_table import Algorithm, Shared, SharedTable, name_of
from runner.config.yaml_file import Document, Path_, read
from runner.core.verdicts.gates import WHOLE_NETWORK
from runner.errors import ConfigError
from runner.plan import recordable

Calibrator = Literal["entropy", "entropy2", "legacy", "minmax"]

DEVICE = re.compile(r"cpu|gpu:(\*|[A-Za-z0-9][A-Za-z0-9 ._-]*)|GPU-[0-9a-fA-F-]+")


def _device(text: str) -> str:
    if not DEVICE.fullmatch(text):
        message = f"{text!r:.80} is no device; cpu, gpu:*, gpu:0, gpu:NAME or GPU-uuid"
        raise ValueError(message)
    return text


Device = Annotated[str, AfterValidator(_device)]


def _one_or_each(value: Any) -> str:
    return f"{BRANCH}each" if isinstance(value, list | tuple) else f"{BRANCH}one"


PerChannel = Annotated[
    Annotated[float, Tag(f"{BRANCH}one")] | Annotated[tuple[float, ...], Tag(f"{BRANCH}each")],
    Discriminator(_one_or_each),
]
"""One number for all channels, or one each."""


Major = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}$")]
"""A major version of TensorRT."""


class Plugin(Section):
    """Custom layers for TensorRT: libraries that are there, or sources compiled in each environment."""

    libraries: Mapping[Major, Path] = Field(
        {}, description='Major version of TensorRT → shared library: {"8": libyolo-trt8.so}.'
    )
    sources: tuple[Path, ...] = Field(
        (), description="C++ or CUDA sources of one library, and headers of its own beside them."
    )
    flags: tuple[str, ...] = Field((), description='For the compiler: ["-DUPSAMPLE_INT8=1"].')

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.libraries) == bool(self.sources):
            message = "a plugin has either `libraries` or `sources`"
            raise ValueError(message)
        if self.flags and self.libraries:
            message = "`flags` are for the compiler, libraries are compiled already"
            raise ValueError(message)
        if len({file.name for file in self.sources}) < len(self.sources):
            message = "two sources have one name: they are compiled in one folder"
            raise ValueError(message)
        return self

    @property
    def files(self) -> Mapping[str, Path]:
        """Major version, or a source's name → file."""
        return self.libraries or {file.name: file for file in self.sources}


class Uff(Section):
    """The same function as TensorFlow's converters wrote it for TensorRT 5 to 8."""

    file: Path = Field(description="The .uff file, relative to this file.")
    input: str | None = Field(
        None, description="Its input node; the name of the ONNX network's input where left out."
    )
    outputs: Mapping[str, str] = Field(
        {}, description="Head → node; the name of the ONNX network's output where left out."
    )


class Model(Section):
    onnx: Path = Field(
        description="The network, relative to this file: float32, or quantised already."
    )
    quantised: Literal["shipped", "strip"] = Field(
        "shipped",
        description="What to do with a network that is quantised already: run it as it is, as the int8 "
        "cell, or strip it to its float form and quantise that anew. A float network does not care.",
    )
    variants: tuple[Path, ...] = Field(
        (),
        description="The same function in forms that older parsers of TensorRT read, the newest first: "
        "of an older opset, with Upsample in place of Resize. Each version takes the first it can read.",
    )
    uff: Uff | None = Field(
        None,
        description="The same function as a UFF file, for versions of TensorRT whose ONNX parser reads "
        "none of the other forms.",
    )
    plugins: tuple[Plugin, ...] = Field(
        (), description="Custom layers of the network, for TensorRT."
    )
    custom_operators: tuple[str, ...] = Field(
        (),
        description="Operators, or names of nodes, to be called custom beside those of a domain of "
        "their own: a Resize that a plugin does.",
    )


class Head(Section):
    output: str | None = Field(
        None,
        description="An output of the network, or any floating-point tensor inside it; default: the "
        "head's name. Naming one inside gives it out, and what no head needs is left away.",
    )
    variants: Mapping[str, str] = Field(
        {},
        description="File of model.variants → what this tensor is called there, where it differs.",
    )
    stride: int | None = Field(None, ge=1, description="Pixels per cell, for decoding boxes.")
    anchors: tuple[tuple[Pixels, Pixels], ...] = Field(
        (),
        description="[width, height] in pixels, in the order of the channels, for decoding boxes.",
    )
    gate: Gate = Gate()


class Images(Section):
    images: Path = Field(description="A folder of images.")
    limit: int | None = Field(None, ge=1, description="Use the first so many, by name.")


class LabelledImages(Images):
    labels: Path | None = Field(
        None,
        description="COCO JSON of those images; of the calibration images it says which sizes of objects "
        "they show.",
    )


class Preprocess(Section):
    """value = (pixel · scale − mean) / std, after resizing."""

    resize: Literal["letterbox", "stretch"] = "letterbox"
    size: tuple[int, int] | None = Field(
        None, description="[height, width]; it must be that of the network, the default."
    )
    scale: float = Field(1 / 255, gt=0)
    mean: PerChannel = 0.0
    std: PerChannel = 1.0
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    pad: int = Field(114, ge=0, le=255, description="Pixel value beside a letterboxed image.")

    @property
    def channels(self) -> int:
        return 1 if self.color == "gray" else 3

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> Self:
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.channels:
                message = (
                    f"{name} has {len(value)} values, {self.color} has {self.channels} channels"
                )
                raise ValueError(message)
        if 0 in (self.std if isinstance(self.std, tuple) else (self.std,)):
            message = "std is 0: every value would be infinite"
            raise ValueError(message)
        return self


class Data(Section):
    calibration: LabelledImages
    evaluation: LabelledImages
    preprocess: Preprocess = Preprocess()


class Calibration(Section):
    algorithms: tuple[Algorithm, ...] = Field(
        ("entropy", "minmax"), min_length=1, description="Own tables that every environment makes."
    )
    shared: Shared = Field(
        "entropy",
        description="The one table given to all environments: an algorithm's, {table: FILE}, null, or `best`: for "
        "each tensor the algorithm that costs the heads least in simulation on calibration images.",
    )
    percentile: float = Field(99.99, gt=50, le=100, description="For the algorithm percentile.")
    calibrators: tuple[Calibrator, ...] = Field(
        ("entropy2", "minmax"), description="TensorRT's own, to 10: tables that it makes itself."
    )
    transplant: Literal["cache", "dynamic_range"] = Field(
        "cache", description="How TensorRT gets the shared table where its scales are implicit."
    )
    coverage: Share = Field(
        0.9,
        description="Least share of a head's tensors that must have got a scale of the table: below, "
        "what int8 costs there is not judged.",
    )
    forensics: Forensics = Forensics()

    @property
    def shared_name(self) -> str | None:
        """What passes with the shared table are called after: its algorithm, or `file`."""
        return name_of(self.shared)


class Engines(Section):
    # A factory, since a default would be in the schema, and threads depend on the machine.
    onnxruntime: OnnxRuntime = Field(default_factory=OnnxRuntime)
    tensorrt: TensorRt = TensorRt()


class Repeats(Section):
    """Repeats until every verdict is decided that repeats can decide."""

    min: int = Field(2, ge=1, le=100, description="Of every cell.")
    max: int = Field(6, ge=1, le=100, description="Of a cell that is not decided before.")

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.min > self.max:
            message = f"min {self.min} is above max {self.max}"
            raise ValueError(message)
        return self


def _fixed_or_sequential(value: Any) -> str:
    return f"{BRANCH}{'sequential' if isinstance(value, Mapping | Repeats) else 'fixed'}"


class Timing(Section):
    """How long latency is measured in each repeat of each cell."""

    min_samples: int = Field(20, ge=1)
    max_samples: int = Field(200, ge=1)
    max_s: float = Field(0.5, gt=0)
    warm_up_max_s: float = Field(0.25, ge=0)

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.min_samples > self.max_samples:
            message = f"min_samples {self.min_samples} is above max_samples {self.max_samples}"
            raise ValueError(message)
        return self


LONGEST_HEAD = 200
"""Characters in the name of a head."""


def _named(heads: Mapping[str, Head]) -> Mapping[str, Head]:
    for name in heads:
        if not 0 < len(name) <= LONGEST_HEAD:
            message = (
                f"a head's name has 1 to {LONGEST_HEAD} characters, {name!r:.20} has {len(name)}; "
                "call it as you like and give its `output`"
            )
            raise ValueError(message)
        if name == WHOLE_NETWORK:
            message = (
                f"no head is called {name!r}, which is where gates on all heads together are told; "
                "call it as you like and give its `output`"
            )
            raise ValueError(message)
    return heads


class Report(Section):
    images: bool = Field(
        True, description="Show the images on which most boxes changed; false leaves them out."
    )


class Verdicts(Section):
    """When a difference counts (docs/method.md)."""

    least_effect_db: float = Field(
        0.5,
        ge=0.05,
        le=20,
        description="Differences of SQNR that are smaller are no finding, in dB.",
    )
    equivalence_db: float = Field(
        1.0,
        ge=0.1,
        le=20,
        description="Versions that differ by less, with an error of 5 %, lose the same, in dB.",
    )


class Config(Section):
    """One experiment."""

    name: Name
    model: Model
    heads: Annotated[Mapping[str, Head], AfterValidator(_named)] = Field(min_length=1)
    data: Data
    gate: NetworkGate | None = Field(
        None, description="Limits of the whole network: all heads of a cell together."
    )
    decode: Decode | None = Field(None, description="How the outputs become boxes.")
    calibration: Calibration = Calibration()
    quantisation: Quantisation = Quantisation()
    precisions: tuple[Precision, ...] = Field((Precision.FP32, Precision.INT8), min_length=1)
    repeats: Annotated[
        Annotated[Annotated[int, Field(ge=1, le=100)], Tag(f"{BRANCH}fixed")]
        | Annotated[Repeats, Tag(f"{BRANCH}sequential")],
        Discriminator(_fixed_or_sequential),
    ] = Field(
        3,
        description="Each is a new process and a new build: the noise floor. {min: 2, max: 6} adds "
        "repeats to the cells that are not decided yet.",
    )
    devices: tuple[Device, ...] = Field(("cpu",), min_length=1)
    baseline: str = Field(description="Id of an environment, or its beginning: ort-1.32.")
    environments: tuple[
        Annotated[
            Annotated[Venv, Tag(f"{BRANCH}venv")]
            | Annotated[Interpreter, Tag(f"{BRANCH}interpreter")]
            | Annotated[Ngc, Tag(f"{BRANCH}ngc")]
            | Annotated[Image, Tag(f"{BRANCH}image")]
            | Annotated[Elsewhere, Tag(f"{BRANCH}elsewhere")]
            | Annotated[Dumps, Tag(f"{BRANCH}dumps")],
            Discriminator(
                tag_of,
                custom_error_type="kind",
                custom_error_message=f"an environment has one of the keys {', '.join(KINDS)}",
            ),
        ],
        ...,
    ] = Field(min_length=1)
    hosts: Mapping[Name, Host] = Field(
        {}, description="Other machines with Docker, by a name of your choice."
    )
    engines: Engines = Field(default_factory=Engines)
    timing: Timing = Timing()
    deadline_s: float = Field(1800, gt=0, description="A job that runs longer is stopped.")
    verdicts: Verdicts = Verdicts()
    report: Report = Report()

    def repeats_range(self) -> tuple[int, int]:
        """Returns the least and the most repeats of a cell."""
        if isinstance(self.repeats, Repeats):
            return self.repeats.min, self.repeats.max
        return self.repeats, self.repeats

    def environment_ids(self) -> tuple[str, ...]:
        return tuple(name for entry in self.environments for name in entry.ids())

    def recordable(self, entry: Dumps) -> Mapping[str, Pass]:
        """Returns what the passes of recorded outputs may be called → the pass."""
        return recordable(entry.engine, self.calibration.shared_name, get_args(Calibrator))

    def onnxruntime_of(self, entry: Venv | Interpreter | Image | Elsewhere) -> OnnxRuntime:
        """Returns the options of one entry, with its provider chosen."""
        own = entry.options if isinstance(entry.options, OnnxRuntime) else None
        options = own or self.engines.onnxruntime
        on_gpu = isinstance(entry, Venv) and entry.venv == "onnxruntime-gpu"
        default = "CUDAExecutionProvider" if on_gpu else "CPUExecutionProvider"
        return options.model_copy(update={"provider": options.provider or default})


MOST_PROBLEMS = 50
"""More are counted, not told."""


def load(path: Path) -> tuple[Config, Document]:
    """Reads matrix.yaml and checks its shape; every problem at once.

    Raises:
        ConfigError: the file is not readable as an experiment.
    """
    document = read(path)
    return validate(document), document


def validate(document: Document) -> Config:
    """Raises ConfigError with every problem of the document's shape."""
    try:
        # By way of JSON, where strict takes a list for a tuple and text for a path, but no 1 for yes.
        return Config.model_validate_json(json.dumps(document.value))
    except pydantic.ValidationError as error:
        # Where every item is wrong, pydantic also calls the list too short: told once is enough.
        told = [e for e in error.errors() if e["type"] != "too_short" or not e.get("input")]
        problems = list(dict.fromkeys(_problem(document, one) for one in told[:MOST_PROBLEMS]))
        if len(told) > MOST_PROBLEMS:
            problems.append(f"and {len(told) - MOST_PROBLEMS} more")
        raise ConfigError(document.source, problems) from error


def _problem(document: Document, error: Any) -> str:
    path = tuple(part for part in error["loc"] if not str(part).startswith(BRANCH))
    return problem(document, path, error, _allowed_keys)


def schema() -> Mapping[str, Any]:
    """Returns the JSON schema of matrix.yaml."""
    return Config.model_json_schema(mode="validation") | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "matrix.yaml",
    }


SECTIONS: Mapping[str, type[Section]] = {
    "": Config,
    "model": Model,
    "model.plugins.*": Plugin,
    "model.uff": Uff,
    "report": Report,
    "verdicts": Verdicts,
    "heads.*": Head,
    "heads.*.gate": Gate,
    **{f"heads.*.gate.{one}": HeadLimits for one in OWN},
    "gate": NetworkGate,
    **{f"gate.{one}": BoxLimits for one in OWN},
    "data": Data,
    "data.calibration": LabelledImages,
    "data.evaluation": LabelledImages,
    "data.preprocess": Preprocess,
    "decode": Decode,
    "calibration": Calibration,
    "calibration.shared": SharedTable,
    "quantisation": Quantisation,
    "calibration.forensics": Forensics,
    "environments.*.options": OnnxRuntime,
    "environments.*.venv": Requirements,
    "environments.*.ngc": TensorRtRange,
    "environments.*.passes.*": RecordedPass,
    "engines": Engines,
    "repeats": Repeats,
    "engines.onnxruntime": OnnxRuntime,
    "engines.tensorrt": TensorRt,
    "timing": Timing,
}
"""Which section stands where; an environment's own section depends on its kind."""


def _allowed_keys(document: Document, path: Path_) -> list[str]:
    parts = [str(part) for part in path]
    if parts[:1] in (["heads"], ["environments"]) and len(parts) > 1:
        parts[1] = "*"
        if parts[2:3] == ["passes"]:
            parts[3:4] = ["*"]
    if parts[:2] == ["model", "plugins"]:
        parts[2:3] = ["*"]
    section = SECTIONS.get(".".join(parts))
    if section is None:
        entry = document.value["environments"][path[1]]
        section = KINDS[kind_of(entry) or "venv"]
    return [field.alias or name for name, field in section.model_fields.items()]
