"""Peaks of a heat map, and a size and an offset at each.

    peak: a cell that no neighbour of the 3 × 3 around it exceeds, class by class
    centre = ((i, j) + offset + cell_offset) · s

| style | width, height | also | source |
| --- | --- | --- | --- |
| centernet | t · s | cell_offset 0, no suppression | Zhou et al., Objects as Points, 2019, arXiv:1904.07850; xingyizhou/CenterNet, src/lib/models/decode.py, ctdet_decode |
| centerface | exp(t) · s | cell_offset ½; sizes and offsets in the order y, x; every cell, then suppression | Xu et al., CenterFace, 2019, arXiv:1911.03599; ORB-HD/deface, deface/centerface.py, decode |
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.nms import Floats
from trt_matrix.core.boxes.places import Places
from trt_matrix.core.boxes.recognising import activation, named, read
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


def peaks(parts: Parts, places: Places, decode: RecordedDecode) -> Output:
    """Scores, shape (rows, classes), 0 where a neighbour's is higher."""
    scores = class_scores(parts, places, decode)
    ends = np.cumsum([rows * columns for rows, columns in places.grids])
    maps = zip(np.split(scores, ends[:-1]), places.grids, strict=True)
    return np.concatenate([_peaks(heat, grid) for heat, grid in maps])


def _peaks(scores: Output, grid: tuple[int, int]) -> Output:
    heat = scores.reshape(*grid, -1)
    around = np.pad(heat, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(0, 1))
    # A NaN beside a peak is no reason to lose it, and none itself.
    highest = np.fmax.reduce(windows, axis=(-2, -1))
    return np.where(heat == highest, heat, 0).reshape(scores.shape).astype(np.float32)


def linear(parts: Parts, places: Places, decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `sizes` and `offsets` (n, 2) in cells: x, y."""
    size, offset = (parts[role].astype(np.float64) for role in ("sizes", "offsets"))
    return _around(offset, size, places, decode)


def exponential(parts: Parts, places: Places, decode: RecordedDecode) -> Floats:
    """Left, top, right, bottom in pixels, shape (n, 4), of `sizes` and `offsets` (n, 2): y, x."""
    size, offset = (parts[role][:, ::-1].astype(np.float64) for role in ("sizes", "offsets"))
    return _around(offset, np.exp(size), places, decode)


def _around(
    offset: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    places: Places,
    decode: RecordedDecode,
) -> Floats:
    centre = places.cells + offset + decode.cell_offset
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1) * places.strides


STRIDE = 4


def recognise_centernet(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """Maps of stride 4: classes, sizes and offsets, told from each other by name."""
    grids = read(outputs, image, (STRIDE,))
    if len(outputs) != 3 or [grid.layout for grid in grids] != ["channels_first"] * 3:
        return None
    twos = [grid.seen for grid in grids if grid.channels == 2]
    heats = [grid for grid in grids if grid.seen not in twos or named(grid.seen, "hm", "heat")]
    if len(heats) != 1:
        return None
    twos = [two for two in twos if two is not heats[0].seen]
    sizes = [two for two in twos if named(two, "wh", "size")]
    offsets = [two for two in twos if named(two, "reg", "off")]
    sure = len(sizes) == len(offsets) == 1 and sizes != offsets
    first, second = (sizes[0], offsets[0]) if sure else twos
    return Proposal(
        decode={"style": "centernet", "classes": heats[0].channels}
        | activation(heats[0].seen, "sigmoid"),
        heads={
            heats[0].seen.name: {"role": "scores"},
            first.name: {"role": "sizes"},
            second.name: {"role": "offsets"},
        },
        reason="a map of classes and two of two channels, four pixels a cell",
        doubt="" if sure else "which map holds sizes and which offsets",
    )


def recognise_centerface(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """Maps of stride 4 in the order of the published network: heat, sizes, offsets, five points."""
    grids = read(outputs, image, (STRIDE,))
    if len(grids) != len(outputs) or [grid.channels for grid in grids] != [1, 2, 2, 10]:
        return None
    heat, sizes, offsets, _ = (grid.seen for grid in grids)
    return Proposal(
        decode={"style": "centerface"} | activation(heat, "none"),
        heads={
            heat.name: {"role": "scores"},
            sizes.name: {"role": "sizes"},
            offsets.name: {"role": "offsets"},
        },
        reason="maps of 1, 2, 2 and 10 channels, four pixels a cell, in CenterFace's order",
    )


CHANNELS: Channels = {"scores": score_channels, "sizes": always(2), "offsets": always(2)}

OWN = frozenset({"strides", "cell_offset"})

MAPS = {"layout": "channels_first", "strides": (STRIDE,)}

STYLES = (
    style(
        "centernet",
        "CenterNet (Objects as Points)",
        Rows(corners=linear, scores=peaks, channels=CHANNELS, suppresses=False),
        settings=OWN,
        defaults=MAPS | {"activation": "sigmoid", "cell_offset": 0.0},
        recognise=recognise_centernet,
        preprocess={
            "mean": [0.408, 0.447, 0.47],
            "std": [0.289, 0.274, 0.278],
            "color": "bgr",
            "pad": 0,
        },
    ),
    style(
        "centerface",
        "CenterFace",
        Rows(corners=exponential, channels=CHANNELS),
        settings=OWN,
        defaults=MAPS | {"classes": 1, "activation": "none", "nms_iou": 0.3},
        recognise=recognise_centerface,
        preprocess={"resize": "stretch", "scale": 1},
    ),
)
