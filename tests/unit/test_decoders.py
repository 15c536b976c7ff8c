"""Each style of `decode:` against a loop in plain Python, written from the published formula."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from experiments import changed, config

from trt_matrix.core import manifest
from trt_matrix.core.boxes import decoders, registry
from trt_matrix.core.boxes.decoding import DecodeError, Family
from trt_matrix.core.boxes.groups import heads_of_a_box
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.registry import STYLES, style_of
from trt_matrix.planning.boxes import check_decode

Floats = npt.NDArray[np.float32]
Found = tuple[int, float, float, float, float, float]
"""Class, score, left, top, right, bottom."""
Outputs = dict[str, Floats]

HEIGHT, WIDTH = 64, 96
CLASSES = 3
EVERY = {"nms_iou": 1.0}
"""Nothing overlaps by more: all candidates come out."""


def told_of(
    heads: Mapping[str, Any],
    decode: Mapping[str, Any],
    size: tuple[int, int] = (HEIGHT, WIDTH),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[manifest.RecordedDecode | None, list[str]]:
    """Does what `plan` does: returns what a run records, and what is wrong with it."""
    problems: list[str] = []
    settings = config(changed(heads=heads, decode=decode))
    found = check_decode(
        settings, Path(), size, dict(shapes or {}), lambda _, problem: problems.append(problem)
    )
    return found and found.decode, problems


def recorded(
    heads: Mapping[str, Any],
    decode: Mapping[str, Any],
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> manifest.RecordedDecode:
    made, problems = told_of(heads, decode, size)
    assert problems == []
    assert made is not None
    return made


def detect(outputs: Outputs, decode: manifest.RecordedDecode) -> Boxes:
    style = style_of(decode)
    assert style is not None
    return style.detector(decode)(outputs)


def found_in(boxes: Boxes) -> list[Found]:
    return [
        (int(label), float(score), *map(float, corners))
        for label, score, corners in zip(boxes.classes, boxes.scores, boxes.corners, strict=True)
    ]


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
            yield (
                label,
                values[label],
                x - reach[0],
                y - reach[1],
                x + reach[2],
                y + reach[3],
            )


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
            cx + x * 0.1 * pw,
            cy + y * 0.1 * ph,
            pw * math.exp(w * 0.2),
            ph * math.exp(h * 0.2),
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
            yield (
                label,
                sigmoid(logit),
                *around(x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT),
            )


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
            yield (
                label,
                sigmoid(here),
                *around((column + x) * 4, (row + y) * 4, w * 4, h * 4),
            )


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
CENTERFACE = {
    "heat": {"role": "scores"},
    "scale": {"role": "sizes"},
    "offset": {"role": "offsets"},
}

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
            {
                "loc": normal(len(ssd_priors()), 4),
                "conf": normal(len(ssd_priors()), 1 + CLASSES),
            },
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
            {
                "scores": chances(90, 2),
                "boxes": np.cumsum(chances(90, 4), axis=1)[:, [0, 1, 2, 3]],
            },
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

OLD = frozenset(map(str, Family))
"""Held against loops in test_detection.py."""


def settings_of(style: str, **more: Any) -> dict[str, Any]:
    made = {"style": style, "score_threshold": 0.35, "max_detections": 10_000}
    made |= CASES[style][1] | more
    return made | (EVERY if "nms_iou" in STYLES[style].settings else {})


def test_every_style_has_a_loop() -> None:
    assert set(CASES) | OLD == set(STYLES)


@pytest.mark.parametrize("style", CASES)
def test_boxes_follow_the_formulae(style: str) -> None:
    heads, _, outputs, loop = CASES[style]
    expected = [one for one in loop(outputs) if one[1] > 0.35]
    found = found_in(detect(outputs, recorded(heads, settings_of(style))))
    assert len(expected) > 10
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=2e-5, atol=1e-3)
    assert [one[1] for one in found] == sorted((one[1] for one in found), reverse=True)


@pytest.mark.parametrize("style", CASES)
def test_outputs_are_not_changed(style: str) -> None:
    heads, _, outputs, _ = CASES[style]
    before = {head: values.copy() for head, values in outputs.items()}
    for values in outputs.values():
        values.setflags(write=False)
    detect(outputs, recorded(heads, settings_of(style)))
    for head, values in before.items():
        np.testing.assert_array_equal(outputs[head], values)


@pytest.mark.parametrize("style", CASES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_broken_values_make_no_broken_box_and_leave_others_alone(style: str, bad: float) -> None:
    heads, _, outputs, _ = CASES[style]
    decode = recorded(heads, settings_of(style))
    broken = {head: values.copy() for head, values in outputs.items()}
    for values in broken.values():
        values.reshape(-1)[::7] = bad
    found = detect(broken, decode)
    assert np.isfinite(found.corners).all()
    assert (found.areas > 0).all()
    assert ((found.scores > 0.35) & (found.scores <= 1)).all()
    nothing = {head: np.full_like(values, np.nan) for head, values in outputs.items()}
    assert len(detect(nothing, decode)) == 0


@pytest.mark.parametrize("style", CASES)
def test_a_wrong_shape_names_the_head_its_shape_and_what_is_wanted(style: str) -> None:
    heads, _, outputs, _ = CASES[style]
    decode = recorded(heads, settings_of(style))
    shapes = {head: values.shape for head, values in outputs.items()}
    for head, values in outputs.items():
        wrong = (*values.shape[:-1], values.shape[-1] + 1)
        # Of rows that lie anywhere, and are last, there may be any number.
        with pytest.raises(DecodeError) as caught:
            detect({**outputs, head: np.zeros(wrong, np.float32)}, decode)
        assert f"head {head!r}: one image's output has shape {wrong}; (" in str(caught.value)
        assert "is expected" in str(caught.value)
        _, told = told_of(heads, settings_of(style), shapes={**shapes, head: wrong})
        assert told == [str(caught.value)]
        with pytest.raises(DecodeError, match="no output of head"):
            detect({name: one for name, one in outputs.items() if name != head}, decode)
    for shape in ((), (0,), (1, *values.shape)):
        with pytest.raises(DecodeError, match="is expected"):
            detect({**outputs, head: np.zeros(shape, np.float32)}, decode)


@pytest.mark.parametrize("style", CASES)
def test_a_network_that_fires_everywhere_gives_its_limit_of_boxes(style: str) -> None:
    heads, _, outputs, _ = CASES[style]
    decode = recorded(heads, {**settings_of(style), "max_detections": 5, "score_threshold": 0.0})
    assert len(detect(outputs, decode)) == 5


@pytest.mark.parametrize("style", CASES)
def test_which_heads_make_a_box(style: str) -> None:
    heads, _, outputs, _ = CASES[style]
    decode = recorded(heads, settings_of(style))
    made_of = heads_of_a_box(decode)
    assert set(made_of) == set(heads)
    together = {name for names in made_of.values() for name in names}
    assert together == set(heads)
    if style == "yunet":
        assert made_of["obj_16"] == ("cls_16", "obj_16", "bbox_16")
    else:
        assert all(names == tuple(heads) for names in made_of.values())
    first = {next(iter(names)) for names in made_of.values()}
    names = [one.head for one in decode.heads]
    assert {names[index] for index in detect(outputs, decode).heads} <= first


# Planted boxes come back


BOXES = [(10.0, 6.0, 41.0, 50.0), (3.0, 20.0, 90.0, 60.0), (40.5, 8.25, 60.0, 30.0)]


def planted(style: str, outputs: Outputs, decode: manifest.RecordedDecode) -> list[Found]:
    found = detect(outputs, decode)
    return [one for one in found_in(found) if one[1] > 0.5]


def centre_and_size(box: tuple[float, ...]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


@pytest.mark.parametrize("box", BOXES)
def test_planted_distances_come_back(box: tuple[float, float, float, float]) -> None:
    """A distance between two bins is told by the weights of both."""
    for style, strides, bins, offset, anchors in (
        ("nanodet", N8, 8, 0.5, 1),
        ("nanodet-plus", N4, 8, 0.0, 1),
        ("scrfd", N8, 1, 0.0, 2),
    ):
        classes = 1 if style == "scrfd" else CASES[style][1]["classes"]
        values = np.zeros((rows_of(strides, anchors), classes + 4 * bins), np.float32)
        x, y, _, _ = centre_and_size(box)
        stride = 16
        column, row = int(x // stride), int(y // stride)
        at = rows_of([8], anchors) + (row * math.ceil(WIDTH / stride) + column) * anchors
        point = (column + offset) * stride, (row + offset) * stride
        reach = (point[0] - box[0], point[1] - box[1], box[2] - point[0], box[3] - point[1])
        values[at, classes - 1] = 0.9
        for side, pixels in enumerate(reach):
            distance = pixels / stride
            start = classes + side * bins
            if bins == 1:
                values[at, start] = distance
                continue
            low = min(int(distance), bins - 2)
            weights = np.full(bins, 1e-30)
            weights[low], weights[low + 1] = low + 1 - distance + 1e-30, distance - low + 1e-30
            values[at, start : start + bins] = np.log(weights)
        decode = recorded(ONE, settings_of(style))
        ((label, _, *corners),) = planted(style, {"out": values}, decode)
        assert label == classes - 1
        assert corners == pytest.approx(box, abs=1e-3)


@pytest.mark.parametrize("box", BOXES)
def test_planted_boxes_of_priors_come_back(box: tuple[float, float, float, float]) -> None:
    priors = retinaface_priors()
    loc, conf = np.zeros((len(priors), 4), np.float32), np.zeros((len(priors), 2), np.float32)
    x, y, width, height = centre_and_size(box)
    at = min(
        range(len(priors)), key=lambda i: (priors[i][0] - x) ** 2 + (priors[i][2] - width) ** 2
    )
    cx, cy, pw, ph = priors[at]
    loc[at] = (
        (x - cx) / pw / 0.1,
        (y - cy) / ph / 0.1,
        math.log(width / pw) / 0.2,
        math.log(height / ph) / 0.2,
    )
    conf[at, 1] = 0.9
    decode = recorded(SSD, settings_of("retinaface"))
    ((_, _, *corners),) = planted("retinaface", {"loc": loc, "conf": conf}, decode)
    assert corners == pytest.approx(box, abs=1e-3)


@pytest.mark.parametrize("box", BOXES)
def test_planted_centres_come_back(box: tuple[float, float, float, float]) -> None:
    x, y, width, height = centre_and_size(box)
    grid = (HEIGHT // 4, WIDTH // 4)
    column, row = int(x // 4), int(y // 4)
    heat = np.full((CLASSES, *grid), -9, np.float32)
    heat[1, row, column], heat[1, row, column + 1] = 3, 2
    wh, reg = np.ones((2, *grid), np.float32), np.zeros((2, *grid), np.float32)
    wh[:, row, column], reg[:, row, column] = (width / 4, height / 4), (x / 4 - column, y / 4 - row)
    decode = recorded(CENTERNET, settings_of("centernet"))
    ((label, _, *corners),) = planted("centernet", {"hm": heat, "wh": wh, "reg": reg}, decode)
    assert (label, corners) == (1, pytest.approx(box, abs=1e-3))

    out = np.zeros((rows_of(N8), 5 + CLASSES), np.float32)
    at = rows_of([8]) + int(y // 16) * math.ceil(WIDTH / 16) + int(x // 16)
    out[at] = (
        x / 16 - x // 16, y / 16 - y // 16, math.log(width / 16), math.log(height / 16), 1, 0, 0.9, 0,
    )  # fmt: skip
    decode = recorded(ONE, settings_of("yolox"))
    ((label, _, *corners),) = planted("yolox", {"out": out}, decode)
    assert (label, corners) == (1, pytest.approx(box, abs=1e-3))


# Layouts, heads, settings


def test_one_head_a_stride_is_the_same_as_all_in_one() -> None:
    _, given, outputs, _ = CASES["yolox"]
    heads = {f"s{stride}": {"stride": stride} for stride in N8}
    ends = np.cumsum([rows_of([stride]) for stride in N8])[:-1]
    parts = np.split(outputs["out"], ends)
    maps = {
        name: np.ascontiguousarray(part.T.reshape(5 + CLASSES, HEIGHT // stride, WIDTH // stride))
        for name, part, stride in zip(heads, parts, N8, strict=True)
    }
    expected = found_in(detect(outputs, recorded(ONE, settings_of("yolox"))))
    decode = recorded(heads, settings_of("yolox", layout="channels_first"))
    assert sorted(found_in(detect(maps, decode))) == sorted(expected)
    assert heads_of_a_box(decode)["s8"] == ("s8",)
    last = {name: np.moveaxis(values, 0, -1) for name, values in maps.items()}
    decode = recorded(heads, settings_of("yolox", layout="channels_last"))
    assert sorted(found_in(detect(last, decode))) == sorted(expected)
    del given


def test_anchors_of_a_cell_may_be_channels_of_a_map() -> None:
    """As MMDetection's heads give them: (anchors · channels, h, w), anchor by anchor."""
    generator = np.random.default_rng(3)
    heads = {"s": {"stride": 16, "role": "scores"}, "b": {"stride": 16, "role": "boxes"}}
    rows, columns = HEIGHT // 16, WIDTH // 16
    scores = generator.uniform(0, 1, (rows, columns, 2, 1)).astype(np.float32)
    boxes = generator.uniform(0.1, 3, (rows, columns, 2, 4)).astype(np.float32)
    flat = {"s": scores.reshape(-1, 1), "b": boxes.reshape(-1, 4)}
    maps = {
        name: np.ascontiguousarray(values.reshape(rows, columns, -1).transpose(2, 0, 1))
        for name, values in (("s", scores), ("b", boxes))
    }
    expected = detect(flat, recorded(heads, settings_of("scrfd")))
    found = detect(maps, recorded(heads, settings_of("scrfd", layout="channels_first")))
    assert len(found) > 10
    assert found_in(found) == found_in(expected)


