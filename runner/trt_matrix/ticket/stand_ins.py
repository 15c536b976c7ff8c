"""Random weights, or images, in place of real ones, and the check that the fault is still there.

What is checked is what the host can compute exactly: the reference and the simulation of every table
that a cell of the ticket uses. What an engine adds to that is not known of a stand-in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from trt_matrix.config.yaml_file import read
from trt_matrix.containers.job import protocol
from trt_matrix.containers.job.reductions import compare
from trt_matrix.containers.job.thresholds import ALGORITHMS
from trt_matrix.core.cells import Precision, TableSource
from trt_matrix.core.manifest import Manifest, RunRequest
from trt_matrix.core.metrics import metrics
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import simulation_of
from trt_matrix.core.qdq.placements import Placed, placed_of
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.reduced.converting import convert
from trt_matrix.core.shipped.stripping import float_form
from trt_matrix.core.tables.table import Provenance, Table, from_ranges
from trt_matrix.environments.base import Environment
from trt_matrix.errors import StoreError
from trt_matrix.execution.answers import AnswerError, ResultFolder
from trt_matrix.execution.shipped import ALGORITHM as SHIPPED
from trt_matrix.store.arrays import read_array
from trt_matrix.store.results import RunFolder, object_of
from trt_matrix.ticket.content import StandIn
from trt_matrix.ticket.jobs import DEADLINE_S, Inputs, evenly, npy
from trt_matrix.ticket.random_data import Floats, random_images, random_weights
from trt_matrix.ticket.requests import again
from trt_matrix.ticket.start import start

SEED = 0
CLOSE_DB = 6.0
"""How far apart two SQNRs may be that tell of one fault: a factor of two in amplitude."""
MOST_CALIBRATION = 64
"""Calibration images that a stand-in is calibrated on."""
UNKNOWN_ALGORITHM = "entropy"
"""In place of a calibrator that only TensorRT has."""
REFERENCE = "fp32"

Key = tuple[str, str]
"""(placement, digest of the table)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedStandIns:
    """What is replaced, and where."""

    weights: bool
    images: bool
    records: Sequence[Record]
    """The cells whose jobs go along, and their companions."""
    workspace: Path
    """An empty folder."""

    @property
    def what(self) -> tuple[str, ...]:
        return (*(["weights"] if self.weights else []), *(["images"] if self.images else []))


