"""Where a Q/DQ network requantises because it joins tensors of several scales, and how to avoid it.

A concatenation copies integers only where all its inputs have its output's scale; an input with another one
is requantised, a kernel more in TensorRT. An addition of two quantised tensors can add integers only where
both have one scale. `unified` gives what is joined one scale, the largest: nothing is clipped that was not
before, and the tensors with a smaller range get coarser steps. What that costs is for a simulation to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import ADDS, joined_by


@dataclass(frozen=True, kw_only=True, slots=True)
class Requantisation:
    """One tensor that a node reads with another scale than it joins with."""

    node: str
    operator: str
    """`Concat` or `Add`."""
    tensor: str
    scale: float
    """Of the tensor."""
    other: float
    """Of a concatenation's output, or the larger one of an addition's branches."""


def requantisations(
    model: onnx.ModelProto, scales: Mapping[str, float]
) -> tuple[Requantisation, ...]:
    """Returns the tensors of a canonical form that are requantised with these scales, in the network's order."""
    return tuple(
        Requantisation(
            node=node.name,
            operator=node.op_type,
            tensor=tensor,
            scale=scales[tensor],
            other=target,
        )
        for node, joined, target in _joins(model, scales)
        for tensor in joined
        if scales[tensor] != target
    )


def unified(
    model: onnx.ModelProto, scales: Mapping[str, float], leader: Mapping[str, str]
) -> dict[str, float]:
    """Returns the scales with which nothing that is joined is requantised.

    Who shares a scale stays together: `leader` is activation → the tensor whose range it uses (`scale_groups`).
    """
    group = {tensor: leader[tensor] for tensor in scales}
    for node, joined, _ in _joins(model, scales):
        together = [*joined, node.output[0]] if node.op_type == "Concat" else joined
        merged = {group[tensor] for tensor in together}
        first = group[together[0]]
        group.update({tensor: first for tensor, leads in group.items() if leads in merged})
    largest: dict[str, float] = {}
    for tensor, leads in group.items():
        largest[leads] = max(scales[tensor], largest.get(leads, 0.0))
    return {tensor: largest[group[tensor]] for tensor in scales}


def _joins(
    model: onnx.ModelProto, scales: Mapping[str, float]
) -> list[tuple[onnx.NodeProto, list[str], float]]:
    """Returns nodes that join quantised tensors, those tensors, and the scale that they would need.

    An addition that is fused into the convolution before it reads one quantised branch only: its kernel
    scales that in passing, so there is nothing to requantise.
    """
    joins = []
    for node in model.graph.node:
        if node.domain not in graph.STANDARD_DOMAINS:
            continue
        joined = list(dict.fromkeys(name for name in joined_by(node) if name in scales))
        if node.op_type == "Concat" and node.output[0] in scales:
            joins.append((node, joined, scales[node.output[0]]))
        elif node.op_type in ADDS and len(joined) > 1:
            joins.append((node, joined, max(scales[name] for name in joined)))
    return joins
