"""The cells of a run as jobs of a pack: run-pack.py runs them with nothing but what is in the ticket."""

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.config.matrix import Config
from trt_matrix.config.yaml_file import read
from trt_matrix.containers.job import compare_again, protocol
from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.manifest import Manifest, RunRequest
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.execution.functions import ENGINE as FUNCTION
from trt_matrix.execution.plugins import ENGINE
from trt_matrix.execution.uff import SUFFIX
from trt_matrix.packs.packing import add_program, seal
from trt_matrix.store.results import RunFolder
from trt_matrix.ticket.content import NAME
from trt_matrix.ticket.folder import Folder
from trt_matrix.ticket.requests import again, expected_of, job_id, request_again
from trt_matrix.ticket.script import JOBS, place_of, script

OBJECTS = f"{JOBS}/objects"
CELLS = "cells"

DEADLINE_S: float = Config.model_fields["deadline_s"].default

OLD = "the run was made before what a job was asked was kept: run it again, then make the ticket"
RECORDED = "its outputs were recorded by another program: there is no job to run"
OWN_FUNCTION = "its engine is a function of the user's own, whose code and files are in no ticket"
NEVER = "nothing was started"
UFF = "its engine read the UFF file, and tickets hold ONNX networks only"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What the jobs of a ticket work on."""

    evaluation: npt.NDArray[np.float32]
    """(images, …)."""
    reference: Mapping[str, npt.NDArray[np.float32]]
    """head → the reference's output, (images, …)."""
    kept: tuple[int, ...]
    """Which of the run's evaluation images these are."""
    calibration: npt.NDArray[np.float32] | None = None
    """Stands in for the run's; None: its own, whole."""
    networks: Mapping[str, Path] = field(default_factory=dict)
    """SHA-256 of a network → the one that stands in for it."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """Digest of a table → the one that stands in for it."""
    measured: bool = True
    """False where any of this stands in for what was measured."""


def evenly(count: int, most: int) -> tuple[int, ...]:
    """Returns `most` of `count` indices at even distances, or all."""
    if most >= count:
        return tuple(range(count))
    return tuple(sorted({round(at) for at in np.linspace(0, count - 1, most)}))


def inputs_of(run: RunFolder, manifest: Manifest, asked: RunRequest, most: int) -> Inputs | None:
    """Returns the run's own images and reference, `most` of them; None where there is no reference."""
    reference = manifest.reference
    if reference is None or reference.status is not Status.OK:
        return None
    kept = evenly(manifest.images, most)
    return Inputs(
        evaluation=run.store.array(asked.evaluation)[list(kept)],
        reference={
            head: run.store.array(output)[list(kept)] for head, output in reference.outputs.items()
        },
        kept=kept,
    )


def obstacle(asked: RunRequest | None, record: Record, plugins: str | None = None) -> str | None:
    """Returns why no job of a cell can be in a ticket; None where one can.

    `asked` is what all requests of the run have in common; `plugins` why TensorRT cannot be given those of the network.
    """
    measurement = again(record)
    if asked is None:
        return OLD
    if measurement is None:
        return f"{NEVER}: {record.reason or record.status}"
    if (measurement.variant or "").endswith(SUFFIX):
        return UFF
    if plugins and asked.engines[record.environment] == ENGINE:
        return plugins
    if asked.engines[record.environment] == FUNCTION:
        return OWN_FUNCTION
    kind = measurement.start.identity.get("kind") if measurement.start else None
    return RECORDED if kind == "dumps" else None


