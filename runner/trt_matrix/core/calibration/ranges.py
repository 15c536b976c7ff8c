"""Ranges by image: what the evaluation reaches and the calibration never saw, and whose image decides; pure.

Both come from the largest magnitude of every tensor on every image, which one pass gives; the largest of all
images, or of all but one, follows without another.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trt_matrix.core.collecting import grouped

BEYOND = 1.25
"""A range that is passed by less is rounding's business: 2 dB of headroom."""
LEVEL = 0.001
"""Over all tensors; among sets of the same kind one run in a thousand says more."""
DECIDES = 1.25
"""How far an image must lie above the next to decide a range."""
MANY = 0.1
"""Share of all tensors whose range an image must decide to be tried without."""
LEAST_TENSORS = 3
MOST_SUSPECTS = 2
"""Images that are tried without, each at the cost of a calibration and a simulation."""

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """A tensor that evaluation images drive beyond all that calibration images showed."""

    tensor: str
    heads: tuple[str, ...]
    """Those that depend on it."""
    seen: float
    """Largest magnitude over all calibration images."""
    reached: float
    """The same over all evaluation images."""
    images: int
    """Evaluation images that go beyond what was seen."""
    far: int
    """Of these, those beyond it by BEYOND."""
    sure: bool
    """Whether sets of the same kind hardly ever do that."""

    @property
    def factor(self) -> float:
        return self.reached / self.seen if self.seen > 0 else math.inf


def unseen(
    tensors: Sequence[str],
    calibration: Floats,
    evaluation: Floats,
    heads_of: Mapping[str, tuple[str, ...]],
) -> tuple[Unseen, ...]:
    """Returns the tensors whose range evaluation images pass, the furthest first.

    If both sets were drawn alike, every order of all images is as likely, so the k largest of n + m images
    are all evaluation images with chance (m / (n + m)) · ((m − 1) / (n + m − 1)) · … of k factors. That, times
    the tensors, below LEVEL is no luck. It takes no account of how far they lie beyond: BEYOND does.
    Magnitudes have shape (images, tensors); `heads_of`: tensor → heads that depend on it.
    """
    if not len(calibration) or not len(evaluation):
        return ()
    seen, reached = calibration.max(axis=0), evaluation.max(axis=0)
    unseens = []
    for index in map(int, np.flatnonzero(reached > BEYOND * seen)):
        beyond = evaluation[:, index] > seen[index]
        far = int((evaluation[:, index] > BEYOND * seen[index]).sum())
        name = tensors[index]
        chance = _all_largest(int(beyond.sum()), len(calibration), len(evaluation))
        unseens.append(
            Unseen(
                tensor=name,
                heads=heads_of.get(name, ()),
                seen=float(seen[index]),
                reached=float(reached[index]),
                images=int(beyond.sum()),
                far=far,
                sure=far > 1 and chance * len(tensors) <= LEVEL,
            )
        )
    return tuple(sorted(unseens, key=lambda one: (not one.sure, -one.factor, one.tensor)))


def can_tell(calibration: int, evaluation: int, tensors: int) -> bool:
    """Whether sets of so many images can show any tensor beyond what chance gives: all of one beyond the other."""
    if calibration < 1 or evaluation < 2:
        return False
    return _all_largest(evaluation, calibration, evaluation) * tensors <= LEVEL


def _all_largest(images: int, calibration: int, evaluation: int) -> float:
    """Returns the chance that so many largest of all images are evaluation images."""
    total = calibration + evaluation
    return math.prod((evaluation - step) / (total - step) for step in range(images))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decider:
    """A calibration image that alone decides ranges."""

    image: int
    tensors: tuple[str, ...]
    """Whose largest magnitude is this image's, DECIDES beyond that of every other; the furthest first."""
    factor: float
    """Median over these: its magnitude to the next image's."""
    furthest: float
    of: int
    """Tensors in all."""

    @property
    def many(self) -> bool:
        return len(self.tensors) >= max(LEAST_TENSORS, MANY * self.of)


def deciders(tensors: Sequence[str], calibration: Floats) -> tuple[Decider, ...]:
    """Returns the images that alone decide the range of tensors, those that decide most first.

    Magnitudes have shape (images, tensors).
    """
    if len(calibration) < 2:
        return ()
    order = np.sort(calibration, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = order[-1] / order[-2]
    alone = np.flatnonzero((factors >= DECIDES) & np.isfinite(factors))
    furthest_first = sorted(map(int, alone), key=lambda column: -factors[column])
    by_image = grouped((int(calibration[:, column].argmax()), column) for column in furthest_first)
    of_images = [
        Decider(
            image=image,
            tensors=tuple(tensors[column] for column in columns),
            factor=float(np.median(factors[columns])),
            furthest=float(factors[columns[0]]),
            of=len(tensors),
        )
        for image, columns in by_image.items()
    ]
    return tuple(sorted(of_images, key=lambda decider: (-len(decider.tensors), decider.image)))


def suspects(tensors: Sequence[str], calibration: Floats) -> tuple[Decider, ...]:
    """Returns the few images that decide so many ranges that it is worth trying without each."""
    many = [decider for decider in deciders(tensors, calibration) if decider.many]
    return tuple(many[:MOST_SUSPECTS]) if len(calibration) > 2 else ()
