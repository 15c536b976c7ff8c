"""A chain of cells from one to another, each step over as few factors as can be.

An effect between two cells that differ in one factor is that factor's. Where they differ in
several, other cells may stand between: two steps over one factor each separate two factors. A step
over k factors leaves them confounded, and k − 1 cells more would split it. So the best chain is the
one that asks for the fewest cells: a shortest path in which a step costs k − 1.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse.csgraph import dijkstra

from runner.core.effects import Floats

Differing = Callable[[str, str], frozenset[str]]
"""Two places → the factors of which they have different values."""


@dataclass(frozen=True, slots=True)
class Step:
    """Two neighbours in a chain, and the factors that changed from one to the next."""

    start: str
    end: str
    factors: frozenset[str]


def chain(start: str, end: str, places: Iterable[str], differing: Differing) -> tuple[Step, ...]:
    """Returns the steps from `start` to `end` that need the fewest cells more.

    Where `start` and `end` agree in a factor, so do all places of the chain: what another GPU does
    is no evidence about this one. Among chains that need equally few cells, one with the fewest
    steps is taken. Empty where the two do not differ.

    Args:
        start: A place.
        end: Another.
        places: Those that may stand between; `start` and `end` may be among them.
        differing: As `Differing`; symmetric.
    """
    changed = differing(start, end)
    if len(changed) < 2:
        return (Step(start, end, changed),) if changed else ()
    between = [
        place
        for place in dict.fromkeys(places)
        if place not in (start, end)
        and differing(start, place) <= changed
        and differing(place, end) <= changed
    ]
    nodes = [start, *between, end]
    costs = _costs(nodes, differing)
    _, previous = dijkstra(costs, directed=False, indices=0, return_predecessors=True)
    path = [len(nodes) - 1]
    while path[-1] != 0:
        path.append(int(previous[path[-1]]))
    names = [nodes[index] for index in reversed(path)]
    return tuple(Step(one, other, differing(one, other)) for one, other in pairwise(names))


def _costs(nodes: Sequence[str], differing: Differing) -> Floats:
    """Returns the cost of each step, shape (nodes, nodes); 0, no step, between equal places.

    Nothing is lost by that: what is one factor from a place is one factor from its equal.
    """
    costs = np.zeros((len(nodes), len(nodes)))
    for row, one in enumerate(nodes):
        for column, other in enumerate(nodes[:row]):
            if size := len(differing(one, other)):
                # A chain has fewer steps than there are nodes, so cells come before steps.
                costs[row, column] = (size - 1) * len(nodes) + 1
    return costs
