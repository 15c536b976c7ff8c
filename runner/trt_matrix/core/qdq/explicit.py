"""A calibration table → an explicit Q/DQ network.

Activations are symmetric int8 per tensor (zero point 0; or the same steps as uint8 with zero point 128),
weights symmetric int8 per output channel or per tensor, scale = amax / 127 for all. Where Q/DQ stands follows
"Q/DQ layer-placement recommendations" of the TensorRT developer guide:

- All inputs of weighted layers are quantised; their outputs only where another quantised layer
  needs them, so the outputs of the network stay float.
- Nothing stands between a convolution and what an engine fuses into it: its activation, and the
  residual addition, of which the other branch alone is quantised. (`PlacementOptions.fuse`; ONNX Runtime
  knows no such fusion for symmetric int8 and takes only Q directly behind a convolution. Before
  Relu and Clip that Q has the scale of their output, which leaves the arithmetic as it was.)
- Every tensor has one Q and one DQ, read by all of its consumers, excluded layers too: one tensor,
  one value.
- Layers that carry values (max pooling, nearest and linear resizing, transposing …) have one scale
  on both sides. The engines then run them on integers, and linear resizing stays in range.
- Averaging pools and concatenations have an output scale of their own. Inputs that only the
  concatenation reads take its scale, which makes it a copy and avoids rounding twice; an input that
  others read too keeps its finer scale and is requantised (TensorRT moves the Q in front of the
  concatenation, ONNX Runtime's QLinearConcat takes a scale per input).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.operators import MACS
from trt_matrix.core.qdq.joins import unified
from trt_matrix.core.qdq.options import TENSORRT, PlacementOptions
from trt_matrix.core.qdq.region import Region, region
from trt_matrix.core.qdq.scale_groups import scale_groups
from trt_matrix.core.qdq.writer import QdqWriter, names_made
from trt_matrix.core.tables.table import LEVELS, Table

INT8 = "int8"
EXCLUDED = "excluded"


class QdqError(graph.GraphError):
    """A network and a table that do not go together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """A network with Q/DQ, and what became of its tensors and layers."""

    model: onnx.ModelProto
    quantised: Mapping[str, float]
    """Activation → its scale."""
    skipped: Mapping[str, str]
    """Activation that should have been quantised → why it could not."""
    layers: Mapping[str, str]
    """Every multiply-accumulate node → `int8`, `excluded`, or why it stays in float."""


def place(model: onnx.ModelProto, table: Table, options: PlacementOptions = TENSORRT) -> Placement:
    """Writes Q/DQ into `model`.

    Args:
        model: The network; it is not changed. What is placed on is its canonical form.
        table: Ranges; names that the network does not have are ignored.
        options: What the engine needs.

    Raises:
        graph.GraphError: see `canonical.canonical`.
        QdqError: `exclude` names no node, or the table quantises nothing that was not excluded.
    """
    model = canonical(model)
    require_nodes(model, options.exclude)
    leader = scale_groups(model)
    quantised = _region(model, leader, table.amax, options)
    scales = {tensor: table.amax[leader[tensor]] / LEVELS for tensor in quantised.tensors}
    if options.unified_scales:
        scales = unified(model, scales, leader)
    if not scales and quantised.float_layers:
        layer, reason = next(iter(quantised.float_layers.items()))
        message = (
            f"nothing to quantise: the table's {len(table.amax)} tensors are no layer's input "
            f"(layer {layer!r}: {reason}); was it made from another network?"
        )
        raise QdqError(message)
    return Placement(
        model=_write(model, quantised, scales, options),
        quantised=scales,
        skipped={
            tensor: table.unusable.get(leader[tensor], "not in the table")
            for tensor in sorted(quantised.lacking)
        },
        layers={
            node.name: EXCLUDED
            if node.name in options.exclude
            else quantised.float_layers.get(node.name, INT8)
            for node in model.graph.node
            if node.op_type in MACS and node.domain in graph.STANDARD_DOMAINS
        },
    )


def deciding(
    form: onnx.ModelProto, ranged: Collection[str], options: PlacementOptions = TENSORRT
) -> tuple[str, ...]:
    """Returns the tensors whose range decides the scale of some Q/DQ pair, each once, in the network's order.

    The ranges of all others are used by nothing: of tensors that stay in float, and of those that take
    another's scale.

    The network is in canonical form, and `ranged` are the tensors that have a range.
    """
    leader = scale_groups(form)
    quantised = _region(form, leader, ranged, options)
    return tuple(dict.fromkeys(leader[tensor] for tensor in quantised.tensors))


def int8_layers(form: onnx.ModelProto) -> set[str]:
    """Returns the layers of a canonical form whose weights TensorRT quantises where every tensor has a range."""
    return _region(form, scale_groups(form), tensors(form), TENSORRT).layers


def _region(
    form: onnx.ModelProto,
    leader: Mapping[str, str],
    ranged: Collection[str],
    options: PlacementOptions,
) -> Region:
    return region(form, [tensor for tensor, lead in leader.items() if lead in ranged], options)


def require_nodes(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Raises QdqError where the network, in canonical form, has no node of one of these names."""
    unknown = sorted(set(names) - {node.name for node in model.graph.node})
    if unknown:
        message = f"no node {unknown[0]!r} in the network to exclude: names are those of its nodes"
        raise QdqError(message)


def _make_room(model: onnx.ModelProto, taken: Collection[str]) -> None:
    """Renames constants that are called as the writer calls its own: exporters name weights after nodes too."""
    there = {tensor.name for tensor in model.graph.initializer}.union(taken)
    renamed = {}
    for tensor in model.graph.initializer:
        if tensor.name in taken:
            renamed[tensor.name] = graph.free_name(f"{tensor.name}/given", there)
            tensor.name = renamed[tensor.name]
    if renamed:
        graph.rewire(model.graph, renamed)


def _write(
    model: onnx.ModelProto, found: Region, scales: Mapping[str, float], options: PlacementOptions
) -> onnx.ModelProto:
    """Returns the network with the Q/DQ that `found` asks for."""
    result = graph.copied(model)
    heads = {value.name for value in model.graph.output}
    _make_room(result, {*names_made(found.layers, scales)} - heads)
    values = {tensor.name: tensor for tensor in result.graph.initializer}
    writer = QdqWriter(values, scales, options)
    pairs = {
        tensor: writer.activation_pair(tensor, as_head=options.quantise_outputs and tensor in heads)
        for tensor in scales
    }
    makers = graph.producers(model)
    nodes = [node for tensor in scales if tensor not in makers for node in pairs[tensor]]
    for node in result.graph.node:
        produced = tuple(node.output)
        if node.name in found.layers:
            nodes.extend(writer.quantise_parameters(node))
        for index, tensor in enumerate(node.input):
            if tensor in pairs:
                node.input[index] = pairs[tensor][1].output[0]
        for index, tensor in enumerate(produced):
            if tensor in pairs:
                node.output[index] = pairs[tensor][0].input[0]
        nodes.append(node)
        nodes.extend(made for tensor in produced for made in pairs.get(tensor, ()))
    graph.replace_nodes(result, nodes)
    result.graph.initializer.extend(writer.initialisers)
    graph.drop_unused_initialisers(result)
    return result
