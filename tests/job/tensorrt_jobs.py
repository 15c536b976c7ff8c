"""Starts whole jobs on the fake TensorRT: requests, networks, and what came back."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import job
from tests.job.two_heads import SHAPES, TENSORS, golden, network, one_pass, write_request

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "fakes"
CALIBRATION_IMAGES = 6
OLD = ("5.0.6", "5.1.5", "6.0.1")
"""Versions that read the network of `old_network` only."""
TABLE = dict.fromkeys(TENSORS, 2.5)
TIMING = {"min_samples": 3, "max_samples": 3, "max_s": 0.01, "warm_up_max_s": 0.01}


@dataclass(frozen=True)
class Ended:
    code: int
    log: str
    result: Path
    live: str
    """What the fake CUDA runtime said at the end, `live 0`; empty where the process was killed."""

    def pass_(self, name: str) -> dict[str, Any]:
        return json.loads((self.result / "passes" / name / "pass.json").read_text())

    def told(self, name: str, key: str) -> dict[str, Any]:
        """Returns the content of a JSON file that a pass names, such as `build`."""
        return json.loads((self.result / "passes" / name / self.pass_(name)[key]).read_text())

    def output(self, name: str, head: str) -> np.ndarray:
        file = self.pass_(name)["outputs"][head]["file"]
        return np.load(self.result / "passes" / name / file)


def calibrate(calibrator: str) -> dict[str, Any]:
    return {"scales": "calibrate", "calibrator": calibrator, "images": "calibration.npy"}


def carried(by: str, calibrator: str | None = None) -> dict[str, Any]:
    return {"scales": by, "calibrator": calibrator, "images": None}


def int8(name: str, implicit: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """Returns a pass; one whose scales are carried takes the table."""
    table = "table.json" if implicit and implicit["scales"] != "calibrate" else None
    given = {"precision": "int8", "table": table, "implicit": implicit, "compare_with": "fp32"}
    return one_pass(name, **{**given, **more})


def old_network() -> bytes:
    """Two heads without resizing, opset 9, initialisers listed as inputs: what TensorRT 5 reads."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(2)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) / 8, name)
        for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (6, 8, 3, 3)), ("w3", (4, 8, 1, 1)))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["large"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Conv", ["r1", "w3"], ["small"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("image", onnx.TensorProto.FLOAT, SHAPES["image"])]
    inputs += [value(weight.name, onnx.TensorProto.FLOAT, list(weight.dims)) for weight in weights]
    outputs = [value(name, onnx.TensorProto.FLOAT, SHAPES[name]) for name in ("large", "small")]
    graph = helper.make_graph(nodes, "old", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3)
    return model.SerializeToString()


class Jobs:
    """Runs jobs in one folder, each in a process of its own."""

    def __init__(self, folder: Path, cudart: Path) -> None:
        self.folder = folder
        self.cudart = cudart
        self.count = 0

    def run(
        self,
        version: str,
        passes: list[dict[str, Any]],
        *,
        options: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        **changes: Any,
    ) -> Ended:
        """Runs `passes` on a version; `changes` are of the request."""
        self.count += 1
        folder = self.folder / str(self.count)
        request, result, live = folder / "request", folder / "result", folder / "live"
        write_request(
            request,
            golden()
            | {"engine": "tensorrt", "engine_options": options or {}, "calibration": None}
            | {"timing": None, "passes": passes}
            | changes,
        )
        for path in self.folder.glob("*.*"):
            (request / path.name).symlink_to(path)
        done = subprocess.run(
            [sys.executable, "-m", "job", str(request), str(result)],
            cwd=Path(job.__file__).parents[1],
            env={
                **os.environ,
                "PYTHONPATH": str(FAKES / "tensorrt"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "LD_LIBRARY_PATH": str(self.cudart.parent),
                "FAKE_CUDART_REPORT": str(live),
                "FAKE_TENSORRT": version,
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return Ended(
            done.returncode, done.stdout, result, live.read_text().strip() if live.exists() else ""
        )


def build_cudart(folder: Path) -> Path:
    """Compiles the fake CUDA runtime."""
    library = folder / "libcudart.so"
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, str(FAKES / "cudart" / "cudart.c")], check=True)
    return library


def reference(model: bytes, images: np.ndarray, heads: tuple[str, ...]) -> list[np.ndarray]:
    """Returns the float32 outputs of each head over all images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [session.run(list(heads), {"image": image[None]}) for image in images]
    return [np.concatenate([row[index] for row in rows]) for index in range(len(heads))]


def prepared(folder: Path, cudart: Path) -> Jobs:
    """Writes networks, images and a table; returns what runs jobs on them."""
    rng = np.random.default_rng(0)
    for name, count in (("evaluation", 3), ("calibration", CALIBRATION_IMAGES)):
        images = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
        np.save(folder / f"{name}.npy", images)
    (folder / "model.onnx").write_bytes(network(["large", "small"]))
    (folder / "old.onnx").write_bytes(old_network())
    (folder / "table.json").write_text(json.dumps(TABLE))
    return Jobs(folder, cudart)
