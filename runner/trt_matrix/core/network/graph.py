"""Reading a network: what it takes and gives, what depends on what, how much each layer computes.

Everything here is a pure function of an `onnx.ModelProto` (or the bytes of one); no files.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import google.protobuf.message
import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network.ordering import CircleError, order, reads
from trt_matrix.core.network.plugin_names import is_plugin_name

_PLUGINS = "runner.plugins"
"""Domain of plugins while a network is checked."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training"})

Dim = int | str | None
"""A static size, a symbol, or None where nothing is stated."""


class GraphError(ValueError):
    """A network that cannot be used; says what is wrong with it and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    name: str
    dtype: str
    """As numpy names it: `float32`, `uint8`; `unknown` where the model does not say."""
    shape: tuple[Dim, ...] | None
    """None where the model states no rank."""

    @property
    def dynamic(self) -> bool:
        return self.shape is None or any(not isinstance(dim, int) for dim in self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomOperator:
    """A node that no standard defines: a plugin in TensorRT, an error where there is none."""

    node: str
    operator: str
    domain: str


def load(
    content: bytes, source: str, external: Mapping[str, bytes] | None = None
) -> onnx.ModelProto:
    """Parses and checks a network; its nodes come out in the order in which they compute.

    Args:
        content: The .onnx file.
        source: Its name, for messages.
        external: Contents of the files that hold its weights, if any (see `external_files`).

    Raises:
        GraphError: empty, truncated, no ONNX at all, weights missing, or not a valid graph.
    """
    model = parse(content, source)
    try:
        order(model.graph)
    except CircleError as error:
        message = f"{source}: not a valid network: {error}; export it again"
        raise GraphError(message) from error
    _embed(model, source, external or {})
    for tensor in model.graph.initializer:
        _require_whole(tensor, source)
    # The checker demands that inputs and outputs state a rank; no engine does, and exporters leave it out.
    rankless = [
        value.type.tensor_type
        for value in (*model.graph.input, *model.graph.output)
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]
    for value in rankless:
        value.shape.SetInParent()
    try:
        with _known_plugins(model):
            onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        # The last: a name that is not UTF-8, where the checker wants to say what is wrong with it.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{source}: not a valid network: {reason}"
        raise GraphError(message) from error
    finally:
        for value in rankless:
            value.ClearField("shape")
    return model


@contextmanager
def _known_plugins(model: onnx.ModelProto) -> Iterator[None]:
    """Lets the checker pass by nodes that name a plugin of TensorRT without a domain, as its parser takes them.

    What depends on one is told where a head does; a network that is cut in front of it is well.
    """
    plugins = [
        node
        for node in model.graph.node
        if not node.domain and not onnx.defs.has(node.op_type) and is_plugin_name(node.op_type)
    ]
    if not plugins:
        yield
        return
    stated = [node.HasField("domain") for node in plugins]
    for node in plugins:
        node.domain = _PLUGINS
    model.opset_import.append(helper.make_opsetid(_PLUGINS, 1))
    try:
        yield
    finally:
        for node, empty in zip(plugins, stated, strict=True):
            node.ClearField("domain")
            if empty:
                node.domain = ""
        del model.opset_import[-1]


def parse(content: bytes, source: str) -> onnx.ModelProto:
    """Parses a network without looking at its weights.

    Raises:
        GraphError: empty, truncated, or no ONNX at all.
    """
    if not content:
        message = f"{source}: the file is empty; export the network again"
        raise GraphError(message)
    if content.startswith(b"version https://git-lfs"):
        message = f"{source}: a Git LFS pointer, not the network; run 'git lfs pull'"
        raise GraphError(message)
    try:
        model = onnx.load_model_from_string(content)
    except google.protobuf.message.DecodeError as error:
        message = f"{source}: not an ONNX file, or truncated ({len(content)} bytes); copy it again"
        raise GraphError(message) from error
    if not model.opset_import or not model.graph.output:
        missing = "operator set" if not model.opset_import else "output"
        message = f"{source}: the file states no {missing}: not an ONNX network, or truncated"
        raise GraphError(message)
    if unknown := sorted(_element_types(model.graph) - set(TensorProto.DataType.values())):
        message = (
            f"{source}: {unknown[0]} is no type of elements that ONNX has; export the network again"
        )
        raise GraphError(message)
    names = (
        name
        for node in model.graph.node
        for name in (node.name, node.op_type, node.domain, *node.input, *node.output)
    )
    # Protobuf gives bytes where they are no UTF-8.
    if broken := next((name for name in names if not isinstance(name, str)), None):
        message = f"{source}: a node is, or names, {broken!a:.200}, which is no text; copy it again"
        raise GraphError(message)
    return model


def _require_whole(tensor: onnx.TensorProto, source: str) -> None:
    """Refuses a weight that has not as many bytes as its shape makes; those of four bits share bytes."""
    if not tensor.HasField("raw_data") or tensor.data_type in (
        TensorProto.UNDEFINED,
        TensorProto.STRING,
    ):
        return  # the checker looks at these
    width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    wanted, found = math.prod(tensor.dims) * width, len(tensor.raw_data)
    if min(tensor.dims, default=0) < 0 or (width > 1 and found != wanted):
        message = (
            f"{source}: weight {tensor.name!a:.200} has {found} bytes, its shape "
            f"{tuple(tensor.dims)!s:.200} makes {wanted}: damaged; copy it again"
        )
        raise GraphError(message)


def _element_types(graph_: onnx.GraphProto) -> set[int]:
    """Returns the types of the elements of every tensor that a graph names."""
    stated = (*graph_.input, *graph_.output, *graph_.value_info)
    found = {value.type.tensor_type.elem_type for value in stated}
    found |= {tensor.data_type for tensor in graph_.initializer}
    found |= {
        one.t.data_type for node in graph_.node for one in node.attribute if one.HasField("t")
    }
    return found


def external_files(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns the files, relative to the model's folder, that hold its weights.

    Raises:
        GraphError: a location is absolute or leaves the model's folder.
    """
    files = {_location(tensor) for tensor in model.graph.initializer if _is_external(tensor)}
    for file in files:
        parts = file.replace("\\", "/").split("/")
        if not file or parts[0] == "" or ".." in parts or ":" in parts[0]:
            message = f"weights are said to be in {file!r}, outside the model's folder: refused"
            raise GraphError(message)
    return tuple(sorted(files))


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
    found = inputs(model)
    if len(found) != 1:
        names = ", ".join(info.name for info in found) or "none"
        message = f"expected one input, found {len(found)} ({names}): export with the image alone"
        raise GraphError(message)
    if found[0].dtype != "float32":
        message = (
            f"input {found[0].name!r} is {found[0].dtype}, expected float32: export the network "
            "with a float32 input (and float32 weights); casts belong inside it"
        )
        raise GraphError(message)
    return found[0]


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy in which every node has a unique name.

    A node without one, or with one that an earlier node has, is called after its operator and
    position: `Conv_12`. The same model always gets the same names.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    given = {node.name for node in result.graph.node}
    taken: set[str] = set()
    for index, node in enumerate(result.graph.node):
        if not node.name or node.name in taken:
            name = f"{node.op_type}_{index}"
            while name in taken or name in given:
                name += "_"
            node.name = name
        taken.add(node.name)
    return result


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
    needed = {tensor}
    cone: list[str] = []
    # ONNX requires topological order, so one walk from the end meets consumers first.
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            cone.append(node.name)
            needed.update(reads(node))
    return tuple(reversed(cone))


