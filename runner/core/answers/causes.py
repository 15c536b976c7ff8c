"""What a test found of a head, one cause after the other: whose fault, where, how much, what to do."""

import math
from collections.abc import Sequence
from dataclasses import replace

from runner.cells import TableSource
from runner.core import severity
from runner.core.answer import Finding
from runner.core.answers.making import REDUCED, made
from runner.core.answers.remedies import speaking, table_name
from runner.core.answers.rows import (
    Row,
    Told,
    environments,
    int8_of,
    losses,
    says_something,
    told_of,
)
from runner.core.answers.sureness import interval
from runner.core.factors.cell_factors import CHOSEN
from runner.core.factors.words import reasons
from runner.core.judgement import HeadResult
from runner.core.reduced.told import converted_sentence
from runner.core.severity import Severity
from runner.core.verdicts.verdict import KINDS, MORE_REPEATS, Kind
from runner.core.words import capital, listed, span, verb

ALIKE_DB = 1.0
"""Losses that are further apart are not called alike."""

EXACT_DB = 40.0
"""Below that, floating point is not far more exact than 8 bits."""


def causes(rows: Sequence[Row], baseline: str) -> list[Finding]:
    """Returns what tests found of one head."""
    made = (
        _fp32(told_of(rows, Kind.FP32_REGRESSION)),
        *(_reduced(told_of(rows, kind), rows) for kind in REDUCED),
        _engines(told_of(rows, Kind.ENGINE_REGRESSION), rows, baseline),
        _versions(told_of(rows, Kind.VERSION_REGRESSION), rows, baseline),
        _loss(told_of(rows, Kind.ENGINE_LOSS), rows),
        _implicit(told_of(rows, Kind.IMPLICIT_REGRESSION), rows),
        _calibrators(told_of(rows, Kind.CALIBRATOR_REGRESSION), rows),
        _tables(told_of(rows, Kind.CALIBRATION_PROBLEM), rows),
        _weights(told_of(rows, Kind.PER_TENSOR_WEIGHTS), rows),
        _limit(told_of(rows, Kind.INT8_LIMIT), rows),
        _fallbacks(told_of(rows, Kind.PRECISION_FALLBACK), rows),
        *_undecided(told_of(rows, Kind.INCONCLUSIVE), rows),
        _uncomparable(told_of(rows, Kind.NOT_COMPARABLE), rows),
    )
    return [one for one in made if one]


def _fp32(told: Sequence[Told]) -> Finding | None:
    if not told:
        return None
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


def _kept(told: Sequence[Told]) -> str:
    known = [one.head.error.sqnr_db for one in told if one.head.error.sqnr_db is not None]
    return f"{verb('keep', environments(told))} {span(known)} dB" if known else "keeps no number"


def _reduced(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    """A floating-point precision below what its roundings cost, or below another version."""
    if not told:
        return None
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
        f"{', '.join(parts)}.{_reasons(told)}{converted_sentence(told[0].result.facts)}",
        f"Use fp32 there, or another version; look for a layer that overflows in {precision}.",
        Severity.HARMLESS if harmless else Severity.SEVERE if levels else None,
    )
    if found.severity is Severity.HARMLESS:
        return replace(found, advice="A footnote: both are far more exact than 8 bits.")
    return found


