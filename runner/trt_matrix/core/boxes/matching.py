"""Which boxes a change of precision lost, brought or moved: boxes against boxes, no labels needed.

A test box (INT8, say) is paired with the reference box (FP32) of its class that it overlaps most, if
the IoU reaches a threshold; test boxes choose in order of falling score and a box is taken once, as
in the COCO evaluation (cocodataset.org/#detection-eval).

Only *shown* boxes count, those at or above a working score; but pairs are sought among all. So a
reference box is

- kept: its pair is shown;
- lost: it has no pair, or one that is not shown; the latter only *faded*: the object is still found.

And a shown test box without shown reference box is new; it only *rose* where it has a hidden one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from trt_matrix.core.boxes.nms import COCO_SIZES, Boxes, Floats, Indices, SizeRange, iou

NO_PAIR = -1

CHANGES = np.dtype(
    [
        ("reference", np.int64),  # shown boxes of the reference
        ("test", np.int64),  # shown boxes of the test
        ("kept", np.int64),
        ("lost", np.int64),
        ("faded", np.int64),  # of the lost ones
        ("new", np.int64),
        ("risen", np.int64),  # of the new ones
        ("iou", np.float64),  # sum of IoU over kept pairs
        ("score", np.float64),  # sum of test score - reference score over kept pairs
        ("score_abs", np.float64),  # sum of its absolute value
    ]
)
"""Sums over one image's boxes of one head and size range: like those of errors, they add up."""

Mask = npt.NDArray[np.bool_]

Sums = npt.NDArray[np.void]
"""Of dtype CHANGES; shape (images, heads, size ranges + 1), the last one for sizes in no range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matching:
    """How boxes are compared."""

    iou_threshold: float = 0.5
    """Least overlap of a pair."""
    shown_score: float = 0.25
    """Boxes below are neither lost nor new: nobody sees them."""
    sizes: tuple[SizeRange, ...] = COCO_SIZES

    def __post_init__(self) -> None:
        ordered = sorted(self.sizes, key=lambda size: size.low_px2)
        for size, following in zip_longest(ordered, ordered[1:]):
            if not size.low_px2 < size.high_px2:
                message = (
                    f"size range {size.name!r} is empty: {size.low_px2} to {size.high_px2} px²"
                )
                raise ValueError(message)
            if following is not None and following.low_px2 < size.high_px2:
                message = f"size ranges {size.name!r} and {following.name!r} overlap: a box would count twice"
                raise ValueError(message)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Who is paired with whom in one image.

    Attributes:
        of_reference: Index of the test box paired with each reference box or NO_PAIR, shape (n,).
        of_test: Index of the reference box paired with each test box or NO_PAIR, shape (m,).
        ious: Overlap of each reference box with its pair, 0 where there is none, shape (n,).
    """

    of_reference: Indices
    of_test: Indices
    ious: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fates:
    """What became of every box of one image; the masks of a side have the length of that side."""

    shown: Mask
    """Of the reference."""
    shown_test: Mask
    kept: Mask
    """Of the reference, like the next."""
    faded: Mask
    new: Mask
    """Of the test, like the next."""
    risen: Mask

    @property
    def lost(self) -> Mask:
        """Of the reference, the faded ones among them."""
        return self.shown & ~self.kept


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Boxes of all images of one repeat, the mean where there are several repeats.

    Means are None where no pair was kept.
    """

    reference: float
    test: float
    kept: float
    lost: float
    faded: float
    new: float
    risen: float
    mean_iou: float | None
    """Of kept pairs: 1 where nothing moved."""
    mean_score_change: float | None
    """Test − reference, of kept pairs."""
    mean_abs_score_change: float | None

    @property
    def lost_share(self) -> float | None:
        """Of the reference's boxes; None where it has none."""
        return self.lost / self.reference if self.reference else None

    @property
    def new_share(self) -> float | None:
        """New boxes for each of the reference's: it can be above 1."""
        return self.new / self.reference if self.reference else None


def pair(reference: Boxes, test: Boxes, iou_threshold: float) -> Pairs:
    """Pairs the boxes of one image, greedily, one to one, within classes.

    Where overlaps are equal the reference box of higher score is chosen; equal scores keep their order.
    """
    of_reference = np.full(len(reference), NO_PAIR, np.intp)
    of_test = np.full(len(test), NO_PAIR, np.intp)
    ious = np.zeros(len(reference))
    by_score = np.argsort(-reference.scores, kind="stable")
    overlaps = iou(test.corners[:, None], reference.corners[None, by_score])
    same_class = test.classes[:, None] == reference.classes[None, by_score]
    free = np.where(same_class & (overlaps >= iou_threshold), overlaps, -1.0)
    # Most boxes have no rival at all: the loop need not visit them.
    hopeful = np.flatnonzero((free >= 0).any(axis=1))
    for chooser in hopeful[np.argsort(-test.scores[hopeful], kind="stable")]:
        place = free[chooser].argmax()
        if free[chooser, place] >= 0:
            chosen = by_score[place]
            of_reference[chosen], of_test[chooser] = chooser, chosen
            ious[chosen] = overlaps[chooser, place]
            free[:, place] = -1.0
    return Pairs(of_reference, of_test, ious)


