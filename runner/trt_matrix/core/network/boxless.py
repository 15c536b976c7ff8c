"""Whether outputs can hold boxes at all: what one vector for the whole image, or a map of the image itself, cannot.

A detector must never be taken for a classifier or a segmenter, so only what leaves no room for boxes counts; of
everything else, such as a flat output straight behind a map (YOLO's first version has one), nothing is said.
"""

from collections.abc import Mapping, Sequence

import onnx
from onnx import numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import constant_of
from trt_matrix.core.network.operators import RESHAPING
from trt_matrix.core.network.ordering import every_node
from trt_matrix.core.network.ranking_operators import RANKING
from trt_matrix.core.network.shapes import inferred, shape_of

OF_BOXES = RANKING | {"RoiAlign", "MaxRoiPool"}
"""Operators that only networks with boxes have, or may have."""
BOX = range(4, 7)
"""Numbers of one box: corners, then perhaps a score and a class."""
CORNERS = 4
"""Numbers that say where a box is."""
LEAST_OF_A_PLACE = 3
"""Numbers that a box takes where its centre is a place of a map: a score, its width and its height (CenterNet)."""
STRIDES = (1, 2, 4)
"""Of maps that segment or tell depth; detectors have 4 and above."""

A_MAP = "a map"
"""What a reason says of an output with a place for each part of the image."""

_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"})
_REDUCTIONS = frozenset({"ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "ReduceSumSquare"})
_OF_FIRST = frozenset(
    {
        "Cast", "Clip", "Dropout", "Elu", "Erf", "Expand", "Flatten", "Gelu", "HardSigmoid", "HardSwish", "Identity",
        "LeakyRelu", "LogSoftmax", "LpNormalization", "Neg", "PRelu", "Pow", "Relu", "Reshape", "Sigmoid", "Softmax",
        "Sqrt", "Squeeze", "Tanh", "Transpose", "Unsqueeze", "Conv", "Gemm", "BatchNormalization",
        "LayerNormalization", *_REDUCTIONS,
    }
)  # fmt: skip
"""Of a vector they make another one; their other inputs are parameters."""
_OF_ALL = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "Max"})
_CARRY = RESHAPING | {"Cast", "Dropout"}
_KEEP_AXES = frozenset(
    {
        "Add", "Cast", "Clip", "Concat", "Div", "Dropout", "Elu", "Erf", "Gelu", "HardSwish", "Identity",
        "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sub", "Tanh",
    }
)  # fmt: skip
"""Behind them an axis is of what it was of."""
_SHARES = frozenset({"Softmax", "LogSoftmax"})


def boxless(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...] | None], image: tuple[int, int]
) -> str | None:
    """Returns why no output can hold boxes, to be read after "makes no boxes, since"; None where one may.

    `shapes` is output → shape for one image, `image` the height and width of the input.
    """
    if not shapes or any(_of_boxes(node) for node in every_node(model.graph)):
        return None
    looked = _Outputs(model)
    reasons = []
    for name, shape in shapes.items():
        why = looked.why(name, shape, image, alone=len(shapes) == 1) if shape else None
        if why is None:
            return None
        reasons.append(why)
    if _parts_of_boxes([[size for size in shape or () if size != 1] for shape in shapes.values()]):
        return None
    kinds = list(dict.fromkeys(reasons))
    whose = "its output is" if len(shapes) == 1 else "each of its outputs is"
    return f"{whose} {' or '.join(kinds)}"


def _of_boxes(node: onnx.NodeProto) -> bool:
    """Whether it is of boxes, or nobody knows what it does."""
    foreign = node.domain not in graph.STANDARD_DOMAINS
    return foreign or node.op_type in OF_BOXES or graph.is_plugin_name(node.op_type)


