"""From records to a judgement: pure, so that judging again needs no engine."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trt_matrix.core.answers.bad_heads import lineages
from trt_matrix.core.answers.gate_sentences import network_gates_sentence
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.per_head import answers
from trt_matrix.core.answers.sentences import sentences
from trt_matrix.core.answers.unexplained import with_unexplained
from trt_matrix.core.box_judge import judge_boxes
from trt_matrix.core.boxes.results import BoxErrors, CellBoxes
from trt_matrix.core.cells import Cell
from trt_matrix.core.collecting import grouped, present
from trt_matrix.core.evidence import (
    Evidence,
    disturbed,
    good,
    latency_disturbed,
    timed,
    watched,
)
from trt_matrix.core.factors.attribute import attributed
from trt_matrix.core.factors.cell_factors import versions
from trt_matrix.core.hosts.processor import processor_of
from trt_matrix.core.judgement import (
    CellResult,
    CellRun,
    CustomLayer,
    HeadResult,
    Judgement,
    WideLayer,
)
from trt_matrix.core.latency import latency
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.metrics import metrics
from trt_matrix.core.qdq.placements import placed_of, saturates
from trt_matrix.core.records import Measurement, Record
from trt_matrix.core.reduced import conversion_sentences as reduced
from trt_matrix.core.verdicts.bridges import bridges
from trt_matrix.core.verdicts.budget import Budget, budgets
from trt_matrix.core.verdicts.calibration_blame import calibration_sentences
from trt_matrix.core.verdicts.cell_errors import Noises
from trt_matrix.core.verdicts.equivalence import equivalences
from trt_matrix.core.verdicts.gates import all_hold, gate_results
from trt_matrix.core.verdicts.head_errors import Told, head_errors, told_by_head
from trt_matrix.core.verdicts.latency import latency_sentence, latency_verdicts
from trt_matrix.core.verdicts.plain_findings import (
    fixed,
    own_nonfinite,
    reference_note,
    reference_problem,
)
from trt_matrix.core.verdicts.verdict import Verdict


def judge(evidence: Evidence) -> Judgement:
    # Verdicts, budgets and metrics ask for the same sums.
    evidence = replace(evidence, sums_of=functools.cache(evidence.sums_of))
    manifest = evidence.manifest
    errors = head_errors(evidence)
    noises = Noises(errors, evidence.rules.float_build_db)
    budget_of = {error.head: budgets(error, noises) for error in errors}
    owners = _owners(evidence.records)
    heads = tuple(gate.head for gate in manifest.heads)
    slower = latency_verdicts(evidence.records, manifest.baseline, evidence.rules)
    told = dict(told_by_head(evidence, errors))
    told |= {(cell, None): (verdict,) for cell, verdict in slower.items()}
    told = dict(attributed(told, errors, evidence.records, evidence.rules))
    boxes = judge_boxes(evidence)
    results = tuple(
        _cell_result(evidence, cell, record, budget_of, owners, told, boxes.cells.get(record.cell))
        for cell, record in zip(evidence.cells, evidence.records, strict=True)
    )
    results = with_unexplained(results)
    blame = calibration_sentences(manifest, errors, told)
    equal = equivalences(errors, manifest.baseline, evidence.rules)
    problems = {
        head: reference_problem(evidence, head) or reference_note(evidence, head) for head in heads
    }
    answered = answers(
        heads,
        results,
        manifest.baseline,
        blame,
        equal,
        problems,
        manifest.wide_weights,
        boxless=manifest.boxless,
    )
    network = network_gates_sentence(results)
    return Judgement(
        name=manifest.name,
        run_id=manifest.run_id,
        created=manifest.created,
        baseline=manifest.baseline,
        heads=heads,
        images=manifest.images,
        cells=results,
        answers=answered,
        sentences=sentences(answered, results, manifest.baseline, boxes.draws),
        equal=equal,
        bridges=bridges(errors, evidence.rules),
        gates_set=any(gate.is_set for gate in (manifest.gate, *manifest.heads) if gate),
        network=network_answer(results, answered, network),
        network_sentence=network,
        latency_sentence=latency_sentence(list(slower.values()), manifest.baseline),
        lineage=lineages(
            manifest.lineage, [result for result in results if not result.pass_.mixed]
        ),
        wide_weights=tuple(
            WideLayer(**wide_weight.model_dump()) for wide_weight in manifest.wide_weights
        ),
        custom=tuple(
            CustomLayer(node=operator.name, operator=operator.operator, heads=group.heads)
            for group in manifest.lineage
            for operator in group.operators
            if operator.custom
        ),
        boxes=boxes.report,
        boxless=manifest.boxless,
        facts=manifest.facts,
    )


def _owners(records: Sequence[Record]) -> Mapping[tuple[str, str], list[str]]:
    """Returns (head, content) → ids of the cells whose first repeat gave exactly that output."""
    return grouped(
        ((head, output.sha256), record.cell)
        for record in records
        for measurement in good(record)[:1]
        for head, output in measurement.outputs.items()
    )


def _cell_result(
    evidence: Evidence,
    cell: Cell,
    record: Record,
    budget_of: Mapping[str, Mapping[str, Budget]],
    owners: Mapping[tuple[str, str], Sequence[str]],
    told: Told,
    boxes: CellBoxes | None,
) -> CellResult:
    measured = good(record)
    failed = [repeat for repeat in record.measurements if not repeat.status.ok]
    latest = (measured or failed)[-1:] or []
    start = latest[0].start if latest else None
    probe = start.probe if start else {}
    engine = probe.get("engine") or {}  # the job writes null where the engine did not load
    rounds = present(repeat.latency for repeat in timed(record))
    reference = evidence.manifest.reference
    gate = evidence.manifest.gate
    gates = (
        gate_results(gate.limits(record.pass_.precision), None, boxes.whole if boxes else None)
        if gate and measured and record.status.ok
        else ()
    )
    placed = placed_of(latest[0].placement or "") if latest else None
    processor = processor_of(probe.get("machine"), probe.get("processor_flags"))
    comparable = record.status.ok and reference and reference.status.ok
    return CellResult(
        cell=cell,
        status=record.status,
        reason=record.reason,
        repeats=len(measured),
        fixed=bool(measured) and fixed(record),
        table_problem=next(filter(None, (repeat.table_problem for repeat in measured)), None),
        placed=placed,
        may_saturate=placed is not None
        and engine.get("name") == "onnxruntime"
        and saturates(
            placed,
            on_cpu=record.device == "cpu",
            processor=processor,
            session=engine.get("options", {}).get("session_config"),
        ),
        disturbed=disturbed(record),
        latency_disturbed=latency_disturbed(record),
        watched=watched(record),
        engine_version=engine.get("version"),
        latency=latency([samples.samples_s for samples in rounds], rounds[0].batch)
        if rounds
        else None,
        heads=tuple(
            _head_result(
                evidence,
                record,
                gate,
                budget_of[gate.head].get(record.cell),
                owners,
                told[record.cell, gate.head],
                boxes.heads.get(gate.head) if boxes else None,
            )
            for gate in evidence.manifest.heads
        )
        if comparable
        else (),
        boxes=boxes and replace(boxes, heads={}),
        gates=gates,
        passed=all_hold(gates),
        reused=bool(measured) and record.reused == len(record.measurements),
        verdicts=told.get((cell.id, None), ()),
        log_tail=failed[-1].log_tail if failed else None,
        run=_cell_run(record),
        versions=versions(start) if start else {},
        facts={
            "stated": dict(start.identity),
            "probed": dict(probe),
            "command": list(start.command),
            **_network_facts(latest[0]),
        }
        if start
        else {},
    )


def _cell_run(record: Record) -> CellRun | None:
    """Returns None for a cell of which nothing was started."""
    if not record.measurements:
        return None
    newest = record.measurements[-1]
    build = newest.build or {}
    size, cache = build.get("size_bytes"), build.get("timing_cache")
    stages = grouped(pair for repeat in record.measurements for pair in repeat.stages.items())
    return CellRun(
        started=newest.start.started if newest.start else None,
        stages={stage: tuple(seconds) for stage, seconds in stages.items()},
        table=newest.table,
        fingerprint=newest.fingerprint,
        engine_bytes=size if isinstance(size, int) else None,
        timing_cache=cache if isinstance(cache, str) else None,
    )


def _network_facts(measurement: Measurement) -> Mapping[str, Any]:
    """Returns the form of the network that was read, what of the table arrived, what was held, and custom layers."""
    facts: dict[str, Any] = {}
    if measurement.variant:
        facts["network"] = {"read": measurement.variant, "refused": dict(measurement.refused)}
    if measurement.typed:
        facts[reduced.CONVERTED] = reduced.facts(measurement.typed)
    if measurement.coverage:
        heads = {
            head: coverage.model_dump(mode="json")
            for head, coverage in measurement.coverage.items()
        }
        scales = (measurement.build or {}).get("scales") or {}
        facts["scales"] = {"heads": heads, "defaulted": scales.get("defaulted")}
    table = {"not used": measurement.table_problem, "notes": list(measurement.table_notes)}
    others = {
        "table": {name: told for name, told in table.items() if told},
        "carried": dict(measurement.carried),
        "held": list(measurement.held),
        "custom layers": [dict(layer) for layer in measurement.custom_layers],
    }
    return facts | {name: told for name, told in others.items() if told}


def _head_result(
    evidence: Evidence,
    record: Record,
    head_gate: HeadGate,
    budget: Budget | None,
    owners: Mapping[tuple[str, str], Sequence[str]],
    verdicts: tuple[Verdict, ...],
    boxes: BoxErrors | None,
) -> HeadResult:
    head = head_gate.head
    measured = good(record)
    first = measured[0]
    reference = evidence.manifest.reference
    assert reference is not None  # noqa: S101 - the caller compares only with a reference
    sums = [
        evidence.sums_of(measurement.outputs[head], reference.outputs[head])
        for measurement in measured
    ]
    error = metrics(np.concatenate(sums))
    if error.nonfinite:
        # What the reference itself has is left out on both sides, and no fault of the cell.
        left_out = own_nonfinite(evidence, head) * len(measured)
        error = replace(error, nonfinite=max(error.nonfinite - left_out, 0))
    own = evidence.fp32_of.get((record.environment, record.device))
    gates = gate_results(head_gate.limits(record.pass_.precision), error, boxes)
    share = first.shares.get(head) if first.shares else None
    return HeadResult(
        head=head,
        error=error,
        against_fp32=metrics(evidence.sums_of(first.outputs[head], own.outputs[head]))
        if own and record.pass_.is_int8 and evidence.known(first.outputs[head], own.outputs[head])
        else None,
        budget=budget,
        integer_share=share.ratio if share else None,
        float_layers=share.float_layers if share else (),
        placed_float=share.placed_float if share else (),
        integer_operators=share.integer_operators if share else {},
        float_operators=share.float_operators if share else {},
        identical_to=tuple(
            cell for cell in owners[head, first.outputs[head].sha256] if cell != record.cell
        ),
        verdicts=verdicts,
        boxes=boxes,
        gates=gates,
        gate_sqnr_db=head_gate.sqnr_db if record.pass_.is_int8 else None,
        passed=all_hold(gates),
    )
