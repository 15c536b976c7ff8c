"""NVIDIA's own parser and builder on migrated networks, without a GPU; skipped where they are not installed.

    pip install tensorrt-rtx-cu12==1.7.1.116, into the environment of the tests or on PYTHONPATH

TensorRT-RTX is strongly typed, as TensorRT 11. It says that a network is read and an engine made for a GPU of
compute capability 8.6; what ran in int8 its inspector tells only where such a GPU is.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from runner.core.migration.to_qdq import to_qdq
from runner.core.qdq.explicit import TENSORRT
from runner.core.tables import trt_cache
from runner.core.tables.reading import read
from runner.core.tables.trt_cache import Cache, Header

trt = pytest.importorskip("tensorrt_rtx")
ROOT = Path(__file__).parents[2]
HEADER = Header(version=(8, 6, 0), algorithm="EntropyCalibration2")
DEMO = ROOT / "demo" / "digits3.onnx", ROOT / "tests" / "data" / "h200" / "tables" / "7301ca8fe2ff.json"  # fmt: skip


@pytest.fixture(scope="module")
def logger() -> Any:
    return trt.Logger(trt.Logger.ERROR)


@pytest.mark.parametrize("unified", [False, True])
def test_a_migrated_network_is_read_and_built(unified: bool, logger: Any) -> None:
    network, table = DEMO
    amax = json.loads(table.read_text())["amax"]
    scales = {tensor: one / 127 for tensor, one in amax.items()}
    model = onnx.load(network)
    made = to_qdq(
        model,
        read(trt_cache.write(Cache(header=HEADER, scales=scales)).encode()),
        [(one.name, one.name) for one in model.graph.output],
        names={},
        least=0.9,
        options=replace(TENSORRT, unified_scales=unified),
    )
    builder = trt.Builder(logger)
    parsed = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(parsed, logger)
    read_it = parser.parse(made.model.SerializeToString())
    assert read_it, [parser.get_error(index).desc() for index in range(parser.num_errors)]
    kinds = Counter(parsed.get_layer(index).type for index in range(parsed.num_layers))
    # One pair a tensor, and one a layer's weights.
    wanted = len(made.scales) + made.layers
    assert kinds[trt.LayerType.QUANTIZE] == kinds[trt.LayerType.DEQUANTIZE] == wanted
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    assert config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    assert builder.build_serialized_network(parsed, config) is not None


def test_the_parser_refuses_what_a_cache_cannot_be_made_of(logger: Any) -> None:
    """A zero point that is not zero: what is refused here on the way back, TensorRT refuses as well."""
    node = onnx.helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"])
    back = onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"])
    value = onnx.helper.make_tensor_value_info
    constants = [
        onnx.helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.1]),
        onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [3]),
    ]
    graph = onnx.helper.make_graph(
        [node, back], "asymmetric",
        [value("x", onnx.TensorProto.FLOAT, [1, 3])], [value("y", onnx.TensorProto.FLOAT, [1, 3])],
        constants,
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    parsed = trt.Builder(logger).create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    assert not trt.OnnxParser(parsed, logger).parse(model.SerializeToString())
