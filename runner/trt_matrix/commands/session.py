"""One function a command: reads the experiment, hands it to the loop, judges, writes the report."""

import dataclasses
import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from trt_matrix.commands import init as template
from trt_matrix.commands.footprint import footprint
from trt_matrix.commands.init_data import given
from trt_matrix.commands.plan import Planned
from trt_matrix.commands.run_manifest import manifest_of
from trt_matrix.core.cells import TableSource
from trt_matrix.core.manifest import CalibrationFacts
from trt_matrix.core.metrics import EPSILON
from trt_matrix.core.network import graph, loading
from trt_matrix.core.network.ordering import CircleError, order
from trt_matrix.core.prepared.likely import likely
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.core.tables.table import to_json
from trt_matrix.core.verdicts.head_errors import undecided
from trt_matrix.core.words import listed
from trt_matrix.diagnosis.during_run import layers_to_try
from trt_matrix.environments.preflight import watch
from trt_matrix.environments.venv import VenvEnvironment
from trt_matrix.errors import ConfigError, EnvironmentUnavailableError
from trt_matrix.execution.forecast import known_repeats
from trt_matrix.execution.matrix import ExperimentRun
from trt_matrix.execution.progress import Progress
from trt_matrix.inputs.images import overlap
from trt_matrix.judging.box_facts import box_facts
from trt_matrix.judging.calibration_facts import calibration_facts
from trt_matrix.judging.keeping import release
from trt_matrix.judging.outcome import Outcome
from trt_matrix.judging.run import evidence, report
from trt_matrix.judging.settled import Settling
from trt_matrix.packs.merging import answering
from trt_matrix.planning.arrays import data_of, known_data
from trt_matrix.planning.experiment import Experiment, read_experiment
from trt_matrix.planning.matrix import Checked
from trt_matrix.planning.quantised import prepared_note, told_of
from trt_matrix.store.objects import require_folder
from trt_matrix.store.results import RunFolder, Store, object_of, utc_now
from trt_matrix.store.untrusted import named_file

IN_USE = "outputs stay for now: another trt-matrix has the results open; the next run frees them"


def run_experiment(
    source: Path,
    results: Path,
    *,
    select: Sequence[str],
    offline: bool,
    fresh: bool = False,
    progress: Progress,
) -> Outcome:
    """Runs what is not known yet, judges everything, writes the report.

    Raises:
        RunnerError: nothing could be run at all; see its kinds.
        KeyboardInterrupt: after the records and the report of what ended were written.
    """
    started = time.monotonic()
    experiment = read_experiment(source, select, answering(results))
    store = Store(results)
    for text in experiment.notes:
        progress.note(text)
    for text in experiment.doubts:
        progress.warn(text)
    _warn_of_overlap(experiment.checked, progress)
    wants = experiment.wants(data_of(experiment.checked, store))
    run = store.new_run(experiment.checked.config.name, utc_now())
    run.write_text("matrix.yaml", source.read_text("utf-8-sig"))
    settled = settling(experiment, store)
    matrix = ExperimentRun(
        run=run,
        progress=progress,
        wants=wants,
        cells=experiment.cells,
        environments=experiment.environments,
        reference=experiment.reference,
        named=experiment.named,
        engine_options=experiment.engine_options,
        offline=offline,
        fresh=fresh,
        watch=watch,
        undecided=lambda matrix: _undecided(experiment, matrix, run),
        kept_in_float=lambda matrix: _kept_in_float(experiment, matrix, run, started),
        settled=settled,
        take=settled.take,
    )
    stopped: tuple[BaseException, str] | None = None
    images: CalibrationFacts | None = None
    try:
        matrix.run()
        images = calibration_facts(experiment, matrix, progress)
    except KeyboardInterrupt as error:
        stopped = error, "interrupted; run again to go on from here"
    except EnvironmentUnavailableError as error:
        stopped = error, "without the reference nothing can be compared"
    except ConfigError as error:
        stopped = error, "the network's variants are not one function"
    reason = stopped[1] if stopped else None
    _write(experiment, matrix, run, time.monotonic() - started, images, stopped=reason)
    outcome = report(run, matrix.cells, stage=progress.stage)
    if not stopped and release(run, settling(experiment, store)) is None:
        progress.note(IN_USE)
    for text in store.warnings:
        progress.warn(text)
    run.make_latest()
    if stopped:
        raise stopped[0]
    return dataclasses.replace(outcome, report=results / "latest" / "report.html")


def plan_experiment(source: Path, results: Path, *, select: Sequence[str]) -> Planned:
    """Says what a run would do; makes and runs nothing."""
    experiment = read_experiment(source, select, answering(results))
    disk = footprint(experiment)
    return Planned(
        cells=experiment.cells,
        known=_known(experiment, Store(results)) if (results / Store.FOLDER).is_dir() else {},
        repeats=experiment.checked.config.repeats_range()[0],
        most_repeats=experiment.checked.config.repeats_range()[1],
        bytes_a_repeat=experiment.bytes_a_repeat,
        running_bytes=disk.while_running,
        kept=disk.kept,
        notes=(*experiment.notes, *experiment.doubts, *_mixed_note(experiment)),
        fetch=_to_fetch(experiment),
    )


def _mixed_note(experiment: Experiment) -> tuple[str, ...]:
    shared = any(cell.pass_.source is TableSource.SHARED for cell in experiment.cells)
    if not (shared and experiment.checked.config.quantisation.finds_mixed):
        return ()
    loses = "" if experiment.checked.boxless else " or loses boxes"
    return (
        f"where int8 breaks a gate{loses}, int8-mixed is measured as well, with the layers in float "
        "that would help (`quantisation: {mixed: null}` leaves it out)",
    )


