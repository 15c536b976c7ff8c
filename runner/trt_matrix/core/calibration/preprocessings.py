"""Which preprocessing was a table made with? The known ones are tried, the nearest is named; pure.

A table that another program made says nothing of its images. But a network's first ranges do: fed pixel / 255
in place of (pixel − 127) / 128, its first layers reach other magnitudes, each its own. So the reference sees a
few calibration images in every known form, and the table is held against the ranges of each: the root mean
square of ln(range of the table / range in that form) over the first EARLY tensors. Later ones tell little: what
a network makes of any image looks alike. All forms are affine in the pixel, so the images as fed give every
other form exactly, padding included.

Measured with tables of 32 other images, each in every form, minmax and entropy, on three networks (16 images
tried): the right form was nearest in 25 of 26, at distances of 0.09 to 0.36, and the one that was not differs
from it in the order of ImageNet's three numbers alone. Over all tensors of a network 6 would have been wrong.
Red and blue exchanged moves ranges by less than other images do, so that is not tried.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trt_matrix.core.calibration.fed import Pixels
from trt_matrix.core.tables.table import why_unusable

IMAGES = 16
"""Calibration images that are tried in each form."""
EARLY = 16
"""Tensors, in the network's order, that are looked at."""
LEAST_TENSORS = 6
"""Tensors in common below which nothing is named."""
FITS = 0.3
"""A distance up to here is that of other images of the same kind, or of another algorithm."""
NEARER = 1.6
"""How much nearer another form must lie than what was fed."""
NEXT = 1.3
"""Forms within so much of the nearest cannot be told from it."""
SAME = 0.02
"""Two forms whose values differ by less, of their range, are one."""

AS_FED = "as fed"

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Ranges = Mapping[str, float]
"""Tensor → largest magnitude."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelForm:
    """A way from pixels to what is fed."""

    name: str
    """`pixel / 255`."""
    pixels: Pixels
    exchanged: bool = False
    """Whether red and blue stand the other way round than in what was fed."""

    def of(self, fed: npt.NDArray[np.floating], how: Pixels) -> npt.NDArray[np.float32]:
        """Returns images in this form; the last axis is channels.

        `how` is the way in which they were `fed`.
        """
        pixels = how.pixel(np.asarray(fed, np.float64))
        values = self.pixels.value(pixels[..., ::-1] if self.exchanged else pixels)
        return np.ascontiguousarray(values, np.float32)


def forms(fed: Pixels) -> tuple[PixelForm, ...]:
    """Returns what was fed, then every known form that differs from it."""
    number = len(fed.mean)
    known = [PixelForm(name=AS_FED, pixels=fed)]
    others = [
        ("pixel / 255", 1 / 255, (0.0,) * number, (1.0,) * number),
        ("(pixel − 127.5) / 127.5", 1.0, (127.5,) * number, (127.5,) * number),
        ("(pixel − 127) / 128", 1.0, (127.0,) * number, (128.0,) * number),
        ("raw pixels, 0 to 255", 1.0, (0.0,) * number, (1.0,) * number),
    ]
    if number == 3:
        others.append(("pixel / 255 with ImageNet's mean and deviation", 1 / 255, *_IMAGENET))
    for name, scale, means, stds in others:
        pixels = Pixels(scale=scale, mean=means, std=stds)
        if not any(_same(pixels, form.pixels) for form in known):
            known.append(PixelForm(name=name, pixels=pixels))
    return tuple(known)


def with_exchanged(known: Sequence[PixelForm]) -> tuple[PixelForm, ...]:
    """Returns the forms, and each of three channels with red and blue exchanged."""
    told = "red and blue exchanged"
    exchanged = (
        replace(
            form,
            name=told if form.name == AS_FED else f"{form.name}, {told}",
            exchanged=True,
        )
        for form in known
        if len(form.pixels.mean) == 3
    )
    return (*known, *exchanged)


def _same(pixels: Pixels, other: Pixels) -> bool:
    """Whether no pixel becomes another value, but by SAME of the range."""
    channels = len(pixels.mean)
    mine, its = (
        form.value(np.array([[0.0] * channels, [255.0] * channels])) for form in (pixels, other)
    )
    return bool((np.abs(mine - its) <= SAME * np.abs(its[1] - its[0])).all())


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How a table lies to the ranges of one form."""

    form: str
    distance: float
    """Root mean square of ln ratio, over tensors."""
    tensors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """What a table's ranges say of the images that it was made of."""

    forms: tuple[str, ...]
    """The nearest, and those that cannot be told from it."""
    distance: float
    fed: float
    """Distance of what was fed."""
    tensors: int

    @property
    def named(self) -> bool:
        """Whether the table was made with another preprocessing, as far as its ranges tell."""
        return (
            AS_FED not in self.forms
            and self.distance <= FITS
            and self.fed >= NEARER * self.distance
        )


def early(tensors: Sequence[str]) -> tuple[str, ...]:
    return tuple(tensors[:EARLY])


def nearest(table: Ranges, seen: Mapping[str, Sequence[Ranges]]) -> Nearest | None:
    """Returns which form of the images a table lies nearest to; None where too little is in common.

    `seen`: form's name → the reference's ranges of images in that form, a mapping an algorithm, of the `early` tensors.
    """
    fits = [fit for name, ranges in seen.items() if (fit := _fit(name, table, ranges))]
    fed = next((fit for fit in fits if fit.form == AS_FED), None)
    if fed is None or min(fit.tensors for fit in fits) < LEAST_TENSORS:
        return None
    best = min(fits, key=lambda fit: fit.distance)
    near = [fit for fit in fits if fit.distance <= NEXT * best.distance]
    return Nearest(
        forms=tuple(fit.form for fit in sorted(near, key=lambda fit: fit.distance)),
        distance=best.distance,
        fed=fed.distance,
        tensors=best.tensors,
    )


def _fit(name: str, table: Ranges, ranges: Sequence[Ranges]) -> Fit | None:
    fits = []
    for reference in ranges:
        logs = [
            math.log(amax / reference[tensor])
            for tensor, amax in table.items()
            if tensor in reference
            and why_unusable(amax) is None
            and why_unusable(reference[tensor]) is None
        ]
        if logs:
            distance = math.sqrt(math.fsum(log**2 for log in logs) / len(logs))
            fits.append(Fit(form=name, distance=distance, tensors=len(logs)))
    return min(fits, key=lambda fit: fit.distance, default=None)
