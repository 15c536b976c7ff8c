"""What a test found of a head, one cause after the other: whose fault, where, how much, what to do."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from trt_matrix.core import severity
from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.rows import (
    HeadRow,
    int8_of,
    says_something,
    told_of,
)
from trt_matrix.core.answers.speaking import speaking, table_name
from trt_matrix.core.answers.undecided import uncomparable, undecided
from trt_matrix.core.answers.verdict_groups import REDUCED, VerdictGroup
from trt_matrix.core.answers.versions import amount, converted, engines, factors_told, versions
from trt_matrix.core.cells import Precision, TableSource
from trt_matrix.core.collecting import distinct, present
from trt_matrix.core.qdq.placements import PRECISE
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


def causes(rows: Sequence[HeadRow], baseline: str, *, boxless: bool = False) -> list[Finding]:
    """Returns what tests found of one head."""
    groups = {
        kind: VerdictGroup(verdicts, rows, baseline)
        for kind in Kind
        if (verdicts := told_of(rows, kind))
    }
    findings = [WORDS.get(kind, _plainly)(groups[kind]) for kind in groups if kind in OF_A_HEAD]
    if Kind.INCONCLUSIVE in groups:
        findings += undecided(groups[Kind.INCONCLUSIVE])
    if Kind.NOT_COMPARABLE in groups:
        findings += uncomparable(groups[Kind.NOT_COMPARABLE], boxless=boxless)
    return findings


def _plainly(group: VerdictGroup) -> Finding:
    """A kind that has no words of its own."""
    names, suspicion = group.environments, KINDS[group.kind].suspicion
    against = listed(distinct(filter(None, (row.verdict.against for row in group.verdicts))), 3)
    return group.finding(
        suspicion,
        f"{listed(names)} {verb('lose', names)} {amount(group)} against {against}: "
        f"{suspicion}.{factors_told(group)}",
        f"Look at {listed(names)} beside {against}.",
    )


def _fp32(group: VerdictGroup) -> Finding:
    names = group.environments
    return group.finding(
        f"{listed(names)} in fp32 already",
        f"{listed(names)} {verb('is', names)} wrong before any quantisation, in fp32 already: "
        f"{'it' if len(names) == 1 else 'they'} {_kept(group)}.",
        f"Mend fp32 in {listed(names)} first: options, a custom layer, the parser. No int8 number "
        "of theirs means anything before that.",
        Severity.SEVERE,
    )


def _kept(group: VerdictGroup) -> str:
    known = present(row.head.sqnr_db for row in group.verdicts)
    return f"{verb('keep', group.environments)} {span(known)} dB" if known else "keeps no number"


def _reduced(group: VerdictGroup) -> Finding:
    """A floating-point precision below what its roundings cost, or below another version."""
    names, verdicts = group.environments, group.verdicts
    precision = str(verdicts[0].result.pass_.precision)
    levels = {row.verdict.against for row in verdicts if "/" not in (row.verdict.against or "")}
    parts = [f"{listed(names, 3)} {_kept(group)} in {precision}"]
    if levels:
        parts.append(
            f"less than the {listed(sorted(filter(None, levels)))} that its roundings leave"
        )
    others = {
        result.environment: head.sqnr_db
        for result, head in group.rows
        if result.environment not in names
        and result.pass_.precision == precision
        and head.sqnr_db is not None
        and says_something(head)
    }
    if others:
        parts.append(f"where {listed(list(others), 3)} keeps {span(others.values())} dB")
    exact = all((row.head.sqnr_db or 0.0) >= EXACT_DB for row in verdicts)
    harmless = not levels and exact
    finding = group.finding(
        f"the {'engine' if levels else 'version'} in {precision}: {listed(names, 3)}",
        f"{', '.join(parts)}.{factors_told(group)}{converted(group)}",
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


def _loss(group: VerdictGroup) -> Finding:
    """The same scales in exact arithmetic keep more."""
    verdicts, passes = group.verdicts, listed(sorted(group.passes))
    losing = {row.result.environment for row in verdicts}
    ran = {
        row.result.environment
        for row in int8_of(group.rows)
        if row.result.pass_.name in group.passes
    }
    every = len(ran) > 1 and ran == losing
    names = listed(group.environments)
    where = f"every version that ran ({names})" if every else names
    costs = group.losses
    alike = every and max(costs, default=0.0) - min(costs, default=0.0) <= ALIKE_DB
    whose = f", in every version{' alike' if alike else ''}" if every else ""
    if all(row.result.may_saturate for row in verdicts) and not _spared(group):
        return group.finding(
            f"the engine's kernels of u8 by s8, which saturate on this processor{whose}",
            f"In {where} {passes} loses {amount(group)} against exact arithmetic with the "
            "same scales. It multiplies u8 by s8, and the processor has no VNNI: pairs of products are "
            "added in int16 there, and clipped.",
            f"{_EXACT}; or use a processor with VNNI."
            if all(row.result.pass_.source is TableSource.SHIPPED for row in verdicts)
            else f"Use `quantisation: {{activations: int8}}` there (auto does). {_EXACT}; or use a processor with VNNI.",
        )
    return group.finding(
        f"the engine's int8 kernels{whose}",
        f"In {where} {passes} loses {amount(group)} against exact arithmetic with the "
        "same scales: neither the table nor 8 bits explain that.",
        "Look below at the precisions in which layers ran, and report it with a ticket of this run.",
    )


def _spared(group: VerdictGroup) -> bool:
    """Whether a version loses nothing where it may saturate too: then that is not it, or not alone."""
    losing = {row.result.id for row in group.verdicts}
    return any(
        result.may_saturate
        and result.pass_.name in group.passes
        and result.id not in losing
        and says_something(head)
        for result, head in int8_of(group.rows)
    )


def _implicit(group: VerdictGroup) -> Finding:
    """One table costs more as TensorRT's own scales than as Q/DQ nodes."""
    return group.finding(
        "TensorRT's implicit scales",
        f"In {listed(group.environments)} implicit int8 loses {amount(group)} against Q/DQ nodes with "
        "the same table: what TensorRT makes of the scales, and neither the table nor 8 bits.",
        "Build from a network with Q/DQ nodes: the same table loses less there.",
    )


