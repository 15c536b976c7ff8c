"""Sizes of objects in the two sets: does the calibration set show what is judged? Pure.

Counted in images that have one, since objects of one image come together: 310 small objects may be two
crowds. Compared by Fisher's exact test (1935), one side: fewer in the calibration set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.boxes.nms import COCO_SIZES, SizeRange

LEVEL = 0.001
"""Over all sizes; sets of one kind fall below in fewer than one of a thousand."""
RARE = 0.5
"""A size is told as lacking where calibration images have it at most half as often."""

Areas = Sequence[Sequence[float]]
"""For each image, the areas of its boxes, in square pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Objects of one size range in both sets."""

    name: str
    calibration: int
    evaluation: int
    calibration_images: int
    """Images that have one."""
    evaluation_images: int
    lacking: bool
    """Whether the calibration set has them less often than chance explains."""


def sizes(calibration: Areas, evaluation: Areas) -> tuple[Size, ...]:
    """Returns how many objects of each size the sets have; a box without an area is left out."""
    return tuple(
        _size(of_size.name, _numbers(of_size, calibration), _numbers(of_size, evaluation))
        for of_size in COCO_SIZES
    )


def _numbers(of_size: SizeRange, areas: Areas) -> list[int]:
    """Returns how many objects of this size each image has."""
    low, high = of_size.low_px2, of_size.high_px2
    return [sum(low <= area < high and area > 0 for area in image) for image in areas]


def _size(name: str, here: Sequence[int], there: Sequence[int]) -> Size:
    images, others = (sum(number > 0 for number in numbers) for numbers in (here, there))
    rare = here and there and images / len(here) <= RARE * others / len(there)
    return Size(
        name=name,
        calibration=sum(here),
        evaluation=sum(there),
        calibration_images=images,
        evaluation_images=others,
        lacking=bool(rare)
        and fewer(images, len(here), others, len(there)) * len(COCO_SIZES) <= LEVEL,
    )


def can_tell(size: Size, images: int, evaluation: int) -> bool:
    """Whether it would be seen that so many calibration images have none of a size that the evaluation has."""
    if not (images and evaluation and size.evaluation_images):
        return False
    return fewer(0, images, size.evaluation_images, evaluation) * len(COCO_SIZES) <= LEVEL


def fewer(images: int, of: int, others: int, of_others: int) -> float:
    """Returns the chance of at most `images` of `of` where all `of + of_others` are of one kind."""
    having, total = images + others, of + of_others
    whole = _ln_choose(total, of)
    return sum(
        math.exp(_ln_choose(having, k) + _ln_choose(total - having, of - k) - whole)
        for k in range(max(0, of - (total - having)), images + 1)
    )


def _ln_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
