"""Small networks with Q/DQ nodes in them."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from tests.unit import small_networks as networks
from tests.unit.small_networks import image
from trt_matrix.core.network import graph
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.qdq.explicit import Placement, place
from trt_matrix.core.qdq.options import ONNXRUNTIME, TENSORRT, PlacementOptions
from trt_matrix.core.tables.table import Provenance, Table, from_ranges

BY = Provenance(algorithm="minmax")


def minmax(model: onnx.ModelProto, *feeds: np.ndarray) -> Table:
    """The table of the largest magnitudes over `feeds`."""
    wide, names = calibration_model(model)
    feeds = feeds or (
        image(tuple(d if isinstance(d, int) else 1 for d in graph.inputs(model)[0].shape or ())),
    )
    name = graph.inputs(model)[0].name
    ranges = dict.fromkeys(names, 0.0)
    for feed in feeds:
        outputs = networks.run(wide, {name: feed}) | {name: feed}
        ranges = {n: max(a, float(np.abs(outputs[n]).max())) for n, a in ranges.items()}
    return from_ranges(ranges, BY)


WHOLE = replace(ONNXRUNTIME, quantise_outputs=True)
"""Heads quantised too."""


def placed(model: onnx.ModelProto, options: PlacementOptions = TENSORRT) -> Placement:
    placement = place(model, minmax(model), options)
    onnx.checker.check_model(placement.model, full_check=True)
    return placement


def source(model: onnx.ModelProto, node: str, index: int = 0) -> str:
    """Operator that gives input `index` of a node."""
    found = next(node_proto for node_proto in model.graph.node if node_proto.name == node)
    nodes = graph.producers(model)
    return nodes[found.input[index]].op_type if found.input[index] in nodes else "input"


def values(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    return float(-10 * np.log10(((found - reference) ** 2).sum() / (reference**2).sum()))
