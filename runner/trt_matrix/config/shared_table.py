"""`calibration.shared`: an algorithm's name, or a table of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from trt_matrix.config.environments import twice_named
from trt_matrix.config.sections import BRANCH, Section

Algorithm = Literal["entropy", "minmax", "percentile", "mse", "robust"]

FILE = "file"
"""What the table of a file is called where others are called after their algorithm: `int8-shared-file`."""


class SharedTable(Section):
    """A table of one's own, in any form that is read: docs/reference/tables.md."""

    table: Path = Field(
        description="TensorRT's cache, ONNX Runtime's text, JSON or flatbuffers, one of this tool's, or a "
        "network with Q/DQ, relative to this file."
    )
    names: Mapping[str, str] = Field(
        {},
        description="Tensor as the table calls it → as the network does; a common prefix or suffix and names "
        "of nodes are found without.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if found := twice_named(self.names):
            raise ValueError(found)
        return self


def _kind(value: Any) -> str:
    return f"{BRANCH}{'table' if isinstance(value, Mapping | SharedTable) else 'algorithm'}"


Shared = Annotated[
    Annotated[Literal[Algorithm, "best"] | None, Tag(f"{BRANCH}algorithm")]
    | Annotated[SharedTable, Tag(f"{BRANCH}table")],
    Discriminator(_kind),
]


def name_of(shared: str | SharedTable | None) -> str | None:
    """Returns what passes with the shared table are called after; None without one."""
    return FILE if isinstance(shared, SharedTable) else shared
