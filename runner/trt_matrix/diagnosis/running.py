"""`trt-matrix diagnose` from its options to what is stored and told."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
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
from trt_matrix.diagnosis.from_matrix import of_matrix
from trt_matrix.diagnosis.from_run import content_of, of_run
from trt_matrix.diagnosis.subject import DiagnosisWish, MeasuredQdq, Subject, Told
from trt_matrix.diagnosis.summary import Done
from trt_matrix.errors import ConfigError, StoreError
from trt_matrix.execution.progress import Progress
from trt_matrix.judging.run_files import DIAGNOSIS
from trt_matrix.planning.arrays import known_data
from trt_matrix.planning.boxes import head_gates, network_gate
from trt_matrix.planning.experiment import Experiment, read_experiment
from trt_matrix.store.objects import require_folder
from trt_matrix.store.results import RunFolder, Store, finished_run, json_text, write_text

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
    limits = []
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
        limits.append((name, value))
    return DiagnosisWish(
        images=images,
        heads=tuple(heads),
        goals=tuple(limits),
        most_cost=most_cost,
        profile=_profile(profile) if profile else {},
    )


def _profile(file: Path) -> Mapping[str, float]:
    try:
        return read_profile(content_of(file, MOST_PROFILE_BYTES, "profile"))
    except ProfileError as error:
        raise ConfigError(str(file), [str(error)]) from error


def opened(what: str, results: Path, table: str | None, told: Told) -> tuple[Subject, Store]:
    """Returns what is to be diagnosed, and the store that keeps what is found.

    Args:
        what: A matrix.yaml, or the name of a run; `latest` is one.
        results: Where results are kept.
        table: Which table: an algorithm, a pass, the beginning of a digest, or a file; None: the one that
            the run's baseline ran with, else the shared one.
        told: Takes what is being done.

    Raises:
        ConfigError: nothing of the kind, or it cannot be diagnosed.
        StoreError: the run cannot be read.
    """
    path = Path(what)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        run = finished_run(what, results)
        return of_run(run, table), run.store
    experiment, store = read_experiment(path, []), Store(results)
    last = last_run(experiment, store)
    if last is None:
        return of_matrix(experiment, store, table, told), store
    config = experiment.checked.config
    # What is asked for now counts, not what the run was asked.
    gates = {gate.head: gate for gate in head_gates(config, experiment.checked.rankings.rows)}
    subject = of_run(last, table)
    return dataclasses.replace(subject, gates=gates, gate=network_gate(config)), store


def last_run(experiment: Experiment, store: Store) -> RunFolder | None:
    """Returns the newest run of this very network on these very images."""
    data = known_data(experiment.checked, store)
    if data is None:
        return None
    wanted = experiment.network.fp32.sha256
    for path in sorted(store.results.glob("*/manifest.json"), reverse=True):
        if path.parent.is_symlink():
            continue
        run = RunFolder(store, path.parent.name)
        try:
            manifest = run.manifest()
        except StoreError:
            continue  # a damaged run is none to take anything from
        model, asked = manifest.facts.get("model"), manifest.asked
        same = isinstance(model, dict) and model.get("sha256") == wanted
        if same and asked and asked.evaluation == data.evaluation and manifest.tables:
            return run
    return None


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
        found = diagnosis(subject, wished, store, told)
    except (DiagnosisError, GraphError, ProfileError) as error:
        raise ConfigError(what, [str(error)]) from error
    finally:
        progress.ended("diagnose")
    for warning in store.warnings:
        progress.warn(warning)
    progress.done("diagnose", Status.OK, f"{sum(found.seconds.values()):.0f} s")
    file = _write(subject, found)
    network = _write_network(subject, found, output) if output else None
    return Done(diagnosis=found, file=file, network=network)


def kept(subject: Subject, wished: DiagnosisWish, store: Store, told: Told) -> Diagnosis:
    """Returns what is found of a run's network, and writes it into the run's folder.

    Raises:
        DiagnosisError, GraphError: see `diagnose`.
    """
    found = diagnosis(subject, wished, store, told)
    _write(subject, found)
    return found


def diagnosis(subject: Subject, wished: DiagnosisWish, store: Store, told: Told) -> Diagnosis:
    """Returns what is found of a network, computed once; raises as `diagnose` does."""

    def make(target: Path) -> None:
        found = diagnose(subject, wished, store, told)
        target.write_text(json_text(found.model_dump(mode="json")))

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
                        build.cell,
                        _hashes(build),
                        build.table.digest,
                        sorted(build.held),
                        repr(build.ran),
                    )
                    for build in (subject.builds.built if subject.builds else ())
                ],
                "times": repr(subject.times),
                "wish": dataclasses.asdict(wished),
            }
        )[:40],
    }


def _hashes(measured: MeasuredQdq) -> Mapping[str, str]:
    sums = measured.sums
    return {head: hashlib.sha256(sums[head].tobytes()).hexdigest() for head in sums}


def _write(subject: Subject, found: Diagnosis) -> Path:
    name = DIAGNOSIS if subject.run else f"{subject.name}.{DIAGNOSIS}"
    return write_text(subject.folder / name, json_text(found.model_dump(mode="json")))


def _write_network(subject: Subject, found: Diagnosis, output: Path) -> Path | None:
    """Writes the network with everything in int8 but the chosen set, as its engine takes it."""
    chosen, options = found.search.chosen, subject.options
    if chosen is None:
        return None
    options = dataclasses.replace(options, exclude=options.exclude.union(chosen.layers))
    placed = place(subject.model, subject.table, options)
    try:
        onnx.save(placed.model, output)
    except OSError as error:
        raise ConfigError(str(output), [f"cannot be written: {error.strerror}"]) from error
    return output
