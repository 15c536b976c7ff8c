"""Versions that lose against the baseline: which factor changed, by how much, which version to use."""

from collections.abc import Sequence

from trt_matrix.core.answer import Finding
from trt_matrix.core.answers.rows import environments, says_something
from trt_matrix.core.answers.sureness import interval
from trt_matrix.core.answers.verdict_groups import VerdictGroup
from trt_matrix.core.cells import TableSource
from trt_matrix.core.collecting import distinct, present
from trt_matrix.core.factors.cell_factors import CHOSEN
from trt_matrix.core.factors.words import reasons
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.reduced.conversion_sentences import converted_sentences
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import listed, span, verb


def engines(group: VerdictGroup) -> Finding:
    """Versions that lose at the same scales: only the engine changed there."""
    names = group.environments
    heads = list({id(row.head): row.head for row in group.verdicts}.values())
    shared = [row for row in group.rows if row.result.pass_.source is TableSource.SHARED]
    base = next((row.head for row in shared if row.result.environment == group.baseline), None)
    moved = _moved(heads, base) if base else ()
    subject = "It runs" if len(names) == 1 else "They run"
    told_moved = f" {subject} {listed(moved[0])} {moved[1]}." if moved else ""
    sound = distinct(
        result.environment
        for result, head in shared
        if result.environment not in names
        and says_something(head)
        and head.kinds.isdisjoint((Kind.INCONCLUSIVE, Kind.PRECISION_FALLBACK))
    )
    return group.finding(
        _changed(group, "the engine's"),
        f"At the same scales {listed(names)} {verb('lose', names)} {amount(group)} against {group.baseline}, "
        f"with one table in both.{told_moved}{factors_told(group)}",
        _engine_advice(group, sound, moved[0] if moved else ()),
    )


def versions(group: VerdictGroup) -> Finding:
    """Versions that lose with tables of their own that nobody knows."""
    names = group.environments
    return group.finding(
        _changed(group, "the version's (its engine or its calibrator)"),
        f"With its own table {listed(names)} {verb('lose', names)} {amount(group)} against {group.baseline}; "
        f"whether by its engine or by its table, nobody can say without the tables.{factors_told(group)}",
        "Record the calibration cache of each version, or give all of them one table.",
    )


def amount(group: VerdictGroup) -> str:
    """Returns `6.1 dB`, with the view that shows it and its interval."""
    effects = present(row.verdict.effect for row in group.verdicts)
    typical = bool(effects) and all(effect.db < effect.typical_db / 2 for effect in effects)
    view = " on the typical image" if typical else ""
    ends = "" if typical else interval(effects)
    return f"{span(group.losses)} dB{view}{f' ({ends})' if ends else ''}"


def _changed(group: VerdictGroup, unknown: str) -> str:
    """Returns the one factor that changed, or those that changed together."""
    attributions = present(row.verdict.attribution for row in group.verdicts)
    alone, together = (
        distinct(change.factor for changes in parts for change in changes)
        for parts in (
            [attribution.factors for attribution in attributions],
            [attribution.confounded for attribution in attributions],
        )
    )
    if together:
        return f"the engine's ({' or '.join(together)}, which changed together)"
    if alone and CHOSEN.issuperset(alone):
        return f"no version's: the {listed(alone)}, which differ from the baseline's"
    return f"the version's ({listed(alone)})" if alone else unknown


def _engine_advice(group: VerdictGroup, sound: Sequence[str], moved: Sequence[str]) -> str:
    attributions = present(row.verdict.attribution for row in group.verdicts)
    additions = present(attribution.addition for attribution in attributions)
    missing = distinct(name for addition in additions for name in addition.names)
    if missing:
        return f"Add {listed(missing)} to matrix.yaml to tell what changed apart (below)."
    keep = f"keep {listed(moved)} out of int8" if moved else ""
    if sound:
        use = f"Use {'one of ' if len(sound) > 1 else ''}{listed(sound, most=3)}"
        return f"{use}, or {keep}." if keep else f"{use}."
    if keep:
        return f"{keep.capitalize()} in {listed(group.environments)}."
    return "Report it, with a ticket of this run."


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


def factors_told(group: VerdictGroup) -> str:
    """Returns what of the factors that changed is known to matter, behind a space; empty where nothing."""
    told = reasons(
        (name, row.verdict.attribution) for row in group.verdicts for name in environments([row])
    )
    return f" {told}" if told else ""


def converted(group: VerdictGroup) -> str:
    """Returns how the network came into the group's precision, behind a space; empty where it was not converted."""
    return converted_sentences((row.result.environment, row.result.facts) for row in group.verdicts)