def test_sizes_that_no_stride_divides() -> None:
    """NanoDet-Plus at 320: 40² + 20² + 10² + 5² = 2125 rows; 300 pixels have 38 cells of 8."""
    shapes = {"out": (2125, 112)}
    decode = {"style": "nanodet-plus", "classes": 80}
    assert told_of(ONE, decode, (320, 320), shapes)[1] == []
    assert told_of(ONE, decode, (416, 416), {"out": (3598, 112)})[1] == []
    (told,) = told_of(ONE, {"style": "nanodet", "classes": 80}, (320, 320), shapes)[1]
    assert "has shape (2125, 112); (2100, 112) is expected" in told
    assert "40 × 40 of stride 8" in told
    rows = 38 * 38 + 19 * 19 + 10 * 10
    assert (
        told_of(ONE, {"style": "nanodet", "classes": 80}, (300, 300), {"out": (rows, 112)})[1] == []
    )


def test_ssd300_has_its_8732_priors() -> None:
    """data/config.py of ssd.pytorch, VOC: feature maps 38, 19, 10, 5, 3, 1."""
    sizes = (30, 60, 111, 162, 213, 264, 315)
    strides, ratios = (8, 16, 32, 64, 100, 300), ([2], [2, 3], [2, 3], [2, 3], [2], [2])
    priors = [
        {"stride": s, "sizes": [sizes[i]], "max_sizes": [sizes[i + 1]], "ratios": r}
        for i, (s, r) in enumerate(zip(strides, ratios, strict=True))
    ]
    decode = {"style": "ssd", "classes": 20, "priors": priors}
    shapes = {"loc": (8732, 4), "conf": (8732, 21)}
    assert told_of(SSD, decode, (300, 300), shapes)[1] == []


