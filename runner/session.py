"""One function a command: reads the experiment, hands it to the loop, judges, writes the report."""

import dataclasses
import platform
import time
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from runner.calibration_facts import calibration_facts
from runner.checks.boxes import head_gates, network_gate
from runner.checks.matrix import Checked
from runner.checks.quantised import told_of
from runner.commands import init as template
from runner.commands.plan import Planned
from runner.config import matrix as configuration
from runner.core.network import graph
from runner.core.network.lineage import behind
from runner.core.tables.table import to_json
from runner.core.verdicts.head_errors import undecided
from runner.environments.preflight import watch
from runner.errors import ConfigError, EnvironmentUnavailableError
from runner.execution.forecast import known_repeats
from runner.execution.inputs import Network
from runner.execution.matrix import Matrix
from runner.execution.progress import Progress
from runner.experiment import Experiment, data_of, known_data, processor, read_experiment
from runner.images import overlap
from runner.judging.box_facts import box_facts
from runner.judging.run import evidence, report
from runner.outcome import Outcome
from runner.packs.merging import answering
from runner.records import Asked, CalibrationFacts, Manifest
from runner.store import Run, Store, json_text, utc_now

EPSILON = 1e-3
"""|d| above this is counted as a difference (DESIGN section 3)."""


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
    matrix = Matrix(
        run=run,
        progress=progress,
        wants=wants,
        cells=experiment.cells,
        environments=experiment.environments,
        reference=experiment.reference,
        engine_options=experiment.engine_options,
        offline=offline,
        fresh=fresh,
        watch=watch,
        undecided=lambda matrix: _undecided(experiment, matrix, run),
    )
    stopped: tuple[BaseException, str] | None = None
    seen: CalibrationFacts | None = None
    try:
        matrix.run()
        seen = calibration_facts(experiment, matrix, progress)
    except KeyboardInterrupt as error:
        stopped = error, "interrupted; run again to go on from here"
    except EnvironmentUnavailableError as error:
        stopped = error, "without the reference nothing can be compared"
    except ConfigError as error:
        stopped = error, "the network's variants are not one function"
    for text in store.warnings:
        progress.warn(text)
    for record in matrix.records(stopped=stopped[1] if stopped else None):
        run.write_record(record)
    for name, table in matrix.tables.items():
        run.write_text(f"tables/{name[:12]}.json", to_json(table))
    manifest = _manifest(experiment, matrix, run, time.monotonic() - started)
    run.write_manifest(
        manifest.model_copy(update={**box_facts(experiment.checked, store), "calibration": seen})
    )
    outcome = report(run, experiment.cells, stage=progress.stage)
    run.make_latest()
    if stopped:
        raise stopped[0]
    return dataclasses.replace(outcome, report=results / "latest" / "report.html")


def plan_experiment(source: Path, results: Path, *, select: Sequence[str]) -> Planned:
    """Says what a run would do; makes and runs nothing."""
    experiment = read_experiment(source, select, answering(results))
    return Planned(
        cells=experiment.cells,
        known=_known(experiment, Store(results)) if (results / Store.FOLDER).is_dir() else {},
        repeats=experiment.checked.config.repeats_range()[0],
        most_repeats=experiment.checked.config.repeats_range()[1],
        bytes_a_repeat=experiment.bytes_a_repeat,
        notes=(*experiment.notes, *experiment.doubts),
    )


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
    )


def init(model: Path, output: Path, *, force: bool) -> str:
    """Writes a matrix.yaml for a network; returns what to do next.

    Raises:
        ConfigError: the network cannot be used, or the file exists already.
    """
    if output.exists() and not force:
        raise ConfigError(str(output), ["it exists already; --force overwrites it"])
    try:
        parsed = graph.parse(model.read_bytes(), str(model))
        notes = told_of(parsed, model.name)
        text = template.text(_relative(model, output.parent), parsed, notes)
    except OSError as error:
        raise ConfigError(str(model), [error.strerror or "cannot be read"]) from error
    except graph.GraphError as error:
        raise ConfigError(str(model), [str(error)]) from error
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(str(output), [f"cannot be written: {error.strerror}"]) from error
    told = "".join(f"{note}\n" for note in notes)
    return (
        f"{told}wrote {output}: set its two image folders and its preprocessing, "
        f"then `trt-matrix plan --config {output}`"
    )


def schema_text() -> str:
    """Returns the JSON schema of matrix.yaml."""
    return json_text(configuration.schema())


