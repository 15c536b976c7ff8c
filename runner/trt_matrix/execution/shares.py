"""What of each head ran on integers, and how many of its tensors got a scale: as the engine told."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from trt_matrix.core.layers.engine_layers import EngineLayer, engine_share
from trt_matrix.core.layers.executed import executed_share
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.records import Coverage, IntegerShare
from trt_matrix.core.tables.coverage import TensorArrival, coverage
from trt_matrix.execution.answer_models import LayersAnswer, ScalesAnswer
from trt_matrix.execution.answers import AnswerError


def shares_of(
    executed: Path, given: Path, heads: Sequence[tuple[str, str]]
) -> Mapping[str, IntegerShare]:
    """Returns head → share of its backward cone that integer kernels ran; `executed` is what the engine saved of `given`.

    Raises:
        AnswerError: `executed` is no such graph.
    """
    try:
        graph = onnx.load(executed, load_external_data=False)
        original = onnx.load(given, load_external_data=False)
        shares = executed_share(graph, original, [tensor for _, tensor in heads])
    except (DecodeError, GraphError) as error:
        message = f"{executed.name} is no graph that this network can have become: {error}"
        raise AnswerError(message) from error
    return {head: shares[tensor] for head, tensor in heads if tensor in shares}


def shares_of_layers(
    answer: LayersAnswer, given: Path, heads: Sequence[tuple[str, str]], *, quantised: bool
) -> Mapping[str, IntegerShare]:
    """Returns the same from the layers that TensorRT told; heads of which it told too little are out.

    `quantised` tells whether the network was to run in int8.

    Raises:
        AnswerError: the layers cannot be those of this network.
    """
    layers = [
        EngineLayer(tensors=layer.tensors, precision=layer.precision) for layer in answer.layers
    ]
    try:
        original = onnx.load(given, load_external_data=False)
        names = [tensor for _, tensor in heads]
        shares = engine_share(layers, original, names, quantised=quantised)
    except (DecodeError, GraphError) as error:
        raise AnswerError(f"the engine's layers are not those of this network: {error}") from error
    return {head: shares[tensor] for head, tensor in heads if tensor in shares}


def coverage_of(
    answer: ScalesAnswer, given: Path, heads: Sequence[tuple[str, str]]
) -> Mapping[str, Coverage]:
    """Returns head → what of a table arrived in the engine's network; `given` is the float one that it was given.

    Raises:
        AnswerError: the network cannot be read again.
    """
    arrived = TensorArrival(
        unmapped=answer.unmapped, unknown=answer.unknown, zero=answer.zero, missing=answer.missing
    )
    try:
        return coverage(onnx.load(given, load_external_data=False), arrived, heads)
    except (DecodeError, GraphError) as error:
        message = f"what of the table arrived cannot be told of this network: {error}"
        raise AnswerError(message) from error
