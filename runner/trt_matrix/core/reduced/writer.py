"""Writes a network in which chosen nodes compute in a format below float32, with Casts between.

Tensors keep their names, so that what an engine tells of its layers is found in the network again; the
network's inputs and outputs keep their types too. Each tensor is converted once each way, and never
between two nodes that both stay in float32: a value too large for the format is nowhere in it.
"""

from collections.abc import Mapping

import onnx
from onnx import TensorProto, helper, numpy_helper

from trt_matrix.core.network import graph, ordering
from trt_matrix.core.reduced.formats import Format
from trt_matrix.core.reduced.guard import saturated
from trt_matrix.core.reduced.operators import Reducible


class Writer:
    """Rewrites one network."""

    def __init__(
        self,
        model: onnx.ModelProto,
        types: Mapping[str, int],
        chosen: Mapping[str, Reducible],
        wanted: Format,
    ) -> None:
        """Copies a network in canonical form; `chosen` is node → which of its inputs and outputs are to be reduced."""
        self.result = graph.copied(model)
        self.types = dict(types)
        self.chosen = chosen
        self.wanted = wanted
        self.weights = {tensor.name: tensor for tensor in self.result.graph.initializer}
        self.heads = {value.name for value in self.result.graph.output}
        self.nodes: list[onnx.NodeProto] = []
        self.taken = set(types) | {
            name for node in model.graph.node for name in (node.name, *ordering.reads(node))
        }
        self.low: dict[str, str] = {}
        """Tensor → what it is called in the format."""
        self.high: dict[str, str] = {}
        """Tensor that is made in the format → what it is called in float32."""

    def write(self) -> onnx.ModelProto:
        """Returns the network with its chosen nodes in the format."""
        for node in list(self.result.graph.node):
            self._node(node)
        graph.replace_nodes(self.result, self.nodes)
        graph.drop_unused_initialisers(self.result)
        for value in self.result.graph.value_info:
            if self.low.get(value.name) == value.name:
                value.type.tensor_type.elem_type = self.wanted.element
        return self.result

    def _node(self, node: onnx.NodeProto) -> None:
        chosen = self.chosen.get(node.name, Reducible(frozenset(), frozenset()))
        for index, name in enumerate(node.input):
            if index in chosen.inputs:
                bound = node.op_type == "Clip" and index > 0
                node.input[index] = self._in_format(name, bound=bound)
            elif name in self.low:
                node.input[index] = self._in_float32(name)
        for inner in ordering.inner_graphs(node):
            self._captured(inner)
        after = [self._give(node, index) for index in sorted(chosen.outputs)]
        self.nodes += [node, *(cast for cast in after if cast)]

    def _give(self, node: onnx.NodeProto, index: int) -> onnx.NodeProto | None:
        """Makes an output one of the format; returns the Cast behind it where it is a head."""
        name = node.output[index]
        if name not in self.heads:
            self.low[name] = name
            return None
        reduced = graph.free_name(f"{name}/{self.wanted.name}", self.taken)
        self.low[name] = node.output[index] = reduced
        self.high[name] = name
        return self._cast(self.low[name], name, TensorProto.FLOAT)

    def _in_format(self, name: str, *, bound: bool) -> str:
        """Returns the name of a float32 tensor's value in the format, which is made where it is not yet."""
        weight = self.weights.get(name)
        key = f"{name}/bound" if bound and weight is not None else name
        if key not in self.low:
            reduced_name = graph.free_name(f"{name}/{self.wanted.name}", self.taken)
            if weight is None:
                self.nodes.append(self._cast(name, reduced_name, self.wanted.element))
            else:
                exact = saturated(weight, self.wanted) if bound else None
                values = numpy_helper.to_array(exact or weight)
                reduced = numpy_helper.from_array(self.wanted.rounded(values), reduced_name)
                self.result.graph.initializer.append(reduced)
            self.low[key] = reduced_name
        return self.low[key]

    def _in_float32(self, name: str) -> str:
        """Returns the name of a tensor's float32 value, which is made where it is not yet."""
        if self.low.get(name) != name:
            return name  # it was float32 before it was converted for others
        if name not in self.high:
            self.high[name] = graph.free_name(f"{name}/float32", self.taken)
            self.nodes.append(self._cast(name, self.high[name], TensorProto.FLOAT))
        return self.high[name]

    def _captured(self, inner: onnx.GraphProto) -> None:
        """Gives a network inside a node, which stays as it is, what it takes from outside in float32."""
        own = {name for node in inner.node for name in node.output}
        own |= {value.name for value in inner.input} | {tensor.name for tensor in inner.initializer}
        for node in inner.node:
            for index, name in enumerate(node.input):
                if name in self.low and name not in own:
                    node.input[index] = self._in_float32(name)
            for deeper in ordering.inner_graphs(node):
                self._captured(deeper)
        for value in inner.output:
            if value.name in self.low and value.name not in own:
                value.name = self._in_float32(value.name)

    def _cast(self, source: str, target: str, element: int) -> onnx.NodeProto:
        name = graph.free_name(f"{target}/Cast", self.taken)
        return helper.make_node("Cast", [source], [target], name=name, to=element)
