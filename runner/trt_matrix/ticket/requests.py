"""A stored measurement → the request that asks for it again, and what its answer must give; pure."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trt_matrix.containers.job import compare_again, protocol
from trt_matrix.core.cells import Status
from trt_matrix.core.manifest import RunRequest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.execution.implicit import CARRIER

Files = Mapping[str, str]
"""SHA-256 of a file of the store → what the ticket calls it."""


def job_id(cell: str) -> str:
    """Returns what a cell's job and folder are called: letters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._+@-]", "-", cell.replace("*", "all").replace("/", "@"))


def again(record: Record) -> Measurement | None:
    """Returns the measurement that stands for a cell: the last good one, else the last failure."""
    good = [measurement for measurement in record.measurements if measurement.status is Status.OK]
    known = good or record.measurements
    return known[-1] if known else None


def request_again(
    asked: RunRequest,
    records: Sequence[Record],
    files: Files,
    evaluation: str,
    table: StoredObject | None = None,
    plugins: Sequence[Mapping[str, Any]] = (),
) -> Mapping[str, Any]:
    """Returns the content of request.json; files are named as in the ticket.

    `records` are the environment's fp32 on this device, where it is known, and the cell last. `table` is carried into
    the cell's float network; None where none is.
    """
    record = records[-1]
    passes = [
        _pass(asked, each, files, records[0], table if each is record else None) for each in records
    ]
    return {
        "schema_version": protocol.SCHEMA_VERSION,
        "engine": asked.engines[record.environment],
        "engine_options": dict(asked.engine_options[record.environment]),
        "input": asked.input,
        "heads": [list(pair) for pair in asked.heads],
        "evaluation": evaluation,
        "calibration": None,
        "passes": passes,
        "timing": dict(asked.timing),
        "repeat": 0,
        **asked.batch_request(),
        **({"plugins": list(plugins)} if plugins else {}),
    }


def _pass(
    asked: RunRequest, record: Record, files: Files, first: Record, table: StoredObject | None
) -> Mapping[str, Any]:
    measurement = again(record)
    assert measurement is not None  # noqa: S101 - who asks again has looked
    return {
        "name": record.pass_.name,
        "precision": str(record.pass_.precision),
        "model": files[f"{measurement.model_sha256}.onnx"],
        "table": files[table.file] if table else None,
        "compare_with": first.pass_.name if first is not record else None,
        "implicit": _implicit(asked, record, files, measurement.held)
        if record.pass_.implicit
        else None,
    }


def _implicit(
    asked: RunRequest, record: Record, files: Files, held: Sequence[str]
) -> Mapping[str, Any]:
    if record.pass_.made_inside:
        images = files[asked.calibration.file]
        return {"scales": "calibrate", "calibrator": record.pass_.algorithm, "images": images}
    calibrator = CARRIER if asked.transplant == "cache" else None
    return {
        "scales": asked.transplant,
        "calibrator": calibrator,
        "images": None,
        **({protocol.HELD: list(held)} if held else {}),
    }


def expected_of(
    record: Record,
    sums: Mapping[str, Sequence[Sums]],
    references: Mapping[str, str],
    kept: Sequence[int],
    *,
    measured: bool = True,
) -> Mapping[str, Any]:
    """Returns the cell's entry of expected.json; see `job.compare_again`.

    `sums` is head → per-image sums of each good repeat, empty where it never ran; `references` head → name of the file
    with the reference's outputs on the `kept` images; `measured` False where another network or other images stand in.
    """
    measurement = again(record)
    start = measurement.start if measurement else None
    return {
        "cell": record.cell,
        "pass": record.pass_.name,
        "status": str(record.status),
        "measured": measured,
        "place": compare_again.place(start.probe if start else {}),
        "heads": {
            head: {"reference": file, **_numbers(sums.get(head, ()), kept)}
            for head, file in references.items()
        },
    }


def _numbers(repeats: Sequence[Sums], kept: Sequence[int]) -> Mapping[str, Any]:
    chosen = [repeat[list(kept)] for repeat in repeats]
    nothing = {"nmse": [], "variance": 0.0, "degrees": 0}
    if not chosen or any(array["nonfinite"].any() for array in chosen):
        return nothing
    sample = Sample(np.stack([array["d2"] for array in chosen]), chosen[0]["r2"])
    if not float(sample.energy.sum()) > 0:
        return nothing
    nmse = [float(value) for value in sample.by_repeat]
    if not all(map(math.isfinite, nmse)):
        return nothing
    mean, degrees = float(np.mean(nmse)), len(nmse) - 1
    # From the first one, so that equal repeats have no spread, not that of rounding.
    apart = np.asarray(nmse) - nmse[0]
    variance = float(apart.var(ddof=1)) / mean**2 if degrees and mean > 0 else 0.0
    return {"nmse": nmse, "variance": variance, "degrees": degrees}
