"""Records → what the verdicts are judged on: every error of one head, over images and repeats."""

from collections.abc import Mapping, Sequence

import numpy as np

from trt_matrix.core.cells import Status, TableSource
from trt_matrix.core.evidence import Evidence, good
from trt_matrix.core.layers.precisions import held_layers
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.network.ranked_sentences import why_not_compared
from trt_matrix.core.records import Measurement, Record
from trt_matrix.core.tables.coverage import enough
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead
from trt_matrix.core.verdicts.decisions import told_by_cell, verdicts
from trt_matrix.core.verdicts.plain_findings import (
    broken,
    fixed,
    kept_apart,
    lost,
    nothing_quantised,
    own_nonfinite,
    reference_problem,
)
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.verdict import FAULTS, Kind, Verdict
from trt_matrix.core.words import listed

NAMED = 3
"""Tensors that a reason names."""

Told = Mapping[tuple[str, str | None], tuple[Verdict, ...]]
"""(cell id, head) → its verdicts."""


def head_errors(evidence: Evidence) -> tuple[MeasuredHead, ...]:
    """Returns the errors of every head, in the order of matrix.yaml."""
    return tuple(_head_errors(evidence, gate) for gate in evidence.manifest.heads)


def told_by_head(evidence: Evidence, heads: Sequence[MeasuredHead]) -> Told:
    """Judges all cells and heads together: what is plainly so first, then what a test says."""
    told = dict(told_by_cell(verdicts(heads, evidence.manifest.baseline, evidence.rules)))
    problems = {
        head.head: reference_problem(evidence, head.head) for head in evidence.manifest.heads
    }
    for record in evidence.records:
        for gate in evidence.manifest.heads:
            key = (record.cell, gate.head)
            plain = _plain(evidence, record, gate.head, problems[gate.head])
            if plain:
                # Of an output that its scales alone make flat, tests say whose fault that is.
                faults = [verdict for verdict in told.get(key, ()) if verdict.kind in FAULTS]
                told[key] = (plain, *faults)
            # What did not run, had half a table or ranked rows is in no comparison.
            why = _uncovered(evidence, record, gate.head)
            nothing = Verdict(kind=Kind.NOT_COMPARABLE, cell=record.cell, head=gate.head, why=why)
            told.setdefault(key, (nothing,))
    return told


def _plain(evidence: Evidence, record: Record, head: str, problem: str | None) -> Verdict | None:
    """Returns what needs no test; None where nothing does."""
    if record.status is not Status.OK or not good(record):
        return None
    if problem:
        return Verdict(kind=Kind.NOT_COMPARABLE, cell=record.cell, head=head, why=problem)
    if why := broken(evidence, record, head):
        return Verdict(kind=Kind.BROKEN_OUTPUT, cell=record.cell, head=head, why=why)
    if _uncovered(evidence, record, head):
        return None
    if why := nothing_quantised(evidence, record, head):
        return Verdict(kind=Kind.NOTHING_QUANTISED, cell=record.cell, head=head, why=why)
    if why := lost(evidence, record, head):
        return Verdict(kind=Kind.BROKEN_OUTPUT, cell=record.cell, head=head, why=why)
    return None


def undecided(evidence: Evidence) -> frozenset[str]:
    """Returns the cells that more repeats would decide, and those which they are compared with."""
    told = told_by_head(evidence, head_errors(evidence))
    open_ = [verdict for verdicts in told.values() for verdict in verdicts if verdict.more_repeats]
    cells = frozenset(record.cell for record in evidence.records)
    named = {cell for verdict in open_ for cell in (verdict.cell, verdict.against) if cell}
    return cells.intersection(named)


def _head_errors(evidence: Evidence, gate: HeadGate) -> MeasuredHead:
    simulations = {}
    for simulation in evidence.manifest.simulations:
        sample = _sample(evidence, gate.head, [simulation], exact=True)
        if sample and simulation.placement and simulation.table:
            simulations[simulation.placement, simulation.table] = sample
    cells = [
        cell
        for record in evidence.records
        if record.status is Status.OK
        and _uncovered(evidence, record, gate.head) is None
        and not kept_apart(evidence, record, gate.head)
        and (cell := _cell_error(evidence, record, gate.head))
    ]
    return MeasuredHead(
        head=gate.head,
        cells=cells,
        simulations=simulations,
        gate_nmse=None if gate.sqnr_db is None else 10 ** (-gate.sqnr_db / 10),
    )


def _uncovered(evidence: Evidence, record: Record, head: str) -> str | None:
    """Returns why the head's error says nothing of the cell.

    Its rows are ranked, or it is not the error of the cell's table: too little of that arrived.
    """
    if ranked := evidence.manifest.ranked.get(head):
        asked = evidence.manifest.asked
        return why_not_compared(head, ranked, dict(asked.heads) if asked else {})
    least = evidence.manifest.least_coverage
    measured = [build.coverage or {} for build in good(record)]
    coverages = [coverage[head] for coverage in measured if head in coverage]
    shares = [(1.0 if each.ratio is None else each.ratio, each) for each in coverages]
    _, worst = min(shares, key=lambda pair: pair[0], default=(1.0, None))
    if least is None or worst is None or enough(worst.mapped, worst.total, least):
        return None
    lacking = worst.unmapped + worst.zero
    return (
        f"its table covers {worst.mapped / worst.total:.0%} of the tensors of head {head} "
        f"({worst.mapped} of {worst.total}), less than {least:.0%}: "
        f"no scale for {listed(lacking, NAMED)}"
    )


def _cell_error(evidence: Evidence, record: Record, head: str) -> CellError | None:
    measured = good(record)
    sample = _sample(evidence, head, measured)
    if sample is None:
        return None
    first = measured[0]
    # What the matrix held in float did not fall back.
    asked = bool(held_layers(first.start)) or record.pass_.mixed
    share = first.shares.get(head) if first.shares and not asked else None
    return CellError(
        cell=record.cell,
        environment=record.environment,
        device=record.device,
        pass_=record.pass_.name,
        precision=record.pass_.precision,
        sample=sample,
        placement=first.placement,
        table=first.table,
        # Which table it ran with is not known: not the one that all share, at any rate.
        own=record.pass_.source is TableSource.OWN or first.table_problem is not None,
        integer_share=share.kept if share else None,
        quantised=nothing_quantised(evidence, record, head) is None,
        implicit=record.pass_.implicit,
        held=asked,
        mixed=record.pass_.mixed,
        fixed=fixed(record),
    )


def _sample(
    evidence: Evidence, head: str, measured: Sequence[Measurement], *, exact: bool = False
) -> Sample | None:
    """Returns None where there is nothing finite to compare, or a reference that is zero."""
    reference = evidence.reference
    if reference is None:
        return None
    exact_output = reference.outputs[head]
    sums = [evidence.sums_of(build.outputs[head], exact_output) for build in measured]
    energy = sums[0]["r2"]
    if not energy.sum() > 0:
        return None
    most = max(int(array["nonfinite"].sum()) for array in sums)
    if most and most > own_nonfinite(evidence, head):
        return None
    return Sample(np.stack([array["d2"] for array in sums]), energy, exact=exact)
