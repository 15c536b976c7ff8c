"""Boxes that the network itself gives, as shares of its input's width and height.

| style | box | score | source |
| --- | --- | --- | --- |
| ultraface | left, top, right, bottom | softmax in the network, background first | Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, run_video_face_detect_onnx.py, predict |
| detr | centre, size | softmax, background last; a query has its best class | Carion et al., DETR, 2020, arXiv:2005.12872; facebookresearch/detr, models/detr.py, PostProcess |
| rtdetr | centre, size | σ; a query may be a box of several classes | Zhao et al., RT-DETR, 2023, arXiv:2304.08069; lyuwenyu/RT-DETR, rtdetr_postprocessor.py; Deformable DETR likewise |

The last two suppress nothing, as published: their queries were trained not to repeat each other.
"""

from collections.abc import Sequence

import numpy as np

from trt_matrix.core.boxes.nms import Floats
from trt_matrix.core.boxes.places import Places, grid
from trt_matrix.core.boxes.recognising import IMAGENET, activation, pair_of
from trt_matrix.core.boxes.rows import Parts, Rows, style
from trt_matrix.core.boxes.styles import Proposal, Recognise, SeenOutput
from trt_matrix.core.manifest import RecordedDecode


def from_corners(parts: Parts, places: Places, _decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `boxes` (n, 4), corners in [0, 1]."""
    return parts["boxes"].astype(np.float64) * np.tile(places.image, 2)


def from_centres(parts: Parts, places: Places, _decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `boxes` (n, 4): centre and size in [0, 1]."""
    pixels = parts["boxes"].astype(np.float64) * np.tile(places.image, 2)
    centre, half = pixels[:, :2], pixels[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


ULTRAFACE = {8: 3, 16: 2, 32: 2, 64: 3}
"""Stride → priors of a cell, of which the network makes its rows (vision/ssd/config/fd_config.py)."""

DETR_QUERIES = 100


def recognise_ultraface(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """As many rows as UltraFace has priors, and boxes that the network decodes."""
    pair = pair_of(outputs) if len(outputs) == 2 else None
    cells = {stride: grid(image, stride) for stride in ULTRAFACE}
    rows = sum(number * cells[s][0] * cells[s][1] for s, number in ULTRAFACE.items())
    if pair is None or pair[2:] != (rows, 2) or pair[1].applies("Exp") is False:
        return None
    scores, boxes, _, _ = pair
    decoded = boxes.applies("Exp")
    return Proposal(
        decode={"style": "ultraface"} | activation(scores, "none", of="Softmax"),
        heads={scores.name: {"role": "scores"}, boxes.name: {"role": "boxes"}},
        reason=f"{rows} rows are UltraFace's priors, and the network decodes them",
        doubt="" if decoded else "whether the network decodes its boxes itself",
    )


def queries(name: str, doubtless: frozenset[int], background: int) -> Recognise:
    """Recognises a row for each query: scores, and a box behind a sigmoid."""

    def recognise(outputs: Sequence[SeenOutput], _image: tuple[int, int]) -> Proposal | None:
        pair = pair_of(outputs) if len(outputs) == 2 else None
        if pair is None or not DETR_QUERIES <= pair[2] <= 1000:
            return None
        scores, boxes, rows, columns = pair
        squashed = boxes.applies("Sigmoid")
        if squashed is False or (rows == DETR_QUERIES) != (DETR_QUERIES in doubtless):
            return None
        if scores.applies("Sigmoid" if background else "Softmax"):
            return None
        kind = "Softmax" if background else "Sigmoid"
        sure = rows in doubtless and squashed
        return Proposal(
            decode={"style": name, "classes": columns - background}
            | activation(scores, kind.lower(), of=kind),
            heads={scores.name: {"role": "scores"}, boxes.name: {"role": "boxes"}},
            reason=f"{rows} queries of {columns} scores and a box each",
            doubt=""
            if sure
            else "whether scores are a softmax with no object last (detr) or a sigmoid each (rtdetr)",
        )

    return recognise


STYLES = (
    style(
        "ultraface",
        "Ultra-Light-Fast-Generic-Face-Detector (slim, RFB)",
        Rows(corners=from_corners, lie="anywhere"),
        settings=frozenset({"background"}),
        defaults={"classes": 1, "activation": "none", "background": "first", "nms_iou": 0.3},
        recognise=recognise_ultraface,
        preprocess={"resize": "stretch", "scale": 1, "mean": 127, "std": 128},
    ),
    style(
        "detr",
        "DETR",
        Rows(corners=from_centres, lie="anywhere", one_class=True, suppresses=False),
        settings=frozenset({"background"}),
        defaults={"activation": "softmax", "background": "last"},
        recognise=queries("detr", frozenset({DETR_QUERIES}), 1),
        preprocess=IMAGENET | {"resize": "stretch"},
    ),
    style(
        "rtdetr",
        "RT-DETR, Deformable DETR and others with a sigmoid for each class",
        Rows(corners=from_centres, lie="anywhere", suppresses=False),
        settings=frozenset({"background"}),
        defaults={"activation": "sigmoid"},
        recognise=queries("rtdetr", frozenset({300}), 0),
        preprocess={"resize": "stretch"},
    ),
)
