"""Which heads are bad together and from which cause, and what the network's graph says to that."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trt_matrix.core.collecting import distinct, grouped
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
    cells_of = grouped(
        ((_case(result, cause), cause), result.id)
        for result in results
        for cause in distinct(cause for head in result.heads for cause in _causes(head))
    )
    causes_of = grouped(((case, tuple(cells)), cause) for (case, cause), cells in cells_of.items())
    told = [
        replace(
            of_case,
            causes=tuple(causes),
            cells=cells,
            sentence=_told(causes, cells, of_case.sentence),
        )
        for (case, cells), causes in causes_of.items()
        if (of_case := lineage(groups, *case))
    ]
    return tuple(sorted(told, key=lambda of_case: -len(of_case.cells)))


def _causes(head: HeadResult) -> list[str]:
    """Returns what was found of a head: effects, never gates, which one bad head may hold and another not."""
    return [
        str(verdict.kind)
        for verdict in head.verdicts
        if verdict.kind in FAULTS - SAY_NOTHING
        # What is called by its largest part, without a test, is no effect that an operator could have.
        and not (verdict.kind is Kind.INT8_LIMIT and verdict.effect is None)
    ]


def _case(result: CellResult, cause: str) -> _Case:
    bad = tuple(head.head for head in result.heads if cause in _causes(head))
    # Of a broken output nothing is good, whatever else is asked of it.
    unfit = SAY_NOTHING | {Kind.BROKEN_OUTPUT}
    good = (head for head in result.heads if head.head not in bad and not head.kinds & unfit)
    return bad, tuple(head.head for head in good)


def _told(causes: Sequence[str], cells: Sequence[str], sentence: str) -> str:
    places = distinct(cell.rpartition("/")[0].removesuffix("/cpu") for cell in cells)
    return (
        f"{listed([cause.replace('_', ' ') for cause in causes])} in {listed(places)}: {sentence}"
    )
