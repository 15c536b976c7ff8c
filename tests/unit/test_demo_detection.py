"""Boxes of whole networks, as the demo decodes its own."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

from demo import evaluate, network
from tests.unit.test_detection import Floats, rows
from trt_matrix.core.boxes.decoding import DecodeError, Decoding, Family, HeadGrid
from trt_matrix.core.boxes.detection import detect, detect_all

DEMO = Decoding(
    family=Family.YOLOV3,
    heads={
        head: HeadGrid(stride=stride, anchors=(network.ANCHORS[head],))
        for head, stride in network.HEADS.items()
    },
    classes=network.CLASSES,
    image_size=(320, 320),
)


def demo_outputs(seed: int, images: int = 1) -> Mapping[str, Floats]:
    """Outputs with logits on a coarse grid, as INT8 gives them: many scores are equal."""
    generator = np.random.default_rng(seed)
    outputs = {}
    for head, stride in network.HEADS.items():
        values = generator.normal(-2, 2, (images, network.CHANNELS, 320 // stride, 320 // stride))
        values[:, 4] -= 4
        outputs[head] = (np.round(values * 8) / 8).astype(np.float32)
    return outputs


@pytest.mark.parametrize("seed", range(3))
def test_it_decodes_as_the_demo_does(seed: int) -> None:
    outputs = {head: values[0] for head, values in demo_outputs(seed).items()}
    expected = evaluate.detections(dict(outputs))
    boxes = detect(outputs, DEMO)
    assert len(expected) == 100
    assert boxes.classes.tolist() == [label for label, _, _ in expected]
    assert boxes.scores.tolist() == [score for _, score, _ in expected]
    sizes = boxes.corners[:, 2:] - boxes.corners[:, :2]
    placed = np.concatenate([boxes.corners[:, :2], sizes], axis=1)
    np.testing.assert_allclose(placed, [box for _, _, box in expected], rtol=1e-5, atol=1e-4)


def test_boxes_remember_their_head() -> None:
    outputs = {head: np.full_like(values[0], -9) for head, values in demo_outputs(0).items()}
    for index, values in enumerate(outputs.values()):
        values[:, 3, 5] = 0
        values[4, 3, 5] = 9
        values[5 + index, 3, 5] = 9
    boxes = detect(outputs, DEMO)
    confident = boxes.take(boxes.scores > 0.9)
    assert dict(zip(confident.heads.tolist(), confident.classes.tolist(), strict=True)) == {
        0: 0, 1: 1, 2: 2,
    }  # fmt: skip


def test_all_images_of_mapped_outputs() -> None:
    outputs = demo_outputs(7, images=3)
    detector = partial(detect, decoding=DEMO)
    all_boxes = list(detect_all(outputs, detector, list(DEMO.heads)))
    assert len(all_boxes) == 3
    for index, boxes in enumerate(all_boxes):
        alone = detect({head: values[index] for head, values in outputs.items()}, DEMO)
        np.testing.assert_array_equal(rows(boxes), rows(alone))


def test_heads_with_different_numbers_of_images_are_refused() -> None:
    outputs = dict(demo_outputs(7, images=3))
    outputs["small"] = outputs["small"][:2]
    with pytest.raises(DecodeError, match="'small': 2"):
        next(detect_all(outputs, partial(detect, decoding=DEMO), list(DEMO.heads)))


def test_a_network_that_fires_everywhere_gives_its_limit_of_boxes() -> None:
    outputs = {head: np.full_like(values[0], 5) for head, values in demo_outputs(0).items()}
    for values in outputs.values():
        values[2:4] = -1
    assert len(detect(outputs, DEMO)) == DEMO.max_detections
