"""Whether heads name tensors that can be compared, and what is told of those that cannot in full."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

import onnx

from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.core.network import graph
from trt_matrix.core.network.cutting import UNKNOWN, left_out, obstacle, tensors_of, types_of
from trt_matrix.core.network.ranked import Rankings
from trt_matrix.core.network.ranked_sentences import advice, ranked_by
from trt_matrix.core.network.shapes import inferred
from trt_matrix.core.network.tail_limits import limits
from trt_matrix.core.words import count, listed, verb


def head_problems(
    model: onnx.ModelProto, heads: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yields (head, why its tensor cannot be given out and compared); `heads` are (head, output or inner tensor)."""
    outputs = [output.name for output in graph.outputs(model)]
    tensors = tensors_of(model)
    known = types_of(model, [tensor for _, tensor in heads])
    limited = limits(model, {head: tensor for head, tensor in heads if tensor in tensors})
    for head, tensor in heads:
        if head in limited:
            why, ranked = limited[head]
            yield head, f"{tensor!r} {why}; {advice(head, ranked, dict(heads))}"
            continue
        reason = obstacle(model, tensor, known)
        if reason is None:
            continue
        if tensor in tensors or reason != UNKNOWN:
            yield head, f"{tensor!r} {reason}"
            continue
        close = did_you_mean(tensor, outputs) or _near(tensor, tensors)
        yield head, f"{tensor!r} {reason}{close}; its outputs: {few(outputs)}"


def batch_problems(
    model: onnx.ModelProto, heads: Sequence[tuple[str, str]], batch: int
) -> Iterator[str]:
    """Yields why the images of a batch cannot be told apart in a head, as far as its shape says it."""
    if batch == 1:
        return
    known = inferred(model)
    for head, tensor in heads:
        shape = known[tensor].shape if tensor in known else None
        first = shape[0] if shape else None
        if shape is not None and (
            not shape or (isinstance(first, int) and first not in (0, batch))
        ):
            yield (
                f"head {head} has the shape {list(shape)}: of a batch of {batch} images the first size has to be "
                f"{batch}; name a tensor as the head that has it so, export the network with an open batch, or "
                "leave `batch` out"
            )


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:200], known, n=3, cutoff=0.5)
    return f"; near: {', '.join(map(repr, close))}" if close else ""


def inner_heads(model: onnx.ModelProto, heads: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Returns the heads whose tensors the network does not give out by itself."""
    outputs = {output.name for output in graph.outputs(model)}
    return tuple(head for head, tensor in heads if tensor not in outputs)


def unknown_variants(config: Config) -> Iterator[tuple[str, str]]:
    """Yields (head, what is wrong with the names that it has in variants)."""
    known = [str(file) for file in config.model.variants]
    for name, head in config.heads.items():
        for file in head.variants:
            if file not in known:
                close = did_you_mean(file, known)
                yield (
                    name,
                    f"{file!r} is none of model.variants{close}; {few(known) or 'there are none'}",
                )


def head_notes(
    config: Config,
    whole: onnx.ModelProto,
    given: onnx.ModelProto,
    heads: Sequence[tuple[str, str]],
    rankings: Rankings,
) -> tuple[str, ...]:
    """Returns what a person should know of the heads before anything runs.

    `whole` is the network as its file holds it, `given` as engines are given it.
    """
    return (
        *_ranked_notes(config, dict(heads), rankings),
        *(
            f"head {head}: {gate.operator} (node {gate.node}) chooses what is mixed into it; its elements "
            "keep their places, so it is compared by SQNR, and jumps where the choice changes"
            for head, gate in rankings.gates.items()
        ),
        *_cut_notes(whole, given, heads),
    )


def _ranked_notes(config: Config, heads: Mapping[str, str], rankings: Rankings) -> Iterator[str]:
    decoded = config.decoded_heads()
    for head, ranked in rankings.rows.items():
        how = (
            "compared as boxes, not by SQNR"
            if head in decoded
            else "compared as boxes where `decode` says how, else not by SQNR"
        )
        gate = config.heads[head].gate.sqnr_db
        unjudged = "" if gate is None else f"; its gate of {gate:g} dB is not judged"
        yield f"{ranked_by(head, ranked)}: {how}; {advice(head, ranked, heads)}{unjudged}"


def _cut_notes(
    whole: onnx.ModelProto, given: onnx.ModelProto, heads: Sequence[tuple[str, str]]
) -> Iterator[str]:
    inner = inner_heads(whole, heads)
    if inner:
        yield (
            f"{listed(inner)} {verb('is', inner)} inside the network: engines are given it with "
            f"{'that tensor as output' if len(inner) == 1 else 'those tensors as outputs'}, which can "
            "keep them from fusing the layers around"
        )
    gone = left_out(whole, [tensor for _, tensor in heads])
    if gone:
        nodes = len(whole.graph.node) - len(given.graph.node)
        single = len(gone) == 1
        yield (
            f"output{'' if single else 's'} {listed(gone)} {'is no head' if single else 'are no heads'}: "
            f"left out, with {count(nodes, 'node')} that nothing else needs, of what engines compute"
        )


def is_floating(dtype: str) -> bool:
    """Tells whether a head of this type can be compared; one that the model leaves open may be."""
    return dtype == "unknown" or "float" in dtype
