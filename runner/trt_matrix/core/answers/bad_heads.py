"""Which heads are bad together and from which cause, and what the network's graph says to that."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.manifest import Behind
from trt_matrix.core.network.lineage import Lineage, lineage
from trt_matrix.core.verdicts.verdict import FAULTS, Kind
from trt_matrix.core.words import listed

SAY_NOTHING = frozenset({Kind.INCONCLUSIVE, Kind.NOT_COMPARABLE, Kind.UNEXPLAINED_LOSS})
"""Of a head with one of these nobody knows whether it is bad from some cause."""

_Case = tuple[tuple[str, ...], tuple[str, ...]]
"""(bad heads, good heads)."""


def lineages(groups: Sequence[Behind], results: Iterable[CellResult]) -> tuple[Lineage, ...]:
    """Returns what the graph says to every set of heads that is bad in some cell.

    Each cause is looked at by itself: a head whose table is bad may have a sound engine. Cells and
    causes with the same bad and good heads are told as one; what most cells show comes first.
    """
    cells_of: dict[tuple[_Case, str], list[str]] = {}
    for result in results:
        for cause in dict.fromkeys(cause for head in result.heads for cause in _causes(head)):
            cells_of.setdefault((_case(result, cause), cause), []).append(result.id)
    causes_of: dict[tuple[_Case, tuple[str, ...]], list[str]] = {}
    for (case, cause), cells in cells_of.items():
        causes_of.setdefault((case, tuple(cells)), []).append(cause)
    found = [
        replace(one, causes=tuple(causes), cells=cells, sentence=_told(causes, cells, one.sentence))
        for (case, cells), causes in causes_of.items()
        if (one := lineage(groups, *case))
    ]
    return tuple(sorted(found, key=lambda one: -len(one.cells)))


def _causes(head: HeadResult) -> list[str]:
    """Returns what was found of a head: effects, never gates, which one bad head may hold and another not."""
    known = FAULTS - SAY_NOTHING
    # What is called by its largest part, without a test, is no effect that an operator could have.
    shares = [
        verdict
        for verdict in head.verdicts
        if verdict.kind is Kind.INT8_LIMIT and verdict.effect is None
    ]
    return [
        str(verdict.kind)
        for verdict in head.verdicts
        if verdict.kind in known and verdict not in shares
    ]


def _case(result: CellResult, cause: str) -> _Case:
    bad = tuple(head.head for head in result.heads if cause in _causes(head))
    good = tuple(
        head.head
        for head in result.heads
        if head.head not in bad and not _undecided(head) and not _broken(head)
    )
    return bad, good


def _broken(head: HeadResult) -> bool:
    """Whether its output is broken: whatever else is asked of it, it is not good."""
    return any(verdict.kind is Kind.BROKEN_OUTPUT for verdict in head.verdicts)


def _undecided(head: HeadResult) -> bool:
    return any(verdict.kind in SAY_NOTHING for verdict in head.verdicts)


def _told(causes: Sequence[str], cells: Sequence[str], sentence: str) -> str:
    places = distinct(cell.rpartition("/")[0].removesuffix("/cpu") for cell in cells)
    return (
        f"{listed([cause.replace('_', ' ') for cause in causes])} in {listed(places)}: {sentence}"
    )
