"""ticket.json: what a ticket holds, what was taken out of it, and every file's hash."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from trt_matrix.core.records import Stored

NAME = "ticket.json"
ROOT = "ticket"
"""Every name in the zip starts with it."""


class File(Stored):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class TakenOut(Stored):
    kind: str
    file: str
    count: int


class CellOfTicket(Stored):
    cell: str
    status: str
    reproduce: str | None
    """Name of its script; None where it has none."""
    why_not: str | None = None


class StandIn(Stored):
    """What stands in for weights or images that stayed at home, and whether the fault is still there."""

    what: tuple[str, ...]
    """`weights`, `images`."""
    survives: bool
    sentence: str
    heads: Mapping[str, Mapping[str, tuple[float | None, float | None]]]
    """head → table → SQNR in dB of its simulation, with the original and with the stand-in."""


class TicketContent(Stored):
    schema_version: Literal[1] = 1
    tool: str
    """Version of trt-matrix."""
    run: str
    images: int
    """Evaluation images that the jobs work on, of how many the run had."""
    of_images: int
    same_job: bool
    """Whether the job's program is the one that measured; another one may give other numbers."""
    cells: tuple[CellOfTicket, ...]
    stand_in: StandIn | None
    removed: tuple[TakenOut, ...]
    kept: tuple[str, ...]
    """What could not be taken out, and why."""
    files: Mapping[str, File]
