"""What was really fed: statistics of the preprocessed images, and how two sets differ in them; pure.

Sets are compared image by image with the Mann-Whitney statistic (1947): the share of pairs in which a
calibration image is brighter than an evaluation image. It asks for no distribution, and a few odd images
do not move it; whether there are enough of them for a claim says its p value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trt_matrix.core.words import listed

STATISTICS = ("mean", "std", "min", "max", "low", "high")
"""Of an image's channel as fed; `low` and `high` are the shares of pixels that are black and full."""
APART = 0.9
"""Share of pairs from which on two sets are not alike: nine of ten."""
LEVEL = 1e-4
"""Of each of `MEASURES`; independent sets are called apart in one of thousands."""
ALIKE = 0.05
"""p above which two swapped sets are called alike."""

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """How a value that is fed came from a pixel: value = (pixel · scale − mean) / std."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """A value each, in the order of the channels as fed."""
    blue_first: bool = False
    """Whether three channels are fed as BGR."""

    def pixel(self, values: Values) -> Values:
        """Returns the pixels, 0 to 255, of values whose last axis is channels."""
        pixels: Values = (values * np.asarray(self.std) + np.asarray(self.mean)) / self.scale
        return pixels

    def value(self, pixels: Values) -> Values:
        """Returns what is fed for pixels whose last axis is channels."""
        fed: Values = (pixels * self.scale - np.asarray(self.mean)) / np.asarray(self.std)
        return fed


def each_channel(value: Any, channels: int) -> tuple[float, ...]:
    """Returns a value for each channel: settings have one for all of them, or a sequence."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * channels


