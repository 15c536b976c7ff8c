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
    found = (
        *(
            WORDS.get(kind, _plainly)(told[kind], rows, baseline)
            for kind in Kind
            if kind in OF_A_HEAD and told[kind]
        ),
        *undecided(told[Kind.INCONCLUSIVE], rows),
        uncomparable(told[Kind.NOT_COMPARABLE], rows, boxless=boxless),
    )
    return [one for one in found if one]


def _plainly(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """A kind that has no words of its own."""
    names, facts = environments(told), KINDS[told[0].verdict.kind]
    against = list(dict.fromkeys(one.verdict.against for one in told if one.verdict.against))
    return made(
        told,
        rows,
        facts.suspicion,
        f"{listed(names)} {verb('lose', names)} {amount(told)} against {listed(against, 3)}: "
        f"{facts.suspicion}.{factors_told(told)}",
        f"Look at {listed(names)} beside {listed(against, 3)}.",
    )


def _fp32(told: Sequence[ToldVerdict], _rows: Sequence[Row], _baseline: str) -> Finding:
    names = environments(told)
    rows = [(one.result, one.head) for one in told]
    return made(
        told,
        rows,
        f"{listed(names)} in fp32 already",
        f"{listed(names)} {verb('is', names)} wrong before any quantisation, in fp32 already: "
        f"{'it' if len(names) == 1 else 'they'} {_kept(told)}.",
        f"Mend fp32 in {listed(names)} first: options, a custom layer, the parser. No int8 number "
        "of theirs means anything before that.",
        Severity.SEVERE,
    )


def _kept(told: Sequence[ToldVerdict]) -> str:
    known = [one.head.error.sqnr_db for one in told if one.head.error.sqnr_db is not None]
    return f"{verb('keep', environments(told))} {span(known)} dB" if known else "keeps no number"


def _reduced(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """A floating-point precision below what its roundings cost, or below another version."""
    names = environments(told)
    precision = str(told[0].result.cell.pass_.precision)
    levels = {one.verdict.against for one in told if "/" not in (one.verdict.against or "")}
    parts = [f"{listed(names, 3)} {_kept(told)} in {precision}"]
    if levels:
        parts.append(
            f"less than the {listed(sorted(filter(None, levels)))} that its roundings leave"
        )
    others = {
        result.cell.environment: head.error.sqnr_db
        for result, head in rows
        if result.cell.environment not in names
        and str(result.cell.pass_.precision) == precision
        and head.error.sqnr_db is not None
        and says_something(head)
    }
    if others:
        parts.append(f"where {listed(list(others), 3)} keeps {span(others.values())} dB")
    harmless = not levels and all((one.head.error.sqnr_db or 0.0) >= EXACT_DB for one in told)
    found = made(
        told,
        rows,
        f"the {'engine' if levels else 'version'} in {precision}: {listed(names, 3)}",
        f"{', '.join(parts)}.{factors_told(told)}{converted_sentences((one.result.cell.environment, one.result.facts) for one in told)}",
        f"Use fp32 there, or another version; look for a layer that {_NEEDS.get(precision, 'needs more digits')} in "
        f"{precision}.",
        Severity.HARMLESS if harmless else Severity.SEVERE if levels else None,
    )
    if found.severity is Severity.HARMLESS:
        return replace(found, advice="A footnote: both are far more exact than 8 bits.")
    return found


_EXACT = (
    f'With `engines: {{onnxruntime: {{session_config: {{{PRECISE}: "1"}}}}}}` (the same entry in a session of your '
    "own) uint8 is multiplied exactly, if the weights' DequantizeLinear have zero points (else ONNX Runtime fails)"
)


def _loss(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """The same scales in exact arithmetic keep more."""
    names = environments(told)
    passes = {one.result.cell.pass_.name for one in told}
    ran = {
        result.cell.environment for result, _ in int8_of(rows) if result.cell.pass_.name in passes
    }
    every = len(ran) > 1 and ran == {one.result.cell.environment for one in told}
    where = f"every version that ran ({listed(names)})" if every else listed(names)
    costs = losses(told)
    alike = every and max(costs, default=0.0) - min(costs, default=0.0) <= ALIKE_DB
    whose = f", in every version{' alike' if alike else ''}" if every else ""
    if all(one.result.may_saturate for one in told) and not _spared(told, rows, passes):
        return made(
            told,
            rows,
            f"the engine's kernels of u8 by s8, which saturate on this processor{whose}",
            f"In {where} {listed(sorted(passes))} loses {amount(told)} against exact arithmetic with the "
            "same scales. It multiplies u8 by s8, and the processor has no VNNI: pairs of products are "
            "added in int16 there, and clipped.",
            f"{_EXACT}; or use a processor with VNNI."
            if all(one.result.cell.pass_.source is TableSource.SHIPPED for one in told)
            else f"Use `quantisation: {{activations: int8}}` there (auto does). {_EXACT}; or use a processor with VNNI.",
        )
    return made(
        told,
        rows,
        f"the engine's int8 kernels{whose}",
        f"In {where} {listed(sorted(passes))} loses {amount(told)} against exact arithmetic with the "
        "same scales: neither the table nor 8 bits explain that.",
        "Look below at the precisions in which layers ran, and report it with a ticket of this run.",
    )


def _spared(told: Sequence[ToldVerdict], rows: Sequence[Row], passes: Collection[str]) -> bool:
    """Whether a version loses nothing where it may saturate too: then that is not it, or not alone."""
    losing = {one.result.cell.id for one in told}
    return any(
        result.may_saturate
        and result.cell.pass_.name in passes
        and result.cell.id not in losing
        and says_something(head)
        for result, head in int8_of(rows)
    )


def _implicit(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """One table costs more as TensorRT's own scales than as Q/DQ nodes."""
    return made(
        told,
        rows,
        "TensorRT's implicit scales",
        f"In {listed(environments(told))} implicit int8 loses {amount(told)} against Q/DQ nodes with "
        "the same table: what TensorRT makes of the scales, and neither the table nor 8 bits.",
        "Build from a network with Q/DQ nodes: the same table loses less there.",
    )


def _calibrators(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    names = environments(told)
    return made(
        told,
        rows,
        f"the calibrator of {listed(names)}",
        f"The calibrator of {listed(names)} makes a worse table, {span(losses(told))} dB under the "
        f"same arithmetic.{factors_told(told)}",
        _better_table(told, rows),
    )


def _better_table(told: Sequence[ToldVerdict], rows: Sequence[Row]) -> str:
    """Returns which table loses less in those environments, of those that ran there; else where one is made."""
    names = environments(told)
    placements = {one.result.placed for one in told}
    worst = max((one.head.budget.calibration for one in told if one.head.budget), default=0.0)
    better = [
        (head.budget.calibration, table_name(result))
        for result, head in rows
        if result.cell.environment in names
        and result.placed in placements
        and head.budget
        and head.budget.calibration < worst
        and says_something(head)
    ]
    if better:
        return f"Give {listed(names)} {min(better)[1]}, which loses less there."
    sources = {(one.verdict.against or "").split("/")[0] for one in told}
    return f"Carry the table of {listed(sorted(sources))} over to {listed(names)}."


def _tables(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    tables = list(dict.fromkeys(table_name(one.result) for one in told))
    costs = "costs" if len(tables) == 1 and not tables[0].endswith("scales") else "cost"
    best = _best_table(told, rows)
    if any(one.result.cell.pass_.source is TableSource.SHIPPED for one in told):
        advice = (
            "Quantise the network anew: here with `model.quantised: strip`, or where it was made."
        )
    elif best and best not in tables:
        advice = f"Use {best}, which loses least; look at the images: how many, of what, preprocessed as in use."
    else:
        advice = "Calibrate again; look at the images: how many, of what, preprocessed as in use."
    found = made(
        told,
        rows,
        f"the calibration's ({listed(tables)})",
        f"{capital(listed(tables))} {costs} {span(losses(told))} dB more than the best table known, in "
        "exact arithmetic.",
        advice,
    )
    if found.beaten:
        return replace(found, fault=f"{NOBODYS}{listed(tables)}")
    return found


def _best_table(told: Sequence[ToldVerdict], rows: Sequence[Row]) -> str | None:
    """Returns the table whose simulated error is smallest, of those that ran there, and the shared one.

    In the same placement: what another one gains is not the table's.
    """
    names = environments(told)
    placements = {one.result.placed for one in told}
    simulated = [
        (head.budget.limit + head.budget.calibration, table_name(result))
        for result, head in rows
        if head.budget
        and result.placed in placements
        and (result.cell.environment in names or result.cell.pass_.source is TableSource.SHARED)
    ]
    return min(simulated)[1] if simulated else None


def _weights(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    """One scale a weight costs more than a scale a channel, with the same table."""
    passes = sorted({one.result.cell.pass_.name for one in told})
    return made(
        told,
        rows,
        "one scale for all channels of a weight",
        f"{listed(passes)} {verb('cost', passes)} {span(losses(told))} dB more than weights with a scale a "
        "channel, with the same table and in exact arithmetic.",
        "Quantise weights per channel. Where the hardware cannot, keep the layers whose channels differ most in "
        "float, or equalise their channels before they are quantised.",
    )


def _limit(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    gated = [one for one in told if one.verdict.against == "the gate"]
    placements = list(dict.fromkeys(one.result.placed.told for one in told if one.result.placed))
    placed = f" in this placement ({placements[0]})" if len(placements) == 1 else ""
    if gated:
        limits = [
            -10 * math.log10(one.head.budget.limit)
            for one in gated
            if one.head.budget and one.head.budget.limit > 0
        ]
        kept = f" ({span(limits)} dB)" if limits else ""
        text = f"Even the best table known{kept} is beyond the gate, with exact arithmetic{placed}."
    else:
        judged = {result.cell.id for result, _ in speaking(int8_of(rows))}
        of_best = [one for one in told if one.result.cell.id in judged] or told
        worst = max(of_best, key=lambda one: severity.of_boxes(one.head.boxes).rank)
        text = f"{capital(worst.verdict.why or '')} ({worst.result.cell.id})."
    return made(
        told,
        rows,
        "8 bits' own",
        text,
        f"{_float_outputs(told)}Keep some layers in float (fp32_layers, or without Q/DQ nodes), or train "
        "with quantisation; trt-matrix diagnose tries which layers would help.",
        None if gated else _of_boxes(told),
    )


def _float_outputs(told: Sequence[ToldVerdict]) -> str:
    """Returns advice against quantised outputs, which often cost most; empty where they are float."""
    if not all(one.result.placed and one.result.placed.int8_outputs for one in told):
        return ""
    return (
        "Leave the heads' outputs in float first (`quantisation: {outputs: float}`, the default). "
    )


def _of_boxes(told: Sequence[ToldVerdict]) -> Severity:
    return severity.worst(severity.of_boxes(one.head.boxes) for one in told)


def _fallbacks(told: Sequence[ToldVerdict], rows: Sequence[Row], _baseline: str) -> Finding:
    names = environments(told)
    layers = list(dict.fromkeys(layer for one in told for layer in one.head.float_layers))
    return made(
        told,
        rows,
        "nobody's: layers stayed in float",
        f"{listed(names)} {verb('is', names)} {span(losses(told))} dB better than 8 bits allow: layers did "
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
