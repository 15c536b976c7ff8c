"""What is plainly so, without a test: outputs that are broken, cells that did not run, int8 that is none."""

from collections.abc import Iterator, Sequence

from trt_matrix.core.cells import Precision, Status
from trt_matrix.core.evidence import Evidence, good
from trt_matrix.core.metrics import Sums
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.words import count

EXACT_NMSE = 1e-6
"""60 dB: no head that 8 bits go through is so exact."""

FAINT = 0.01
"""Of the mean energy of an image."""


def against_reference(evidence: Evidence, output: StoredObject, head: str) -> Sums | None:
    """Returns the sums of one output; None without a reference."""
    reference = evidence.reference
    if reference is None or head not in reference.outputs:
        return None
    return evidence.sums_of(output, reference.outputs[head])


def own_nonfinite(evidence: Evidence, head: str) -> int:
    """Returns how many elements of the reference itself are NaN or infinite; only asked where some are."""
    reference = evidence.reference
    if reference is None:
        return 0
    output = reference.outputs[head]
    return int(evidence.sums_of(output, output)["nonfinite"].sum())


def reference_problem(evidence: Evidence, head: str) -> str | None:
    """Returns why nothing can be compared with this head's reference; None where it can."""
    reference = evidence.reference
    if reference is None:
        return "the reference could not be computed"
    sums = [
        evidence.sums_of(output, reference.outputs[head]) for output in _outputs(evidence, head)
    ]
    if not sums or any(array["r2"].sum() > 0 for array in sums):
        return None
    if not any(array["nonfinite"].any() for array in sums):
        return f"the reference of {head} is all zero"
    elements = int(sums[0]["n"].sum()) + int(sums[0]["nonfinite"].sum())
    bad = own_nonfinite(evidence, head)
    if bad >= elements:
        return f"the reference of {head} is NaN or infinite throughout"
    return None if bad == 0 else f"the reference of {head} has nothing finite but zeros"


def reference_note(evidence: Evidence, head: str) -> str | None:
    """Returns that some elements of the reference are left out of every number; None where none are."""
    first = next(_outputs(evidence, head), None)
    sums = against_reference(evidence, first, head) if first else None
    if sums is None or not sums["nonfinite"].any():
        return None
    bad = own_nonfinite(evidence, head)
    if not bad:
        return None
    elements, are = ("one element", "is") if bad == 1 else (count(bad, "element"), "are")
    return (
        f"{elements} of the reference of {head} {are} NaN or infinite, and left out of every number"
    )


def _outputs(evidence: Evidence, head: str) -> Iterator[StoredObject]:
    """Yields every output of a head that was measured."""
    for record in evidence.records:
        if record.status is Status.OK:
            outputs = (measurement.outputs.get(head) for measurement in good(record))
            yield from filter(None, outputs)


def broken(evidence: Evidence, record: Record, head: str) -> str | None:
    """Returns what is wrong with an output in itself; None where nothing is."""
    measured = good(record)
    wrong = [_broken(evidence, build.outputs[head], head) for build in measured]
    reasons = list(filter(None, wrong))
    if not reasons:
        return None
    reason = "; ".join(dict.fromkeys(reasons))
    if len(reasons) < len(measured):
        reason += f" in {len(reasons)} of {len(measured)} repeats"
    if _scales(evidence, record, head):
        reason += ", and so it is in exact arithmetic with its scales"
    return reason


def kept_apart(evidence: Evidence, record: Record, head: str) -> bool:
    """Whether an output is broken, and not by its scales alone: it is in no comparison then."""
    return broken(evidence, record, head) is not None and not _scales(evidence, record, head)


def _scales(evidence: Evidence, record: Record, head: str) -> bool:
    """Whether the simulation of the same table is as flat: the table, or 8 bits, do that, and no engine."""
    first = good(record)[0]
    mine = _broken(evidence, first.outputs[head], head)
    return mine is not None and any(
        _broken(evidence, measurement.outputs[head], head) == mine
        for measurement in _simulated(evidence, first)
    )


