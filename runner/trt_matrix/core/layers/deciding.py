"""Which ranges of a table decide anything: those of the tensors that the placements of its cells quantise; pure.

A head that is given out in float, what only layers kept in float read, and what takes another tensor's scale
have ranges in a table too, and nothing uses them: nothing may be said of what they clip.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from trt_matrix.core.evidence import good
from trt_matrix.core.layers.precisions import held_layers
from trt_matrix.core.records import Record
from trt_matrix.core.tables.clipping import Decided


class Deciding(Protocol):
    def __call__(
        self, placement: str, ranged: Collection[str], *, implicit: bool, held: Collection[str]
    ) -> Collection[str]:
        """Returns the tensors whose range decides a scale.

        Where the engine places, `implicit`, what it gives out is float. `held` are layers, or tensors that they
        make, that were kept in float.
        """


def decided(
    records: Sequence[Record], ranges: Mapping[str, Collection[str]], deciding: Deciding
) -> Decided:
    """Returns what the ranges of each table decide; of tables that no cell ran with nothing."""
    cells_of: dict[str, dict[str, dict[str, None]]] = {}
    for record in records:
        implicit = record.pass_.implicit
        for measurement in good(record):
            table, placement = measurement.table, measurement.placement
            if table in ranges and table and placement:
                held = held_layers(measurement.start) if implicit else frozenset()
                held = held.union(record.pass_.exclude)
                for tensor in deciding(placement, ranges[table], implicit=implicit, held=held):
                    cells_of.setdefault(table, {}).setdefault(tensor, {})[record.cell] = None
    return {
        table: {tensor: tuple(cells) for tensor, cells in tensors.items()}
        for table, tensors in cells_of.items()
    }
