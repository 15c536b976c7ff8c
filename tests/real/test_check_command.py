"""`trt-matrix check`: what it tells, and when it says no."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from tests.causes import engines
from tests.unit.small_networks import Builder
from trt_matrix.commands import check as checking
from trt_matrix.errors import ConfigError, ExitCode

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo" / "digits3.onnx"
TABLE = ROOT / "tests" / "data" / "h200" / "tables" / "7301ca8fe2ff.json"


@pytest.fixture(autouse=True, scope="module")
def _newest() -> None:
    engines.interpreter({"venv": "tensorrt-rtx", "versions": [checking.NEWEST]})


def checked(path: Path, table: Path | None = None) -> checking.CheckReport:
    return checking.check(
        path, table=table, versions=[checking.NEWEST], capabilities=[(8, 6)], offline=True
    )


def test_the_demo_with_its_table() -> None:
    report = checked(DEMO, TABLE)
    assert report.exit_code() is ExitCode.OK
    lines = report.text(every_node=False).splitlines()
    assert lines[0] == "digits3.onnx: 53 nodes"
    assert "made-up" not in lines[1]
    assert [line.partition(";")[0] for line in lines[3:6]] == [
        "  float: read, 53 layers", "  float16: read, 57 layers", "  Q/DQ: read, 347 layers",
    ]  # fmt: skip
    assert len(lines) == 6  # every node is as its form is for
    every = report.text(every_node=True)
    assert (
        "float: CONVOLUTION FLOAT; float16: CONVOLUTION HALF; Q/DQ: CONVOLUTION FLOAT of quantised inputs"
        in every
    )
    (version,) = json.loads(json.dumps(report.summary(), allow_nan=False))["versions"]
    assert len(version["nodes"]) == 53
    assert version["nodes"][0]["float16"] == "CONVOLUTION HALF"


def test_without_a_table_its_scales_are_made_up_and_that_is_said() -> None:
    assert "no --table: the Q/DQ form has made-up scales" in checked(DEMO).text(every_node=False)


def test_a_node_that_the_parser_refuses_is_named(tmp_path: Path) -> None:
    builder = Builder()
    builder.conv("image", "first", 3, 8)
    builder.node("Det", ["first"], "middle", name="the/odd/one")
    model = builder.model({"image": (1, 3, 16, 16)}, ["middle"])
    path = tmp_path / "odd.onnx"
    onnx.save(model, path)
    report = checked(path)
    assert report.exit_code() is ExitCode.COULD_NOT_RUN
    text = report.text(every_node=False)
    assert "  float: refused: the/odd/one (Det): " in text
    assert "    the/odd/one (Det)  float: refused: " in text


def test_what_stays_in_float32_is_said_with_the_reason(tmp_path: Path) -> None:
    builder = Builder()
    builder.conv("image", "first", 3, 8)
    builder.node("CumSum", ["first", builder.weight("axis", 1)], "middle", name="sums")
    builder.conv("middle", "head", 8, 4, k=1)
    path = tmp_path / "sums.onnx"
    onnx.save(builder.model({"image": (1, 3, 16, 16)}, ["head"], opset=14), path)
    text = checked(path).text(every_node=False)
    assert "sums (CumSum)" in text
    assert "stays in float32: " in text


def test_a_network_that_is_quantised_is_read_as_it_is(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "pair", [value("x", 1, [1, 3])], [value("y", 1, [1, 3])],
        [helper.make_tensor("scale", 1, [], [0.1]), ],
    )  # fmt: skip
    path = tmp_path / "q.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path
    )
    with pytest.raises(ConfigError, match="a table goes into the float network"):
        checked(path, TABLE)
    assert "  as it is: " in checked(path).text(every_node=False)


def test_gpus_by_name() -> None:
    assert checking.capabilities([]) == ((8, 6),)
    assert checking.capabilities(["T4", "7.5", "RTX 4090"]) == ((7, 5), (8, 9))
    with pytest.raises(ConfigError, match="no GPU is called so; did you mean RTX 4090"):
        checking.capabilities(["RTX 4091"])


def test_a_gpu_that_it_does_not_run_on() -> None:
    report = checking.check(
        DEMO, table=None, versions=[checking.NEWEST], capabilities=[(9, 0)], offline=True
    )
    assert report.exit_code() is ExitCode.COULD_NOT_RUN
    assert "no engine for 9.0: TensorRT-RTX" in report.text(every_node=False)
