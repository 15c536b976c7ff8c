"""manifest.json of a run: what its records and its judgement are to be read with."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from trt_matrix.core.manifest import Manifest, RunRequest
from trt_matrix.core.metrics import EPSILON
from trt_matrix.core.network.lineage import behind
from trt_matrix.environments.machine import processor
from trt_matrix.execution.inputs import Network
from trt_matrix.execution.matrix import ExperimentRun
from trt_matrix.inputs.images import overlap
from trt_matrix.planning.boxes import head_gates, network_gate
from trt_matrix.planning.experiment import Experiment
from trt_matrix.store.results import RunFolder, utc_now


def manifest_of(
    experiment: Experiment, matrix: ExperimentRun, run: RunFolder, wall_s: float
) -> Manifest:
    config, settings = experiment.checked.config, matrix.wants.settings
    return Manifest(
        run_id=run.id,
        name=config.name,
        created=utc_now().isoformat(timespec="seconds"),
        baseline=experiment.checked.baseline,
        heads=head_gates(config, experiment.checked.rankings.rows),
        gate=network_gate(config),
        keep=config.keep,
        images=matrix.wants.data.evaluation_images,
        epsilon=EPSILON,
        cells=tuple(cell.id for cell in matrix.cells),
        reference=matrix.reference,
        simulations=tuple(matrix.simulations),
        tables=matrix.used.facts(),
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
        boxless=experiment.checked.boxless,
        least_coverage=config.calibration.coverage,
        least_effect_db=config.verdicts.least_effect_db,
        equivalence_db=config.verdicts.equivalence_db,
        asked=_asked(experiment, matrix),
    )


def _asked(experiment: Experiment, matrix: ExperimentRun) -> RunRequest:
    settings, data = matrix.wants.settings, matrix.wants.data
    return RunRequest(
        input=settings.input,
        heads=settings.heads,
        batch=settings.batch,
        evaluation=data.evaluation,
        calibration=data.calibration,
        engines={name: environment.engine for name, environment in experiment.environments.items()},
        engine_options=experiment.engine_options,
        timing=settings.timing,
        transplant=settings.transplant,
        plugins=tuple(plugin.request() for plugin in matrix.wants.plugins),
    )


def _facts(experiment: Experiment, matrix: ExperimentRun) -> Mapping[str, Any]:
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
        "reference": _reference_facts(experiment, matrix),
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
            **(
                {"arrays": True}
                if config.data.are_arrays
                else {"preprocess": config.data.preprocess.recorded()}
            ),
        },
        **({"unselected": experiment.unselected} if experiment.unselected else {}),
        **({"doubts": list(doubts)} if (doubts := experiment.doubts) else {}),
        **({"shared_table": settings.given.facts} if settings.given else {}),
        "settings": {
            "repeats": settings.repeats,
            "most_repeats": settings.most_repeats,
            "timing": dict(settings.timing),
            "epsilon": EPSILON,
        },
    }


def _reference_facts(experiment: Experiment, matrix: ExperimentRun) -> Mapping[str, Any]:
    """Returns what computed the outputs that errors are against."""
    host = {
        "engine": "onnxruntime",
        "version": version("onnxruntime"),
        **experiment.engine_options[experiment.reference.name],
    }
    if experiment.named is None:
        return host
    start = matrix.reference.start if matrix.reference else None
    engine = start.probe.get("engine") if start else None
    facts = engine if isinstance(engine, dict) else {}
    cell = experiment.named.cell.id
    return {
        "cell": cell, "engine": facts.get("name"), "version": facts.get("version"), "simulations": host,
    }  # fmt: skip


def _model_facts(network: Network) -> Mapping[str, Any]:
    forms = (network, *network.variants)
    files = [{"file": form.name, "sha256": form.fp32.sha256} for form in forms]
    uff = network.uff
    return {
        **files[0],
        **network.facts,
        **({"variants": files[1:]} if network.variants else {}),
        **({"uff": {"file": uff.name, "sha256": uff.object.sha256}} if uff else {}),
    }
