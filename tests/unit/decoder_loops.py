"""Styles of `decode:` as loops in plain Python, written from the published formulae, and outputs for them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

Found = tuple[int, float, float, float, float, float]
"""Class, score, left, top, right, bottom."""

Outputs = dict[str, Floats]


HEIGHT, WIDTH = 64, 96

CLASSES = 3


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(values: Sequence[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


def cells(stride: int, anchors: int = 1) -> list[tuple[int, int]]:
    """(column, row) of each row of outputs."""
    return [
        (column, row)
        for row in range(math.ceil(HEIGHT / stride))
        for column in range(math.ceil(WIDTH / stride))
        for _ in range(anchors)
    ]


def around(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


GENERATOR = np.random.default_rng(22)


def normal(*shape: int) -> Floats:
    return GENERATOR.normal(0, 1.2, shape).astype(np.float32)


def chances(*shape: int) -> Floats:
    return GENERATOR.uniform(0, 1, shape).astype(np.float32)


# Loops


def distances(
    outputs: Outputs, strides: Sequence[int], bins: int, offset: float, anchors: int = 1
) -> Iterator[Found]:
    """Joined rows of scores, then distances."""
    places = [(stride, cell) for stride in strides for cell in cells(stride, anchors)]
    for (stride, (column, row)), values in zip(places, outputs["out"].tolist(), strict=True):
        classes = len(values) - 4 * bins
        reach = []
        for side in range(4):
            t = values[classes + side * bins : classes + (side + 1) * bins]
            mean = sum(k * p for k, p in enumerate(softmax(t))) if bins > 1 else t[0]
            reach.append(mean * stride)
        x, y = (column + offset) * stride, (row + offset) * stride
        for label in range(classes):
            yield (label, values[label], x - reach[0], y - reach[1], x + reach[2], y + reach[3])


def yolox(outputs: Outputs) -> Iterator[Found]:
    places = [(stride, cell) for stride in (8, 16, 32) for cell in cells(stride)]
    for (stride, (i, j)), (x, y, w, h, objectness, *classes) in zip(
        places, outputs["out"].tolist(), strict=True
    ):
        box = around((x + i) * stride, (y + j) * stride, math.exp(w) * stride, math.exp(h) * stride)
        for label, chance in enumerate(classes):
            yield (label, objectness * chance, *box)


def yunet(outputs: Outputs) -> Iterator[Found]:
    for stride in (8, 16, 32):
        parts = (outputs[f"{part}_{stride}"].tolist() for part in ("cls", "obj", "bbox"))
        for (i, j), (cls,), (obj,), (x, y, w, h) in zip(cells(stride), *parts, strict=True):
            clipped = [min(max(value, 0), 1) for value in (cls, obj)]
            size = math.exp(w) * stride, math.exp(h) * stride
            yield (
                0,
                math.sqrt(clipped[0] * clipped[1]),
                *around((i + x) * stride, (j + y) * stride, *size),
            )


def with_priors(
    outputs: Outputs, priors: Sequence[tuple[float, float, float, float]], *, softmaxed: bool
) -> Iterator[Found]:
    rows = zip(priors, outputs["loc"].tolist(), outputs["conf"].tolist(), strict=True)
    for (cx, cy, pw, ph), (x, y, w, h), scores in rows:
        box = around(
            cx + x * 0.1 * pw, cy + y * 0.1 * ph, pw * math.exp(w * 0.2), ph * math.exp(h * 0.2)
        )
        known = list(scores) if softmaxed else softmax(scores)
        for label, chance in enumerate(known[1:]):
            yield (label, chance, *box)


def retinaface_priors() -> list[tuple[float, float, float, float]]:
    sizes = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
    return [
        ((column + 0.5) * stride, (row + 0.5) * stride, size, size)
        for stride, both in sizes.items()
        for column, row in cells(stride)
        for size in both
    ]


SSD_LEVELS: list[dict[str, Any]] = [
    {"stride": 16, "sizes": [20], "max_sizes": [45], "ratios": [2]},
    {"stride": 32, "sizes": [45], "max_sizes": [99], "ratios": [2, 3]},
]


def ssd_priors() -> list[tuple[float, float, float, float]]:
    """As layers/functions/prior_box.py, each centre and size clipped to the image."""
    made = []
    for level in SSD_LEVELS:
        (size,), (largest,) = level["sizes"], level["max_sizes"]
        sides = [(size, size), (math.sqrt(size * largest),) * 2]
        for ratio in level["ratios"]:
            sides.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
            sides.append((size / math.sqrt(ratio), size * math.sqrt(ratio)))
        for column, row in cells(level["stride"]):
            for width, height in sides:
                x, y = (column + 0.5) * level["stride"], (row + 0.5) * level["stride"]
                made.append((min(x, WIDTH), min(y, HEIGHT), min(width, WIDTH), min(height, HEIGHT)))
    return made


def ultraface(outputs: Outputs) -> Iterator[Found]:
    for (_, face), (x0, y0, x1, y1) in zip(
        outputs["scores"].tolist(), outputs["boxes"].tolist(), strict=True
    ):
        yield (0, face, x0 * WIDTH, y0 * HEIGHT, x1 * WIDTH, y1 * HEIGHT)


def detr(outputs: Outputs) -> Iterator[Found]:
    rows = zip(outputs["logits"].tolist(), outputs["boxes"].tolist(), strict=True)
    for logits, (x, y, w, h) in rows:
        known = softmax(logits)[:-1]
        label = known.index(max(known))
        yield (label, known[label], *around(x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT))


def rtdetr(outputs: Outputs) -> Iterator[Found]:
    rows = zip(outputs["logits"].tolist(), outputs["boxes"].tolist(), strict=True)
    for logits, (x, y, w, h) in rows:
        for label, logit in enumerate(logits):
            yield (label, sigmoid(logit), *around(x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT))


def centernet(outputs: Outputs) -> Iterator[Found]:
    heat = outputs["hm"].tolist()
    rows, columns = len(heat[0]), len(heat[0][0])
    for label, row, column in np.ndindex(len(heat), rows, columns):
        here = heat[label][row][column]
        near = [
            heat[label][y][x]
            for y in range(max(row - 1, 0), min(row + 2, rows))
            for x in range(max(column - 1, 0), min(column + 2, columns))
        ]
        if here == max(near):
            x, y = (float(outputs["reg"][axis, row, column]) for axis in (0, 1))
            w, h = (float(outputs["wh"][axis, row, column]) for axis in (0, 1))
            yield (label, sigmoid(here), *around((column + x) * 4, (row + y) * 4, w * 4, h * 4))


def centerface(outputs: Outputs) -> Iterator[Found]:
    rows, columns = outputs["heat"].shape[1:]
    for row, column in np.ndindex(rows, columns):
        s0, s1 = (math.exp(float(outputs["scale"][axis, row, column])) * 4 for axis in (0, 1))
        o0, o1 = (float(outputs["offset"][axis, row, column]) for axis in (0, 1))
        x1, y1 = (column + o1 + 0.5) * 4 - s1 / 2, (row + o0 + 0.5) * 4 - s0 / 2
        yield (0, float(outputs["heat"][0, row, column]), x1, y1, x1 + s1, y1 + s0)


def rows_of(strides: Sequence[int], anchors: int = 1) -> int:
    return sum(len(cells(stride, anchors)) for stride in strides)


def joined(strides: Sequence[int], bins: int, anchors: int = 1, classes: int = CLASSES) -> Outputs:
    rows = rows_of(strides, anchors)
    boxes = normal(rows, 4 * bins) if bins > 1 else np.abs(normal(rows, 4))
    return {"out": np.concatenate([chances(rows, classes), boxes], axis=1)}


N8, N4 = (8, 16, 32), (8, 16, 32, 64)

ONE: dict[str, Any] = {"out": {}}


PART = {"scores": {"role": "scores"}, "boxes": {"role": "boxes"}}

DETR = {"logits": {"role": "scores"}, "boxes": {"role": "boxes"}}


SSD = {"loc": {"role": "boxes"}, "conf": {"role": "scores"}}

YUNET = {
    f"{part}_{stride}": {"role": role, "stride": stride}
    for part, role in (("cls", "scores"), ("obj", "objectness"), ("bbox", "boxes"))
    for stride in N8
}

CENTERNET = {"hm": {"role": "scores"}, "wh": {"role": "sizes"}, "reg": {"role": "offsets"}}


CENTERFACE = {"heat": {"role": "scores"}, "scale": {"role": "sizes"}, "offset": {"role": "offsets"}}

Case = tuple[Mapping[str, Any], dict[str, Any], Outputs, Callable[[Outputs], Iterator[Found]]]


def cases() -> dict[str, Case]:
    """Style → heads, `decode`, outputs of one image, and the loop."""
    three = {"classes": CLASSES}
    grid, queries = (HEIGHT // 4, WIDTH // 4), 60
    return {
        "nanodet": (ONE, three, joined(N8, 8), lambda o: distances(o, N8, 8, 0.5)),
        "nanodet-plus": (ONE, three, joined(N4, 8), lambda o: distances(o, N4, 8, 0)),
        "picodet": (ONE, three, joined(N4, 8), lambda o: distances(o, N4, 8, 0.5)),
        "gfl": (
            ONE,
            three | {"activation": "none"},
            joined((*N4, 128), 17),
            lambda o: distances(o, (*N4, 128), 17, 0),
        ),
        "scrfd": (ONE, {}, joined(N8, 1, 2, 1), lambda o: distances(o, N8, 1, 0, 2)),
        "yolox": (
            ONE,
            three,
            {
                "out": np.concatenate(
                    [normal(rows_of(N8), 4), chances(rows_of(N8), 1 + CLASSES)], axis=1
                )
            },
            yolox,
        ),
        "yunet": (
            YUNET,
            {},
            {
                f"{part}_{stride}": make(rows_of([stride]), columns)
                for part, make, columns in (
                    ("cls", lambda *s: 1.3 * chances(*s) - 0.1, 1),
                    ("obj", chances, 1),
                    ("bbox", normal, 4),
                )
                for stride in N8
            },
            yunet,
        ),
        "ssd": (
            SSD,
            three | {"priors": SSD_LEVELS},
            {"loc": normal(len(ssd_priors()), 4), "conf": normal(len(ssd_priors()), 1 + CLASSES)},
            lambda o: with_priors(o, ssd_priors(), softmaxed=False),
        ),
        "retinaface": (
            SSD,
            {},
            {"loc": normal(rows_of(N8, 2), 4), "conf": chances(rows_of(N8, 2), 2)},
            lambda o: with_priors(o, retinaface_priors(), softmaxed=True),
        ),
        "ultraface": (
            PART,
            {},
            {"scores": chances(90, 2), "boxes": np.cumsum(chances(90, 4), axis=1)[:, [0, 1, 2, 3]]},
            ultraface,
        ),
        "detr": (
            DETR,
            three,
            {"logits": normal(queries, 1 + CLASSES), "boxes": chances(queries, 4)},
            detr,
        ),
        "rtdetr": (
            DETR,
            three,
            {"logits": normal(queries, CLASSES), "boxes": chances(queries, 4)},
            rtdetr,
        ),
        "centernet": (
            CENTERNET,
            three,
            {"hm": normal(CLASSES, *grid), "wh": chances(2, *grid) * 9, "reg": chances(2, *grid)},
            centernet,
        ),
        "centerface": (
            CENTERFACE,
            {},
            {"heat": chances(1, *grid), "scale": normal(2, *grid), "offset": normal(2, *grid)},
            centerface,
        ),
    }


CASES = cases()