@pytest.mark.parametrize(
    ("heads", "decode", "told"),
    [
        ({"a": {}}, {"style": "yunet"}, "head 'a' has no role: yunet makes a box of several heads"),
        (
            {"a": {"role": "scores"}},
            {"style": "yunet"},
            "no head holds the objectness that belong to 'a'",
        ),
        (
            {"a": {"role": "scores"}, "b": {"role": "scores"}},
            {"style": "detr", "classes": 3},
            "heads 'a' and 'b' both hold scores of all strides",
        ),
        (
            {"a": {"role": "sizes"}},
            {"style": "detr", "classes": 3},
            "head 'a': detr has no role 'sizes'; it has boxes, scores",
        ),
        (
            {"a": {"role": "scores", "stride": 8, "anchors": [[1, 2]]}},
            {"style": "yolov3", "classes": 3},
            "head 'a': yolov3 has no role 'scores'",
        ),
        (
            {"a": {"stride": 8, "scale_x_y": 1.2, "anchors": [[1, 2]]}},
            {"style": "yolov5", "classes": 3},
            "scale_x_y is for yolov3",
        ),
        (
            {"a": {"scale_x_y": 1.2}},
            {"style": "yolox", "classes": 3},
            "yolox has no anchors and no scale_x_y of a head",
        ),
        (SSD, {"style": "ssd", "classes": 3}, "decode.priors has none"),
    ],
)  # fmt: skip
def test_heads_that_do_not_fit_a_style(
    heads: dict[str, Any], decode: dict[str, Any], told: str
) -> None:
    (problem,) = told_of(heads, decode)[1]
    assert told in problem


