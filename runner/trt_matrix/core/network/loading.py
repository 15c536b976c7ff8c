"""The bytes of a network → a model that was checked; what is wrong with it is told. Pure: no files."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import google.protobuf.message
import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network.graph import GraphError, is_plugin_name
from trt_matrix.core.network.ordering import CircleError, order

_PLUGINS = "runner.plugins"
"""Domain of plugins while a network is checked."""


def load(
    content: bytes, source: str, external: Mapping[str, bytes] | None = None
) -> onnx.ModelProto:
    """Parses and checks a network; its nodes come out in the order in which they compute.

    `external` holds the contents of the files that hold its weights, if any (see `external_files`).

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
    unsized = tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING)
    if not tensor.HasField("raw_data") or unsized:
        return  # the checker looks at these
    width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    wanted, held = math.prod(tensor.dims) * width, len(tensor.raw_data)
    if min(tensor.dims, default=0) < 0 or (width > 1 and held != wanted):
        message = (
            f"{source}: weight {tensor.name!a:.200} has {held} bytes, its shape "
            f"{tuple(tensor.dims)!s:.200} makes {wanted}: damaged; copy it again"
        )
        raise GraphError(message)


def _element_types(graph_: onnx.GraphProto) -> set[int]:
    """Returns the types of the elements of every tensor that a graph names."""
    stated = (*graph_.input, *graph_.output, *graph_.value_info)
    types = {value.type.tensor_type.elem_type for value in stated}
    types |= {tensor.data_type for tensor in graph_.initializer}
    attributes = (attribute for node in graph_.node for attribute in node.attribute)
    types |= {attribute.t.data_type for attribute in attributes if attribute.HasField("t")}
    return types


def external_files(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns the files, relative to the model's folder, that hold its weights.

    Raises:
        GraphError: a location is absolute or leaves the model's folder.
    """
    external = [each for each in model.graph.initializer if each.data_location == each.EXTERNAL]
    files = {_location(tensor) for tensor in external}
    for file in files:
        parts = file.replace("\\", "/").split("/")
        if not file or parts[0] == "" or ".." in parts or ":" in parts[0]:
            message = f"weights are said to be in {file!r}, outside the model's folder: refused"
            raise GraphError(message)
    return tuple(sorted(files))


def _location(tensor: onnx.TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _embed(model: onnx.ModelProto, source: str, external: Mapping[str, bytes]) -> None:
    """Moves weights kept in other files into the model."""
    external_files(model)
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
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
