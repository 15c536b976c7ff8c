"""Which operators rank or select by value, and what other operators do with the axis of the ranks.

Where a ranking decides which row stands where, two rows of nearly equal score change places by an
error that nobody would call one. The axis of the ranks is followed as far as shapes tell: where it is
summed away, the places of what comes out are fixed again.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from trt_matrix.core.network.graph import RANKING_PLUGINS, STANDARD_DOMAINS, TensorInfo, attribute
from trt_matrix.core.network.shapes import shape_of

RANKING = frozenset({"TopK", "NonMaxSuppression", "Unique"})
"""Give out rows in the order of their values, or only those that won, and where these came from."""

COUNTING = frozenset({"NonMaxSuppression", "NonZero", "Unique"})
"""Give out as many rows as there are, on the first axis or the last."""

CHOOSING = frozenset({"ArgMax", "ArgMin"})
"""Give out positions, each at a fixed place: they decide rows only where something is gathered by them."""

FINDING = frozenset({"NonZero"})
"""Give out the positions of what passed a test: one more or less moves all that follow."""

GATHERING = frozenset({"Gather", "GatherElements", "GatherND"})
SCATTERING = frozenset({"Scatter", "ScatterElements", "ScatterND"})

VALUELESS = frozenset({"Shape", "Size"})
"""What they give out depends on no value of their input."""

_ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Dropout", "Elu", "Equal", "Erf",
        "Exp", "Expand", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
        "Identity", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "Max", "Mean",
        "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu",
        "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Sqrt", "Sub", "Sum",
        "Tanh", "Where", "Xor",
    }
)  # fmt: skip
"""Broadcast from the last axis on."""

_SAME_AXES = frozenset(
    {
        "AveragePool", "BatchNormalization", "Concat", "CumSum", "DequantizeLinear",
        "GroupNormalization", "InstanceNormalization", "LayerNormalization", "MaxPool", "Pad",
        "QuantizeLinear", "ReverseSequence", "Slice", "Split", "Tile",
    }
)  # fmt: skip
"""Each axis of the data stays where it is."""

Constants = Callable[[str], Sequence[int] | None]
"""Tensor → its whole numbers; None where it is no constant, or not known."""

Known = Mapping[str, TensorInfo]

MIXED = -1
"""In place of an axis: it was summed away, so nothing that comes out stands where a rank put it."""


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether ONNX itself defines the operator."""
    return node.domain in STANDARD_DOMAINS and onnx.defs.has(node.op_type, node.domain)


def ranks(node: onnx.NodeProto) -> bool:
    """Whether rows come out of `node` in an order, or a choice, that values decide."""
    if is_standard(node):
        return node.op_type in RANKING | FINDING
    return RANKING_PLUGINS.search(node.op_type) is not None


def only_first(node: onnx.NodeProto, constant: Constants) -> bool:
    """Whether a TopK keeps one value: the largest, which moves as little as what it was taken of."""
    if node.op_type != "TopK":
        return False
    if len(node.input) < 2:
        return attribute(node, "k") == 1  # before opset 10
    return list(constant(node.input[1]) or ()) == [1]


def axis_after(
    node: onnx.NodeProto, place: int, axis: int | None, known: Known, constant: Constants
) -> int | None:
    """Returns where an axis of an input lies in the outputs of a node that ranks nothing itself.

    Input `place` has the axis, counted from 0; None where it is not known.

    Returns:
        The axis, None where it cannot be told, or `MIXED`.
    """
    shape, result = (shape_of(name, known) for name in (node.input[place], node.output[0]))
    if axis is None or shape is None or not is_standard(node):
        return None
    rank, rank_after = len(shape), None if result is None else len(result)
    kind = node.op_type
    if kind in _ELEMENTWISE:
        return None if rank_after is None else axis + rank_after - rank
    if kind in _SAME_AXES:
        return axis if place == 0 or kind == "Concat" else None
    if kind == "Transpose" and rank_after is not None:
        order = attribute(node, "perm") or list(reversed(range(rank)))
        return list(order).index(axis)  # type: ignore[call-overload, no-any-return]
    if kind in ("MatMul", "Gemm"):
        return _multiplied(node, place, axis, rank, rank_after, known)
    if kind in ("Conv", "ConvTranspose"):
        return _convolved(node, place, axis)
    if kind.startswith("Global") and place == 0:
        return axis if axis < 2 else MIXED
    if kind.startswith("Reduce") and place == 0:
        return _reduced(node, axis, rank, constant)
    if kind in ("Squeeze", "Unsqueeze") and place == 0:
        return _squeezed(node, axis, rank, rank_after, constant)
    if kind in ("Reshape", "Flatten") and place == 0 and result is not None:
        return _reshaped(shape, axis, result)
    return None


