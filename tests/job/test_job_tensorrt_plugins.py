"""Custom layers from sources: compiled inside, kept, loaded, run, and what is told of them.

The headers are fakes (tests/fakes/nvinfer), so that this shows what the job does, not that the sources
fit a real TensorRT: `test_the_plugin_compiles_with_real_headers` does, where those are installed.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from job import layer_information, protocol
from tests.job.tensorrt_jobs import FAKES, Ended, Jobs, carried, int8, reference
from tests.job.two_heads import golden, one_pass, write_request

SOURCE = Path(__file__).parents[1] / "data" / "plugins" / "upsample.cpp"
SAMPLE = Path(__file__).parents[1] / "data" / "tensorrt_layers" / "trt-8.5.3.1-int8.json"
HEADERS = FAKES / "nvinfer"
PLUGIN = {"sources": [{"name": "upsample.cpp", "file": "upsample.cpp"}], "flags": []}
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("gcc")), reason="plugins need g++"
)


def custom_network() -> bytes:
    """Two heads; `small` behind a custom layer, which a function in the model describes to the fake."""
    rng = np.random.default_rng(2)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) / 8, name)
        for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (6, 8, 3, 3)), ("w3", (4, 6, 1, 1)))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], "conv1", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["large"], "conv2", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("UpsampleNearest", ["large"], ["up"], "upsample", domain="yolo"),
        helper.make_node("Conv", ["up", "w3"], ["small"], "conv3"),
    ]
    value = helper.make_tensor_value_info
    shapes = {"large": [1, 6, 4, 4], "small": [1, 4, 8, 8]}
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("yolo", 1)]
    twice = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32))
    function = helper.make_function(
        "yolo", "UpsampleNearest", ["x"], ["y"],
        [helper.make_node("Constant", [], ["scales"], value=twice),
         helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest",
                          coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        opsets[:1],
    )  # fmt: skip
    graph = helper.make_graph(
        nodes, "custom", [value("image", TensorProto.FLOAT, [1, 3, 16, 16])],
        [value(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()], weights,
        value_info=[value("up", TensorProto.FLOAT, [1, 6, 8, 8])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=[function])
    return model.SerializeToString()


@pytest.fixture
def folders(tmp_path: Path, jobs: Jobs) -> dict[str, str]:
    """Environment variables that lead a job to the fake headers, and to a cache of its own."""
    shutil.copy(SOURCE, jobs.folder / "upsample.cpp")
    (jobs.folder / "custom.onnx").write_bytes(custom_network())
    cuda = tmp_path / "cuda"
    cuda.mkdir()
    (cuda / "include").symlink_to(HEADERS)
    cache = str(tmp_path / "cache")
    return {"TENSORRT_INCLUDE": str(HEADERS), "CUDA_HOME": str(cuda), "TRT_MATRIX_CACHE": cache}


def engine(ended: Ended) -> dict[str, Any]:
    return json.loads((ended.result / "probe.json").read_text())["engine"]


def refusal(ended: Ended) -> str:
    document = json.loads((ended.result / "result.json").read_text())
    assert (document["status"], document["stage"]) == ("job_failed", "probe")
    return document["error"]["message"]


@needs_compiler
def test_sources_are_compiled_loaded_and_run(jobs: Jobs, folders: dict[str, str]) -> None:
    table = dict.fromkeys(("image", "c1", "r1", "large", "small"), 4.0)  # none for `up`
    (jobs.folder / "table.json").write_text(json.dumps(table))
    passes = [
        one_pass("fp32", model="custom.onnx"),
        int8("range", carried("dynamic_range"), model="custom.onnx"),
    ]
    ended = jobs.run("8.6.1", passes, environment=folders, plugins=[PLUGIN])
    (told,) = engine(ended)["options"]["plugins"]
    assert told["creators"] == ["UpsampleNearest 1"]
    assert told["headers"]["TensorRT"] == str(HEADERS)
    assert told["cached"] is False
    images = np.load(jobs.folder / "evaluation.npy")
    wanted = reference(custom_network(), images, ("large", "small"))
    for head, r in zip(("large", "small"), wanted, strict=True):
        np.testing.assert_allclose(ended.output("fp32", head), r, atol=1e-5)
    (layer,) = ended.told("range", "layers")["custom"]
    assert (layer["name"], layer["precision"]) == ("upsample", "int8")
    assert layer["scaled"] == {"up": False}
    assert [one["name"] for one in layer["before"]] == ["conv2"]
    assert [one["name"] for one in layer["after"]] == ["conv3"]
    (layer,) = ended.told("fp32", "layers")["custom"]
    assert (layer["precision"], layer["scaled"]) == ("fp32", None)

    again = jobs.run("8.6.1", passes[:1], environment=folders, plugins=[PLUGIN])
    (told_again,) = engine(again)["options"]["plugins"]
    assert told_again["cached"] is True
    assert told_again["library"] == told["library"]
    flagged = dict(PLUGIN, flags=["-DUPSAMPLE_INT8=1"])
    other = jobs.run("8.6.1", passes[:1], environment=folders, plugins=[flagged])
    (told_other,) = engine(other)["options"]["plugins"]
    assert (told_other["cached"], told_other["command"][-1]) == (False, "-DUPSAMPLE_INT8=1")
    by_major = {"libraries": {"8": told["library"]}}
    ready = jobs.run("8.6.1", passes[:1], environment=folders, plugins=[by_major])
    assert ready.pass_("fp32")["status"] == "ok"


@needs_compiler
def test_what_is_missing_is_said(jobs: Jobs, folders: dict[str, str], tmp_path: Path) -> None:
    def told(version: str, plugin: dict[str, Any], **changes: str) -> str:
        environment = {**folders, **changes}
        passes = [one_pass("fp32", model="custom.onnx")]
        return refusal(jobs.run(version, passes, environment=environment, plugins=[plugin]))

    assert "no C++ compiler is here" in told("8.6.1", PLUGIN, PATH="/nowhere", CXX="")
    assert f"TensorRT 10 is loaded, but the headers in {HEADERS} are of version 8" in told(
        "10.3.0", PLUGIN
    )
    (jobs.folder / "wrong.cpp").write_text("int broken( {\n")
    wrong = {"sources": [{"name": "wrong.cpp", "file": "wrong.cpp"}], "flags": []}
    assert "wrong.cpp:1" in told("8.6.1", wrong)
    (jobs.folder / "nothing.cpp").write_text("int nothing() { return 0; }\n")
    nothing = {"sources": [{"name": "nothing.cpp", "file": "nothing.cpp"}], "flags": []}
    assert "registered no plugin: it needs REGISTER_TENSORRT_PLUGIN" in told("8.6.1", nothing)
    header = {"sources": [{"name": "a.h", "file": "nothing.cpp"}], "flags": []}
    assert "none of a.h is a source" in told("8.6.1", header)
    libraries = {"libraries": {"7": "a.so", "10": "b.so"}}
    assert "no plugin library for TensorRT 8; there are some for 7, 10" in told("8.6.1", libraries)
    assert not list(Path(folders["TRT_MATRIX_CACHE"]).rglob("*.part"))


def test_headers_are_looked_for(
    adapter: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiling = adapter.compiling
    for name in ("TENSORRT_INCLUDE", "TENSORRT_ROOT", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(compiling.glob, "glob", lambda pattern: [])
    monkeypatch.setattr(compiling.os.path, "exists", lambda path: False)
    with pytest.raises(compiling.CompileError, match=r"headers of TensorRT \(NvInfer.h\) are not"):
        compiling.tensorrt_headers(8)
    with pytest.raises(compiling.CompileError, match=r"headers of CUDA .* are not here"):
        compiling.cuda_headers()
    monkeypatch.undo()
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "NvInfer.h").write_text("#define NV_TENSORRT_MAJOR 5 //!< major\n")
    monkeypatch.setenv("TENSORRT_ROOT", str(tmp_path))
    assert compiling.tensorrt_headers(5) == str(tmp_path / "include")
    (tmp_path / "include" / "NvInferVersion.h").write_text(
        "#define TRT_MAJOR_ENTERPRISE 11\n#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n"
    )
    assert compiling.header_major(str(tmp_path / "include")) == 11


def test_libraries_are_kept_where_programs_can_run(
    adapter: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A container's /tmp is mounted noexec: what is compiled goes to the job's results then."""
    compiling = adapter.compiling
    lasting, folder = tmp_path / "lasting", tmp_path / "result"
    monkeypatch.setenv("TRT_MATRIX_CACHE", str(lasting))
    assert compiling.home(str(folder)) == str(lasting / "plugins")
    flags = {str(lasting / "plugins"): os.ST_NOEXEC}
    monkeypatch.setattr(
        compiling.os, "statvfs", lambda path: SimpleNamespace(f_flag=flags.get(path, 0))
    )
    assert compiling.home(str(folder)) == str(folder)


