"""What a person should know of the placement of int8 before anything runs."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import onnx

from trt_matrix.core.answers.wide import wide_weight
from trt_matrix.core.diagnosis.carried import EQUAL
from trt_matrix.core.layers.executed import float_ends
from trt_matrix.core.manifest import WideWeight
from trt_matrix.core.network import shapes
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.graph import STANDARD_DOMAINS, GraphError
from trt_matrix.core.network.operators import MACS, carries, joined_by
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.placements import Placed, PlacementChoice, kept_in_float
from trt_matrix.core.qdq.scale_groups import equal_ranges
from trt_matrix.core.qdq.weight_spread import WIDE
from trt_matrix.core.tables.table import Provenance, Table
from trt_matrix.core.words import count, listed, verb, visible

NAMED = 3
WITHOUT_FLOAT_OUTPUT = frozenset({"Conv", "ConvTranspose"})
"""Layers that ONNX Runtime runs on integers only where their output is quantised too."""


def wide_notes(wide: Sequence[WideWeight]) -> tuple[str, ...]:
    """Returns which weights have channels that differ too much for one scale, where there are any."""
    if not wide:
        return ()
    named = listed([wide_weight(weight) for weight in wide[:NAMED]])
    more = f" and {count(len(wide) - NAMED, 'more')}" if len(wide) > NAMED else ""
    behind = list(dict.fromkeys(head for weight in wide for head in weight.heads))
    return (
        f"{count(len(wide), 'weight')} with output channels that differ by more than {WIDE:.0f} times: "
        f"{named}{more}; {listed(behind)} {verb('is', behind)} behind. A scale a channel (the default) does "
        "not mind, one for all of them loses the small ones",
    )


def activation_notes(choices: Mapping[tuple[str, str], PlacementChoice]) -> tuple[str, ...]:
    """Returns which activations ONNX Runtime gets, and why; `choices` are by (environment, device)."""
    of: dict[str, set[PlacementChoice]] = {}
    for (environment, _), choice in choices.items():
        of.setdefault(environment, set()).add(choice)
    groups: dict[PlacementChoice, dict[str, None]] = {}
    for (environment, device), choice in choices.items():
        name = environment if len(of[environment]) == 1 else f"{environment} on {device}"
        groups.setdefault(choice, {})[name] = None
    return tuple(
        f"{listed(list(names), NAMED)}: activations are {choice.activations} ({choice.why})"
        for choice, names in groups.items()
    )


def float_layer_notes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns which layers of a float network ONNX Runtime computes in float since its heads are float."""
    ends, share = float_end_layers(model)
    if not ends:
        return ()
    return (
        f"the network's outputs stay float, and ONNX Runtime has no convolution from int8 to float: "
        f"{listed(ends, NAMED)} ({share:.1%} of the multiply-accumulates) {verb('is', ends)} computed in "
        "float there, from quantised values; `quantisation: {outputs: int8}` quantises the outputs too",
    )


def float_end_layers(model: onnx.ModelProto) -> tuple[tuple[str, ...], float]:
    """Returns those layers, and their share of the multiply-accumulates, 0 to 1.

    Nothing where the network cannot be placed: the run tells why.
    """
    try:
        placed = place(model, _everything(model), Placed(engine="onnxruntime").options()).model
        counts = shapes.macs(placed)
    except GraphError:
        return (), 0.0
    kinds = {node.name: node.op_type for node in placed.graph.node}
    ends = tuple(
        float_end for float_end in float_ends(placed) if kinds[float_end] in WITHOUT_FLOAT_OUTPUT
    )
    total = sum(counts.values())
    return ends, sum(counts.get(end, 0) for end in ends) / total if total else 0.0


