"""What run-pack.py may say of what it ran: typed and bounded, since it comes from another machine. Pure."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from trt_matrix.containers.job import protocol
from trt_matrix.execution.answer_models import Seconds
from trt_matrix.execution.left import LeftFile

Text = Annotated[str, Field(max_length=20_000)]
PassName = Annotated[str, Field(pattern="^" + protocol.SAFE_NAME.pattern.replace(r"\Z", "$"))]


class _Returned(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class ReturnedManifest(_Returned):
    """results.json."""

    pack: str = Field(pattern="^[0-9a-f]{64}$")
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    left: dict[str, LeftFile] = {}
    """Outputs that stayed there; none from older programs, which always returned them."""


class ReturnedEnding(_Returned):
    """ending.json of one start."""

    command: tuple[Text, ...] = Field(max_length=1000)
    exit_code: int | None
    signal: Annotated[int, Field(ge=0, le=1000)] | None
    timed_out: bool
    error: Text | None
    stage: Text | None = None
    started: Text = ""
    """By the clock there; older packs did not say."""
    wall_s: Seconds
    failed: tuple[PassName, ...]


class _Pass(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    name: PassName


class ReturnedRequest(BaseModel):
    """request.json of one start, as far as a file is named by it; all of it says what was asked."""

    model_config = ConfigDict(extra="allow", frozen=True)

    passes: tuple[_Pass, ...]
    calibration: dict[str, Any] | None
