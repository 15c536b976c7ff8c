"""The layers as the page shows them: neighbours whose kinds ran alike are one row.

So a network of hundreds of layers stays readable, and a single one that some version ran otherwise
than its kind stands out by name.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.collecting import present
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.layers.precisions import LayerPrecisions
from trt_matrix.core.network.network_map import Layer, NetworkMap, NetworkPart

MOST_WAYS = 8
"""Columns that fit beside each other."""
MOST_ROWS = 60
"""Rows of one part; the rest is in the embedded data."""
NOT_TOLD = "not told"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionColumn:
    """One way in which the layers ran."""

    letter: str
    environments: tuple[str, ...]
    passes: tuple[str, ...]
    way: LayerPrecisions


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """Neighbouring layers of which each kind ran alike in every column."""

    layers: tuple[Layer, ...]
    suspect: bool
    """Only bad heads lie behind it, and it is one that may be to blame."""
    agreed: str | None
    """What all columns say; None where they differ."""
    told: tuple[str, ...]
    """What each column says: `int8`, or `14 Conv int8, 14 Relu float`."""

    @property
    def kinds(self) -> tuple[tuple[str, int], ...]:
        return tuple(Counter(layer.operator for layer in self.layers).most_common())


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRows:
    part: NetworkPart
    title: str
    rows: tuple[LayerRow, ...]
    left_out: int
    """Layers of rows beyond MOST_ROWS."""
    behind_bad: bool
    """See `is_behind_bad`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    network: NetworkMap
    columns: tuple[PrecisionColumn, ...]
    left_out: int
    """Ways beyond MOST_WAYS."""
    untold: int
    """Int8 cells whose engine told nothing of its layers."""
    parts: tuple[PartRows, ...]
    differing: int
    """Layers that ran in different precisions."""


def layers(judgement: Judgement) -> Layers | None:
    """Returns None where the network is not known."""
    report = judgement.layers
    if report is None:
        return None
    common = sorted(range(len(report.ways)), key=lambda index: -len(report.ways[index].cells))
    ways = [report.ways[index] for index in sorted(common[:MOST_WAYS])]
    times = Counter(cell for way in report.ways for cell in way.cells)
    divided = frozenset(cell for cell, count in times.items() if count > 1)
    suspects = judgement.suspects
    return Layers(
        network=report.network,
        columns=tuple(_column(judgement, index, way, divided) for index, way in enumerate(ways)),
        left_out=len(report.ways) - len(ways),
        untold=len(report.untold),
        parts=tuple(
            _part(judgement, report.network, part, ways, suspects) for part in report.network.parts
        ),
        differing=sum(not _agree(_vector(layer, ways)) for _, layer in report.network.layers),
    )


def row_id(part: int, row: int) -> str:
    """Returns the id of a row's element in the page; of a part's last one, its layers that are left out."""
    return f"layers-{part}-{row}"


def row_ids(table: Layers) -> Mapping[str, str]:
    """Returns layer → the id of its row."""
    ids: dict[str, str] = {}
    for place, part in enumerate(table.parts):
        ids |= {layer.name: row_id(place, len(part.rows)) for layer in part.part.layers}
        for number, row in enumerate(part.rows):
            ids |= {layer.name: row_id(place, number) for layer in row.layers}
    return ids


def part_title(network: NetworkMap, part: NetworkPart) -> str:
    if len(part.heads) == len(network.heads) > 1:
        return "shared by all heads"
    return f"{', '.join(part.heads)} {'together' if len(part.heads) > 1 else 'alone'}"


def is_behind_bad(judgement: Judgement, part: NetworkPart) -> bool:
    """Whether heads that are bad together depend on these layers, and none that is good meanwhile."""
    heads = set(part.heads)
    return any(
        heads & set(lineage.bad) and not heads & set(lineage.good) for lineage in judgement.lineage
    )


def _column(
    judgement: Judgement, index: int, way: LayerPrecisions, divided: Collection[str]
) -> PrecisionColumn:
    """Returns the head of one way; `divided` are the cells whose builds ran in several."""
    ids = set(way.cells)
    cells = [result.cell for result in judgement.cells if result.id in ids]
    return PrecisionColumn(
        letter=chr(ord("A") + index),
        environments=tuple(dict.fromkeys(cell.environment for cell in cells)),
        passes=tuple(
            dict.fromkeys(
                f"{cell.pass_.name}{' (some builds)' if cell.id in divided else ''}"
                for cell in cells
            )
        ),
        way=way,
    )


def _part(
    judgement: Judgement,
    network: NetworkMap,
    part: NetworkPart,
    ways: Sequence[LayerPrecisions],
    suspects: Collection[str],
) -> PartRows:
    rows = list(_rows(part, ways, suspects))
    return PartRows(
        part=part,
        title=part_title(network, part),
        rows=tuple(rows[:MOST_ROWS]),
        left_out=sum(len(row.layers) for row in rows[MOST_ROWS:]),
        behind_bad=is_behind_bad(judgement, part),
    )


_Vector = tuple[str | None, ...]


def _vector(layer: Layer, ways: Sequence[LayerPrecisions]) -> _Vector:
    return tuple(way.precisions.get(layer.name) for way in ways)


def _agree(vector: _Vector) -> bool:
    """Whether no two columns say different things; one that says nothing contradicts none."""
    return len(set(vector) - {None}) <= 1


def _rows(
    part: NetworkPart, ways: Sequence[LayerPrecisions], suspects: Collection[str]
) -> Iterator[LayerRow]:
    """Yields runs of layers in which each kind ran alike in every column: Conv on integers, Relu not.

    A layer that ran otherwise than its kind did before it starts a new run. A suspect stands alone.
    """
    run: list[Layer] = []
    kinds: dict[str, _Vector] = {}
    alone = False
    for layer in part.layers:
        vector = _vector(layer, ways)
        was_alone, alone = alone, layer.name in suspects
        if run and (alone or was_alone or kinds.get(layer.operator, vector) != vector):
            yield _row(run, ways, suspects)
            run, kinds = [], {}
        run.append(layer)
        kinds[layer.operator] = vector
    if run:
        yield _row(run, ways, suspects)


def _row(
    run: Sequence[Layer], ways: Sequence[LayerPrecisions], suspects: Collection[str]
) -> LayerRow:
    vectors = [_vector(layer, ways) for layer in run]
    agreed = all(_agree(vector) for vector in vectors)
    known = [next(iter(present(vector)), None) for vector in vectors]
    return LayerRow(
        layers=tuple(run),
        suspect=any(layer.name in suspects for layer in run),
        agreed=_told(run, known) if agreed else None,
        told=tuple(_told(run, [vector[index] for vector in vectors]) for index in range(len(ways))),
    )


def _told(run: Sequence[Layer], precisions: Sequence[str | None]) -> str:
    """Returns `int8` where all are, else what each kind of layer is."""
    counts = Counter(
        (precision or NOT_TOLD, layer.operator)
        for layer, precision in zip(run, precisions, strict=True)
    )
    sides = dict.fromkeys(precision for precision, _ in counts)
    if len(sides) == 1:
        return next(iter(sides))
    return " · ".join(
        f"{side}: "
        + ", ".join(f"{n} {kind}" for (count, kind), n in counts.items() if count == side)
        for side in sides
    )
