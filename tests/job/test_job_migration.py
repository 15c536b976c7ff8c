"""benchmarks/migration.py on the fake TensorRT: all that it does there but numbers of a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.job.tensorrt_jobs import FAKES, ROOT
from tests.job.two_heads import network

MATRIX = """\
name: tiny
model: {onnx: net.onnx}
heads: {large: {}, small: {}}
data:
  calibration: {images: images}
  evaluation: {images: images}
  preprocess: {resize: stretch}
baseline: trt-8
environments: [{elsewhere: [trt-8], engine: tensorrt}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` makes of a small network."""
    here = tmp_path_factory.mktemp("migration")
    (here / "images").mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype="u1")
        Image.fromarray(pixels).save(here / "images" / f"{index}.png")
    (here / "net.onnx").write_bytes(network(["large", "small"]))
    (here / "matrix.yaml").write_text(MATRIX)
    names = [name for node in onnx.load(here / "net.onnx").graph.node for name in node.output]
    lines = [f"{name}: 3d000000" for name in ("image", *names)]
    (here / "net.cache").write_text("\n".join(["TRT-8601-EntropyCalibration2", *lines, ""]))
    command = [sys.executable, "-m", "benchmarks.migration", "prepare", str(here / "gpu")]
    command += ["--config", str(here / "matrix.yaml"), "--table", str(here / "net.cache")]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return here / "gpu"


def run(
    folder: Path, out: Path, cudart: Path, *arguments: str, version: str = "8.6.1"
) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(folder / "migration.py"), "run", str(folder), "--out", str(out), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(FAKES / "tensorrt"),
            "LD_LIBRARY_PATH": str(cudart.parent),
            "FAKE_CUDART_REPORT": str(out.parent / "live"),
            "FAKE_TENSORRT": version,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def test_every_variant_is_built_in_every_round(folder: Path, tmp_path: Path, cudart: Path) -> None:
    out = tmp_path / "out"
    code, said = run(folder, out, cudart, "--builds", "2")
    assert code == 0, said
    told = results(out)
    assert told["engine"] == "8.6.1"
    assert {name: len(variant["builds"]) for name, variant in told["variants"].items()} == {
        "fp32": 1, "implicit": 2, "explicit": 2, "explicit-unified": 2, "implicit-returned": 2,
    }  # fmt: skip
    assert said.count("round 0:") == 5
    assert "explicit against implicit: latency" in said
    # The fake computes Q/DQ networks exactly: as simulated on the host.
    for build in told["variants"]["explicit"]["builds"]:
        for head in ("large", "small"):
            simulated = told["simulated"]["explicit"][head]
            assert build["sqnr_db"][head] == pytest.approx(simulated, abs=0.1)
    assert told["variants"]["implicit"]["builds"][0]["scales"]["unknown"] == 0
    # What ended is kept; one more build is one more round.
    before = (out / "round-0" / "result.json").stat().st_mtime_ns
    code, said = run(folder, out, cudart, "--builds", "3")
    assert code == 0, said
    assert len(results(out)["variants"]["explicit"]["builds"]) == 3
    assert (out / "round-0" / "result.json").stat().st_mtime_ns == before
    assert "round 0:" not in said
    shown = subprocess.run(
        [sys.executable, str(folder / "migration.py"), "show", str(out / "results.json")],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown.strip() in said


def test_a_version_that_cannot_is_told_and_not_hidden(
    folder: Path, tmp_path: Path, cudart: Path
) -> None:
    code, said = run(folder, tmp_path / "out", cudart, "--builds", "1", version="11.4.0.106")
    assert code == 1
    told = results(tmp_path / "out")["variants"]
    assert len(told["explicit"]["builds"]) == 1, said
    assert told["implicit"]["builds"] == []
    assert told["implicit"]["failed"][0]["status"] == "unsupported"
    assert "implicit: unsupported" in said
    assert "explicit against implicit" not in said


def test_a_budget_ends_before_a_round_that_does_not_fit(
    folder: Path, tmp_path: Path, cudart: Path
) -> None:
    out = tmp_path / "out"
    code, said = run(folder, out, cudart, "--builds", "3", "--budget", "0")
    assert code == 0, said
    assert "no time for another round" in said
    assert len(results(out)["variants"]["explicit"]["builds"]) == 1


def test_a_job_that_dies_is_told_with_its_last_words(
    folder: Path, tmp_path: Path, cudart: Path
) -> None:
    out = tmp_path / "out"
    code, said = run(folder, out, cudart, "--builds", "1", version="no version")
    assert code == 1
    assert "no answer of fp32" in said
    assert "exit code" in said
