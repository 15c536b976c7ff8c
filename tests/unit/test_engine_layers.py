import json
from pathlib import Path

import onnx
import pytest

from tests.unit import small_networks as networks
from trt_matrix.containers.job import protocol
from trt_matrix.core.layers.engine_layers import EngineLayer, engine_share
from trt_matrix.core.network import shapes
from trt_matrix.core.network.calibration_graph import calibration_model
from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.records import IntegerShare
from trt_matrix.core.tables.table import Provenance, Table
from trt_matrix.execution.answer_models import LayersAnswer
from trt_matrix.execution.answers import AnswerError, ResultFolder
from trt_matrix.execution.shares import shares_of_layers

HEADS = ["large", "small"]
COUNTS = shapes.macs(networks.detector())
LARGE = sum(COUNTS[name] for name in ("conv_c1", "conv_c2", "conv_large"))
SMALL = sum(count for name, count in COUNTS.items() if name != "conv_large")
CACHE = Path(__file__).parents[1] / "data" / "tensorrt_layers" / "trt-8.5.3.1-entropy2.cache"


def layers(model: onnx.ModelProto, **precisions: str | None) -> list[EngineLayer]:
    """One engine layer a node, int8 unless `precisions` says otherwise by its name."""
    return [
        EngineLayer(tensors=tuple(node.output), precision=precisions.get(node.name, "int8"))
        for node in model.graph.node
    ]


def shares(quantised: bool = True, **precisions: str | None) -> dict[str, IntegerShare]:
    model = networks.detector()
    return engine_share(layers(model, **precisions), model, HEADS, quantised=quantised)


def test_all_on_integers() -> None:
    executed_shares = shares()
    assert {head: share.ratio for head, share in executed_shares.items()} == {
        "large": 1.0,
        "small": 1.0,
    }
    assert (executed_shares["large"].total_macs, executed_shares["small"].total_macs) == (
        LARGE,
        SMALL,
    )
    assert executed_shares["small"].integer_operators["Concat"] == 1
    assert executed_shares["small"].float_operators == {}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "tf32"])
def test_a_silent_fallback_is_named_for_the_heads_behind_it(precision: str) -> None:
    executed_shares = shares(conv_small=precision)
    assert executed_shares["large"].ratio == 1.0
    assert executed_shares["small"].float_layers == ("conv_small",)
    assert executed_shares["small"].integer_macs == SMALL - COUNTS["conv_small"]


def test_in_a_float_engine_nothing_fell_back() -> None:
    precisions = dict.fromkeys(COUNTS, "fp32")
    executed_shares = shares(quantised=False, **precisions)
    assert {share.integer_macs for share in executed_shares.values()} == {0}
    assert {share.float_layers for share in executed_shares.values()} == {()}


def test_what_is_not_told_is_not_called_float() -> None:
    """Compiled as a whole, or listed by name only: no share, rather than a wrong one."""
    assert shares(conv_small=None).keys() == {"large"}
    model = networks.detector()
    assert engine_share([], model, HEADS, quantised=True) == {}


def test_fused_layers_and_the_qdq_network() -> None:
    """Engine layers of the Q/DQ network count for the nodes whose tensors they give out."""
    _, names = calibration_model(networks.detector())
    table = Table(amax=dict.fromkeys(names, 4.0), provenance=Provenance(algorithm="made up"))
    placed = place(networks.detector(), table).model
    whole = [EngineLayer(tensors=layer.tensors, precision="int8") for layer in layers(placed)]
    executed_shares = engine_share(whole, placed, HEADS, quantised=True)
    assert {head: share.ratio for head, share in executed_shares.items()} == {
        "large": 1.0,
        "small": 1.0,
    }
    assert (executed_shares["large"].total_macs, executed_shares["small"].total_macs) == (
        LARGE,
        SMALL,
    )


def test_a_head_that_is_not_there() -> None:
    with pytest.raises(GraphError, match="nowhere"):
        engine_share([], networks.detector(), ["nowhere"], quantised=True)


# From the result folder


def folder(tmp_path: Path, **files: object) -> ResultFolder:
    place_ = tmp_path / protocol.PASSES / "int8"
    place_.mkdir(parents=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (place_ / name).write_bytes(data)
    return ResultFolder(tmp_path)


def test_layers_of_a_result(tmp_path: Path) -> None:
    model = networks.detector()
    onnx.save(model, tmp_path / "given.onnx")
    told = [
        {"tensors": list(node.output), "precision": "int8", "name": "x", "tactic": None}
        for node in model.graph.node
    ]
    answers = folder(tmp_path, layers={"schema_version": 1, "source": "log", "layers": told})
    found = shares_of_layers(
        answers.layers("int8", "layers"), tmp_path / "given.onnx", [("s", "small")], quantised=True
    )
    assert found["s"].ratio == 1.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        {"schema_version": 2, "layers": []},
        {"schema_version": 1},
        {"schema_version": 1, "layers": [{"tensors": "x", "precision": None}]},
        {"schema_version": 1, "layers": [{"tensors": [1], "precision": None}]},
    ],
)
def test_layers_that_cannot_be_read(tmp_path: Path, content: object) -> None:
    with pytest.raises(AnswerError):
        folder(tmp_path, layers=content).layers("int8", "layers")


def test_layers_of_another_network(tmp_path: Path) -> None:
    onnx.save(networks.detector(), tmp_path / "given.onnx")
    answer = LayersAnswer(schema_version=1, layers=())
    with pytest.raises(AnswerError, match="not those of this network"):
        shares_of_layers(answer, tmp_path / "given.onnx", [("s", "nowhere")], quantised=True)


def test_build_facts_are_an_object(tmp_path: Path) -> None:
    answers = folder(tmp_path, good={"flags": []}, bad=[1])
    assert answers.build("int8", "good") == {"flags": []}
    with pytest.raises(AnswerError, match="holds no JSON object"):
        answers.build("int8", "bad")
    with pytest.raises(AnswerError, match="no file of its folder"):
        answers.build("int8", "../bad")


def test_a_real_cache_becomes_a_table(tmp_path: Path) -> None:
    answers = folder(tmp_path, cache=CACHE.read_bytes(), torn=b"TRT-8503-EntropyCalibration2\nx")
    table = answers.cache_table("int8", "cache", environment="trt-8.5.3")
    assert len(table.amax) == 200
    assert table.provenance.algorithm == "EntropyCalibration2"
    assert table.provenance.environment == "trt-8.5.3"
    with pytest.raises(AnswerError, match="is this a TensorRT calibration cache"):
        answers.cache_table("int8", "torn", environment="x")
    folder_of_bytes = folder(tmp_path / "other", cache=b"\xff\xfe")
    with pytest.raises(AnswerError, match="cache"):
        folder_of_bytes.cache_table("int8", "cache", environment="x")
