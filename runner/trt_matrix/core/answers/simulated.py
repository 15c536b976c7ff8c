"""What exact arithmetic says of every table and placement of a run, head by head, and whose tables they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trt_matrix.core.evidence import Evidence, good
from trt_matrix.core.metrics import metrics
from trt_matrix.core.qdq.placements import placed_of
from trt_matrix.core.verdicts.calibration_blame import of_evaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulated:
    errors: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    """(placement, table's digest) → head → NMSE over all images."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Cell → digest of the table that it ran with."""
    algorithms: Mapping[str, str] = field(default_factory=dict)
    """Digest → algorithm; not of tables that were made of the images that they are judged on."""


def simulated(evidence: Evidence) -> Simulated:
    """Returns what a run simulated; nothing where its reference is not known."""
    manifest, reference = evidence.manifest, evidence.reference
    errors = {}
    for measurement in manifest.simulations if reference else ():
        placed = placed_of(measurement.placement or "")
        if placed is None or measurement.table is None or reference is None:
            continue
        metricses = {
            head: metrics(evidence.sums_of(output, reference.outputs[head]))
            for head, output in measurement.outputs.items()
            if head in reference.outputs
        }
        errors[placed.name, measurement.table] = {
            head: each.nmse
            for head, each in metricses.items()
            if each.nmse is not None and not each.nonfinite
        }
    seen = set(of_evaluation(manifest).values())
    return Simulated(
        errors=errors,
        tables={
            record.cell: measured[0].table
            for record in evidence.records
            if (measured := good(record)) and measured[0].table
        },
        algorithms={
            digest: str(facts["algorithm"])
            for digest, facts in manifest.tables.items()
            if digest not in seen and facts.get("algorithm")
        },
    )
