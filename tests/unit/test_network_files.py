"""model.variants and model.plugins of matrix.yaml: what is refused, and what a job is given."""

import dataclasses
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import networks
import pytest
from experiments import changed, checked, write, wrong
from matrices import Told, Trial
from test_tensorrt_matrix import FAKES, MATRIX, png

from runner import session
from runner.environments.base import Environment
from runner.errors import ConfigError
from runner.execution.plugins import PluginFiles
from runner.execution.request import request_of
from runner.execution.wanted import Site
from runner.experiment import read_experiment
from runner.packs.keys import pass_key
from runner.packs.merging import merge
from runner.packs.packing import pack
from runner.store import Store
from tests.fakes.environment import InstantEnvironment, ScriptedEnvironment

SOURCE = Path(__file__).parents[1] / "data" / "plugins" / "upsample.cpp"


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    made = write(tmp_path)
    (tmp_path / "old.onnx").write_bytes(networks.old_detector().SerializeToString())
    (tmp_path / "up.cpp").write_bytes(b"source")
    (tmp_path / "up8.so").write_bytes(b"library")
    return made


# Variants


def test_variants_are_read(matrix: Path) -> None:
    content = changed(model__variants=["old.onnx"])
    assert wrong(matrix, content) == []
    (variant,) = checked(matrix).variants
    assert variant.name == "old.onnx"
    assert variant.content == (matrix.parent / "old.onnx").read_bytes()


def test_a_variant_that_does_not_fit_is_named(matrix: Path) -> None:
    builder = networks.Builder()
    builder.conv("image", "large", 3, 6)
    other = builder.model({"image": [1, 3, 16, 16]}, ["large"])
    (matrix.parent / "other.onnx").write_bytes(other.SerializeToString())
    (matrix.parent / "cut.onnx").write_bytes(b"\x08\x07\x12")
    names = ["other.onnx", "no.onnx", "cut.onnx"]
    problems = wrong(matrix, changed(model__variants=names))
    assert len(problems) == 3
    assert "model.variants[0]" in problems[0]
    assert "other.onnx has no output 'small'; its outputs: large" in problems[0]
    assert "no.onnx: No such file" in problems[1]
    assert "cut.onnx" in problems[2]


def test_a_variant_with_other_names_inside_is_refused(matrix: Path) -> None:
    model = networks.old_detector()
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                if name in ("c1", "s2", "c2", "s4", "c3", "c4", "mixed", "c5"):
                    tensors[index] = f"exported/{name}"
    (matrix.parent / "renamed.onnx").write_bytes(model.SerializeToString())
    assert wrong(matrix, changed(model__variants=["renamed.onnx"])) == []
    with pytest.raises(ConfigError, match=r"model.variants\[0\].*renamed.onnx: only 7 of its 15"):
        read_experiment(matrix, [])


# Plugins


def test_plugins_are_read(matrix: Path) -> None:
    plugins = [{"sources": ["up.cpp"], "flags": ["-DX"]}, {"libraries": {"8": "up8.so"}}]
    assert wrong(matrix, changed(model__plugins=plugins)) == []
    sources, libraries = checked(matrix).plugins
    assert sources == PluginFiles(libraries={}, sources={"up.cpp": b"source"}, flags=("-DX",))
    assert libraries == PluginFiles(libraries={"8": b"library"}, sources={}, flags=())


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        ({}, "a plugin has either `libraries` or `sources`"),
        ({"libraries": {"8": "up8.so"}, "sources": ["up.cpp"]}, "either `libraries` or `sources`"),
        ({"libraries": {"8": "up8.so"}, "flags": ["-O3"]}, "libraries are compiled already"),
        ({"libraries": {"8.6": "up8.so"}}, "8.6"),
        ({"sources": ["up.cpp", "a/up.cpp"]}, "two sources have one name"),
        ({"sources": ["none.cpp"]}, "none.cpp: No such file"),
        ({"source": "up.cpp"}, "did you mean 'sources'?"),
        ({"sources": ["-o.cpp"]}, "'-o.cpp' is no plain file name"),
    ],
)
def test_a_wrong_plugin_is_told(matrix: Path, plugin: dict[str, Any], told: str) -> None:
    assert any(told in problem for problem in wrong(matrix, changed(model__plugins=[plugin])))