def _to_fetch(experiment: Experiment) -> Mapping[str, Mapping[str, int] | str]:
    """Returns environment → what it would fetch, or why it cannot be made; of TensorRT's packages alone.

    Those are gigabytes. Finding out asks the index once, for their sizes.
    """
    fetched: dict[str, Mapping[str, int] | str] = {}
    for name in dict.fromkeys(cell.environment for cell in experiment.cells if not cell.obstacle):
        environment = experiment.environments[name]
        if not isinstance(environment, VenvEnvironment) or environment.engine != "tensorrt":
            continue
        try:
            if sizes := environment.to_fetch():
                fetched[name] = sizes
        except EnvironmentUnavailableError as error:
            fetched[name] = str(error)
    return fetched


def _known(experiment: Experiment, store: Store) -> Mapping[str, int]:
    data = known_data(experiment.checked, store)
    if data is None:
        return {}
    return known_repeats(
        store,
        experiment.wants(data),
        experiment.cells,
        experiment.environments,
        experiment.reference,
        experiment.engine_options,
        settling(experiment, store, looking=True),
    )


def settling(experiment: Experiment, store: Store, *, looking: bool = False) -> Settling:
    """Returns what knows of outputs that were not kept; `looking`: without storing labels."""
    put = object_of if looking else store.put
    return Settling(store, EPSILON, lambda: box_facts(experiment.checked, put))


def init(
    model: Path,
    output: Path,
    *,
    force: bool,
    images: Path | None = None,
    versions: Sequence[str] = template.VERSIONS,
    repeats: int = template.REPEATS,
    runs: bool = False,
) -> str:
    """Writes a matrix.yaml for a network; returns what to do next.

    With `images`, a folder of samples, nothing is left to be filled in; `force` overwrites one that is there.

    Raises:
        ConfigError: the network or the samples cannot be used, or the file exists already.
        StoreError: there is no such folder.
    """
    if output.exists() and not force:
        raise ConfigError(str(output), ["it exists already; --force overwrites it"])
    samples = given(images, str(_relative(images, output.parent))) if images else None
    try:
        parsed = loading.parse(named_file(model, LIMIT_NETWORK_BYTES), str(model))
        moved = order(parsed.graph)
        proposed = likely(parsed, samples.arrays if samples else None)
        notes = told_of(parsed, model.name, proposed.wishes)
        called = _relative(model, output.parent)
        text = template.text(called, parsed, notes, samples, versions, repeats)
    except OSError as error:
        raise ConfigError(str(model), [error.strerror or "cannot be read"]) from error
    except (CircleError, graph.GraphError) as error:
        raise ConfigError(str(model), [str(error)]) from error
    require_folder(output)
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(str(output), [f"cannot be written: {error.strerror}"]) from error
    done = proposed.prepared.facts or moved
    prepared = prepared_note(model.name, proposed.prepared, sorted_=moved) if done else ""
    # A run warns of guesses itself.
    guessed = (
        ""
        if runs or not proposed.guesses
        else f"a guess, to be checked: {listed(proposed.guesses)}"
    )
    lines = "".join(f"{note}\n" for note in (prepared, *notes, guessed) if note)
    if runs:
        if samples and samples.key == "arrays":
            return f"{lines}wrote {output}: it runs now"
        return f"{lines}wrote {output}: it runs now; what it says of preprocessing must be what the network was trained with"
    if samples and samples.key == "arrays":
        return f"{lines}wrote {output}: `trt-matrix plan {shlex.quote(str(output))}` is next"
    todo = "its preprocessing" if samples else "its two folders of samples and their preprocessing"
    return f"{lines}wrote {output}: set {todo}, then `trt-matrix plan {shlex.quote(str(output))}`"


def _relative(path: Path, folder: Path) -> Path:
    absolute, base = path.resolve(), folder.resolve()
    return absolute.relative_to(base) if absolute.is_relative_to(base) else absolute


def _warn_of_overlap(checked: Checked, progress: Progress) -> None:
    for path, other in overlap(checked.calibration, checked.evaluation)[:3]:
        progress.warn(f"{other} is also a calibration image ({path.name}): its error is too small")


# What is written down


def _write(
    experiment: Experiment,
    matrix: ExperimentRun,
    run: RunFolder,
    wall_s: float,
    seen: CalibrationFacts | None = None,
    *,
    stopped: str | None = None,
) -> None:
    """Writes everything that a judgement is made of."""
    for record in matrix.records(stopped=stopped):
        run.write_record(record)
    for name, table in matrix.tables.items():
        run.write_text(f"tables/{name[:12]}.json", to_json(table))
    facts = {**box_facts(experiment.checked, run.store.put), "calibration": seen}
    run.write_manifest(manifest_of(experiment, matrix, run, wall_s).model_copy(update=facts))


def _kept_in_float(
    experiment: Experiment, matrix: ExperimentRun, run: RunFolder, started: float
) -> Mapping[bool, Sequence[str]]:
    """Returns the layers to try in float, where matrix.yaml leaves that to us."""
    if not experiment.checked.config.quantisation.finds_mixed:
        return {}
    _write(experiment, matrix, run, time.monotonic() - started)
    return layers_to_try(run, matrix.cells, matrix.progress)


def _undecided(experiment: Experiment, matrix: ExperimentRun, run: RunFolder) -> Collection[str]:
    """Returns the cells that more repeats would decide, as far as it has gone."""
    manifest = manifest_of(experiment, matrix, run, 0.0)
    return undecided(evidence(run, manifest, matrix.cells, matrix.records()))