@needs_compiler
@pytest.mark.parametrize("flag", ["-DUPSAMPLE_INT8=0", "-DUPSAMPLE_INT8=1"])
def test_the_plugin_copies_every_value(flag: str, cudart: Path, tmp_path: Path) -> None:
    program = tmp_path / "check"
    command = ["g++", "-std=c++14", "-Wall", "-Wextra", "-Werror", flag, f"-I{HEADERS}"]
    source = SOURCE.with_name("check_upsample.cpp")
    subprocess.run([*command, str(source), str(cudart), "-o", str(program)], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(cudart.parent)}
    assert subprocess.run([str(program)], env=environment, check=False).returncode == 0


@needs_compiler
@pytest.mark.parametrize("flag", ["-DUPSAMPLE_INT8=0", "-DUPSAMPLE_INT8=1"])
def test_the_plugin_compiles_with_real_headers(
    flag: str, adapter: SimpleNamespace, tmp_path: Path
) -> None:
    compiling = adapter.compiling
    found = None
    for major in (7, 8, 9, 10):
        try:
            found = compiling.tensorrt_headers(major), compiling.cuda_headers()
            break
        except compiling.CompileError as error:
            reason = str(error)
    if found is None:
        pytest.skip(reason)
    includes = [f"-I{folder}" for folder in found]
    command = ["g++", "-std=c++14", "-fsyntax-only", "-Wno-deprecated-declarations", flag]
    subprocess.run([*command, *includes, str(SOURCE)], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {},
        {"libraries": {}, "sources": []},
        {"sources": [{"name": "a.cpp"}], "flags": []},
        {"sources": [{"name": "../a.cpp", "file": "a.cpp"}], "flags": []},
        {"sources": []},
        {"libraries": ["a.so"]},
    ],
)
def test_a_plugin_is_libraries_or_sources(tmp_path: Path, wrong: object) -> None:
    write_request(tmp_path, golden() | {"plugins": [wrong]})
    with pytest.raises(protocol.ProtocolError, match=r"plugins\[0\]"):
        protocol.read_request(str(tmp_path))


