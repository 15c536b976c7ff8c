"""Resizing in TensorRT's implicit int8: integers of the input's scale, read at the output's.

Implicit int8 has a range for every tensor, so for a resizing's input and its output one each. Builds on H200s
(docs/reference/verified.md) that ran a resizing in int8 lost just what is lost where its integers are given on unchanged:
every value is then wrong by the ratio of the two ranges, and by nothing where they are equal. A Q/DQ network has
one scale on both sides (`scale_groups`), so neither it nor its simulation knows of this.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trt_matrix.core.diagnosis.quantisers import Quantised, QuantiserPair, State
from trt_matrix.core.diagnosis.record import LEAST_DB
from trt_matrix.core.network.operators import carries
from trt_matrix.core.tables.table import LEVELS, Table

NEAR_DB = 0.5
"""So near the simulated number is to what was measured where it explains it, or within a quarter of the loss."""

EQUAL = 1.001
"""Ranges less far apart are equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizingRanges:
    """A resizing, and the ranges that a table has on its two sides."""

    layer: str
    place: int
    """Its node's, in the network."""
    source: str
    target: str
    source_range: float
    target_range: float

    @property
    def factor(self) -> float:
        """What every value is multiplied by, where the integers are given on."""
        return self.target_range / self.source_range

    @property
    def apart(self) -> float:
        """How many times the larger range is the smaller."""
        return max(self.factor, 1 / self.factor)


def carried(quantised: Quantised, table: Table) -> tuple[ResizingRanges, ...]:
    """Returns the resizings that a placement has between two pairs, in the network's order."""
    ranges = {name: table.amax[name] for name in quantised.state.tensors if name in table.amax}
    return tuple(
        ResizingRanges(
            layer=node.name,
            place=place,
            source=node.input[0],
            target=node.output[0],
            source_range=ranges[node.input[0]],
            target_range=ranges[node.output[0]],
        )
        for place, node in enumerate(quantised.model.graph.node)
        if node.op_type == "Resize"
        and carries(node)
        and node.input[0] in ranges
        and node.output[0] in ranges
    )


def implicit(quantised: Quantised, table: Table, in_int8: Iterable[ResizingRanges]) -> State:
    """Returns the state in which every tensor has its own range, and these resizings give integers on."""
    sources = {resizing.target: resizing for resizing in in_int8}

    def own(pair: QuantiserPair) -> QuantiserPair:
        if pair.tensor not in table.amax:
            return pair
        scale = table.amax[pair.tensor] / LEVELS
        before = sources.get(pair.tensor)
        if before is None:
            return replace(pair, scale=scale)
        return replace(pair, scale=before.source_range / LEVELS, read_scale=scale)

    return replace(quantised.state, pairs=frozenset(map(own, quantised.state.pairs)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizingBuilds:
    """Builds with one table that ran the same resizings in int8; all errors in dB, over the same images."""

    table: str
    digest: str
    """The table's."""
    cells: tuple[str, ...]
    """One a build: two builds of a cell are told twice."""
    in_int8: tuple[ResizingRanges, ...]
    held: frozenset[str] = frozenset()
    """Resizings that the matrix held in floating point in all of them."""
    measured: Mapping[str, tuple[float, ...]]
    """Head → what each build kept."""
    qdq: Mapping[str, float]
    """Head → what a Q/DQ network with this table keeps, simulated."""
    given_on: Mapping[str, float]
    """Head → the same with every tensor's own range, and integers given on; simulated."""
    all_held: Mapping[str, float]
    """Head → the same with every resizing held; simulated."""

    def lost(self, head: str) -> bool:
        """Whether any of the builds lost it."""
        return min(self.measured[head]) <= self.qdq[head] - LEAST_DB

    def explained(self, head: str) -> bool:
        """Whether integers given on lose what was measured in every build, and holding gives most of it back."""
        loss = self.qdq[head] - min(self.measured[head])
        near = max(NEAR_DB, loss / 4)
        return (
            all(abs(kept - self.given_on[head]) <= near for kept in self.measured[head])
            and self.all_held[head] - self.given_on[head] >= loss / 2
        )

    @property
    def loses(self) -> tuple[str, ...]:
        """Returns the heads that these builds lose beyond what Q/DQ would."""
        return tuple(head for head in self.measured if self.lost(head))


def smallest(
    layers: Collection[ResizingRanges], holds: Callable[[frozenset[str]], bool]
) -> frozenset[str]:
    """Returns resizings that must be held, having tried to let each of the others go.

    With all of them held it is enough; `holds` says of fewer whether it is.
    """
    kept = frozenset(resizing.layer for resizing in layers)
    for resizing in sorted(layers, key=lambda each: (each.apart, each.layer)):
        if holds(kept - {resizing.layer}):
            kept -= {resizing.layer}
    return kept


def sound_with_equal_ranges(ways: Sequence[ResizingBuilds]) -> int:
    """Returns how many builds ran resizings in int8 whose two ranges are the same, and lost nothing."""
    return sum(
        len(way.cells)
        for way in ways
        if way.in_int8 and not way.loses
        if all(resizing.apart < EQUAL for resizing in way.in_int8)
    )
