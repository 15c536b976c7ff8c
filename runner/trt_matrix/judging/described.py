"""Preprocessed images → what each looks like and what was fed of it: one small entry an image, kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trt_matrix.config.data import Preprocess
from trt_matrix.core.calibration.alike import LENGTH, describe
from trt_matrix.core.calibration.fed import STATISTICS, Pixels, each_channel, statistics
from trt_matrix.core.records import StoredObject
from trt_matrix.inputs.images import ImagePlacement
from trt_matrix.store.results import Store

DESCRIBED_VERSION = 1
"""Raise when the same images give other entries."""

GREY = (0.299, 0.587, 0.114)
"""Brightness of red, green and blue (ITU-R BT.601)."""


def stored(channels: int) -> np.dtype[np.void]:
    """Returns what an entry is: a hash of what was fed, `alike.describe`, `fed.statistics` by channel."""
    return np.dtype(
        [
            ("sha256", "S64"),
            ("description", np.float32, LENGTH),
            ("statistics", np.float64, (channels, len(STATISTICS))),
        ]
    )


def pixels_of(settings: Preprocess) -> Pixels:
    """Returns how `images.fit` makes a value of a pixel."""
    return Pixels(
        scale=settings.scale,
        mean=each_channel(settings.mean, settings.channels),
        std=each_channel(settings.std, settings.channels),
        blue_first=settings.blue_first,
    )


def described(
    store: Store,
    array: StoredObject,
    placements: Sequence[ImagePlacement],
    settings: Preprocess,
    *,
    channels_last: bool,
) -> StoredObject:
    """Returns the entries of a set of images; one image in memory at a time.

    `array` is (images, c, h, w), or (images, h, w, c) with `channels_last`; `placements` say where each image lies in it.
    """

    def make(target: Path) -> None:
        np.save(target, _entries(store.array(array), placements, settings, channels_last))

    key = {
        "described": DESCRIBED_VERSION,
        "array": array.sha256,
        "placements": [astuple(placement) for placement in placements],
        "preprocess": settings.recorded(),
    }
    return store.derive(key, ".npy", make)


def _entries(
    images: npt.NDArray[np.float32],
    placements: Sequence[ImagePlacement],
    settings: Preprocess,
    channels_last: bool,
) -> npt.NDArray[np.void]:
    how = pixels_of(settings)
    weights = np.array(GREY[::-1] if settings.blue_first else GREY)
    entries = np.zeros(len(images), stored(settings.channels))
    for entry, image, place in zip(entries, images, placements, strict=True):
        values = image if channels_last else image.transpose(1, 2, 0)
        inner = values[
            place.top : place.top + place.inner_height, place.left : place.left + place.inner_width
        ]
        levels = how.pixel(inner)
        grey = levels[..., 0] if settings.channels == 1 else levels[..., :3] @ weights
        entry["sha256"] = hashlib.sha256(image.tobytes()).hexdigest().encode()
        entry["description"] = describe(grey)
        entry["statistics"] = statistics(inner, how)
    return entries
