"""What TensorRT made of the network's layers: each head's integer share, from layers.json.

An engine layer is told with the tensors that its parts give out in the network
(`job.protocol.LAYER_KEYS`): names of ONNX tensors in every version, where names of layers change.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx

from trt_matrix.core.layers.executed import OTHERS, of_kinds
from trt_matrix.core.network import graph, shapes
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.records import IntegerShare

INT8 = "int8"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLayer:
    """A layer of TensorRT's engine."""

    tensors: tuple[str, ...]
    """What its parts give out in the network, before fusion."""
    precision: str | None
    """That it computes in; None where that was not told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTime:
    """What one layer of an engine took, in runs that were profiled."""

    name: str
    """As the engine calls it."""
    tensors: tuple[str, ...]
    """As an `EngineLayer`'s."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTimes:
    """What all layers of one engine took: medians over its runs."""

    runs: int
    layers: tuple[LayerTime, ...]


def engine_share(
    layers: Sequence[EngineLayer],
    original: onnx.ModelProto,
    heads: Collection[str],
    *,
    quantised: bool,
) -> dict[str, IntegerShare]:
    """Returns head → what of it ran on integers, as `executed.executed_share` does.

    A head is left out where one of its layers was compiled with others as a whole, or was told
    without a precision: its share is not known, and a float one must not be made of that.

    Layers in float are named where the network was to run in int8 (`quantised`).

    Raises:
        graph.GraphError: a head is no tensor of the network.
    """
    original = canonical(original)
    counts = shapes.macs(original)
    makers = graph.producers(original)
    precisions = ((tensor, layer.precision) for layer in layers for tensor in layer.tensors)
    ran = {makers[tensor].name: precision for tensor, precision in precisions if tensor in makers}
    kinds = {node.name: node.op_type for node in original.graph.node if node.op_type in OTHERS}
    result = {}
    for head in heads:
        cone = graph.backward_cone(original, head)
        weighted = [node for node in cone if node in counts]
        if any(ran.get(node) is None for node in weighted):
            continue
        others = Counter(
            (kinds[node], ran[node] == INT8) for node in cone if node in kinds and ran.get(node)
        )
        in_float = [node for node in weighted if ran[node] != INT8]
        result[head] = IntegerShare(
            integer_macs=sum(counts[node] for node in weighted if ran[node] == INT8),
            total_macs=sum(counts[node] for node in weighted),
            float_layers=tuple(in_float) if quantised else (),
            integer_operators=of_kinds(others, integer=True),
            float_operators=of_kinds(others, integer=False),
        )
    return result