def fates(reference: Boxes, test: Boxes, pairs: Pairs, settings: Matching) -> Fates:
    """Returns what became of every box of one image."""
    shown, shown_test = (boxes.scores >= settings.shown_score for boxes in (reference, test))
    # `x[NO_PAIR]` would be the last box: a hidden one stands behind it.
    kept = shown & np.append(shown_test, False)[pairs.of_reference]
    new = shown_test & ~np.append(shown, False)[pairs.of_test]
    return Fates(
        shown=shown,
        shown_test=shown_test,
        kept=kept,
        faded=shown & ~kept & (pairs.of_reference != NO_PAIR),
        new=new,
        risen=new & (pairs.of_test != NO_PAIR),
    )


def compare(reference: Boxes, test: Boxes, pairs: Pairs, heads: int, settings: Matching) -> Sums:
    """Returns the sums of one image, shape (heads, size ranges + 1).

    A pair counts for the head and size of its reference box, a new box for its own.
    """
    sums = np.zeros((heads, len(settings.sizes) + 1), CHANGES)
    fate = fates(reference, test, pairs, settings)
    scores, test_scores = (boxes.scores.astype(np.float64) for boxes in (reference, test))
    change = np.append(test_scores, 0)[pairs.of_reference] - scores

    def add(name: str, boxes: Boxes, chosen: Mask, values: Floats | int = 1) -> None:
        place = boxes.heads[chosen], size_indices(boxes.areas[chosen], settings.sizes)
        np.add.at(sums[name], place, values if isinstance(values, int) else values[chosen])

    add("reference", reference, fate.shown)
    add("test", test, fate.shown_test)
    add("kept", reference, fate.kept)
    add("lost", reference, fate.lost)
    add("faded", reference, fate.faded)
    add("new", test, fate.new)
    add("risen", test, fate.risen)
    add("iou", reference, fate.kept, pairs.ious)
    add("score", reference, fate.kept, change)
    add("score_abs", reference, fate.kept, np.abs(change))
    return sums


def compare_all(
    reference: Iterable[Boxes], test: Iterable[Boxes], heads: int, settings: Matching
) -> Sums:
    """Returns the sums of every image, shape (images, heads, size ranges + 1).

    Raises:
        ValueError: one side has more images than the other.
    """
    sums = [
        compare(boxes, other, pair(boxes, other, settings.iou_threshold), heads, settings)
        for boxes, other in zip(reference, test, strict=True)
    ]
    return np.array(sums, CHANGES).reshape(len(sums), heads, len(settings.sizes) + 1)


def totals(sums: Sums, repeats: int = 1) -> Changes:
    """Adds up whatever part of the sums is given: `sums[:, head]`, `sums[:, :, size]`, all.

    `sums` are those of all repeats, one after another along the images.
    """
    total = {name: float(sums[name].sum()) for name in CHANGES.names or ()}
    kept = total["kept"]
    counts = ("reference", "test", "kept", "lost", "faded", "new", "risen")
    return Changes(
        **{name: total[name] / repeats for name in counts},
        mean_iou=total["iou"] / kept if kept else None,
        mean_score_change=total["score"] / kept if kept else None,
        mean_abs_score_change=total["score_abs"] / kept if kept else None,
    )


def worst_images(sums: Sums, count: int) -> tuple[int, ...]:
    """Returns the indices of at most `count` images in which something changed, worst first.

    Most lost and new boxes first, then those whose kept boxes moved most (Σ 1 − IoU), then in order.
    """
    within = tuple(range(1, sums.ndim))
    changed = (sums["lost"] + sums["new"]).sum(axis=within)
    moved = (sums["kept"] - sums["iou"]).sum(axis=within)
    ranked = np.lexsort((-moved, -changed))
    return tuple(int(image) for image in ranked if changed[image] or moved[image] > 0)[:count]


def size_indices(areas_px2: Floats, sizes: Sequence[SizeRange]) -> Indices:
    """Returns the index of the range that holds each area, len(sizes) where none does."""
    inside = [(size.low_px2 <= areas_px2) & (areas_px2 < size.high_px2) for size in sizes]
    return np.asarray(np.argmax([*inside, np.ones(len(areas_px2), bool)], axis=0), np.intp)
