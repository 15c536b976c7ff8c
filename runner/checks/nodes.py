"""Whether what matrix.yaml says of single nodes of the network names any."""

from collections.abc import Iterator

import onnx

from runner.config.matrix import Config
from runner.config.problems import did_you_mean, few

Problem = tuple[tuple[str | int, ...], str]
"""Place in matrix.yaml; what is wrong there."""


def custom_operator_problems(config: Config, model: onnx.ModelProto) -> Iterator[Problem]:
    """Yields what of `model.custom_operators` is neither an operator nor a node of the network."""
    operators = {node.op_type for node in model.graph.node}
    known = operators | {node.name for node in model.graph.node}
    for index, name in enumerate(config.model.custom_operators):
        if name not in known:
            close = did_you_mean(name, sorted(known))
            yield (
                ("model", "custom_operators", index),
                f"no operator or node of the network is called {name!r}{close}; "
                f"its operators: {few(sorted(operators))}",
            )


def held_layer_problems(
    config: Config, model: onnx.ModelProto, whole: onnx.ModelProto
) -> Iterator[Problem]:
    """Yields what of any `fp32_layers` no engine can hold.

    Args:
        config: matrix.yaml.
        model: The network as engines are given it.
        whole: The network as its file holds it.
    """
    stated = {("engines", "tensorrt"): config.engines.tensorrt} | {
        ("environments", index, "options"): getattr(entry, "options", None)
        for index, entry in enumerate(config.environments)
    }
    known, every = _names(model), _names(whole)
    for where, options in stated.items():
        for index, name in enumerate(getattr(options, "fp32_layers", ())):
            if name in every - known:
                told = f"no head depends on {name!r}, so no engine is given it: leave it out"
                yield (*where, "fp32_layers", index), told
            elif name not in known:
                close = did_you_mean(name, sorted(known))
                told = f"no node of the network is called {name!r}, and none makes it{close}"
                yield (*where, "fp32_layers", index), told


def _names(model: onnx.ModelProto) -> set[str]:
    """Returns what a layer can be called by: its name, or a tensor that it makes."""
    return {name for node in model.graph.node for name in (node.name, *node.output) if name}
