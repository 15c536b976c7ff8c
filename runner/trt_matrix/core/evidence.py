"""What a judgement is made from: stored facts, and a way to the per-image sums."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.boxes.evidence import BoxEvidence
from trt_matrix.core.cells import Cell, Precision
from trt_matrix.core.collecting import distinct
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.metrics import Sums, metrics
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.rules import Rules

SumsOf = Callable[[StoredObject, StoredObject], Sums]
"""(y, r) → per-image sums of y against r."""


@dataclass(frozen=True)
class Evidence:
    """Everything that one judgement is made from."""

    manifest: Manifest
    cells: Sequence[Cell]
    records: Sequence[Record]
    sums_of: SumsOf
    boxes: BoxEvidence | None = None
    """None where the run does not say how to decode."""
    flat_of: Callable[[StoredObject], str | None] | None = None
    """→ what is flat about an output (`reductions.flat`); None where outputs cannot be read."""
    known: Callable[[StoredObject, StoredObject], bool] = lambda *_: True
    """(y, r) → whether `sums_of` can tell: outputs that were not kept are compared with nothing new."""

    @property
    def rules(self) -> Rules:
        """Repeating until something is found finds too much: each look gets its share of errors."""
        return Rules(
            looks=self.manifest.looks,
            least_effect_db=self.manifest.least_effect_db,
            equivalence_db=self.manifest.equivalence_db,
        )

    @property
    def reference(self) -> Measurement | None:
        """The reference, where it could be computed."""
        reference = self.manifest.reference
        return reference if reference and reference.status.ok else None

    @functools.cached_property
    def fp32_of(self) -> Mapping[tuple[str, str], Measurement]:
        """(environment, device) → the first repeat of its own fp32."""
        return {
            (record.environment, record.device): measured[0]
            for record in reversed(self.records)
            if record.pass_.precision is Precision.FP32 and (measured := good(record))
        }

    def sqnr_of(self, head: str, output: StoredObject) -> float | None:
        """Returns one output's SQNR against the reference in dB; None where it has none."""
        reference = self.reference
        if reference is None or head not in reference.outputs:
            return None
        return metrics(self.sums_of(output, reference.outputs[head])).sqnr_db


def good(record: Record) -> list[Measurement]:
    """Returns the repeats that were measured."""
    return [measurement for measurement in record.measurements if measurement.status.ok]


def timed(record: Record) -> list[Measurement]:
    """Returns the repeats that tell the latency: those undisturbed, or all where none was."""
    rounds = [repeat for repeat in good(record) if repeat.latency and repeat.latency.samples_s]
    return [repeat for repeat in rounds if not _disturbance(repeat)] or rounds


def disturbed(record: Record) -> str | None:
    """Returns what disturbed how many of its repeats; None where nothing did."""
    measured = good(record)
    reasons = list(filter(None, map(_disturbance, measured)))
    if not reasons or len(measured) == 1:
        return reasons[0] if reasons else None
    return f"{len(reasons)} of {len(measured)} repeats: {'; '.join(distinct(reasons))}"


def latency_disturbed(record: Record) -> bool:
    """Whether the repeats that tell the latency were disturbed, since all were."""
    rounds = timed(record)
    return bool(rounds) and all(map(_disturbance, rounds))


def watched(record: Record) -> bool | None:
    """Says whether the GPU was looked at around all that was timed; None where nothing was, or no GPU.

    That of another machine cannot be: nobody knows then whether something else used it.
    """
    rounds = timed(record)
    if record.device == "cpu" or not rounds:
        return None
    return all(repeat.start is not None and bool(repeat.start.gpu) for repeat in rounds)


def _disturbance(measurement: Measurement) -> str | None:
    return measurement.start.disturbed if measurement.start else None
