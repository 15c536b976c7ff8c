"""What TensorRT's entropy calibrators do after the thresholds: a MaxPool's output has its input's range.

A MaxPool gives out values of its input and no others, so both need one scale; through a chain of them
the first one's input decides. Nothing else shares there: a concatenation, a resizing, a slice and an
addition have ranges of their own, and so has every tensor with the MinMax calibrator. Found from caches
that TensorRT 8.5 wrote (docs/concepts/calibration.md); of other poolings it is not known.
"""

from collections.abc import Collection, Mapping
from typing import TypeVar

import onnx

from trt_matrix.core.network import graph

ALGORITHMS = frozenset({"entropy"})
"""Algorithms of the job that are TensorRT's entropy calibrator."""

T = TypeVar("T")


def max_pools(model: onnx.ModelProto, tensors: Collection[str]) -> dict[str, str]:
    """Returns output of a MaxPool → the tensor whose range it has, of those that are calibrated.

    The model is in canonical form, its nodes in topological order.
    """
    sources: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "MaxPool" or node.domain not in graph.STANDARD_DOMAINS:
            continue
        source, output = node.input[0], node.output[0]  # a second output holds indices
        if source in tensors and output in tensors:
            sources[output] = sources.get(source, source)
    return sources


def take_inputs(values: Mapping[str, T], pools: Mapping[str, str]) -> dict[str, T]:
    """Returns `values` (tensor → any) in which each pool's output has what its input has.

    An output keeps its own where the input has none.
    """
    pooled = {output: values[source] for output, source in pools.items() if source in values}
    return {**values, **pooled}
