"""A chain of cells from one to another, each step over as few factors as can be.

An effect between two cells that differ in one factor is that factor's. Where they differ in
several, other cells may stand between: two steps over one factor each separate two factors. A step
over k factors leaves them confounded, and k − 1 cells more would split it. So the best chain is the
one that asks for the fewest cells: a shortest path in which a step costs k − 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Differing = Callable[[str, str], frozenset[str]]
"""Two places → the factors of which they have different values."""


@dataclass(frozen=True, slots=True)
class ChainStep:
    """Two neighbours in a chain, and the factors that changed from one to the next."""

    start: str
    end: str
    factors: frozenset[str]


class Design:
    """Places and what each two of them differ in."""

    def __init__(self, places: Sequence[str], differing: Differing) -> None:
        """Compares all places, each once."""
        self._places = tuple(places)
        self._differing = differing
        self._differ = self._compared()
        self._sizes = self._differ.sum(axis=2)

    def chain(self, start: str, end: str) -> tuple[ChainStep, ...]:
        """Returns the steps from `start` to `end` that need the fewest cells more.

        Where `start` and `end` agree in a factor, so do all places of the chain: what another GPU
        does is no evidence about this one. Among chains that need equally few cells, one with the
        fewest steps is taken. Empty where the two do not differ.
        """
        first, last = self._places.index(start), self._places.index(end)
        size = int(self._sizes[first, last])
        if size < 2:
            return (self._step(first, last),) if size else ()
        others = ~self._differ[first, last]
        strays = (self._differ[first] | self._differ[last]) & others
        between = np.flatnonzero(~strays.any(axis=1))
        sizes = self._sizes[np.ix_(between, between)]
        source, target = (int(np.flatnonzero(between == end)[0]) for end in (first, last))
        # Only smaller steps than the whole can be better, and none is one between equal places.
        useful = (sizes > 0) & (sizes < size)
        if not useful.any():
            return (self._step(first, last),)
        useful[source, target] = True
        from scipy.sparse.csgraph import dijkstra  # noqa: PLC0415 - half a second that few runs need

        # A chain has fewer steps than there are places, so cells come before steps.
        costs = np.where(useful, (sizes - 1.0) * len(between) + 1, 0.0)
        _, previous = dijkstra(costs, indices=source, return_predecessors=True)
        path = [target]
        while path[-1] != source:
            path.append(int(previous[path[-1]]))
        return tuple(self._step(*pair) for pair in pairwise(between[path[::-1]]))

    def _step(self, one: int, other: int) -> ChainStep:
        start, end = self._places[one], self._places[other]
        return ChainStep(start, end, self._differing(start, end))

    def _compared(self) -> npt.NDArray[np.bool_]:
        """Returns which places differ in which factor, shape (places, places, factors)."""
        pairs = {
            (row, column): self._differing(place, other)
            for row, place in enumerate(self._places)
            for column, other in enumerate(self._places[:row])
        }
        names = {name: index for index, name in enumerate(sorted(set().union(*pairs.values())))}
        count = len(self._places)
        differ = np.zeros((count, count, len(names)), np.bool_)
        for (row, column), pair in pairs.items():
            for name in pair:
                differ[row, column, names[name]] = differ[column, row, names[name]] = True
        return differ
