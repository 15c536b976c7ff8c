"""A made-up matrix as a run would have stored it: outputs, their sums, records and a manifest."""

import hashlib
import zlib

import numpy as np
import numpy.typing as npt

from benchmarks.verdicts.made import BASELINE, Made, Matrix
from trt_matrix.containers.job.reductions import compare, flat
from trt_matrix.core.cells import Cell, Pass, Precision, Status, TableSource
from trt_matrix.core.evidence import Evidence
from trt_matrix.core.manifest import HeadGate, Manifest
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import IntegerShare, Measurement, Record, Start, StoredObject

Output = npt.NDArray[np.float32]

ELEMENTS = 24
"""Of one head and image."""


def evidence(matrix: Matrix) -> Evidence:
    return _Stored(matrix).evidence()


class _Stored:
    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.outputs: dict[str, Output] = {}
        self.reference = [self._reference(head) for head in range(len(matrix.heads))]

    def evidence(self) -> Evidence:
        matrix = self.matrix
        cells = [_cell(cell) for cell in matrix.cells]
        records = [self._record(*both) for both in zip(matrix.cells, cells, strict=True)]
        reference = dict(zip(matrix.heads, map(self._stored, self.reference), strict=True))
        manifest = Manifest(
            run_id="made-up",
            name="made-up",
            created="2026-11-23T12:00:00+00:00",
            baseline=BASELINE,
            heads=tuple(HeadGate(head=name, sqnr_db=self._gate(name)) for name in matrix.heads),
            images=matrix.energy.shape[1],
            epsilon=1e-3,
            cells=tuple(cell.id for cell in cells),
            reference=self._measurement("reference", reference),
            simulations=tuple(self._simulations()),
            tables={},
            facts={},
        )
        return Evidence(manifest, cells, records, self._sums_of, flat_of=self._flat_of)

    def _gate(self, head: str) -> float | None:
        nmse = self.matrix.gates.get(head)
        return None if nmse is None else float(-10 * np.log10(nmse))

    def _sums_of(self, y: StoredObject, r: StoredObject) -> Sums:
        return compare(self.outputs[y.sha256], self.outputs[r.sha256])

    def _flat_of(self, output: StoredObject) -> str | None:
        return flat(self.outputs[output.sha256])

    def _stored(self, output: Output) -> StoredObject:
        name = hashlib.sha256(output.tobytes()).hexdigest()
        self.outputs[name] = output
        return StoredObject(sha256=name, suffix=".npy", size_bytes=output.nbytes)

    def _reference(self, head: int) -> Output:
        energy = self.matrix.energy[head]
        drawn = _directions(f"reference {head}", len(energy))
        whole = (drawn * np.sqrt(energy)[:, None]).astype(np.float32)
        return _broken(whole, self.matrix.broken_reference.get(head))

    def _simulations(self) -> list[Measurement]:
        measurements = []
        for (placement, table), errors in self.matrix.simulations.items():
            outputs = {
                name: self._stored(self._output(head, errors[head], f"{table} {name}"))
                for head, name in enumerate(self.matrix.heads)
            }
            measurement = self._measurement(f"simulation-{table}", outputs)
            measurements.append(
                measurement.model_copy(update={"table": table, "placement": placement})
            )
        return measurements

    def _output(self, head: int, errors: npt.NDArray[np.float64], seed: str) -> Output:
        """Returns an output with just these Σd² against the reference."""
        reference = self.reference[head]
        apart = _directions(seed, len(errors)) * np.sqrt(errors)[:, None]
        return (reference + apart).astype(np.float32)

    def _record(self, made: Made, cell: Cell) -> Record:
        measured = []
        for repeat in range(made.errors.shape[1]):
            outputs = {}
            for head, name in enumerate(self.matrix.heads):
                whole = self._output(head, made.errors[head, repeat], f"{made.table} {name}")
                outputs[name] = self._stored(_broken(whole, made.broken.get(head)))
            measurement = self._measurement(f"{made.id}#{repeat}", outputs, made)
            measured.append(measurement.model_copy(update={"repeat": repeat}))
        status = Status.OK if measured else Status.JOB_FAILED
        reason = None if measured else "the parser refused Resize"
        if not measured:
            failed = self._measurement(f"{made.id}#0", {}, made)
            measured = [failed.model_copy(update={"status": status, "reason": reason})]
        return Record(
            cell=cell.id,
            environment=cell.environment,
            device=cell.device,
            pass_=cell.pass_,
            status=status,
            reason=reason,
            measurements=tuple(measured),
        )

    def _measurement(
        self, fingerprint: str, outputs: dict[str, StoredObject], made: Made | None = None
    ) -> Measurement:
        cpu = made is None or made.device == "cpu"
        share = made.share if made else None
        shares = None
        if share is not None:
            lost = ("conv9",) if share < 1 else ()
            one = IntegerShare(integer_macs=round(100 * share), total_macs=100, float_layers=lost)
            shares = dict.fromkeys(self.matrix.heads, one)
        engine = "onnxruntime" if cpu else "tensorrt"
        environment = made.environment if made else "host"
        return Measurement(
            fingerprint=fingerprint,
            name=made.pass_ if made else "fp32",
            repeat=0,
            status=Status.OK,
            model_sha256="0",
            table=made.table if made else None,
            placement=made.placement if made else None,
            outputs=outputs,
            shares=shares,
            start=Start(
                environment=environment,
                device=made.device if made else "cpu",
                identity={"kind": "venv"},
                probe={"engine": {"name": engine, "version": f"1.{environment[1:]}"}},
                command=("python", "-m", "job"),
                started="2026-11-23T12:00:00+00:00",
                wall_s=1.0,
            ),
        )


def _directions(seed: str, images: int) -> npt.NDArray[np.float64]:
    """Returns a unit vector an image."""
    generator = np.random.default_rng(zlib.crc32(seed.encode()))
    drawn = generator.normal(0, 1, (images, ELEMENTS))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _broken(whole: Output, how: str | None) -> Output:
    if how is None:
        return whole
    broken = whole.copy()
    if how == "same":
        broken[:] = whole[:1]
    elif how == "inf":
        broken[0, 0] = -np.inf
    else:
        broken[:] = {"nan": np.nan, "zero": 0.0, "constant": 0.5}[how]
    return broken


def _cell(made: Made) -> Cell:
    parts = made.pass_.split("-")
    int8 = made.int8
    pass_ = Pass(
        precision=Precision(parts[0]),
        source=TableSource.OWN if made.own else TableSource.SHARED if int8 else None,
        algorithm=parts[-1] if int8 else None,
        implicit=made.implicit,
    )
    return Cell(environment=made.environment, device=made.device, pass_=pass_)