def _broken(evidence: Evidence, output: StoredObject, head: str) -> str | None:
    sums = against_reference(evidence, output, head)
    if sums is None:
        return None
    bad = int(sums["nonfinite"].sum())
    if bad and bad > own_nonfinite(evidence, head):
        images = int((sums["nonfinite"] > 0).sum())
        return f"NaN or infinite in {images} of {count(len(sums), 'image')}"
    if not sums["r2"].sum() > 0:
        return None
    if not sums["y2"].sum() > 0:
        return "all zero"
    # A faint image may well round to nothing; one like the others does not.
    empty = (sums["y2"] == 0) & (sums["r2"] >= FAINT * sums["r2"].mean())
    if empty.any():
        return f"all zero in {int(empty.sum())} of {count(len(sums), 'image')}"
    flat_of, reference = evidence.flat_of, evidence.reference
    flat = flat_of(output) if flat_of else None
    if flat is None or flat_of is None or reference is None:
        return None
    return None if flat_of(reference.outputs[head]) == flat else flat


def nothing_quantised(evidence: Evidence, record: Record, head: str) -> str | None:
    """Returns how an int8 cell shows that nothing was quantised; None where something was."""
    if record.pass_.precision is not Precision.INT8:
        return None
    measured = good(record)
    own = evidence.fp32_of.get((record.environment, record.device))
    if own and {build.outputs[head].sha256 for build in measured} == {own.outputs[head].sha256}:
        return "its outputs are those of fp32, bit for bit"
    sums = [against_reference(evidence, build.outputs[head], head) for build in measured]
    known = [array for array in sums if array is not None]
    if known and all(
        array["r2"].sum() > 0 and array["d2"].sum() <= EXACT_NMSE * array["r2"].sum()
        for array in known
    ):
        return "it is as exact as floating point"
    shares = [build.shares[head] for build in measured if build.shares and head in build.shares]
    unused = bool(shares) and all(share.offered_macs and not share.integer_macs for share in shares)
    # With a simulation a test says whether it is better than its scales allow, or rounds all the same.
    if unused and not _simulated(evidence, measured[0]):
        return "no multiplication ran on integers"
    return None


def lost(evidence: Evidence, record: Record, head: str) -> str | None:
    """Returns that zeros would be as near to the reference; None where they are not, or tests know better.

    Of floating point, and where exact arithmetic with the same scales is known, a test says whose fault that is.
    """
    measured = good(record)
    if record.pass_.precision is not Precision.INT8 or _simulated(evidence, measured[0]):
        return None
    sums = [against_reference(evidence, build.outputs[head], head) for build in measured]
    if any(array is None or not array["d2"].sum() >= array["r2"].sum() > 0 for array in sums):
        return None
    return "it is no nearer to the reference than zeros would be"


def _simulated(evidence: Evidence, measurement: Measurement) -> Sequence[Measurement]:
    """Returns exact arithmetic with the same scales."""
    key = (measurement.placement, measurement.table)
    return [
        simulation
        for simulation in evidence.manifest.simulations
        if simulation.status is Status.OK and (simulation.placement, simulation.table) == key
    ]


def fixed(record: Record) -> bool:
    """Whether building this cell again cannot give anything else.

    ONNX Runtime on one CPU builds the same each time. An engine that times kernels and chooses does not, unless
    its recorded layers are the same in all builds of a network with Q/DQ nodes.
    """
    measured = good(record)
    engines = [build.start.probe.get("engine") for build in measured if build.start]
    names = {engine.get("name") for engine in engines if isinstance(engine, dict)}
    if record.device == "cpu" and names == {"onnxruntime"} and len(engines) == len(measured):
        return True
    layers = {build.layers.sha256 if build.layers else None for build in measured}
    alike = len(measured) > 1 and len(layers) == 1 and None not in layers
    return alike and not record.pass_.implicit
