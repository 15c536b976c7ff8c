"""What a test found of a head, one cause after the other: whose fault, where, how much, what to do."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.making import REDUCED, made
from trt_matrix.core.answers.rows import (
    Row,
    ToldVerdict,
    environments,
    int8_of,
    losses,
    says_something,
    told_of,
)
from trt_matrix.core.answers.speaking import speaking, table_name
from trt_matrix.core.answers.undecided import uncomparable, undecided
from trt_matrix.core.answers.versions import amount, engines, factors_told, versions
from trt_matrix.core.cells import Precision, TableSource
from trt_matrix.core.collecting import distinct
from trt_matrix.core.qdq.placements import PRECISE
from trt_matrix.core.reduced.told import converted_sentences
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.verdict import KINDS, TESTED, Kind
from trt_matrix.core.words import capital, listed, span, verb

ALIKE_DB = 1.0
"""Losses that are further apart are not called alike."""

_NEEDS = {str(Precision.FP16): "overflows"}
"""What fp16 fails by; bf16 and tf32 reach as far as fp32."""

NOBODYS = "nobody's, with another table than "
"""How the fault of tables that another one beats begins."""

EXACT_DB = 40.0
"""Below that, floating point is not far more exact than 8 bits."""

OF_A_HEAD = TESTED - {Kind.LATENCY_REGRESSION}
"""A latency is about the whole cell."""


def causes(rows: Sequence[Row], baseline: str, *, boxless: bool = False) -> list[Finding]:
    """Returns what tests found of one head."""
    told = {kind: told_of(rows, kind) for kind in Kind}
    findings = (
        *(
            WORDS.get(kind, _plainly)(told[kind], rows, baseline)
            for kind in Kind
            if kind in OF_A_HEAD and told[kind]
        ),
        *undecided(told[Kind.INCONCLUSIVE], rows),
        uncomparable(told[Kind.NOT_COMPARABLE], rows, boxless=boxless),
    )
    return [finding for finding in findings if finding]


def _plainly(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """A kind that has no words of its own."""
    names, facts = environments(told_verdicts), KINDS[told_verdicts[0].verdict.kind]
    against = distinct(row.verdict.against for row in told_verdicts if row.verdict.against)
    return made(
        told_verdicts,
        rows,
        facts.suspicion,
        f"{listed(names)} {verb('lose', names)} {amount(told_verdicts)} against {listed(against, 3)}: "
        f"{facts.suspicion}.{factors_told(told_verdicts)}",
        f"Look at {listed(names)} beside {listed(against, 3)}.",
    )


def _fp32(told_verdicts: Sequence[ToldVerdict], _rows: Sequence[Row], _baseline: str) -> Finding:
    names = environments(told_verdicts)
    rows = [(row.result, row.head) for row in told_verdicts]
    return made(
        told_verdicts,
        rows,
        f"{listed(names)} in fp32 already",
        f"{listed(names)} {verb('is', names)} wrong before any quantisation, in fp32 already: "
        f"{'it' if len(names) == 1 else 'they'} {_kept(told_verdicts)}.",
        f"Mend fp32 in {listed(names)} first: options, a custom layer, the parser. No int8 number "
        "of theirs means anything before that.",
        Severity.SEVERE,
    )


def _kept(rows: Sequence[ToldVerdict]) -> str:
    known = [row.head.sqnr_db for row in rows if row.head.sqnr_db is not None]
    return f"{verb('keep', environments(rows))} {span(known)} dB" if known else "keeps no number"


def _reduced(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """A floating-point precision below what its roundings cost, or below another version."""
    names = environments(told_verdicts)
    precision = str(told_verdicts[0].result.pass_.precision)
    levels = {
        row.verdict.against for row in told_verdicts if "/" not in (row.verdict.against or "")
    }
    parts = [f"{listed(names, 3)} {_kept(told_verdicts)} in {precision}"]
    if levels:
        parts.append(
            f"less than the {listed(sorted(filter(None, levels)))} that its roundings leave"
        )
    others = {
        result.environment: head.sqnr_db
        for result, head in rows
        if result.environment not in names
        and str(result.pass_.precision) == precision
        and head.sqnr_db is not None
        and says_something(head)
    }
    if others:
        parts.append(f"where {listed(list(others), 3)} keeps {span(others.values())} dB")
    harmless = not levels and all((row.head.sqnr_db or 0.0) >= EXACT_DB for row in told_verdicts)
    finding = made(
        told_verdicts,
        rows,
        f"the {'engine' if levels else 'version'} in {precision}: {listed(names, 3)}",
        f"{', '.join(parts)}.{factors_told(told_verdicts)}{converted_sentences((row.result.environment, row.result.facts) for row in told_verdicts)}",
        f"Use fp32 there, or another version; look for a layer that {_NEEDS.get(precision, 'needs more digits')} in "
        f"{precision}.",
        Severity.HARMLESS if harmless else Severity.SEVERE if levels else None,
    )
    if finding.severity is Severity.HARMLESS:
        return replace(finding, advice="A footnote: both are far more exact than 8 bits.")
    return finding


_EXACT = (
    f'With `engines: {{onnxruntime: {{session_config: {{{PRECISE}: "1"}}}}}}` (the same entry in a session of your '
    "own) uint8 is multiplied exactly, if the weights' DequantizeLinear have zero points (else ONNX Runtime fails)"
)


def _loss(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """The same scales in exact arithmetic keep more."""
    names = environments(told_verdicts)
    passes = {row.result.pass_.name for row in told_verdicts}
    ran = {result.environment for result, _ in int8_of(rows) if result.pass_.name in passes}
    every = len(ran) > 1 and ran == {row.result.environment for row in told_verdicts}
    where = f"every version that ran ({listed(names)})" if every else listed(names)
    costs = losses(told_verdicts)
    alike = every and max(costs, default=0.0) - min(costs, default=0.0) <= ALIKE_DB
    whose = f", in every version{' alike' if alike else ''}" if every else ""
    if all(row.result.may_saturate for row in told_verdicts) and not _spared(
        told_verdicts, rows, passes
    ):
        return made(
            told_verdicts,
            rows,
            f"the engine's kernels of u8 by s8, which saturate on this processor{whose}",
            f"In {where} {listed(sorted(passes))} loses {amount(told_verdicts)} against exact arithmetic with the "
            "same scales. It multiplies u8 by s8, and the processor has no VNNI: pairs of products are "
            "added in int16 there, and clipped.",
            f"{_EXACT}; or use a processor with VNNI."
            if all(row.result.pass_.source is TableSource.SHIPPED for row in told_verdicts)
            else f"Use `quantisation: {{activations: int8}}` there (auto does). {_EXACT}; or use a processor with VNNI.",
        )
    return made(
        told_verdicts,
        rows,
        f"the engine's int8 kernels{whose}",
        f"In {where} {listed(sorted(passes))} loses {amount(told_verdicts)} against exact arithmetic with the "
        "same scales: neither the table nor 8 bits explain that.",
        "Look below at the precisions in which layers ran, and report it with a ticket of this run.",
    )


def _spared(
    told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], passes: Collection[str]
) -> bool:
    """Whether a version loses nothing where it may saturate too: then that is not it, or not alone."""
    losing = {row.result.id for row in told_verdicts}
    return any(
        result.may_saturate
        and result.pass_.name in passes
        and result.id not in losing
        and says_something(head)
        for result, head in int8_of(rows)
    )


def _implicit(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """One table costs more as TensorRT's own scales than as Q/DQ nodes."""
    return made(
        told_verdicts,
        rows,
        "TensorRT's implicit scales",
        f"In {listed(environments(told_verdicts))} implicit int8 loses {amount(told_verdicts)} against Q/DQ nodes with "
        "the same table: what TensorRT makes of the scales, and neither the table nor 8 bits.",
        "Build from a network with Q/DQ nodes: the same table loses less there.",
    )