def _parts_of_boxes(sizes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these sizes, without those that are 1, may be a score and what a box takes beside it."""
    if len(sizes) == 1:
        return False
    # The second stage of Faster R-CNN, run on a crop: four numbers for each class, perhaps not for the background.
    vectors = [size[0] for size in sizes if len(size) == 1]
    if any(a == CORNERS * (b - less) for a in vectors for b in vectors for less in (0, 1)):
        return True
    # CenterNet's kind at the image's own size: width and height, offsets, or distances to four sides.
    maps = [size for size in sizes if len(size) > 1]
    pairs = [size for size in maps if len(size) > 2 and {2, CORNERS} & {size[0], size[-1]}]
    return len(maps) > 1 and bool(pairs)


class _Outputs:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._made = graph.producers(model)
        self._known = inferred(model)
        self._values = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if (value := constant_of(node)) is not None:
                self._values[node.output[0]] = value

    def why(
        self, name: str, shape: tuple[int, ...], image: tuple[int, int], *, alone: bool
    ) -> str | None:
        sizes = [size for size in shape if size != 1]
        if len(sizes) <= 1:
            return self._why_vector(name, sizes[0] if sizes else 1)
        return self._why_map(name, shape, image, alone=alone)

    def _why_vector(self, name: str, numbers: int) -> str | None:
        shares = self._ends_in_shares(name, numbers=numbers)
        pool = self._pool(name)
        if shares and numbers > 1:
            return f"{numbers} shares of one (Softmax) for the whole image"
        if pool is None or numbers in BOX:
            return None
        return f"one vector for the whole image, whose places {pool.op_type} merges"

    def _why_map(
        self, name: str, shape: tuple[int, ...], image: tuple[int, int], *, alone: bool
    ) -> str | None:
        axis: int | None
        match shape:
            case (channels, rows, columns) if stride := _stride((rows, columns), image):
                axis = 1
            case (rows, columns, channels) if stride := _stride((rows, columns), image):
                axis = 3
            case (rows, columns) if _stride((rows, columns), image) == 1:
                channels, stride, axis = 1, 1, None
            case _:
                return None
        if stride == 1:
            return f"{A_MAP} with a value for every pixel of the input"
        if not alone:  # together they may hold what a box takes
            return None
        if channels < LEAST_OF_A_PLACE or self._ends_in_shares(name, axis):
            return f"{A_MAP} of {channels} {'number' if channels == 1 else 'numbers'} for every {stride} × {stride} pixels of the input"
        return None

    def _ends_in_shares(
        self, name: str, axis: int | None = None, *, numbers: int | None = None
    ) -> bool:
        """Whether it ends in a softmax, of this axis where it is a map's, of all `numbers` where it is a vector's."""
        node = self._made.get(name)
        while node is not None and node.op_type in _CARRY and axis is None:
            node = self._made.get(node.input[0])
        if node is None or node.op_type not in _SHARES:
            return False
        if axis is None:
            return self._vector(node.output[0], numbers)
        given = graph.attribute(node, "axis", -1)
        return given in (axis, axis - 4)

    def _vector(self, name: str, numbers: int | None) -> bool:
        """Whether it is one vector of so many numbers; SSD's rows, (8732, 21), are laid flat behind their shares."""
        sizes = shape_of(name, self._known)
        return sizes is not None and [size for size in sizes[1:] if size != 1] == [numbers]

    def _pool(self, name: str) -> onnx.NodeProto | None:
        """Returns what merged all places of the image before this tensor; None where one may still be in it."""
        merging: onnx.NodeProto | None = None
        waiting, seen = [name], set[str]()
        while waiting:
            tensor = waiting.pop()
            if tensor in seen or tensor in self._values:
                continue
            seen.add(tensor)
            node = self._made.get(tensor)
            if node is None:
                return None
            if self._merges(node):
                merging = merging or node
            elif node.op_type in _OF_ALL:
                waiting += node.input
            elif node.op_type in _OF_FIRST:
                waiting.append(node.input[0])
            else:
                return None
        return merging

    def _merges(self, node: onnx.NodeProto) -> bool:
        """Whether it makes one vector of a map, or of tokens."""
        if node.op_type in _POOLS:
            return True
        shape = shape_of(node.input[0], self._known)
        if node.op_type in ("AveragePool", "MaxPool"):
            pooled = shape_of(node.output[0], self._known)
            return pooled is not None and len(pooled) == 4 and pooled[2:] == (1, 1)
        if shape is None or len(shape) not in (3, 4):
            return False
        if node.op_type == "Gather":
            # One token of all stands for the image.
            index = self._values.get(node.input[1])
            single = index is not None and numpy_helper.to_array(index).size == 1
            axis = graph.attribute(node, "axis", 0)
            places = self._places(node.input[0]) if len(shape) == 3 and single else None
            return places is not None and axis in (places, places - 3)
        if node.op_type not in _REDUCTIONS:
            return False
        axes = {axis % len(shape) for axis in self._axes(node)}
        if len(shape) == 4:
            return axes in ({2, 3}, {1, 2})
        # Over channels it would keep one number of each place: YOLO's best class, a norm.
        return len(axes) == 1 and axes == {self._places(node.input[0])}

    def _places(self, name: str) -> int | None:
        """Returns which axis, 1 or 2, of a tensor of three counts places, not channels; None where nothing tells."""
        turned = False
        while (node := self._made.get(name)) is not None:
            axis = self._places_behind(node)
            if axis:
                return 3 - axis if turned else axis
            if node.op_type == "Transpose" and graph.attribute(node, "perm", None) == [0, 2, 1]:
                turned = not turned
            elif node.op_type not in _KEEP_AXES:
                return None
            name = next((read for read in node.input if read not in self._values), "")
        return None

    def _places_behind(self, node: onnx.NodeProto) -> int | None:
        """Returns that axis of an operator's output where the operator itself tells."""
        sizes = shape_of(node.output[0], self._known)
        if node.op_type == "LayerNormalization":
            return 1
        if node.op_type == "MatMul":  # a layer reads the last axis
            return 1 if node.input[1] in self._values else None
        if node.op_type == "Reshape":
            before = shape_of(node.input[0], self._known)
            if not before or not sizes or (len(before), len(sizes)) != (4, 3):
                return None
            if sizes[1] == before[1]:  # channels first, a map's rows laid one behind another
                return 2
            return 1 if sizes[2] == before[3] else None
        if node.op_type not in ("Add", "Mul") or not sizes:
            return None
        # A bias, or a normalisation's weights, one for each channel.
        of = [list(self._values[name].dims) for name in node.input if name in self._values]
        return 1 if [sizes[-1]] in of and sizes[-1] != 1 else None

    def _axes(self, node: onnx.NodeProto) -> list[int]:
        given = graph.attribute(node, "axes", None)
        if given is None and len(node.input) > 1 and (value := self._values.get(node.input[1])):
            given = numpy_helper.to_array(value).ravel().tolist()
        return list(map(int, given)) if isinstance(given, list | tuple) else []


def _stride(size: tuple[int, int], image: tuple[int, int]) -> int | None:
    fitting = (stride for stride in STRIDES if (size[0] * stride, size[1] * stride) == image)
    return next(fitting, None)
