"""What becomes of each tensor of a calibration table in a Q/DQ network; pure.

TensorRT's implicit mode fuses a convolution with its batch normalisation, its activation and the addition
behind it, and then uses the scales of what goes into the fused layer and comes out of it; the cache has
scales of the tensors between them all the same. A Q/DQ network placed as TensorRT fuses has no Q/DQ there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.operators import ADDS, MACS, POINTWISE
from trt_matrix.core.qdq.explicit import INT8, Placement
from trt_matrix.core.tables.table import LEVELS

FUSABLE = ADDS | POINTWISE
LONGEST_ACTIVATION = 3
"""Nodes that an activation is written with, beside the product."""
PARSERS = "(Unnamed "
"""Begins the names that TensorRT's parsers give what they add themselves."""


class TensorFate(StrEnum):
    USED = "used"
    """Its scale stands in the Q/DQ network, bit for bit."""
    CARRIED = "carried"
    """It shares the scale of a tensor whose values it carries, or of a concatenation that it goes into."""
    JOINED = "joined"
    """It has the one scale of all that is joined with it: `unified_scales`."""
    FUSED = "inside a fusion"
    """It stands between a layer and what is fused into that: no engine has a tensor there."""
    OUTPUT = "output"
    """An output of the network: it stays float."""
    FLOAT = "float"
    """No int8 layer reads it."""
    UNUSABLE = "unusable"
    """Its scale is zero, negative, NaN, or of a grid that int8 has not."""
    PARSER = "of the parser"
    """TensorRT's parser made it; the ONNX file has no such tensor."""
    UNKNOWN = "unknown"
    """No tensor of the network is called so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """One tensor of a table."""

    tensor: str
    """In the network; as in the table, where that has no such tensor."""
    called: str
    """In the table."""
    fate: TensorFate
    scale: float
    """In the table."""
    written: float | None
    """In the Q/DQ network; None where it has no Q/DQ."""
    source: str | None
    """The tensor whose scale it has, where that is not its own."""
    why: str | None = None
    """Why its scale cannot be used."""


def traced(
    model: onnx.ModelProto,
    canonical: onnx.ModelProto,
    placement: Placement,
    values: Mapping[str, float],
    *,
    unusable: Mapping[str, str],
    names: Mapping[str, str],
    leader: Mapping[str, str],
    apart: Mapping[str, float],
) -> tuple[Traced, ...]:
    """Returns what became of every tensor of a table, in its order.

    Args:
        model: The float network as it came.
        canonical: The same in canonical form.
        placement: What was made of it.
        values: Of the table, the network's names: tensor → amax as it stands there.
        unusable: Of these, what cannot be a range → why.
        names: The table's names → the network's, of those that are called otherwise.
        leader: `scale_groups` of the canonical form.
        apart: Tensor → its scale, before what is joined was given one: those of the placement, where it was not.
    """
    called = {ours: theirs for theirs, ours in names.items()}
    inside = _inside(canonical, placement)
    known = {info.name for info in (*graph.inputs(model), *graph.outputs(model))}
    known.update(name for node in model.graph.node for name in node.output)
    here = {name for node in canonical.graph.node for name in node.output}
    here.update(tensor.name for tensor in graph.inputs(model))
    outputs = {output.name for output in graph.outputs(model)}
    fates = []
    for tensor, amax in values.items():
        scale = amax / LEVELS
        written = placement.quantised.get(tensor)
        source = None
        if tensor not in known:
            fate = TensorFate.PARSER if tensor.startswith(PARSERS) else TensorFate.UNKNOWN
        elif tensor in unusable:
            fate = TensorFate.UNUSABLE
        elif written is not None:
            fate = _quantised(scale, written, apart[tensor])
            source = leader[tensor] if fate is TensorFate.CARRIED else None
        elif tensor in outputs:
            fate = TensorFate.OUTPUT
        elif tensor in inside or tensor not in here:
            # What only the network as it came has was folded: a batch normalisation behind it.
            fate = TensorFate.FUSED
        else:
            fate = TensorFate.FLOAT
        fates.append(
            Traced(
                tensor=tensor,
                called=called.get(tensor, tensor),
                fate=fate,
                scale=scale,
                written=written,
                source=source,
                why=unusable.get(tensor) if fate is TensorFate.UNUSABLE else None,
            )
        )
    return tuple(fates)


def _quantised(scale: float, written: float, apart: float) -> TensorFate:
    if scale == written:
        return TensorFate.USED
    return TensorFate.CARRIED if written == apart else TensorFate.JOINED


def _inside(model: onnx.ModelProto, placement: Placement) -> set[str]:
    """Returns the tensors between an int8 layer and what an engine fuses into it."""
    users = graph.consumers(model)
    outputs = {output.name for output in graph.outputs(model)}
    order = {name: index for index, name in enumerate(graph.producers(model))}
    inside: set[str] = set()
    for node in model.graph.node:
        if node.domain not in graph.STANDARD_DOMAINS:
            continue
        layer = node.op_type in MACS and placement.layers.get(node.name) == INT8
        through = node.op_type in FUSABLE and bool(inside.intersection(node.input))
        if not (layer or through):
            continue
        for name in node.output:
            if name in outputs or name in placement.quantised or not users.get(name):
                continue
            read_by = users[name]
            alone = len(read_by) == 1 or _is_activation(read_by, users)
            if alone and all(_fuses(user, name, placement, order) for user in read_by):
                inside.add(name)
    return inside


def _fuses(
    user: onnx.NodeProto, tensor: str, placement: Placement, order: Mapping[str, int]
) -> bool:
    """Whether a node is fused into what makes a tensor that it reads.

    An addition is fused into one of its branches, the last; the other is a tensor that the engine has.
    """
    if user.domain not in graph.STANDARD_DOMAINS or user.op_type not in FUSABLE:
        return False
    if user.op_type not in ADDS:
        return True
    floats = [read for read in user.input if read in order and read not in placement.quantised]
    return max(floats, key=lambda read: order[read]) == tensor


def _is_activation(
    users: Sequence[onnx.NodeProto], all_users: Mapping[str, Sequence[onnx.NodeProto]]
) -> bool:
    """Whether several nodes read a tensor as one activation: x · sigmoid(x), x · tanh(softplus(x))."""
    products = [user for user in users if user.op_type == "Mul"]
    others = [user for user in users if user.op_type != "Mul"]
    if len(products) != 1 or len(others) != 1:
        return False
    tensor = others[0].output[0]
    for _ in range(LONGEST_ACTIVATION):
        if tensor in products[0].input:
            return True
        behind = all_users.get(tensor, ())
        if len(behind) != 1 or behind[0].op_type not in POINTWISE:
            return False
        tensor = behind[0].output[0]
    return False
