"""What is wrong with a head, one cause after the other: whose fault, where, how sure, what to do.

Made from its verdicts alone. A cell can have several causes, and a cause several cells.
"""

import math
from collections.abc import Iterable, Sequence

from runner.cells import TableSource
from runner.core.answer import Finding
from runner.core.factors.words import reasons
from runner.core.judgement import CellResult, HeadResult
from runner.core.verdicts.verdict import MORE_REPEATS, Kind, Verdict
from runner.core.words import listed, span, verb

Row = tuple[CellResult, HeadResult]
Told = tuple[CellResult, HeadResult, Verdict]


def findings(rows: Sequence[Row], baseline: str) -> tuple[Finding, ...]:
    """Returns the causes in the order in which a person must deal with them.

    What is wrong before any quantisation, then what is wrong where a gate fails, then all else: a small
    loss in a cell that holds its gate is not why another cell fails.
    """
    made = (
        _fp32(_told(rows, Kind.FP32_REGRESSION)),
        _engines(_told(rows, Kind.ENGINE_REGRESSION), rows, baseline),
        _loss(_told(rows, Kind.ENGINE_LOSS)),
        _implicit(_told(rows, Kind.IMPLICIT_REGRESSION)),
        _calibrators(_told(rows, Kind.CALIBRATOR_REGRESSION)),
        _tables(_told(rows, Kind.CALIBRATION_PROBLEM), rows),
        _limit(_told(rows, Kind.INT8_LIMIT)),
        _fallbacks(_told(rows, Kind.PRECISION_FALLBACK)),
        _undecided(_told(rows, Kind.INCONCLUSIVE)),
        _uncovered(_told(rows, Kind.NOT_COMPARABLE)),
    )
    found = [one for one in made if one]
    return tuple(
        sorted(found, key=lambda one: one.kind is not Kind.FP32_REGRESSION and not one.fails)
    )


def table_name(result: CellResult) -> str:
    pass_ = result.cell.pass_
    if pass_.algorithm is None:  # of recorded outputs: nobody knows how it was made
        return f"the {pass_.source} table of {result.cell.environment}"
    return f"the {pass_.source} {pass_.algorithm} table"


def _told(rows: Sequence[Row], kind: Kind) -> list[Told]:
    return [
        (result, head, verdict)
        for result, head in rows
        for verdict in head.verdicts
        if verdict.kind is kind
    ]


def _finding(told: Sequence[Told], fault: str, text: str, advice: str) -> Finding:
    multiples = (one.effect.noise_multiple for _, _, one in told if one.effect)
    kind = told[0][2].kind
    costs = kind is not Kind.PRECISION_FALLBACK  # that is better than 8 bits allow
    return Finding(
        kind=kind,
        fault=fault,
        text=text,
        advice=advice,
        environments=tuple(dict.fromkeys(one.cell.environment for one, _, _ in told)),
        fails=costs and any(head.passed is False for _, head, _ in told),
        multiples=tuple(one for one in multiples if one is not None),
    )


def _fp32(told: Sequence[Told]) -> Finding | None:
    if not told:
        return None
    names = _names(told)
    return _finding(
        told,
        f"{listed(names)} in fp32 already",
        f"{listed(names)} {verb('is', names)} wrong before any quantisation, in fp32 already.",
        f"Mend fp32 in {listed(names)} first: options, a custom layer, the parser. No int8 number "
        "of theirs means anything before that.",
    )


def _engines(told: Sequence[Told], rows: Sequence[Row], baseline: str) -> Finding | None:
    """Versions that lose at the same scales: only the engine changed there."""
    if not told:
        return None
    names = _names(told)
    text = (
        f"At the same scales {listed(names)} {verb('lose', names)} {span(_losses(told))} dB against "
        f"{baseline}{_sureness(told)}: the engine changed, not the calibration."
    )
    heads = {id(head): head for _, head, _ in told}.values()
    base = next((head for result, head in rows if _is_shared_of(result, baseline)), None)
    moved = _moved(list(heads), base) if base else ()
    subject = "It runs" if len(names) == 1 else "They run"
    told_moved = f"{subject} {listed(moved[0])} {moved[1]}." if moved else ""
    sound = [
        result.cell.environment
        for result, _ in rows
        if result.cell.pass_.source is TableSource.SHARED and result.cell.environment not in names
    ]
    return _finding(
        told,
        _changed(told),
        " ".join(filter(None, (text, told_moved, _reasons(told)))),
        _engine_advice(told, names, list(dict.fromkeys(sound)), moved[0] if moved else ()),
    )


