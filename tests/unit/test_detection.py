import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from trt_matrix.core.boxes.decoding import DecodeError, Decoding, Family, HeadGrid, Layout
from trt_matrix.core.boxes.detection import candidates, detect, detect_all
from trt_matrix.core.boxes.nms import Boxes

Floats = npt.NDArray[np.float32]


ANCHORS = ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0))
SIZE = (32, 48)
STRIDE = 8
ROWS, COLUMNS = 4, 6


def decoding(family: Family, layout: Layout = Layout.CHANNELS_FIRST, bins: int = 16) -> Decoding:
    anchors = ANCHORS if family.anchored else ()
    return Decoding(
        family=family,
        heads={"small": HeadGrid(stride=0 if family.decoded else STRIDE, anchors=anchors)},
        classes=3,
        image_size=SIZE,
        layout=layout,
        bins=bins,
        score_threshold=0.3,
    )


def raw(settings: Decoding, seed: int = 0) -> Floats:
    """Random outputs of one image, shape (anchors, channels, rows, columns)."""
    generator = np.random.default_rng(seed)
    anchors = len(settings.heads["small"].anchors) or 1
    values = generator.normal(0, 1.5, (anchors, settings.channels, ROWS, COLUMNS))
    if settings.family.decoded:
        values[:, :2] = generator.uniform(-5, 50, (1, 2, ROWS, COLUMNS))
        values[:, 2:4] = generator.uniform(1, 30, (1, 2, ROWS, COLUMNS))
        values[:, 4:] = generator.uniform(0, 1, values[:, 4:].shape)
    elif settings.family is Family.YOLOV8 and settings.bins == 1:
        values[:, :4] = np.abs(values[:, :4])
    return values.astype(np.float32)


def laid_out(values: Floats, layout: Layout) -> Floats:
    anchors, channels, rows, columns = values.shape
    match layout:
        case Layout.CHANNELS_FIRST:
            return values.reshape(anchors * channels, rows, columns)
        case Layout.CHANNELS_LAST:
            return np.moveaxis(values.reshape(anchors * channels, rows, columns), 0, -1).copy()
        case Layout.BOXES:
            return np.moveaxis(values, 1, -1).reshape(-1, channels).copy()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def one_box(values: Floats, anchor: int, row: int, column: int, settings: Decoding) -> list[float]:
    """Left, top, right, bottom by the formulae, one number at a time."""
    t = [float(value) for value in values[anchor, : settings.geometry, row, column]]
    if settings.family is Family.YOLOV8:
        bins = settings.bins
        sides = []
        for side in range(4):
            logits = t[side * bins : (side + 1) * bins]
            weights = [math.exp(logit) for logit in logits]
            mean = sum(k * weight for k, weight in enumerate(weights)) / sum(weights)
            sides.append(STRIDE * (mean if bins > 1 else logits[0]))
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        return [x - sides[0], y - sides[1], x + sides[2], y + sides[3]]
    match settings.family:
        case Family.YOLOV3:
            x, y = (sigmoid(t[0]) + column) * STRIDE, (sigmoid(t[1]) + row) * STRIDE
            width, height = (a * math.exp(v) for a, v in zip(ANCHORS[anchor], t[2:], strict=True))
        case Family.YOLOV5 | Family.YOLOV7:
            x = (2 * sigmoid(t[0]) - 0.5 + column) * STRIDE
            y = (2 * sigmoid(t[1]) - 0.5 + row) * STRIDE
            width, height = (
                a * (2 * sigmoid(v)) ** 2 for a, v in zip(ANCHORS[anchor], t[2:], strict=True)
            )
        case _:
            x, y, width, height = t
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def by_the_formulae(values: Floats, settings: Decoding) -> list[tuple[float, ...]]:
    """Every (class, score, box) above the threshold, in order of score."""
    activation = float if settings.family.decoded else sigmoid
    found: list[tuple[float, ...]] = []
    for anchor, row, column in np.ndindex(len(values), ROWS, COLUMNS):
        rest = values[anchor, settings.geometry :, row, column]
        objectness = activation(rest[0]) if settings.family.objectness else 1.0
        for label, logit in enumerate(rest[int(settings.family.objectness) :]):
            score = objectness * activation(logit)
            if score > settings.score_threshold:
                found.append((label, score, *one_box(values, anchor, row, column, settings)))
    return sorted(found, key=lambda one: -one[1])


