"""Random weights and images with the statistics of real ones, which can then stay at home; pure.

Of a tensor of weights these are kept: the mean and the deviation of each slice of its first axis
(an output channel of a convolution), and the shape of their distribution, as `QUANTILES` points.
Of images: the mean power spectrum over all axes, and the distribution of values.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from trt_matrix.core.network import graph

QUANTILES = 65
"""Points of a distribution: enough for its tails, too few to tell a weight."""

LARGE = 64
"""Elements from which on a constant is taken for weights, whoever reads it."""

WEIGHTED = frozenset(
    [
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "BatchNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "PRelu",
        "LSTM",
        "GRU",
        "RNN",
        "MatMulInteger",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    ]
)
"""Operators whose constants are weights, also small ones."""

Floats = npt.NDArray[np.float32]


def random_weights(model: onnx.ModelProto, seed: int) -> tuple[onnx.ModelProto, int]:
    """Returns the network with random weights, and how many tensors were replaced.

    Shapes, limits and scales of resizing stay: without them it would be another network.

    Raises:
        GraphError: it holds sparse weights.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    random = np.random.default_rng(seed)
    replaced = 0
    for tensor in list(_weights(result.graph)):
        drawn = _drawn(numpy_helper.to_array(tensor), random)
        tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
        replaced += 1
    return result, replaced


def random_images(images: Floats, count: int, seed: int) -> Floats:
    """Returns `count` images like `images`, (images, …); `seed` is that of the phases."""
    random = np.random.default_rng(seed)
    axes = tuple(range(1, images.ndim))
    power = np.mean(np.abs(np.fft.fftn(images, axes=axes)) ** 2, axis=0)
    levels = np.quantile(images, np.linspace(0, 1, QUANTILES))
    images_drawn = np.empty((count, *images.shape[1:]), np.float32)
    for image in images_drawn:
        noise = np.fft.fftn(random.standard_normal(image.shape))
        shaped = np.fft.ifftn(np.sqrt(power) * noise / np.maximum(np.abs(noise), 1e-30)).real
        ranks = np.argsort(np.argsort(shaped, axis=None)) / max(shaped.size - 1, 1)
        image[...] = np.interp(ranks, np.linspace(0, 1, QUANTILES), levels).reshape(image.shape)
    return images_drawn


def _weights(network: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yields the tensors that hold weights, those of inner graphs as well."""
    if network.sparse_initializer:
        message = "it holds sparse weights, for which nothing can stand in: leave out --no-weights"
        raise graph.GraphError(message)
    read = {name for node in network.node if node.op_type in WEIGHTED for name in node.input}
    # Weights and biases of networks that came quantised; what else it reads is their scale.
    read |= {node.input[0] for node in network.node if node.op_type == "DequantizeLinear"}
    for tensor in network.initializer:
        if _is_weight(tensor, tensor.name in read):
            yield tensor
    for node in network.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and _is_weight(
                attribute.t, bool(read & set(node.output))
            ):
                yield attribute.t
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _weights(inner)


def _is_weight(tensor: onnx.TensorProto, read: bool) -> bool:
    kinds = (
        onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
        onnx.TensorProto.INT8, onnx.TensorProto.UINT8,
    )  # fmt: skip
    if tensor.data_type == onnx.TensorProto.INT32:  # a bias, or sizes
        return read
    return tensor.data_type in kinds and (read or int(np.prod(tensor.dims)) >= LARGE)


def _drawn(values: npt.NDArray[np.generic], random: np.random.Generator) -> npt.NDArray[np.generic]:
    """Returns random values of the same shape, type and statistics."""
    rows = np.asarray(values, np.float64).reshape(len(values) if values.ndim > 1 else 1, -1)
    mean, deviation = rows.mean(axis=1, keepdims=True), rows.std(axis=1, keepdims=True)
    scale = np.where(deviation > 0, deviation, 1.0)
    points = np.linspace(0, 1, QUANTILES)
    levels = np.quantile((rows - mean) / scale, points)
    drawn = np.interp(random.random(rows.shape), points, levels)
    if values.ndim > 1 and rows.shape[1] > 1:
        drawn -= drawn.mean(axis=1, keepdims=True)
        spread = drawn.std(axis=1, keepdims=True)
        drawn /= np.where(spread > 0, spread, 1.0)
    weights = (drawn * deviation + mean).reshape(values.shape)
    if values.dtype.kind in "iu":
        weights = np.clip(np.rint(weights), rows.min(), rows.max())
    result: npt.NDArray[np.generic] = weights.astype(values.dtype)
    return result