def range_notes(
    file: str, model: onnx.ModelProto, amax: Mapping[str, float], *, equal: bool
) -> tuple[str, ...]:
    """Returns which of a file's ranges differ where only values are moved, and what becomes of them.

    `amax` is tensor → range in the table; `equal` whether it is carried into implicit int8 with equal ranges.
    """
    try:
        form = canonical(model)
    except GraphError:
        return ()  # why it cannot be quantised is told by whoever does
    if equal:
        made = {
            name: (amax[name], after)
            for name, after in equal_ranges(form, amax).items()
            if _apart(amax[name], after) >= EQUAL
        }
        changes = [f"{visible(name)} {a:.4g} → {b:.4g}" for name, (a, b) in made.items()]
        return (
            (
                f"{visible(file)} is carried into implicit int8 with {count(len(made), 'range')} changed, so that "
                f"what only moves values has one on both sides: {listed(changes, NAMED)}. What the file does as it stands is "
                "not tried; `calibration: {equal_ranges: false}` does",
            )
            if made
            else ()
        )
    # Of resizings alone it is known that builds lost by it (docs/reference/verified.md).
    pairs = [
        (node.name, amax[node.input[0]], amax[node.output[0]])
        for node in form.graph.node
        if node.op_type == "Resize"
        and carries(node)
        and node.input[0] in amax
        and node.output[0] in amax
    ]
    unlike = [(name, a, b) for name, a, b in pairs if _apart(a, b) >= EQUAL]
    if not unlike:
        return ()
    changes = [f"{visible(name)} {a:.4g} before and {b:.4g} behind it" for name, a, b in unlike]
    return (
        f"{visible(file)} has two ranges around {count(len(unlike), 'resizing')}: {listed(changes, NAMED)}. It is carried into "
        "implicit int8 as it is, and TensorRT can lose heads by that; `calibration: {equal_ranges: true}` makes them "
        "equal, as with Q/DQ nodes",
    )


def carrier_notes(
    model: onnx.ModelProto, kept: Iterable[tuple[str, Collection[str]]]
) -> tuple[str, ...]:
    """Returns which nodes that are kept in float an engine may run on integers all the same.

    Left-out Q/DQ keeps a node with weights in float, whose weights have none. One without them still stands
    between its neighbours' pairs, and an engine may move or fuse those over it. `kept` are engine and layers
    kept in float there, of every pass with Q/DQ nodes.
    """
    weightless: dict[str, None] = {}
    for engine, layers in dict.fromkeys((engine, tuple(layers)) for engine, layers in kept):
        weightless |= dict.fromkeys(_weightless(model, engine, layers))
    if not weightless:
        return ()
    names = [visible(name) for name in weightless]
    single = len(names) == 1
    return (
        f"{listed(names, NAMED)} {verb('have', names)} no weights: with Q/DQ nodes left out around "
        f"{'it' if single else 'them'}, an engine may run {'it' if single else 'them'} on integers all the same, between "
        "those of the neighbours; the report tells what ran",
    )


def _weightless(model: onnx.ModelProto, engine: str, layers: Collection[str]) -> list[str]:
    """Returns those of `layers` without weights that stand beside a tensor which is quantised."""
    try:
        form, everything = canonical(model), _everything(model)
        options = Placed(engine=engine, in_float=kept_in_float(layers)).options(layers)
        pairs = place(model, everything, options).quantised.keys()
    except GraphError:
        return []
    constants = {tensor.name for tensor in form.graph.initializer}
    return [
        node.name
        for node in form.graph.node
        if node.name in layers
        and node.domain in STANDARD_DOMAINS
        and not (node.op_type in MACS and constants.intersection(joined_by(node)))
        and pairs & {*joined_by(node), *node.output}
    ]


def _everything(model: onnx.ModelProto) -> Table:
    """Returns a table in which every tensor has a range: for where Q/DQ stands, not for numbers.

    Raises:
        GraphError: no range can be measured in the network.
    """
    _, tensors = calibration_model(model)
    return Table(amax=dict.fromkeys(tensors, 1.0), provenance=Provenance(algorithm="none"))


def _apart(own: float, other: float) -> float:
    """Returns how many times the larger of two ranges is the smaller."""
    return max(own, other) / min(own, other)
