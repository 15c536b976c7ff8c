"""What a job is asked, as the protocol spells it."""

from collections.abc import Mapping, Sequence
from typing import Any

from trt_matrix.containers.job import protocol
from trt_matrix.core.records import StoredObject
from trt_matrix.execution.wanted import JobSite, PassRequests, WantedCalibration, WantedPass


def request_of(
    wants: PassRequests,
    site: JobSite,
    *,
    passes: Sequence[WantedPass] = (),
    calibration: WantedCalibration | None = None,
    own: Mapping[str, StoredObject] | None = None,
) -> Mapping[str, Any]:
    """Returns the content of request.json; keys as in `job.protocol.REQUEST_KEYS`.

    `own` is as `PassRequests.settle_at` takes it.
    """
    names = {pass_.name for pass_ in passes}
    plugins = [plugin_files.request() for plugin_files in wants.plugins_at(site)]
    settle = wants.settle_at(site, own) if passes else None
    return {
        "schema_version": protocol.SCHEMA_VERSION,
        "engine": site.environment.engine,
        "engine_options": dict(site.engine_options),
        "input": wants.settings.input,
        "heads": [list(pair) for pair in wants.settings.heads],
        "evaluation": wants.data.evaluation.file,
        "calibration": _calibration(calibration) if calibration else None,
        "passes": [_pass(pass_, names) for pass_ in passes],
        "timing": dict(site.timing) if site.timing else None,
        # The job does not care; equal questions that are answered elsewhere are told apart by it.
        "repeat": passes[0].repeat if passes else None,
        **({"batch": wants.settings.batch_request()} if wants.settings.batch > 1 else {}),
        **({"plugins": plugins} if plugins else {}),
        **({"settle": settle} if settle else {}),
    }


def _calibration(wanted: WantedCalibration) -> Mapping[str, Any]:
    return {
        "model": wanted.model.file,
        "images": wanted.images.file,
        "tensors": list(wanted.tensors),
        "algorithms": [dict(algorithm) for algorithm in wanted.algorithms],
    }


def _pass(wanted: WantedPass, present: set[str]) -> Mapping[str, Any]:
    implicit = wanted.variant.implicit
    alternatives = [alternative.asked for alternative in wanted.variant.alternatives]
    return {
        "name": wanted.name,
        "precision": str(wanted.precision),
        "model": wanted.variant.model.file,
        # Where it is not carried, the scales are in the model's Q/DQ nodes.
        "table": implicit.table.file if implicit and implicit.table else None,
        "compare_with": wanted.compare_with if wanted.compare_with in present else None,
        "implicit": {
            "scales": implicit.scales,
            "calibrator": implicit.calibrator,
            "images": implicit.images.file if implicit.images else None,
            **({"held": list(implicit.held)} if implicit.held else {}),
        }
        if implicit
        else None,
        **({"alternatives": alternatives} if alternatives else {}),
        **({"typed": dict(wanted.variant.typed.asked)} if wanted.variant.typed else {}),
    }
