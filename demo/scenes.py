"""Handwritten digits on photographs: seeded, so that the same images come out again.

A scene is 320×320 pixels with 3 to 9 digits of three size ranges. Splits share neither a digit
(scikit-learn's `digits`, by index) nor a crop of a photograph.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from demo.photographs import PHOTOGRAPHS, Pixels, Split, region
from demo.sizes import SIDES, SIZE

DIGITS = {
    Split.TRAINING: range(1200),
    Split.CALIBRATION: range(1200, 1500),
    Split.EVALUATION: range(1500, 1797),
}

LEAST_CROP = 120
"""Smallest side of a crop in pixels; smaller ones show nothing but blur."""


@dataclass(frozen=True, slots=True)
class Digit:
    """A labelled box: left, top, width, height in pixels."""

    label: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    pixels: Pixels
    """Shape (320, 320, 3), RGB."""
    digits: tuple[Digit, ...]


def scenes(split: Split, count: int, seed: int) -> Iterator[Scene]:
    """Yields `count` scenes of a split."""
    generator = np.random.default_rng([seed, list(Split).index(split)])
    regions = [region(photograph, split) for photograph in PHOTOGRAPHS]
    strokes = load_digits()
    chosen = DIGITS[split]
    for _ in range(count):
        scene = _background(regions, generator)
        placed: list[Digit] = []
        wanted = [name for name in SIDES for _ in range(generator.integers(1, 4))]
        # Large ones first: they need the room.
        for name in reversed(wanted):
            index = int(generator.choice(chosen))
            _put(scene, placed, strokes.images[index], int(strokes.target[index]), name, generator)
        yield Scene(np.clip(scene, 0, 255).astype(np.uint8), tuple(placed))


def _background(regions: list[Pixels], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Returns a crop of a random photograph, resized, its light and contrast changed."""
    part = regions[generator.integers(len(regions))]
    height, width = part.shape[:2]
    side = int(generator.integers(min(LEAST_CROP, height, width), min(height, width) + 1))
    top = int(generator.integers(height - side + 1))
    left = int(generator.integers(width - side + 1))
    crop = Image.fromarray(part[top : top + side, left : left + side])
    pixels = np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    if generator.random() < 0.5:
        pixels = pixels[:, ::-1]
    contrast, light = generator.uniform(0.5, 1.0), generator.uniform(-25, 25)
    return np.asarray((pixels - 128) * contrast + 128 + light, np.float32)


def _put(
    scene: npt.NDArray[np.float32],
    placed: list[Digit],
    strokes: npt.NDArray[np.float64],
    label: int,
    size: str,
    generator: np.random.Generator,
) -> None:
    """Draws a digit where it meets no other; leaves it out where no such place is found."""
    ink = _ink(strokes, float(generator.uniform(*SIDES[size])), generator)
    height, width = ink.shape
    if height >= SIZE or width >= SIZE:
        return
    for _ in range(40):
        left = int(generator.integers(SIZE - width))
        top = int(generator.integers(SIZE - height))
        box = (float(left), float(top), float(width), float(height))
        if all(_apart(box, other.box) for other in placed):
            break
    else:
        return
    part = scene[top : top + height, left : left + width]
    light = float(part.mean())
    # Ink darker or lighter than the ground by a visible step, slightly coloured.
    lighter = light < 90 or (light < 165 and generator.random() < 0.5)
    step = generator.uniform(60, 150) * (1 if lighter else -1)
    colour = np.clip(light + step + generator.uniform(-25, 25, 3), 0, 255)
    alpha = (ink * generator.uniform(0.75, 1.0))[..., None]
    part[:] = part * (1 - alpha) + colour * alpha
    placed.append(Digit(label, box))


def _ink(
    strokes: npt.NDArray[np.float64], side: float, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Returns the digit's cover in [0, 1], cut to its ink, √(h·w) = `side` within rounding."""
    # Some digits touch the edge of their 8×8 pixels; the margin lets their strokes end round.
    coarse = Image.fromarray(np.pad(strokes * (255 / 16), 2).astype(np.uint8))
    fine = coarse.resize((288, 288), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(4))
    turned = fine.rotate(float(generator.uniform(-12, 12)), Image.Resampling.BILINEAR)
    cover = np.clip((np.asarray(turned, np.float32) / 255 - 0.4) / 0.2, 0, 1)
    rows = np.flatnonzero(cover.max(axis=1) > 0.5)
    columns = np.flatnonzero(cover.max(axis=0) > 0.5)
    cut = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = side / float(np.sqrt(cut.shape[0] * cut.shape[1]))
    size = (max(3, round(cut.shape[1] * scale)), max(3, round(cut.shape[0] * scale)))
    image = Image.fromarray((cut * 255).astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)


def _apart(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    margin = 3.0
    return (
        one[0] + one[2] + margin <= other[0]
        or other[0] + other[2] + margin <= one[0]
        or one[1] + one[3] + margin <= other[1]
        or other[1] + other[3] + margin <= one[1]
    )
