"""AP50 by size range of the shipped network on the shipped images: `python -m demo.evaluate`."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from demo.network import ANCHORS, HEADS
from demo.sizes import AREAS

Floats = npt.NDArray[np.float32]


def detections(
    outputs: dict[str, Floats], least: float = 0.01, overlap: float = 0.5
) -> list[tuple[int, float, Floats]]:
    """Decodes and suppresses: (class, score, box as left, top, width, height in pixels).

    Args:
        outputs: head → raw output of one image, shape (15, h, w).
        least: Lowest score that is kept.
        overlap: Boxes of one class that overlap a better one by more than this IoU are dropped.
    """
    found: list[tuple[int, float, Floats]] = []
    for head, stride in HEADS.items():
        raw = outputs[head]
        scores = _sigmoid(raw[4]) * _sigmoid(raw[5:])
        classes, rows, columns = np.nonzero(scores > least)
        for label, row, column in zip(classes, rows, columns, strict=True):
            x, y = (_sigmoid(raw[:2, row, column]) + np.array([column, row])) * stride
            width, height = np.exp(np.minimum(raw[2:4, row, column], 4)) * ANCHORS[head]
            box = np.array([x - width / 2, y - height / 2, width, height], np.float32)
            found.append((int(label), float(scores[label, row, column]), box))
    found.sort(key=lambda one: -one[1])
    kept: list[tuple[int, float, Floats]] = []
    for array in found:
        if all(array[0] != other[0] or _iou(array[2], other[2]) <= overlap for other in kept):
            kept.append(array)
    return kept[:100]


def ap50(model: Path, images: Path, labels: Path) -> dict[str, float]:
    """Returns size range → AP at IoU 0.5, by the COCO evaluator (pycocotools)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    truth = COCO(str(labels))
    results: list[dict[str, Any]] = []
    for entry in json.loads(labels.read_text())["images"]:
        pixels = np.asarray(Image.open(images / entry["file_name"]).convert("RGB"), np.float32)
        outputs = session.run(list(HEADS), {"images": pixels.transpose(2, 0, 1)[None] / 255})
        raw = {head: output[0] for head, output in zip(HEADS, outputs, strict=True)}
        results += [
            {
                "image_id": entry["id"],
                "category_id": label,
                "score": score,
                "bbox": [float(value) for value in box],
            }
            for label, score, box in detections(raw)
        ]
    evaluator = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluator.params.iouThrs = np.array([0.5])
    evaluator.params.areaRng = [[0, 1e10], *(list(limits) for limits in AREAS.values())]
    evaluator.params.areaRngLbl = ["all", *AREAS]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval["precision"][0, :, :, :, -1]
    found = {}
    for index, name in enumerate(evaluator.params.areaRngLbl):
        valid = precision[..., index][precision[..., index] > -1]
        found[name] = float(valid.mean())
    return found


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _iou(one: Floats, other: Floats) -> float:
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    inner = float(np.prod(np.maximum(high - low, 0)))
    return inner / float(one[2] * one[3] + other[2] * other[3] - inner)


if __name__ == "__main__":
    here = Path(__file__).parent
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "digits3.onnx"
    for name, value in ap50(model, here / "images/evaluation", here / "labels.json").items():
        print(f"AP50 {name:6} {value:.3f}")
