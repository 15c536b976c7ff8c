"""Reads the graph that an engine saved as executed; the judging of it is `core.executed`'s."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from runner.core.executed import executed_share
from runner.core.graph import GraphError
from runner.execution.answers import AnswerError
from runner.records import Share


def shares_of(executed: Path, given: Path, heads: Sequence[tuple[str, str]]) -> Mapping[str, Share]:
    """Returns head → share of its backward cone that integer kernels ran.

    Args:
        executed: What the engine saved.
        given: The network that it was given.
        heads: (head, output tensor).

    Raises:
        AnswerError: `executed` is no such graph.
    """
    try:
        graph = onnx.load(executed, load_external_data=False)
        original = onnx.load(given, load_external_data=False)
        found = executed_share(graph, original, [tensor for _, tensor in heads])
    except (DecodeError, GraphError) as error:
        message = f"{executed.name} is no graph that this network can have become: {error}"
        raise AnswerError(message) from error
    return {
        head: Share(
            integer_macs=found[tensor].macs_int,
            total_macs=found[tensor].macs_total,
            float_layers=tuple(found[tensor].float_layers),
            integer_operators=dict(found[tensor].operators),
            float_operators=dict(found[tensor].float_operators),
        )
        for head, tensor in heads
    }