def _engines(told: Sequence[Told], rows: Sequence[Row], baseline: str) -> Finding | None:
    """Versions that lose at the same scales: only the engine changed there."""
    if not told:
        return None
    names = environments(told)
    text = (
        f"At the same scales {listed(names)} {verb('lose', names)} {_amount(told)} against {baseline}, "
        "with one table in both."
    )
    heads = {id(one.head): one.head for one in told}.values()
    base = next((head for result, head in rows if _is_shared_of(result, baseline)), None)
    moved = _moved(list(heads), base) if base else ()
    subject = "It runs" if len(names) == 1 else "They run"
    told_moved = f" {subject} {listed(moved[0])} {moved[1]}." if moved else ""
    sound = [
        result.cell.environment
        for result, head in rows
        if result.cell.pass_.source is TableSource.SHARED
        and result.cell.environment not in names
        and says_something(head)
        and not any(
            one.kind in (Kind.INCONCLUSIVE, Kind.PRECISION_FALLBACK) for one in head.verdicts
        )
    ]
    return made(
        told,
        rows,
        _changed(told, "the engine's"),
        f"{text}{told_moved}{_reasons(told)}",
        _engine_advice(told, names, list(dict.fromkeys(sound)), moved[0] if moved else ()),
    )


def _versions(told: Sequence[Told], rows: Sequence[Row], baseline: str) -> Finding | None:
    """Versions that lose with tables of their own that nobody knows."""
    if not told:
        return None
    names = environments(told)
    return made(
        told,
        rows,
        _changed(told, "the version's (its engine or its calibrator)"),
        f"With its own table {listed(names)} {verb('lose', names)} {_amount(told)} against {baseline}; "
        f"whether by its engine or by its table, nobody can say without the tables.{_reasons(told)}",
        "Record the calibration cache of each version, or give all of them one table.",
    )


def _amount(told: Sequence[Told]) -> str:
    """Returns `6.1 dB`, with the view that shows it and its interval."""
    effects = [one.verdict.effect for one in told if one.verdict.effect]
    typical = bool(effects) and all(one.db < one.typical_db / 2 for one in effects)
    view = " on the typical image" if typical else ""
    ends = "" if typical else interval(effects)
    return f"{span(losses(told))} dB{view}{f' ({ends})' if ends else ''}"


def _changed(told: Sequence[Told], unknown: str) -> str:
    """Returns the one factor that changed, or those that changed together."""
    found = [one.verdict.attribution for one in told if one.verdict.attribution]
    alone = dict.fromkeys(change.factor for one in found for change in one.factors)
    together = dict.fromkeys(change.factor for one in found for change in one.confounded)
    if together:
        return f"the engine's ({' or '.join(together)}, which changed together)"
    if alone and CHOSEN.issuperset(alone):
        return f"no version's: the {listed(list(alone))}, which differ from the baseline's"
    if alone:
        return f"the version's ({listed(list(alone))})"
    return unknown


def _engine_advice(
    told: Sequence[Told], names: Sequence[str], sound: Sequence[str], moved: Sequence[str]
) -> str:
    additions = [one.verdict.attribution.addition for one in told if one.verdict.attribution]
    missing = list(dict.fromkeys(name for one in additions if one for name in one.names))
    if missing:
        return f"Add {listed(missing)} to matrix.yaml to tell what changed apart (below)."
    keep = f"keep {listed(moved)} out of int8" if moved else ""
    if sound:
        use = f"Use {'one of ' if len(sound) > 1 else ''}{listed(sound, most=3)}"
        return f"{use}, or {keep}." if keep else f"{use}."
    if keep:
        return f"{keep.capitalize()} in {listed(names)}."
    return "Report it, with a ticket of this run."


def _is_shared_of(result: object, environment: str) -> bool:
    cell = result.cell  # type: ignore[attr-defined]
    return bool(cell.environment == environment and cell.pass_.source is TableSource.SHARED)


