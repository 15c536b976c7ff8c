"""Layers → few enough boxes to be drawn: neighbours are folded into one, the smallest first; pure.

A box never holds layers of two parts of the network, so what the heads share stays apart from what is
their own. An edge u → v may be contracted without making a loop where v is the nearest of all that u
leads to: whatever else leads from u to v would pass something nearer.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

FOLLOWERS = frozenset(
    {"Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Gelu", "Mish",
     "Swish", "Softplus", "Tanh", "BatchNormalization", "Identity", "Cast", "Dropout"}
)  # fmt: skip
"""Operators that are drawn with the layer whose values alone they read."""


CAREFUL = 4
"""Times as many boxes as are wanted, from which on each edge is weighed against every other."""


@dataclass(frozen=True, slots=True)
class Item:
    """One layer, to be folded."""

    reads: tuple[int, ...]
    """Places of others before it."""
    part: Hashable
    operator: str
    alike: Hashable
    """Neighbours that are alike in this are folded before those that are not."""
    alone: bool = False
    """Whether it is folded last of all."""


@dataclass(frozen=True, slots=True)
class Folded:
    boxes: tuple[tuple[int, ...], ...]
    """Places of the layers in each, in their order; every box after those that it reads."""
    edges: tuple[tuple[int, int], ...]
    """(from, to), places of boxes."""


class _Boxes:
    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.members: dict[int, list[int]] = {place: [place] for place in range(len(items))}
        self.before = {place: set(item.reads) for place, item in enumerate(items)}
        self.after: dict[int, set[int]] = {place: set() for place in self.before}
        for place, item in enumerate(items):
            for read in item.reads:
                self.after[read].add(place)

    def contract(self, u: int, v: int) -> None:
        """Puts the layers of v into u."""
        self.members[u] += self.members.pop(v)
        for other in self.before.pop(v) - {u}:
            self.after[other] = self.after[other] - {v} | {u}
            self.before[u].add(other)
        for other in self.after.pop(v):
            self.before[other] = self.before[other] - {v} | {u}
            self.after[u].add(other)
        self.after[u].discard(v)

    def order(self) -> list[int]:
        """Returns the boxes, each after those that it reads."""
        left = {box: len(reads) for box, reads in self.before.items()}
        ready = [box for box, count in left.items() if not count]
        order = []
        while ready:
            box = ready.pop(0)
            order.append(box)
            for other in sorted(self.after[box]):
                left[other] -= 1
                if not left[other]:
                    ready.append(other)
        return order

    def columns(self) -> dict[int, int]:
        """Returns box → how many lie before it, on the longest way."""
        columns: dict[int, int] = {}
        for box in self.order():
            columns[box] = max((columns[other] + 1 for other in self.before[box]), default=0)
        return columns

    def chains(self) -> Iterator[tuple[int, int]]:
        """Yields edges between boxes of a part that have no other neighbours on that side."""
        for u, after in self.after.items():
            if len(after) == 1:
                (v,) = after
                if len(self.before[v]) == 1 and self._part(u) == self._part(v):
                    yield u, v

    def safe(self, columns: dict[int, int]) -> Iterator[tuple[int, int]]:
        """Yields edges within a part whose contraction makes no loop."""
        for u, after in self.after.items():
            inside = [v for v in after if self._part(v) == self._part(u)]
            nearest = min((columns[v] for v in inside), default=None)
            yield from ((u, v) for v in inside if columns[v] == nearest)

    def weight(self, u: int, v: int) -> tuple[bool, bool, int, int]:
        """Returns how much would be hidden by folding these into one."""
        together = [self.items[place] for place in (*self.members[u], *self.members[v])]
        return (
            any(item.alone for item in together),
            len({item.alike for item in together}) > 1,
            len(together),
            min(self.members[u]),
        )

    def _part(self, box: int) -> Hashable:
        return self.items[self.members[box][0]].part


def fold(items: Sequence[Item], most: int, most_columns: int) -> Folded:
    """Returns at most `most` boxes in at most `most_columns` columns, where parts can be folded so far."""
    boxes = _Boxes(items)
    _contract_all(boxes, lambda _, v: _follows(boxes, v))
    share = max(2, len(items) // max(most, 1))

    def small(u: int, v: int) -> bool:
        alone, unlike, size, _ = boxes.weight(u, v)
        return len(boxes.members) > most and not alone and not unlike and size <= share

    _contract_all(boxes, small)
    while len(boxes.members) > CAREFUL * most and _contract_bands(boxes):
        pass
    while True:
        columns = boxes.columns()
        wide = max(columns.values(), default=0) + 1 > most_columns
        if not wide and len(boxes.members) <= most:
            break
        edges = list(boxes.safe(columns))
        if len(boxes.members) <= most:
            critical = _critical(boxes, columns)
            edges = [
                (u, v) for u, v in edges if {u, v} <= critical and columns[v] == columns[u] + 1
            ]
        if not edges:
            break
        boxes.contract(*min(edges, key=lambda edge: boxes.weight(*edge)))
    order = boxes.order()
    places = {box: place for place, box in enumerate(order)}
    return Folded(
        boxes=tuple(tuple(sorted(boxes.members[box])) for box in order),
        edges=tuple(
            (places[read], places[box]) for box in order for read in sorted(boxes.before[box])
        ),
    )


def _follows(boxes: _Boxes, v: int) -> bool:
    """Whether this one layer is drawn with what it reads."""
    members = boxes.members[v]
    item = boxes.items[members[0]]
    return len(members) == 1 and item.operator in FOLLOWERS and not item.alone


def _contract_all(boxes: _Boxes, wanted: Callable[[int, int], bool]) -> None:
    """Contracts chains as long as any is wanted, disjoint ones at a time, so that boxes grow alike."""
    while True:
        taken: set[int] = set()
        for u, v in list(boxes.chains()):
            if not taken & {u, v} and wanted(u, v):
                boxes.contract(u, v)
                taken |= {u, v}
        if not taken:
            return


def _contract_bands(boxes: _Boxes) -> bool:
    """Contracts one edge between each two neighbouring columns; returns whether there was any.

    Together they make no loop: what leads out of a pair leads to a later one, or stays between its columns.
    """
    contracted = False
    for parity in (0, 1):
        columns = boxes.columns()
        lightest: dict[int, tuple[tuple[bool, bool, int, int], int, int]] = {}
        for u, v in boxes.safe(columns):
            if columns[v] == columns[u] + 1 and columns[u] % 2 == parity:
                edge = (boxes.weight(u, v), u, v)
                lightest[columns[u]] = min(edge, lightest.get(columns[u], edge))
        for weight, u, v in lightest.values():
            if not weight[0]:
                boxes.contract(u, v)
                contracted = True
    return contracted


def _critical(boxes: _Boxes, columns: dict[int, int]) -> set[int]:
    """Returns the boxes on the longest ways."""
    longest = max(columns.values())
    critical = {box for box, column in columns.items() if column == longest}
    for box in reversed(boxes.order()):
        if any(
            after in critical and columns[after] == columns[box] + 1 for after in boxes.after[box]
        ):
            critical.add(box)
    return critical
