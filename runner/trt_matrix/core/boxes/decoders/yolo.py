"""YOLO: formulae and sources in `core.boxes.detection`."""

from collections.abc import Mapping, Sequence
from functools import partial

from trt_matrix.core.boxes.decoding import Family, decoding_of
from trt_matrix.core.boxes.detection import check_shape, detect, gates
from trt_matrix.core.boxes.recognising import (
    COCO,
    N3,
    N4,
    activation,
    by_stride,
    count,
    read,
    rows_of,
)
from trt_matrix.core.boxes.styles import Proposal, Recognise, SeenOutput, Shapes, Style
from trt_matrix.core.manifest import RecordedDecode

WHAT = {
    Family.YOLOV3: "YOLOv3 and v4, Darknet's cells and anchors",
    Family.YOLOV5: "YOLOv5, raw maps",
    Family.YOLOV7: "YOLOv7, raw maps",
    Family.YOLOV8: "YOLOv8 and later, raw maps with binned distances",
    Family.YOLOV5_DECODED: "rows of centre, size, objectness and classes in pixels: YOLOv5, v7, YOLOX decoded",
    Family.YOLOV8_DECODED: "rows of centre, size and classes in pixels: YOLOv8 and later",
}


def _check(decode: RecordedDecode, shapes: Shapes) -> None:
    decoding = decoding_of(decode)
    for head, shape in shapes.items():
        check_shape(head, shape, decoding)


POINTS = (17 * 3, 5 * 3, 21 * 3, 24 * 3, 12 * 2)
"""Numbers that stand behind a pose's one class: of COCO, faces, hands, dogs, tigers, as published."""

FACES = (5 * 2, 5 * 3)
"""Numbers of the five points of YOLOv5-face and YOLOv7-face, which stand beside its one class."""

TURNED = 15 + 1
"""DOTA's classes and an angle."""

ANGLES = 180
"""Classes of angles, which YOLOv5-obb has behind its own."""

BINNED = 4 * 16
"""Channels of YOLOv8's distances."""


def yolov8_decoded(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """One output with a column for every cell: four numbers and the classes."""
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        return None
    channels, cells = outputs[0].shape
    # Turned boxes: their angle stands behind the classes.
    if cells != count(image, N3) or channels <= 4 or outputs[0].applies("Cos", "Sin"):
        return None
    doubt = ""
    if channels - 4 in (*(1 + points for points in POINTS), TURNED):
        doubt = f"whether all of the {channels - 4} are classes, not points of a pose or an angle"
    elif outputs[0].tail is not None and not outputs[0].tail & {"Mul", "Sub", "Div", "Add"}:
        doubt = "whether the network decodes its boxes into pixels itself"
    return Proposal(
        decode={"style": "yolov8-decoded", "classes": channels - 4},
        heads={outputs[0].name: {}},
        reason=f"{cells} columns are the cells of strides 8, 16, 32",
        doubt=doubt,
    )


def yolov5_decoded(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """Rows of three anchors a cell; or of one a cell, with sizes that the network has made by itself."""
    table = rows_of(outputs[0]) if len(outputs) == 1 else None
    if table is None or table[1] <= 5:
        return None
    three = table[0] in (count(image, N3, 3), count(image, N4, 3))
    proposal = {"style": "yolov5-decoded", "classes": table[1] - 5, "layout": "boxes"}
    tail = outputs[0].tail
    numbers = table[1] - 5
    if three and (numbers - 1 in (*POINTS, *FACES) or numbers > ANGLES):
        doubt = f"whether all of the {numbers} are classes, not points of a pose or face, or angles"
    elif three:
        doubt = (
            "" if tail is None or tail & {"Mul", "Pow"} else "whether the network decodes itself"
        )
    elif table[0] == count(image, N3) and (tail is None or not tail <= {"Sigmoid"}):
        # NanoDet's scaled distances are multiplied, too, but nothing is raised.
        doubt = "" if tail and "Exp" in tail else "whether the network decodes its rows itself"
    else:
        return None
    return Proposal(
        decode=proposal,
        heads={outputs[0].name: {}},
        reason=f"{table[0]} rows of 5 and {table[1] - 5} classes",
        doubt=doubt,
    )


def yolov8(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
    """A map for each stride: distances in bins, mostly 64 logits, and the classes."""
    grids = read(outputs, image, N3)
    if by_stride(grids, N3) is None or len(outputs) != 3 or grids[0].layout != "channels_first":
        return None
    kinds = {(grid.channels, grid.seen.parts) for grid in grids}
    if len(kinds) != 1:
        return None
    ((channels, parts),) = kinds
    for bins in (BINNED, 4):
        classes = channels - bins
        if classes > 0 and parts == frozenset({bins, classes}):
            doubt = "" if bins == BINNED else "whether distances are in cells"
            break
    else:
        if parts not in (None, {channels}) or channels not in (BINNED + COCO, 5 + COCO):
            return None
        bins, classes = BINNED, channels - BINNED
        doubt = "" if classes == COCO else f"whether the {channels} are not 5 and {COCO} (yolox)"
    return Proposal(
        decode={"style": "yolov8", "classes": classes}
        | ({"bins": 1} if bins == 4 else {})
        | activation(grids[0].seen, "sigmoid"),
        heads={grid.seen.name: {"stride": grid.stride} for grid in grids},
        reason=f"{bins} {'logits of distances' if bins > 4 else 'distances'} and {classes} classes for each cell",
        doubt=doubt,
    )


def anchored(family: Family) -> Recognise:
    """Recognises three anchors a cell; nothing tells how large they are, or which family it is."""

    def recognise(outputs: Sequence[SeenOutput], image: tuple[int, int]) -> Proposal | None:
        grids = read(outputs, image, N3)
        if len(grids) != len(outputs) or {grid.channels for grid in grids} != {3 * (5 + COCO)}:
            return None
        return Proposal(
            decode={"style": str(family), "classes": COCO} | activation(grids[0].seen, "sigmoid"),
            heads={grid.seen.name: {"stride": grid.stride} for grid in grids},
            reason=f"{3 * (5 + COCO)} channels are three anchors of 5 and {COCO} classes",
            doubt="the family, and its `anchors` for each head",
        )

    return recognise


RECOGNISE: Mapping[Family, Recognise] = {
    Family.YOLOV8: yolov8,
    Family.YOLOV5_DECODED: yolov5_decoded,
    Family.YOLOV8_DECODED: yolov8_decoded,
}

STYLES = tuple(
    Style(
        name=str(family),
        what=WHAT[family],
        detector=lambda decode: partial(detect, decoding=decoding_of(decode)),
        check=_check,
        gates=lambda decode: gates(decoding_of(decode)),
        settings=frozenset({"layout", "activation", "bins", "nms_iou"}),
        recognise=RECOGNISE.get(family, anchored(family)),
    )
    for family in Family
)
