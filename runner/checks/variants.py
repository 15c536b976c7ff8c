"""Whether the network's variants fit together by their names and shapes; no engine.

That they are one function is seen when all are computed (`execution.alternatives`).
"""

from collections.abc import Collection, Sequence

import onnx

from runner.config.problems import few
from runner.core.network import graph
from runner.core.network.image_input import ImageInput, image_input
from runner.core.tables.coverage import enough

NAMED = 3
"""Tensors that a message names."""


def interface_problems(
    model: onnx.ModelProto, image: ImageInput, heads: Sequence[tuple[str, str]]
) -> list[str]:
    """Returns why a variant cannot be fed and read as the network is.

    Args:
        model: The variant.
        image: The network's input.
        heads: (head, output tensor) of the network.
    """
    problems = []
    try:
        other = image_input(model)
    except graph.GraphError as error:
        return [str(error)]
    if other != image:
        problems.append(
            f"takes {_told(other)}, the network takes {_told(image)}: export both alike"
        )
    known = [output.name for output in graph.outputs(model)]
    missing = [output for _, output in heads if output not in known]
    if missing:
        problems.append(
            f"has no output {', '.join(map(repr, missing))}; its outputs: {few(known)}: "
            "export both with the same names"
        )
    return problems


def names_problem(
    tensors: Sequence[str], known: Collection[str], least_coverage: float
) -> str | None:
    """Returns why one table cannot serve a variant and the network, None where it can.

    Args:
        tensors: Those of the variant that need a scale.
        known: The same of the network.
        least_coverage: Least share of `tensors` that must be known, 0 to 1.
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


def _told(image: ImageInput) -> str:
    channels, height, width = image.shape
    last = ", channels last" if image.channels_last else ""
    return f"{image.name!r} with {channels} channels of {height}×{width}{last}"
