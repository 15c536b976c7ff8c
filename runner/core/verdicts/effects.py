"""Differences of NMSE with their uncertainty: from images, and from builds.

Let a(i) = Σd² and r(i) = Σr² of image i. For a cell with repeats k = 1..K

    Q = Σ_i ā(i) / Σ_i r(i),        ā(i) = mean over k of a_k(i)

and an effect is the difference of two such Q over the same images. Its squared standard error is

    se² = se_images² + se_builds²

- Images: the paired, linearised ratio estimator (Cochran 1977, section 6.4): with
  e(i) = Δā(i) − E·r(i), se_images² = n/(n−1) · Σ e(i)² / (Σ r)².
- Builds: v²·(Q²/K + Q'²/K'), v the coefficient of variation of Q between repeats, pooled over all
  cells of the head that have more than one: rounding noise grows with the rounding error. A
  simulation is exact and adds nothing. Each build is one draw: its error moves all images together,
  so images cannot tell it from an effect.

p-values are two-sided; they and the intervals are Banerjee's (1960, `runner.core.verdicts.student`), so the few
degrees of freedom of the builds are never mended by the many images.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.core.verdicts.student import half_width, p_value

Floats = npt.NDArray[np.float64]

REPEATABILITY = 1.96
"""Normal quantile of the 95 % repeatability limit."""

ENERGY_TOLERANCE = 1e-4
"""Σr² of the same images, relative: a dead output (all zero) is summed in float64, others partly in
float32, which differs by 1.5e-5 at most (`job.reductions`)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One cell's error of one head.

    Attributes:
        errors: Σd² per repeat and image, shape (K, n); K = 1 with `exact`.
        energy: Σr² per image, shape (n,): of the reference, the same for all cells.
        exact: A simulation: building it again gives the same, by construction.
    """

    errors: Floats
    energy: Floats
    exact: bool = False

    @property
    def repeats(self) -> int:
        return int(self.errors.shape[0])

    @property
    def nmse(self) -> float:
        return float(self.errors.mean(axis=0).sum() / self.energy.sum())

    @property
    def by_repeat(self) -> Floats:
        """NMSE of each repeat, shape (K,)."""
        return np.asarray(self.errors.sum(axis=1) / self.energy.sum(), np.float64)


@dataclass(frozen=True, slots=True)
class Noise:
    """Between-build spread of one head's NMSE, as a share of that NMSE."""

    variance: float
    """Squared coefficient of variation."""
    degrees: int
    """Degrees of freedom of the estimate; 0: no cell was built twice, the noise is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Q of one cell minus Q of another, both NMSE."""

    value: float
    low: float
    high: float
    """95 % confidence interval; infinite where the noise is unknown."""
    p: float
    """Two-sided; 1 where the noise is unknown, 0 where every build and image gave exactly this."""
    noise_multiple: float | None
    """|value| over the noise floor: what two single builds differ by at most, 19 times in 20.

    That is the repeatability limit of ISO 5725-6, 1.96·√2·σ (1.96·σ against an exact simulation).
    None where unknown, or 0/0.
    """
    noise_known: bool


def pooled_noise(samples: Iterable[Sample]) -> Noise:
    """Returns the variance between builds, over all samples that have several repeats."""
    squares, degrees = 0.0, 0
    for sample in samples:
        if sample.exact or sample.repeats < 2:
            continue
        by_repeat = sample.by_repeat
        mean = float(by_repeat.mean())
        # From the first one, so that equal repeats have no spread, not that of rounding.
        apart = by_repeat - by_repeat[0]
        squares += float((((apart - apart.mean()) / mean) ** 2).sum()) if mean > 0 else 0.0
        degrees += sample.repeats - 1
    return Noise(squares / degrees if degrees else 0.0, degrees)


def effect(one: Sample, other: Sample, noise: Noise) -> Effect:
    """Returns what `one` costs more than `other`.

    Raises:
        ValueError: they were not measured on the same images.
    """
    if one.energy.shape != other.energy.shape or not np.allclose(
        one.energy, other.energy, rtol=ENERGY_TOLERANCE, atol=0
    ):
        message = "an effect is a difference over the same images; these two have others"
        raise ValueError(message)
    total = float(one.energy.sum())
    difference = one.errors.mean(axis=0) - other.errors.mean(axis=0)
    value = float(difference.sum() / total)
    count = len(difference)
    residual = difference - value * one.energy
    images = count / (count - 1) * float((residual**2).sum()) / total**2 if count > 1 else math.inf
    built = [sample for sample in (one, other) if not sample.exact]
    builds = noise.variance * sum(sample.nmse**2 / sample.repeats for sample in built)
    known = not built or noise.degrees > 0
    if not known:
        return Effect(
            value=value, low=-math.inf, high=math.inf, p=1.0, noise_multiple=None, noise_known=False
        )
    parts = (images, max(count - 1, 1)), (builds, max(noise.degrees, 1))
    half = half_width(*parts)
    return Effect(
        value=value,
        low=value - half,
        high=value + half,
        p=p_value(value, *parts),
        noise_multiple=_multiple(
            value,
            REPEATABILITY * math.sqrt(noise.variance * sum(sample.nmse**2 for sample in built)),
        ),
        noise_known=True,
    )


def _multiple(value: float, floor: float) -> float | None:
    if floor > 0:
        return abs(value) / floor
    return None if value == 0 else math.inf


def discoveries(p_values: Sequence[float], rate: float) -> tuple[bool, ...]:
    """Returns which hypotheses are rejected: with chance `rate` at most, any of them wrongly.

    Holm (1979), which holds under any dependence: cells share their baseline. It also controls the
    false-discovery rate, and does not loosen where much is found: under Benjamini and Hochberg a
    second, false find beside five true ones passes at six times the level.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected: set[int] = set()
    for rank, index in enumerate(order):
        if p_values[index] > rate / (len(order) - rank):
            break
        rejected.add(index)
    return tuple(index in rejected for index in range(len(p_values)))
