"""Several inputs that differ from sample to sample → one float32 input that holds them one after another.

A job feeds one tensor. What it holds is cut apart again at the network's begin, and cast to what each input takes, so
that every engine runs the same network and only float32 travels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network.canonical import opset
from trt_matrix.core.network.graph import TensorInfo, free_name, keep
from trt_matrix.core.network.image_input import MOST_CHANNELS, ImageInput, SampleInput, image_of
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
    """Returns the inputs as one sample brings them, by their pinned shapes."""
    parts = []
    for info, shape in zip(infos, shapes, strict=True):
        batched = shape[:1] == (batch,)
        parts.append(InputPart(info.name, shape[1:] if batched else shape, info.dtype, batched))
    return tuple(parts)


def pack(model: onnx.ModelProto, parts: Sequence[InputPart], batch: int) -> None:
    """Puts one float32 input of [batch, elements of all parts] in place of the inputs of `model`.

    The parts are in the order in which they are fed.
    """
    graph = model.graph
    taken = {tensor for node in graph.node for tensor in (*reads(node), *node.output)}
    taken.update(tensor.name for tensor in graph.initializer)
    taken.update(value.name for value in (*graph.output, *graph.input))
    name = free_name(NAME, taken)
    before = {value.name: value.type.tensor_type for value in graph.input}
    nodes = []
    begin = 0
    for part in parts:
        tensor = before[part.name]
        sizes = [dimension.dim_value for dimension in tensor.shape.dim]
        cut, shaped = (free_name(f"{part.name}/{what}", taken) for what in ("cut", "shaped"))
        nodes.append(_slice(model, name, cut, (begin, begin + part.elements), taken))
        shape = _constant(graph, f"{shaped}/shape", sizes, taken)
        nodes.append(helper.make_node("Reshape", [cut, shape], [shaped], name=shaped))
        # A Cast also where it changes nothing: what only moves values would give all parts one scale.
        cast = free_name(f"{part.name}/cast", taken)
        nodes.append(
            helper.make_node("Cast", [shaped], [part.name], name=cast, to=tensor.elem_type)
        )
        begin += part.elements
    keep(graph.input, lambda value: value.name not in {part.name for part in parts})
    graph.input.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, begin]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def packed_input(name: str, parts: Sequence[InputPart]) -> ImageInput | SampleInput:
    """Returns what a network takes whose inputs were packed: with an image where one of them may be one."""
    elements = (sum(part.elements for part in parts),)
    maps = [part.shape for part in parts if part.batched and len(part.shape) == _IMAGE_RANK]
    if len(maps) == 1 and min(maps[0][0], maps[0][2]) <= MOST_CHANNELS:
        image = image_of(name, maps[0], last=maps[0][0] > MOST_CHANNELS)
        return replace(image, fed=elements)
    return SampleInput(name=name, shape=elements)


def _slice(
    model: onnx.ModelProto, source: str, target: str, ends: tuple[int, int], taken: set[str]
) -> onnx.NodeProto:
    begin, end = ends
    if opset(model) < _SLICED_BY_INPUTS:
        return helper.make_node(
            "Slice", [source], [target], name=target, starts=[begin], ends=[end], axes=[1]
        )
    inputs = [
        _constant(model.graph, f"{target}/{what}", [value], taken)
        for what, value in (("from", begin), ("to", end), ("axis", 1))
    ]
    return helper.make_node("Slice", [source, *inputs], [target], name=target)


def _constant(graph: onnx.GraphProto, name: str, values: Sequence[int], taken: set[str]) -> str:
    free = free_name(name, taken)
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), free))
    return free
