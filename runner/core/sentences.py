"""One plain paragraph a head: what its verdicts say, in the order in which a person asks."""

import math
from collections.abc import Iterable, Mapping, Sequence

from runner.core.attribution_words import reasons
from runner.core.gate_sentences import disagreement_sentence, gates_sentence
from runner.core.judgement import CellResult, HeadResult
from runner.core.verdicts import Kind, Verdict
from runner.core.words import listed, span, verb
from runner.plan import Precision, TableSource

_Row = tuple[CellResult, HeadResult]


def sentences(
    heads: Sequence[str], results: Sequence[CellResult], baseline: str
) -> Mapping[str, str]:
    """Returns head → what to know about it."""
    return {
        head: _paragraph(
            [(result, one) for result in results for one in result.heads if one.head == head],
            baseline,
        )
        for head in heads
    }


def _paragraph(rows: Sequence[_Row], baseline: str) -> str:
    int8 = [row for row in rows if row[0].cell.pass_.precision is Precision.INT8]
    if not int8:
        return "No int8 result to judge."
    parts = (
        _nonfinite(rows),
        _fp32(rows),
        *_engines(int8, baseline),
        _implicit(int8),
        _calibrators(int8),
        _fallbacks(int8),
        _tables(int8),
        _limit(int8),
        _undecided(rows),
        _uncovered(int8),
        _kept(int8, baseline),
        gates_sentence(int8),
        disagreement_sentence(int8, baseline),
    )
    return " ".join(part for part in parts if part)


def _told(rows: Sequence[_Row], kind: Kind) -> list[tuple[CellResult, HeadResult, Verdict]]:
    return [
        (result, head, verdict)
        for result, head in rows
        for verdict in head.verdicts
        if verdict.kind is kind
    ]


def _nonfinite(rows: Sequence[_Row]) -> str:
    cells = [result.cell.id for result, head in rows if head.error.nonfinite]
    return f"NaN or infinite outputs in {listed(cells)}." if cells else ""


def _uncovered(int8: Sequence[_Row]) -> str:
    """Says which cells are not judged for want of scales, and the reason of the first."""
    told = [one for one in _told(int8, Kind.NOT_COMPARABLE) if one[2].why]
    if not told:
        return ""
    cells = [result.cell.id for result, _, _ in told]
    return f"Cannot judge {listed(cells)}: {told[0][2].why}."


def _fp32(rows: Sequence[_Row]) -> str:
    names = _names(_told(rows, Kind.FP32_REGRESSION))
    if not names:
        return ""
    return f"{listed(names)} {verb('is', names)} wrong before any quantisation, in fp32 already."


def _engines(int8: Sequence[_Row], baseline: str) -> tuple[str, ...]:
    """Says which versions lose at the same scales: only the engine changed there."""
    told = _told(int8, Kind.ENGINE_REGRESSION)
    names = _names(told)
    same = [
        result.cell.environment
        for result, _ in int8
        if result.cell.pass_.source is TableSource.SHARED
    ]
    if not names:
        undecided = _told(int8, Kind.INCONCLUSIVE)
        if len(set(same)) < 2 or any(head for _, head, _ in undecided):
            return ()
        return (f"No environment of {len(set(same))} is worse than {baseline} at the same scales.",)
    losses = [10 * math.log10(1 + verdict.relative) for _, _, verdict in told if verdict.relative]
    multiples = [
        verdict.effect.noise_multiple
        for _, _, verdict in told
        if verdict.effect and verdict.effect.noise_multiple is not None
    ]
    sentence = (
        f"At the same scales {listed(names)} {verb('lose', names)} {span(losses)} dB against "
        f"{baseline}{_sureness(multiples)}: the engine changed, not the calibration."
    )
    heads = {id(head): head for _, head, _ in told}.values()
    base = next(
        (
            head
            for result, head in int8
            if result.cell.environment == baseline
            and result.cell.pass_.source is TableSource.SHARED
        ),
        None,
    )
    return (sentence, _moved(list(heads), base, names) if base else "", _reasons(told))


def _implicit(int8: Sequence[_Row]) -> str:
    """Says where one table costs more as TensorRT's own scales than as Q/DQ nodes."""
    told = _told(int8, Kind.IMPLICIT_REGRESSION)
    names = _names(told)
    if not names:
        return ""
    losses = [10 * math.log10(1 + verdict.relative) for _, _, verdict in told if verdict.relative]
    multiples = [
        verdict.effect.noise_multiple
        for _, _, verdict in told
        if verdict.effect and verdict.effect.noise_multiple is not None
    ]
    return (
        f"In {listed(names)} implicit int8 loses {span(losses)} dB against Q/DQ nodes with the same "
        f"table{_sureness(multiples)}: neither the calibration nor 8 bits, but what TensorRT makes of "
        "the scales; use explicit quantisation."
    )


