"""Records of a run, in which a test states what it is about and no more."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.unit.passes import FP32
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Measurement, Record, Start

NOON = "2026-11-23T12:00:00+00:00"


def new_start(**fields: Any) -> Start:
    start = {
        "environment": "e", "device": "cpu", "identity": {}, "probe": {}, "command": (),
        "started": NOON, "wall_s": 1.0,
    }  # fmt: skip
    return Start(**(start | fields))


def new_measurement(**fields: Any) -> Measurement:
    measurement = {
        "fingerprint": "f", "name": "fp32", "repeat": 0, "status": Status.OK, "model_sha256": "0",
    }  # fmt: skip
    return Measurement(**(measurement | fields))


def new_record(
    environment: str, pass_: Pass = FP32, measurements: Sequence[Measurement] = (), *,
    device: str = "cpu", status: Status = Status.OK, reason: str | None = None,
) -> Record:  # fmt: skip
    return Record(
        cell=f"{environment}/{device}/{pass_.name}",
        environment=environment,
        device=device,
        pass_=pass_,
        status=status,
        reason=reason,
        measurements=tuple(measurements),
    )


def remeasured(
    record: Record, change: Callable[[Measurement], Mapping[str, Any]], part: str = ""
) -> Record:
    """Returns the record with other fields in each measurement, or in a part of each: its start, its latency."""

    def changed(measurement: Measurement) -> Measurement:
        fields = change(measurement)
        if part:
            whole = getattr(measurement, part)
            fields = {part: whole and whole.model_copy(update=fields)}
        return measurement.model_copy(update=fields)

    return record.model_copy(update={"measurements": tuple(map(changed, record.measurements))})


def new_manifest(**fields: Any) -> Manifest:
    manifest = {
        "run_id": "run", "name": "demo", "created": NOON, "baseline": "base", "heads": (), "images": 1,
        "epsilon": 1e-3, "cells": (), "reference": None, "simulations": (), "tables": {}, "facts": {},
    }  # fmt: skip
    return Manifest(**(manifest | fields))
