"""A network as a graph: what it takes and gives, what depends on what; pure functions of an `onnx.ModelProto`."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network.ordering import inner_graphs, reads

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training"})

RANKING_PLUGINS = re.compile(
    r"nms|non_?max_?suppression|top_?k|detection_?(output|layer)|generate_?detection|proposal", re.I
)
"""Names of plugins that rank: EfficientNMS_TRT, BatchedNMS_TRT, BatchedNMSDynamic_TRT, NMS_TRT,
RotatedNMS_TRT, TRTBatchedNMS, DetectionLayer_TRT, ProposalLayer_TRT and their like (NVIDIA/TensorRT,
plugin/; mmdeploy)."""

_TENSORRT = re.compile(r"\w+_TRT")
"""How NVIDIA calls the plugins that come with TensorRT (NVIDIA/TensorRT, plugin/)."""

Dim = int | str | None
"""A static size, a symbol, or None where nothing is stated."""


class GraphError(ValueError):
    """A network that cannot be used; says what is wrong with it and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """What a network states of one of its tensors."""

    name: str
    dtype: str
    """As numpy names it: `float32`, `uint8`; `unknown` where the model does not say."""
    shape: tuple[Dim, ...] | None
    """None where the model states no rank."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomOperator:
    """A node that no standard defines: a plugin in TensorRT, an error where there is none."""

    node: str
    operator: str
    domain: str


def inputs(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """Returns what the caller must feed; initialisers also listed as inputs (IR 3) are no inputs."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    return tuple(info(value) for value in model.graph.input if value.name not in initialisers)


def outputs(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """Returns the heads, in the network's order."""
    return tuple(info(value) for value in model.graph.output)


def require_float32_input(model: onnx.ModelProto) -> TensorInfo:
    """Returns the one float32 input of `model`.

    Raises:
        GraphError: none or several inputs, or one of another type.
    """
    tensors = inputs(model)
    if len(tensors) != 1:
        names = ", ".join(info.name for info in tensors) or "none"
        message = f"expected one input, found {len(tensors)} ({names}): export with the image alone"
        raise GraphError(message)
    if tensors[0].dtype != "float32":
        message = (
            f"input {tensors[0].name!r} is {tensors[0].dtype}, expected float32: export the network "
            "with a float32 input (and float32 weights); casts belong inside it"
        )
        raise GraphError(message)
    return tensors[0]


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy in which every node has a unique name.

    A node without one, or with one that an earlier node has, is called after its operator and
    position: `Conv_12`. The same model always gets the same names.
    """
    result = copied(model)
    taken = {node.name for node in result.graph.node}
    seen: set[str] = set()
    for index, node in enumerate(result.graph.node):
        if not node.name or node.name in seen:
            node.name = free_name(f"{node.op_type}_{index}", taken)
        seen.add(node.name)
    return result


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy, to be changed."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def free_name(name: str, taken: set[str]) -> str:
    """Returns `name`, with as many `_` behind it as no name of `taken` has, and takes it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Returns tensor → the node that computes it; inputs and initialisers have none."""
    return {tensor: node for node in model.graph.node for tensor in node.output if tensor}


def consumers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Returns tensor → the nodes that read it, each once, in the network's order."""
    result: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for tensor in dict.fromkeys(reads(node)):
            result.setdefault(tensor, []).append(node)
    return result


def backward_cone(model: onnx.ModelProto, tensor: str) -> tuple[str, ...]:
    """Returns the names of all nodes that `tensor` depends on, in topological order.

    Raises:
        GraphError: no node, input or initialiser gives `tensor`.
    """
    require_names(model)
    if tensor not in producers(model):
        known = {value.name for value in model.graph.input}
        if tensor not in known | {value.name for value in model.graph.initializer}:
            names = ", ".join(value.name for value in model.graph.output)
            message = f"no tensor {tensor!r} in the network; its outputs are {names}"
            raise GraphError(message)
    return tuple(node.name for node in nodes_behind(model, [tensor]))


def nodes_behind(model: onnx.ModelProto, tensors: Iterable[str]) -> list[onnx.NodeProto]:
    """Returns the nodes that tensors depend on, in topological order."""
    needed, behind = set(tensors), []
    # ONNX requires topological order, so one walk from the end meets consumers first.
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            behind.append(node)
            needed.update(reads(node))
    return behind[::-1]


def tensors_of(model: onnx.ModelProto, nodes: Collection[str]) -> set[str]:
    """Returns all tensors that the nodes of these names read and give out."""
    wanted = set(nodes)
    chosen = [node for node in model.graph.node if node.name in wanted]
    return {tensor for node in chosen for tensor in (*node.input, *node.output)}


def custom_operators(model: onnx.ModelProto) -> tuple[CustomOperator, ...]:
    """Returns the nodes of domains that neither ONNX nor a function in the model defines."""
    defined = {(function.domain, function.name) for function in model.functions}
    return tuple(
        CustomOperator(node=node.name, operator=node.op_type, domain=node.domain)
        for node in model.graph.node
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in defined
    )


def is_plugin_name(operator: str) -> bool:
    """Whether an operator that ONNX does not define is a plugin of TensorRT by its name."""
    return bool(_TENSORRT.fullmatch(operator) or RANKING_PLUGINS.search(operator))


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Gives `model` the list `nodes`, which may hold nodes it has already."""
    # Deleting invalidates them, so they are copied first.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def drop_unused_initialisers(model: onnx.ModelProto) -> None:
    """Removes from `model` the initialisers that no node reads and no output gives."""
    used = {name for node in model.graph.node for name in reads(node)}
    used.update(value.name for value in model.graph.output)
    keep(model.graph.initializer, lambda tensor: tensor.name in used)


def keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Removes from a repeated field what is not wanted."""
    for index in reversed(range(len(field))):
        if not wanted(field[index]):
            del field[index]


def rewire(graph_proto: onnx.GraphProto, instead: Mapping[str, str]) -> None:
    """Makes every node, those in graphs inside of it too, read other tensors: old name → new name."""
    for node in graph_proto.node:
        for index, name in enumerate(node.input):
            if name in instead:
                node.input[index] = instead[name]
        for inner in inner_graphs(node):
            rewire(inner, instead)
            for value in inner.output:  # a branch may give out a tensor of the graph around it
                value.name = instead.get(value.name, value.name)


def require_names(model: onnx.ModelProto) -> None:
    """Checks that node names identify nodes.

    Raises:
        GraphError: a node has no name, or two have the same.
    """
    names = {node.name for node in model.graph.node}
    if len(names) != len(model.graph.node) or "" in names:
        message = "nodes lack names of their own: call `named` first"
        raise GraphError(message)


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """Returns an attribute of `node`, text as str, or `default`."""
    for attribute_proto in node.attribute:
        if attribute_proto.name == name:
            value = helper.get_attribute_value(attribute_proto)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return default


def info(value: onnx.ValueInfoProto) -> TensorInfo:
    """Returns what the model states about one of its tensors."""
    tensor = value.type.tensor_type
    shape: tuple[Dim, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
            for dim in tensor.shape.dim
        )
    return TensorInfo(name=value.name, dtype=dtype_name(tensor.elem_type), shape=shape)


def dtype_name(element: int) -> str:
    """Returns numpy's name of an ONNX element type, `unknown` where none is stated."""
    if element == TensorProto.UNDEFINED:
        return "unknown"
    return str(helper.tensor_dtype_to_np_dtype(element))
