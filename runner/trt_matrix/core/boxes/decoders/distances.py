"""A point in each cell, and the distances from it to the four sides, in cells.

    point = ((i, j) + cell_offset) · s
    left, top = point − d · s;  right, bottom = point + d · s
    score = σ(class)

(i, j) is the column and row of a cell, s its stride in pixels. A distance d is Σ k · softmax(t)_k over
`bins` logits (distribution focal loss), or with one bin the output itself; in the order left, top, right,
bottom.

| style | offset | source |
| --- | --- | --- |
| nanodet | ½ | RangiLyu/nanodet, nanodet/model/head/gfl_head.py, get_single_level_center_point |
| nanodet-plus | 0 | the same, nanodet/model/head/nanodet_plus_head.py, get_single_level_center_priors |
| picodet | ½ | PaddlePaddle/PaddleDetection, ppdet/modeling/heads/pico_head.py, get_single_level_center_point |
| gfl | 0 | Li et al., Generalized Focal Loss, 2020, arXiv:2006.04388; open-mmlab/mmdetection, gfl_head.py |
| scrfd | 0 | Guo et al., SCRFD, 2021, arXiv:2105.04714; deepinsight/insightface, detection/scrfd/tools/scrfd.py |
"""

from collections.abc import Sequence

import numpy as np

from trt_matrix.core.boxes.activations import mean_bin
from trt_matrix.core.boxes.nms import Floats
from trt_matrix.core.boxes.places import Places
from trt_matrix.core.boxes.recognising import (
    COCO,
    IMAGENET,
    N3,
    N4,
    GridOutput,
    activation,
    by_stride,
    count,
    layout,
    named,
    read,
    rows_of,
)
from trt_matrix.core.boxes.rows import Parts, Rows, score_channels, style
from trt_matrix.core.boxes.styles import Proposal, Recognise, SeenOutput
from trt_matrix.core.manifest import RecordedDecode


