"""Operators on integers → the float operators that they stand for: QLinear…, …Integer, Dynamic…."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.shipped.scales import Array, Scale, dequantised
from trt_matrix.core.shipped.stripper import Handler, LiftedTensor, Stripper

OUTPUT_SCALES = {
    "QGemm": 7,
    "QLinearAdd": 6,
    "QLinearAveragePool": 3,
    "QLinearConcat": 0,
    "QLinearConv": 6,
    "QLinearGlobalAveragePool": 3,
    "QLinearLeakyRelu": 3,
    "QLinearMatMul": 6,
    "QLinearMul": 6,
    "QLinearSigmoid": 3,
    "QLinearSoftmax": 3,
}
"""Operator on integers → place of its output's scale among its inputs; the zero point's is the next."""

DYNAMIC = "its scale is made of every image anew"


@dataclass(frozen=True, slots=True)
class Sum:
    """What ConvInteger or MatMulInteger gives: to be multiplied by the scales of its inputs."""

    node: onnx.NodeProto
    data: str
    """Float tensor."""
    other: str | None
    """A second float tensor; None where the weight is constant."""
    weight: Array | None
    """(integers − zero point) as float64."""
    awaited: tuple[str, ...]
    """Tensors with the scales of what the network computes."""
    factors: tuple[str, ...] = ()
    """Tensors that it was multiplied by so far."""


def _conv(strip: Stripper, node: onnx.NodeProto) -> None:
    """(x, x scale, x zero, w, w scale, w zero, y scale, y zero, bias): the bias has scale x · w."""
    data, weight = strip.scale(node, 1, 2), strip.scale(node, 4, 5)
    inputs = [strip.float_of(node, 0, data), strip.float_of(node, 3, weight)]
    inputs += _bias(strip, node, 8, data, weight, 1.0)
    _with_output(strip, node, "Conv", inputs)


def _gemm(strip: Stripper, node: onnx.NodeProto) -> None:
    """(a, scale, zero, b, scale, zero, c, y scale, y zero): float where there is no y scale."""
    data, weight = strip.scale(node, 1, 2), strip.scale(node, 4, 5)
    axis = 0 if graph.attribute(node, "transB", 0) else 1
    inputs = [strip.float_of(node, 0, data), strip.float_of(node, 3, weight, axis)]
    alpha = graph.attribute(node, "alpha", 1.0)
    assert isinstance(alpha, float)  # noqa: S101 - the checker has seen to it
    inputs += _bias(strip, node, 6, data, weight, alpha)
    output = OUTPUT_SCALES[node.op_type]
    if len(node.input) > output and node.input[output]:
        _with_output(strip, node, "Gemm", inputs)
    else:
        strip.emit(node, "Gemm", inputs, node.output[0])


def _bias(
    strip: Stripper, node: onnx.NodeProto, index: int, data: Scale, weight: Scale, factor: float
) -> list[str]:
    if len(node.input) <= index or not node.input[index]:
        return []
    if data.scale is None or weight.scale is None:
        raise strip.refuse(node, "the scale of its bias is computed by the network")
    scale = Scale(
        names=("", ""),
        scale=np.asarray(data.scale * weight.scale * np.float32(factor)).reshape(-1),
        zero=None,
        kind="int32",
    )
    value = strip.value(node.input[index])
    if value is None:
        raise strip.refuse(node, "its bias is computed by the network")
    bias = dequantised(value, scale, 0, 0, node.name)
    return [strip.constant(f"{node.output[0]}/bias", bias)]


def _matmul(strip: Stripper, node: onnx.NodeProto) -> None:
    data, weight = strip.scale(node, 1, 2), strip.scale(node, 4, 5)
    inputs = [strip.float_of(node, 0, data), strip.float_of(node, 3, weight, -1)]
    _with_output(strip, node, "MatMul", inputs)


def _binary(operator: str) -> Handler:
    """(a, scale, zero, b, scale, zero, c scale, c zero)."""

    def handler(strip: Stripper, node: onnx.NodeProto) -> None:
        _with_output(strip, node, operator, _floats(strip, node, (0, 3)))

    return handler


def _unary(operator: str) -> Handler:
    """(x, scale, zero, y scale, y zero)."""

    def handler(strip: Stripper, node: onnx.NodeProto) -> None:
        if graph.attribute(node, "channels_last", 0):
            raise strip.refuse(node, "it has its channels last, which its float operator cannot")
        if operator == "Softmax" and (graph.attribute(node, "opset", 0), strip.opset >= 13) not in (
            (13, True), (11, False), (9, False),
        ):  # fmt: skip
            raise strip.refuse(node, "it has the rules of another opset than the network")
        inputs = _floats(strip, node, (0,))
        _with_output(strip, node, operator, inputs, channels_last=None, opset=None)

    return handler


def _concat(strip: Stripper, node: onnx.NodeProto) -> None:
    """(y scale, y zero, x, scale, zero, x, scale, zero, …)."""
    _with_output(strip, node, "Concat", _floats(strip, node, range(2, len(node.input), 3)))


def _floats(strip: Stripper, node: onnx.NodeProto, places: Iterable[int]) -> list[str]:
    """Returns the float tensors of the inputs at these places, each with scale and zero point behind it."""
    return [strip.float_of(node, at, strip.scale(node, at + 1, at + 2)) for at in places]


def _with_output(
    strip: Stripper, node: onnx.NodeProto, operator: str, inputs: list[str], **changed: object
) -> None:
    """Adds the float operator with its output."""
    index = OUTPUT_SCALES[node.op_type]
    scale = strip.scale(node, index, index + 1)
    written = strip.lift_output(node, scale)
    strip.emit(node, operator, inputs, written, **changed)
    strip.after_output(node, written, scale)


# Dynamic


def _dynamic_quantize(strip: Stripper, node: onnx.NodeProto) -> None:
    source = strip.alias.get(node.input[0], node.input[0])
    names = (node.output[1], node.output[2])
    scale = Scale(names=names, scale=None, zero=None, kind="uint8")
    strip.lifted[node.output[0]] = LiftedTensor(name=source, scale=scale)
    strip.unusable.setdefault(source, DYNAMIC)


def _integer_sum(strip: Stripper, node: onnx.NodeProto) -> None:
    """(x, w, x zero, w zero) → int32."""
    first = strip.lifted.get(node.input[0])
    if first is None:
        raise strip.refuse(node, f"reads {node.input[0]!r}, integers that nothing quantised")
    zero = node.input[2] if len(node.input) > 2 else ""
    if zero != first.scale.names[1] and not _alike(strip, zero, first.scale.names[1]):
        raise strip.refuse(node, "its zero point is not that of its input")
    awaited, second = (first.scale.names[0],), strip.lifted.get(node.input[1])
    if second is not None:
        sum_ = Sum(node, first.name, second.name, None, (*awaited, second.scale.names[0]))
    else:
        sum_ = Sum(node, first.name, None, _integers(strip, node), awaited)
    strip.unfinished[node.output[0]] = sum_


def _alike(strip: Stripper, one: str, other: str) -> bool:
    points = [strip.value(name) if name else np.zeros(1) for name in (one, other)]
    flat = [point.ravel() for point in points if point is not None]
    return len(flat) == len(points) and bool(np.array_equal(flat[0], flat[1]))


def _integers(strip: Stripper, node: onnx.NodeProto) -> Array:
    """Returns a constant weight, the second input, less its zero point, the fourth."""
    zero = node.input[3] if len(node.input) > 3 else ""
    point = strip.value(zero) if zero else None
    unit = Scale(names=("", zero), scale=np.ones((), np.float32), zero=point, kind="uint8")
    value = strip.value(node.input[1])
    if value is None:
        raise strip.refuse(node, "its weight is computed by the network, and not from floats")
    strip.rounded += 1
    axis = 0 if node.op_type == "ConvInteger" else -1
    return dequantised(value, unit, axis, 0, node.name).astype(np.float64)


def _unfinished(strip: Stripper, node: onnx.NodeProto) -> None:
    """A node that reads a sum of integers: Cast, or Mul by its scales."""
    (index, sum_), *more = [
        (index, strip.unfinished[name])
        for index, name in enumerate(node.input)
        if name in strip.unfinished
    ]
    assert isinstance(sum_, Sum)  # noqa: S101 - nothing else is put there
    if node.op_type == "Cast" and graph.attribute(node, "to") == onnx.TensorProto.FLOAT:
        strip.unfinished[node.output[0]] = sum_
        return
    if node.op_type != "Mul" or more:
        raise strip.refuse(node, f"reads the integers of {sum_.node.name!r} before they are scaled")
    factors = (*sum_.factors, *_factors(strip, node.input[1 - index]))
    if not set(sum_.awaited) <= set(factors):
        strip.unfinished[node.output[0]] = replace(sum_, factors=factors)
        return
    left = list(factors)
    for name in sum_.awaited:
        left.remove(name)
    _finish(strip, node, sum_, left)


def _factors(strip: Stripper, name: str) -> Iterable[str]:
    """Yields the tensors that `name` is the product of."""
    maker = strip.makers.get(name)
    if maker is not None and maker.op_type == "Mul":
        for factor in maker.input:
            yield from _factors(strip, factor)
    else:
        yield name


def _finish(strip: Stripper, mul: onnx.NodeProto, sum_: Sum, factors: list[str]) -> None:
    """Adds the float operator in place of the last Mul."""
    node, output = sum_.node, mul.output[0]
    operator = "Conv" if node.op_type == "ConvInteger" else "MatMul"
    if sum_.weight is None:
        if factors or sum_.other is None:
            raise strip.refuse(mul, "multiplies by more than the scales")
        strip.emit(node, operator, [sum_.data, sum_.other], output)
        return
    weight = sum_.weight
    for name in factors:
        value = strip.value(name)
        if value is None:
            raise strip.refuse(mul, f"multiplies by {name!r}, which is no constant scale")
        weight = weight * _shaped(strip, mul, operator, value, weight)
    scaled = strip.constant(f"{output}/weight", weight.astype(np.float32))
    strip.emit(node, operator, [sum_.data, scaled], output)


def _shaped(
    strip: Stripper, mul: onnx.NodeProto, operator: str, value: Array, weight: Array
) -> Array:
    """Returns a factor of the output as a factor of the weight: one, or one an output channel."""
    exact: Array = value.astype(np.float64)
    if exact.size == 1:
        return exact.reshape(())
    if operator == "MatMul" and exact.shape[-1] == exact.size == weight.shape[-1]:
        return exact.reshape(-1)
    spatial = weight.ndim - 2
    aligned = exact.ndim > spatial and exact.shape[-1 - spatial] == exact.size
    if operator == "Conv" and aligned and exact.size == weight.shape[0]:
        return exact.reshape(-1, *[1] * (weight.ndim - 1))
    raise strip.refuse(mul, f"multiplies by a scale of shape {value.shape}, no one of its channels")


def _matmul_to_float(strip: Stripper, node: onnx.NodeProto) -> None:
    """(a, b, a scale, b scale, a zero, b zero, bias) → float."""
    inputs = [
        strip.float_of(node, 0, strip.scale(node, 2, 4)),
        strip.float_of(node, 1, strip.scale(node, 3, 5), -1),
    ]
    _plus_bias(strip, node, inputs, 6)


def _dynamic_matmul(strip: Stripper, node: onnx.NodeProto) -> None:
    """(float a, b, b scale, b zero, bias) → float."""
    source = strip.alias.get(node.input[0], node.input[0])
    strip.unusable.setdefault(source, DYNAMIC)
    inputs = [source, strip.float_of(node, 1, strip.scale(node, 2, 3), -1)]
    _plus_bias(strip, node, inputs, 4)


def _plus_bias(strip: Stripper, node: onnx.NodeProto, inputs: list[str], index: int) -> None:
    bias = node.input[index] if len(node.input) > index else ""
    product = f"{node.output[0]}/product" if bias else node.output[0]
    strip.emit(node, "MatMul", inputs, product)
    if bias:
        add = onnx.NodeProto(name=f"{node.name}/bias")
        strip.emit(add, "Add", [product, strip.alias.get(bias, bias)], node.output[0])


HANDLERS: dict[str, Handler] = {
    "ConvInteger": _integer_sum,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulInteger": _integer_sum,
    "MatMulIntegerToFloat": _matmul_to_float,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearMatMul": _matmul,
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _unary("Softmax"),
    "unfinished": _unfinished,
}
"""Operator → what takes it out; `unfinished`: nodes of other operators that read its sums."""
