"""Detected boxes of one image, their overlap, and class-wise non-maximum suppression.

Coordinates are pixels of the network's input unless `in_image` has put them back into the image.
Boxes may lie outside it, partly or wholly: that is what the network said, so nothing is clipped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The boxes of one image; after suppression in order of falling score.

    Attributes:
        corners: Left, top, right, bottom in pixels, shape (n, 4).
        scores: Shape (n,), in [0, 1].
        classes: Class index, shape (n,), counted from 0 as the network does.
        heads: Index of the head that each box came from, shape (n,).
        degenerate: Index of head → how many more it had without an area or with a corner that is not
            finite; those are no boxes, and are not among these.
    """

    corners: Floats
    scores: Scores
    classes: Indices
    heads: Indices
    degenerate: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def areas(self) -> Floats:
        """Square pixels, shape (n,)."""
        return areas(self.corners)

    def take(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> "Boxes":
        """Returns the boxes at these positions, in that order; what was left out before stays told."""
        return Boxes(
            self.corners[chosen],
            self.scores[chosen],
            self.classes[chosen],
            self.heads[chosen],
            self.degenerate,
        )

    def usable(self) -> "Boxes":
        """Returns those with finite corners and an area above 0; the others are counted."""
        # Not a width times a height: both may be negative.
        with np.errstate(invalid="ignore"):
            sizes = self.corners[:, 2:] - self.corners[:, :2]
            good = np.flatnonzero(np.isfinite(self.corners).all(axis=1) & (sizes > 0).all(axis=1))
        if len(good) == len(self):
            return self
        degenerate = Counter(np.delete(self.heads, good).tolist())
        return replace(self.take(good), degenerate=dict(Counter(self.degenerate) + degenerate))

    def in_image(self, *, scale: tuple[float, float], offset: tuple[float, float]) -> "Boxes":
        """Returns the boxes in pixels of the image that lies in the input at x·scale + offset.

        Input pixels per image pixel are `scale` (along x, y); `offset` is where the image begins in the input (left, top).
        """
        corners = (self.corners - np.tile(offset, 2)) / np.tile(scale, 2)
        return replace(self, corners=corners)


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeRange:
    """Boxes by area in square pixels: low ≤ area < high."""

    name: str
    low_px2: float
    high_px2: float


COCO_SIZES = (
    SizeRange(name="small", low_px2=0.0, high_px2=32.0**2),
    SizeRange(name="medium", low_px2=32.0**2, high_px2=96.0**2),
    SizeRange(name="large", low_px2=96.0**2, high_px2=1e5**2),
)
"""The ranges of the COCO evaluation (cocodataset.org/#detection-eval)."""


def concatenate(parts: Sequence[Boxes]) -> Boxes:
    """Returns the boxes of all parts, one after another."""
    none = Boxes(
        np.empty((0, 4)), np.empty(0, np.float32), np.empty(0, np.intp), np.empty(0, np.intp)
    )
    parts = parts or [none]
    return Boxes(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.heads for part in parts]),
        dict(sum((Counter(part.degenerate) for part in parts), Counter())),
    )


def areas(corners: Floats) -> Floats:
    """Returns square pixels, shape (...,), of corners of shape (..., 4)."""
    widths, heights = corners[..., 2] - corners[..., 0], corners[..., 3] - corners[..., 1]
    return np.asarray(widths * heights, np.float64)


def iou(one: Floats, other: Floats) -> Floats:
    """Returns intersection over union, of corners whose leading shapes broadcast.

    Corners have shape (…, 4), and every box an area above 0.
    """
    width = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    height = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    inner = np.maximum(width, 0) * np.maximum(height, 0)
    return np.asarray(inner / (areas(one) + areas(other) - inner), np.float64)


def suppress(
    candidates: Boxes, *, iou_threshold: float, max_candidates: int, max_detections: int
) -> Boxes:
    """Returns the boxes that no better one of their class overlaps, best first (greedy, class-wise).

    Equal scores keep the order of `candidates`. Each round costs one pass over what is left, and
    there are at most `max_detections` rounds, so a network that fires everywhere stays affordable.
    Of `max_candidates` best ones at most `max_detections` are kept; a box goes when its overlap with a kept one is
    larger than `iou_threshold`.
    """
    best_first = np.argsort(-candidates.scores, kind="stable")[:max_candidates]
    ordered = candidates.take(best_first)
    corners, classes = ordered.corners, ordered.classes
    kept: list[int] = []
    left = np.arange(len(ordered))
    while left.size and len(kept) < max_detections:
        best, left = left[0], left[1:]
        kept.append(int(best))
        rivals = np.flatnonzero(classes[left] == classes[best])
        if rivals.size:
            overlaps = iou(corners[left[rivals]], corners[best])
            left = np.delete(left, rivals[overlaps > iou_threshold])
    return ordered.take(np.array(kept, np.intp))
