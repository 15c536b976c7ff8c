"""One function a command: reads the experiment, hands it to the loop, judges, writes the report."""

import hashlib
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import job
from runner import config as configuration
from runner import init as template
from runner.config_checks import Checked, check
from runner.core import graph
from runner.core.judge import Evidence, judge
from runner.core.judgement import Judgement
from runner.core.tables import to_json
from runner.environments.base import Environment
from runner.environments.factory import (
    axes_of,
    engine_options_of,
    environments_of,
    reference_environment,
    reference_options,
)
from runner.errors import ConfigError, NothingSelectedError
from runner.execution.inputs import Data, Network
from runner.execution.matrix import Matrix, Settings
from runner.execution.progress import Progress
from runner.images import PREPROCESS_VERSION, content_hashes, overlap, preprocess
from runner.outcome import Outcome
from runner.plan import Cell, expand, passes, select
from runner.planned import Planned
from runner.records import HeadGate, Manifest, Object, digest
from runner.report import frames, html
from runner.store import Run, Store, json_text, sha256_of, utc_now

EPSILON = 1e-3
"""|d| above this is counted as a difference (DESIGN section 3)."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """matrix.yaml, checked and expanded."""

    checked: Checked
    source: Path
    environments: Mapping[str, Environment]
    cells: tuple[Cell, ...]


def read_experiment(source: Path, patterns: Sequence[str]) -> Experiment:
    """Reads matrix.yaml and everything it refers to.

    Raises:
        ConfigError: names every problem.
        NothingSelectedError: no cell matches the patterns.
    """
    config, document = configuration.load(source)
    root = source.resolve().parent
    checked = check(config, document, root)
    environments = environments_of(config, root)
    wanted = passes(config.precisions, config.calibration.algorithms, config.calibration.shared)
    every = expand(axes_of(config, environments), config.devices, wanted)
    cells = select(every, patterns)
    if not cells:
        known = every[0].id if every else "none: no environment can use one of the devices"
        message = f"no cell matches {' '.join(patterns) or 'this experiment'}; a cell's id: {known}"
        raise NothingSelectedError(message)
    return Experiment(checked, source, environments, cells)


def run_experiment(
    source: Path, results: Path, *, select: Sequence[str], offline: bool, progress: Progress
) -> Outcome:
    """Runs what is not known yet, judges everything, writes the report.

    Raises:
        RunnerError: nothing could be run at all; see its kinds.
        KeyboardInterrupt: after the records and the report of what ended were written.
    """
    started = time.monotonic()
    experiment = read_experiment(source, select)
    config = experiment.checked.config
    store = Store(results)
    matrix = _matrix(experiment, store, progress, offline=offline)
    run = store.new_run(config.name, utc_now())
    run.write_text("matrix.yaml", source.read_text("utf-8-sig"))
    interrupted = False
    try:
        matrix.run(run.folder / "logs")
    except KeyboardInterrupt:
        interrupted = True
    for text in store.warnings:
        progress.warn(text)
    records = matrix.records(interrupted=interrupted)
    for record in records:
        run.write_record(record)
    for name, table in matrix.tables.items():
        run.write_text(f"tables/{name[:12]}.json", to_json(table))
    facts = _facts(experiment, matrix)
    run.write_manifest(_manifest(experiment, matrix, run, facts, time.monotonic() - started))
    outcome = _report(run, experiment.cells)
    if interrupted:
        raise KeyboardInterrupt
    return outcome


def judge_again(name: str, results: Path) -> Outcome:
    """Judges a finished run from its stored records and writes its report; no engine is needed."""
    run = Store(results).open_run(name)
    return _report(run, tuple(record.planned() for record in run.records()))


def plan_experiment(source: Path, results: Path, *, select: Sequence[str]) -> Planned:
    """Says what a run would do; makes and runs nothing."""
    experiment = read_experiment(source, select)
    checked = experiment.checked
    outputs = [
        info for info in graph.outputs(checked.model) if info.name in dict(checked.heads).values()
    ]
    return Planned(
        cells=experiment.cells,
        known={},
        repeats=checked.config.repeats,
        bytes_a_repeat=4 * len(checked.evaluation) * sum(map(_elements, outputs)),
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
        text = template.text(_relative(model, output.parent), parsed)
    except OSError as error:
        raise ConfigError(str(model), [error.strerror or "cannot be read"]) from error
    except graph.GraphError as error:
        raise ConfigError(str(model), [str(error)]) from error
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(str(output), [f"cannot be written: {error.strerror}"]) from error
    return (
        f"wrote {output}: set its two image folders and its preprocessing, "
        f"then `trt-matrix plan --config {output}`"
    )


def schema_text() -> str:
    """Returns the JSON schema of matrix.yaml."""
    return json_text(configuration.schema())


def _elements(info: graph.TensorInfo) -> int:
    return math.prod(size for size in info.shape or () if isinstance(size, int))


def _relative(path: Path, folder: Path) -> Path:
    absolute, base = path.resolve(), folder.resolve()
    return absolute.relative_to(base) if absolute.is_relative_to(base) else absolute


# What decides the numbers


def _matrix(experiment: Experiment, store: Store, progress: Progress, *, offline: bool) -> Matrix:
    checked = experiment.checked
    config = checked.config
    settings = Settings(
        input=checked.input,
        heads=checked.heads,
        algorithms={
            name: {"percentile": config.calibration.percentile} if name == "percentile" else {}
            for name in dict.fromkeys(
                (*config.calibration.algorithms, config.calibration.shared or "entropy")
            )
        },
        shared=config.calibration.shared,
        repeats=config.repeats,
        timing=config.timing.model_dump(mode="json"),
        deadline_s=config.deadline_s,
        program=_program(),
        host=digest(_processor()),
        preprocess=digest(config.data.preprocess.model_dump(mode="json")),
    )
    reference = reference_environment()
    return Matrix(
        store=store,
        progress=progress,
        settings=settings,
        network=Network(store, checked.content, checked.model),
        data=_data(experiment, store, progress),
        cells=experiment.cells,
        environments=experiment.environments,
        reference=reference,
        engine_options={
            **engine_options_of(config),
            reference.name: reference_options(config),
        },
        offline=offline,
    )


def _data(experiment: Experiment, store: Store, progress: Progress) -> Data:
    checked = experiment.checked
    for one, other in overlap(checked.calibration, checked.evaluation)[:3]:
        progress.warn(f"{other} is also a calibration image ({one.name}): its error is too small")
    return Data(
        evaluation=_array(checked, checked.evaluation, store),
        calibration=_array(checked, checked.calibration, store),
        evaluation_images=len(checked.evaluation),
        calibration_images=len(checked.calibration),
    )


def _array(checked: Checked, files: Sequence[Path], store: Store) -> Object:
    settings = checked.config.data.preprocess

    def make(target: Path) -> None:
        preprocess(files, checked.shape, settings, target, channels_last=checked.channels_last)

    key = {
        "images": content_hashes(files),
        "shape": checked.shape,
        "channels_last": checked.channels_last,
        "preprocess": settings.model_dump(mode="json"),
        "version": PREPROCESS_VERSION,
    }
    return store.derive(key, ".npy", make)


def _program() -> str:
    """Returns the hash of the job's own files: another program may give other numbers."""
    folder = Path(job.__file__).parent
    hashes = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        hashes.update(f"{path.relative_to(folder)}\0{sha256_of(path)}\n".encode())
    return hashes.hexdigest()