def _loss(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    """The same scales in exact arithmetic keep more."""
    if not told:
        return None
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
    if all(one.result.may_saturate for one in told):
        return made(
            told,
            rows,
            f"the engine's kernels of u8 by s8, which saturate on this processor{whose}",
            f"In {where} {listed(sorted(passes))} loses {_amount(told)} against exact arithmetic with the "
            "same scales. Its activations are uint8, and the processor has no VNNI: pairs of products are "
            "added in int16 there, and clipped.",
            "Use `quantisation: {activations: int8}` there (auto does), or a processor with VNNI.",
        )
    return made(
        told,
        rows,
        f"the engine's int8 kernels{whose}",
        f"In {where} {listed(sorted(passes))} loses {_amount(told)} against exact arithmetic with the "
        "same scales: neither the table nor 8 bits explain that.",
        "Look below at the precisions in which layers ran, and report it with a ticket of this run.",
    )


def _implicit(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    """One table costs more as TensorRT's own scales than as Q/DQ nodes."""
    if not told:
        return None
    return made(
        told,
        rows,
        "TensorRT's implicit scales",
        f"In {listed(environments(told))} implicit int8 loses {_amount(told)} against Q/DQ nodes with "
        "the same table: what TensorRT makes of the scales, and neither the table nor 8 bits.",
        "Build from a network with Q/DQ nodes: the same table loses less there.",
    )


def _calibrators(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    if not told:
        return None
    names = environments(told)
    return made(
        told,
        rows,
        f"the calibrator of {listed(names)}",
        f"The calibrator of {listed(names)} makes a worse table, {span(losses(told))} dB under the "
        f"same arithmetic.{_reasons(told)}",
        _better_table(told, rows),
    )


def _better_table(told: Sequence[Told], rows: Sequence[Row]) -> str:
    """Returns which table loses less in those environments, of those that ran there; else where one is made."""
    names = environments(told)
    worst = max((one.head.budget.calibration for one in told if one.head.budget), default=0.0)
    better = [
        (head.budget.calibration, table_name(result))
        for result, head in rows
        if result.cell.environment in names
        and head.budget
        and head.budget.calibration < worst
        and says_something(head)
    ]
    if better:
        return f"Give {listed(names)} {min(better)[1]}, which loses less there."
    sources = {(one.verdict.against or "").split("/")[0] for one in told}
    return f"Carry the table of {listed(sorted(sources))} over to {listed(names)}."


def _tables(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    if not told:
        return None
    tables = list(dict.fromkeys(table_name(one.result) for one in told))
    costs = "costs" if len(tables) == 1 and not tables[0].endswith("scales") else "cost"
    best = _best_table(told, rows)
    if any(one.result.cell.pass_.source is TableSource.SHIPPED for one in told):
        advice = (
            "Quantise the network anew: here with model.quantised: strip, or where it was made."
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
        return replace(found, fault=f"nobody's, with another table than {listed(tables)}")
    return found


def _best_table(told: Sequence[Told], rows: Sequence[Row]) -> str | None:
    """Returns the table whose simulated error is smallest, of those that ran there, and the shared one."""
    names = environments(told)
    simulated = [
        (head.budget.limit + head.budget.calibration, table_name(result))
        for result, head in rows
        if head.budget
        and (result.cell.environment in names or result.cell.pass_.source is TableSource.SHARED)
    ]
    return min(simulated)[1] if simulated else None


def _weights(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    """One scale a weight costs more than a scale a channel, with the same table."""
    if not told:
        return None
    passes = sorted({one.result.cell.pass_.name for one in told})
    return made(
        told,
        rows,
        "one scale for all channels of a weight",
        f"{listed(passes)} {verb('cost', passes)} {span(losses(told))} dB more than weights with a scale a "
        "channel, with the same table and in exact arithmetic.",
        "Quantise weights per channel. Where the hardware cannot, keep the layers that are named in float, or "
        "equalise their channels before they are quantised.",
    )


def _limit(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    if not told:
        return None
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


def _float_outputs(told: Sequence[Told]) -> str:
    """Returns advice against quantised outputs, which often cost most; empty where they are float."""
    if not all(one.result.placed and one.result.placed.int8_outputs for one in told):
        return ""
    return (
        "Leave the heads' outputs in float first (`quantisation: {outputs: float}`, the default). "
    )


def _of_boxes(told: Sequence[Told]) -> Severity:
    return severity.worst(severity.of_boxes(one.head.boxes) for one in told)


def _fallbacks(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    if not told:
        return None
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


def _undecided(told: Sequence[Told], rows: Sequence[Row]) -> list[Finding]:
    """Returns what is not decided, a finding for each suspicion; what would cost most first."""
    groups: dict[Kind | None, list[Told]] = {}
    for one in told:
        groups.setdefault(one.verdict.suspected, []).append(one)
    most = sorted(groups.items(), key=lambda group: -max(losses(group[1]), default=0.0))
    return [_open(kind, some, rows) for kind, some in most]


def _open(suspected: Kind | None, told: Sequence[Told], rows: Sequence[Row]) -> Finding:
    whose = KINDS[suspected].suspicion if suspected else ""
    where = environments(told)
    wanted = f"{_needs(told)} would decide."
    amounts = [amount for amount in losses(told) if amount > 0]
    why = list(dict.fromkeys(one.verdict.why for one in told if one.verdict.why))
    reason = f" {capital(why[0])}." if why else ""
    return made(
        told,
        rows,
        f"not decidable yet; perhaps {whose}" if whose else "not decidable yet",
        f"In {listed(where, 3)} {span(amounts)} dB look like {whose}: {wanted}{reason}"
        if whose and amounts
        else f"Not decidable yet in {listed(where, 3)}: {wanted}{reason}",
        f"{capital(wanted)} What is measured stays: only what is missing runs.",
        severity.worst(severity.of_db(amount) for amount in amounts),
    )


def _needs(told: Sequence[Told]) -> str:
    """Returns what would decide all of it: of several numbers of repeats the largest."""
    needs = list(dict.fromkeys(one.verdict.needs or "more repeats" for one in told))
    repeats = [one for one in needs if MORE_REPEATS.fullmatch(one)]
    most = max(repeats, key=lambda one: int(one.split()[0]), default=None)
    return " and ".join(one for one in needs if one not in repeats or one == most)


def _uncomparable(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    """Cells that are not judged, with the reason of each."""
    told = [one for one in told if one.verdict.why]
    if not told:
        return None
    reasons_ = list(dict.fromkeys(one.verdict.why or "" for one in told))
    cells = [one.result.cell.id for one in told]
    scales, ranked = "its table covers" in reasons_[0], "rows are ranked" in reasons_[0]
    if ranked:
        boxes = all(one.head.boxes for one in told)
        return made(
            told,
            rows,
            f"not told by SQNR: its rows are ranked{'' if boxes else ', and its boxes are not known'}",
            f"{capital(reasons_[0])}.",
            "See its boxes below."
            if boxes
            else "Name the tensor before it as head, or say how its rows become boxes (`decode`).",
            Severity.NONE if boxes else Severity.VISIBLE,
        )
    return made(
        told,
        rows,
        "not comparable",
        f"Cannot judge {listed(cells, 3)}: {'; '.join(reasons_[:2])}.",
        "Give the tensors that have no scale one; where their names are those of another exporter, make the "
        "table of the file that is built, or bring its names to that file's."
        if scales
        else "Mend that first: nothing else can be said of this head.",
        Severity.VISIBLE,
    )


def _moved(others: Sequence[HeadResult], base: HeadResult) -> tuple[list[str], str] | tuple[()]:
    """Returns which operators all of `others` ran on integers and the baseline did not, or inversely."""
    for before, after, words in (
        ("integer_operators", "float_operators", "on integers, the baseline in float"),
        ("float_operators", "integer_operators", "in float, the baseline on integers"),
    ):
        kinds = [
            kind
            for kind in getattr(base, after)
            if all(kind in getattr(one, before) for one in others)
            and kind not in getattr(base, before)
        ]
        if kinds:
            return kinds, words
    return ()


def _reasons(told: Sequence[Told]) -> str:
    found = reasons((name, one.verdict.attribution) for one in told for name in environments([one]))
    return f" {found}" if found else ""
