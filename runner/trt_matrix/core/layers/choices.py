"""Where builds with one table differ: which layers' precision goes along with the error.

An engine chooses anew in every build which layers run in int8. Where builds with the same table lose
differently, a layer is suspect if every build that ran it in int8 is worse than every build that did
not, in each table whose builds differ. That is a regularity of the builds there are, not a test; it
becomes one where the matrix took the choice from the builder (`fp32_layers`) and the head recovered.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.cells import Precision
from trt_matrix.core.evidence import good
from trt_matrix.core.layers.engine_layers import INT8
from trt_matrix.core.layers.precisions import LayersOf, Ran, from_layers, held_layers
from trt_matrix.core.network.network_map import NetworkMap
from trt_matrix.core.records import Record, StoredObject

LEAST_DB = 1.0
"""Builds whose SQNR is nearer than this do not differ enough to ask why."""

SqnrOf = Callable[[str, StoredObject], float | None]
"""(head, output) → SQNR against the reference in dB; None where it has none."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of a cell, as one head sees it."""

    cell: str
    ran: Ran
    sqnr_db: float
    held: frozenset[str]
    """Layers, or tensors that they make, that the matrix held in floating point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Layers that were always run in int8 where a head is worse, and never where it is better."""

    head: str
    layers: tuple[str, ...]
    """Suspects: they were chosen together, or only one of them is to blame. Those that the matrix held in some build
    come first, since nobody chose them there; else in topological order."""
    worse_db: tuple[float, ...]
    """SQNR of every build that ran them in int8, of the tables whose builds differ."""
    better_db: tuple[float, ...]
    """The same of those that ran them in floating point."""
    held_db: tuple[float, ...] = ()
    """Those of `better_db` that ran all of them so because the matrix held them there."""
    tables: int
    """How many tables have builds that differ."""
    chance: float = 1.0
    """Of layers that have nothing to do with it, at most: that one of them parts the builds like this."""

    @property
    def builds(self) -> int:
        return len(self.worse_db) + len(self.better_db)


def choices(
    network: NetworkMap, records: Iterable[Record], layers_of: LayersOf, sqnr_of: SqnrOf
) -> tuple[Choice, ...]:
    """Returns the choice that each head's error goes along with, where there is one."""
    records = list(records)
    by_head = (_choice(network, head, records, layers_of, sqnr_of) for head in network.heads)
    return tuple(choice for choice in by_head if choice)


def _choice(
    network: NetworkMap, head: str, records: Iterable[Record], layers_of: LayersOf, sqnr_of: SqnrOf
) -> Choice | None:
    tables = [
        builds
        for builds in _by_table(network, head, records, layers_of, sqnr_of).values()
        if _spread(build.sqnr_db for build in builds) >= LEAST_DB
    ]
    if not tables:
        return None
    cone = [layer.name for part, layer in network.layers if head in part.heads]
    together: dict[tuple[bool, ...], list[str]] = {}
    for name in cone:
        if all(_parts(builds, name) for builds in tables):
            together.setdefault(_pattern(tables, name), []).append(name)
    if not together:
        return None
    # Layers that part the builds otherwise were in int8 in other builds: not one sentence can be said of both.
    suspects = max(together.values(), key=lambda names: _gap(tables, names[0]))
    split = [parts for builds in tables if (parts := _parts(builds, suspects[0]))]
    tensors_of = {layer.name: {layer.name, *layer.outputs} for _, layer in network.layers}
    names = [tensors_of[name] for name in suspects]
    every = [build for builds in tables for build in builds]
    taken = frozenset().union(*(build.held for build in every))
    held = [build.sqnr_db for build in every if all(own & build.held for own in names)]
    return Choice(
        head=head,
        layers=tuple(sorted(suspects, key=lambda name: not tensors_of[name] & taken)),
        worse_db=tuple(sorted(db for worse, _ in split for db in worse)),
        better_db=tuple(sorted(db for _, better in split for db in better)),
        held_db=tuple(sorted(held)),
        tables=len(tables),
        chance=_chance(cone, tables, split),
    )


def _pattern(tables: Sequence[Sequence[Build]], layer: str) -> tuple[bool, ...]:
    """Returns which builds ran `layer` in int8."""
    return tuple(build.ran.get(layer) == INT8 for builds in tables for build in builds)


def _gap(tables: Sequence[Sequence[Build]], layer: str) -> float:
    """Returns by how many dB the worst build without `layer` in int8 is better than the best with it, at least."""
    split = filter(None, (_parts(builds, layer) for builds in tables))
    return min(min(better) - max(worse) for worse, better in split)


def _chance(
    cone: Sequence[str],
    tables: Sequence[Sequence[Build]],
    split: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> float:
    """Returns how likely some layer that has nothing to do with the error goes along with it.

    A layer that is in int8 in w of n builds parts them as the error does with chance 1 / (n over w); there are
    as many tries as layers (those always chosen together are one) that some builds chose and some did not.
    """
    patterns = {
        _pattern(tables, layer)
        for layer in cone
        if all(layer in build.ran for builds in tables for build in builds)
    }
    varying = sum(len(set(pattern)) > 1 for pattern in patterns)
    ways = math.prod(math.comb(len(worse) + len(better), len(worse)) for worse, better in split)
    return min(1.0, varying / ways)


def _by_table(
    network: NetworkMap, head: str, records: Iterable[Record], layers_of: LayersOf, sqnr_of: SqnrOf
) -> Mapping[tuple[str, str | None, bool], Sequence[Build]]:
    """Returns (table, placement, implicit) → all builds with it, whichever version made them."""
    builds: dict[tuple[str, str | None, bool], list[Build]] = {}
    for record in records:
        if record.pass_.precision is not Precision.INT8:
            continue
        for measurement in good(record):
            output, table = measurement.outputs.get(head), measurement.table
            layers = layers_of(measurement.layers) if measurement.layers else None
            sqnr_db = sqnr_of(head, output) if output else None
            if table is None or not layers or sqnr_db is None:
                continue
            held, ran = held_layers(measurement.start), from_layers(network, layers)
            key = (table, measurement.placement, record.pass_.implicit)
            builds.setdefault(key, []).append(Build(record.cell, ran, sqnr_db, held))
    return builds


def _parts(builds: Sequence[Build], layer: str) -> tuple[list[float], list[float]] | None:
    """Returns the SQNR of the builds with `layer` in int8, and of the others, where that parts them."""
    if any(layer not in build.ran for build in builds):
        return None
    worse = [build.sqnr_db for build in builds if build.ran[layer] == INT8]
    better = [build.sqnr_db for build in builds if build.ran[layer] != INT8]
    if not worse or not better or min(better) - max(worse) < LEAST_DB:
        return None
    return worse, better


def _spread(values: Iterable[float]) -> float:
    known = list(values)
    return max(known) - min(known) if known else -math.inf
