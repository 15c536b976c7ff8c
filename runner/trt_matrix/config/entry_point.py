"""`engine: python` in matrix.yaml: which function of the user's own computes an environment's outputs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Tag, model_validator

from trt_matrix.config.sections import (
    BRANCH,
    OnnxRuntime,
    Section,
    TensorRt,
    branches,
    of_engine,
)

PYTHON = "python"

ENTRY_POINT = re.compile(r"(?P<file>[^:]*[^:/.][^:/]*\.py):(?P<function>[A-Za-z_]\w*)", re.ASCII)

ByPass = Literal["fp32", "tf32", "fp16", "bf16", "int8", "int8-qdq"]
"""A precision; `int8` is made by the function itself, `int8-qdq` by the Q/DQ nodes of the network it is given."""


def _entry_point(text: str) -> str:
    if not ENTRY_POINT.fullmatch(text):
        message = f"{text!r:.80} is no entry point: file.py:function, the file relative to this one"
        raise ValueError(message)
    return text


EntryPoint = Annotated[str, AfterValidator(_entry_point)]


class WithFunction(Section):
    """What entries have in which a function of the user's own may be the engine."""

    entry_point: (
        Annotated[
            Annotated[EntryPoint, Tag(f"{BRANCH}one")]
            | Annotated[Mapping[ByPass, EntryPoint], Field(min_length=1), Tag(f"{BRANCH}each")],
            branches(Mapping, "each", "one"),
        ]
        | None
    ) = Field(
        None,
        description="With engine: python, file.py:function from one image as it is fed, float32 (1, …), to "
        "{head: array (1, …)}. One for fp32, or {fp32: …, int8: …, int8-qdq: …} in one file: int8 is made by the "
        "function itself, int8-qdq runs the network with Q/DQ nodes that it is given.",
    )
    files: tuple[Path, ...] = Field(
        (),
        description="With entry_point, files and folders that it reads: weights, modules of its own. They lie "
        "beside its file by their names, and in the working folder.",
    )
    device: Literal["cpu", "gpu"] = Field(
        "cpu", description="With entry_point, which of `devices` the function computes on."
    )

    @property
    def _by_pass(self) -> Mapping[str, str]:
        stated = self.entry_point
        if isinstance(stated, str):
            return {"fp32": stated}
        return {str(pass_): text for pass_, text in (stated or {}).items()}

    @property
    def functions(self) -> Mapping[str, str]:
        """Pass → name of its function in `program`; empty where another engine is inside."""
        return {key: text.rpartition(":")[2] for key, text in self._by_pass.items()}

    @property
    def program(self) -> Path | None:
        """Returns the file of the functions."""
        return next((Path(text.rpartition(":")[0]) for text in self._by_pass.values()), None)

    @model_validator(mode="after")
    def _one_file(self) -> Self:
        files = sorted({text.rpartition(":")[0] for text in self._by_pass.values()})
        if len(files) > 1:
            raise ValueError(
                f"entry_point names functions in {' and '.join(files)}: an environment has one file, "
                "make two environments of it"
            )
        return self

    def _of_engine(self, engine: str, options: OnnxRuntime | TensorRt | None) -> Self:
        """Raises ValueError for options of another engine, or `entry_point` and `engine: python` not together."""
        of_engine(options, engine)
        if engine == PYTHON and self.entry_point is None:
            raise ValueError(
                "engine: python needs `entry_point: file.py:function` (docs/how-to/python-engine.md)"
            )
        idle = sorted({"entry_point", "files", "device"} & self.model_fields_set)
        if idle and engine != PYTHON:
            message = f"{', '.join(idle)}: belongs to `engine: python`, the engine here is {engine}"
            raise ValueError(message)
        return self
