"""What the outputs of YOLO heads mean: family, layout, anchors, thresholds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from trt_matrix.core.manifest import RecordedDecode


class DecodeError(ValueError):
    """The decoding does not fit the outputs, or itself."""


class Family(StrEnum):
    YOLOV3 = "yolov3"
    YOLOV5 = "yolov5"
    YOLOV7 = "yolov7"
    YOLOV8 = "yolov8"
    YOLOV5_DECODED = "yolov5-decoded"
    YOLOV8_DECODED = "yolov8-decoded"

    @property
    def anchored(self) -> bool:
        return self in (Family.YOLOV3, Family.YOLOV5, Family.YOLOV7)

    @property
    def decoded(self) -> bool:
        """The network itself gives pixels and probabilities."""
        return self in (Family.YOLOV5_DECODED, Family.YOLOV8_DECODED)

    @property
    def objectness(self) -> bool:
        return self not in (Family.YOLOV8, Family.YOLOV8_DECODED)


class Layout(StrEnum):
    """The axes of one image's output; h × w may also be one axis."""

    CHANNELS_FIRST = "channels_first"
    """(anchors · channels, h, w)."""
    CHANNELS_LAST = "channels_last"
    """(h, w, anchors · channels)."""
    BOXES = "boxes"
    """(boxes, channels): boxes in the order anchor, row, column; also (anchors, h, w, channels)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadGrid:
    """What a head's cells mean; neither is needed where the network itself decodes."""

    stride: int = 0
    """Pixels from cell to cell."""
    anchors: tuple[tuple[float, float], ...] = ()
    """Width and height in pixels, in the order of the channels."""
    scale_x_y: float = 1.0
    """yolov3: how far a centre may leave its cell, as Darknet calls it; 1 is not at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    family: Family
    heads: Mapping[str, HeadGrid]
    """In the order that equal scores are ranked by, and that `Boxes.heads` counts in."""
    classes: int
    image_size: tuple[int, int]
    """Height and width of the network's input in pixels."""
    layout: Layout = Layout.CHANNELS_FIRST
    activated: bool = False
    """The network itself applies σ, wherever the formulae of `detection` have it."""
    bins: int = 16
    """yolov8: bins of a distance; 1 where the output is the distance itself."""
    log_size_limit: float = 4.0
    """yolov3: largest exponent of a size (a box 55 times its anchor), so that none overflows."""
    score_threshold: float = 0.01
    """Boxes with a higher score are kept."""
    iou_threshold: float = 0.5
    """Boxes of one class that overlap a better one by more are dropped."""
    max_candidates: int = 30_000
    """Best boxes that suppression looks at, an image; the customary limit of YOLOv5 and v8."""
    max_detections: int = 100
    """Boxes kept, an image; as many as the COCO evaluation looks at."""

    def __post_init__(self) -> None:
        if not self.heads:
            refuse("decode.heads is empty: name the outputs that hold boxes")
        counts = (
            self.classes,
            self.bins,
            self.max_candidates,
            self.max_detections,
            *self.image_size,
        )
        if min(counts) < 1:
            refuse("decode: classes, bins, image size and limits must be 1 or more")
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                refuse(f"decode.{name} is {getattr(self, name)}: a number from 0 to 1 is expected")
        for head, grid in self.heads.items():
            self._check(head, grid)

    def _check(self, head: str, grid: HeadGrid) -> None:
        if not self.family.decoded and grid.stride < 1:
            refuse(f"head {head!r}: {self.family} needs the stride of its cells in pixels")
        if self.family.anchored != bool(grid.anchors):
            needs = "needs anchors" if self.family.anchored else "has no anchors"
            refuse(f"head {head!r}: {self.family} {needs}; {len(grid.anchors)} are given")
        if not all(math.isfinite(side) and side > 0 for anchor in grid.anchors for side in anchor):
            refuse(f"head {head!r}: anchors {grid.anchors} must be positive pixels")
        if grid.scale_x_y != 1 and self.family is not Family.YOLOV3:
            refuse(f"head {head!r}: scale_x_y is for yolov3 (and v4), {self.family} has none")

    @property
    def geometry(self) -> int:
        """Channels of one anchor before objectness and classes."""
        return 4 * self.bins if self.family is Family.YOLOV8 else 4

    @property
    def channels(self) -> int:
        """Channels of one anchor."""
        return self.geometry + self.family.objectness + self.classes

    def grid_shape(self, grid: HeadGrid) -> tuple[int, int]:
        """Rows and columns of a head's cells."""
        height, width = self.image_size
        return math.ceil(height / grid.stride), math.ceil(width / grid.stride)


def decoding_of(decode: RecordedDecode) -> Decoding:
    """Returns what a run recorded of its decoding in one of the styles of `Family`.

    Raises:
        DecodeError: it does not fit itself.
    """
    return Decoding(
        family=Family(decode.style or ""),
        heads={
            head.head: HeadGrid(stride=head.stride, anchors=head.anchors, scale_x_y=head.scale_x_y)
            for head in decode.heads
        },
        classes=decode.classes,
        image_size=decode.image_size,
        layout=Layout(decode.layout),
        activated=decode.activated,
        bins=decode.bins,
        score_threshold=decode.score_threshold,
        iou_threshold=decode.nms_iou,
        max_candidates=decode.max_candidates,
        max_detections=decode.max_detections,
    )


def refuse(message: str) -> NoReturn:
    raise DecodeError(message)