def site_of(environment: Environment, engine: str) -> Site:
    environment.engine = engine
    return Site(
        environment=environment,
        identity=environment.prepare(offline=True),
        device="cpu",
        engine_options={},
        timing=None,
        shapes={},
    )


def test_only_tensorrt_is_given_plugins(tmp_path: Path) -> None:
    plain = Trial(tmp_path, ScriptedEnvironment("a")).matrix.wants
    plugin = PluginFiles(libraries={}, sources={"up.cpp": b"source"}, flags=("-DX",))
    wants = dataclasses.replace(plain, plugins=(plugin,))
    fingerprints = []
    for engine, given in (("onnxruntime", 0), ("tensorrt", 1)):
        site = site_of(InstantEnvironment(), engine)
        request = request_of(wants, site)
        assert len(request.get("plugins", [])) == given
        one, other = (
            each.measurement(site, "fp32", 0, model=each.network.fp32) for each in (plain, wants)
        )
        fingerprints.append(one.fingerprint == other.fingerprint)
    assert fingerprints == [True, False]
    (entry,) = request["plugins"]
    assert entry == {
        "sources": [{"name": "up.cpp", "file": plugin.objects[0].file}], "flags": ["-DX"],
    }  # fmt: skip


def test_answers_belong_to_the_plugins_they_had() -> None:
    bare = {"engine": "tensorrt", "repeat": 0}
    one = {"name": "fp32"}
    keys = {pass_key(bare | more, one) for more in ({}, {"plugins": []}, {"plugins": [{"a": 1}]})}
    assert len(keys) == 2  # an empty list is what packs of before asked


# The whole loop


@pytest.mark.skipif(shutil.which("g++") is None, reason="plugins need g++")
def test_a_packed_plugin_is_compiled_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(2):
        (tmp_path / "images" / f"{index}.png").write_bytes(png(index))
    (tmp_path / "tiny.onnx").write_bytes(networks.detector().SerializeToString())
    shutil.copy(SOURCE, tmp_path / "up.cpp")
    text = MATRIX.format(python=sys.executable).replace(
        "variants: [tiny-opset9.onnx]", "plugins: [{sources: [up.cpp]}]"
    )
    (tmp_path / "matrix.yaml").write_text(text)
    cudart, cuda = tmp_path / "cudart", tmp_path / "cuda"
    cudart.mkdir()
    cuda.mkdir()
    (cuda / "include").symlink_to(FAKES / "nvinfer")
    library = ["gcc", "-shared", "-fPIC", "-o", str(cudart / "libcudart.so")]
    subprocess.run([*library, str(FAKES / "cudart" / "cudart.c")], check=True)
    select = ["trt-8.6.1/*/fp32"]
    made = pack(
        tmp_path / "matrix.yaml", tmp_path / "results", tmp_path / "pack.tar",
        select=select, progress=Told(),
    )  # fmt: skip
    with tarfile.open(made.file) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    subprocess.run(
        [sys.executable, "pack/run-pack.py"],
        cwd=tmp_path / "there", check=True, stdout=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONPATH": str(FAKES / "tensorrt"),
            "LD_LIBRARY_PATH": str(cudart),
            "FAKE_TENSORRT": "8.6.1",
            "TENSORRT_INCLUDE": str(FAKES / "nvinfer"),
            "CUDA_HOME": str(cuda),
            "TRT_MATRIX_CACHE": str(tmp_path / "cache"),
        },
    )  # fmt: skip
    merge(tmp_path / "there" / "pack" / "results.tar", tmp_path / "results")
    session.run_experiment(
        tmp_path / "matrix.yaml", tmp_path / "results", select=select, offline=True, progress=Told()
    )
    (record,) = Store(tmp_path / "results").open_run("latest").records()
    assert (record.status, record.reason) == ("ok", None)
    start = record.measurements[0].start
    assert start
    (told,) = start.probe["engine"]["options"]["plugins"]
    assert told["creators"] == ["UpsampleNearest 1"]
