"""NVIDIA's parser and builder, without a GPU: what this tool writes is read and built, by four versions.

TensorRT-RTX before 1.7 builds no int8 convolution, whatever Q/DQ stands around it; all of them read it.
"""

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.causes import engines
from tests.unit.programs import ran
from tests.unit.small_networks import Builder, detector
from trt_matrix.core.cells import Precision
from trt_matrix.core.migration.to_qdq import to_qdq
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.reduced.converting import convert
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.reading import read
from trt_matrix.core.tables.table import Provenance, Table
from trt_matrix.core.tables.trt_cache import Cache, Header

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo" / "digits3.onnx"
TABLE = ROOT / "tests" / "data" / "h200" / "tables" / "7301ca8fe2ff.json"
EVERY = ("1.4.0.76", "1.5.0.114", "1.6.1.120", "1.7.1.116")
VERSIONS = (EVERY[0], EVERY[-1]) if os.environ.get("CI") else EVERY
"""In CI the oldest and the newest: each is 90 MB and a minute."""
NEWEST = VERSIONS[-1]
CAPABILITIES = [75, 80, 86, 89]


def asked(
    version: str,
    forms: dict[str, tuple[onnx.ModelProto, str]],
    folder: Path,
    capabilities: list[int],
) -> dict[str, Any]:
    """Returns what `job.check` says of (network, precision) by name."""
    environment, _ = engines.interpreter({"venv": "tensorrt-rtx", "versions": [version]})
    request: dict[str, Any] = {"forms": [], "capabilities": capabilities}
    for number, (name, (model, precision)) in enumerate(forms.items()):
        path = folder / f"{number}.onnx"
        path.write_bytes(model.SerializeToString())
        request["forms"].append({"name": name, "model": str(path), "precision": precision})
    (folder / "request.json").write_text(json.dumps(request))
    log = folder / "log"
    ending = environment.check(folder / "request.json", folder / "answer.json", log, deadline_s=600)
    assert ending.exit_code == 0, log.read_text()[-3000:]
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["engine"] == "tensorrt-rtx"
    assert answer["version"] == version
    return answer["forms"]


def placed(model: onnx.ModelProto, amax: dict[str, float] | None = None) -> Any:
    names = {name for node in model.graph.node for name in (*node.input, *node.output) if name}
    table = Table(amax=amax or dict.fromkeys(names, 1.0), provenance=Provenance(algorithm="test"))
    return place(model, table, TENSORRT)


def kinds(form: dict[str, Any]) -> Counter[str]:
    return Counter(f"{kind} {type_}" for _, kind, type_, _ in form["layers"])


def failures(form: dict[str, Any]) -> list[str]:
    return [one["error"] for one in form["built"].values() if "error" in one]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_demo_in_every_form(version: str, tmp_path: Path) -> None:
    model = onnx.load(DEMO)
    qdq = placed(model, json.loads(TABLE.read_text())["amax"])
    forms = {
        "float": (model, "fp32"),
        "fp16": (convert(model, Precision.FP16, {}).model, "fp16"),
        "bf16": (convert(model, Precision.BF16, {}).model, "bf16"),
        "qdq": (qdq.model, "int8"),
    }
    found = asked(version, forms, tmp_path, CAPABILITIES)
    for form in found.values():
        assert form["refused"] is None
        ends = {*form["inputs"].values(), *form["outputs"].values()}
        assert ends == {"FLOAT"}
    convolutions = {"float": "FLOAT", "fp16": "HALF", "bf16": "BF16", "qdq": "FLOAT"}
    for name, type_ in convolutions.items():
        assert kinds(found[name])[f"CONVOLUTION {type_}"] == 24
    # One pair a tensor, and one a layer's weights.
    wanted = len(qdq.quantised) + len(qdq.layers)
    assert kinds(found["qdq"])["QUANTIZE INT8"] == wanted
    for _, kind, _, before in found["qdq"]["layers"]:
        assert kind != "CONVOLUTION" or before[:2] == ["DEQUANTIZE", "DEQUANTIZE"]
    assert failures(found["float"]) == failures(found["fp16"]) == []
    # Turing has no bfloat16, and says so.
    (turing,) = failures(found["bf16"])
    assert "sm75" in turing
    told = failures(found["qdq"])
    if version == NEWEST:
        assert told == []
    else:
        assert len(told) == len(CAPABILITIES)
        assert all("CHECK(dtype ==" in one for one in told)


@pytest.mark.slow
def test_every_operator_that_is_placed_around(tmp_path: Path) -> None:
    forms = {name: (model, "int8") for name, model in _placed_around().items()}
    found = asked(NEWEST, forms, tmp_path, [86])
    assert {
        name: failures(one) for name, one in found.items() if one["refused"] or failures(one)
    } == {}
    for name, one in found.items():
        assert kinds(one)["QUANTIZE INT8"] > 1, name


