"""Walks a quantised network and collects the nodes of its float form; see `shipped.stripping`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from trt_matrix.core.network import graph, ordering
from trt_matrix.core.network.canonical import opset
from trt_matrix.core.network.operators import CARRIERS
from trt_matrix.core.shipped.quantisation import CARRY_WEIGHTS, DEQUANTIZE, QUANTIZE, form_of
from trt_matrix.core.shipped.scales import RELU6, Array, Scale, StripError, dequantised, scale_of

CARRY = CARRIERS | {"Concat", "Expand", "Gather", "Resize", "Tile"}
"""Give out integers of their input and no others, or (Resize) means of them."""

POSITIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Sqrt"})
KEEP_SIGN = CARRY | {"Add", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Mul"}
"""Not below zero where none of their inputs is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiftedTensor:
    """The float tensor that a tensor of integers stands for."""

    name: str
    scale: Scale


class Stripper:
    """Walks the network once, in its order."""

    def __init__(self, model: onnx.ModelProto, handlers: "Mapping[str, Handler]") -> None:
        self.model = model
        self.handlers = handlers
        self.opset = opset(model)
        self.makers = graph.producers(model)
        self.nodes: list[onnx.NodeProto] = []
        self.lifted: dict[str, LiftedTensor] = {}
        self.alias: dict[str, str] = {}
        """Tensor of the quantised network → the one that takes its place."""
        self.amax: dict[str, float] = {}
        self.unusable: dict[str, str] = {}
        self.relus: list[str] = []
        self.rounded = 0
        """Weights that were integers: what rounding them cost stays."""
        self.unfinished: dict[str, object] = {}
        """Sums of products of integers that wait for their scale; of `shipped.operators`."""
        self._protos = {tensor.name: tensor for tensor in model.graph.initializer}
        self._values: dict[str, Array] = {}
        self._made: set[str] = set()
        self._computed: set[str] = set()
        self._positive: set[str] = set()
        """Of these, what is never below zero."""

    def walk(self) -> None:
        """Takes in all nodes.

        Raises:
            StripError: one of them has no float counterpart.
        """
        for node in self.model.graph.node:
            self._node(node)

    def constants(self) -> list[onnx.TensorProto]:
        """Returns the constants that were made."""
        return [numpy_helper.from_array(self._values[name], name) for name in sorted(self._made)]

    def float_name(self, tensor: str) -> str:
        """Returns the tensor of the float network that takes the place of one."""
        lifted = self.lifted.get(tensor)
        return lifted.name if lifted else self.alias.get(tensor, tensor)

    # What handlers use

    def refuse(self, node: onnx.NodeProto, why: str) -> StripError:
        """Returns the error that a node cannot be taken into the float network."""
        return StripError(f"{node.op_type} {node.name!r}: {why}")

    def value(self, name: str) -> Array | None:
        """Returns a constant, None where `name` is none."""
        if name not in self._values and name in self._protos:
            self._values[name] = numpy_helper.to_array(self._protos[name])
        return self._values.get(name)

    def constant(self, name: str, value: Array) -> str:
        """Adds a constant."""
        self._values[name] = value
        self._made.add(name)
        return name

    def scale(self, node: onnx.NodeProto, scale: int, zero: int) -> Scale:
        """Returns what the inputs at two places say; the type of integers from the zero point."""
        return scale_of(node, scale, zero, self._protos, self.value)

    def float_of(self, node: onnx.NodeProto, index: int, scale: Scale, axis: int = 0) -> str:
        """Returns the float tensor that an integer input stands for; a constant becomes one.

        Raises:
            StripError: nothing of the network makes it, or with another scale.
        """
        if lifted := self._lifted(node, index, scale):
            return lifted
        value = self._integers(node, index)
        name = f"{node.output[0]}/{'weight' if index else 'constant'}"
        name = graph.free_name(name, {*self._values, *self._protos})
        return self.constant(name, dequantised(value, scale, axis, 0, node.name))

    def _lifted(self, node: onnx.NodeProto, index: int, scale: Scale) -> str | None:
        """Returns the float tensor that the network quantised an input of; None where it did not."""
        name = node.input[index]
        if name not in self.lifted:
            return None
        if not self.lifted[name].scale.same(scale):
            message = f"reads {name!r} with another scale or zero point than it was made with"
            raise self.refuse(node, message)
        return self.lifted[name].name

    def _integers(self, node: onnx.NodeProto, index: int) -> Array:
        """Returns a constant input of integers, whose rounding stays."""
        value = self.value(node.input[index])
        if value is None:
            message = f"reads {node.input[index]!r}, integers that nothing in the network quantised"
            raise self.refuse(node, message)
        self.rounded += value.ndim > 1
        return value

    def emit(
        self, like: onnx.NodeProto, operator: str, inputs: list[str], output: str, **changed: object
    ) -> None:
        """Adds a float operator with the name and the attributes of `like`; None removes one."""
        node = helper.make_node(operator, inputs, [output], name=like.name)
        node.attribute.extend(
            attribute for attribute in like.attribute if attribute.name not in changed
        )
        for name, value in changed.items():
            if value is not None:
                node.attribute.append(helper.make_attribute(name, value))
        self._add(node)

    def lift_output(self, node: onnx.NodeProto, scale: Scale) -> str:
        """Returns where a float operator has to write, whose integer output is `node`'s first.

        Where the scale clamps at zero, a Relu follows; call `after_output` when it is emitted.
        """
        output = node.output[0]
        self.lifted[output] = LiftedTensor(name=output, scale=scale)
        return f"{output}/linear" if scale.floor_is_zero else output

    def after_output(self, node: onnx.NodeProto, written: str, scale: Scale) -> None:
        """Puts a clamp behind a float operator that wrote elsewhere, and keeps the range of its output."""
        output = node.output[0]
        if written != output:
            if written in self._positive and not scale.ends_at_six:
                self._rename_last(written, output)
            else:
                self._clamp(written, output, scale, node.name)
        self.note(output, scale)

    def note(self, tensor: str, scale: Scale) -> None:
        """Keeps the range of a float tensor that was quantised."""
        amax = scale.amax
        if amax is not None and np.isfinite(amax) and amax > 0:
            self.amax[tensor] = max(amax, self.amax.get(tensor, 0.0))
            self.unusable.pop(tensor, None)
        elif tensor not in self.amax:
            self.unusable[tensor] = (
                "its scale is computed by the network" if scale.scale is None else
                f"no range is known of {scale.kind} with its zero point"
            )  # fmt: skip

    # Nodes

    def _node(self, node: onnx.NodeProto) -> None:
        if next(ordering.inner_graphs(node), None) is not None:
            taken = {*self.alias, *self.lifted, *self.unfinished}
            if reads := sorted(taken.intersection(ordering.reads(node))):
                raise self.refuse(node, f"its inner graph reads {reads[0]!r}, which is quantised")
        if form_of(node) is None:
            self._other(node)
        elif node.op_type == QUANTIZE:
            self._quantize(node)
        elif node.op_type == DEQUANTIZE:
            self._dequantize(node)
        elif node.op_type in self.handlers:
            self.handlers[node.op_type](self, node)
        else:
            raise self.refuse(node, "this tool knows no float operator for it")

    def _quantize(self, node: onnx.NodeProto) -> None:
        source = self.alias.get(node.input[0], node.input[0])
        scale = self.scale(node, 1, 2)
        if source in self.lifted or source in self.unfinished:
            raise self.refuse(node, f"quantises {source!r}, which is integers already")
        target = source
        if self.value(source) is None:
            if scale.floor_is_zero and source in self._computed and source not in self._positive:
                target = f"{node.output[0]}/relu"
                self._clamp(source, target, scale, f"{node.name}/relu")
            self.note(target, scale)
        self.lifted[node.output[0]] = LiftedTensor(name=target, scale=scale)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        scale, output = self.scale(node, 1, 2), node.output[0]
        if lifted := self._lifted(node, 0, scale):
            self.alias[output] = lifted
            return
        value = self._integers(node, 0)
        axis, block = graph.attribute(node, "axis", 1), graph.attribute(node, "block_size", 0)
        assert isinstance(axis, int)  # noqa: S101 - the checker has seen to it
        assert isinstance(block, int)  # noqa: S101
        self.constant(output, dequantised(value, scale, axis, block, node.name))

    def _other(self, node: onnx.NodeProto) -> None:
        integers = [name for name in node.input if name in self.lifted]
        if any(name in self.unfinished for name in node.input):
            self.handlers["unfinished"](self, node)
            return
        if not integers:
            if not self._folded(node):
                self._add(self._rewired(node))
            return
        if node.op_type not in CARRY or (node.op_type == "Resize" and not _stays_within(node)):
            message = f"computes on the integers {integers[0]!r}, and not as on floats"
            raise self.refuse(node, message)
        scale = self.lifted[integers[0]].scale
        if any(not self.lifted[name].scale.same(scale) for name in integers):
            message = "joins integers of several scales, and not as on floats"
            raise self.refuse(node, message)
        if node.op_type == "Concat" and len(integers) < len(node.input):
            raise self.refuse(node, "joins integers with constants")
        self._add(self._rewired(node))
        for output in node.output:
            self.lifted[output] = LiftedTensor(name=output, scale=scale)

    def _rewired(self, node: onnx.NodeProto) -> onnx.NodeProto:
        result = onnx.NodeProto()
        result.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in self.lifted:
                result.input[index] = self.lifted[name].name
            result.input[index] = self.alias.get(result.input[index], result.input[index])
        return result

    def _folded(self, node: onnx.NodeProto) -> bool:
        """Computes what carries a constant that was, or is to be, dequantised."""
        if node.op_type not in CARRY_WEIGHTS or not node.input:
            return False
        known = {name: self.value(name) for name in node.input}
        feed = {name: value for name, value in known.items() if value is not None}
        if len(feed) < len(known) or len(node.output) != 1:
            return False
        kind = feed[node.input[0]].dtype
        if node.input[0] not in self._made and not (kind.kind in "iu" and kind.itemsize == 1):
            return False
        (made,) = ReferenceEvaluator(node).run(None, feed)
        self.constant(node.output[0], np.asarray(made))
        return True

    def _add(self, node: onnx.NodeProto) -> None:
        self.nodes.append(node)
        self._computed.update(node.output)
        inputs = [name for name in node.input if name]
        data = inputs if node.op_type in ("Add", "Concat", "Mul") else inputs[:1]
        kept = node.op_type in KEEP_SIGN and all(self._not_negative(name) for name in data)
        if node.op_type in POSITIVE or kept or self._clips(node):
            self._positive.update(node.output)

    def _not_negative(self, name: str) -> bool:
        if name in self._positive:
            return True
        value = self.value(name)
        return value is not None and value.dtype.kind in "fiu" and bool((value >= 0).all())

    def _clips(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Clip":
            return False
        least = graph.attribute(node, "min")
        if len(node.input) > 1 and (value := self.value(node.input[1])) is not None:
            least = float(value)
        return isinstance(least, int | float) and least >= 0

    def _clamp(self, source: str, target: str, scale: Scale, name: str) -> None:
        self.relus.append(target)
        if not scale.ends_at_six:
            self._add(helper.make_node("Relu", [source], [target], name=f"{name}/relu"))
        elif self.opset < 11:
            name = f"{name}/relu6"
            self._add(helper.make_node("Clip", [source], [target], name=name, min=0.0, max=RELU6))
        else:
            bounds = [
                self.constant(f"{target}/{side}", np.asarray(value, np.float32))
                for side, value in (("min", 0.0), ("max", RELU6))
            ]
            self._add(helper.make_node("Clip", [source, *bounds], [target], name=f"{name}/relu6"))

    def _rename_last(self, old: str, new: str) -> None:
        node = self.nodes[-1]
        node.output[list(node.output).index(old)] = new
        self._computed.add(new)
        self._positive.add(new)


Handler = Callable[[Stripper, onnx.NodeProto], None]


def _stays_within(node: onnx.NodeProto) -> bool:
    return graph.attribute(node, "mode", "nearest") in ("nearest", "linear")
