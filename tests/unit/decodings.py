"""Settings of `decode:` as a run records them, and what they make of outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.decoder_loops import CASES, HEIGHT, WIDTH, Found, Outputs
from tests.unit.experiments import changed, config
from trt_matrix.core import manifest
from trt_matrix.core.boxes.nms import Boxes
from trt_matrix.core.boxes.registry import STYLES, style_of
from trt_matrix.planning.boxes import check_decode

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
    checked_decode = check_decode(
        settings, Path(), size, dict(shapes or {}), lambda _, problem: problems.append(problem)
    )
    return checked_decode.decode if checked_decode else None, problems


def recorded(
    heads: Mapping[str, Any], decode: Mapping[str, Any], size: tuple[int, int] = (HEIGHT, WIDTH)
) -> manifest.RecordedDecode:
    recorded_decode, problems = told_of(heads, decode, size)
    assert problems == []
    assert recorded_decode is not None
    return recorded_decode


def detect(outputs: Outputs, decode: manifest.RecordedDecode) -> Boxes:
    style = style_of(decode)
    assert style is not None
    return style.detector(decode)(outputs)


def found_in(boxes: Boxes) -> list[Found]:
    return [
        (int(label), float(score), *corners)
        for label, score, corners in zip(
            boxes.classes, boxes.scores, boxes.corners.tolist(), strict=True
        )
    ]


def settings_of(style: str, **more: Any) -> dict[str, Any]:
    made = {"style": style, "score_threshold": 0.35, "max_detections": 10_000}
    made |= CASES[style][1] | more
    return made | (EVERY if "nms_iou" in STYLES[style].settings else {})
