"""An environment whose jobs run elsewhere: packed on the way out, answered from what came back."""

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.core.cells import Status
from trt_matrix.core.records import digest
from trt_matrix.environments.base import (
    PACKED,
    Ending,
    Environment,
    Identity,
    JobRun,
    Transfer,
    untold,
)
from trt_matrix.execution.left import LEFT, LeftFacts, question
from trt_matrix.store.results import same_file_system_link

ENDING = "ending.json"
LOG = "job.log"
SHARED = ("schema_version", "engine", "engine_options", "input", "heads", "evaluation", "timing")
"""Keys of a request that decide the answer of each of its passes."""


def pass_key(request: Mapping[str, Any], pass_: Mapping[str, Any]) -> str:
    """Returns the key of one of a request's passes; files are named by content, so it covers them."""
    question = {name: value for name, value in pass_.items() if name != "compare_with"}
    shared = {name: request.get(name) for name in SHARED}
    shared |= {name: request[name] for name in ("batch", "plugins") if request.get(name)}
    return digest({"pass": question, "repeat": request.get("repeat"), **shared})


def calibration_key(request: Mapping[str, Any]) -> str:
    shared = {name: request.get(name) for name in SHARED if name != "timing"}
    shared |= {"batch": request["batch"]} if request.get("batch") else {}
    return digest({"calibration": request["calibration"], **shared})


def pool(store: Path, environment: str) -> Path:
    """Returns where in `results/.store` the answers of an environment are kept."""
    return store / "merged" / environment


class _Elsewhere:
    """What both have: the name and the engine of the environment they stand for."""

    def __init__(self, stood_for: Environment) -> None:
        self.name = stood_for.name
        self.engine = stood_for.engine

    def obstacle(self, device: str) -> str | tuple[Status, str] | None:
        del device  # it is on the other machine
        return None

    def prepare(self, *, offline: bool, transfer: Transfer = untold) -> Identity:
        del offline, transfer
        return self.identity()

    def identity(self) -> Identity:
        facts = {"kind": PACKED, "environment": self.name, "engine": self.engine}
        return Identity(fingerprint=digest(facts), facts=facts)


class PackedEnvironment(_Elsewhere):
    """Keeps every request that it is given, and answers none."""

    def __init__(self, stood_for: Environment, folder: Path, repeats: int) -> None:
        """Keeps nothing yet; requests/ and objects/ of the pack are in `folder`.

        A failed pass is not repeated, so all repeats are kept at once.
        """
        super().__init__(stood_for)
        self.folder = folder
        self.repeats = repeats
        self.kept: dict[str, Mapping[str, Any]] = {}
        """id → what run-pack.py must know of it."""

    def run(self, job: JobRun) -> Ending:
        asked = json.loads((job.request / protocol.REQUEST).read_text("utf-8"))
        for file in job.request.iterdir():
            if file.name != protocol.REQUEST:
                # Already there by another request, perhaps one of another device at this moment.
                with contextlib.suppress(FileExistsError):
                    same_file_system_link(file, self.folder / "objects" / file.name)
        if asked["calibration"]:
            self._keep("calibrate", job, asked)
        else:
            for repeat in range(self.repeats):
                self._keep(f"repeat-{repeat}", job, {**asked, "repeat": repeat})
        return Ending(exit_code=None, error="packed, to run elsewhere")

    def _keep(self, what: str, job: JobRun, asked: Mapping[str, Any]) -> None:
        name = f"{self.name}@{job.device.replace('*', 'all').replace(':', '-')}@{what}"
        file = f"requests/{name}.json"
        protocol.write_json(str(self.folder / file), dict(asked))
        self.kept[name] = {
            "id": name, "environment": self.name, "request": file, "deadline_s": job.deadline_s,
        }  # fmt: skip


class MergedEnvironment(_Elsewhere):
    """Answers with what came back, as the job left it."""

    def __init__(self, stood_for: Environment, folder: Path) -> None:
        """Args: folder: as `pool` returns it."""
        super().__init__(stood_for)
        self.folder = folder

    def holds(self, asked: Mapping[str, Any]) -> bool:
        """Whether every pass of a request was answered there, well or badly."""
        return all(
            (self.folder / pass_key(asked, pass_)).is_dir()
            and _answers(self.folder / pass_key(asked, pass_), asked)
            for pass_ in asked["passes"]
        )

    def run(self, job: JobRun) -> Ending:
        result = job.result
        asked = json.loads((job.request / protocol.REQUEST).read_text("utf-8"))
        keys = [pass_key(asked, pass_) for pass_ in asked["passes"]]
        if asked["calibration"]:
            keys.append(calibration_key(asked))
        job.log.write_bytes(b"")
        # Those that are there first: what is missing ends the start.
        answers = sorted(
            (self.folder / key for key in keys), key=lambda answer: not answer.is_dir()
        )
        endings: list[Ending] = []
        for answer in answers:
            if not answer.is_dir() or not _answers(answer, asked):
                why = (
                    "its outputs stayed there, and what came in their place is of another reference, or of other "
                    "settings of boxes"
                    if answer.is_dir()
                    else f"not among the results merged for {self.name}"
                )
                message = f"{why}: `trt-matrix pack` again, run it there, merge it"
                return _timed(Ending(exit_code=None, error=message), endings)
            endings.append(_replay(answer, result, job.log))
            job.tick()
            if endings[-1].exit_code != 0 or (result / protocol.RESULT).is_file():
                return _timed(endings[-1], endings)
        job_answer = {"schema_version": 1, "status": "ok", "stage": None, "error": None}
        protocol.write_json(str(result / protocol.RESULT), job_answer)
        return _timed(endings[-1] if endings else Ending(exit_code=0), endings)


def _answers(answer: Path, asked: Mapping[str, Any]) -> bool:
    """Whether an answer is one to this question; outputs that came are, whatever they are compared with."""
    left = answer / LEFT
    if not left.is_file():
        return True
    facts = LeftFacts.model_validate_json(left.read_bytes())
    return dict(facts.settle) == question(asked.get("settle"))


def _timed(ending: Ending, endings: Sequence[Ending]) -> Ending:
    """Returns `ending` with when the job ran there; not known where several starts answered at once."""
    starts = {answered.started for answered in endings}
    return replace(ending, started=starts.pop() if len(starts) == 1 else "")


def _replay(answer: Path, result: Path, log: Path) -> Ending:
    """Puts one answer into the result folder; result.json only where the job gave up with it."""
    stored = json.loads((answer / ENDING).read_text("utf-8"))
    for file in (path for path in (answer / "result").rglob("*") if path.is_file()):
        target = result / file.relative_to(answer / "result")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        same_file_system_link(file, target)
    if (answer / LEFT).is_file():
        for path in (answer / "result" / protocol.PASSES).iterdir():
            shutil.copyfile(answer / LEFT, result / protocol.PASSES / path.name / LEFT)
    with log.open("ab") as stream:
        stream.write((answer / LOG).read_bytes())
    return Ending(
        # A start that answered this one and then broke down is no failure of this one.
        exit_code=stored["exit_code"] if stored["failed"] else 0,
        signal=stored["signal"] if stored["failed"] else None,
        timed_out=stored["timed_out"] and stored["failed"],
        error=stored["error"] if stored["failed"] else None,
        command=tuple(stored["command"]),
        started=stored.get("started", ""),  # by the clock there; older packs did not say
        wall_s=stored["wall_s"],
    )
