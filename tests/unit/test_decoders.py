"""Each style of `decode:` against its loop in decoder_loops.py."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.decoder_loops import (
    CASES,
    CENTERNET,
    CLASSES,
    HEIGHT,
    N4,
    N8,
    ONE,
    SSD,
    WIDTH,
    YUNET,
    Found,
    Outputs,
    retinaface_priors,
    rows_of,
)
from tests.unit.decodings import detect, found_in, recorded, settings_of, told_of
from trt_matrix.core import manifest
from trt_matrix.core.boxes import decoders, registry
from trt_matrix.core.boxes.decoding import DecodeError, Family
from trt_matrix.core.boxes.groups import heads_of_a_box
from trt_matrix.core.boxes.registry import STYLES, style_of

OLD = frozenset(map(str, Family))
"""Held against loops in test_detection.py."""


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
            detect({name: output for name, output in outputs.items() if name != head}, decode)
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
    names = [head.head for head in decode.heads]
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
    assert label == 1
    assert corners == pytest.approx(box, abs=1e-3)

    out = np.zeros((rows_of(N8), 5 + CLASSES), np.float32)
    at = rows_of([8]) + int(y // 16) * math.ceil(WIDTH / 16) + int(x // 16)
    out[at] = (
        x / 16 - x // 16, y / 16 - y // 16, math.log(width / 16), math.log(height / 16), 1, 0, 0.9, 0,
    )  # fmt: skip
    decode = recorded(ONE, settings_of("yolox"))
    ((label, _, *corners),) = planted("yolox", {"out": out}, decode)
    assert label == 1
    assert corners == pytest.approx(box, abs=1e-3)


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
    assert "kps_8" not in [head.head for head in decode.heads]


@pytest.mark.parametrize("name", ["mine", "yunet"])
def test_one_file_adds_a_style(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one_more.py").write_text(
        "from trt_matrix.core.boxes.rows import Rows, style\n"
        f"STYLES = (style({name!r}, 'mine', Rows(corners=lambda parts, places, decode: 0)),)\n"
    )
    monkeypatch.setattr(decoders, "__path__", [*decoders.__path__, str(tmp_path)])
    if name in STYLES:
        with pytest.raises(ValueError, match="two decoders call a style 'yunet'"):
            registry.by_name(registry.every())
    else:
        assert set(registry.by_name(registry.every())) == {name, *STYLES}
    sys.modules.pop(f"{decoders.__name__}.one_more")


def test_a_style_of_a_newer_version_is_told() -> None:
    decode = recorded(ONE, settings_of("yolox")).model_copy(update={"style": "yolov99"})
    with pytest.raises(DecodeError, match="no style is called 'yolov99' here"):
        style_of(decode)
    with pytest.raises(DecodeError, match="no style is called"):
        heads_of_a_box(decode)
