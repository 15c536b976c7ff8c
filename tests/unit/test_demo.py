"""The shipped detector and data are what demo/README.md says."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from demo.evaluate import detections
from demo.network import HEADS
from trt_matrix.core.network import graph
from trt_matrix.core.network.shapes import macs

DEMO = Path(__file__).parents[2] / "demo"
NETWORKS = ("digits3.onnx", "digits3-opset9.onnx")


@pytest.fixture(scope="module")
def models() -> dict[str, onnx.ModelProto]:
    return {name: onnx.load(DEMO / name) for name in NETWORKS}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255


def session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # IR 3 lists initialisers as inputs; that warning is known
    return onnxruntime.InferenceSession(
        str(DEMO / name), options, providers=["CPUExecutionProvider"]
    )


def test_both_networks_are_the_same_function() -> None:
    sessions = [session(name) for name in NETWORKS]
    for path in sorted((DEMO / "images/evaluation").iterdir())[:4]:
        new, old = ([*session.run(list(HEADS), {"images": pixels(path)})] for session in sessions)
        for one, other in zip(new, old, strict=True):
            assert np.abs(one).max() > 1
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)


def test_the_old_network_is_what_old_parsers_read(models: dict[str, onnx.ModelProto]) -> None:
    old = models["digits3-opset9.onnx"]
    assert old.ir_version == 3
    assert old.opset_import[0].version == 9
    assert {tensor.name for tensor in old.graph.initializer} < {
        value.name for value in old.graph.input
    }
    assert {node.op_type for node in old.graph.node} == {
        "Conv",
        "Relu",
        "Add",
        "Upsample",
        "Concat",
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_unique_and_the_heads_have_their_shapes(
    models: dict[str, onnx.ModelProto], name: str
) -> None:
    model = models[name]
    onnx.checker.check_model(model, full_check=True)
    nodes = [node.name for node in model.graph.node]
    tensors = [output for node in model.graph.node for output in node.output]
    assert len(set(nodes)) == len(nodes)
    assert all(nodes)
    assert len(set(tensors)) == len(tensors)
    shapes = {info.name: info.shape for info in graph.outputs(model)}
    assert shapes == {head: (1, 15, 320 // stride, 320 // stride) for head, stride in HEADS.items()}


def test_medium_and_small_alone_lie_behind_upsampling(models: dict[str, onnx.ModelProto]) -> None:
    model = models["digits3.onnx"]
    kinds = {node.name: node.op_type for node in model.graph.node}
    behind = {
        head: [kinds[node] for node in graph.backward_cone(model, head)].count("Resize")
        for head in HEADS
    }
    assert behind == {"large": 0, "medium": 1, "small": 2}


def test_the_model_card_states_its_size(models: dict[str, onnx.ModelProto]) -> None:
    model = models["digits3.onnx"]
    constants = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    parameters = sum(size for name, size in constants.items() if not name.endswith("/scales"))
    card = (DEMO / "README.md").read_text()
    assert abs(parameters - 829_133) <= 8
    assert "829,133 parameters" in card
    assert round(sum(macs(model).values()) / 1e9, 3) == 0.349
    assert "0.349 GMAC" in card


def test_networks_and_data_are_under_ten_megabytes() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 10e6


@pytest.mark.parametrize(
    ("split", "labels"), [("evaluation", "labels.json"), ("calibration", "labels-calibration.json")]
)
def test_labels_are_coco_and_fit_their_images(split: str, labels: str) -> None:
    coco = json.loads((DEMO / labels).read_text())
    names = {entry["file_name"] for entry in coco["images"]}
    assert names == {path.name for path in (DEMO / "images" / split).iterdir()}
    assert len(names) == 128
    ranges = coco["info"]["areas_px2"]
    counts = dict.fromkeys(ranges, 0)
    for annotation in coco["annotations"]:
        left, top, width, height = annotation["bbox"]
        assert left >= 0
        assert top >= 0
        assert left + width <= 320
        assert top + height <= 320
        assert annotation["area"] == width * height
        for size, (low, high) in ranges.items():
            counts[size] += low <= annotation["area"] < high
    assert min(counts.values()) > 150


def test_it_finds_digits() -> None:
    """A sample only: `python -m demo.evaluate` measures AP50 with pycocotools."""
    coco = json.loads((DEMO / "labels.json").read_text())
    network = session("digits3.onnx")
    wanted = found = 0
    for entry in coco["images"][:24]:
        outputs = network.run(
            list(HEADS), {"images": pixels(DEMO / "images/evaluation" / entry["file_name"])}
        )
        boxes = detections(
            {head: one[0] for head, one in zip(HEADS, outputs, strict=True)}, least=0.3
        )
        for truth in coco["annotations"]:
            if truth["image_id"] == entry["id"]:
                wanted += 1
                found += any(
                    label == truth["category_id"] and overlap(box, truth["bbox"]) >= 0.5
                    for label, _, box in boxes
                )
    assert found / wanted > 0.8


def test_ap50_is_what_the_model_card_states() -> None:
    pytest.importorskip("pycocotools")
    from demo.evaluate import ap50

    measured = ap50(DEMO / "digits3.onnx", DEMO / "images/evaluation", DEMO / "labels.json")
    card = (DEMO / "README.md").read_text()
    for size in ("small", "medium", "large"):
        assert measured[size] >= 0.85
        stated = float(card.split("AP50 in FP32")[1].split(f"{size} ")[1][:5])
        assert measured[size] == pytest.approx(stated, abs=0.005)


def test_splits_share_no_digit() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    from demo.scenes import DIGITS

    digits = datasets.load_digits().data
    splits = [{digits[index].tobytes() for index in chosen} for chosen in DIGITS.values()]
    assert all(splits)
    assert len(set.union(*splits)) == sum(map(len, splits))


def overlap(one: np.ndarray, other: list[float]) -> float:
    """Returns the intersection over union of two boxes as left, top, width, height."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    inner = max(width, 0) * max(height, 0)
    return float(inner / (one[2] * one[3] + other[2] * other[3] - inner))
