"""The form of a network that ranges and Q/DQ are placed on.

Opset 13, constants as initialisers, batch normalisation folded into the convolution before it,
every node named. The float function stays the same (folding rounds at 1e-6). Per-channel Q/DQ needs
opset 13; an engine folds batch normalisation before it quantises weights, so ranges and weight
scales must be those of the folded layer.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.graph import GraphError

OPSET = 13
_IR_VERSION = 8
_LEGACY_RESIZE_OPSET = 11
"""Before it, Upsample and Resize had one coordinate rule; from it on, an attribute says which."""
_HIDDEN_DOMAIN = "runner.hidden"


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the canonical form of `model`; its own canonical form is itself.

    Names of outputs and of nodes stay; unnamed nodes get names, equal ones in every call.

    Raises:
        GraphError: the input is not float32, or the operators cannot be brought to opset 13.
    """
    graph.require_float32_input(model)
    result = _without_initialiser_inputs(model)
    result = _upgraded(result)
    constants_to_initialisers(result)
    _fold_batch_normalisation(result)
    graph.drop_unused_initialisers(result)
    result.ir_version = max(result.ir_version, _IR_VERSION)
    return graph.named(result)


def opset(model: onnx.ModelProto) -> int:
    """Returns the version of the standard operators that `model` uses."""
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return next(versions, 1)


def _without_initialiser_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    result = graph.copied(model)
    true_inputs = {info.name for info in graph.inputs(model)}
    graph.keep(result.graph.input, lambda value: value.name in true_inputs)
    return result


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    version = opset(model)
    if version >= OPSET:
        return model
    # The converter wants IR 4 or newer where initialisers are no inputs.
    model.ir_version = max(model.ir_version, 4)
    legacy = version < _LEGACY_RESIZE_OPSET
    if legacy:
        _hide_resizing(model)
    try:
        result = onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        reason = str(error).strip().splitlines()[0]
        message = (
            f"the network uses opset {version} and cannot be brought to opset {OPSET}, which "
            f"per-channel Q/DQ needs ({reason}): export it with opset {OPSET} or newer"
        )
        raise GraphError(message) from error
    if legacy:
        _rewrite_resizing(result)
    return result


def _hide_resizing(model: onnx.ModelProto) -> None:
    """Puts Upsample and Resize out of the converter's reach.

    It would leave them the coordinate rule of opset 11 (half_pixel), which is another function, and
    rename their outputs, to which tables refer.
    """
    for node in model.graph.node:
        if node.op_type in ("Upsample", "Resize") and node.domain in graph.STANDARD_DOMAINS:
            node.domain = _HIDDEN_DOMAIN
    model.opset_import.append(helper.make_opsetid(_HIDDEN_DOMAIN, 1))


def _rewrite_resizing(model: onnx.ModelProto) -> None:
    """Writes what `_hide_resizing` hid as Resize of opset 13: asymmetric; nearest takes the floor."""
    for node in model.graph.node:
        if node.domain != _HIDDEN_DOMAIN:
            continue
        mode = graph.attribute(node, "mode", "nearest")
        if len(node.input) > 1:
            scales = node.input[1]
        else:
            scales = f"{node.output[0]}/scales"
            factors = np.array(graph.attribute(node, "scales"), np.float32)
            model.graph.initializer.append(numpy_helper.from_array(factors, scales))
        resize = helper.make_node(
            "Resize",
            [node.input[0], "", scales],
            list(node.output),
            name=node.name,
            mode=mode,
            coordinate_transformation_mode="asymmetric",
        )
        if mode == "nearest":
            resize.attribute.append(helper.make_attribute("nearest_mode", "floor"))
        node.CopyFrom(resize)
    graph.keep(model.opset_import, lambda entry: entry.domain != _HIDDEN_DOMAIN)


def constants_to_initialisers(model: onnx.ModelProto) -> None:
    """A weight must be an initialiser to be seen as one; exporters also write Constant nodes."""
    kept = []
    for node in model.graph.node:
        tensor = constant_of(node)
        if tensor is None:
            kept.append(node)
        else:
            model.graph.initializer.append(tensor)
    graph.replace_nodes(model, kept)


def constant_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Returns the tensor that a Constant node gives out; None for any other node."""
    if node.op_type != "Constant" or node.domain:
        return None
    dtypes = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            return tensor
        if attribute.name in dtypes:
            return numpy_helper.from_array(np.array(value, dtypes[attribute.name]), node.output[0])
    return None


def _fold_batch_normalisation(model: onnx.ModelProto) -> None:
    """Folds each BatchNormalization into the convolution that alone feeds it.

    y = γ·(conv(x, W) + b − μ)/√(σ²+ε) + β is conv(x, W·k) + (b − μ)·k + β with k = γ/√(σ²+ε).
    """
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    makers, users = graph.producers(model), graph.consumers(model)
    heads = {value.name for value in model.graph.output}
    kept = []
    for node in model.graph.node:
        conv = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        foldable = (
            conv is not None
            and conv.op_type in ("Conv", "ConvTranspose")
            and len([output for output in node.output if output]) == 1
            and not graph.attribute(node, "training_mode", 0)
            and node.input[0] not in heads
            and len(users[node.input[0]]) == 1
            and all(name in values for name in (*conv.input[1:], *node.input[1:]) if name)
            and not (conv.op_type == "ConvTranspose" and graph.attribute(conv, "group", 1) != 1)
        )
        if foldable and conv is not None:
            _fold_into(conv, node, values, model)
            makers[node.output[0]] = conv
        else:
            kept.append(node)
    graph.replace_nodes(model, kept)


def _fold_into(
    conv: onnx.NodeProto,
    norm: onnx.NodeProto,
    values: Mapping[str, onnx.TensorProto],
    model: onnx.ModelProto,
) -> None:
    gamma, beta, mean, variance = (_array(values[name]) for name in norm.input[1:5])
    epsilon = graph.attribute(norm, "epsilon", 1e-5)
    assert isinstance(epsilon, float)  # noqa: S101
    factor = gamma / np.sqrt(variance + epsilon)
    weight = _array(values[conv.input[1]])
    axis = 1 if conv.op_type == "ConvTranspose" else 0
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    bias = _array(values[conv.input[2]]) if len(conv.input) > 2 and conv.input[2] else 0.0
    folded = {
        f"{norm.output[0]}/folded_weight": weight * factor.reshape(shape),
        f"{norm.output[0]}/folded_bias": (bias - mean) * factor + beta,
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in folded.items()
    )
    del conv.input[1:]
    conv.input.extend(folded)
    conv.output[0] = norm.output[0]


def _array(tensor: onnx.TensorProto) -> npt.NDArray[np.float64]:
    return numpy_helper.to_array(tensor).astype(np.float64)
