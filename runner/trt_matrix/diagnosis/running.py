"""`trt-matrix diagnose` from its options to what is stored and told."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import onnx

from trt_matrix.core.cells import Status
from trt_matrix.core.diagnosis.latencies import ProfileError, read_profile
from trt_matrix.core.diagnosis.quantisers import DiagnosisError
from trt_matrix.core.diagnosis.record import Diagnosis
from trt_matrix.core.manifest import Limit
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.records import digest
from trt_matrix.diagnosis.diagnosing import diagnose
from trt_matrix.diagnosis.opening import opened
from trt_matrix.diagnosis.subject import DiagnosisWish, MeasuredQdq, Subject
from trt_matrix.diagnosis.told import Done
from trt_matrix.errors import ConfigError
from trt_matrix.execution.progress import Progress
from trt_matrix.judging.run_files import DIAGNOSIS
from trt_matrix.store.objects import require_folder
from trt_matrix.store.results import Store, json_text, write_text

Told = Callable[[str], None]
"""Takes what is being done."""

MOST_PROFILE_BYTES = 16 << 20

VERSION = 1
"""Raise when the same network with the same wish gives another diagnosis."""


def wish(
    *,
    images: int,
    heads: Sequence[str],
    goals: Sequence[str],
    most_cost: float,
    profile: Path | None = None,
) -> DiagnosisWish:
    """Reads the options.

    Raises:
        ConfigError: a goal that is none, or a profile that cannot be read.
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
    return DiagnosisWish(
        images=images,
        heads=tuple(heads),
        goals=tuple(found),
        most_cost=most_cost,
        profile=_profile(profile) if profile else {},
    )


def _profile(file: Path) -> Mapping[str, float]:
    try:
        if file.stat().st_size > MOST_PROFILE_BYTES:
            problem = f"larger than {MOST_PROFILE_BYTES >> 20} MB: no profile is"
            raise ConfigError(str(file), [problem])
        return read_profile(file.read_bytes())
    except OSError as error:
        raise ConfigError(str(file), [error.strerror or "cannot be read"]) from error
    except ProfileError as error:
        raise ConfigError(str(file), [str(error)]) from error


def diagnosed(
    what: str,
    results: Path,
    wished: DiagnosisWish,
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

    if output is not None:
        require_folder(output)
    try:
        subject, store = opened(what, results, table, told)
        made = diagnosis(subject, wished, store, told)
    except (DiagnosisError, GraphError, ProfileError) as error:
        raise ConfigError(what, [str(error)]) from error
    finally:
        progress.ended("diagnose")
    for warning in store.warnings:
        progress.warn(warning)
    progress.done("diagnose", Status.OK, f"{sum(made.seconds.values()):.0f} s")
    file = _write(subject, made)
    network = _write_network(subject, made, output) if output else None
    return Done(diagnosis=made, file=file, network=network)


def kept(subject: Subject, wished: DiagnosisWish, store: Store, told: Told) -> Diagnosis:
    """Returns what is found of a run's network, and writes it into the run's folder.

    Raises:
        DiagnosisError, GraphError: see `diagnose`.
    """
    made = diagnosis(subject, wished, store, told)
    _write(subject, made)
    return made


def diagnosis(subject: Subject, wished: DiagnosisWish, store: Store, told: Told) -> Diagnosis:
    """Returns what is found of a network, computed once; raises as `diagnose` does."""

    def make(target: Path) -> None:
        made = diagnose(subject, wished, store, told)
        target.write_text(json_text(made.model_dump(mode="json")))

    file = store.derive(_key(subject, wished), ".json", make)
    found = Diagnosis.model_validate_json(store.path(file).read_bytes())
    return found.model_copy(update={"name": subject.name, "run": subject.run})


def _key(subject: Subject, wished: DiagnosisWish) -> Mapping[str, Any]:
    """Returns everything that decides what is found."""
    options = subject.options
    return {
        "diagnosis": VERSION,
        "model": subject.model_sha256,
        "images": subject.images_sha256,
        "labels": subject.labels.sha256 if subject.labels else None,
        # Of what is no object only the half: see `Store.derive`.
        "asked": digest(
            {
                "heads": subject.heads,
                "table": (subject.table.digest, subject.table_name),
                "others": {name: other.digest for name, other in subject.others.items()},
                "placement": subject.placement,
                "options": repr(dataclasses.replace(options, exclude=frozenset())),
                "exclude": sorted(options.exclude),
                "files": subject.files,
                "gates": {
                    name: gate.model_dump(mode="json") for name, gate in subject.gates.items()
                },
                "gate": subject.gate.model_dump(mode="json") if subject.gate else None,
                "decode": subject.decode.model_dump(mode="json") if subject.decode else None,
                "evaluation": [image.model_dump(mode="json") for image in subject.evaluation],
                "notes": subject.notes,
                "measured": [(measured.cell, _hashes(measured)) for measured in subject.measured],
                "built": [
                    (
                        built.cell,
                        _hashes(built),
                        built.table.digest,
                        sorted(built.held),
                        repr(built.ran),
                    )
                    for built in (subject.builds.built if subject.builds else ())
                ],
                "times": repr(subject.times),
                "wish": dataclasses.asdict(wished),
            }
        )[:40],
    }


def _hashes(measured: MeasuredQdq) -> Mapping[str, str]:
    return {
        head: hashlib.sha256(sums.tobytes()).hexdigest() for head, sums in measured.sums.items()
    }


def _write(subject: Subject, made: Diagnosis) -> Path:
    name = DIAGNOSIS if subject.run else f"{subject.name}.{DIAGNOSIS}"
    return write_text(subject.folder / name, json_text(made.model_dump(mode="json")))


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