def _calibrators(
    told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str
) -> Finding:
    names = environments(told_verdicts)
    return made(
        told_verdicts,
        rows,
        f"the calibrator of {listed(names)}",
        f"The calibrator of {listed(names)} makes a worse table, {span(losses(told_verdicts))} dB under the "
        f"same arithmetic.{factors_told(told_verdicts)}",
        _better_table(told_verdicts, rows),
    )


def _better_table(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row]) -> str:
    """Returns which table loses less in those environments, of those that ran there; else where one is made."""
    names = environments(told_verdicts)
    placements = {row.result.placed for row in told_verdicts}
    worst = max(
        (row.head.budget.calibration for row in told_verdicts if row.head.budget), default=0.0
    )
    better = [
        (head.budget.calibration, table_name(result))
        for result, head in rows
        if result.environment in names
        and result.placed in placements
        and head.budget
        and head.budget.calibration < worst
        and says_something(head)
    ]
    if better:
        return f"Give {listed(names)} {min(better)[1]}, which loses less there."
    sources = {(row.verdict.against or "").split("/")[0] for row in told_verdicts}
    return f"Carry the table of {listed(sorted(sources))} over to {listed(names)}."


def _tables(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    tables = distinct(table_name(row.result) for row in told_verdicts)
    costs = "costs" if len(tables) == 1 and not tables[0].endswith("scales") else "cost"
    best = _best_table(told_verdicts, rows)
    if any(row.result.pass_.source is TableSource.SHIPPED for row in told_verdicts):
        advice = (
            "Quantise the network anew: here with `model.quantised: strip`, or where it was made."
        )
    elif best and best not in tables:
        advice = f"Use {best}, which loses least; look at the images: how many, of what, preprocessed as in use."
    else:
        advice = "Calibrate again; look at the images: how many, of what, preprocessed as in use."
    finding = made(
        told_verdicts,
        rows,
        f"the calibration's ({listed(tables)})",
        f"{capital(listed(tables))} {costs} {span(losses(told_verdicts))} dB more than the best table known, in "
        "exact arithmetic.",
        advice,
    )
    if finding.beaten:
        return replace(finding, fault=f"{NOBODYS}{listed(tables)}")
    return finding


def _best_table(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row]) -> str | None:
    """Returns the table whose simulated error is smallest, of those that ran there, and the shared one.

    In the same placement: what another one gains is not the table's.
    """
    names = environments(told_verdicts)
    placements = {row.result.placed for row in told_verdicts}
    simulated = [
        (head.budget.limit + head.budget.calibration, table_name(result))
        for result, head in rows
        if head.budget
        and result.placed in placements
        and (result.environment in names or result.pass_.source is TableSource.SHARED)
    ]
    return min(simulated)[1] if simulated else None


