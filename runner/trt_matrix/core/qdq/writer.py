"""Writing Q/DQ nodes and quantised weights.

Every layer gets weights of its own, named after the node, even where the network shares them: the
names are how `executed` finds the layer again in the graph that an engine made of it.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import joined_by
from trt_matrix.core.qdq.options import PlacementOptions
from trt_matrix.core.qdq.weights import (
    Float32,
    QuantisedArray,
    channel_axis,
    quantise_bias,
    quantise_weight,
    scale_for_bias,
    weight_scale,
)


def weight_name(node: str) -> str:
    """Returns the initialiser that holds the quantised weight of `node`."""
    return f"{node}/weight"


SIGNED_ZERO = np.int8(0)
UNSIGNED_ZERO = np.uint8(128)
"""q + 128 of int8: QuantizeLinear adds it after rounding, and both types clamp at the same values."""


def names_made(layers: Iterable[str], tensors: Iterable[str]) -> Iterator[str]:
    """Yields every name that a writer gives a constant, of so many layers and activations."""
    for node in layers:
        for prefix in (weight_name(node), f"{node}/bias"):
            for suffix in ("", "_scale", "_zero_point", "_quantised", "_dequantised"):
                yield f"{prefix}{suffix}"
    for tensor in tensors:
        yield from (f"{tensor}/scale", f"{tensor}/zero_point")


class QdqWriter:
    """Makes the nodes and initialisers of one placement."""

    def __init__(
        self,
        values: Mapping[str, onnx.TensorProto],
        scales: Mapping[str, float],
        options: PlacementOptions,
    ) -> None:
        self.initialisers: list[onnx.TensorProto] = []
        self._values = values
        self._scales = scales
        self._options = options

    def activation_pair(
        self, tensor: str, *, as_head: bool = False
    ) -> tuple[onnx.NodeProto, onnx.NodeProto]:
        """Returns QuantizeLinear and DequantizeLinear for an activation: int8, or uint8 around 128.

        The pair reads `tensor`; with `as_head` it gives `tensor` out, and reads `tensor`/float.
        """
        scale = self._add(f"{tensor}/scale", np.asarray(self._scales[tensor], np.float32))
        zero_point = UNSIGNED_ZERO if self._options.unsigned_activations else SIGNED_ZERO
        zero = self._add(f"{tensor}/zero_point", np.asarray(zero_point))
        integers = f"{tensor}/quantised"
        source = f"{tensor}/float" if as_head else tensor
        values = tensor if as_head else f"{tensor}/dequantised"
        return (
            _quantize([source, scale, zero], integers, tensor),
            _dequantize([integers, scale, zero], values, tensor),
        )

    def quantise_parameters(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Rewires the constant inputs of a layer to quantised ones; returns the nodes it needs."""
        nodes: list[onnx.NodeProto] = []
        data = [name for name in joined_by(node) if name not in self._values]
        for index, name in enumerate(node.input[:2]):
            if name not in self._values:
                continue
            weight = numpy_helper.to_array(self._values[name]).astype(np.float32)
            per_channel = self._options.per_channel_weights and weight.ndim > 1
            axis = channel_axis(node, weight.ndim) if per_channel else None
            scale = weight_scale(weight, axis)
            bias = self._bias(node, data)
            if bias is not None:
                read_scale = self._scales[data[0]]
                scale = scale_for_bias(scale, weight, axis, bias, read_scale)
                nodes += self._rewire(node, 2, "bias", quantise_bias(bias, read_scale, scale))
            nodes += self._rewire(node, index, "weight", quantise_weight(weight, scale, axis))
        return nodes

    def _bias(self, node: onnx.NodeProto, data: list[str]) -> Float32 | None:
        """Returns the bias to quantise: a vector, one value an output channel."""
        if not self._options.int32_bias or len(data) != 1 or len(node.input) < 3:
            return None
        tensor = self._values.get(node.input[2])
        scaled = any(graph.attribute(node, name, 1.0) != 1.0 for name in ("alpha", "beta"))
        if tensor is None or tensor.data_type != TensorProto.FLOAT or scaled:
            return None
        bias = numpy_helper.to_array(tensor)
        weight = self._values.get(node.input[1])
        if weight is None or bias.ndim != 1 or not np.isfinite(bias).all():
            return None
        axis = channel_axis(node, len(weight.dims))
        return bias if bias.shape[0] == weight.dims[axis] else None

    def _rewire(
        self, node: onnx.NodeProto, index: int, role: str, quantised: QuantisedArray
    ) -> list[onnx.NodeProto]:
        prefix = weight_name(node.name) if role == "weight" else f"{node.name}/{role}"
        if self._options.fold_weights:
            node.input[index] = self._add(prefix, quantised.values())
            return []
        as_float = role == "weight" and self._options.float_weights
        source = self._add(prefix, quantised.values() if as_float else quantised.integers)
        integers = f"{prefix}_quantised" if as_float else source
        scale = self._add(f"{prefix}_scale", quantised.scale)
        zeros = np.zeros(quantised.scale.shape, quantised.integers.dtype)
        zero = self._add(f"{prefix}_zero_point", zeros)
        node.input[index] = f"{prefix}_dequantised"
        # Of what the integers stand for, so that the engine finds the very same integers.
        pair = [_quantize([source, scale, zero], integers, prefix)] if as_float else []
        pair.append(_dequantize([integers, scale, zero], node.input[index], prefix))
        if quantised.axis is not None:
            for made in pair:
                made.attribute.append(helper.make_attribute("axis", quantised.axis))
        return pair

    def _add(self, name: str, array: npt.NDArray[np.generic]) -> str:
        self.initialisers.append(numpy_helper.from_array(array, name))
        return name


def _quantize(inputs: list[str], output: str, of: str) -> onnx.NodeProto:
    return helper.make_node("QuantizeLinear", inputs, [output], name=f"{of}/Q")


def _dequantize(inputs: list[str], output: str, of: str) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", inputs, [output], name=f"{of}/DQ")