def _sureness(multiples: Sequence[float]) -> str:
    finite = [one for one in multiples if math.isfinite(one)]
    if not multiples:
        return ""
    if not finite:
        return " (repeats are bit-identical, so this is no noise)"
    return f" ({span(finite)} times the noise floor)"


def _moved(others: Sequence[HeadResult], base: HeadResult, names: Sequence[str]) -> str:
    """Says which operators all of `others` ran on integers and the baseline did not, or inversely."""
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
            subject = "It runs" if len(names) == 1 else "They run"
            return f"{subject} {listed(kinds)} {words}."
    return ""


def _calibrators(int8: Sequence[_Row]) -> str:
    told = _told(int8, Kind.CALIBRATOR_REGRESSION)
    names = _names(told)
    if not names:
        return ""
    losses = [10 * math.log10(1 + verdict.relative) for _, _, verdict in told if verdict.relative]
    sentence = (
        f"The calibrator of {listed(names)} makes a worse table, {span(losses)} dB under the "
        "same arithmetic."
    )
    return " ".join(filter(None, (sentence, _reasons(told))))


def _fallbacks(int8: Sequence[_Row]) -> str:
    names = _names(_told(int8, Kind.PRECISION_FALLBACK))
    if not names:
        return ""
    return (
        f"{listed(names)} {verb('is', names)} better than 8 bits allow: layers did not run in int8."
    )


def _tables(int8: Sequence[_Row]) -> str:
    told = _told(int8, Kind.CALIBRATION_PROBLEM)
    tables = [_table_name(result) for result, _, _ in told]
    tables = list(dict.fromkeys(tables))
    if not tables:
        return ""
    factors = [1 + verdict.relative for _, _, verdict in told if verdict.relative is not None]
    return (
        f"The loss with {listed(tables)} is the calibration's: {span(factors)} times the error "
        "that the best table known would leave."
    )


def _table_name(result: CellResult) -> str:
    pass_ = result.cell.pass_
    if pass_.algorithm is None:  # of recorded outputs: nobody knows how it was made
        return f"the {pass_.source} table of {result.cell.environment}"
    return f"the {pass_.source} {pass_.algorithm} table"


def _limit(int8: Sequence[_Row]) -> str:
    if not _told(int8, Kind.INT8_LIMIT):
        return ""
    return (
        "Even the best table known is beyond the gate: 8 bits are not enough for this head; keep "
        "layers in higher precision, or train for it."
    )


def _undecided(rows: Sequence[_Row]) -> str:
    told = _told(rows, Kind.INCONCLUSIVE)
    if not told:
        return ""
    needs = list(dict.fromkeys(verdict.needs for _, _, verdict in told if verdict.needs))
    return f"Not decidable yet in {listed(_names(told))}: {' or '.join(needs)} would decide."


def _kept(int8: Sequence[_Row], baseline: str) -> str:
    """Says what the baseline keeps with the shared table, and what 8 bits allow."""
    for result, head in int8:
        if (
            result.cell.environment == baseline
            and result.cell.pass_.source is TableSource.SHARED
            and head.budget
            and head.budget.observed > 0
            and head.budget.limit > 0
        ):
            kept, best = (-10 * math.log10(x) for x in (head.budget.observed, head.budget.limit))
            return (
                f"In {baseline} {_table_name(result)} keeps {kept:z.1f} dB; 8 bits with the best "
                f"table known would keep {best:z.1f} dB."
            )
    return ""


def _names(told: Iterable[tuple[CellResult, HeadResult, Verdict]]) -> list[str]:
    return list(dict.fromkeys(_name(result, verdict) for result, _, verdict in told))


def _name(result: CellResult, verdict: Verdict) -> str:
    """Returns the environment; with its device where that is what the comparison is about."""
    cell = result.cell
    itself = (verdict.against or "").startswith(f"{cell.environment}/")
    return f"{cell.environment} on {cell.device}" if itself else cell.environment


def _reasons(told: Iterable[tuple[CellResult, HeadResult, Verdict]]) -> str:
    return reasons((_name(result, verdict), verdict.attribution) for result, _, verdict in told)
