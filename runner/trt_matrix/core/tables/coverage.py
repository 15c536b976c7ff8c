"""How much of a table arrived where it was carried to: of each head, the tensors that got a scale.

TensorRT leaves layers without scales in float, and says nothing but a warning. A table that arrived in
part gives neither the error nor the simulation of that table, so what it says of versions is nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.records import Coverage


def enough(mapped: int, wanted: int, least: float) -> bool:
    """Returns whether so many of the wanted tensors have a scale that a table can be judged.

    `least` is `calibration.coverage`, 0 to 1.
    """
    # A quotient rounds as `least` was: 27 of 30 are 0.9.
    return wanted == 0 or mapped / wanted >= least


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorArrival:
    """What became of a table's tensors, as the engine tells."""

    unmapped: Collection[str] = ()
    """Tensors of the engine's network without a scale."""
    unknown: Collection[str] = ()
    """Tensors of the table that the engine's network does not have."""
    zero: Collection[str] = ()
    """Tensors whose scale is zero: no scale."""
    missing: Collection[str] = ()
    """Tensors that the engine complained of."""


def coverage(
    model: onnx.ModelProto, arrived: TensorArrival, heads: Sequence[tuple[str, str]]
) -> dict[str, Coverage]:
    """Returns head → how many of the tensors that it depends on got a scale.

    Raises:
        graph.GraphError: a head is no tensor of the network; or see `canonical`.
    """
    model = canonical(model)
    lacking = {*arrived.unmapped, *arrived.unknown, *arrived.missing}.difference(arrived.zero)
    every, coverages = tensors(model), {}
    for head, output in heads:
        cone = graph.tensors_of(model, graph.backward_cone(model, output))
        needed = [name for name in every if name in cone]
        unmapped = tuple(name for name in needed if name in lacking)
        zero = tuple(name for name in needed if name in arrived.zero)
        mapped = len(needed) - len(unmapped) - len(zero)
        coverages[head] = Coverage(mapped=mapped, unmapped=unmapped, zero=zero)
    return coverages