def corners(parts: Parts, places: Places, decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `boxes` (n, 4 · bins)."""
    reach = mean_bin(parts["boxes"].reshape(-1, 4, decode.bins)) * places.strides
    point = (places.cells + decode.cell_offset) * places.strides
    return np.concatenate([point - reach[:, :2], point + reach[:, 2:]], axis=1)


FORM = Rows(
    corners=corners,
    channels={"scores": score_channels, "boxes": lambda decode: 4 * decode.bins},
    joined=("scores", "boxes"),
)

OWN = frozenset({"bins", "strides", "cell_offset", "anchors_per_cell"})

BGR = {
    "scale": 1,
    "mean": [103.53, 116.28, 123.675],
    "std": [57.375, 57.12, 58.395],
    "color": "bgr",
}
"""RangiLyu/nanodet, config: `normalize`; nanodet-m keeps proportions (keep_ratio), plus does not."""

BINS = (8, 11)
"""reg_max 7 and 10, which NanoDet is published with."""


def joined(name: str, strides: Sequence[int]) -> Recognise:
    """Recognises the one output that NanoDet gives: rows of all grids, classes and then distances."""

    def recognise(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
        table = rows_of(outputs[0]) if len(outputs) == 1 else None
        if table is None or table[0] != count(image, strides) or table[1] <= 4 * BINS[0]:
            return None
        if outputs[0].tail is not None and not outputs[0].tail <= {"Sigmoid", "Mul"}:
            return None
        if table[1] == 5 + COCO:
            return None
        bins = next((number for number in BINS if table[1] == COCO + 4 * number), None)
        return Proposal(
            decode={"style": name, "classes": COCO if bins else table[1] - 4 * BINS[0]}
            | ({"bins": bins} if bins and bins != BINS[0] else {})
            | activation(outputs[0], "none"),
            heads={outputs[0].name: {}},
            reason=f"{table[0]} rows are the cells of strides {', '.join(map(str, strides))}",
            doubt=""
            if bins
            else f"which of the {table[1]} columns are classes, and which 4 times `bins` distances",
        )

    return recognise


def separate(name: str, strides: Sequence[int]) -> Recognise:
    """Recognises scores and distances in an output each, for each of these strides."""

    def recognise(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
        groups = by_stride(read(outputs, image, strides), strides)
        if groups is None or len(outputs) != 2 * len(strides):
            return None
        pairs = [_pair(group) for group in groups.values()]
        parts = [part for pair in pairs if pair for part in pair]
        kinds = {(pair[0].channels, pair[1].channels) for pair in pairs if pair}
        if None in pairs or len(kinds) != 1:
            return None
        ((classes, sides),) = kinds
        nanodet = all(named(pair[1].seen, "dis") for pair in pairs if pair)
        if nanodet and name == "picodet":
            return None
        roles = ("scores", "boxes") * len(strides)
        return Proposal(
            decode={"style": name, "classes": classes}
            | ({"bins": sides // 4} if sides != 4 * BINS[0] else {})
            | activation(parts[0].seen, "none")
            | layout(parts),
            heads={
                part.seen.name: {"stride": part.stride, "role": role}
                for part, role in zip(parts, roles, strict=True)
            },
            reason="classes and distances to the sides for each cell of strides "
            + ", ".join(map(str, strides)),
            doubt=""
            if nanodet
            else "whether distances are measured from the middle of a cell (cell_offset: 0.5) or from "
            "its corner (0), and in cells",
        )

    return recognise


def _pair(group: Sequence[GridOutput]) -> tuple[GridOutput, GridOutput] | None:
    """Returns scores and distances of one grid: by name, by a sigmoid, or by four columns."""
    if len(group) != 2:
        return None
    for scores, sides in (group, group[::-1]):
        if sides.channels % 4:
            continue
        by_name = named(sides.seen, "dis", "reg", "box") and named(
            scores.seen, "cls", "class", "score"
        )
        by_sigmoid = (
            scores.seen.applies("Sigmoid") is True and sides.seen.applies("Sigmoid") is False
        )
        if by_name or by_sigmoid or (sides.channels == 4 and scores.channels != 4):
            return scores, sides
    return None


def either(*ways: Recognise) -> Recognise:
    """Returns the first way that recognises something."""
    return lambda outputs, image: next(
        (found for way in ways if (found := way(outputs, image)) is not None), None
    )


def scrfd(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """Two rows a cell: a score, four distances, and perhaps five points."""
    grids = read(outputs, image, N3, anchors=2)
    groups = by_stride(grids, N3)
    if groups is None or len(grids) != len(outputs):
        return None
    kinds = [sorted(grid.channels for grid in group) for group in groups.values()]
    if kinds not in ([[1, 4, 10]] * 3, [[1, 4]] * 3):
        return None
    held = {1: "scores", 4: "boxes"}
    scores = next(grid for grid in grids if grid.channels == 1)
    return Proposal(
        decode={"style": "scrfd"} | activation(scores.seen, "none") | layout(grids),
        heads={
            grid.seen.name: {"stride": grid.stride, "role": held[grid.channels]}
            for grid in grids
            if grid.channels in held
        },
        reason="two rows a cell of strides 8, 16, 32, with one score and four distances",
    )


NANODET = {"activation": "none", "bins": 8, "strides": N3, "nms_iou": 0.6}

PLUS = NANODET | {"strides": N4}

STYLES = (
    style(
        "nanodet",
        "NanoDet (m, g, EfficientLite), distances in bins, or integrated (bins: 1)",
        FORM,
        settings=OWN,
        defaults=NANODET,
        recognise=either(joined("nanodet", N3), separate("nanodet", N3)),
        preprocess=BGR | {"pad": 0},
    ),
    style(
        "nanodet-plus",
        "NanoDet-Plus",
        FORM,
        settings=OWN,
        defaults=PLUS | {"cell_offset": 0.0},
        recognise=either(joined("nanodet-plus", N4), separate("nanodet-plus", N4)),
        preprocess=BGR | {"resize": "stretch"},
    ),
    style(
        "picodet",
        "PP-PicoDet, cut before its own decoding",
        FORM,
        settings=OWN,
        defaults=PLUS,
        recognise=separate("picodet", N4),
        preprocess=IMAGENET | {"resize": "stretch"},
    ),
    style(
        "gfl",
        "GFL as in MMDetection, raw",
        FORM,
        settings=OWN,
        defaults={
            "activation": "sigmoid",
            "bins": 17,
            "strides": (8, 16, 32, 64, 128),
            "cell_offset": 0.0,
            "nms_iou": 0.6,
        },
    ),
    style(
        "scrfd",
        "SCRFD, InsightFace's face detectors (det_500m, det_10g)",
        FORM,
        settings=OWN,
        defaults={
            "classes": 1,
            "activation": "none",
            "bins": 1,
            "strides": N3,
            "cell_offset": 0.0,
            "anchors_per_cell": 2,
            "nms_iou": 0.4,
        },
        recognise=scrfd,
        preprocess={"position": "top_left", "scale": 1, "mean": 127.5, "std": 128, "pad": 0},
    ),
)