def rank_of(tensor: str, known: Known) -> int | None:
    """Returns how many axes a tensor has, None where nobody says."""
    shape = shape_of(tensor, known)
    return None if shape is None else len(shape)


def _axes(node: onnx.NodeProto, rank: int, constant: Constants) -> list[int] | None:
    """Returns the axes that a node names, from 0 on; None where it names none that are known."""
    stated = attribute(node, "axes")
    if stated is None and len(node.input) > 1 and node.input[1]:
        stated = constant(node.input[1])
    return None if stated is None else [int(axis) % rank for axis in stated]  # type: ignore[attr-defined]


def _reduced(node: onnx.NodeProto, axis: int, rank: int, constant: Constants) -> int | None:
    axes = _axes(node, rank, constant)
    if axes is None and len(node.input) > 1 and node.input[1]:
        return None
    if not axes:
        return axis if attribute(node, "noop_with_empty_axes", 0) else MIXED
    if axis in axes:
        return MIXED
    return axis if attribute(node, "keepdims", 1) else axis - sum(other < axis for other in axes)


def _squeezed(
    node: onnx.NodeProto, axis: int, rank: int, rank_after: int | None, constant: Constants
) -> int | None:
    if node.op_type == "Squeeze":
        axes = _axes(node, rank, constant)
        if axes is None or axis in axes:
            return None
        return axis - sum(other < axis for other in axes)
    axes = None if rank_after is None else _axes(node, rank_after, constant)
    if axes is None or rank_after is None:
        return None
    return [kept for kept in range(rank_after) if kept not in axes][axis]


def _reshaped(before: Sequence[object], axis: int, after: Sequence[object]) -> int | None:
    """Returns the axis that holds the same elements in the same order, None where there is none."""
    if list(before[: axis + 1]) == list(after[: axis + 1]) and before[axis] is not None:
        return axis
    leading = before[:axis]
    for index, size in enumerate(after):
        others = after[:index]
        sizes = (*leading, *others, size)
        if (
            all(isinstance(dim, int) for dim in sizes)
            and size == before[axis]
            and math.prod(leading) == math.prod(others)  # type: ignore[arg-type]
        ):
            return index
    return None


def _convolved(node: onnx.NodeProto, place: int, axis: int) -> int | None:
    if place != 0:
        return None
    if axis == 1:
        return MIXED if attribute(node, "group", 1) == 1 else 1
    return axis


def _multiplied(
    node: onnx.NodeProto, place: int, axis: int, rank: int, rank_after: int | None, known: Known
) -> int | None:
    if node.op_type == "Gemm":
        if place == 2:
            return None if rank_after is None else axis + rank_after - rank
        transposed = bool(attribute(node, "transA" if place == 0 else "transB", 0))
        summed = (1 if place == 0 else 0) ^ transposed
        return MIXED if axis == summed else place
    from_end = rank - axis
    if from_end == (1 if place == 0 else min(rank, 2)):
        return MIXED
    other = rank_of(node.input[1 - place], known)
    if rank_after is None or other is None:
        return None
    # A factor of one axis leaves no axis behind.
    lost = other == 1 and (place == 0 or from_end > 1)
    return rank_after - (from_end - lost)