def _placed_around() -> dict[str, onnx.ModelProto]:
    """Returns a network with each operator between two convolutions, by name, with Q/DQ."""
    found = {"detector": placed(detector()).model}
    single: dict[str, dict[str, Any]] = {
        "Relu": {}, "Sigmoid": {}, "Tanh": {}, "LeakyRelu": {"alpha": 0.1}, "HardSigmoid": {},
        "HardSwish": {}, "Softplus": {}, "Elu": {}, "Exp": {}, "Abs": {}, "Neg": {}, "Identity": {},
        "MaxPool": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "AveragePool": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "GlobalAveragePool": {}, "Transpose": {"perm": [0, 1, 3, 2]}, "Softmax": {"axis": 1},
    }  # fmt: skip
    for operator, attributes in single.items():
        found[operator] = placed(_between(operator, attributes)).model
    for operator in ("Add", "Mul", "Sub", "Concat"):
        found[operator] = placed(_joined(operator)).model
    return found


def _between(operator: str, attributes: dict[str, Any]) -> onnx.ModelProto:
    builder = Builder()
    builder.conv("image", "first", 3, 8)
    builder.node(operator, ["first"], "middle", **attributes)
    builder.conv("middle", "head", 8, 4, k=1)
    return builder.model({"image": (1, 3, 16, 16)}, ["head"], opset=14)


def _joined(operator: str) -> onnx.ModelProto:
    builder = Builder()
    builder.conv("image", "one", 3, 8)
    builder.conv("image", "other", 3, 8)
    builder.node(
        operator, ["one", "other"], "middle", **({"axis": 1} if operator == "Concat" else {})
    )
    builder.conv("middle", "head", 16 if operator == "Concat" else 8, 4, k=1)
    return builder.model({"image": (1, 3, 16, 16)}, ["head"], opset=14)


def test_a_migrated_network_is_read_and_built(tmp_path: Path) -> None:
    scales = {name: one / 127 for name, one in json.loads(TABLE.read_text())["amax"].items()}
    header = Header(version=(8, 6, 0), algorithm="EntropyCalibration2")
    cache = read(trt_cache.write(Cache(header=header, scales=scales)).encode())
    model = onnx.load(DEMO)
    heads = [(value.name, value.name) for value in model.graph.output]
    made = {
        f"unified {unified}": to_qdq(
            model,
            cache,
            heads,
            names={},
            least=0.9,
            options=replace(TENSORRT, unified_scales=unified),
        )
        for unified in (False, True)
    }
    forms = {name: (one.model, "int8") for name, one in made.items()}
    for name, form in asked(NEWEST, forms, tmp_path, [86]).items():
        assert (form["refused"], failures(form)) == (None, [])
        # One pair a tensor, and one a layer's weights.
        wanted = len(made[name].scales) + made[name].layers
        assert kinds(form)["QUANTIZE INT8"] == kinds(form)["DEQUANTIZE FLOAT"] == wanted


def test_the_parser_refuses_what_a_cache_cannot_be_made_of(tmp_path: Path) -> None:
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
    (form,) = asked(NEWEST, {"q": (model, "int8")}, tmp_path, [86]).values()
    assert form["refused"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_adapter_asks_of_rtx_alone_is_there(version: str) -> None:
    _, python = engines.interpreter({"venv": "tensorrt-rtx", "versions": [version]})
    code = (
        "import inspect\n"
        "from job.engines.tensorrt import configuration, rtx, library\n"
        "trt = library.trt\n"
        "assert configuration.always_strong()\n"
        "assert {'EAGER'} <= set(trt.DynamicShapesKernelSpecializationStrategy.__members__)\n"
        "assert {'DISABLED'} <= set(trt.CudaGraphStrategy.__members__)\n"
        "wanted = ('create_runtime_cache', 'set_runtime_cache', 'cuda_graph_strategy',\n"
        "          'dynamic_shapes_kernel_specialization_strategy')\n"
        "assert [one for one in wanted if not hasattr(trt.IRuntimeConfig, one)] == []\n"
        "assert hasattr(trt.ICudaEngine, 'create_runtime_config')\n"
        "assert 'IRuntimeConfig' in trt.ICudaEngine.create_execution_context.__doc__\n"
        "assert rtx.target(86) == trt.ComputeCapability.SM86\n"
        "assert rtx.target(130) == trt.ComputeCapability.CURRENT\n"
        "try:\n"
        "    rtx.target(90)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = ran(python, "-c", code, env={"PYTHONPATH": str(ROOT / "containers")})
    assert done.stdout.startswith(
        f"UnsupportedError TensorRT-RTX {version} runs on GPUs of compute capability 7.5, 8.0, 8.6, 8.9, 12.0"
    )
    assert "this one has 9.0: take TensorRT there" in done.stdout
    assert sys.version_info >= (3, 11)