def statistics(values: Values, how: Pixels) -> Floats:
    """Returns STATISTICS of one image, shape (channels, 6).

    `values` are as fed, (height, width, channels), without what pads the image; `how` tells black and full pixels.
    """
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    black, full = how.value(np.zeros(values.shape[-1])), how.value(np.full(values.shape[-1], 255.0))
    near = 1e-4 * np.abs(full - black)
    return np.stack(
        [
            flat.mean(axis=0),
            flat.std(axis=0),
            flat.min(axis=0),
            flat.max(axis=0),
            (np.abs(flat - black) <= near).mean(axis=0),
            (np.abs(flat - full) <= near).mean(axis=0),
        ],
        axis=1,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One channel of a set, over all its images."""

    mean: float
    std: float
    """Mean over images of an image's standard deviation."""
    low: float
    high: float
    """Smallest and largest value fed."""
    black: float
    full: float
    """Shares of pixels at the ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDifference:
    """Something in which two sets are not alike."""

    measure: str
    share: float
    """Of pairs of images in which the calibration image has more of it."""
    calibration: float
    evaluation: float
    """Medians, in pixels of 255."""
    p: float


def channels(every: Floats) -> tuple[Channel, ...]:
    """Returns a set's channels as they were fed.

    `every` is `statistics` of all images, (images, channels, 6).
    """
    return tuple(
        Channel(
            mean=float(channel[:, 0].mean()),
            std=float(channel[:, 1].mean()),
            low=float(channel[:, 2].min()),
            high=float(channel[:, 3].max()),
            black=float(channel[:, 4].mean()),
            full=float(channel[:, 5].mean()),
        )
        for channel in every.transpose(1, 0, 2)
    )


def differences(calibration: Floats, evaluation: Floats, how: Pixels) -> tuple[SetDifference, ...]:
    """Returns in what of brightness, contrast and colour the sets are not alike.

    Sets are `statistics` of all images, (images, channels, 6), and `how` brings both to pixels.
    """
    here, there = _measures(calibration, how), _measures(evaluation, how)
    set_differences = [_difference(name, here[name], there[name]) for name in here]
    return tuple(
        difference
        for difference in set_differences
        if difference and difference.p <= LEVEL and not 1 - APART < difference.share < APART
    )


def can_tell(calibration: Floats, evaluation: Floats, how: Pixels) -> bool:
    """Whether sets so large, and of finite numbers, can be called apart at all: wholly apart would be seen."""
    if not (np.isfinite(calibration).all() and np.isfinite(evaluation).all()):
        return False
    here, there = np.zeros(len(calibration)), np.ones(len(evaluation))
    # Ties count in none of them here: every image has another brightness.
    apart = _difference("", here - np.arange(len(here)), there + np.arange(len(there)))
    return bool(_measures(calibration, how)) and apart is not None and apart.p <= LEVEL


def measures_told(channels: int) -> str:
    """Returns what is compared of images with so many channels."""
    return "brightness, contrast and colour" if channels == 3 else "brightness and contrast"


def swapped(calibration: Floats, evaluation: Floats, how: Pixels) -> float | None:
    """Returns how far red and blue lie apart the other way round, in levels; None where they do not.

    Only where the sets agree in brightness, are apart in colour, and are alike once red and blue of one set
    are exchanged: other scenes seldom do that. A hint and no proof.
    """
    here, there = _measures(calibration, how), _measures(evaluation, how)
    if "red less blue" not in here:
        return None
    if any(
        difference.measure != "red less blue"
        for difference in differences(calibration, evaluation, how)
    ) or not (set_difference := _difference("", here["red less blue"], there["red less blue"])):
        return None
    apart = set_difference.p <= LEVEL and not 0.2 < set_difference.share < 0.8
    turned = _difference("", -here["red less blue"], there["red less blue"])
    middle = float(np.median(there["red less blue"]))
    # Near grey, every exchange is invisible.
    return middle if apart and turned and turned.p > ALIKE and abs(middle) >= 2 else None


def _measures(every: Floats, how: Pixels) -> Mapping[str, Floats]:
    means = how.pixel(every[:, :, 0])
    contrast = every[:, :, 1] * np.abs(np.asarray(how.std)) / how.scale
    measures = {"brightness": means.mean(axis=1), "contrast": contrast.mean(axis=1)}
    if means.shape[1] == 3:
        red_less_last = means[:, 0] - means[:, 2]
        measures["red less blue"] = -red_less_last if how.blue_first else red_less_last
    return measures


def _difference(measure: str, here: Floats, there: Floats) -> SetDifference | None:
    if not len(here) or not len(there) or not np.isfinite([*here, *there]).all():
        return None
    share, p = _more(here, there)
    return SetDifference(
        measure=measure,
        share=share,
        calibration=float(np.median(here)),
        evaluation=float(np.median(there)),
        p=p,
    )


def _more(here: Floats, there: Floats) -> tuple[float, float]:
    """Returns the share of pairs in which `here` is more, ties half, and the chance of that among equals.

    By the normal distribution with ties corrected, which is careful where one set is small.
    """
    values, counts = np.unique(np.concatenate([here, there]), return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[np.searchsorted(values, here)]
    pairs, total = len(here) * len(there), len(here) + len(there)
    share = (ranks.sum() - len(here) * (len(here) + 1) / 2) / pairs
    ties = float((counts.astype(float) ** 3 - counts).sum()) / (total * (total - 1))
    spread = math.sqrt(max(pairs / 12 * (total + 1 - ties), 0.0))
    if spread == 0:
        return 0.5, 1.0
    return float(share), math.erfc(abs(share - 0.5) * pairs / spread / math.sqrt(2))


def told(set_differences: Sequence[SetDifference]) -> str:
    """Returns `darker (brightness 31 of 255, 114 in the evaluation)`."""
    words = {
        "brightness": ("brighter", "darker"),
        "contrast": ("of more contrast", "of less contrast"),
        "red less blue": ("redder", "bluer"),
    }
    return listed(
        [
            f"{words[difference.measure][difference.share < 0.5]} ({difference.measure} {difference.calibration:.0f} of 255, "
            f"{difference.evaluation:.0f} in the evaluation)"
            for difference in set_differences
        ]
    )
