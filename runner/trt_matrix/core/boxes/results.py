"""What became of the boxes: the part of a judgement that people see on their images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from trt_matrix.core.boxes.matching import Changes
from trt_matrix.core.rounding import ap_drop

Picture = Annotated[str, Field(pattern=r"^data:image/")]
"""Whoever wrote the file that it is read from: a page of it asks for nothing."""

ALL = "all"
"""The size range of every object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AveragePrecision:
    """Of one size range; None where the labels hold no object of it."""

    ap: float | None
    """Mean over IoU thresholds 0.50 to 0.95."""
    ap50: float | None
    """At IoU 0.5."""
    objects: int
    """Labelled objects in the range, crowds left out."""


def _ap(precision: Mapping[str, AveragePrecision]) -> float | None:
    return precision[ALL].ap if ALL in precision else None


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxErrors:
    """What one cell did to the reference's boxes: all of them, or those that one head has a part in."""

    changes: Mapping[str, Changes]
    """`all` and each size range → lost, new and moved boxes."""
    precision: Mapping[str, AveragePrecision] = field(default_factory=dict)
    """`all` and each size range → AP, mean over repeats; empty without labels.

    Of one head: the reference's outputs with those of `made_of` alone replaced by the cell's.
    """
    ap_drop: float | None = None
    """AP of the reference − AP, all sizes; negative where the cell is better."""
    ap50_drop: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """`ap`, `ap50`, `ap_drop`, `ap50_drop` → 95 % bootstrap interval over images, all sizes.

    Absent where it is unknown: without labels, with one image.
    """
    made_of: tuple[str, ...] = ()
    """Of one head: the heads that its boxes are made of, itself among them. Empty of the whole network."""
    degenerate: int = 0
    """Boxes without an area, or with a corner that is not finite, in the repeat that has most, over all
    images. They are in no other number: the reference's boxes at their places are lost."""

    @property
    def total(self) -> Changes:
        """Lost, new and moved boxes of all sizes."""
        return self.changes[ALL]

    @property
    def ap(self) -> float | None:
        """Of all sizes; None without labels."""
        return _ap(self.precision)

    @property
    def shown_drop(self) -> float | None:
        """`ap_drop` of the two APs as they are shown, to three digits."""
        return None if self.ap_drop is None else ap_drop(self.ap, self.ap_drop)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellBoxes:
    problem: str | None = None
    """Why the cell's boxes are not known; then there is nothing else here."""
    whole: BoxErrors | None = None
    """All heads together."""
    heads: Mapping[str, BoxErrors] = field(default_factory=dict)
    """Heads that hold boxes → what became of theirs; empty in a judgement, where each `HeadResult` has its own."""
    degenerate: int = 0
    """`BoxErrors.degenerate` of all heads together."""


class Fate(StrEnum):
    KEPT = "kept"
    LOST = "lost"
    FADED = "faded"
    """Found still, with a score too low to be shown."""
    NEW = "new"
    RISEN = "risen"
    """New only in being shown: the reference found it with a lower score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownBox:
    """Pixels of the image, to a tenth."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    label: int
    """Class index."""
    head: str
    fate: Fate
    iou: float | None = None
    """Overlap with its pair; of kept ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstImage:
    """An image on which much changed, with both sets of boxes."""

    file_name: str
    width: int
    height: int
    """Pixels."""
    cells: tuple[str, ...]
    """Ids of the cells with exactly these boxes."""
    heads: tuple[str, ...]
    """Heads of which it is among the worst images."""
    reference: tuple[ShownBox, ...]
    test: tuple[ShownBox, ...]

    @property
    def changed(self) -> int:
        """Lost and new boxes, faded and risen ones among them."""
        return sum(box.fate is not Fate.KEPT for box in (*self.reference, *self.test))


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """Boxes that a decoder should have suppressed, if its application suppresses."""

    boxes: int
    """Shown ones that overlap a better one of their class by more than `iou`."""
    shown: int
    """Those looked at."""
    iou: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxReport:
    """What all cells share."""

    problem: str | None = None
    """Why there are no boxes of the reference; then there is nothing else here."""
    precision: Mapping[str, AveragePrecision] = field(default_factory=dict)
    """Of the reference; empty without labels."""
    heads: tuple[str, ...]
    """Those that hold boxes."""
    shown_score: float
    """Boxes with a lower score are neither lost nor new."""
    match_iou: float
    """Least overlap of two boxes that are one."""
    sizes: Mapping[str, tuple[float, float]]
    """Size range → least area and the first beyond it, square pixels of the image."""
    worst: tuple[WorstImage, ...] = ()
    degenerate: Mapping[str, int] = field(default_factory=dict)
    """Head → such boxes of the reference, over all images; heads without any are left out."""
    repeated: Repeated | None = None
    """Of the reference, where a function of the user's own decodes and gives any."""

    @property
    def ap(self) -> float | None:
        """Of the reference, all sizes; None without labels."""
        return _ap(self.precision)


@dataclass(frozen=True, kw_only=True, slots=True)
class FedImage:
    """One image as jobs were given it."""

    picture: Picture
    """All of the input with what pads it, turned back into pixels. The first channel is red, the last blue,
    whichever colours they were fed as."""
    order: Literal["rgb", "bgr", "gray"]
    """Which colours the channels are, as `preprocess` says."""
    width: int
    height: int
    """Of the input, in pixels."""
    low: float
    high: float
    """The least and the largest value that was fed."""
    clipped: float = 0.0
    """Share (0 to 1) of the values that no pixel of 0 to 255 gives: cut off in the picture."""
