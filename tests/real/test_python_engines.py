"""Functions of docs/how-to/python-engine.md in real engines: OpenVINO, PyTorch, TFLite, and a frozen graph of TensorFlow."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.causes import engines
from tests.real import yolov3_like
from trt_matrix.commands import session
from trt_matrix.commands.console import chosen
from trt_matrix.core.cells import Status
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.store.results import Store

ROOT = Path(__file__).parents[2]
OPENVINO, TENSORFLOW = "openvino==2026.4.1", "tensorflow-cpu==2.21.0"
LITERT = "ai-edge-litert==2.3.0"
INT8_DB = 20
"""What int8 keeps of this network in ONNX Runtime, at least."""
VNNI = "vnni" in Path("/proc/cpuinfo").read_text()
"""Without it OpenVINO's own int8 lost two of the heads (verified.md): what is run is true, and no fault of the function."""


def code(title: str) -> str:
    """Returns the Python below a heading of the page."""
    page = (ROOT / "docs" / "how-to" / "python-engine.md").read_text()
    match_ = re.search(
        rf"^## {re.escape(title)}\n.*?```python\n(.*?)```", page, re.DOTALL | re.MULTILINE
    )
    assert match_, title
    return match_[1]


class Ran:
    def __init__(
        self,
        folder: Path,
        where: Mapping[str, Any],
        select: Sequence[str] = ("*fp32", "*shared*"),
        **entry: Any,
    ) -> None:
        """Runs it in both engines; the network and the function's files are in `folder` already."""
        function = {**where, "engine": "python", **entry}
        images = {
            part: {"images": str(ROOT / "demo/images" / part), "limit": 4}
            for part in ("calibration", "evaluation")
        }
        (folder / "matrix.yaml").write_text(yaml.safe_dump({
            "name": "functions", "model": {"onnx": "yolo.onnx"},
            "heads": {head: {"stride": 96 // width} for head, width in yolov3_like.HEADS.items()},
            "data": images, "calibration": {"algorithms": ["minmax"], "shared": "minmax"},
            "quantisation": {"mixed": None}, "repeats": 1, "baseline": "ort",
            "reference": entry["name"], "timing": {"min_samples": 2, "max_samples": 5},
            "environments": [{"interpreter": str(ROOT / ".venv/bin/python"), "name": "ort"}, function],
        }))  # fmt: skip
        with chosen(quiet=True, as_json=False) as progress:
            session.run_experiment(
                folder / "matrix.yaml",
                folder / "results",
                select=list(select),
                offline=False,
                progress=progress,
            )
        run = Store(folder / "results").open_run("latest")
        self.reference = run.manifest().facts["reference"]
        self.records = {record.cell: record for record in run.records()}
        judged = JudgementFile.read(folder / "results" / "latest").judgement
        self.errors = {
            result.cell.id: {head.head: head.error for head in result.heads}
            for result in judged.cells
        }


def venv(requirement: str) -> Mapping[str, Any]:
    return {"venv": {"requirements": [requirement]}}


def large(megabytes: int) -> None:
    if not os.environ.get("TRT_MATRIX_LARGE"):
        pytest.skip(f"{megabytes} MB of packages: TRT_MATRIX_LARGE=1 fetches them")


def test_openvino_on_a_processor_in_fp32_and_int8(tmp_path: Path) -> None:
    engines.interpreter({**venv(OPENVINO), "name": "x"})  # or it is skipped
    (tmp_path / "yolo.onnx").write_bytes(
        yolov3_like.onnx_model(yolov3_like.weights()).SerializeToString()
    )
    (tmp_path / "openvino_cpu.py").write_text(code("OpenVINO"))
    ran = Ran(
        tmp_path, venv(OPENVINO), name="openvino",
        entry_point={"fp32": "openvino_cpu.py:load", "int8-qdq": "openvino_cpu.py:load"},
    )  # fmt: skip
    assert {record.status for record in ran.records.values()} == {Status.OK}
    assert set(ran.records) == {
        f"{one}/cpu/{p}" for one in ("ort", "openvino") for p in ("fp32", "int8-shared-minmax")
    }
    assert (ran.reference["engine"], ran.reference["version"]) == (
        "openvino",
        OPENVINO.partition("==")[2],
    )
    for head in yolov3_like.HEADS:
        exact = ran.errors["ort/cpu/fp32"][head].sqnr_db
        assert exact is None or exact > 100, "two engines agree in fp32"
        quantised = ran.errors["openvino/cpu/int8-shared-minmax"][head].sqnr_db
        assert quantised is not None
        assert quantised < 50, "int8 was computed, not fp32"
        assert quantised > INT8_DB or not VNNI


def test_a_frozen_graph_of_tensorflow_is_the_reference(tmp_path: Path) -> None:
    large(335)
    _, python = engines.interpreter({**venv(TENSORFLOW), "name": "x"})
    values = yolov3_like.weights()
    (tmp_path / "yolo.onnx").write_bytes(yolov3_like.onnx_model(values).SerializeToString())
    version = yolov3_like.freeze(python, values, tmp_path / "yolo.pb")
    (tmp_path / "frozen_graph.py").write_text(code("A frozen graph of TensorFlow 1.x"))
    ran = Ran(
        tmp_path, venv(TENSORFLOW), name="tensorflow", entry_point="frozen_graph.py:load", files=["yolo.pb"]
    )  # fmt: skip
    assert {record.status for record in ran.records.values()} == {Status.OK}
    assert ran.reference == {
        **ran.reference,
        "cell": "tensorflow/cpu/fp32",
        "engine": "tensorflow",
        "version": version,
    }
    for head in yolov3_like.HEADS:
        exact = ran.errors["ort/cpu/fp32"][head]
        assert exact.sqnr_db is not None
        assert 100 < exact.sqnr_db < 160, "other kernels of the same weights"
        quantised = ran.errors["ort/cpu/int8-shared-minmax"][head].sqnr_db
        assert quantised is not None
        assert INT8_DB < quantised < 50


def test_a_module_of_pytorch_is_the_reference(tmp_path: Path) -> None:
    """In the system's own Python: the package index has PyTorch only with gigabytes of CUDA."""
    python = Path("/usr/bin/python3")
    looked = subprocess.run([str(python), "-c", "import torch"], capture_output=True, check=False)
    if looked.returncode:
        pytest.skip(f"{python} has no PyTorch: apt-get install python3-torch")
    values = yolov3_like.weights()
    (tmp_path / "yolo.onnx").write_bytes(yolov3_like.onnx_model(values).SerializeToString())
    version = yolov3_like.trace(python, values, tmp_path / "yolo.ts")
    (tmp_path / "module.py").write_text(code("PyTorch"))
    ran = Ran(
        tmp_path, {"interpreter": str(python)}, name="pytorch", entry_point="module.py:load",
        files=["yolo.ts"],
    )  # fmt: skip
    assert {record.status for record in ran.records.values()} == {Status.OK}
    assert ran.reference["engine"] == "torch"
    assert ran.reference["version"].startswith(version)  # Debian adds what it was built of
    for head in yolov3_like.HEADS:
        exact = ran.errors["ort/cpu/fp32"][head].sqnr_db
        assert exact is None or exact > 100, "other kernels of the same weights"
        quantised = ran.errors["ort/cpu/int8-shared-minmax"][head].sqnr_db
        assert quantised is not None
        assert INT8_DB < quantised < 50


def test_tflite_in_fp32_and_in_int8_of_its_converter(tmp_path: Path) -> None:
    large(360)
    _, converter = engines.interpreter({**venv(TENSORFLOW), "name": "x"})
    engines.interpreter({**venv(LITERT), "name": "x"})
    values = yolov3_like.weights()
    (tmp_path / "yolo.onnx").write_bytes(yolov3_like.onnx_model(values).SerializeToString())
    yolov3_like.convert(converter, values, calibration(), tmp_path / "yolo.tflite")
    (tmp_path / "lite.py").write_text(code("TFLite"))
    ran = Ran(
        tmp_path, venv(LITERT), name="tflite", files=["yolo.tflite", "yolo_int8.tflite"],
        entry_point={"fp32": "lite.py:float32", "int8": "lite.py:int8"},
        select=("*fp32", "tflite/*", "*shared*"),
    )  # fmt: skip
    assert {record.status for record in ran.records.values()} == {Status.OK}
    (own,) = (record for record in ran.records if record.startswith("tflite/cpu/int8"))
    assert ran.reference["engine"] == "ai_edge_litert"
    for head in yolov3_like.HEADS:
        exact = ran.errors["ort/cpu/fp32"][head].sqnr_db
        assert exact is None or exact > 100, "two engines agree in fp32"
        quantised = ran.errors[own][head].sqnr_db
        assert quantised is not None
        assert INT8_DB < quantised < 50, "int8 was computed, not fp32"


def calibration() -> np.ndarray:
    """Returns float32 (images, 3, 96, 96) of the demo's calibration photographs, as they are fed."""
    files = sorted((ROOT / "demo/images/calibration").iterdir())[:8]
    target = np.empty((len(files), 3, yolov3_like.SIZE, yolov3_like.SIZE), np.float32)
    for place, file in enumerate(files):
        image = Image.open(file).convert("RGB").resize((yolov3_like.SIZE, yolov3_like.SIZE))
        target[place] = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
    return target
