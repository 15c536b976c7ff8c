"""Whether the network's variants fit together by their names and shapes; no engine.

That they are one function is seen when all are computed (`execution.alternatives`).
"""

from collections.abc import Collection, Mapping, Sequence

import onnx

from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.core.network import graph
from trt_matrix.core.network.cutting import UNKNOWN, cut, obstacle, renamed, tensors_of, types_of
from trt_matrix.core.network.image_input import (
    CHANNELS,
    ImageInput,
    SampleInput,
    image_input,
    sample_input,
)
from trt_matrix.core.tables.coverage import enough

NAMED = 3
"""Tensors that a message names."""


def with_heads(
    model: onnx.ModelProto,
    heads: Sequence[tuple[str, str]],
    called: Mapping[str, str],
    outputs: Collection[str],
) -> tuple[onnx.ModelProto, list[str]]:
    """Returns a variant that gives out the heads under the network's names, and why it cannot.

    `called` is head → what its tensor is called in the variant, where that differs. `outputs` is what the network's
    file gives out: heads that are none of them are inner tensors.
    """
    known = [output.name for output in graph.outputs(model)]
    tensors = tensors_of(model)
    names = {head: called.get(head, tensor) for head, tensor in heads}
    types = types_of(model, list(names.values()))
    problems = []
    missing = []
    for head, tensor in heads:
        own = names[head]
        reason = None if own in known else obstacle(model, own, types)
        if reason is None:
            continue
        if reason != UNKNOWN:
            problems.append(f"cannot give out head {head}: {own!r} {reason}")
        elif tensor in outputs and head not in called:
            missing.append(own)
        else:
            problems.append(
                f"has no tensor {own!r} for head {head}{did_you_mean(own, tensors)}: say what it is "
                f"called there, heads.{head}.variants, or leave the variant or the head out"
            )
    if missing:
        problems.append(
            f"has no output {', '.join(map(repr, missing))}; its outputs: {few(known)}: "
            "export both with the same names"
        )
    if problems:
        return model, problems
    try:
        others = {names[head]: tensor for head, tensor in heads if head in called}
        return cut(renamed(model, others), [tensor for _, tensor in heads]), []
    except graph.GraphError as error:
        return model, [f"cannot give out its heads: {error}"]


def interface_problems(
    model: onnx.ModelProto, image: ImageInput | SampleInput, batch: int
) -> list[str]:
    """Returns why a variant cannot be fed as the network is."""
    problems = []
    try:
        other = _like(image, model, batch)
    except graph.GraphError as error:
        return [str(error)]
    if other != image:
        problems.append(
            f"takes {_told(other)}, the network takes {_told(image)}: export both alike"
        )
    return problems


def names_problem(
    tensors: Sequence[str], known: Collection[str], least_coverage: float
) -> str | None:
    """Returns why one table cannot serve a variant and the network, None where it can.

    Of `tensors`, those of the variant that need a scale, the network must know at least a share of `least_coverage`.
    """
    known = frozenset(known)
    unknown = [name for name in tensors if name not in known]
    if enough(len(tensors) - len(unknown), len(tensors), least_coverage):
        return None
    named = ", ".join(map(repr, unknown[:NAMED]))
    return (
        f"only {len(tensors) - len(unknown)} of its {len(tensors)} tensors are called as in the network, "
        f"others are not: {named}; a table of one cannot serve the other: export both with the same names"
    )


def _like(
    image: ImageInput | SampleInput, model: onnx.ModelProto, batch: int
) -> ImageInput | SampleInput:
    """Returns what a variant takes, read as the network's own input was."""
    images = isinstance(image, ImageInput) and image.channels in CHANNELS
    return image_input(model, batch) if images else sample_input(model, batch)


def _told(image: ImageInput | SampleInput) -> str:
    if isinstance(image, SampleInput):
        return f"{image.name!r} of {list(image.shape)}"
    channels, height, width = image.shape
    last = ", channels last" if image.channels_last else ""
    return f"{image.name!r} with {channels} channels of {height}×{width}{last}"
