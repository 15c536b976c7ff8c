"""Which tensors share one scale, and whose range decides it."""

from collections.abc import Mapping

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.operators import MONOTONE, carries, joined_by


def scale_groups(model: onnx.ModelProto) -> dict[str, str]:
    """Returns activation → the tensor whose range it uses (often itself).

    - A layer that carries values gives its output the range of its input.
    - What only Relu or Clip reads takes the range of their output (`operators.MONOTONE`).
    - What only one concatenation reads takes the range of the concatenation's output.
    """
    activations = tensors(model)
    leader = {tensor: tensor for tensor in activations}
    users = graph.consumers(model)
    heads = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if carries(node) and node.input[0] in leader:
            source = leader[node.input[0]]
            leader.update({output: source for output in node.output if output in leader})
    for node in model.graph.node:
        if node.op_type not in MONOTONE or node.input[0] not in leader:
            continue
        before, after = node.input[0], node.output[0]
        alone = leader[before] == before and len(users[before]) == 1 and before not in heads
        if alone and after in leader:
            _follow(leader, before, leader[after])
    for node in reversed(model.graph.node):
        if node.op_type == "Concat" and node.output[0] in leader:
            _join_concat(node, leader, users, heads)
    return leader


def _join_concat(
    concat: onnx.NodeProto,
    leader: dict[str, str],
    users: dict[str, list[onnx.NodeProto]],
    heads: set[str],
) -> None:
    target = leader[concat.output[0]]
    for source in {leader[name] for name in joined_by(concat) if name in leader} - {target}:
        members = [name for name, lead in leader.items() if lead == source]
        inside = set(members)
        alone = all(
            user is concat or inside.issuperset(output for output in user.output if output)
            for name in members
            for user in users.get(name, ())
        )
        if alone and not heads.intersection(members):
            _follow(leader, source, target)


def _follow(leader: dict[str, str], source: str, target: str) -> None:
    """Puts everything that `source` leads under `target`."""
    leader.update({name: target for name, lead in leader.items() if lead == source})


def equal_ranges(form: onnx.ModelProto, amax: Mapping[str, float]) -> dict[str, float]:
    """Returns tensor → the range that it shares with what it carries, for those that a table has another of.

    TensorRT's implicit int8 has a range for each tensor. Builds on H200s gave the integers of a resizing's input on
    and read them at its output's scale (docs/reference/verified.md): every value is wrong by the ratio of the two
    ranges, and by nothing where they are equal.
    """
    leader = scale_groups(form)
    shared_ranges = {}
    for node in form.graph.node:
        if not carries(node):
            continue
        for tensor in (node.input[0], *node.output):
            shared = amax.get(leader.get(tensor, ""))
            if shared is not None and tensor in amax and amax[tensor] != shared:
                shared_ranges[tensor] = shared
    return shared_ranges
