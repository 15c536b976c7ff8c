"""A centre in each cell and a size in cells, without anchors.

    centre = (t_xy + (i, j)) · s;  width, height = exp(t_wh) · s

(i, j) is the column and row of a cell, s its stride in pixels.

| style | score | source |
| --- | --- | --- |
| yolox | objectness · class | Megvii-BaseDetection/YOLOX, yolox/utils/demo_utils.py, demo_postprocess |
| yunet | √(objectness · class), each clipped to [0, 1] | opencv/opencv, modules/objdetect/src/face_detect.cpp, postProcess |
"""

from collections.abc import Sequence

import numpy as np

from trt_matrix.core.boxes.nms import Floats
from trt_matrix.core.boxes.places import Places
from trt_matrix.core.boxes.recognising import (
    COCO,
    N3,
    activation,
    by_stride,
    count,
    layout,
    named,
    read,
    rows_of,
)
from trt_matrix.core.boxes.rows import (
    Channels,
    Parts,
    Rows,
    always,
    class_scores,
    score_channels,
    style,
)
from trt_matrix.core.boxes.styles import Output, Proposal, SeenOutput
from trt_matrix.core.manifest import RecordedDecode


def corners(parts: Parts, places: Places, _decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `boxes` (n, 4)."""
    raw = parts["boxes"].astype(np.float64)
    centre = (raw[:, :2] + places.cells) * places.strides
    half = np.exp(raw[:, 2:]) * places.strides / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def geometric_mean(parts: Parts, places: Places, decode: RecordedDecode) -> Output:
    """Scores, shape (rows, classes), of `scores` (rows, classes) and `objectness` (rows, 1)."""
    return np.sqrt(class_scores(parts, places, decode))


def of_product(score: float) -> float:
    """The least that either of two factors, 0 to 1, has where the root of their product is `score`."""
    return score * score * (1 - 1e-3)  # float32 rounds both


NANODET_COCO = (COCO + 4 * 8, COCO + 4 * 11)
"""Columns of NanoDet's one output, whose rows can be as many."""


def made_of(output: SeenOutput, channels: int) -> bool | None:
    """Whether convolutions of four numbers, objectness and classes are behind it; None where that is open.

    YOLOv8 has two: of 64, or 4, and of the classes. With 21, or 81, its channels are as many as YOLOX's with 80.
    One convolution of all channels says nothing.
    """
    if output.parts is None or output.parts == {channels}:
        return None
    return output.parts == {4, 1, channels - 5}


def _joined(output: SeenOutput, rows: int, columns: int) -> Proposal | None:
    """Recognises rows that the network has not decoded: only a sigmoid is behind its convolutions."""
    raw = None if output.tail is None else output.tail <= {"Sigmoid"}
    made = made_of(output, columns)
    if columns <= 5 or columns in NANODET_COCO or output.applies("Exp") or made is False:
        return None
    if not raw:
        doubt = "whether the network decodes its rows itself (yolov5-decoded)"
    elif made or columns <= 4 * 8:
        doubt = ""
    else:
        doubt = f"whether the {columns} columns are 5 and classes, or classes and distances (nanodet, yolov8)"
    return Proposal(
        decode={"style": "yolox", "classes": columns - 5} | activation(output, "none"),
        heads={output.name: {}},
        reason=f"{rows} rows are the cells of strides 8, 16, 32",
        doubt=doubt,
    )


def recognise_yolox(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """One table of all cells, or a map for each stride: four numbers, objectness, classes."""
    table = rows_of(outputs[0]) if len(outputs) == 1 else None
    if table is not None:
        return _joined(outputs[0], *table) if table[0] == count(image, N3) else None
    grids = read(outputs, image, N3)
    groups = by_stride(grids, N3)
    if groups is None or len(outputs) != 3 or len({grid.channels for grid in grids}) != 1:
        return None
    channels = grids[0].channels
    if channels <= 5 or grids[0].layout != "channels_first":
        return None
    made = {made_of(grid.seen, channels) for grid in grids}
    if False in made or not (
        channels == 5 + COCO or True in made or grids[0].seen.applies("Sigmoid")
    ):
        return None
    if any(grid.seen.tail and not grid.seen.tail <= {"Sigmoid"} for grid in grids):
        return None  # features behind SiLU, which multiplies, or what decodes itself
    return Proposal(
        decode={"style": "yolox", "classes": channels - 5}
        | activation(grids[0].seen, "none")
        | layout(grids),
        heads={grid.seen.name: {"stride": grid.stride} for grid in grids},
        reason=f"{channels} channels are 5 and {channels - 5} classes, one anchor a cell",
        # Rockchip's exports of YOLOv5 and YOLOv8 end in a sigmoid, too; so do edges and masks.
        doubt=""
        if made == {True}
        else f"whether the {channels} channels are that, or of three anchors (yolov5), or of bins (yolov8)",
    )


def recognise_yunet(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """For each stride two scores a cell, four numbers, and perhaps five points."""
    grids = read(outputs, image, N3)
    groups = by_stride(grids, N3)
    if groups is None or len(grids) != len(outputs):
        return None
    kinds = [sorted(grid.channels for grid in group) for group in groups.values()]
    if kinds not in ([[1, 1, 4, 10]] * 3, [[1, 1, 4]] * 3):
        return None
    heads: dict[str, dict[str, object]] = {}
    for stride, group in groups.items():
        # Which of the two is which does not matter: their product is taken.
        single = sorted(
            (grid for grid in group if grid.channels == 1), key=lambda grid: named(grid.seen, "obj")
        )
        box = next(grid for grid in group if grid.channels == 4)
        for grid, role in zip((*single, box), ("scores", "objectness", "boxes"), strict=True):
            heads[grid.seen.name] = {"stride": stride, "role": role}
    scores = next(grid for grid in grids if grid.channels == 1)
    return Proposal(
        decode={"style": "yunet"} | activation(scores.seen, "none") | layout(grids),
        heads=heads,
        reason="two scores and four numbers for each cell of strides 8, 16, 32",
        doubt=""
        if 10 in kinds[0] or any(named(grid.seen, "obj") for grid in grids)
        else "whether the four are centre and size (yunet), or distances to the sides as in FCOS",
    )


CHANNELS: Channels = {"scores": score_channels, "objectness": always(1), "boxes": always(4)}

STRIDES = {"activation": "none", "strides": N3}

STYLES = (
    style(
        "yolox",
        "YOLOX, not decoded by the network",
        Rows(corners=corners, channels=CHANNELS, joined=("boxes", "objectness", "scores")),
        settings=frozenset({"strides"}),
        defaults=STRIDES | {"nms_iou": 0.45},
        recognise=recognise_yolox,
        preprocess={"position": "top_left", "scale": 1, "color": "bgr"},
    ),
    style(
        "yunet",
        "YuNet, OpenCV's face detector",
        Rows(corners=corners, scores=geometric_mean, least=of_product, channels=CHANNELS),
        settings=frozenset({"strides"}),
        defaults=STRIDES | {"classes": 1, "nms_iou": 0.3},
        recognise=recognise_yunet,
        preprocess={"resize": "stretch", "scale": 1, "color": "bgr"},
    ),
)
