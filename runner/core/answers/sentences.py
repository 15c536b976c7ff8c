"""One plain paragraph a head: what its verdicts say, in the order in which a person asks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from runner.cells import Precision, Status, TableSource
from runner.core.answers.findings import Row, findings, table_name
from runner.core.answers.gate_sentences import disagreement_sentence, gates_sentence
from runner.core.boxes.precision_draws import ApDraws
from runner.core.judgement import CellResult
from runner.core.verdicts.verdict import Kind
from runner.core.words import listed

NOT_STARTED = frozenset({Status.UNAVAILABLE, Status.UNSUPPORTED, Status.NOT_RUN})


def sentences(
    heads: Sequence[str],
    results: Sequence[CellResult],
    baseline: str,
    blame: Mapping[str, str] = MappingProxyType({}),
    draws: ApDraws = MappingProxyType({}),
) -> Mapping[str, str]:
    """Returns head → all that there is to know about it.

    Args:
        heads: In the order of matrix.yaml.
        results: Every planned cell.
        baseline: The environment that the others are compared with.
        blame: Head → which calibration images made its table bad.
        draws: Of the AP of each cell and head.
    """
    return {
        head: _paragraph(
            rows_of(head, results),
            baseline,
            blame.get(head, ""),
            _resultless(head, results),
            draws,
        )
        for head in heads
    }


def rows_of(head: str, results: Iterable[CellResult]) -> list[Row]:
    """Returns every cell that has this head."""
    return [(result, one) for result in results for one in result.heads if one.head == head]


def int8_of(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row[0].cell.pass_.precision is Precision.INT8]


def _resultless(head: str, results: Iterable[CellResult]) -> tuple[list[str], int]:
    """Returns the int8 cells that were started and have no result of this head, and how many were not."""
    without = [
        result
        for result in results
        if result.cell.pass_.precision is Precision.INT8
        and not any(one.head == head for one in result.heads)
    ]
    broken = [result.cell.id for result in without if result.status not in NOT_STARTED]
    return broken, len(without) - len(broken)


def _paragraph(
    rows: Sequence[Row],
    baseline: str,
    blame: str,
    resultless: tuple[Sequence[str], int],
    draws: ApDraws,
) -> str:
    int8 = int8_of(rows)
    if not int8:
        return "No int8 result to judge."
    parts = (
        _nonfinite(rows),
        unharmed(int8, baseline),
        *(one.text for one in findings(rows, baseline)),
        kept(int8, baseline),
        gates_sentence(int8, *resultless),
        disagreement_sentence(int8, baseline, draws),
        blame,
    )
    return " ".join(part for part in parts if part)


def unharmed(int8: Sequence[Row], baseline: str) -> str:
    """Says that no version loses at the same scales; nothing where one does, or where nobody knows."""
    verdicts = {verdict.kind for _, head in int8 for verdict in head.verdicts}
    same = {
        result.cell.environment
        for result, _ in int8
        if result.cell.pass_.source is TableSource.SHARED
    }
    if len(same) < 2 or verdicts & {Kind.ENGINE_REGRESSION, Kind.INCONCLUSIVE}:
        return ""
    return f"No environment of {len(same)} is worse than {baseline} at the same scales."


def kept(int8: Sequence[Row], baseline: str) -> str:
    """Says what the baseline keeps with the shared table, and what 8 bits allow."""
    for result, head in int8:
        if (
            result.cell.environment == baseline
            and result.cell.pass_.source is TableSource.SHARED
            and head.budget
            and head.budget.observed > 0
            and head.budget.limit > 0
        ):
            observed, best = (
                -10 * math.log10(x) for x in (head.budget.observed, head.budget.limit)
            )
            return (
                f"In {baseline} {table_name(result)} keeps {observed:z.1f} dB; 8 bits with the best "
                f"table known would keep {best:z.1f} dB."
            )
    return ""


def _nonfinite(rows: Sequence[Row]) -> str:
    cells = [result.cell.id for result, head in rows if head.error.nonfinite]
    return f"NaN or infinite outputs in {listed(cells)}." if cells else ""
