"""The network as its heads want it: inner tensors given out, and what no head needs left away."""

from collections.abc import Collection, Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network import graph, ordering, shapes
from trt_matrix.core.network.graph import GraphError

UNKNOWN = "is no tensor of the network"
"""The obstacle to a name that nothing has."""

_FLOATS = {
    "bfloat16": TensorProto.BFLOAT16,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
}


def cut(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Returns the network that gives out `tensors` and computes nothing else.

    Nodes, weights, inputs and operator sets that nothing needs any more are gone; all other names
    stay, and every output that is kept computes what it did. A network with exactly these outputs is
    returned as it is, so that its file, and what is known of it, stays the same.

    Args:
        model: The network as the user gave it; it is not changed.
        tensors: Outputs or inner tensors of its main graph; those that are outputs keep their order.

    Raises:
        GraphError: one of them cannot be given out; see `obstacle`. Or the shapes contradict.
    """
    wanted = list(dict.fromkeys(tensors))
    declared = [value.name for value in model.graph.output]
    if set(wanted) == set(declared):
        return model
    known = {} if set(wanted) <= set(declared) else shapes.inferred(model)
    for tensor in wanted:
        if reason := obstacle(model, tensor, known):
            message = f"{tensor!r} {reason}"
            raise GraphError(message)
    result = graph.copied(model)
    given = {value.name: value for value in result.graph.output}
    order = [name for name in declared if name in wanted]
    order += [name for name in wanted if name not in given]
    outputs = [given[name] if name in given else _stated(name, known) for name in order]
    outputs = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in outputs]
    del result.graph.output[:]
    result.graph.output.extend(outputs)
    _drop_unneeded(result)
    return result


def renamed(model: onnx.ModelProto, names: Mapping[str, str]) -> onnx.ModelProto:
    """Returns the network with tensors of its main graph called otherwise, wherever they stand: name → new name.

    Raises:
        GraphError: another tensor has the new name.
    """
    changed = {old: new for old, new in names.items() if old != new}
    if not changed:
        return model
    taken = set(tensors_of(model)) - set(changed)
    for old, new in changed.items():
        if new in taken:
            message = f"{old!r} cannot be called {new!r}: another tensor is called so"
            raise GraphError(message)
    result = graph.copied(model)
    _rename(result.graph, changed)
    return result


def obstacle(
    model: onnx.ModelProto, tensor: str, known: Mapping[str, graph.TensorInfo]
) -> str | None:
    """Returns why a tensor can be no head, to be read after its name; None where it can.

    A type that the network does not tell is no obstacle: the engine will say.

    `known` are types of its tensors (`shapes.inferred`); those of its outputs need not be in it.
    """
    inputs = {info.name for info in graph.inputs(model)}
    if tensor not in graph.producers(model):
        if tensor in inputs:
            return "is the network's input: every engine is given the same"
        if tensor in {weight.name for weight in model.graph.initializer}:
            return "is a weight, the same for every image: name a tensor that depends on the input"
        if any(tensor in node.output for node in ordering.every_node(model.graph)):
            return (
                "is computed inside a branch or a loop (If, Loop, Scan), which gives out its results "
                "alone: name a tensor of the network's main graph"
            )
        return UNKNOWN
    if not _needed(model, {tensor}) & inputs:
        return "depends on no input of the network: it is the same for every image"
    stated = {output.name: output.dtype for output in graph.outputs(model)}.get(tensor, "unknown")
    dtype = known[tensor].dtype if stated == "unknown" and tensor in known else stated
    if dtype != "unknown" and "float" not in dtype:
        return (
            f"is {dtype}, floating point is expected: name a tensor before the conversion, or leave "
            "this head out"
        )
    return None


def types_of(model: onnx.ModelProto, tensors: Collection[str]) -> Mapping[str, graph.TensorInfo]:
    """Returns what `obstacle` must know of these tensors; nothing where they are all outputs.

    Shapes that contradict each other are told by whoever needs them; here they tell no type.
    """
    if set(tensors) <= {value.name for value in model.graph.output}:
        return {}
    try:
        return shapes.inferred(model)
    except GraphError:
        return {}


def tensors_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns the names of what the main graph holds: inputs, weights and what nodes give out."""
    return tuple(
        dict.fromkeys(
            (
                *(value.name for value in model.graph.output),
                *graph.producers(model),
                *(value.name for value in model.graph.input),
                *(tensor.name for tensor in model.graph.initializer),
            )
        )
    )


def left_out(model: onnx.ModelProto, tensors: Collection[str]) -> tuple[str, ...]:
    """Returns the outputs that `cut` leaves away, in the network's order."""
    return tuple(value.name for value in model.graph.output if value.name not in set(tensors))


def _stated(tensor: str, known: Mapping[str, graph.TensorInfo]) -> onnx.ValueInfoProto:
    """Returns an output; of float32 where the network tells no type, since one must be stated."""
    info = known.get(tensor)
    dtype = _FLOATS.get(info.dtype if info else "", TensorProto.FLOAT)
    return helper.make_tensor_value_info(tensor, dtype, info.shape if info else None)


def _drop_unneeded(model: onnx.ModelProto) -> None:
    needed = _needed(model, {value.name for value in model.graph.output})
    kept = [node for node in model.graph.node if needed.intersection(node.output)]
    graph.replace_nodes(model, kept)
    needed.update(name for node in model.graph.node for name in node.output)
    for field in (model.graph.input, model.graph.initializer, model.graph.value_info):
        graph.keep(field, lambda value: value.name in needed)
    graph.keep(model.graph.sparse_initializer, lambda tensor: tensor.values.name in needed)
    graph.keep(model.graph.quantization_annotation, lambda entry: entry.tensor_name in needed)
    used = {node.domain for node in ordering.every_node(model.graph)} | {"", "ai.onnx"}
    used |= {node.domain for function in model.functions for node in function.node}
    graph.keep(model.opset_import, lambda entry: entry.domain in used)


def _needed(model: onnx.ModelProto, tensors: set[str]) -> set[str]:
    """Returns `tensors` and all tensors that they depend on."""
    needed = set(tensors)
    # ONNX requires topological order, so one walk from the end meets consumers first.
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(_free(node))
    return needed


def _free(node: onnx.NodeProto) -> set[str]:
    """Returns what a node reads of the graph that it stands in, by its bodies' results too."""
    names = set(ordering.reads(node))
    for body in ordering.inner_graphs(node):
        names.update(value.name for value in body.output)
        for inner in body.node:
            names.update(_free(inner))
    return names


def _rename(graph_proto: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph_proto.input, *graph_proto.output, *graph_proto.value_info):
        value.name = names.get(value.name, value.name)
    for tensor in graph_proto.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph_proto.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                tensors[index] = names.get(name, name)
        for body in ordering.inner_graphs(node):
            _rename(body, names)