def _processor() -> Mapping[str, str]:
    """Returns what of this machine decides numbers on the CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    wanted = ("model name", "flags", "CPU part", "Features")
    found = {
        key.strip(): value.strip()
        for line in lines
        for key, _, value in [line.partition(":")]
        if key.strip() in wanted
    }
    return {"machine": platform.machine(), "system": platform.system(), **found}


# What is written down


def _facts(experiment: Experiment, matrix: Matrix) -> Mapping[str, Any]:
    checked = experiment.checked
    processor = _processor()
    return {
        "tool": {"trt-matrix": version("trt-matrix"), "job_sha256": matrix.settings.program},
        "host": {
            "machine": processor["machine"],
            "system": processor["system"],
            "processor": processor.get("model name", "unknown"),
            "python": platform.python_version(),
        },
        "reference": {
            "engine": "onnxruntime",
            "version": version("onnxruntime"),
            **matrix.engine_options[matrix.reference_environment.name],
        },
        "model": {
            "file": str(checked.config.model.onnx),
            "sha256": matrix.network.fp32.sha256,
        },
        "images": {
            "evaluation": {
                "count": matrix.data.evaluation_images,
                "array_sha256": matrix.data.evaluation.sha256,
            },
            "calibration": {
                "count": matrix.data.calibration_images,
                "array_sha256": matrix.data.calibration.sha256,
            },
            "preprocess": checked.config.data.preprocess.model_dump(mode="json"),
        },
        "settings": {
            "repeats": matrix.settings.repeats,
            "timing": dict(matrix.settings.timing),
            "epsilon": EPSILON,
        },
    }


def _manifest(
    experiment: Experiment, matrix: Matrix, run: Run, facts: Mapping[str, Any], wall_s: float
) -> Manifest:
    config = experiment.checked.config
    return Manifest(
        run_id=run.id,
        name=config.name,
        created=utc_now().isoformat(timespec="seconds"),
        baseline=experiment.checked.baseline,
        heads=tuple(
            HeadGate(head=name, sqnr_db=head.gate.sqnr_db) for name, head in config.heads.items()
        ),
        images=matrix.data.evaluation_images,
        epsilon=EPSILON,
        cells=tuple(cell.id for cell in experiment.cells),
        reference=matrix.reference,
        simulations=tuple(matrix.simulations),
        tables=matrix.table_facts(),
        facts=facts,
        seconds={"wall": wall_s, "engines": matrix.engine_s},
    )


def _report(run: Run, cells: Sequence[Cell]) -> Outcome:
    manifest = run.manifest()
    records = run.records()
    judgement: Judgement = judge(
        Evidence(
            manifest,
            cells,
            records,
            lambda y, r: run.store.sums(y, r, manifest.epsilon),
        )
    )
    frames.write(frames.long_table(judgement), run.folder)
    run.write_text("report.html", html.render(judgement))
    run.make_latest()
    return Outcome(
        judgement, run.folder, run.store.results / "latest" / "report.html", manifest.seconds
    )
