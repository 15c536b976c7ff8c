"""What the engines of a run really gave: to hold simulations against, on the same images."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from trt_matrix.core.cells import Precision, TableSource
from trt_matrix.core.evidence import good
from trt_matrix.core.layers.engine_layers import LayerTimes
from trt_matrix.core.layers.precisions import LayersOf, from_layers, held_layers
from trt_matrix.core.metrics import Sums
from trt_matrix.core.network.network_map import NetworkMap
from trt_matrix.core.qdq.placements import Placed, placed_of
from trt_matrix.core.records import Measurement, Record, StoredObject
from trt_matrix.core.tables.table import Table
from trt_matrix.diagnosis.subject import CellTimes, ImplicitBuild, MeasuredQdq

SumsOf = Callable[[StoredObject, StoredObject], Sums | None]
"""(y, r) → per-image sums of y against r; None where one of them is no longer stored."""


def measured(
    records: Sequence[Record],
    reference: Measurement | None,
    table: Table,
    placed: Placed,
    sums_of: SumsOf,
) -> tuple[MeasuredQdq, ...]:
    """Returns what engines gave by Q/DQ with this table in this placement, the first build of each cell.

    A network that came quantised has Q/DQ of its own: what it gave is no measure of one that is placed here.
    """
    by_cell: dict[str, MeasuredQdq] = {}
    for record, build in _int8(records, implicit=False):
        same = build.table == table.digest and placed_of(build.placement or "") == placed
        if same and record.cell not in by_cell:
            errors = _errors(build, reference, sums_of)
            by_cell[record.cell] = MeasuredQdq(cell=record.cell, sums=errors)
    return tuple(cell for cell in by_cell.values() if cell.sums)


def built(
    records: Sequence[Record],
    reference: Measurement | None,
    tables: Mapping[str, Table],
    network: NetworkMap,
    layers_of: LayersOf,
    sums_of: SumsOf,
) -> tuple[ImplicitBuild, ...]:
    """Returns every implicit build of a run whose table is known."""
    by_digest = {table.digest: (name, table) for name, table in tables.items()}
    implicit_builds = []
    for record, build in _int8(records, implicit=True):
        placed = placed_of(build.placement or "")
        errors = _errors(build, reference, sums_of)
        if build.table not in by_digest or placed is None or not errors:
            continue
        name, table = by_digest[build.table]
        if build.carried:
            name = f"{name}, ranges made equal"
            table = replace(table, amax={**table.amax, **build.carried})
        layers = layers_of(build.layers) if build.layers else None
        implicit_builds.append(
            ImplicitBuild(
                cell=record.cell,
                table=table,
                table_name=name,
                # What is held is no matter of where Q/DQ stands.
                options=replace(placed, in_float="").options(),
                ran=from_layers(network, layers) if layers else {},
                held=held_layers(build.start) | frozenset(record.pass_.exclude),
                sums=errors,
            )
        )
    return tuple(implicit_builds)


def timed(
    records: Sequence[Record],
    environments: Collection[str],
    baseline: str,
    table: Table,
    times_of: Callable[[StoredObject], LayerTimes | None],
) -> CellTimes | None:
    """Returns what the layers of an int8 engine took; None where none told it.

    Taken is the baseline's before another's, by Q/DQ before implicit, with this table before another. A
    start that was disturbed, and one that held layers in floating point, tell nothing of all in int8.

    Environments are those with the engine that is diagnosed: what layers take in another says nothing of it.
    """
    ranked = []
    for implicit in (False, True):
        for record, build in _int8(records, implicit=implicit):
            held = record.pass_.mixed or record.pass_.exclude or held_layers(build.start)
            if held or record.environment not in environments:
                continue
            if build.layers is None or build.start is None or build.start.disturbed:
                continue
            if times := times_of(build.layers):
                order = (record.environment != baseline, implicit, build.table != table.digest)
                ranked.append((order, CellTimes(cell=record.cell, times=times)))
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _int8(records: Iterable[Record], *, implicit: bool) -> Iterator[tuple[Record, Measurement]]:
    """Yields each build of every int8 cell but those of a network that came quantised."""
    for record in records:
        pass_ = record.pass_
        wanted = pass_.precision is Precision.INT8 and pass_.implicit == implicit
        if wanted and pass_.source is not TableSource.SHIPPED:
            yield from ((record, build) for build in good(record))


def _errors(
    measurement: Measurement, reference: Measurement | None, sums_of: SumsOf
) -> Mapping[str, Sums]:
    outputs = reference.outputs if reference else {}
    return {
        head: sums
        for head, output in measurement.outputs.items()
        if head in outputs and (sums := sums_of(output, outputs[head])) is not None
    }