class StandIns:
    """Makes what stands in, and runs it on the host."""

    def __init__(
        self,
        run: RunFolder,
        manifest: Manifest,
        asked: RunRequest,
        host: Environment,
        wanted: WantedStandIns,
    ) -> None:
        self.run = run
        self.manifest = manifest
        self.asked = asked
        self.host = host
        self.wanted = wanted
        self.objects = wanted.workspace / "objects"
        self.starts = 0
        assert manifest.reference is not None  # noqa: S101 - `inputs_of` has looked
        self.reference = manifest.reference

    def made(self, inputs: Inputs) -> tuple[Inputs, StandIn]:
        """Returns what the ticket's jobs work on in place of the run's own, and what became of the fault.

        Raises:
            StoreError: the stand-in cannot be made, or could not be run.
        """
        try:
            return self._made(inputs)
        except (GraphError, AnswerError) as error:
            raise StoreError(f"no ticket was written: no stand-in can be made ({error})") from error

    def _made(self, inputs: Inputs) -> tuple[Inputs, StandIn]:
        model = onnx.load_from_string(self._object(f"{self.reference.model_sha256}.onnx"))
        shipped = self._shipped()
        if self.wanted.weights:
            # What came quantised is drawn anew as it came, and its float form made of that.
            model, _ = random_weights(shipped or model, SEED)
            if shipped:
                shipped, model = model, float_form(model) or model
        evaluation, calibration = self._images(inputs.evaluation)
        used = {key for record in self.wanted.records for key in _key(record, self.asked)}
        tables = {digest: self.run.table(digest) for _, digest in used}
        own = {name: table for name, table in tables.items() if not _is_shipped(table)}
        if self.wanted.weights and own:
            tables |= self._calibrated(model, calibration, own)
        outputs = self._outputs(model, shipped, evaluation, {key: tables[key[1]] for key in used})
        networks = self._networks(model, shipped, tables) if self.wanted.weights else {}
        stand_in = self._judged(outputs)
        changed = replace(
            inputs,
            evaluation=evaluation,
            reference=outputs[REFERENCE],
            calibration=calibration,
            networks=networks,
            tables=tables if self.wanted.weights else {},
            measured=False,
        )
        return changed, stand_in

    def _images(self, evaluation: Floats) -> tuple[Floats, Floats]:
        own = self.run.store.array(self.asked.calibration)
        calibration: Floats = own[list(evenly(len(own), MOST_CALIBRATION))]
        if not self.wanted.images:
            return evaluation, calibration
        return (
            random_images(evaluation, len(evaluation), SEED),
            random_images(calibration, len(calibration), SEED + 1),
        )

    def _shipped(self) -> onnx.ModelProto | None:
        """Returns the network as it came, where a cell ran it quantised."""
        for record in self.wanted.records:
            measurement = again(record)
            if record.pass_.source is TableSource.SHIPPED and measurement:
                return onnx.load_from_string(self._object(f"{measurement.model_sha256}.onnx"))
        return None

    def _calibrated(
        self, model: onnx.ModelProto, images: Floats, tables: Mapping[str, Table]
    ) -> dict[str, Table]:
        """Returns digest of an original table → the stand-in's, by the same algorithm."""
        algorithms = {digest: _algorithm(table) for digest, table in tables.items()}
        stated = read(self.run.folder / "matrix.yaml").value.get("calibration") or {}
        percentile = {"percentile": stated["percentile"]} if "percentile" in stated else {}
        with_outputs, tensors = calibration_model(model)
        array = self._put(npy(images), ".npy")
        calibration = {
            "model": self._put_model(with_outputs),
            "images": array,
            "tensors": list(tensors),
            "algorithms": [
                {"name": name, "options": percentile if name == "percentile" else {}}
                for name in sorted(set(algorithms.values()))
            ],
        }
        answer = self._asked(array, (), calibration).calibration()
        if answer is None:
            raise AnswerError("its calibration on the host failed")
        return {
            digest: from_ranges(answer.algorithms[name], Provenance(algorithm=name))
            for digest, name in algorithms.items()
        }

    def _outputs(
        self,
        model: onnx.ModelProto,
        shipped: onnx.ModelProto | None,
        evaluation: Floats,
        tables: Mapping[Key, Table],
    ) -> Mapping[str, Mapping[str, Floats]]:
        """Returns pass → head → outputs: of the reference and of every simulation."""
        models = {REFERENCE: self._put_model(model)}
        excluded = {
            placement: record.pass_.exclude
            for record in self.wanted.records
            for placement, _ in _key(record, self.asked)
        }
        for (placement, digest), table in tables.items():
            options = simulation_of(_placed(placement).options(excluded[placement]))
            own = shipped if _is_shipped(table) else None
            models[_name((placement, digest))] = self._put_model(
                own or place(model, table, options).model
            )
        passes = [
            {
                "name": name, "precision": "fp32", "model": file, "table": None,
                "compare_with": None, "implicit": None,
            }
            for name, file in models.items()
        ]  # fmt: skip
        answers = self._asked(self._put(npy(evaluation), ".npy"), passes, None)
        return {name: self._read(answers, name) for name in models}

    def _read(self, answers: ResultFolder, name: str) -> Mapping[str, Floats]:
        answer = answers.answer(name)
        if answer is None or answer.status != "ok":
            why = answer.error.message if answer and answer.error else "it gave no answer"
            raise AnswerError(f"{name} on the host: {why}")
        files = {
            head: answers.file(name, answer.outputs[head].file) for head, _ in self.asked.heads
        }
        return {head: read_array(path) for head, path in files.items()}

    def _networks(
        self, model: onnx.ModelProto, shipped: onnx.ModelProto | None, tables: Mapping[str, Table]
    ) -> dict[str, Path]:
        """Returns SHA-256 of a network that a cell ran → what stands in for it."""
        paths: dict[str, Path] = {}
        for record in self.wanted.records:
            measurement = again(record)
            if measurement is None:
                continue
            model_proto = model
            if shipped and record.pass_.source is TableSource.SHIPPED:
                model_proto = shipped
            elif measurement.typed:
                # By its weights alone: what the tensors of this one reach, nobody looked at.
                model_proto = convert(model, record.pass_.precision, {}).model
            elif measurement.table and not record.pass_.implicit:
                placed = _placed(_placement(record, measurement, self.asked))
                options = placed.options(record.pass_.exclude)
                model_proto = place(model, tables[measurement.table], options).model
            paths[measurement.model_sha256] = self.objects / self._put_model(model_proto)
        return paths

    def _judged(self, outputs: Mapping[str, Mapping[str, Floats]]) -> StandIn:
        gates = {gate.head: gate.sqnr_db for gate in self.manifest.heads}
        heads: dict[str, dict[str, tuple[float | None, float | None]]] = {
            gate: {} for gate in gates
        }
        lost, apart = [], [0.0]
        for simulation in self.manifest.simulations:
            name = _name((simulation.placement or "", simulation.table or ""))
            if name not in outputs:
                continue
            facts = self.manifest.tables.get(simulation.table or "", {})
            called = (
                f"{facts.get('algorithm')} of {facts.get('environment')}, {simulation.placement}"
            )
            for head, gate in gates.items():
                then = self._sqnr(simulation.outputs[head], head)
                y, r = outputs[name][head], outputs[REFERENCE][head]
                now = metrics(compare(y, r)).sqnr_db
                heads[head][f"{called} ({(simulation.table or '')[:8]})"] = (then, now)
                if then is not None and now is not None:
                    apart.append(abs(then - now))
                if not _alike(then, now, gate):
                    lost.append(f"{head} with {called}: {_db(then)}, now {_db(now)}")
        return StandIn(
            what=self.wanted.what,
            survives=not lost,
            sentence=_sentence(self.wanted.what, lost, max(apart)),
            heads=heads,
        )

    def _sqnr(self, output: StoredObject, head: str) -> float | None:
        reference = self.reference.outputs[head]
        return metrics(self.run.store.sums(output, reference, self.manifest.epsilon)).sqnr_db

    def _asked(
        self,
        evaluation: str,
        passes: Sequence[Mapping[str, Any]],
        calibration: Mapping[str, Any] | None,
    ) -> ResultFolder:
        """Runs one job on the host."""
        request = {
            "schema_version": protocol.SCHEMA_VERSION,
            "engine": self.host.engine,
            "engine_options": dict(self.asked.engine_options[self.host.name]),
            "input": self.asked.input,
            "heads": [list(pair) for pair in self.asked.heads],
            "evaluation": evaluation,
            "calibration": calibration,
            "passes": list(passes),
            "timing": None,
            **self.asked.batch_request(),
        }
        self.starts += 1
        _, result = start(
            self.host,
            request,
            self.objects,
            self.wanted.workspace / f"start-{self.starts}",
            device="cpu",
            deadline_s=DEADLINE_S,
        )
        return ResultFolder(result)

    def _object(self, file: str) -> bytes:
        return (self.run.store.root / "objects" / file).read_bytes()

    def _put_model(self, model: onnx.ModelProto) -> str:
        return self._put(model.SerializeToString(deterministic=True), ".onnx")

    def _put(self, content: bytes, suffix: str) -> str:
        name = object_of(content, suffix).file
        protocol.write_bytes(str(self.objects / name), content)
        return name