def test_heads_without_a_role_are_not_read_where_others_have_one() -> None:
    decode = recorded({**YUNET, "kps_8": {}}, settings_of("yunet"))
    assert "kps_8" not in [one.head for one in decode.heads]


@pytest.mark.parametrize("name", ["mine", "yunet"])
def test_one_file_adds_a_style(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one_more.py").write_text(
        "from trt_matrix.core.boxes.rows import Rows, style\n"
        f"STYLES = (style({name!r}, 'mine', Rows(corners=lambda parts, places, decode: 0)),)\n"
    )
    monkeypatch.setattr(decoders, "__path__", [*decoders.__path__, str(tmp_path)])
    if name in STYLES:
        with pytest.raises(ValueError, match="two decoders call a style 'yunet'"):
            registry.by_name(registry.found())
    else:
        assert set(registry.by_name(registry.found())) == {name, *STYLES}
    sys.modules.pop(f"{decoders.__name__}.one_more")


def test_a_style_of_a_newer_version_is_told() -> None:
    decode = recorded(ONE, settings_of("yolox")).model_copy(update={"style": "yolov99"})
    with pytest.raises(DecodeError, match="no style is called 'yolov99' here"):
        style_of(decode)
    with pytest.raises(DecodeError, match="no style is called"):
        heads_of_a_box(decode)
