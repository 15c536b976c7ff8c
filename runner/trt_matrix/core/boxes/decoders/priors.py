"""Offsets to prior boxes (anchors), divided by variances.

    centre = prior centre + t_xy · v₀ · prior size
    width, height = prior size · exp(t_wh · v₁)
    score = softmax(classes, the background among them)

Priors stand at the middle of each cell; which sizes, `decode.priors` says (`records.PriorLevel`).

| style | source |
| --- | --- |
| ssd | Liu et al., SSD, 2016, arXiv:1512.02325; amdegroot/ssd.pytorch, layers/box_utils.py, decode, and layers/functions/prior_box.py |
| retinaface | biubug6/Pytorch_Retinaface, utils/box_utils.py, decode, and layers/functions/prior_box.py, data/config.py |
"""

from collections.abc import Sequence

import numpy as np

from trt_matrix.core.boxes.nms import Floats
from trt_matrix.core.boxes.places import Places
from trt_matrix.core.boxes.recognising import N3, activation, count, pair_of
from trt_matrix.core.boxes.rows import Parts, Rows, style
from trt_matrix.core.boxes.styles import Proposal, SeenOutput
from trt_matrix.core.manifest import RecordedDecode


def corners(parts: Parts, places: Places, decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `boxes` (n, 4)."""
    raw = parts["boxes"].astype(np.float64)
    of_centre, of_size = decode.variances
    sizes = places.priors[:, 2:]
    centre = places.priors[:, :2] + raw[:, :2] * of_centre * sizes
    half = sizes * np.exp(raw[:, 2:] * of_size) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


FORM = Rows(corners=corners, lie="priors")

OWN = frozenset({"priors", "clip_priors", "variances", "background"})

RETINAFACE = tuple(
    {"stride": stride, "sizes": sizes}
    for stride, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
)


def recognise_retinaface(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """Two priors a cell: four offsets, two classes, five points."""
    pair = pair_of(outputs, 10) if len(outputs) == 3 else None
    if pair is None or pair[2:] != (count(image, N3, 2), 2) or pair[1].applies("Exp"):
        return None
    scores, boxes, rows, _ = pair
    return Proposal(
        decode={"style": "retinaface"} | activation(scores, "none", of="Softmax"),
        heads={boxes.name: {"role": "boxes"}, scores.name: {"role": "scores"}},
        reason=f"{rows} rows are two priors a cell of strides 8, 16, 32; 4, 2 and 10 columns",
    )


DECODING = ("Exp", "Sigmoid", "Softmax", "Sub")
"""None is behind raw offsets; YOLO-NAS and PP-YOLOE, with outputs of the same shapes, subtract."""


def recognise_ssd(outputs: Sequence[SeenOutput], _image: tuple[int, int]) -> Proposal | None:
    """As many rows of four offsets as of scores, more than a transformer has queries."""
    pair = pair_of(outputs) if len(outputs) == 2 else None
    if pair is None or pair[2] <= 1000 or pair[3] < 2 or pair[1].applies(*DECODING):
        return None
    scores, boxes, rows, columns = pair
    return Proposal(
        decode={"style": "ssd", "classes": columns - 1}
        | activation(scores, "softmax", of="Softmax"),
        heads={boxes.name: {"role": "boxes"}, scores.name: {"role": "scores"}},
        reason=f"{rows} rows of 4 offsets and {columns} scores",
        doubt="the prior boxes that it was trained with: give decode.priors",
    )


STYLES = (
    style(
        "ssd",
        "SSD and its kin, raw; give its priors",
        FORM,
        settings=OWN,
        defaults={
            "activation": "softmax",
            "background": "first",
            "clip_priors": True,
            "nms_iou": 0.45,
        },
        recognise=recognise_ssd,
    ),
    style(
        "retinaface",
        "RetinaFace as in Pytorch_Retinaface, its softmax in the network",
        FORM,
        settings=OWN,
        defaults={
            "classes": 1,
            "activation": "none",
            "background": "first",
            "priors": RETINAFACE,
            "nms_iou": 0.4,
        },
        recognise=recognise_retinaface,
        preprocess={"scale": 1, "mean": [104, 117, 123], "color": "bgr"},
    ),
)
