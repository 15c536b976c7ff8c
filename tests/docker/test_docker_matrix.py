"""The matrix in containers against the same versions in virtual environments: equal bit for bit."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trt_matrix.environments.docker import owner
from trt_matrix.environments.docker.engine import Engine

ROOT = Path(__file__).parents[2]
VERSION = "1.26.0"

MATRIX = """
name: containers
model: {{onnx: {demo}/digits3.onnx}}
heads: {{large: {{}}, medium: {{}}, small: {{}}}}
data:
  calibration: {{images: {demo}/images/calibration, limit: 2}}
  evaluation: {{images: {demo}/images/evaluation, limit: 2}}
  preprocess: {{resize: letterbox, size: [320, 320]}}
calibration: {{algorithms: [minmax], shared: minmax}}
repeats: 1
timing: {{min_samples: 1, max_samples: 1}}
baseline: ort-{version}
environments:
  - {{venv: onnxruntime, versions: ["{version}"]}}
  - {{image: {image}, name: container, versions: ["{version}"]}}
"""


@pytest.fixture
def matrix(python_image: str, tmp_path: Path) -> Path:
    path = tmp_path / "matrix.yaml"
    path.write_text(MATRIX.format(demo=ROOT / "demo", image=python_image, version=VERSION))
    return path


def start(matrix: Path, results: Path, select: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trt_matrix", "run", "--config", str(matrix), "--quiet"]
    return subprocess.Popen(
        [*command, "--results", str(results), "--select", select],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def records(results: Path) -> Mapping[str, Mapping[str, Any]]:
    found = (json.loads(path.read_text()) for path in results.glob("latest/records/**/*.json"))
    return {one["cell"]: one for one in found}


def test_containers_give_what_virtual_environments_give(
    matrix: Path, tmp_path: Path, engine: Engine
) -> None:
    chosen = {"all": "*", "other": "container-*/fp32"}  # two runs at once
    running = [start(matrix, tmp_path / name, select) for name, select in chosen.items()]
    said = [run.communicate()[0] for run in running]
    assert [run.returncode for run in running] == [0, 0], said
    found = records(tmp_path / "all")
    assert {one["status"] for one in found.values()} == {"ok"}
    passes = [cell.partition("/")[2] for cell in found if cell.startswith("ort-")]
    assert sorted(passes) == ["cpu/fp32", "cpu/int8-own-minmax", "cpu/int8-shared-minmax"]
    for pass_ in passes:
        venv, container = (
            found[f"{environment}-{VERSION}/{pass_}"]["measurements"][0]
            for environment in ("ort", "container")
        )
        assert container["outputs"] == venv["outputs"], pass_
        assert container["start"]["identity"]["id"].startswith("sha256:")
        assert container["start"]["command"][:2] == ["docker", "run"]
        assert container["start"]["probe"]["packages"]["onnxruntime"] == VERSION
    (other,) = records(tmp_path / "other").values()
    same = found[f"container-{VERSION}/cpu/fp32"]["measurements"][0]
    assert other["measurements"][0]["outputs"] == same["outputs"]
    left = engine.client.containers.list(all=True, filters={"label": owner.LABEL})
    assert not [
        one for one in left if one.labels[owner.ENVIRONMENT_LABEL] == f"container-{VERSION}"
    ]