def rows(boxes: Boxes) -> Floats:
    return np.column_stack([boxes.classes, boxes.scores, boxes.corners])


CASES = [(family, 16) for family in Family] + [(Family.YOLOV8, 1)]


@pytest.mark.parametrize(("family", "bins"), CASES)
@pytest.mark.parametrize("layout", Layout)
def test_boxes_follow_the_formulae(family: Family, bins: int, layout: Layout) -> None:
    settings = decoding(family, layout, bins)
    values = raw(settings)
    expected = by_the_formulae(values, settings)
    boxes = candidates("small", laid_out(values, layout), settings)
    boxes = boxes.take(np.argsort(-boxes.scores, kind="stable"))
    assert len(expected) > 5
    np.testing.assert_allclose(rows(boxes), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layout", Layout)
def test_cells_may_be_one_axis_or_two(layout: Layout) -> None:
    settings = decoding(Family.YOLOV5, layout)
    values = raw(settings)
    flat = values.reshape(*values.shape[:2], -1, 1)
    shapes = [laid_out(values, layout), laid_out(flat, layout).squeeze()]
    if layout is Layout.BOXES:
        shapes.append(np.moveaxis(values, 1, -1))
    results = [rows(candidates("small", shape, settings)) for shape in shapes]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("family", Family)
def test_broken_outputs_hold_no_broken_boxes(family: Family) -> None:
    settings = decoding(family)
    for bad in (np.nan, np.inf, -np.inf, 3e38, -3e38):
        values = raw(settings)
        values[:, :, 1, 2] = bad
        values[:, : settings.geometry, 2, 3] = bad
        values[:, settings.geometry :, 3, 4] = bad
        boxes = detect({"small": laid_out(values, Layout.CHANNELS_FIRST)}, settings)
        assert len(boxes)
        assert np.isfinite(boxes.corners).all()
        assert (boxes.areas > 0).all()
        assert ((boxes.scores > 0.3) & (boxes.scores <= 1)).all()


@pytest.mark.parametrize("family", Family)
def test_a_head_of_nothing_but_nan_has_no_box(family: Family) -> None:
    settings = decoding(family)
    values = np.full_like(raw(settings), np.nan)
    assert len(detect({"small": laid_out(values, Layout.CHANNELS_FIRST)}, settings)) == 0


def test_broken_cells_leave_the_others_alone() -> None:
    settings = decoding(Family.YOLOV5)
    values = raw(settings)
    before = by_the_formulae(values, settings)
    silent, broken = values.copy(), values.copy()
    silent[:, 4, 1] = -99
    broken[:, :, 1] = np.nan
    expected = by_the_formulae(silent, settings)
    boxes = candidates("small", laid_out(broken, Layout.CHANNELS_FIRST), settings)
    assert 0 < len(expected) < len(before)
    assert sorted(boxes.scores.tolist()) == pytest.approx(sorted(one[1] for one in expected))


@pytest.mark.parametrize("k", [1.05, 1.2, 2.0])
def test_scale_x_y_moves_centres_as_darknet_does(k: float) -> None:
    """scal_add_cpu(…, l.scale_x_y, -0.5*(l.scale_x_y - 1)) on σ(t), then (column + x) / columns."""
    settings = decoding(Family.YOLOV3)
    (grid,) = settings.heads.values()
    scaled = replace(settings, heads={"small": replace(grid, scale_x_y=k)})
    values = raw(settings)
    outputs = laid_out(values, Layout.CHANNELS_FIRST)
    before, after = (candidates("small", outputs, one) for one in (settings, scaled))
    assert len(before) == len(after) > 5
    moved = {
        round(((x * k - 0.5 * (k - 1)) - x) * STRIDE, 3)
        for x in (sigmoid(float(t)) for t in values[:, :2].reshape(-1))
    }
    shifts = (after.corners - before.corners)[:, :2].round(3)
    assert {float(value) for value in shifts.reshape(-1)} <= {
        near for one in moved for near in (one, round(one - 0.001, 3), round(one + 0.001, 3))
    }
    sizes = [boxes.corners[:, 2:] - boxes.corners[:, :2] for boxes in (before, after)]
    np.testing.assert_allclose(sizes[1], sizes[0], rtol=1e-6)
    assert np.abs(shifts).max() > 0.1


def test_negative_distances_are_no_box() -> None:
    settings = decoding(Family.YOLOV8, bins=1)
    values = np.full((1, 7, ROWS, COLUMNS), 5, np.float32)
    values[:, :2, 0, 0] = -6
    boxes = candidates("small", laid_out(values, Layout.CHANNELS_FIRST), settings)
    assert len(boxes) == 3 * (ROWS * COLUMNS - 1)


def test_boxes_beyond_the_image_are_kept_as_they_are() -> None:
    settings = decoding(Family.YOLOV8_DECODED)
    values = np.full((7, 1), -1, np.float32)
    values[:, 0] = [500, -90, 40, 20, 0.9, 0, 0]
    boxes = detect({"small": values}, settings)
    assert boxes.corners.tolist() == [[480, -100, 520, -80]]


def test_what_lies_above_1_counts_as_1() -> None:
    """In INT8, probabilities that share their scale with pixels come out as 0, 5, 10, …"""
    values = np.array([[20, 20, 10, 10, 5.0, 0, 0.9]], np.float32)
    settings = decoding(Family.YOLOV8_DECODED, Layout.BOXES)
    boxes = detect({"small": values}, settings)
    assert boxes.scores.tolist() == pytest.approx([1, 0.9])


@pytest.mark.parametrize("family", [Family.YOLOV3, Family.YOLOV5, Family.YOLOV7, Family.YOLOV8])
def test_a_network_that_applies_the_sigmoid_itself_gives_the_same_boxes(family: Family) -> None:
    settings = decoding(family)
    values = raw(settings)
    # What has a σ in the formulae: centres and scores; in v5 and v7 sizes, too; in v8 scores alone.
    plain = {Family.YOLOV3: slice(2, 4), Family.YOLOV8: slice(0, settings.geometry)}
    squashed = 1 / (1 + np.exp(-values))
    if family in plain:
        squashed[:, plain[family]] = values[:, plain[family]]
    expected = candidates("small", laid_out(values, settings.layout), settings)
    boxes = candidates(
        "small",
        laid_out(squashed.astype(np.float32), settings.layout),
        replace(settings, activated=True),
    )
    assert len(boxes) == len(expected) > 0
    assert np.allclose(boxes.corners, expected.corners, atol=1e-4)
    assert np.allclose(boxes.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize(("family", "score"), [(Family.YOLOV5, 0.25), (Family.YOLOV8, 0.5)])
def test_a_score_of_just_the_threshold_is_not_above_it(family: Family, score: float) -> None:
    zeros = laid_out(np.zeros_like(raw(decoding(family))), Layout.CHANNELS_FIRST)
    settings = decoding(family)
    assert len(candidates("small", zeros, replace(settings, score_threshold=score))) == 0
    assert len(candidates("small", zeros, replace(settings, score_threshold=score - 0.01))) > 0


@pytest.mark.parametrize("family", Family)
def test_of_too_many_candidates_the_best_stay_in_order(family: Family) -> None:
    settings = decoding(family)
    values = laid_out(raw(settings), Layout.CHANNELS_FIRST)
    every = candidates("small", values, settings)
    few = candidates("small", values, replace(settings, max_candidates=4))
    best = np.sort(np.argsort(-every.scores, kind="stable")[:4])
    assert len(every) > 4
    np.testing.assert_array_equal(rows(few), rows(every.take(best)))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.999, 0.99999, 1.0])
