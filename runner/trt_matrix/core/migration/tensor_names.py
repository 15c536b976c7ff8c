"""Whose tensor is whose, where a whole table is moved and not only what the experiment calibrates; pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import onnx

from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import tensors
from trt_matrix.core.network.operators import carries
from trt_matrix.core.qdq.explicit import deciding
from trt_matrix.core.tables.names import Naming, naming
from trt_matrix.core.tables.node_names import other_names

_OF_PARSER = re.compile(r"\(Unnamed Layer\* (\d{1,9})\) \[(\w{1,40})\]_output")
"""What TensorRT's parser calls the output of a layer that it adds: number and type of the layer."""


def called_as(
    model: onnx.ModelProto,
    form: onnx.ModelProto,
    theirs: Sequence[str],
    given: Mapping[str, str],
    least: float,
) -> Naming:
    """Returns which tensor of the network each name of a table means.

    A table of a calibrator that works after fusion names only what int8 layers read: where common affixes
    cannot be found from all tensors, they are looked for among those.

    `form` is the model in canonical form, `given` the user's map, theirs → ours. Affixes are taken off names
    only where so large a share of the tensors as `least` is known then.
    """
    here = {name for node in form.graph.node for name in node.output}
    folded = [
        name for node in model.graph.node for name in node.output if name and name not in here
    ]
    every = (*tensors(form), *folded)
    called = naming(theirs, every, given, least)
    if called.affixes is None and called.unmapped:
        others = other_names(model, (), every)
        called = naming(theirs, every, given, least, others)
    if called.affixes is None and not called.by_nodes:
        narrow = naming(theirs, deciding(form, tensors(form)), given, least)
        if (affixes := narrow.affixes) is not None:
            free = {*every}.difference(narrow.names.values(), theirs)
            pairs = [(name, affixes.ours_of(name)) for name in theirs if name not in narrow.names]
            more = {name: tensor for name, tensor in pairs if tensor and tensor in free}
            names = {**more, **narrow.names}
            arrived = {*names.values(), *theirs}
            unmapped = tuple(tensor for tensor in every if tensor not in arrived)
            return replace(narrow, names=names, unmapped=unmapped)
    return called


def likely(form: onnx.ModelProto, lacking: Iterable[str], unknown: Iterable[str]) -> dict[str, str]:
    """Returns name of the table → tensor that it is likely of; a hint, which a map confirms.

    For Softmax and the like TensorRT's parser adds layers that reshape around it, and names the layer itself
    by its number. Where as many of one type are unknown as tensors of one operator lack a scale, they stand
    in one order.
    """
    makers = graph.producers(form)
    wanted: dict[str, list[str]] = {}
    order = {name: index for index, name in enumerate(makers)}
    for tensor in sorted(lacking, key=lambda name: order.get(name, -1)):
        node = makers.get(tensor)
        while node is not None and carries(node):
            node = makers.get(node.input[0])
        if node is not None:
            wanted.setdefault(node.op_type.lower(), []).append(tensor)
    offered: dict[str, list[tuple[int, str]]] = {}
    for name in unknown:
        if match := _OF_PARSER.fullmatch(name):
            offered.setdefault(match[2].lower(), []).append((int(match[1]), name))
    return {
        theirs: ours
        for operator, ours_of in wanted.items()
        if len(offered.get(operator, ())) == len(ours_of)
        for (_, theirs), ours in zip(sorted(offered[operator]), ours_of, strict=True)
    }