class TicketJobs:
    """Writes the jobs of a ticket."""

    def __init__(
        self,
        folder: Folder,
        run: RunFolder,
        manifest: Manifest,
        asked: RunRequest,
        inputs: Inputs,
        plugins: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Writes what all jobs share; `plugins` have the names of their files in the ticket."""
        self.folder = folder
        self.run = run
        self.manifest = manifest
        self.asked = asked
        self.inputs = inputs
        self.plugins = plugins
        self.evaluation = folder.numbers(npy(inputs.evaluation), OBJECTS, ".npy")
        self.references = {
            head: folder.numbers(npy(array), OBJECTS, ".npy")
            for head, array in inputs.reference.items()
        }
        self.expected: dict[str, Any] = {}
        self.kept: list[Mapping[str, Any]] = []
        stated = read(run.folder / "matrix.yaml").value.get("deadline_s")
        self.deadline_s = stated or DEADLINE_S

    def add(self, record: Record, companion: Record | None, packages: str) -> str:
        """Adds a cell; returns the name of its script.

        `companion` is its environment's fp32 on this device; None where that is itself or unknown. `packages` is the name
        of the file with what its environment had installed; empty where unknown.
        """
        measurement = again(record)
        assert measurement is not None  # noqa: S101 - see `obstacle`
        records = [companion, record] if companion else [record]
        files = {}
        for asked in filter(None, map(again, records)):
            files[f"{asked.model_sha256}.onnx"] = self._network(asked.model_sha256)
        table = self._table(record, measurement)
        if record.pass_.made_inside:
            images = self._calibration()
            files[self.asked.calibration.file] = self.folder.numbers(images, OBJECTS, ".npy")
        request = request_again(
            self.asked,
            records,
            files | ({table.file: table.file} if table else {}),
            self.evaluation,
            table,
            self.plugins if self.asked.engines[record.environment] == ENGINE else (),
        )
        redactor = self.folder.redactor
        cell = redactor.text(record.cell, NAME)
        job = job_id(cell)
        file = f"requests/{job}.json"
        self.folder.json(f"{JOBS}/{file}", request)
        inputs = self.inputs
        expected = expected_of(
            record, self._sums(record), self.references, inputs.kept, measured=inputs.measured
        )
        self.expected[job] = redactor.value(expected, f"{JOBS}/{compare_again.EXPECTED}")
        environment = redactor.text(record.environment, f"{JOBS}/pack.json")
        self.kept.append(
            {"id": job, "environment": environment, "request": file, "deadline_s": self.deadline_s}
        )
        name = f"{CELLS}/{job}/reproduce.sh"
        identity = measurement.start.identity if measurement.start else {}
        place = place_of(redactor.value(identity, name), packages)
        engine = self.asked.engines[record.environment]
        text = script(cell, job, engine, place, gpu=record.device != "cpu")
        self.folder.own(name, text, executable=True)
        return name

    def seal(self) -> None:
        """Writes what run-pack.py and compare_again need, once all cells are added."""
        root = self.folder.root / JOBS
        for name in ("objects", "requests"):
            (root / name).mkdir(parents=True, exist_ok=True)
        add_program(root)
        protocol.write_json(str(root / compare_again.EXPECTED), self.expected)
        seal(root, self.folder.redactor.text(self.manifest.name, JOBS), self.kept)

    def _calibration(self) -> bytes:
        if self.inputs.calibration is not None:
            return npy(self.inputs.calibration)
        return self.run.store.path(self.asked.calibration).read_bytes()

    def _network(self, sha256: str) -> str:
        own = self.run.store.path(StoredObject(sha256=sha256, suffix=".onnx", size_bytes=0))
        return self.folder.network(self.inputs.networks.get(sha256, own), OBJECTS)

    def _table(self, record: Record, measurement: Measurement) -> StoredObject | None:
        """Puts the table that TensorRT is given beside a float network; None where it is given none."""
        if not record.pass_.implicit or record.pass_.made_inside or measurement.table is None:
            return None
        table = self.inputs.tables.get(measurement.table)
        if table is None:
            own = self.run.table(measurement.table)
            table = dataclasses.replace(own, amax={**own.amax, **measurement.carried})
        amax = self.folder.redactor.value(dict(table.amax), OBJECTS)
        content = json.dumps(amax, allow_nan=False, sort_keys=True).encode()
        name = self.folder.numbers(content, OBJECTS, ".json")
        return StoredObject(sha256=name.partition(".")[0], suffix=".json", size_bytes=len(content))

    def _sums(self, record: Record) -> Mapping[str, Sequence[Any]]:
        reference = self.manifest.reference
        good = [
            measurement for measurement in record.measurements if measurement.status is Status.OK
        ]
        if reference is None or not self.inputs.measured:
            return {}
        return {
            head: [
                self.run.store.sums(measurement.outputs[head], output, self.manifest.epsilon)
                for measurement in good
            ]
            for head, output in reference.outputs.items()
        }


def companion_of(record: Record, records: Sequence[Record]) -> Record | None:
    """Returns the fp32 cell of the same environment and device, where it was started."""
    return next(
        (
            other
            for other in records
            if other.pass_.precision is Precision.FP32
            and (other.environment, other.device) == (record.environment, record.device)
            and other is not record
            and again(other)
        ),
        None,
    )


def npy(array: npt.NDArray[np.float32]) -> bytes:
    """Returns the content of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array, np.float32))
    return stream.getvalue()
