"""`trt-matrix diagnose` from its options to what is stored and told."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import onnx

from runner.cells import Status
from runner.commands.diagnose import Done
from runner.core.diagnosis.quantisers import DiagnosisError
from runner.core.diagnosis.record import Diagnosis
from runner.core.network.graph import GraphError
from runner.core.qdq.explicit import place
from runner.diagnosis.diagnosing import diagnose
from runner.diagnosis.opening import opened
from runner.diagnosis.subject import Subject, Wish
from runner.errors import ConfigError
from runner.execution.progress import Progress
from runner.records import Limit
from runner.store import json_text, write_text

FILE = "diagnosis.json"


def wish(*, images: int, heads: Sequence[str], goals: Sequence[str], most_cost: float) -> Wish:
    """Reads the options.

    Raises:
        ConfigError: a goal that is none.
    """
    known = get_args(Limit)
    found = []
    for goal in goals:
        name, _, number = goal.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if name not in known or not abs(value) < float("inf"):
            problem = f"{goal!r}: expected NAME=NUMBER with one of {', '.join(known)}"
            source = "--goal"
            raise ConfigError(source, [problem])
        found.append((name, value))
    return Wish(images=images, heads=tuple(heads), goals=tuple(found), most_cost=most_cost)


def diagnosed(
    what: str,
    results: Path,
    wished: Wish,
    *,
    table: str | None,
    output: Path | None,
    progress: Progress,
) -> Done:
    """Diagnoses a network, stores what was found, and writes the network with the chosen set in float.

    Raises:
        RunnerError: it cannot be diagnosed; says why and what to do.
    """

    def told(stage: str) -> None:
        progress.stage("diagnose", stage)

    try:
        subject, store = opened(what, results, table, told)
        made = diagnose(subject, wished, store, told)
    except (DiagnosisError, GraphError) as error:
        raise ConfigError(what, [str(error)]) from error
    finally:
        progress.ended("diagnose")
    for warning in store.warnings:
        progress.warn(warning)
    progress.done("diagnose", Status.OK, f"{sum(made.seconds.values()):.0f} s")
    name = FILE if subject.run else f"{subject.name}.{FILE}"
    file = write_text(subject.folder / name, json_text(made.model_dump(mode="json")))
    network = _write_network(subject, made, output) if output else None
    return Done(diagnosis=made, file=file, network=network)


def _write_network(subject: Subject, made: Diagnosis, output: Path) -> Path | None:
    """Writes the network with everything in int8 but the chosen set, as its engine takes it."""
    chosen = made.search.chosen
    if chosen is None:
        return None
    exclude = subject.options.exclude | set(chosen.layers)
    placed = place(
        subject.model, subject.table, dataclasses.replace(subject.options, exclude=exclude)
    )
    try:
        onnx.save(placed.model, output)
    except OSError as error:
        raise ConfigError(str(output), [f"cannot be written: {error.strerror}"]) from error
    return output
