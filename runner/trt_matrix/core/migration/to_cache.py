"""A Q/DQ network → TensorRT's calibration cache: for DLA, and for versions up to 10; pure.

The cache names the tensors of the float network. Implicit mode wants a scale of everything that an int8 layer
reads or writes, where Q/DQ nodes stand for whole groups: so tensors that carry the same values get theirs too.
Scales of weights are in no cache: TensorRT takes the largest magnitude of each output channel itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from trt_matrix.core.migration.completing import completed, source_of, with_derived
from trt_matrix.core.migration.tensor_names import called_as
from trt_matrix.core.migration.to_qdq import AddedScale
from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.tables.forms import ReadTable
from trt_matrix.core.tables.names import Naming
from trt_matrix.core.tables.table import LEVELS
from trt_matrix.core.tables.trt_cache import Cache, Header, write


@dataclass(frozen=True, kw_only=True, slots=True)
class ToCache:
    """A cache, and how it came about."""

    text: str
    own: Mapping[str, float]
    """Tensor → the scale that the network quantises it with."""
    naming: Naming
    added: tuple[AddedScale, ...]
    lacking: Mapping[str, str]
    """Tensor that int8 layers read and that has no scale → why."""
    outputs: tuple[str, ...]
    """Outputs of the network without a scale: no Q/DQ network has one there."""
    unknown: tuple[str, ...]
    """Tensors with a scale that the float network does not have; in the cache all the same."""
    without: int
    """Other tensors of the float network without one: inside fusions, and in its float part."""


def to_cache(
    table: ReadTable,
    model: onnx.ModelProto,
    header: Header,
    *,
    names: Mapping[str, str],
    least: float,
) -> ToCache:
    """Writes the scales of a Q/DQ network as a calibration cache.

    Args:
        table: Of the network (`from_qdq`).
        model: The float network that the cache is to be used with.
        header: Of the TensorRT that will read it.
        names: The user's map, the Q/DQ network's names → the float network's.
        least: Least share of the tensors that must be known for affixes to be taken off names.

    Raises:
        graph.GraphError: see `canonical`; or nothing of the table is in the network.
        trt_cache.CacheError: a tensor's name cannot stand in a cache.
    """
    form = canonical(model)
    called = called_as(model, form, table.names, names, least)
    mine = table.renamed(called.names)
    plain = mine.table()
    known = {name for node in model.graph.node for name in node.output}
    known.update(tensor.name for tensor in graph.inputs(model))
    # A newer form of an operator may have tensors of its own, which nobody else knows.
    every = [name for name in tensors(form) if name in known]
    leader = scale_groups(form)
    derived = completed(form, plain.amax)
    full = with_derived(plain, derived)
    placement = place(model, full)
    added = []
    for tensor in every:
        if tensor not in plain.amax and leader[tensor] in full.amax:
            source, why = source_of(form, tensor, leader[tensor], derived)
            scale = full.amax[leader[tensor]] / LEVELS
            added.append(AddedScale(tensor=tensor, scale=scale, source=source, why=why))
    own = {name: plain.scale(name) for name in plain.amax}
    scales = {**own, **{scale.tensor: scale.scale for scale in added}}
    outputs = [output.name for output in graph.outputs(model) if output.dtype == "float32"]
    return ToCache(
        text=write(Cache(header=header, scales=scales)),
        own=own,
        naming=called,
        added=tuple(added),
        lacking=placement.skipped,
        outputs=tuple(name for name in outputs if name not in scales),
        unknown=tuple(name for name in own if name not in known),
        without=sum(name not in scales and name not in outputs for name in every)
        - sum(name in every for name in placement.skipped),
    )
