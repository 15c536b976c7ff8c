"""What every section of matrix.yaml is made of, and the options of the engines."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]
"""A name that becomes part of a cell id, a folder and a file."""

Version = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9._+-]*$", max_length=60)]

BRANCH = "\x1f"
"""Begins what pydantic puts into the place of an error to tell the branch of a union: no key does."""


def branches(types: Any, of_types: str, other: str) -> Discriminator:
    """Returns what chooses the branch of a union: `of_types` for a value of these types, else `other`."""

    def branch(value: Any) -> str:
        return BRANCH + (of_types if isinstance(value, types) else other)

    return Discriminator(branch)


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


def of_engine(options: OnnxRuntime | TensorRt | None, engine: str) -> None:
    if options is not None and engine == "python":
        raise ValueError("a function has no options of an engine: it sets what it wants itself")
    wanted = OnnxRuntime if engine == "onnxruntime" else TensorRt
    if options is not None and not isinstance(options, wanted):
        names = ", ".join(wanted.model_fields)
        raise ValueError(f"these are no options of {engine}, which is inside; it has: {names}")
