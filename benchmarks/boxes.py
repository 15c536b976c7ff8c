"""Boxes: decoding, suppression and matching of 256 images, and AP beside pycocotools.

python -m benchmarks.boxes [--quick]
"""

import argparse
import contextlib
import copy
import io
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from trt_matrix.core.boxes.average_precision import average_precision, read_labels
from trt_matrix.core.boxes.decoding import Decoding, Family, HeadGrid, Layout
from trt_matrix.core.boxes.detection import candidates, detect
from trt_matrix.core.boxes.matching import Matching, compare_all
from trt_matrix.core.boxes.nms import Boxes

Floats = npt.NDArray[np.float32]
Images = list[Mapping[str, Floats]]

SIZE = 640
CLASSES = 80
OBJECTS = 12
POOL = 8
"""Different images; they are used again and again, so that the outputs fit into memory."""

GRIDS = {
    "large": HeadGrid(stride=32, anchors=((116.0, 90.0), (156.0, 198.0), (373.0, 326.0))),
    "medium": HeadGrid(stride=16, anchors=((30.0, 61.0), (62.0, 45.0), (59.0, 119.0))),
    "small": HeadGrid(stride=8, anchors=((10.0, 13.0), (16.0, 30.0), (33.0, 23.0))),
}
"""Anchors of YOLOv3, in pixels."""


def decoding(family: Family) -> Decoding:
    grids = {head: HeadGrid(stride=grid.stride) for head, grid in GRIDS.items()}
    return Decoding(
        family=family,
        heads=GRIDS if family.anchored else grids,
        classes=CLASSES,
        image_size=(SIZE, SIZE),
        layout=Layout.CHANNELS_FIRST,
    )


def image(settings: Decoding, generator: np.random.Generator) -> dict[str, Floats]:
    """Outputs as a trained network's: quiet, but around each object nine cells of a head fire.

    Background logits stand where YOLOv5s and v8s have them on photographs: some hundred candidates an
    image pass a threshold of 0.01.
    """
    outputs = {}
    for head, grid in settings.heads.items():
        side, anchors = SIZE // grid.stride, len(grid.anchors) or 1
        values = generator.normal(0, 1, (anchors, settings.channels, side, side))
        scores = values[:, settings.geometry :]
        scores *= 1.5
        scores -= 10 if not settings.family.objectness else 5
        if settings.family.objectness:
            scores[:, 0] -= 5
        for _ in range(OBJECTS // len(settings.heads)):
            row, column = generator.integers(1, side - 1, 2)
            chosen, label = generator.integers(anchors), generator.integers(CLASSES)
            fired = scores[chosen, :, row - 1 : row + 2, column - 1 : column + 2]
            fired[int(settings.family.objectness) + label] = generator.normal(2, 1, (3, 3))
            if settings.family.objectness:
                fired[0] = generator.normal(1, 1.5, (3, 3))
        outputs[head] = values.reshape(-1, side, side).astype(np.float32)
    return outputs


def quantised(outputs: Mapping[str, Floats]) -> dict[str, Floats]:
    """The same on 8 bits, one scale a head."""
    rounded = {}
    for head, values in outputs.items():
        scale = np.abs(values).max() / 127
        rounded[head] = np.round(values / scale) * scale
    return rounded


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def detected(pool: Images, settings: Decoding, images: int) -> list[Boxes]:
    return [detect(pool[index % len(pool)], settings) for index in range(images)]


def labels_of(all_boxes: list[Boxes]) -> dict[str, object]:
    """COCO labels that hold the confident boxes, so that AP has something to find."""
    annotations = [
        {
            "id": 1000 * index + number + 1,
            "image_id": index,
            "category_id": int(boxes.classes[number]),
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        for index, boxes in enumerate(all_boxes)
        for number, (left, top, right, bottom) in enumerate(boxes.corners.tolist())
        if boxes.scores[number] > 0.25
    ]
    return {
        "images": [{"id": index} for index in range(len(all_boxes))],
        "categories": [{"id": label} for label in range(CLASSES)],
        "annotations": annotations,
    }


def pycocotools(truth: dict[str, object], all_boxes: list[Boxes]) -> float:
    """Returns pycocotools' AP of the same boxes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [
        {
            "image_id": index,
            "category_id": int(label),
            "score": float(score),
            "bbox": [left, top, right - left, bottom - top],
        }
        for index, boxes in enumerate(all_boxes)
        for (left, top, right, bottom), score, label in zip(
            boxes.corners.tolist(), boxes.scores, boxes.classes, strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO()
        labels.dataset = copy.deepcopy(truth)
        labels.createIndex()
        evaluation = COCOeval(labels, labels.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return float(precision[precision > -1].mean())


Row = tuple[str, float]
"""What was done and the seconds it took."""


def timed(
    settings: Decoding, fp32: Images, int8: Images, images: int
) -> tuple[list[Row], list[Boxes], list[Boxes]]:
    """Returns the rows of one family, and the boxes of both sets."""
    reference: list[Boxes] = []
    test: list[Boxes] = []
    decode = seconds(lambda: reference.extend(detected(fp32, settings, images)))
    decode += seconds(lambda: test.extend(detected(int8, settings, images)))
    match = seconds(lambda: compare_all(reference, test, len(settings.heads), Matching()))
    found = sum(
        len(candidates(head, array[head], settings)) for array in fp32 for head in settings.heads
    )
    kept = np.mean([len(boxes) for boxes in reference])
    family, seen = settings.family, f"{found / len(fp32):.0f} candidates, {kept:.0f} boxes an image"
    rows = [
        (f"{family}: decode and suppress, both sets; {seen}", decode),
        (f"{family}: match the two", match),
        (f"**{family}: decode, suppress and match**", decode + match),
    ]
    return rows, reference, test


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images: does it run at all?")
    images = 4 if parser.parse_args(arguments).quick else 256
    generator = np.random.default_rng(0)
    rows: list[Row] = []
    for family in (Family.YOLOV3, Family.YOLOV5, Family.YOLOV8):
        settings = decoding(family)
        fp32: Images = [image(settings, generator) for _ in range(POOL)]
        int8: Images = [quantised(array) for array in fp32]
        more, reference, test = timed(settings, fp32, int8, images)
        rows += more

    everywhere: Images = [{head: np.zeros_like(values) for head, values in fp32[0].items()}]
    few = max(images // 16, 1)
    firing = seconds(lambda: detected(everywhere, settings, few)) * images / few
    rows.append((f"a broken yolov8, every score 0.5: one set, scaled from {few} images", firing))

    truth = labels_of(reference)
    labels = read_labels(truth, range(images))
    by_image = dict(enumerate(test))
    ours: list[float | None] = []
    theirs: list[float] = []
    own = seconds(lambda: ours.append(average_precision(labels, by_image)["all"].ap))
    peer = seconds(lambda: theirs.append(pycocotools(truth, test)))
    rows += [
        (f"AP by size of the yolov8 boxes ({ours[0]:.6f})", own),
        (f"pycocotools on the same ({theirs[0]:.6f})", peer),
    ]

    print("## Boxes\n")
    print(f"{machine.facts()}.")
    print(
        f"{images} images of {SIZE}×{SIZE}, heads of stride 32, 16, 8, {CLASSES} classes, two sets of "
        f"outputs (FP32, and rounded to 8 bits) from {POOL} random images; score threshold 0.01; one "
        "process, one run.\n"
    )
    table = [(what, f"{1e3 * taken / images:.2f}", f"{taken:.2f}") for what, taken in rows]
    print(machine.table(["", "ms/image", f"s for {images}"], table))


if __name__ == "__main__":
    main()
