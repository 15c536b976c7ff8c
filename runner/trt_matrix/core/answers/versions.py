"""Versions that lose against the baseline: which factor changed, by how much, which version to use."""

from collections.abc import Sequence

from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.making import made
from trt_matrix.core.answers.rows import Row, ToldVerdict, environments, losses, says_something
from trt_matrix.core.answers.sureness import interval
from trt_matrix.core.cells import TableSource
from trt_matrix.core.collecting import distinct
from trt_matrix.core.factors.cell_factors import CHOSEN
from trt_matrix.core.factors.words import reasons
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed, span, verb


def engines(
    told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], baseline: str
) -> Finding | None:
    """Versions that lose at the same scales: only the engine changed there."""
    if not told_verdicts:
        return None
    names = environments(told_verdicts)
    text = (
        f"At the same scales {listed(names)} {verb('lose', names)} {amount(told_verdicts)} against {baseline}, "
        "with one table in both."
    )
    heads = {id(row.head): row.head for row in told_verdicts}.values()
    base = next((head for result, head in rows if _is_shared_of(result, baseline)), None)
    moved = _moved(list(heads), base) if base else ()
    subject = "It runs" if len(names) == 1 else "They run"
    told_moved = f" {subject} {listed(moved[0])} {moved[1]}." if moved else ""
    sound = [
        result.environment
        for result, head in rows
        if result.pass_.source is TableSource.SHARED
        and result.environment not in names
        and says_something(head)
        and not any(
            verdict.kind in (Kind.INCONCLUSIVE, Kind.PRECISION_FALLBACK)
            for verdict in head.verdicts
        )
    ]
    return made(
        told_verdicts,
        rows,
        _changed(told_verdicts, "the engine's"),
        f"{text}{told_moved}{factors_told(told_verdicts)}",
        _engine_advice(told_verdicts, names, distinct(sound), moved[0] if moved else ()),
    )


def versions(
    told_verdicts: Sequence[ToldVerdict], rows: Sequence[Row], baseline: str
) -> Finding | None:
    """Versions that lose with tables of their own that nobody knows."""
    if not told_verdicts:
        return None
    names = environments(told_verdicts)
    return made(
        told_verdicts,
        rows,
        _changed(told_verdicts, "the version's (its engine or its calibrator)"),
        f"With its own table {listed(names)} {verb('lose', names)} {amount(told_verdicts)} against {baseline}; "
        f"whether by its engine or by its table, nobody can say without the tables.{factors_told(told_verdicts)}",
        "Record the calibration cache of each version, or give all of them one table.",
    )


def amount(rows: Sequence[ToldVerdict]) -> str:
    """Returns `6.1 dB`, with the view that shows it and its interval."""
    effects = [row.verdict.effect for row in rows if row.verdict.effect]
    typical = bool(effects) and all(effect.db < effect.typical_db / 2 for effect in effects)
    view = " on the typical image" if typical else ""
    ends = "" if typical else interval(effects)
    return f"{span(losses(rows))} dB{view}{f' ({ends})' if ends else ''}"


def _changed(rows: Sequence[ToldVerdict], unknown: str) -> str:
    """Returns the one factor that changed, or those that changed together."""
    attributions = [row.verdict.attribution for row in rows if row.verdict.attribution]
    alone = dict.fromkeys(
        change.factor for attribution in attributions for change in attribution.factors
    )
    together = dict.fromkeys(
        change.factor for attribution in attributions for change in attribution.confounded
    )
    if together:
        return f"the engine's ({' or '.join(together)}, which changed together)"
    if alone and CHOSEN.issuperset(alone):
        return f"no version's: the {listed(list(alone))}, which differ from the baseline's"
    if alone:
        return f"the version's ({listed(list(alone))})"
    return unknown


def _engine_advice(
    rows: Sequence[ToldVerdict], names: Sequence[str], sound: Sequence[str], moved: Sequence[str]
) -> str:
    additions = [row.verdict.attribution.addition for row in rows if row.verdict.attribution]
    missing = distinct(name for addition in additions if addition for name in addition.names)
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


def _moved(others: Sequence[HeadResult], base: HeadResult) -> tuple[list[str], str] | tuple[()]:
    """Returns which operators all of `others` ran on integers and the baseline did not, or inversely."""
    for before, after, words in (
        ("integer_operators", "float_operators", "on integers, the baseline in float"),
        ("float_operators", "integer_operators", "in float, the baseline on integers"),
    ):
        kinds = [
            kind
            for kind in getattr(base, after)
            if all(kind in getattr(other, before) for other in others)
            and kind not in getattr(base, before)
        ]
        if kinds:
            return kinds, words
    return ()


def factors_told(rows: Sequence[ToldVerdict]) -> str:
    """Returns what of the factors that changed is known to matter, behind a space; empty where nothing."""
    found = reasons((name, row.verdict.attribution) for row in rows for name in environments([row]))
    return f" {found}" if found else ""
