"""Several inputs that differ from sample to sample → one float32 input that holds them one after another.

A job feeds one tensor. What it holds is cut apart again at the network's begin, and cast to what each input takes, so
that every engine runs the same network and only float32 travels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network.graph import TensorInfo
from trt_matrix.core.network.image_input import MOST_CHANNELS, ImageInput, SampleInput
from trt_matrix.core.network.ordering import reads

NAME = "samples"
"""Of the one input, where the network has no tensor of that name."""
_SLICED_BY_INPUTS = 10
"""Opset from which Slice takes starts and ends as inputs."""
_IMAGE_RANK = 3


@dataclass(frozen=True, slots=True)
class InputPart:
    """An input of the network."""

    name: str
    shape: tuple[int, ...]
    """Of one sample, without a batch."""
    dtype: str
    """As numpy names it."""
    batched: bool = True
    """Whether the network's input has a batch in front; a state may have none."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def parts_of(
    infos: Sequence[TensorInfo], shapes: Sequence[tuple[int, ...]], batch: int
) -> tuple[InputPart, ...]:
    """Returns the inputs as one sample brings them.

    Args:
        infos: The inputs.
        shapes: Of each, as pinned.
        batch: Samples at once.
    """
    return tuple(
        InputPart(info.name, shape[1:], info.dtype)
        if shape[:1] == (batch,)
        else InputPart(info.name, shape, info.dtype, batched=False)
        for info, shape in zip(infos, shapes, strict=True)
    )


def pack(model: onnx.ModelProto, parts: Sequence[InputPart], batch: int) -> None:
    """Puts one float32 input of [batch, elements of all parts] in place of the inputs.

    Args:
        model: It is changed.
        parts: All of its inputs, in the order in which they are fed.
        batch: Samples at once.
    """
    graph = model.graph
    taken = {tensor for node in graph.node for tensor in (*reads(node), *node.output)}
    taken.update(tensor.name for tensor in graph.initializer)
    taken.update(value_info_proto.name for value_info_proto in (*graph.output, *graph.input))
    name = _free(NAME, taken)
    before = {value_info_proto.name: value_info_proto for value_info_proto in graph.input}
    opset = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    nodes = []
    begin = 0
    for part in parts:
        value = before[part.name].type.tensor_type
        sizes = [dimension.dim_value for dimension in value.shape.dim]
        cut, shaped = (_free(f"{part.name}/{what}", taken) for what in ("cut", "shaped"))
        nodes += _slice(graph, name, cut, (begin, begin + part.elements), opset, taken)
        shape = _constant(graph, f"{shaped}/shape", sizes, taken)
        nodes.append(helper.make_node("Reshape", [cut, shape], [shaped], name=shaped))
        # A Cast also where it changes nothing: what only moves values would give all parts one scale.
        cast = _free(f"{part.name}/cast", taken)
        nodes.append(helper.make_node("Cast", [shaped], [part.name], name=cast, to=value.elem_type))
        begin += part.elements
    kept = [
        value_info_proto
        for value_info_proto in graph.input
        if value_info_proto.name not in {part.name for part in parts}
    ]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, begin]))
    graph.input.extend(kept)
    for node in reversed(nodes):
        graph.node.insert(0, node)


def packed_input(name: str, parts: Sequence[InputPart]) -> ImageInput | SampleInput:
    """Returns what a network takes whose inputs were packed: with an image where one of them may be one.

    Args:
        name: Of its one input.
        parts: What it holds.
    """
    elements = (sum(part.elements for part in parts),)
    maps = [part.shape for part in parts if part.batched and len(part.shape) == _IMAGE_RANK]
    for sizes in maps[: len(maps) == 1]:
        if min(sizes[0], sizes[2]) > MOST_CHANNELS:
            continue
        last = sizes[0] > MOST_CHANNELS
        channels, height, width = (sizes[2], *sizes[:2]) if last else sizes
        return ImageInput(
            name=name,
            channels=channels,
            height=height,
            width=width,
            channels_last=last,
            fed=elements,
        )
    return SampleInput(name=name, shape=elements)


def _slice(
    graph: onnx.GraphProto,
    source: str,
    target: str,
    ends: tuple[int, int],
    opset: int,
    taken: set[str],
) -> list[onnx.NodeProto]:
    if opset < _SLICED_BY_INPUTS:
        begin, end = ends
        node = helper.make_node(
            "Slice", [source], [target], name=target, starts=[begin], ends=[end], axes=[1]
        )
        return [node]
    inputs = [
        _constant(graph, f"{target}/{what}", [value], taken)
        for what, value in (("from", ends[0]), ("to", ends[1]), ("axis", 1))
    ]
    return [helper.make_node("Slice", [source, *inputs], [target], name=target)]


def _constant(graph: onnx.GraphProto, name: str, values: Sequence[int], taken: set[str]) -> str:
    found = _free(name, taken)
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), found))
    return found


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
