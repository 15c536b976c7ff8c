"""Whether what matrix.yaml says of single nodes of the network names any."""

from collections.abc import Iterator

import onnx

from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import did_you_mean, few
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.network.graph import GraphError
from trt_matrix.planning.problems import Problem


def node_problems(
    config: Config, model: onnx.ModelProto, whole: onnx.ModelProto
) -> Iterator[Problem]:
    """Yields what no node of the network is called; engines are given `model`, the file holds `whole`."""
    yield from _custom_operator_problems(config, whole)
    yield from _held_layer_problems(config, model, whole)
    yield from _float_layer_problems(config, model)


def _custom_operator_problems(config: Config, model: onnx.ModelProto) -> Iterator[Problem]:
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


def _held_layer_problems(
    config: Config, model: onnx.ModelProto, whole: onnx.ModelProto
) -> Iterator[Problem]:
    """Yields what of any `fp32_layers` no engine can hold."""
    stated = {("engines", "tensorrt"): config.engines.tensorrt} | {
        ("environments", index, "options"): getattr(entry, "options", None)
        for index, entry in enumerate(config.environments)
    }
    known, every = _names(model), _names(whole)
    for where, options in stated.items():
        for index, name in enumerate(getattr(options, "fp32_layers", ())):
            if name in every - known:
                problem = f"no head depends on {name!r}, so no engine is given it: leave it out"
                yield (*where, "fp32_layers", index), problem
            elif name not in known:
                close = did_you_mean(name, sorted(known))
                problem = f"no node of the network is called {name!r}, and none makes it{close}"
                yield (*where, "fp32_layers", index), problem


def _float_layer_problems(config: Config, model: onnx.ModelProto) -> Iterator[Problem]:
    """Yields what of `quantisation.exclude` and `.mixed` no node of the network is called."""
    asked = config.quantisation
    if not (asked.exclude or asked.mixed_layers):
        return
    try:
        known = {node.name for node in canonical(model).graph.node}
    except GraphError:
        return  # why it cannot be quantised is told by whoever does
    for key, names in (("exclude", asked.exclude), ("mixed", asked.mixed_layers)):
        for index, name in enumerate(names):
            if name not in known:
                close = did_you_mean(name, sorted(known))
                problem = f"no node that a head depends on is called {name!r}{close}"
                yield ("quantisation", key, index), problem


def _names(model: onnx.ModelProto) -> set[str]:
    """Returns what a layer can be called by: its name, or a tensor that it makes."""
    return {name for node in model.graph.node for name in (node.name, *node.output) if name}