def test_paths_of_plugins_are_made_absolute(tmp_path: Path) -> None:
    write_request(tmp_path, golden() | {"plugins": [PLUGIN, {"libraries": {"8": "a.so"}}]})
    sources, libraries = protocol.read_request(str(tmp_path))["plugins"]
    assert sources["sources"][0]["file"] == str(tmp_path / "upsample.cpp")
    assert libraries["libraries"] == {"8": str(tmp_path / "a.so")}


# What is told of a custom layer


def test_a_layer_among_real_ones(adapter: SimpleNamespace) -> None:
    """8.5.3.1 on an H200: here the resizing plays the custom layer; the engine had no other."""
    network = {"/model.11/Resize": ["/model.11/Resize_output_0"]}
    information = json.loads(SAMPLE.read_text(), strict=False)
    layers = layer_information.inspected(information, network)
    table = {"/model.11/Resize_output_0": 2.0}
    (told,) = adapter.custom.told(["/model.11/Resize"], network, layers, table)
    assert (told["precision"], told["scaled"]) == ("int8", {"/model.11/Resize_output_0": True})
    assert [one["precision"] for one in told["inputs"] + told["outputs"]] == ["int8", "int8"]
    assert [(one["type"], one["precision"]) for one in told["after"]] == [("Reformat", "int8")]
    assert all(one["precision"] == "int8" for one in told["before"])


FLOAT_BETWEEN_INT8 = (
    "Layer(CaskConvolution): conv2 + relu2, Tactic: 7, r1[Int8(1,8,8,8)] -> large[Int8(1,6,4,4)]",
    "Layer(Reformat): large to half, Tactic: 0, large[Int8(1,6,4,4)] -> moved[Half(1,6,4,4)]",
    "Layer(PluginV2): upsample, Tactic: 0, moved[Half(1,6,4,4)] -> up[Half(1,6,8,8)]",
    "Layer(Reformat): up to int8, Tactic: 0, up[Half(1,6,8,8)] -> back[Int8(1,6,8,8)]",
    "Layer(CaskConvolution): conv3, Tactic: 7, back[Int8(1,6,8,8)] -> small[Float(1,4,8,8)]",
)
"""Written after lines of 7.x and 8.0 in public issues; none was had from a network with a plugin."""


def test_a_float_layer_between_int8_ones_in_the_log(adapter: SimpleNamespace) -> None:
    network = {"conv2": ["large"], "upsample": ["up"], "conv3": ["small"]}
    layers = layer_information.logged(FLOAT_BETWEEN_INT8, network)
    (told,) = adapter.custom.told(["upsample"], network, layers, {"large": 1.0, "up": 0})
    assert (told["precision"], told["scaled"]) == ("fp16", {"up": False})
    assert [(one["name"], one["type"]) for one in told["before"]] == [("large to half", "Reformat")]
    assert [one["name"] for one in told["after"]] == ["up to int8"]


def test_a_layer_that_was_not_told_of_says_so(adapter: SimpleNamespace) -> None:
    (told,) = adapter.custom.told(["upsample"], {"upsample": ["up"]}, [], None)
    assert told == {
        "name": "upsample", "precision": None, "inputs": [], "outputs": [],
        "before": [], "after": [], "scaled": None,
    }  # fmt: skip
    assert set(told) == set(protocol.CUSTOM_KEYS)


def test_the_network_is_one_that_onnx_accepts() -> None:
    onnx.checker.check_model(onnx.load_from_string(custom_network()))
