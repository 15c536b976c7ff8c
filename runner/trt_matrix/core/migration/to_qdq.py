"""A calibration table and the float network → a Q/DQ network placed as TensorRT fuses, and what became of each.

For those who leave TensorRT 10: 11 has no calibrators. What a table says of tensors that an engine uses goes
over bit for bit; everything else is listed, with the reason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.migration.completing import DerivedRange, completed, source_of, with_derived
from trt_matrix.core.migration.tensor_names import called_as, likely
from trt_matrix.core.migration.tracing import TensorFate, Traced, traced
from trt_matrix.core.network import graph, shapes
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import INT8, Placement, place
from trt_matrix.core.qdq.joins import Requantisation, requantisations
from trt_matrix.core.qdq.options import TENSORRT, PlacementOptions
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.names import Naming
from trt_matrix.core.tables.table import LEVELS, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedScale:
    """A tensor that has a scale in the Q/DQ network and none of its own in the table."""

    tensor: str
    scale: float
    source: str
    """Tensor whose scale it is, or was made of."""
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadCoverage:
    """How much of a head arrived."""

    scaled: int
    """Tensors that its layers read and that have a scale."""
    wanted: int
    """All that int8 needs a scale of."""
    lacking: tuple[str, ...]
    """The others."""
    layers: int
    int8: int
    """Layers (multiply and accumulate) with quantised inputs and weights."""
    integer_share: float | None
    """Share of the head's multiply-adds in those; None where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToQdq:
    """A Q/DQ network, and how it came about."""

    model: onnx.ModelProto
    scales: Mapping[str, float]
    """Of the tensors with Q/DQ."""
    naming: Naming
    likely: Mapping[str, str]
    """Name of the table that no tensor has → the tensor that it is likely of: to be said by a map."""
    tensors: tuple[Traced, ...]
    """What became of those of the table."""
    added: tuple[AddedScale, ...]
    lacking: Mapping[str, str]
    """Tensor that needs a scale and has none → why."""
    float_layers: Mapping[str, str]
    """Layer that stays in float → why."""
    layers: int
    """All that multiply and accumulate."""
    heads: Mapping[str, HeadCoverage]
    requantised: tuple[Requantisation, ...]
    """Where the network that was made requantises to join tensors."""
    avoided: tuple[Requantisation, ...]
    """Where it would, had it no unified scales; empty where it has none."""
    table: Table
    """The table with the network's names and what was added to it: what a simulation needs."""

    def with_fate(self, *fates: TensorFate) -> tuple[Traced, ...]:
        return tuple(tensor for tensor in self.tensors if tensor.fate in fates)


def to_qdq(
    model: onnx.ModelProto,
    table: ReadTable,
    heads: Sequence[tuple[str, str]],
    *,
    names: Mapping[str, str],
    least: float,
    options: PlacementOptions = TENSORRT,
) -> ToQdq:
    """Writes a table into a network.

    Args:
        model: The float network; it is not changed.
        table: As it was read.
        heads: (head, output tensor); may be inner tensors.
        names: The user's map, the table's names → the network's.
        least: Least share of the network's tensors that must be known for affixes to be taken off names.
        options: The placement.

    Raises:
        graph.GraphError: see `canonical`; a head is no tensor; or the table quantises nothing.
    """
    form = canonical(model)
    called = called_as(model, form, table.names, names, least)
    mine = table.renamed(called.names)
    plain = mine.table()
    derived = completed(form, plain.amax)
    full = with_derived(plain, derived)
    placement = place(model, full, options)
    leader = scale_groups(form)
    apart = {tensor: full.amax[leader[tensor]] / LEVELS for tensor in placement.quantised}
    fates = traced(
        model,
        form,
        placement,
        {**mine.values, **dict.fromkeys(mine.unusable, math.nan)},
        unusable=plain.unusable,
        names=called.names,
        leader=leader,
        apart=apart,
    )
    unknown = (TensorFate.UNKNOWN, TensorFate.PARSER)
    nowhere = [tensor.called for tensor in fates if tensor.fate in unknown]
    return ToQdq(
        model=placement.model,
        scales=placement.quantised,
        naming=called,
        likely=likely(form, placement.skipped, nowhere),
        tensors=fates,
        added=_added(form, placement, plain, derived, leader),
        lacking=placement.skipped,
        float_layers={name: why for name, why in placement.layers.items() if why != INT8},
        layers=len(placement.layers),
        heads=_coverage(form, placement, heads),
        requantised=requantisations(form, placement.quantised),
        avoided=requantisations(form, apart) if options.unified_scales else (),
        table=full,
    )


def _added(
    form: onnx.ModelProto,
    placement: Placement,
    plain: Table,
    derived: Mapping[str, DerivedRange],
    leader: Mapping[str, str],
) -> tuple[AddedScale, ...]:
    added = []
    for tensor, scale in placement.quantised.items():
        if tensor not in plain.amax:
            source, why = source_of(form, tensor, leader[tensor], derived)
            added.append(AddedScale(tensor=tensor, scale=scale, source=source, why=why))
    return tuple(added)


def _coverage(
    form: onnx.ModelProto, placement: Placement, heads: Sequence[tuple[str, str]]
) -> dict[str, HeadCoverage]:
    macs = shapes.macs(form)
    coverages = {}
    for head, output in heads:
        cone = graph.backward_cone(form, output)
        near = graph.tensors_of(form, cone)
        lacking = tuple(name for name in placement.skipped if name in near)
        scaled = sum(name in near for name in placement.quantised)
        layers = [node for node in cone if node in placement.layers]
        int8 = [node for node in layers if placement.layers[node] == INT8]
        total = sum(macs[node] for node in layers)
        coverages[head] = HeadCoverage(
            scaled=scaled,
            wanted=scaled + len(lacking),
            lacking=lacking,
            layers=len(layers),
            int8=len(int8),
            integer_share=sum(macs[node] for node in int8) / total if total else None,
        )
    return coverages
