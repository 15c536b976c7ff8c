"""What would fix it: every way out that gains, over all cells that something is wrong with, most gain first.

Boxes and AP come before dB: what gains dB and loses boxes is no way out, and is told as none. A way out that
several environments show is told once, against the baseline where something is wrong there, else the worst.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.imagery import image_fixes, no_images
from trt_matrix.core.answers.kept import (
    Gain,
    bad_heads,
    beyond_builds,
    gain,
    is_bad,
    of_numbers,
    of_set,
)
from trt_matrix.core.answers.rows import says_something
from trt_matrix.core.answers.simulated import Simulated
from trt_matrix.core.answers.strips import best_fix, remedy
from trt_matrix.core.answers.tried import RunFacts, float_command, in_float, is_of, not_held, tried
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.diagnosis.record import Diagnosis, ImplicitBuilds, SetRecord
from trt_matrix.core.fix import Basis, Fix, FixKind, KeptQuality
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.severity import SQNR_DB
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import capital, count, listed

MOST = 3
"""Environments, heads and layers that a sentence names."""


@dataclass(frozen=True, slots=True)
class _Shown:
    fix: Fix
    now: CellResult
    gain: Gain
    heads: tuple[str, ...]
    """Those that it is for."""


def with_fixes(judgement: Judgement, simulated: Simulated | None = None) -> Judgement:
    """Returns the judgement with what would fix what is wrong, and with what would not.

    `judgement` is whole but for that: with its tables, images, layers and diagnosis.
    """
    known = RunFacts(judgement=judgement, simulated=simulated or Simulated())
    deployed = known.deployed()
    wrong = sorted(
        filter(is_bad, deployed),
        key=lambda result: (result.environment != judgement.baseline, _worst_db(result)),
    )
    shown = _equal_ranges(wrong, known)
    if not (wrong or shown):
        return judgement
    shown += [_shown(fix, now, known) for now in wrong for fix in tried(now, known)]
    shown += _diagnosed(wrong, known)
    # A table that the baseline does well with is no fault of its images.
    sound = any(result.environment == judgement.baseline for result in deployed) and (
        not wrong or wrong[0].environment != judgement.baseline
    )
    report = None if sound else judgement.calibration
    shown += [_shown(fix, now, known) for now in wrong[:1] for fix in image_fixes(now, report)]
    groups = grouped(((way.fix.kind, way.fix.what, way.fix.command), way) for way in shown)
    ways = sorted(
        present(_together(group, known) for group in groups.values()),
        key=lambda way: (
            not way.fix.needed,
            way.fix.basis is Basis.UNKNOWN,
            *(-part for part in way.gain.order[:-1]),
            # What makes every gate hold is worth more than decibels.
            not (way.fix.reaches.holds and way.fix.now.holds is False),
            -way.gain.order[-1],
        ),
    )
    fixed = replace(
        judgement,
        fixes=tuple(way.fix for way in ways),
        no_fix=(
            *(sentence for group in groups.values() for sentence in _spoils(group)),
            *_without_effect(wrong, groups.values(), known),
            *(sentence for now in wrong[:1] for sentence in no_images(now, report)),
        ),
    )
    return replace(fixed, answers=tuple(_advised(answer, fixed) for answer in fixed.answers))


def _advised(answer: Answer, judgement: Judgement) -> Answer:
    """Returns a head's answer; 8 bits' own loss gets the advice that was found to help before one to look for it.

    Less than anybody would see is no help, and where a gate fails all the same there is more to look for.
    """
    what, reaches, measured = remedy(judgement, answer.head, answer)
    fix = best_fix(judgement.fixes, answer.head)
    if not reaches or (fix and fix.gains_db.get(answer.head, 0.0) < SQNR_DB[0]):
        return answer
    helps = f"{capital(what)}: {reaches} ({Basis.MEASURED if measured else Basis.SIMULATED})."

    def told(finding: Finding) -> Finding:
        if finding.kind is not Kind.INT8_LIMIT:
            return finding
        enough = fix is None or fix.reaches.holds is not False
        return replace(finding, advice=helps if enough else f"{helps} {finding.advice}")

    findings = tuple(map(told, answer.findings))
    of_first = bool(findings) and answer.advice == answer.findings[0].advice
    return replace(
        answer, findings=findings, advice=findings[0].advice if of_first else answer.advice
    )


def _shown(
    fix: Fix, now: CellResult, known: RunFacts, heads: tuple[str, ...] | None = None
) -> _Shown:
    """Returns a way out with what it gains; what builds of one cell differ by is no gain.

    `heads` are those that it is for; None: those that something is wrong with.
    """
    bad = bad_heads(now) if heads is None else heads
    gained = gain(fix.now, fix.reaches, bad)
    others = [known.by_id[cell] for cell in fix.cells[:1]]
    if any(beyond_builds(now, other, bad) is False for other in others):
        gained = replace(gained, best_db=min(gained.best_db, 0.0))
    return _Shown(fix, now, gained, bad)


def _worst_db(result: CellResult) -> float:
    bad = bad_heads(result)
    return min(present(head.sqnr_db for head in result.heads if head.head in bad), default=0.0)


def _together(group: Sequence[_Shown], known: RunFacts) -> _Shown | None:
    """Returns one way out over all environments; None where none of them shows that it gains."""
    least = min(group, key=lambda shown: list(Basis).index(shown.fix.basis)).fix.basis
    group = [shown for shown in group if shown.fix.basis is least]
    worth = [shown for shown in group if shown.gain.worth or least is Basis.UNKNOWN]
    if not worth:
        return None
    first = worth[0]  # the baseline's, or the worst
    cells = tuple(dict.fromkeys(cell for shown in worth for cell in shown.fix.cells))
    parts = [first.fix.why]
    if least is not Basis.UNKNOWN:
        parts = [f"in {first.now.environment} {_numbers(first)}", *parts]
        if first.fix.now.lost is not None and first.fix.reaches.lost is None:
            parts.append("what becomes of boxes was not looked at")
    if len(worth) < len(group):
        gaining = {shown.now.environment for shown in worth}
        others = dict.fromkeys(
            shown.now.id if shown.now.environment in gaining else shown.now.environment
            for shown in group
            if shown not in worth
        )
        parts.append(f"no gain in {listed(list(others), MOST)}")
    elif len(names := {shown.now.environment for shown in worth}) > 1:
        parts.append(f"a gain in {len(names)} environments")
    parts += _unheld((cell for shown in group for cell in shown.fix.cells), known)
    fix = replace(first.fix, why=f"{capital('; '.join(filter(None, parts)))}.", cells=cells)
    return replace(first, fix=fix)


def _numbers(shown: _Shown) -> str:
    """Returns `small 14.7 to 22.4 dB, AP drop 0.220 to 0.004, 12 to 0 of 722 boxes lost; large loses 0.8 dB`."""
    now, reaches = shown.fix.now, shown.fix.reaches
    told = shown.heads or tuple(now.sqnr_db)
    heads = sorted(
        (head for head in told if head in shown.gain.db), key=lambda x: -shown.gain.db[x]
    )
    ends = {head: (f"{now.sqnr_db[head]:.1f}", f"{reaches.sqnr_db[head]:.1f}") for head in heads}
    # What stays as it was is no news beside what gains.
    moved = [head for head in heads if ends[head][0] != ends[head][1]] or heads
    parts = [f"{head} {ends[head][0]} to {ends[head][1]} dB" for head in moved[:MOST]]
    if shown.gain.ap is not None:
        parts.append(f"AP drop {now.ap_drop:z.3f} to {reaches.ap_drop:z.3f}")
    if shown.gain.boxes is not None and (now.lost or reaches.lost):
        of = f" of {now.boxes or reaches.boxes:g}" if now.boxes or reaches.boxes else ""
        parts.append(f"{now.lost:g} to {reaches.lost:g}{of} boxes lost")
        if now.new is not None and reaches.new is not None and (now.new or reaches.new):
            new = f"{now.new:g} to {reaches.new:g} new ones beside them"
            same = f"{now.new:g} new ones beside them as before"
            parts.append(same if now.new == reaches.new else new)
    worse = [f"{head} loses {db:.1f} dB by it" for head, db in shown.gain.worse.items()]
    return "; ".join(filter(None, (", ".join(parts), *worse)))


def _unheld(cells: Iterable[str], known: RunFacts) -> Iterator[str]:
    """Yields which cells ran layers in int8 that they should have kept in float."""
    unheld = grouped(
        (layers, known.by_id[cell].environment)
        for cell in dict.fromkeys(cells)
        if (layers := not_held(known.by_id[cell], known))
    )
    for layers, names in unheld.items():
        yield f"{listed(names, MOST)} ran {listed(layers, MOST)} in int8 all the same"


# What gains nothing


def _spoils(group: Sequence[_Shown]) -> Iterator[str]:
    """Yields that heads gain by it and boxes go."""
    spoilt = [shown for shown in group if shown.gain.spoils]
    if spoilt:
        first = spoilt[0]
        yield (
            f"{capital(first.fix.what)}: heads gain and boxes go, so it is no fix "
            f"({_numbers(first)}, in {first.now.environment}"
            f"{', simulated' if first.fix.basis is Basis.SIMULATED else ''})."
        )


def _without_effect(
    wrong: Sequence[CellResult], groups: Iterable[Sequence[_Shown]], known: RunFacts
) -> Iterator[str]:
    """Yields where layers were kept in float and nothing was gained, or where they were not kept so."""
    told = {
        cell
        for group in groups
        for shown in group
        if shown.gain.spoils or shown.gain.worth
        for cell in shown.fix.cells
    }
    beside = [result for now in wrong for result in known.beside(now) if result.pass_.mixed]
    reasons = grouped(
        (_no_effect(result, known), result.id) for result in beside if result.id not in told
    )
    for why, cells in reasons.items():
        yield f"In {listed(distinct(cells), MOST)} {why}."


def _no_effect(result: CellResult, known: RunFacts) -> str:
    layers = count(len(result.pass_.exclude), "layer")
    if not any(map(says_something, result.heads)):
        return f"the output with {layers} in float cannot be judged"
    missed = not_held(result, known)
    all_the_same = f": it ran {listed(missed, MOST)} in int8 all the same" if missed else ""
    return f"nothing is gained by {layers} in float{all_the_same}"


# The diagnosis


def _diagnosed(wrong: Sequence[CellResult], known: RunFacts) -> Iterator[_Shown]:
    """Yields what the diagnosis simulated, against the first cell of its table and placement."""
    diagnosis = known.judgement.diagnosis
    now = next((result for result in wrong if diagnosis and is_of(diagnosis, result, known)), None)
    if diagnosis is None or now is None:
        return
    for fix in (_mix(diagnosis, now), _chosen(diagnosis, now)):
        if fix:
            yield _shown(fix, now, known)


def _equal_ranges(wrong: Sequence[CellResult], known: RunFacts) -> list[_Shown]:
    """Returns, of implicit builds that lose by resizings of two ranges, what Q/DQ keeps with their table.

    First of the cells that something is wrong with; but of every table that loses so, its own calibrator's too, also where another is in use. A Q/DQ network has one
    range on both sides, and is simulated so; builds with such a table did as well on an H200 (docs/reference/verified.md).
    """
    diagnosis = known.judgement.diagnosis
    loss = diagnosis.engine_loss if diagnosis else None
    if loss is None or not loss.resizings:
        return []
    showns = []
    ratios = [resizing.source_range / resizing.target_range for resizing in loss.resizings]
    most = max(max(ratio, 1 / ratio) for ratio in ratios)
    for way in loss.ways:
        layers = [resizing.layer for resizing in loss.resizings if resizing.layer in way.in_int8]
        for cell in dict.fromkeys(way.cells) if layers else ():
            now = known.by_id.get(cell)
            mine = _builds_of(cell, way)
            if now is None or now.pass_.mixed or not (lost := mine.lost()):
                continue
            digest = way.table_sha256 or known.table(now)
            file = f"tables/{digest[:12]}.json" if digest else "TABLE"
            fix = Fix(
                kind=FixKind.RANGES,
                what=f"one range on both sides of {listed(layers, MOST)} in {file}",
                why=(
                    f"simulated on {count(loss.images, 'image')}; in tables that lose so, the two differ by up to "
                    f"{most:.2f} times, and what is resized is read at the wrong one"
                ),
                basis=Basis.SIMULATED,
                now=KeptQuality(
                    sqnr_db={
                        head: min(present(kept), default=None)
                        for head, kept in mine.measured_db.items()
                    }
                ),
                reaches=KeptQuality(sqnr_db=way.qdq_db),
                against=cell,
                needed=now in wrong,
                command=f"trt-matrix migrate {file} --to cache --trt {now.engine_version or 'VERSION'} -o equal.cache",
            )
            showns.append(_shown(fix, now, known, lost))
    return sorted(
        showns,
        key=lambda shown: (
            not shown.fix.needed,
            shown.now.environment != known.judgement.baseline,
            -shown.gain.best_db,
        ),
    )


def _builds_of(cell: str, way: ImplicitBuilds) -> ImplicitBuilds:
    """Returns the builds of one cell: what those of another version with the table lose is not its loss."""
    places = [place for place, name in enumerate(way.cells) if name == cell]
    measured_db = {
        head: tuple(kept[place] for place in places if place < len(kept))
        for head, kept in way.measured_db.items()
    }
    return way.model_copy(update={"cells": (cell,) * len(places), "measured_db": measured_db})


def _mix(diagnosis: Diagnosis, now: CellResult) -> Fix | None:
    mix = diagnosis.mix
    if mix is None or now.pass_.algorithm == "best":
        return None
    before, after, on = _held_against(diagnosis, mix.chosen, mix.confirmed)
    return Fix(
        kind=FixKind.TENSORS,
        what="the best known range for each tensor",
        why=(
            f"simulated on {on}, with other ranges for {count(mix.changed, 'tensor')}; `best` is searched on "
            "calibration images, so its numbers will differ"
        ),
        basis=Basis.SIMULATED,
        now=before,
        reaches=after,
        against=now.id,
        command="calibration: {shared: best}",
    )


def _chosen(diagnosis: Diagnosis, now: CellResult) -> Fix | None:
    """Returns the set that keeps every limit, else the nearest to that."""
    search = diagnosis.search
    chosen = search.chosen or search.best
    if chosen is None or not chosen.layers:
        return None
    before, after, on = _held_against(
        diagnosis, chosen, search.confirmed if search.chosen else None
    )
    kept = tuple(dict.fromkeys((*now.pass_.exclude, *chosen.layers)))
    why = f"simulated on {on}"
    if search.chosen is None:
        why += "; no set that was tried keeps every limit"
    elif search.confirmed_holds is False:
        why += "; a limit does not hold there"
    return Fix(
        kind=FixKind.LAYERS,
        what=in_float(chosen.layers),
        why=f"{why}; {chosen.cost:.1%} of the {diagnosis.cost_unit}",
        basis=Basis.SIMULATED,
        now=before,
        reaches=after,
        against=now.id,
        command=float_command(kept, implicit=now.pass_.implicit),
    )


def _held_against(
    diagnosis: Diagnosis, chosen: SetRecord, confirmed: SetRecord | None
) -> tuple[KeptQuality, KeptQuality, str]:
    """Returns what int8 keeps, what a state keeps on the same images, and which those are."""
    gated = bool(diagnosis.search.goals)
    if confirmed is not None and diagnosis.other_images is not None:
        images = count(diagnosis.images_confirmed_on, "image")
        before = of_set(diagnosis.other_images, gated=gated)
        return before, of_set(confirmed, gated=gated), f"{images} that it was not chosen on"
    heads = {head.head: head.int8.sqnr_db for head in diagnosis.heads}
    holds = not diagnosis.search.failing if gated else None
    before = of_numbers(heads, diagnosis.whole, holds)
    images = count(diagnosis.images_chosen_on, "image")
    return before, of_set(chosen, gated=gated), f"the {images} that it was chosen on"
