"""A function of the user's own in a container: it gives what it gives in a virtual environment, bit for bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.causes import engines
from tests.real import yolov3_like
from tests.real.test_python_engines import OPENVINO, code
from trt_matrix.commands import session
from trt_matrix.commands.console import chosen
from trt_matrix.environments.docker import owner
from trt_matrix.environments.docker.engine import Engine

ROOT = Path(__file__).parents[2]


def records(results: Path) -> Mapping[str, Mapping[str, Any]]:
    found = (json.loads(path.read_text()) for path in results.glob("latest/records/**/*.json"))
    return {one["cell"]: one for one in found}


def test_openvino_by_a_function_in_an_image(
    engine: Engine, python_image: str, tmp_path: Path
) -> None:
    engines.interpreter({"venv": {"requirements": [OPENVINO]}, "name": "x"})  # or it is skipped
    (tmp_path / "yolo.onnx").write_bytes(
        yolov3_like.onnx_model(yolov3_like.weights()).SerializeToString()
    )
    (tmp_path / "openvino_cpu.py").write_text(code("OpenVINO"))
    (tmp_path / "own.txt").write_text("a file of the function's")
    function = {
        "engine": "python",
        "entry_point": {"fp32": "openvino_cpu.py:load", "int8-qdq": "openvino_cpu.py:load"},
        "files": ["own.txt"],
    }
    images = {
        part: {"images": str(ROOT / "demo/images" / part), "limit": 2}
        for part in ("calibration", "evaluation")
    }
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump({
        "name": "functions", "model": {"onnx": "yolo.onnx"},
        "heads": {head: {} for head in yolov3_like.HEADS}, "data": images,
        "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
        "quantisation": {"mixed": None}, "repeats": 1, "baseline": "venv",
        "timing": {"min_samples": 1, "max_samples": 1},
        "environments": [
            {"venv": {"requirements": [OPENVINO]}, "name": "venv", **function},
            {"image": python_image, "name": "container", "with": [OPENVINO], **function},
        ],
    }))  # fmt: skip
    with chosen(quiet=True, as_json=False) as progress:
        session.run_experiment(
            tmp_path / "matrix.yaml", tmp_path / "results", select=[], offline=False, progress=progress
        )  # fmt: skip
    found = records(tmp_path / "results")
    passes = ("fp32", "int8-shared-minmax")
    assert set(found) == {f"{one}/cpu/{pass_}" for one in ("venv", "container") for pass_ in passes}
    for pass_ in passes:
        venv, container = (
            found[f"{one}/cpu/{pass_}"]["measurements"][0] for one in ("venv", "container")
        )
        assert (venv["status"], container["status"]) == ("ok", "ok"), container["reason"]
        assert container["outputs"] == venv["outputs"]
        start = container["start"]
        assert start["command"][:2] == ["docker", "run"]
        assert start["probe"]["engine"]["name"] == "openvino"
        assert start["probe"]["engine"]["version"] == OPENVINO.partition("==")[2]
        assert start["probe"]["engine"]["options"]["files"].keys() == {"openvino_cpu.py", "own.txt"}
    left = engine.client.containers.list(all=True, filters={"label": owner.LABEL})
    assert not [one for one in left if one.labels[owner.ENVIRONMENT_LABEL] == "container"]