def _relative(path: Path, folder: Path) -> Path:
    absolute, base = path.resolve(), folder.resolve()
    return absolute.relative_to(base) if absolute.is_relative_to(base) else absolute


def _warn_of_overlap(checked: Checked, progress: Progress) -> None:
    for one, other in overlap(checked.calibration, checked.evaluation)[:3]:
        progress.warn(f"{other} is also a calibration image ({one.name}): its error is too small")


# What is written down


def _manifest(experiment: Experiment, matrix: Matrix, run: Run, wall_s: float) -> Manifest:
    config, settings = experiment.checked.config, matrix.wants.settings
    return Manifest(
        run_id=run.id,
        name=config.name,
        created=utc_now().isoformat(timespec="seconds"),
        baseline=experiment.checked.baseline,
        heads=head_gates(config, experiment.checked.rankings.rows),
        gate=network_gate(config),
        images=matrix.wants.data.evaluation_images,
        epsilon=EPSILON,
        cells=tuple(cell.id for cell in experiment.cells),
        reference=matrix.reference,
        simulations=tuple(matrix.simulations),
        tables=matrix.table_facts(),
        facts=_facts(experiment, matrix),
        seconds={
            "wall": wall_s,
            "engines": matrix.jobs.engine_s,
            "environments": matrix.preparing_s,
        },
        looks=settings.most_repeats - settings.repeats + 1,
        lineage=behind(
            experiment.checked.model, experiment.checked.heads, config.model.custom_operators
        ),
        ranked=experiment.checked.rankings.rows,
        wide_weights=experiment.checked.wide_weights,
        show_images=config.report.images,
        least_coverage=config.calibration.coverage,
        least_effect_db=config.verdicts.least_effect_db,
        equivalence_db=config.verdicts.equivalence_db,
        asked=_asked(experiment, matrix),
    )


def _asked(experiment: Experiment, matrix: Matrix) -> Asked:
    settings, data = matrix.wants.settings, matrix.wants.data
    return Asked(
        input=settings.input,
        heads=settings.heads,
        evaluation=data.evaluation,
        calibration=data.calibration,
        engines={name: one.engine for name, one in experiment.environments.items()},
        engine_options=experiment.engine_options,
        timing=settings.timing,
        transplant=settings.transplant,
        plugins=tuple(one.request() for one in matrix.wants.plugins),
    )


def _facts(experiment: Experiment, matrix: Matrix) -> Mapping[str, Any]:
    config = experiment.checked.config
    settings, data = matrix.wants.settings, matrix.wants.data
    host = processor()
    return {
        "tool": {"trt-matrix": version("trt-matrix"), "job_sha256": settings.program},
        "host": {
            "machine": host["machine"],
            "system": host["system"],
            "processor": host.get("model name", "unknown"),
            "python": platform.python_version(),
        },
        "reference": {
            "engine": "onnxruntime",
            "version": version("onnxruntime"),
            **experiment.engine_options[experiment.reference.name],
        },
        "model": {
            **_model_facts(experiment.network),
            # The digest beside is then that of what is left of the file: the heads as its outputs.
            **({"cut_from_sha256": whole} if (whole := experiment.checked.whole) else {}),
        },
        "images": {
            "evaluation": {
                "count": data.evaluation_images,
                "array_sha256": data.evaluation.sha256,
            },
            "calibration": {
                "count": data.calibration_images,
                "array_sha256": data.calibration.sha256,
            },
            "shared": len(overlap(experiment.checked.calibration, experiment.checked.evaluation)),
            "preprocess": config.data.preprocess.model_dump(mode="json"),
        },
        **({"shared_table": settings.given.facts} if settings.given else {}),
        "settings": {
            "repeats": settings.repeats,
            "most_repeats": settings.most_repeats,
            "timing": dict(settings.timing),
            "epsilon": EPSILON,
        },
    }


def _model_facts(network: Network) -> Mapping[str, Any]:
    files = [{"file": one.name, "sha256": one.fp32.sha256} for one in (network, *network.variants)]
    uff = network.uff
    return {
        **files[0],
        **network.facts,
        **({"variants": files[1:]} if network.variants else {}),
        **({"uff": {"file": uff.name, "sha256": uff.object.sha256}} if uff else {}),
    }


def _undecided(experiment: Experiment, matrix: Matrix, run: Run) -> Collection[str]:
    """Returns the cells that more repeats would decide, as far as it has gone."""
    manifest = _manifest(experiment, matrix, run, 0.0)
    return undecided(evidence(run, manifest, experiment.cells, matrix.records()))
