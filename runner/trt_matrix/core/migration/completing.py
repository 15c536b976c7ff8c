"""Ranges that a table does not have and that follow from those that it has.

A calibrator that works on the fused network (TensorRT's first entropy calibrator) names one of several
tensors that carry the same values; a Q/DQ network may need another of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import MONOTONE, joined_by
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.tables.table import Table
from trt_matrix.core.words import count

PARTS = frozenset({"Slice", "Split"})
"""Give out a part of the values: its range says little of the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivedRange:
    """A range that a table has not."""

    amax: float
    source: str
    """Tensor that it was taken from."""
    why: str


def shared_because(model: onnx.ModelProto, tensor: str, leader: str) -> str:
    """Returns why `tensor` has the scale of `leader` (`scale_groups`)."""
    order = {name: index for index, name in enumerate(graph.producers(model))}
    maker = graph.producers(model).get(leader)
    if maker is not None and order.get(tensor, -1) < order[leader]:
        return f"it goes into the {maker.op_type} that gives {leader!r}"
    return f"it carries the values of {leader!r}"


def with_derived(table: Table, derived: Mapping[str, DerivedRange]) -> Table:
    """Returns a table with the ranges that follow from its own."""
    amax = {tensor: derived_range.amax for tensor, derived_range in derived.items()}
    unusable = {name: why for name, why in table.unusable.items() if name not in derived}
    return replace(table, amax={**table.amax, **amax}, unusable=unusable)


def source_of(
    model: onnx.ModelProto, tensor: str, leader: str, derived: Mapping[str, DerivedRange]
) -> tuple[str, str]:
    """Returns the tensor that one without a range of its own has it from, and why."""
    if tensor in derived:
        return derived[tensor].source, derived[tensor].why
    return leader, shared_because(model, tensor, leader)


def completed(model: onnx.ModelProto, amax: Mapping[str, float]) -> dict[str, DerivedRange]:
    """Returns tensor of a canonical form → a range for it, of those that lead others (`scale_groups`) and have none."""
    leader = scale_groups(model)
    makers = graph.producers(model)
    derived_ranges: dict[str, DerivedRange] = {}

    def known(tensor: str) -> float | None:
        led = leader.get(tensor, tensor)
        if led in amax:
            return amax[led]
        return derived_ranges[led].amax if led in derived_ranges else amax.get(tensor)

    members: dict[str, list[str]] = {}
    for tensor, led in leader.items():
        if led not in amax:
            members.setdefault(led, []).append(tensor)
    # In the network's order: what a concatenation joins may itself have been derived.
    for tensor in leader:
        if tensor not in members:
            continue
        maker = makers.get(tensor)
        if maker is not None and maker.op_type == "Concat":
            joined = [name for name in joined_by(maker) if name in leader]
            ranges = {name: known(name) for name in joined}
            # An input that the concatenation alone reads follows it, and has its own range in the table.
            ranges |= {name: amax[name] for name in joined if name in amax}
            whole = {name: largest for name, largest in ranges.items() if largest is not None}
            if whole and len(whole) == len(joined) == len(joined_by(maker)):
                source = max(whole, key=lambda name: whole[name])
                derived_ranges[tensor] = DerivedRange(
                    amax=whole[source],
                    source=source,
                    why=f"the largest of the {count(len(whole), 'tensor')} that it joins",
                )
                continue
        carried = {
            name: amax[name]
            for name in members[tensor]
            if name in amax and (name not in makers or makers[name].op_type not in PARTS)
        }
        if carried:
            source = max(carried, key=lambda name: carried[name])
            before = maker is not None and source in maker.input and maker.op_type in MONOTONE
            derived_ranges[tensor] = DerivedRange(
                amax=carried[source],
                source=source,
                why=f"that of its input: {maker.op_type} keeps within it"
                if before and maker
                else "it has the same values",
            )
    return derived_ranges