@pytest.mark.parametrize("family", [Family.YOLOV8, Family.YOLOV5])
def test_thresholds_up_to_the_ends(family: Family, threshold: float) -> None:
    settings = replace(decoding(family), score_threshold=threshold)
    values = raw(settings)
    values[:, settings.geometry :] = np.random.default_rng(4).uniform(
        -25, 25, values[:, settings.geometry :].shape
    )
    logits = values[:, settings.geometry :]
    probable = 1 / (1 + np.exp(-logits))
    scores = probable if family is Family.YOLOV8 else probable[:, :1] * probable[:, 1:]
    boxes = candidates("small", laid_out(values, Layout.CHANNELS_FIRST), settings)
    assert len(boxes) == np.count_nonzero(scores > np.float32(threshold))


@pytest.mark.parametrize(
    ("layout", "shape", "parts"),
    [
        (Layout.CHANNELS_FIRST, (21, 4, 6), ["'small'", "(21, 4, 6)", "24 channels", "3 anchors", "5 + 3", "first"]),
        (Layout.CHANNELS_LAST, (4, 6, 21), ["24 channels", "last axis"]),
        (Layout.BOXES, (72, 9), ["8 channels (5 + 3 classes)", "last axis"]),
        (Layout.CHANNELS_FIRST, (24, 6, 4), ["4 × 6 cells", "stride 8", "32 × 48"]),
        (Layout.CHANNELS_FIRST, (24, 5, 6), ["4 × 6 cells"]),
        (Layout.CHANNELS_FIRST, (1, 24, 4, 6), ["(1, 24, 4, 6)", "24 channels"]),
        (Layout.BOXES, (24, 8), ["4 × 6 cells"]),
        (Layout.CHANNELS_FIRST, (24,), ["(24,)"]),
        (Layout.CHANNELS_FIRST, (), ["()"]),
        (Layout.CHANNELS_FIRST, (0, 4, 6), ["24 channels"]),
    ],
)  # fmt: skip
def test_a_wrong_shape_names_the_head_and_what_is_expected(
    layout: Layout, shape: tuple[int, ...], parts: list[str]
) -> None:
    settings = decoding(Family.YOLOV5, layout)
    with pytest.raises(DecodeError) as caught:
        detect({"small": np.zeros(shape, np.float32)}, settings)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_head_is_named() -> None:
    with pytest.raises(DecodeError, match="no output of head 'small'; there are 'large'"):
        detect({"large": np.zeros((24, 4, 6), np.float32)}, decoding(Family.YOLOV5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": {}}, "decode.heads is empty"),
        ({"classes": 0}, "1 or more"),
        ({"image_size": (0, 32)}, "1 or more"),
        ({"score_threshold": math.nan}, "score_threshold is nan"),
        ({"iou_threshold": 1.5}, "iou_threshold is 1.5"),
        ({"heads": {"a": HeadGrid(stride=8)}}, "'a': yolov5 needs anchors"),
        ({"heads": {"a": HeadGrid(anchors=ANCHORS)}}, "needs the stride"),
        ({"heads": {"a": HeadGrid(stride=8, anchors=((0.0, 3.0),))}}, "positive pixels"),
        ({"heads": {"a": HeadGrid(stride=8, anchors=((math.inf, 3.0),))}}, "positive pixels"),
        ({"family": Family.YOLOV8}, "yolov8 has no anchors; 3 are given"),
    ],
)
def test_a_decoding_that_contradicts_itself_is_refused(
    changes: dict[str, object], message: str
) -> None:
    given: dict[str, object] = {
        "family": Family.YOLOV5,
        "heads": {"small": HeadGrid(stride=8, anchors=ANCHORS)},
        "classes": 3,
        "image_size": SIZE,
    }
    with pytest.raises(DecodeError, match=message):
        Decoding(**(given | changes))  # type: ignore[arg-type]


GOOD = Boxes(np.array([[0.0, 0, 5, 5]]), np.array([0.5], np.float32), np.array([0]), np.array([0]))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Boxes(GOOD.corners[:, :3], GOOD.scores, GOOD.classes, GOOD.heads), "shapes"),
        (Boxes(GOOD.corners, GOOD.scores, GOOD.classes[:0], GOOD.heads), "shapes"),
        (Boxes(GOOD.corners, GOOD.scores * 3, GOOD.classes, GOOD.heads), "score outside"),
        (Boxes(GOOD.corners, GOOD.scores * np.nan, GOOD.classes, GOOD.heads), "score outside"),
        (
            Boxes(GOOD.corners, GOOD.scores, GOOD.classes, GOOD.heads + 1),
            "head index outside 0 to 0",
        ),
    ],
)
def test_what_a_decoder_of_the_users_own_returns_is_checked(found: Boxes, message: str) -> None:
    outputs = {"small": np.zeros((1, 2, 2), np.float32)}
    assert list(detect_all(outputs, lambda _: GOOD, ["small"])) == [GOOD]
    with pytest.raises(DecodeError, match=f"image 0.*{message}"):
        list(detect_all(outputs, lambda _: found, ["small"]))