def _key(record: Record, asked: RunRequest) -> Iterator[Key]:
    """Yields the placement and the table of an int8 cell."""
    measurement = again(record)
    if measurement and measurement.table and record.pass_.precision is Precision.INT8:
        yield _placement(record, measurement, asked), measurement.table


def _placement(record: Record, measurement: Measurement, asked: RunRequest) -> str:
    return measurement.placement or asked.engines[record.environment]


def _placed(name: str) -> Placed:
    """Raises GraphError where a record names a placement that nobody knows."""
    placed = placed_of(name)
    if placed is None:
        message = f"no placement is called {name!r}: was the run made by a newer trt-matrix?"
        raise GraphError(message)
    return placed


def _is_shipped(table: Table) -> bool:
    return table.provenance.algorithm == SHIPPED


def _algorithm(table: Table) -> str:
    """Returns the host's algorithm that is nearest to a table's own: entropy2 is TensorRT's entropy."""
    name = table.provenance.algorithm
    return name if name in ALGORITHMS else UNKNOWN_ALGORITHM


def _name(key: Key) -> str:
    return f"simulation-{key[0]}-{key[1][:12]}"


def _alike(then: float | None, now: float | None, gate: float | None) -> bool:
    """Tells whether a head is about as bad as it was, and on the same side of its gate."""
    if then is None or now is None:
        return then is now
    same_side = gate is None or (then >= gate) == (now >= gate)
    return same_side and abs(then - now) <= CLOSE_DB


def _db(value: float | None) -> str:
    return "no error" if value is None else f"{value:.1f} dB"


def _sentence(what: Sequence[str], lost: Sequence[str], apart: float) -> str:
    began = f"Random {' and '.join(what)} stand in for the real ones. "
    limits = " What an engine adds to that is not known of them."
    if not lost:
        return (
            f"{began}Simulated on the host, every head is within {apart:.1f} dB of what it was and "
            f"on the same side of its gate: what the scales cost survives.{limits}"
        )
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return (
        f"{began}Simulated on the host, the fault does NOT survive: {'; '.join(lost[:3])}{more}. "
        "The jobs run, but their errors say nothing about the real ones; the report does."
    )
