"""The error of one head in one cell: per build and image, and the logarithms that everything is judged on."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FLOOR = 1e-12
"""Of Σd² as a share of Σr², before a logarithm is taken: 120 dB."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One cell's error of one head.

    Attributes:
        errors: a_k(i) = Σd² of build k and image i, shape (K, n); K = 1 with `exact`.
        energy: r(i) = Σr², shape (n,): of the reference, the same for all cells.
        exact: A simulation, or a level: building it again gives the same, by construction.
    """

    errors: Floats
    energy: Floats
    exact: bool = False

    @property
    def repeats(self) -> int:
        return int(self.errors.shape[0])

    @property
    def images(self) -> int:
        return int(self.errors.shape[1])

    @functools.cached_property
    def nmse(self) -> float:
        return float(self.errors.mean(axis=0).sum() / self.energy.sum())

    @property
    def by_repeat(self) -> Floats:
        """NMSE of each repeat, shape (K,)."""
        return np.asarray(self.errors.sum(axis=1) / self.energy.sum(), np.float64)

    @functools.cached_property
    def _floored(self) -> Floats:
        least = FLOOR * np.maximum(self.energy, self.energy.mean())
        floor = np.maximum(least, np.finfo(np.float64).tiny)
        return np.asarray(np.maximum(self.errors, floor), np.float64)

    @functools.cached_property
    def sqnr_logs(self) -> Floats:
        """Ln Σ_i a_k(i), shape (K,)."""
        return np.asarray(np.log(self._floored.sum(axis=1)), np.float64)

    @functools.cached_property
    def image_logs(self) -> Floats:
        """Mean over images of ln a_k(i), shape (K,)."""
        return np.asarray(np.log(self._floored).mean(axis=1), np.float64)

    @functools.cached_property
    def without_one(self) -> Floats:
        """Mean over builds of ln(Σa − a(i)), shape (n,); needs two images."""
        rest = self._floored.sum(axis=1, keepdims=True) - self._floored
        tiny = FLOOR * self._floored.sum(axis=1, keepdims=True)
        return np.asarray(np.log(np.maximum(rest, tiny)).mean(axis=0), np.float64)

    @functools.cached_property
    def of_images(self) -> Floats:
        """Mean over builds of ln a_k(i), shape (n,)."""
        return np.asarray(np.log(self._floored).mean(axis=0), np.float64)

    @functools.cached_property
    def weights(self) -> Floats:
        """Share of each image in the error, mean over builds, shape (n,)."""
        shares = self._floored / self._floored.sum(axis=1, keepdims=True)
        return np.asarray(shares.mean(axis=0), np.float64)

    @property
    def same_bits(self) -> bool:
        """Whether all builds have the same error on every image."""
        return self.same_as(self)

    def same_as(self, other: "Sample") -> bool:
        """Whether all builds have the error of the other's first one, on every image."""
        same_images = self.images == other.images
        return same_images and bool((self.errors == other.errors[:1]).all())


def level(nmse: float, energy: Floats) -> Sample:
    """Returns a fixed error without any spread."""
    return Sample(max(nmse, math.ulp(0.0)) * energy[np.newaxis], energy, exact=True)
