"""One plain paragraph a head: all that was found, in the order in which a person asks."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.gate_sentences import disagreement_sentence, gates_sentence
from trt_matrix.core.answers.rows import HeadRow, int8_of, rows_of
from trt_matrix.core.answers.speaking import table_name
from trt_matrix.core.boxes.precision_draws import ApDraws
from trt_matrix.core.cells import Precision, TableSource
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.verdicts.bridges import Bridge
from trt_matrix.core.verdicts.equivalence import Equivalence
from trt_matrix.core.words import count, listed


def sentences(
    answers: Sequence[Answer],
    results: Sequence[CellResult],
    baseline: str,
    draws: ApDraws = MappingProxyType({}),
) -> Mapping[str, str]:
    """Returns head → all that there is to know about it."""
    return {answer.head: _paragraph(answer, results, baseline, draws) for answer in answers}


def _paragraph(answer: Answer, results: Sequence[CellResult], baseline: str, draws: ApDraws) -> str:
    rows = rows_of(answer.head, results)
    int8 = int8_of(rows)
    texts = [finding.text for finding in answer.findings if not finding.planned]
    rest = answer.text
    if texts:
        rest = rest.removeprefix(texts[0]).strip() if rest.startswith(texts[0]) else ""
    parts = (
        *texts,
        rest,
        made_up(answer),
        kept(int8, baseline),
        gates_sentence(rows, *_resultless(answer.head, results)),
        disagreement_sentence(int8, baseline, draws),
    )
    return " ".join(distinct(filter(None, parts)))


def made_up(answer: Answer) -> str:
    """Says how the loss is made up."""
    if answer.shares is None:
        return ""
    return f"Of the error in {answer.shares.cell}: {answer.shares.sentence()}."


def alike(
    equal: Sequence[Equivalence], accused: Collection[str] = (), gone: Collection[str] = ()
) -> Iterable[str]:
    """Yields what versions share, a sentence for each set of them.

    Args:
        equal: Of one head.
        accused: Environments whose version is named elsewhere: of those nobody says that it is not.
        gone: Environments that failed, or whose output is broken: where one of them is not among those that lose
            the same, its version did something else.
    """
    groups = grouped(((same.environments, same.all), same) for same in equal)
    for (names, whole), group in groups.items():
        how = how_alike(group)
        builds = present(equivalence.builds or None for equivalence in group)
        if builds:
            how += f", {count(min(builds), 'build')} each,"
        passes = distinct(equivalence.pass_ for equivalence in group)
        left_out = {*accused, *gone}.difference(names)
        innocent = whole and not left_out and not set(names).intersection(accused)
        start = "Not the version's: " if innocent else ""
        yield f"{start}{listed(names, 3)} lose the same {how} in {listed(passes, 3)}."


def how_alike(equal: Sequence[Equivalence | Bridge], sure: str = " (95 %)") -> str:
    """Returns `to the bit`, or `within 0.2 dB (95 %)`."""
    if all(same.same_bits for same in equal):
        return "to the bit"
    return f"within {up(max(same.within_db for same in equal))} dB{sure}"


def up(value: float) -> str:
    """Returns a bound to a tenth, rounded up: it must not promise more than was found."""
    return f"{math.ceil(value * 10 - 1e-9) / 10:.1f}"


def _resultless(head: str, results: Sequence[CellResult]) -> tuple[list[str], int]:
    """Returns the cells that were started and have no result of this head, and how many were not."""
    gated = {
        result.pass_.precision
        for result in results
        if any(head_result.gates for head_result in result.heads)
    } or {Precision.INT8}
    without = [
        result
        for result in results
        if result.pass_.precision in gated and not result.pass_.mixed and not result.head(head)
    ]
    broken = [result.id for result in without if not result.status.never_started]
    return broken, len(without) - len(broken)


def kept(int8: Sequence[HeadRow], baseline: str) -> str:
    """Says what the baseline keeps with the shared table, and what 8 bits allow."""
    for result, head in int8:
        if (
            result.environment == baseline
            and result.pass_.source is TableSource.SHARED
            and not result.pass_.per_tensor
            and head.budget
            and (observed := sqnr_db(head.budget.observed)) is not None
            and (best := sqnr_db(head.budget.limit)) is not None
        ):
            placed = f" ({result.placed.told})" if result.placed else ""
            return (
                f"In {baseline} {table_name(result)} keeps {observed:z.1f} dB; exact 8-bit arithmetic in "
                f"the same placement{placed} with the best table known keeps {best:z.1f} dB."
            )
    return ""
