"""Weights whose output channels are so unlike that one scale for all of them loses the small ones.

A static look at the network: with one scale a weight, a channel r times smaller than the largest one has
127 / r steps. That is nothing new to an engine that quantises per channel, and a cause of its own for those
that do not: NPUs, `quantisation: {weights: per_tensor}`.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from trt_matrix.core.manifest import WideWeight
from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.operators import joined_by
from trt_matrix.core.qdq.explicit import int8_layers
from trt_matrix.core.qdq.weights import channel_axis

WIDE = 50.0
"""Largest channel to the middle one, above which a weight is named: the middle channel keeps 2 steps of 127
then, less than 2 bits."""


def wide_weights(
    model: onnx.ModelProto, heads: Iterable[tuple[str, str]]
) -> tuple[WideWeight, ...]:
    """Returns the weights whose channels differ by more than `WIDE` times, the widest first.

    Of layers that stay in float whatever the table, none: their weights are not quantised.

    Raises:
        graph.GraphError: see `canonical.canonical`.
    """
    model = canonical(model)
    layers = int8_layers(model)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    cones = {head: set(graph.backward_cone(model, tensor)) for head, tensor in heads}
    weights = []
    for node in model.graph.node:
        if node.name not in layers:
            continue
        behind = tuple(head for head, cone in cones.items() if node.name in cone)
        for name in joined_by(node):
            tensor = values.get(name)
            if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
                continue
            spread, channel, channels = _spread(node, numpy_helper.to_array(tensor))
            if behind and spread > WIDE:
                weights.append(
                    WideWeight(
                        layer=node.name,
                        weight=name,
                        spread=spread,
                        channel=channel,
                        channels=channels,
                        heads=behind,
                    )
                )
    return tuple(sorted(weights, key=lambda weight: -weight.spread))


def _spread(node: onnx.NodeProto, weight: np.ndarray) -> tuple[float, int, int]:
    """Returns how far the largest channel stands out, which it is, and how many there are."""
    axis = channel_axis(node, weight.ndim)
    others = tuple(index for index in range(weight.ndim) if index != axis)
    amax = np.abs(weight).max(axis=others, initial=0.0).astype(np.float64)
    # A channel of zeros loses nothing, whatever the scale.
    alive = amax[amax > 0]
    if not len(alive) or not np.isfinite(alive).all():
        return 1.0, 0, len(amax)
    return float(alive.max() / np.median(alive)), int(amax.argmax()), len(amax)