def _weights(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """One scale a weight costs more than a scale a channel, with the same table."""
    passes = sorted({row.result.pass_.name for row in told_verdicts})
    return made(
        told_verdicts,
        rows,
        "one scale for all channels of a weight",
        f"{listed(passes)} {verb('cost', passes)} {span(losses(told_verdicts))} dB more than weights with a scale a "
        "channel, with the same table and in exact arithmetic.",
        "Quantise weights per channel. Where the hardware cannot, keep the layers whose channels differ most in "
        "float, or equalise their channels before they are quantised.",
    )


def _limit(told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    gated = [row for row in told_verdicts if row.verdict.against == "the gate"]
    placements = distinct(row.result.placed.told for row in told_verdicts if row.result.placed)
    placed = f" in this placement ({placements[0]})" if len(placements) == 1 else ""
    if gated:
        limits = [
            -10 * math.log10(row.head.budget.limit)
            for row in gated
            if row.head.budget and row.head.budget.limit > 0
        ]
        kept = f" ({span(limits)} dB)" if limits else ""
        text = f"Even the best table known{kept} is beyond the gate, with exact arithmetic{placed}."
    else:
        judged = {result.id for result, _ in speaking(int8_of(rows))}
        of_best = [row for row in told_verdicts if row.result.id in judged] or told_verdicts
        worst = max(of_best, key=lambda row: severity.of_boxes(row.head.boxes).rank)
        text = f"{capital(worst.verdict.why or '')} ({worst.result.id})."
    return made(
        told_verdicts,
        rows,
        "8 bits' own",
        text,
        f"{_float_outputs(told_verdicts)}Keep some layers in float (fp32_layers, or without Q/DQ nodes), or train "
        "with quantisation; trt-matrix diagnose tries which layers would help.",
        None if gated else _of_boxes(told_verdicts),
    )


def _float_outputs(rows: Sequence[ToldVerdict]) -> str:
    """Returns advice against quantised outputs, which often cost most; empty where they are float."""
    if not all(row.result.placed and row.result.placed.int8_outputs for row in rows):
        return ""
    return (
        "Leave the heads' outputs in float first (`quantisation: {outputs: float}`, the default). "
    )


def _of_boxes(rows: Sequence[ToldVerdict]) -> Severity:
    return severity.worst(severity.of_boxes(row.head.boxes) for row in rows)


def _fallbacks(
    told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str
) -> Finding:
    names = environments(told_verdicts)
    layers = distinct(layer for row in told_verdicts for layer in row.head.float_layers)
    return made(
        told_verdicts,
        rows,
        "nobody's: layers stayed in float",
        f"{listed(names)} {verb('is', names)} {span(losses(told_verdicts))} dB better than 8 bits allow: layers did "
        "not run in int8.",
        f"Do not count on int8 speed there: {listed(layers, most=3)} ran in float."
        if layers
        else "Look at the layers' precision below: do not count on int8 speed there.",
        Severity.NONE,
    )


WORDS: dict[Kind, Callable[[Sequence[ToldVerdict], Sequence[Row], str], Finding | None]] = {
    Kind.FP32_REGRESSION: _fp32,
    **dict.fromkeys(REDUCED, _reduced),
    Kind.ENGINE_REGRESSION: engines,
    Kind.VERSION_REGRESSION: versions,
    Kind.ENGINE_LOSS: _loss,
    Kind.IMPLICIT_REGRESSION: _implicit,
    Kind.CALIBRATOR_REGRESSION: _calibrators,
    Kind.CALIBRATION_PROBLEM: _tables,
    Kind.PER_TENSOR_WEIGHTS: _weights,
    Kind.INT8_LIMIT: _limit,
    Kind.PRECISION_FALLBACK: _fallbacks,
}
"""Kind → its finding, of its verdicts (at least one), all rows of the head, and the baseline's name."""
