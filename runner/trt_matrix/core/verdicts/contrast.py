"""Two errors over the same images, compared in two views, against a least effect.

a_k(i) = Σd² of build k and image i; all in ln NMSE, where Σr² cancels.

- *sqnr*: x_k = ln Σ_i a_k(i), what SQNR in dB is made of. Images by the delete-one jackknife (Efron and
  Stein 1981), degrees 1/Σw² − 1, w the images' shares of the error (Kish 1965): an image with 99 % of the
  error leaves hardly any.
- *image*: x_k = mean_i ln a_k(i), the typical image: every image has the same leverage, n − 1 degrees.

D is the difference of the means over builds. H0: D ≤ δ (a test against a least effect: McCarthy and Smyth
2009), p the level at which Banerjee's bound over images and both sides' builds reaches D − δ. Of two
views p = min(1, 2·min of both); a view does not count while the other says ≤ −δ.
"""

import math
from dataclasses import dataclass

import numpy as np

from trt_matrix.core.verdicts.build_noise import EXACT, Noise
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.student import Part, half_width, one_sided

ENERGY_TOLERANCE = 1e-4
"""Σr² of the same images, relative: a dead output (all zero) is summed in float64, others partly in
float32, which differs by 1.5e-5 at most (`job.reductions`)."""


@dataclass(frozen=True, slots=True)
class ContrastSide:
    """One of the two: its error, and how its builds differ."""

    sample: Sample
    noise: Noise = EXACT

    @property
    def builds(self) -> bool:
        """Whether it was built, so that another build may differ."""
        return not self.sample.exact


@dataclass(frozen=True, slots=True)
class ContrastView:
    """One way to see the difference."""

    log: float
    """D."""
    images: Part
    builds: tuple[Part, ...]
    """Variance of each side's mean."""
    pooled: tuple[Part, ...]
    """The same with the noise of all cells of the pass."""

    def p(self, least: float) -> float:
        """Returns the chance of as much where the truth is `least`, ln."""
        return one_sided(self.log - least, self.images, *self.builds)

    def half(self, level: float = 0.025) -> float:
        """Returns half of the interval of D, ln, that reaches beyond it with chance `level` on each side."""
        return half_width(self.images, *self.builds, level=level)


@dataclass(frozen=True, slots=True)
class Contrast:
    """What one side costs more than the other, in both views."""

    one: ContrastSide
    other: ContrastSide
    sqnr: ContrastView
    image: ContrastView

    @property
    def known(self) -> bool:
        """Whether something is known of how builds differ, and there are images to draw from."""
        return self.one.sample.images > 1 and all(
            side.noise.known for side in (self.one, self.other) if side.builds
        )

    @property
    def builds(self) -> int:
        sides = [side.sample.repeats for side in (self.one, self.other) if side.builds]
        return min(sides, default=0)

    @property
    def varies(self) -> bool:
        """Whether another build may give another error."""
        return any(part > 0 for view in (self.sqnr, self.image) for part, _ in view.builds)

    def reversed(self) -> "Contrast":
        """Returns the same seen from the other side."""
        return contrast(self.other, self.one)

    def p(self, least: float) -> float:
        """Returns the chance of as much where the truth is `least`; 1 where the noise is unknown."""
        if not self.known:
            return 1.0
        views = [
            view.p(least)
            for view, other in ((self.sqnr, self.image), (self.image, self.sqnr))
            if other.log > -max(least, 0.0) or other.log >= 0
        ]
        return min(1.0, 2 * min(views, default=1.0))

    def p_of_these_images(self, least: float) -> float:
        """Returns the same of SQNR on these images alone: other builds may differ, other images are not asked."""
        return one_sided(self.sqnr.log - least, *self.sqnr.builds) if self.known else 1.0

    def largest(self) -> float:
        """Returns the larger of both views."""
        return max(self.sqnr.log, self.image.log)

    def bound(self) -> float:
        """Returns how much worse the cell may be all the same, ln, with an error of 5 %."""
        if not self.known:
            return math.inf
        return max(view.log + view.half(0.05) for view in (self.sqnr, self.image))

    def within(self) -> float:
        """Returns how far apart the two may be, ln, with an error of 5 %; infinite where nobody knows."""
        if not self.known:
            return math.inf
        return max(abs(view.log) + view.half(0.05) for view in (self.sqnr, self.image))

    def effect(self, least: float) -> Effect:
        half = self.sqnr.half() if self.known else math.inf
        return Effect(
            log=self.sqnr.log,
            low=self.sqnr.log - half,
            high=self.sqnr.log + half,
            p=self.p(least),
            typical=self.image.log,
            builds=self.builds,
            known=self.known,
            same_bits=all(s.sample.same_bits for s in (self.one, self.other)) and self.builds != 1,
        )


def contrast(one: ContrastSide, other: ContrastSide) -> Contrast:
    """Returns what `one` costs more than `other`.

    Raises:
        ValueError: they were not measured on the same images.
    """
    first, second = one.sample, other.sample
    if first.energy.shape != second.energy.shape or not np.allclose(
        first.energy, second.energy, rtol=ENERGY_TOLERANCE, atol=0
    ):
        message = "an effect is a difference over the same images; these two have others"
        raise ValueError(message)
    count = first.images
    if count > 1:
        apart = first.without_one - second.without_one
        jackknife = (count - 1) / count * float(((apart - apart.mean()) ** 2).sum())
        weights = (first.weights + second.weights) / 2
        degrees = max(1 / float((weights**2).sum()) - 1, 1.0)
        typical = first.of_images - second.of_images
        spread = float(typical.var(ddof=1)) / count
    else:
        jackknife = spread = math.inf
        degrees = 1.0
    sides = (one, other)
    return Contrast(
        one,
        other,
        ContrastView(
            float(first.sqnr_logs.mean() - second.sqnr_logs.mean()),
            (jackknife, degrees),
            _means([(side.noise.sqnr, side) for side in sides]),
            _means([(side.noise.pooled_sqnr, side) for side in sides]),
        ),
        ContrastView(
            float(first.image_logs.mean() - second.image_logs.mean()),
            (spread, max(count - 1, 1)),
            _means([(side.noise.image, side) for side in sides]),
            _means([(side.noise.pooled_image, side) for side in sides]),
        ),
    )


def _means(parts: list[tuple[Part, ContrastSide]]) -> tuple[Part, ...]:
    """Returns the variance of each side's mean over its builds."""
    return tuple(
        (variance / side.sample.repeats, max(degrees, 1))
        for (variance, degrees), side in parts
        if side.builds
    )
