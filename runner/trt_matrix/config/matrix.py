"""matrix.yaml as types. The shape is held here; what it refers to is checked in `trt_matrix.planning`."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pydantic
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from trt_matrix.config.data import (
    CalibrationSection,
    Calibrator,
    Data,
    Forensics,
    LabelledImages,
    Preprocess,
)
from trt_matrix.config.decoding import Decode, NoBoxes, PriorLevel
from trt_matrix.config.entry_point import WithFunction
from trt_matrix.config.environments import (
    KINDS,
    Dumps,
    EnvironmentEntry,
    Host,
    RecordedPass,
    TensorRtRange,
    kind_of,
    tag_of,
)
from trt_matrix.config.gates import OWN, BoxLimits, HeadGateSection, HeadLimits, NetworkGate
from trt_matrix.config.network import Head, Model, Plugin, Uff, named_heads
from trt_matrix.config.problems import problem
from trt_matrix.config.quantisation import Quantisation
from trt_matrix.config.sections import BRANCH, Name, OnnxRuntime, Section, TensorRt, branches
from trt_matrix.config.shared_table import SharedTable
from trt_matrix.config.venv import Requirements, Venv
from trt_matrix.config.yaml_file import Document, Path_, read
from trt_matrix.core.boxes.registry import STYLES
from trt_matrix.core.cells import Pass, Precision
from trt_matrix.core.manifest import EQUIVALENCE_DB, LEAST_EFFECT_DB
from trt_matrix.core.plan import recordable
from trt_matrix.errors import ConfigError

DEVICE = re.compile(r"cpu|gpu:(\*|[A-Za-z0-9][A-Za-z0-9 ._-]*)|GPU-[0-9a-fA-F-]+")


def _device(text: str) -> str:
    if not DEVICE.fullmatch(text):
        raise ValueError(f"{text!r:.80} is no device; cpu, gpu:*, gpu:0, gpu:NAME or GPU-uuid")
    return text


Device = Annotated[str, AfterValidator(_device)]


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
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Timing(Section):
    """How long latency is measured in each repeat of each cell."""

    min_samples: int = Field(20, ge=1)
    max_samples: int = Field(200, ge=1)
    max_s: float = Field(0.5, gt=0)
    warm_up_max_s: float = Field(0.25, ge=0)
    layer_runs: int = Field(20, ge=0, le=10_000)

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.min_samples > self.max_samples:
            message = f"min_samples {self.min_samples} is above max_samples {self.max_samples}"
            raise ValueError(message)
        return self


class Report(Section):
    images: bool = Field(
        True, description="Show the images on which most boxes changed; false leaves them out."
    )


class Verdicts(Section):
    """When a difference counts (docs/concepts/method.md)."""

    least_effect_db: float = Field(
        LEAST_EFFECT_DB,
        ge=0.05,
        le=20,
        description="Differences of SQNR that are smaller are no finding, in dB.",
    )
    equivalence_db: float = Field(
        EQUIVALENCE_DB,
        ge=0.1,
        le=20,
        description="Versions that differ by less, with an error of 5 %, lose the same, in dB.",
    )


class Config(Section):
    """One experiment."""

    name: Name
    guessed: tuple[str, ...] = Field(
        (),
        description="What `init` wrote and nothing in the network says: every run, and its report, warns of it first. "
        "Delete what you have checked.",
    )
    model: Model
    heads: Annotated[Mapping[str, Head], AfterValidator(named_heads)] = Field(min_length=1)
    data: Data
    gate: NetworkGate | None = Field(
        None, description="Limits of the whole network: all heads of a cell together."
    )
    decode: (
        Annotated[
            Annotated[Decode, Tag(f"{BRANCH}section")] | Annotated[NoBoxes, Tag(f"{BRANCH}none")],
            branches(Mapping | Decode, "section", "none"),
        ]
        | None
    ) = Field(
        None,
        description="How the outputs become boxes; none: the network makes none, as a classifier, a segmenter, "
        "an embedding or depth, and is judged by the errors of its heads.",
    )
    calibration: CalibrationSection = CalibrationSection()
    quantisation: Quantisation = Quantisation()
    precisions: tuple[Precision, ...] = Field((Precision.FP32, Precision.INT8), min_length=1)
    repeats: Annotated[
        Annotated[Annotated[int, Field(ge=1, le=100)], Tag(f"{BRANCH}fixed")]
        | Annotated[Repeats, Tag(f"{BRANCH}sequential")],
        branches(Mapping | Repeats, "sequential", "fixed"),
    ] = Field(
        3,
        description="Each is a new process and a new build: the noise floor. {min: 2, max: 6} adds "
        "repeats to the cells that are not decided yet.",
    )
    devices: tuple[Device, ...] = Field(("cpu",), min_length=1)
    baseline: str = Field(description="Id of an environment, or its beginning: ort-1.32.")
    reference: str | None = Field(
        None,
        description="What every error is against: an environment's fp32 (tensorflow), or another of its passes in "
        "floating point (tensorflow/fp16). Default: the network in FP32, computed here by this tool's ONNX Runtime.",
    )
    environments: tuple[
        Annotated[
            EnvironmentEntry,
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
    results_gb: float = Field(
        20, gt=0, le=10_000, description="A job start that leaves more than so much is stopped."
    )
    keep: Literal["sums", "outputs"] = Field(
        "sums",
        description="What stays of outputs once all is judged: the sums and boxes that were made of them, or "
        "the arrays, too. The reference's, and fp32's of each environment, stay in any case.",
    )
    verdicts: Verdicts = Verdicts()
    report: Report = Report()

    def repeats_range(self) -> tuple[int, int]:
        """Returns the least and the most repeats of a cell."""
        if isinstance(self.repeats, Repeats):
            return self.repeats.min, self.repeats.max
        return self.repeats, self.repeats

    def environment_ids(self) -> tuple[str, ...]:
        return tuple(name for entry in self.environments for name in entry.ids())

    @property
    def boxless(self) -> bool:
        """Whether it says that the network makes no boxes."""
        return isinstance(self.decode, str)

    @property
    def decoding(self) -> Decode | None:
        """How the outputs become boxes; None where they do not, or nothing says it."""
        return self.decode if isinstance(self.decode, Decode) else None

    def decoded_heads(self) -> tuple[str, ...]:
        """Returns the heads that hold boxes, in their order; none where nothing says how to decode."""
        if self.decoding is None:
            return ()
        chosen: Collection[str] = self.decoding.heads
        if not chosen and self.decoding.style and STYLES[self.decoding.style].roles:
            chosen = [name for name, head in self.heads.items() if head.role]
        return tuple(name for name in self.heads if not chosen or name in chosen)

    def recordable(self, entry: Dumps) -> Mapping[str, Pass]:
        """Returns what the passes of recorded outputs may be called → the pass."""
        return recordable(entry.engine, self.calibration.shared_name, get_args(Calibrator))

    def onnxruntime_of(self, entry: EnvironmentEntry) -> OnnxRuntime:
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
        errors = [e for e in error.errors() if e["type"] != "too_short" or not e.get("input")]
        problems = list(dict.fromkeys(_problem(document, e) for e in errors[:MOST_PROBLEMS]))
        if len(errors) > MOST_PROBLEMS:
            problems.append(f"and {len(errors) - MOST_PROBLEMS} more")
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
    "heads.*.gate": HeadGateSection,
    **{f"heads.*.gate.{precision}": HeadLimits for precision in OWN},
    "gate": NetworkGate,
    **{f"gate.{precision}": BoxLimits for precision in OWN},
    "data": Data,
    "data.calibration": LabelledImages,
    "data.evaluation": LabelledImages,
    "data.preprocess": Preprocess,
    "decode": Decode,
    "decode.priors.*": PriorLevel,
    "calibration": CalibrationSection,
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
    if parts[:2] in (["model", "plugins"], ["decode", "priors"]):
        parts[2:3] = ["*"]
    section = SECTIONS.get(".".join(parts))
    if section is None:
        entry = document.value["environments"][path[1]]
        section = KINDS[kind_of(entry) or "venv"]
    names = [field.alias or name for name, field in section.model_fields.items()]
    return sorted(
        names, key=WithFunction.model_fields.__contains__
    )  # inherited ones come first there
