"""Which networks are said to make no boxes: a detector must never be one of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.unit.boxless_networks import (
    centres,
    chosen_regions,
    classifier,
    depth,
    embedding,
    flat_shares,
    gated_and_flat,
    joined_regions,
    of_each_place,
    segmenter,
    tokens,
    two_tasks,
)
from tests.unit.small_networks import Builder, detector
from tests.unit.test_recognising import AMBIGUOUS, CLEAR, Shape
from tests.unit.test_samples import sound
from trt_matrix.commands.init import text
from trt_matrix.core.network import graph
from trt_matrix.core.network.boxless import boxless
from trt_matrix.planning.boxes import shapes_of

SIZE = (32, 32)


def why(model: onnx.ModelProto, size: tuple[int, int] = SIZE) -> str | None:
    outputs = {output.name: output.shape for output in graph.outputs(model)}
    return boxless(model, shapes_of(outputs), size)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (classifier, "one vector for the whole image, whose places GlobalAveragePool merges"),
        (lambda: classifier(4, softmax=True), "4 shares of one (Softmax) for the whole image"),
        (
            lambda: classifier(100, softmax=True, pooled=False),
            "100 shares of one (Softmax) for the whole image",
        ),
        (embedding, "one vector for the whole image, whose places ReduceMean merges"),
        (segmenter, "a map with a value for every pixel of the input"),
        (lambda: segmenter(1, 4), "a map of 1 number for every 2 × 2 pixels of the input"),
        (
            lambda: segmenter(7, 2, softmax=True),
            "a map of 7 numbers for every 4 × 4 pixels of the input",
        ),
        (depth, "a map with a value for every pixel of the input"),
        (tokens, "one vector for the whole image, whose places Gather merges"),
        (lambda: tokens(whole=False), "one vector for the whole image, whose places Gather merges"),
        (
            lambda: tokens(mean=True),
            "one vector for the whole image, whose places ReduceMean merges",
        ),
        (
            lambda: tokens(mean=True, turned=True),
            "one vector for the whole image, whose places ReduceMean merges",
        ),
    ],
)
def test_networks_without_boxes(make: Callable[[], onnx.ModelProto], told: str) -> None:
    assert why(make()) == f"its output is {told}"


def test_several_outputs_are_looked_at_each() -> None:
    told = "each of its outputs is one vector for the whole image, whose places GlobalAveragePool merges"
    assert why(two_tasks()) == told
    assert why(two_tasks(4)) is None  # the corners of a box, perhaps


@pytest.mark.parametrize(
    "make",
    [
        lambda: classifier(4),  # the corners of one box
        lambda: classifier(5),
        lambda: classifier(6),
        lambda: classifier(4 * 4 * 7, pooled=False),  # a grid, flat: YOLO's first version
        gated_and_flat,
        centres,
        chosen_regions,
        lambda: segmenter(5, 2),  # heat, sizes and offsets in one map
        lambda: segmenter(85, 1),  # YOLO's, at stride 8
        lambda: segmenter(1, 1),  # at stride 8 nothing is known to segment
        lambda: centres(1),  # at the image's own size
        lambda: joined_regions(4 * 21),
        lambda: joined_regions(4 * 20),  # none for the background
        flat_shares,
        lambda: of_each_place("Gather"),
        lambda: of_each_place("Gather", last=True),
        lambda: of_each_place("ReduceMax"),
        lambda: of_each_place("ReduceMax", last=True),
        lambda: of_each_place("ReduceL2"),
    ],
)
def test_what_may_hold_boxes_is_not_said_to_hold_none(make: Callable[[], onnx.ModelProto]) -> None:
    assert why(make()) is None


def shaped(shapes: dict[str, Shape]) -> onnx.ModelProto:
    """A network whose outputs have these shapes, each straight from a map."""
    b = Builder()
    b.conv("image", "c", 3, 4, strides=[2, 2])
    for name, shape in shapes.items():
        b.weight(f"{name}.shape", np.array([1, *shape], "i8"))
        b.node("Reshape", ["c", f"{name}.shape"], name)
    model = b.model({"image": [1, 3, 32, 32]}, list(shapes))
    return model


@pytest.mark.parametrize(("shapes", "size"), [one[:2] for one in (*CLEAR, *AMBIGUOUS)])
def test_no_published_detector_is_said_to_make_none(
    shapes: dict[str, Shape], size: tuple[int, int]
) -> None:
    assert boxless(shaped(shapes), shapes, size) is None


def written(model: onnx.ModelProto) -> Mapping[str, Any]:
    return dict(yaml.safe_load(text(Path("net.onnx"), model)))


def test_init_writes_it_as_a_guess() -> None:
    told = text(Path("net.onnx"), classifier())
    found = yaml.safe_load(told)
    assert found["decode"] == "none"
    assert found["guessed"] == ["the preprocessing", "that it makes no boxes (decode: none)"]
    assert (
        "# A guess: it makes no boxes, since its output is one vector for the whole image" in told
    )
    assert "lost:" not in told


def test_a_map_may_be_of_text_that_a_program_makes_boxes_of() -> None:
    """PP-OCR's detector gives one map of the input's size, as a segmenter does: only the user can tell."""
    told = text(Path("net.onnx"), segmenter(1))
    assert "Detectors of text give such a map, too." in " ".join(told.replace("\n#", "").split())
    assert "Detectors of text" not in text(Path("net.onnx"), classifier())


def test_what_no_image_fills_makes_none_without_a_guess() -> None:
    found = written(sound())
    assert (found["decode"], found.get("guessed")) == ("none", None)


def test_of_what_takes_no_image_nothing_is_claimed() -> None:
    """Three frames as one sample may well show objects: only this tool looks for no boxes in them."""
    b = Builder()
    b.weight("shape", np.array([1, 9, 32, 32], "i8"))
    b.node("Reshape", ["frames", "shape"], "stacked")
    b.conv("stacked", "grid", 9, 18, strides=[2, 2])
    told = text(Path("net.onnx"), b.model({"frames": [1, 3, 3, 32, 32]}, ["grid"]))
    assert "decode: none" in told
    assert "makes no boxes" not in told
    assert "Boxes are looked at in images alone, and it takes none" in told


@pytest.mark.parametrize("make", [centres, chosen_regions, gated_and_flat, detector])
def test_init_writes_nothing_where_boxes_may_be(make: Callable[[], onnx.ModelProto]) -> None:
    assert written(make()).get("decode") != "none"
