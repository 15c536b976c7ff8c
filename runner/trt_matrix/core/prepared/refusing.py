"""Why a network does not take the shapes that its inputs were given."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.graph import STANDARD_DOMAINS, Dim, TensorInfo
from trt_matrix.core.network.shapes import inferred
from trt_matrix.core.prepared.constants import fixed

_ANOTHER = "choose another size"


def refusal(before: onnx.ModelProto, after: onnx.ModelProto) -> str | None:
    """Returns why the network does not take its new shapes, and what to do; None where nothing speaks against them."""
    try:
        onnx.shape_inference.infer_shapes(after, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        try:
            onnx.shape_inference.infer_shapes(before, strict_mode=True, data_prop=True)
        except onnx.shape_inference.InferenceError:
            return None  # it says so of every shape: an operator that it does not know
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        return f"{first.partition('Inference error(s): ')[2] or first:.300}; {_ANOTHER}"
    return next(_wrong_channels(after), None) or next(_built_in(before, after), None)


def _built_in(before: onnx.ModelProto, after: onnx.ModelProto) -> Iterator[str]:
    """Yields what another size is built into, that shape inference lets pass."""
    try:
        known = inferred(after)
    except graph.GraphError:
        return  # whoever asks for shapes says so
    for node in after.graph.node:
        if node.op_type == "Reshape" and node.domain in STANDARD_DOMAINS:
            pair = [known[name].shape for name in (node.input[0], node.output[0]) if name in known]
            counts = {_elements(shape) for shape in pair} - {None}
            if len(counts) > 1:
                yield f"the sizes of Reshape {node.name or node.output[0]!a:.200} are built in; {_ANOTHER}"
    yield from _batch_built_in(before, after, known)


_BROADCASTING = frozenset({"Add", "Concat", "Div", "Expand", "Max", "Min", "Mul", "Pow", "PRelu",
                           "Reshape", "Resize", "Sub", "Sum", "Tile", "Upsample", "Where"})  # fmt: skip
"""Give a tensor of one image the batch of another that they read, or that is written into them."""


def _batch_built_in(
    before: onnx.ModelProto, after: onnx.ModelProto, known: Mapping[str, TensorInfo]
) -> Iterator[str]:
    """Yields outputs that keep the batch that tracing left, though one image goes in.

    That an output's first size is the same number says nothing: it may be 4 sides of boxes, or channels. So a node
    is looked for, before it, that reads a tensor of one image, formerly of the batch, and gives out the batch still.
    """
    old = {fixed(tensor.shape[0]) for tensor in graph.inputs(before) if tensor.shape} - {None, 1}
    if not old:
        return
    try:
        formerly = inferred(before)
    except graph.GraphError:
        return

    makers = graph.producers(after)
    firsts, former = _firsts(known), _firsts(formerly)
    for output in graph.outputs(after):
        batch = firsts.get(output.name)
        if batch not in old:
            continue
        kept = {name for name, size in firsts.items() if size == batch}
        for node in _behind(makers, output.name, kept):
            reads_batch = any(
                firsts.get(name) == 1 and former.get(name) == batch for name in node.input
            )
            if reads_batch and node.op_type in _BROADCASTING and node.domain in STANDARD_DOMAINS:
                called = node.name or node.output[0]
                yield (
                    f"a batch of {batch} is built in: {node.op_type} {called!a:.200} makes it of one image, "
                    f"output {output.name!a:.200} keeps it; export the network with a batch of 1, or an open one"
                )
                break


def _firsts(known: Mapping[str, TensorInfo]) -> Mapping[str, Dim]:
    """Returns tensor → its first size."""
    return {name: tensor.shape[0] for name, tensor in known.items() if tensor.shape}


def _behind(
    makers: Mapping[str, onnx.NodeProto], tensor: str, followed: Collection[str]
) -> Iterator[onnx.NodeProto]:
    """Yields the nodes that a tensor is made by, as far back as there are tensors of `followed`."""
    waiting, seen = [tensor], {tensor}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        yield node
        new = [name for name in node.input if name not in seen and name in followed]
        seen.update(new)
        waiting += new


def _elements(shape: Sequence[Dim] | None) -> int | None:
    sizes = [size for size in shape or () if isinstance(size, int)]
    return math.prod(sizes) if shape is not None and len(sizes) == len(shape) else None


def _wrong_channels(model: onnx.ModelProto) -> Iterator[str]:
    """Yields the convolutions that take another number of channels than the input has: inference lets that pass."""
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    sizes = {info.name: info.shape or () for info in graph.inputs(model)}
    for node in model.graph.node:
        if node.op_type != "Conv" or node.input[0] not in sizes or node.input[1] not in weights:
            continue
        group = graph.attribute(node, "group", 1)
        wanted = weights[node.input[1]][1] * (group if isinstance(group, int) else 1)
        if sizes[node.input[0]][1:2] != (wanted,):
            yield f"the convolution {node.name or node.output[0]!a:.200} takes {wanted} channels; {_ANOTHER}"
