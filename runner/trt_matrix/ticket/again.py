"""One cell of a ticket, run again here: same, different, or cannot judge."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trt_matrix.config import matrix as configuration
from trt_matrix.config.environments import Image, Ngc
from trt_matrix.config.venv import Venv
from trt_matrix.containers.job import compare_again, protocol
from trt_matrix.core.records import Record
from trt_matrix.environments.base import Environment
from trt_matrix.environments.factory import environments_of
from trt_matrix.errors import (
    ConfigError,
    EnvironmentUnavailableError,
    ExitCode,
    NothingSelectedError,
)
from trt_matrix.execution.functions import ENGINE as FUNCTION
from trt_matrix.ticket.content import NAME, CellOfTicket, TicketContent
from trt_matrix.ticket.facts import MATRIX, record_name
from trt_matrix.ticket.requests import job_id
from trt_matrix.ticket.script import JOBS
from trt_matrix.ticket.start import start
from trt_matrix.ticket.verifying import unpack

OWN_FUNCTION = "its engine is a function of whoever made the ticket, whose code is not run"
PLUGINS = "its job loads plugins, code of whoever made the ticket: read it, then run its reproduce.sh yourself"

EnvironmentOf = Callable[[Path, str], Environment | str]
"""(matrix.yaml, name) → the environment, or why it cannot be made here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rerun:
    cell: str
    word: str
    """`same`, `different` or `cannot judge`."""
    reason: str
    table: tuple[str, ...] = ()

    def text(self) -> str:
        return "\n".join(["", *self.table, f"{self.cell}: {self.word}: {self.reason}"])

    def exit_code(self) -> ExitCode:
        codes = {
            compare_again.SAME: ExitCode.OK,
            compare_again.DIFFERENT: ExitCode.GATE_FAILED,
            compare_again.CANNOT_JUDGE: ExitCode.COULD_NOT_RUN,
        }
        return codes[self.word]


def environment_here(matrix: Path, name: str) -> Environment | str:
    """Returns an environment of a ticket's matrix.yaml, made from packages or an image alone.

    An interpreter is a path of somebody else's machine: whatever lies there here, it is not that.
    """
    try:
        config, _ = configuration.load(matrix)
    except ConfigError as error:
        return f"the ticket's matrix.yaml cannot be used here: {'; '.join(error.problems[:3])}"
    entry = next(
        (environment for environment in config.environments if name in environment.ids()), None
    )
    if not isinstance(entry, Venv | Ngc | Image):
        return (
            "its environment was an interpreter, a recording or a machine of whoever made the "
            "ticket; run its reproduce.sh with a Python of yours"
        )
    if not isinstance(entry, Venv) and entry.host:
        return f"it ran on the Docker engine of another machine ({entry.host})"
    return environments_of(config, matrix.parent)[name]


def rerun(
    path: Path,
    cell: str,
    *,
    offline: bool,
    environment_of: EnvironmentOf = environment_here,
) -> Rerun:
    """Checks a ticket, makes a cell's environment as the ticket says, and runs its job in it.

    The job's program is this tool's own, never the ticket's.

    Raises:
        StoreError: the ticket is damaged or harmful.
        NothingSelectedError: it has no such cell.
    """
    with tempfile.TemporaryDirectory(prefix="trt-matrix-ticket-") as name:
        folder = Path(name)
        content = unpack(path, folder / "ticket")
        cell_of_ticket = _found(path, content, cell)
        if cell_of_ticket.reproduce is None:
            return _cannot(cell, cell_of_ticket.why_not or "the ticket has no job of it")
        root = folder / "ticket"
        record = Record.model_validate_json((root / record_name(cell)).read_text("utf-8"))
        environment = environment_of(root / MATRIX, record.environment)
        if isinstance(environment, str):
            return _cannot(cell, environment)
        if obstacle := environment.obstacle(record.device):
            return _cannot(cell, obstacle if isinstance(obstacle, str) else obstacle[1])
        try:
            environment.prepare(offline=offline)
        except EnvironmentUnavailableError as error:
            return _cannot(cell, str(error))
        return _run(root / JOBS, folder, record, environment)


def _found(path: Path, content: TicketContent, cell: str) -> CellOfTicket:
    for cell_of_ticket in content.cells:
        if cell_of_ticket.cell == cell:
            return cell_of_ticket
    ready = [cell_of_ticket.cell for cell_of_ticket in content.cells if cell_of_ticket.reproduce]
    known = ", ".join(ready) or f"none; see {NAME}"
    message = f"{path}: it has no cell {cell}; those that can be run again: {known}"
    raise NothingSelectedError(message)


def _cannot(cell: str, reason: str) -> Rerun:
    return Rerun(cell=cell, word=compare_again.CANNOT_JUDGE, reason=reason)


def _run(jobs: Path, folder: Path, record: Record, environment: Environment) -> Rerun:
    job = job_id(record.cell)
    asked = protocol.read_json(str(jobs / "requests" / f"{job}.json"))
    if asked.get("plugins"):
        return _cannot(record.cell, PLUGINS)
    if asked.get("engine") == FUNCTION:
        return _cannot(record.cell, OWN_FUNCTION)
    expected = protocol.read_json(str(jobs / compare_again.EXPECTED))[job]
    pack = json.loads((jobs / "pack.json").read_text("utf-8"))
    deadline_s = next(request["deadline_s"] for request in pack["requests"] if request["id"] == job)
    objects, room = jobs / "objects", folder / "job"
    ending, result = start(
        environment, asked, objects, room, device=record.device, deadline_s=deadline_s
    )
    if ending.error:
        return _cannot(record.cell, ending.error)
    word, reason, observed = compare_again.compared(expected, [str(result)], str(jobs))
    table = tuple(compare_again.table(expected, observed))
    return Rerun(cell=record.cell, word=word, reason=reason, table=table)
