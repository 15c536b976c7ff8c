"""What a placement quantises, as parts that can be switched one by one.

A network in int8 is its float form with quantisers in it: a Q/DQ pair on an activation, or the weights
(and the bias) of a layer replaced by the values that their integers stand for. The parts are read out
of a placed network, so whatever rules placed them hold here too.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import MACS
from trt_matrix.core.qdq.explicit import Placement, place
from trt_matrix.core.qdq.options import PlacementOptions, simulation_of
from trt_matrix.core.tables.table import Table

Array = npt.NDArray[np.generic]


class DiagnosisError(ValueError):
    """A network or a placement that cannot be taken apart; says what and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class QuantiserPair:
    """QuantizeLinear and DequantizeLinear on one activation."""

    tensor: str
    scale: float
    zero_point: int
    dtype: str
    """`int8` or `uint8`."""
    as_head: bool = False
    """Whether an output of the network of this name is what the pair gives, not what it reads."""
    read_scale: float | None = None
    """What a step is taken for where its integers are read; None: what it was."""

    @property
    def limits(self) -> tuple[float, float]:
        """Returns the least and the largest value that is rounded, not clipped: half a step beyond the ends."""
        levels = np.iinfo(self.dtype)
        low, high = levels.min - self.zero_point - 0.5, levels.max - self.zero_point + 0.5
        return low * self.scale, high * self.scale


Part = tuple[str, str]
"""One thing that is quantised: (`activation`, tensor) or (`weights`, layer)."""


def activation(tensor: str) -> Part:
    return "activation", tensor


def weights(layer: str) -> Part:
    return "weights", layer


@dataclass(frozen=True, slots=True)
class State:
    """A network with some of its quantisers switched on; the empty one is float."""

    pairs: frozenset[QuantiserPair] = frozenset()
    layers: frozenset[str] = frozenset()
    """Layers (nodes) whose weights are quantised."""

    def with_only(self, tensors: Collection[str], layers: Collection[str]) -> "State":
        """Returns the state in which of these quantisers alone those named are on."""
        pairs = frozenset(pair for pair in self.pairs if pair.tensor in tensors)
        return State(pairs, self.layers.intersection(layers))

    def without(self, tensors: Collection[str], layers: Collection[str]) -> "State":
        """Returns the state in which those named are off."""
        pairs = frozenset(pair for pair in self.pairs if pair.tensor not in tensors)
        return State(pairs, self.layers.difference(layers))

    @property
    def tensors(self) -> frozenset[str]:
        return frozenset(pair.tensor for pair in self.pairs)

    def distance(self, other: "State") -> int:
        """Returns how many quantisers differ."""
        return len(self.pairs ^ other.pairs) + len(self.layers ^ other.layers)

    def key(self) -> list[object]:
        """Returns it as JSON, always in one order."""
        pairs = [
            [pair.tensor, pair.scale, pair.zero_point, pair.dtype, pair.as_head, pair.read_scale]
            for pair in sorted(self.pairs)
        ]
        return [pairs, sorted(self.layers)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantised:
    """A network and everything that a placement quantises in it."""

    model: onnx.ModelProto
    """In canonical form, float."""
    state: State
    """All quantisers on."""
    parameters: Mapping[str, Mapping[int, Array]]
    """Layer → index of its input → the values that its integers stand for."""
    skipped: Mapping[str, str]
    """Activation that should have been quantised → why it could not."""
    layers: Mapping[str, str]
    """Every multiply-accumulate node → `int8`, or why it stays in float."""


Exclude = Callable[[frozenset[str]], State]
"""From the layers that are kept in float to the quantisers that the placement leaves on."""


def quantised(model: onnx.ModelProto, table: Table, options: PlacementOptions) -> Quantised:
    """Returns everything that the placement quantises.

    Weights are folded, whatever the options say.

    Raises:
        graph.GraphError: see `explicit.place`.
        DiagnosisError: an activation has a scale a channel.
    """
    placed = place(model, table, simulation_of(options))
    values = {tensor.name: tensor for tensor in placed.model.graph.initializer}
    float_values = {tensor.name for tensor in model.graph.initializer}
    before = {node.name: node for node in model.graph.node}
    parameters: dict[str, dict[int, Array]] = {}
    for node in placed.model.graph.node:
        old = before.get(node.name)
        if old is None or node.op_type not in MACS:
            continue
        for index, name in enumerate(node.input):
            if name in values and name != old.input[index] and old.input[index] in float_values:
                parameters.setdefault(node.name, {})[index] = numpy_helper.to_array(values[name])
    return Quantised(
        model=model,
        state=State(_pairs(placed, model), frozenset(parameters)),
        parameters=parameters,
        skipped=placed.skipped,
        layers=placed.layers,
    )


def excluding(found: Quantised, table: Table, options: PlacementOptions) -> Exclude:
    """Returns the way from layers in float to the quantisers that are left, as the placement says.

    Raises (the function): graph.GraphError: see `explicit.place`.
    """
    known: dict[frozenset[str], State] = {frozenset(): found.state}

    def state(layers: frozenset[str]) -> State:
        if layers not in known:
            chosen = replace(simulation_of(options), exclude=options.exclude | layers)
            placed = place(found.model, table, chosen)
            in_int8 = [name for name, what in placed.layers.items() if what == "int8"]
            pairs = _pairs(placed, found.model)
            known[layers] = State(pairs, found.state.layers.intersection(in_int8))
        return known[layers]

    return state


def _pairs(placed: Placement, model: onnx.ModelProto) -> frozenset[QuantiserPair]:
    values = {tensor.name: tensor for tensor in placed.model.graph.initializer}
    tensors = {name for node in model.graph.node for name in node.output}
    tensors.update(info.name for info in graph.inputs(model))
    own = {node.name for node in model.graph.node}
    readers = graph.consumers(placed.model)
    pairs = set()
    for node in placed.model.graph.node:
        if node.op_type != "QuantizeLinear" or node.name in own or node.input[0] in values:
            continue
        read_by = readers[node.output[0]]
        after = next(reader for reader in read_by if reader.op_type == "DequantizeLinear")
        as_head = node.input[0] not in tensors
        tensor = after.output[0] if as_head else node.input[0]
        scale = numpy_helper.to_array(values[node.input[1]])
        zero = numpy_helper.to_array(values[node.input[2]]) if len(node.input) > 2 else np.uint8(0)
        if scale.size != 1 or np.size(zero) != 1:
            message = (
                f"activation {tensor!r} has a scale for each channel: only weights may have them"
            )
            raise DiagnosisError(message)
        zero_point, dtype = int(np.reshape(zero, ())), str(np.asarray(zero).dtype)
        pairs.add(QuantiserPair(tensor, float(scale.reshape(())), zero_point, dtype, as_head))
    return frozenset(pairs)
