"""What a person should know of the placement of int8 before anything runs."""

from collections.abc import Mapping, Sequence

import onnx

from runner.core.answers.wide import wide_weight
from runner.core.layers.executed import float_ends
from runner.core.network import shapes
from runner.core.network.calibration_graph import calibration_model
from runner.core.network.graph import GraphError
from runner.core.qdq.explicit import place
from runner.core.qdq.placements import Choice, Placed
from runner.core.qdq.weight_spread import WIDE
from runner.core.tables.table import Provenance, Table
from runner.core.words import count, listed, verb
from runner.records import WideWeight

NAMED = 3
WITHOUT_FLOAT_OUTPUT = frozenset({"Conv", "ConvTranspose"})
"""Layers that ONNX Runtime runs on integers only where their output is quantised too."""


def wide_notes(wide: Sequence[WideWeight]) -> tuple[str, ...]:
    """Returns which weights have channels that differ too much for one scale, where there are any."""
    if not wide:
        return ()
    named = listed([wide_weight(one) for one in wide[:NAMED]])
    more = f" and {count(len(wide) - NAMED, 'more')}" if len(wide) > NAMED else ""
    behind = list(dict.fromkeys(head for one in wide for head in one.heads))
    return (
        f"{count(len(wide), 'weight')} with output channels that differ by more than {WIDE:.0f} times: "
        f"{named}{more}; {listed(behind)} {verb('is', behind)} behind. A scale a channel (the default) does "
        "not mind, one for all of them loses the small ones",
    )


def activation_notes(choices: Mapping[str, Choice]) -> tuple[str, ...]:
    """Returns which activations ONNX Runtime gets, and why.

    Args:
        choices: environment → what its explicit int8 gets.
    """
    groups: dict[Choice, list[str]] = {}
    for name, choice in choices.items():
        groups.setdefault(choice, []).append(name)
    return tuple(
        f"{listed(names, NAMED)}: activations are {choice.activations} ({choice.why})"
        for choice, names in groups.items()
    )


def float_layer_notes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Returns which layers of a float network ONNX Runtime computes in float since its heads are float."""
    ends, share = float_end_layers(model)
    if not ends:
        return ()
    return (
        f"heads' outputs stay float, and ONNX Runtime has no convolution from int8 to float: "
        f"{listed(ends, NAMED)} ({share:.1%} of the multiply-accumulates) {verb('is', ends)} computed in "
        "float there, from quantised values; `quantisation: {outputs: int8}` quantises the outputs too",
    )


def float_end_layers(model: onnx.ModelProto) -> tuple[tuple[str, ...], float]:
    """Returns those layers, and their share of the multiply-accumulates, 0 to 1.

    Nothing where the network cannot be placed: the run tells why.
    """
    try:
        _, tensors = calibration_model(model)
        everything = Table(
            amax=dict.fromkeys(tensors, 1.0), provenance=Provenance(algorithm="none")
        )
        placed = place(model, everything, Placed(engine="onnxruntime").options()).model
        counts = shapes.macs(placed)
    except GraphError:
        return (), 0.0
    kinds = {node.name: node.op_type for node in placed.graph.node}
    ends = tuple(one for one in float_ends(placed) if kinds[one] in WITHOUT_FLOAT_OUTPUT)
    total = sum(counts.values())
    return ends, sum(counts.get(one, 0) for one in ends) / total if total else 0.0