def _changed(told: Sequence[Told]) -> str:
    """Returns the one factor that changed, or those that changed together."""
    found = [one.attribution for _, _, one in told if one.attribution]
    alone = dict.fromkeys(change.factor for one in found for change in one.factors)
    together = dict.fromkeys(change.factor for one in found for change in one.confounded)
    if together:
        return f"the engine's ({' or '.join(together)}, which changed together)"
    if alone:
        return f"the version's ({listed(list(alone))})"
    return "the engine's"


def _engine_advice(
    told: Sequence[Told], names: Sequence[str], sound: Sequence[str], moved: Sequence[str]
) -> str:
    additions = [one.attribution.addition for _, _, one in told if one.attribution]
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


def _is_shared_of(result: CellResult, environment: str) -> bool:
    cell = result.cell
    return cell.environment == environment and cell.pass_.source is TableSource.SHARED


def _loss(told: Sequence[Told]) -> Finding | None:
    """The gate fails where the same scales in exact arithmetic hold it, in every version alike."""
    if not told:
        return None
    cells = list(dict.fromkeys(result.cell.id for result, _, _ in told))
    return _finding(
        told,
        "the engine's int8 kernels",
        f"{listed(cells)} {verb('lose', cells)} {span(_losses(told))} dB against exact arithmetic "
        f"with the same scales{_sureness(told)}: the table would hold the gate, the engine does not.",
        "Look below at the precisions in which layers ran; keep those behind this head alone in "
        "float, and use Q/DQ nodes in place of implicit scales.",
    )


def _implicit(told: Sequence[Told]) -> Finding | None:
    """One table costs more as TensorRT's own scales than as Q/DQ nodes."""
    if not told:
        return None
    return _finding(
        told,
        "TensorRT's implicit scales",
        f"In {listed(_names(told))} implicit int8 loses {span(_losses(told))} dB against Q/DQ nodes "
        f"with the same table{_sureness(told)}: neither the calibration nor 8 bits, but what "
        "TensorRT makes of the scales; use explicit quantisation.",
        "Build from a network with Q/DQ nodes: the same table loses less there.",
    )


def _calibrators(told: Sequence[Told]) -> Finding | None:
    if not told:
        return None
    names = _names(told)
    text = (
        f"The calibrator of {listed(names)} makes a worse table, {span(_losses(told))} dB under the "
        "same arithmetic."
    )
    return _finding(
        told,
        f"the calibrator of {listed(names)}",
        " ".join(filter(None, (text, _reasons(told)))),
        f"Give {listed(names)} the shared table in place of its own calibration.",
    )


def _tables(told: Sequence[Told], rows: Sequence[Row]) -> Finding | None:
    if not told:
        return None
    tables = list(dict.fromkeys(table_name(result) for result, _, _ in told))
    factors = [1 + verdict.relative for _, _, verdict in told if verdict.relative is not None]
    best = _best_table(rows)
    better = f"Use {best}, which loses least" if best and best not in tables else "Calibrate again"
    return _finding(
        told,
        "the calibration's",
        f"The loss with {listed(tables)} is the calibration's: {span(factors)} times the error "
        "that the best table known would leave.",
        f"{better}; look at the images: how many, of what, preprocessed as in use.",
    )


def _best_table(rows: Sequence[Row]) -> str | None:
    """Returns the table whose simulated error is smallest, of those that cells ran with."""
    simulated = [
        (head.budget.limit + head.budget.calibration, table_name(result))
        for result, head in rows
        if head.budget
    ]
    return min(simulated)[1] if simulated else None


def _limit(told: Sequence[Told]) -> Finding | None:
    if not told:
        return None
    return _finding(
        told,
        "8 bits' own",
        "Even the best table known is beyond the gate: 8 bits are not enough for this head; keep "
        "layers in higher precision, or train for it.",
        "Keep layers that only this head depends on in fp16, or train with quantisation in the loop.",
    )