def _calibrators(group: VerdictGroup) -> Finding:
    names = listed(group.environments)
    return group.finding(
        f"the calibrator of {names}",
        f"The calibrator of {names} makes a worse table, {span(group.losses)} dB under the "
        f"same arithmetic.{factors_told(group)}",
        _better_table(group),
    )


def _better_table(group: VerdictGroup) -> str:
    """Returns which table loses less in those environments, of those that ran there; else where one is made."""
    names = group.environments
    placements = {row.result.placed for row in group.verdicts}
    budgets = present(row.head.budget for row in group.verdicts)
    worst = max((budget.calibration for budget in budgets), default=0.0)
    better = [
        (head.budget.calibration, table_name(result))
        for result, head in group.rows
        if result.environment in names
        and result.placed in placements
        and head.budget
        and head.budget.calibration < worst
        and says_something(head)
    ]
    if better:
        return f"Give {listed(names)} {min(better)[1]}, which loses less there."
    sources = {(row.verdict.against or "").split("/")[0] for row in group.verdicts}
    return f"Carry the table of {listed(sorted(sources))} over to {listed(names)}."


def _tables(group: VerdictGroup) -> Finding:
    tables = distinct(table_name(row.result) for row in group.verdicts)
    costs = "costs" if len(tables) == 1 and not tables[0].endswith("scales") else "cost"
    best = _best_table(group)
    images = "look at the images: how many, of what, preprocessed as in use."
    if any(row.result.pass_.source is TableSource.SHIPPED for row in group.verdicts):
        advice = (
            "Quantise the network anew: here with `model.quantised: strip`, or where it was made."
        )
    elif best and best not in tables:
        advice = f"Use {best}, which loses least; {images}"
    else:
        advice = f"Calibrate again; {images}"
    finding = group.finding(
        f"the calibration's ({listed(tables)})",
        f"{capital(listed(tables))} {costs} {span(group.losses)} dB more than the best table known, in "
        "exact arithmetic.",
        advice,
    )
    return replace(finding, fault=f"{NOBODYS}{listed(tables)}") if finding.beaten else finding


def _best_table(group: VerdictGroup) -> str | None:
    """Returns the table whose simulated error is smallest, of those that ran there, and the shared one.

    In the same placement: what another one gains is not the table's.
    """
    names = group.environments
    placements = {row.result.placed for row in group.verdicts}
    simulated = [
        (head.budget.limit + head.budget.calibration, table_name(result))
        for result, head in group.rows
        if head.budget
        and result.placed in placements
        and (result.environment in names or result.pass_.source is TableSource.SHARED)
    ]
    return min(simulated)[1] if simulated else None


def _weights(group: VerdictGroup) -> Finding:
    """One scale a weight costs more than a scale a channel, with the same table."""
    passes = sorted(group.passes)
    return group.finding(
        "one scale for all channels of a weight",
        f"{listed(passes)} {verb('cost', passes)} {span(group.losses)} dB more than weights with a scale a "
        "channel, with the same table and in exact arithmetic.",
        "Quantise weights per channel. Where the hardware cannot, keep the layers whose channels differ most in "
        "float, or equalise their channels before they are quantised.",
    )


def _limit(group: VerdictGroup) -> Finding:
    verdicts = group.verdicts
    gated = [row for row in verdicts if row.verdict.against == "the gate"]
    placements = distinct(row.result.placed.told for row in verdicts if row.result.placed)
    placed = f" in this placement ({placements[0]})" if len(placements) == 1 else ""
    if gated:
        limits = present(row.head.best_db for row in gated)
        kept = f" ({span(limits)} dB)" if limits else ""
        text = f"Even the best table known{kept} is beyond the gate, with exact arithmetic{placed}."
    else:
        judged = {row.result.id for row in speaking(int8_of(group.rows))}
        of_best = [row for row in verdicts if row.result.id in judged] or verdicts
        worst = max(of_best, key=lambda row: severity.of_boxes(row.head.boxes).rank)
        text = f"{capital(worst.verdict.why or '')} ({worst.result.id})."
    quantised = all(row.result.placed and row.result.placed.int8_outputs for row in verdicts)
    # Quantised outputs often cost most.
    first = (
        "Leave the heads' outputs in float first (`quantisation: {outputs: float}`, the default). "
        if quantised
        else ""
    )
    return group.finding(
        "8 bits' own",
        text,
        f"{first}Keep some layers in float (fp32_layers, or without Q/DQ nodes), or train "
        "with quantisation; trt-matrix diagnose tries which layers would help.",
        None if gated else severity.worst(severity.of_boxes(row.head.boxes) for row in verdicts),
    )


def _fallbacks(group: VerdictGroup) -> Finding:
    names = group.environments
    layers = distinct(layer for row in group.verdicts for layer in row.head.float_layers)
    return group.finding(
        "nobody's: layers stayed in float",
        f"{listed(names)} {verb('is', names)} {span(group.losses)} dB better than 8 bits allow: layers did "
        "not run in int8.",
        f"Do not count on int8 speed there: {listed(layers, most=3)} ran in float."
        if layers
        else "Look at the layers' precision below: do not count on int8 speed there.",
        Severity.NONE,
    )


WORDS: dict[Kind, Callable[[VerdictGroup], Finding]] = {
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
"""Kind → its finding."""
