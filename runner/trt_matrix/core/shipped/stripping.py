"""A quantised network → the float network that it was made of, and the ranges of its scales; pure.

Integers are read as the floats that they stand for: a QuantizeLinear gives out its own input, a
DequantizeLinear of a constant is a constant, an operator on integers is the float one.

Two things make that more than leaving nodes out. Quantisers remove a Relu (and a Relu6) before a
QuantizeLinear whose range begins at zero, since rounding to such a range clamps as well: so it is put back,
where the tensor could be negative otherwise. And a tensor that is dequantised with another scale than it
was quantised with is no float tensor at all: such networks are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.canonical import constants_to_initialisers
from trt_matrix.core.shipped.operators import HANDLERS
from trt_matrix.core.shipped.quantisation import quantisation_of
from trt_matrix.core.shipped.scales import StripError
from trt_matrix.core.shipped.stripper import Stripper


@dataclass(frozen=True, kw_only=True, slots=True)
class StrippedNetwork:
    """A float network, and what its quantised form said of scales."""

    model: onnx.ModelProto
    amax: Mapping[str, float]
    """Tensor of the float network → largest magnitude that its integers represented."""
    unusable: Mapping[str, str]
    """Tensor that was quantised → why it has no range."""
    relus: tuple[str, ...]
    """Tensors that a Relu or Relu6, put back, gives out."""
    rounded: int
    """Weights that were integers, and are the floats that those stand for: what rounding them cost stays."""


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy whose constants are initialisers and whose nodes have names, always the same."""
    result = graph.copied(model)
    constants_to_initialisers(result)
    return graph.named(result)


def stripped(model: onnx.ModelProto) -> StrippedNetwork:
    """Returns the float network of a quantised one; nodes that stay keep their names.

    The network has its weights, and no functions.

    Raises:
        StripError: it has a form of quantisation that has no float network here; says where and why.
    """
    strip = Stripper(prepared(model), HANDLERS)
    strip.walk()
    result = strip.model
    graph.replace_nodes(result, strip.nodes)
    result.graph.initializer.extend(strip.constants())
    del result.graph.value_info[:]  # integers are floats now
    renamed = _name_outputs(result, strip)
    # What no output depends on is the arithmetic on scales.
    outputs = [value.name for value in result.graph.output]
    graph.replace_nodes(result, graph.nodes_behind(result, outputs))
    graph.drop_unused_initialisers(result)
    used = {node.domain for node in result.graph.node} | {"", "ai.onnx"}
    graph.keep(result.opset_import, lambda entry: entry.domain in used)
    _check(result)
    return StrippedNetwork(
        model=result,
        amax={renamed.get(name, name): amax for name, amax in strip.amax.items()},
        unusable={renamed.get(name, name): why for name, why in strip.unusable.items()},
        rounded=strip.rounded,
        relus=tuple(renamed.get(name, name) for name in strip.relus),
    )


def float_form(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Returns the float network of a quantised one; None where none can be made, or it is float."""
    shipped = quantisation_of(model)
    if shipped is None or not shipped.anything:
        return None
    try:
        return stripped(model).model
    except graph.GraphError:
        return None


def _name_outputs(model: onnx.ModelProto, strip: Stripper) -> dict[str, str]:
    """Gives the outputs their names again, where a DequantizeLinear gave them out.

    Returns old → new name of the tensors that are called otherwise now.
    """
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    fixed.update(tensor.name for tensor in model.graph.initializer)
    renamed: dict[str, str] = {}
    for value in model.graph.output:
        if value.name in strip.lifted:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
        source = strip.float_name(value.name)
        source = renamed.get(source, source)
        if source == value.name:
            continue
        if source in fixed:
            model.graph.node.append(
                helper.make_node("Identity", [source], [value.name], name=f"{value.name}/same")
            )
        else:
            _rename(model, source, value.name)
            renamed[source] = value.name
    return renamed


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def _check(model: onnx.ModelProto) -> None:
    """Raises StripError where what is left is no network."""
    known = {value.name for value in model.graph.input}
    known.update(tensor.name for tensor in model.graph.initializer)
    for node in model.graph.node:
        if missing := [name for name in node.input if name and name not in known]:
            message = (
                f"{node.op_type} {node.name!r} reads {missing[0]!r}, which is a scale or integers"
            )
            raise StripError(message)
        known.update(node.output)
    for value in model.graph.output:
        if value.name not in known:
            message = f"nothing gives the output {value.name!r} once its quantisation is taken out"
            raise StripError(message)
