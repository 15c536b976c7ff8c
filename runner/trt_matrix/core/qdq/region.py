"""Which tensors of a network are quantised; decided walking from the outputs to the inputs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from trt_matrix.core.network import graph, ordering
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.operators import (
    ADDS,
    INTEGER_POINTWISE,
    MACS,
    POINTWISE,
    POOLS,
    carries,
    joined_by,
)
from trt_matrix.core.qdq.options import PlacementOptions


@dataclass(kw_only=True, slots=True)
class Region:
    """The part of a network that is quantised."""

    tensors: tuple[str, ...] = ()
    """Activations that get Q/DQ, in the network's order."""
    layers: set[str] = field(default_factory=set)
    """Multiply-accumulate nodes whose inputs and weights are quantised."""
    float_layers: dict[str, str] = field(default_factory=dict)
    """The others → why they stay in float; excluded ones are not named."""
    lacking: set[str] = field(default_factory=set)
    """Activations that should be quantised and have no range."""


def region(model: onnx.ModelProto, usable: Collection[str], options: PlacementOptions) -> Region:
    """Returns what to quantise of a canonical form whose `usable` activations have a range."""
    walk = _Walk(model, usable, options)
    for node in reversed(model.graph.node):
        standard = node.domain in graph.STANDARD_DOMAINS
        walk.visit(node, quantisable=standard and node.name not in options.exclude)
    walk.found.tensors = tuple(name for name in walk.activations if name in walk.demanded)
    return walk.found


class _Walk:
    def __init__(
        self, model: onnx.ModelProto, usable: Collection[str], options: PlacementOptions
    ) -> None:
        self.options = options
        self.activations = dict.fromkeys(tensors(model))
        self.usable = self.activations.keys() & set(usable)
        self.values = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = graph.producers(model)
        self.users = graph.consumers(model)
        self.heads = {value.name for value in model.graph.output}
        self.order = {node.name: index for index, node in enumerate(model.graph.node)}
        self.found = Region()
        self.demanded: set[str] = set()
        self.live: set[str] = set()
        """Tensors with a quantised layer somewhere behind them."""
        self.fused: set[str] = set()
        """Tensors that become a demanded one through activations that an engine fuses."""

    def visit(self, node: onnx.NodeProto, *, quantisable: bool) -> None:
        outputs = set(node.output)
        if quantisable:
            self._quantise(node, outputs)
        if node.name in self.found.layers or self.live & outputs:
            self.live.update(ordering.reads(node))

    def _quantise(self, node: onnx.NodeProto, outputs: set[str]) -> None:
        wanted = bool(self.demanded & outputs)
        if node.op_type in MACS:
            self._layer(node)
        elif carries(node):
            if wanted and self._demand(node.input[:1]):
                # An engine carries integers only if every output of the node is quantised.
                self._demand(name for name in node.output if name in self.activations)
        elif node.op_type == "Concat" or node.op_type in POOLS:
            if wanted:
                self._demand(joined_by(node))
        elif node.op_type in ADDS:
            if (wanted or self.fused & outputs) and not self._with_constant(node):
                self._demand(self._added(node))
        elif node.op_type in POINTWISE:
            if self.options.fuse:
                if wanted or self.fused & outputs:
                    self.fused.update(joined_by(node))
            elif wanted and node.op_type in INTEGER_POINTWISE and not self._with_constant(node):
                self._demand(joined_by(node))

    def _layer(self, node: onnx.NodeProto) -> None:
        reason = self._why_float(node)
        if reason is not None:
            self.found.float_layers[node.name] = reason
            return
        self.found.layers.add(node.name)
        self._demand(name for name in joined_by(node) if name not in self.values)
        output = node.output[0]
        last = output not in self.live
        if self.options.quantise_outputs if last else not self.options.fuse:
            self._demand([output])

    def _why_float(self, node: onnx.NodeProto) -> str | None:
        """Returns why a layer cannot be quantised; None where it can."""
        data = [name for name in joined_by(node) if name not in self.values]
        if not data:
            return "it computes a constant"
        for name in data:
            if name not in self.activations:
                return f"its input {name!r} is not float32"
            if name not in self.usable:
                self.found.lacking.add(name)
                return f"its input {name!r} has no range"
        for name in joined_by(node):
            tensor = self.values.get(name)
            if tensor is not None and tensor.data_type != TensorProto.FLOAT:
                return f"its weight {name!r} is not float32"
            if tensor is not None and not np.isfinite(numpy_helper.to_array(tensor)).all():
                return f"its weight {name!r} holds NaN or infinity"
        return None

    def _added(self, node: onnx.NodeProto) -> list[str]:
        """Returns the inputs of an addition to quantise: all, less the one an engine fuses into.

        That is the output of the last layer which only the addition reads.
        """
        added = list(joined_by(node))
        if self.options.fuse:
            fusable = [
                name
                for name in added
                if name in self.makers
                and self.makers[name].op_type in MACS
                and len(self.users[name]) == 1
                and name not in self.heads
            ]
            if fusable:
                added.remove(max(fusable, key=lambda name: self.order[self.makers[name].name]))
        return added

    def _with_constant(self, node: onnx.NodeProto) -> bool:
        return any(name in self.values for name in joined_by(node))

    def _demand(self, names: Iterable[str]) -> bool:
        """Quantises those of `names` that have a range; returns whether all had."""
        wanted = set(names)
        self.demanded.update(wanted & self.usable)
        missing = wanted - self.usable
        self.found.lacking.update(missing & self.activations.keys())
        return not missing