def only_behind(
    model: onnx.ModelProto, bad_heads: Collection[str], good_heads: Collection[str]
) -> tuple[str, ...]:
    """Returns the nodes on which every bad head depends and no good head does, in order."""
    if not bad_heads:
        return ()
    bad = set.intersection(*(set(backward_cone(model, head)) for head in bad_heads))
    good = {node for head in good_heads for node in backward_cone(model, head)}
    return tuple(node.name for node in model.graph.node if node.name in bad - good)


def custom_operators(model: onnx.ModelProto) -> tuple[CustomOperator, ...]:
    """Returns the nodes of domains that neither ONNX nor a function in the model defines."""
    defined = {(function.domain, function.name) for function in model.functions}
    return tuple(
        CustomOperator(node=node.name, operator=node.op_type, domain=node.domain)
        for node in model.graph.node
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in defined
    )


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
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


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
    for one in node.attribute:
        if one.name == name:
            value = helper.get_attribute_value(one)
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


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _location(tensor: onnx.TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _embed(model: onnx.ModelProto, source: str, external: Mapping[str, bytes]) -> None:
    """Moves weights kept in other files into the model."""
    external_files(model)
    for tensor in model.graph.initializer:
        if not _is_external(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in external:
            message = (
                f"{source}: its weights are in {location!r}, which is missing: put the file beside "
                "the model, or export into one file"
            )
            raise GraphError(message)
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", len(external[location]) - offset))
        except ValueError as error:
            message = f"{source}: weight {tensor.name!r} says no number for where it is: {error}"
            raise GraphError(message) from error
        if offset < 0 or length < 0 or offset + length > len(external[location]):
            message = (
                f"{source}: weight {tensor.name!r} needs bytes {offset} to {offset + length} of "
                f"{location!r}, which has {len(external[location])}: truncated; copy it again"
            )
            raise GraphError(message)
        tensor.raw_data = external[location][offset : offset + length]
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.DEFAULT
