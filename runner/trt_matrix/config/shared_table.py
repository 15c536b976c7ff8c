"""`calibration.shared`: an algorithm's name, or a table of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from trt_matrix.config.environments import TableNames, twice_named
from trt_matrix.config.sections import BRANCH, Section, branches

Algorithm = Literal["entropy", "minmax", "percentile", "mse", "robust"]

FILE = "file"
"""What the table of a file is called where others are called after their algorithm: `int8-shared-file`."""


class SharedTable(Section):
    """A table of one's own, in any form that is read: docs/reference/tables.md."""

    table: Path = Field(
        description="TensorRT's cache, ONNX Runtime's text, JSON or flatbuffers, one of this tool's, or a "
        "network with Q/DQ, relative to this file."
    )
    names: TableNames = Field({})

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if twice := twice_named(self.names):
            raise ValueError(twice)
        return self


Shared = Annotated[
    Annotated[Literal[Algorithm, "best"] | None, Tag(f"{BRANCH}algorithm")]
    | Annotated[SharedTable, Tag(f"{BRANCH}table")],
    branches(Mapping | SharedTable, "table", "algorithm"),
]


def name_of(shared: str | SharedTable | None) -> str | None:
    """Returns what passes with the shared table are called after; None without one."""
    return FILE if isinstance(shared, SharedTable) else shared