def _fallbacks(told: Sequence[Told]) -> Finding | None:
    if not told:
        return None
    names = _names(told)
    layers = list(dict.fromkeys(layer for _, head, _ in told for layer in head.float_layers))
    return _finding(
        told,
        "nobody's: layers stayed in float",
        f"{listed(names)} {verb('is', names)} better than 8 bits allow: layers did not run in int8.",
        f"Do not count on int8 speed there: {listed(layers, most=3)} ran in float."
        if layers
        else "Look at the layers' precision below: do not count on int8 speed there.",
    )


SUSPICIONS = {
    Kind.FP32_REGRESSION: "the engine in fp32 already",
    Kind.ENGINE_REGRESSION: "the version's engine",
    Kind.ENGINE_LOSS: "the engine's int8 kernels",
    Kind.IMPLICIT_REGRESSION: "TensorRT's implicit scales",
    Kind.CALIBRATOR_REGRESSION: "the version's calibrator",
    Kind.CALIBRATION_PROBLEM: "the calibration",
    Kind.INT8_LIMIT: "8 bits themselves",
    Kind.PRECISION_FALLBACK: "layers that stayed in float",
}
"""What an undecided verdict would be, as a person says it."""


def _undecided(told: Sequence[Told]) -> Finding | None:
    if not told:
        return None
    needs = _needs(told)
    suspected = dict.fromkeys(one.suspected for _, _, one in told if one.suspected)
    whose = " or ".join(SUSPICIONS[kind] for kind in suspected if kind in SUSPICIONS)
    where = list(dict.fromkeys(result.cell.environment for result, _, _ in told))
    wanted = f"{needs} would decide."
    seen = ""
    if whose and (losses := _losses(told)):
        seen = f" {span(losses)} dB there look like {whose}."
    return _finding(
        told,
        f"not decidable yet; perhaps {whose}" if whose else "not decidable yet",
        f"Not decidable yet in {listed(where)}: {wanted}{seen}",
        f"{wanted[:1].upper()}{wanted[1:]} What is measured stays: only what is missing runs.",
    )


def _needs(told: Iterable[Told]) -> str:
    """Returns what would decide all of it: of several numbers of repeats the largest."""
    needs = dict.fromkeys(verdict.needs for _, _, verdict in told if verdict.needs)
    repeats = [one for one in needs if MORE_REPEATS.fullmatch(one)]
    most = max(repeats, key=lambda one: int(one.split()[0]), default=None)
    return " or ".join(one for one in needs if one not in repeats or one == most)


def _uncovered(told: Sequence[Told]) -> Finding | None:
    """Cells that are not judged for want of scales; with the reason of the first."""
    told = [one for one in told if one[2].why]
    if not told:
        return None
    cells = [result.cell.id for result, _, _ in told]
    return _finding(
        told,
        "not comparable",
        f"Cannot judge {listed(cells)}: {told[0][2].why}.",
        "Give the tensors that have no scale one, or lower `calibration.coverage`.",
    )


def _losses(told: Sequence[Told]) -> list[float]:
    """Returns what each verdict costs, in dB."""
    return [10 * math.log10(1 + verdict.relative) for _, _, verdict in told if verdict.relative]


def _sureness(told: Sequence[Told]) -> str:
    multiples = [
        verdict.effect.noise_multiple
        for _, _, verdict in told
        if verdict.effect and verdict.effect.noise_multiple is not None
    ]
    finite = [one for one in multiples if math.isfinite(one)]
    if not multiples:
        return ""
    if not finite:
        return " (repeats are bit-identical, so this is no noise)"
    return f" ({span(finite)} times the noise floor)"


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


def _names(told: Iterable[Told]) -> list[str]:
    return list(dict.fromkeys(_name(result, verdict) for result, _, verdict in told))


def _name(result: CellResult, verdict: Verdict) -> str:
    """Returns the environment; with its device where that is what the comparison is about."""
    cell = result.cell
    itself = (verdict.against or "").startswith(f"{cell.environment}/")
    return f"{cell.environment} on {cell.device}" if itself else cell.environment


def _reasons(told: Iterable[Told]) -> str:
    return reasons((_name(result, verdict), verdict.attribution) for result, _, verdict in told)
