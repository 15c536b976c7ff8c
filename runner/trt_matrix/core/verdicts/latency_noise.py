"""How much latencies differ by chance: the noise between rounds, and the luck of a few rounds."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NOISY = 3.0
"""A pair whose variance is so many times that of the other cells is judged by its own, at most."""
NOISY_FEW, FEW = 1.5, 8
"""The same while the others have fewer than `FEW` degrees of freedom."""
FEWEST = 2
"""Degrees of freedom of three rounds."""
NOTHING = 1e-24
"""Mean square of residuals that is rounding."""
SHARES = np.linspace(0.01, 0.99, 99)
"""Chances of a slow round that are tried."""


@dataclass(frozen=True, slots=True)
class LatencyLogs:
    """x = ln(seconds) of the cells of one device and pass.

    Attributes:
        logs: Shape (cells, rounds); NaN where a cell was not measured in a round.
        lost: Degrees of freedom that what was taken off beforehand has cost.
    """

    logs: Floats
    lost: int = 0

    def without(self, *cells: int) -> "LatencyLogs":
        return LatencyLogs(np.delete(self.logs, cells, axis=0))

    def centred(self) -> Floats:
        """Returns x less what its round has in common, shape (cells, rounds)."""
        return _beside_rounds(self.logs)[0]

    def variance(self) -> tuple[float, int]:
        """Returns the variance of one x beside its cell and its round, and its degrees of freedom.

        Residuals of the additive two-way layout (Scheffé, The Analysis of Variance, 1959, ch. 4).
        """
        _, residual, degrees = _beside_rounds(self.logs)
        squares = float(np.nansum(residual**2))
        # What is left of equal numbers is rounding.
        squares = squares if squares > NOTHING * self.logs.size else 0.0
        degrees = max(degrees - self.lost, 0)
        return (squares / degrees if degrees else 0.0), degrees

    def level(self, places: Floats) -> tuple["LatencyLogs", float]:
        """Returns x less what one place later in the round costs, if all cells pay the same for it.

        Least squares beside cells and rounds (analysis of covariance; Scheffé, ch. 6). Where all
        rounds have one order nothing tells a place from a cell, and nothing is taken off.

        `places` has the shape of `logs`, in any unit, and NaN where they are unknown.

        Returns:
            The table, and the variance of that price in variances of one x.
        """
        known = np.isfinite(self.logs) & np.isfinite(places)
        if not known.all() and not (known == np.isfinite(self.logs)).all():
            return self, 0.0
        _, moved, _ = _beside_rounds(np.where(known, places, np.nan))
        _, residual, degrees = _beside_rounds(self.logs)
        squares = float(np.nansum(moved**2))
        if squares < 1 / len(self.logs) or degrees < 2:
            return self, 0.0
        price = float(np.nansum(moved * residual)) / squares
        return LatencyLogs(self.logs - price * places, lost=1), 1 / squares


def _beside_rounds(logs: Floats) -> tuple[Floats, Floats, int]:
    """Returns x without its round, what is left without its cell too, and degrees of freedom."""
    cells, rounds = logs.shape
    known = np.isfinite(logs)
    if not known.any():
        return logs, logs, 0
    if known.all():
        centred = logs - logs.mean(axis=0)
        residual = centred - centred.mean(axis=1, keepdims=True)
        return centred, residual, (cells - 1) * (rounds - 1)
    cell, round_ = np.nonzero(known)
    design = np.zeros((len(cell), cells + rounds))
    row = np.arange(len(cell))
    design[row, cell] = design[row, cells + round_] = 1.0
    solution, _, rank, _ = np.linalg.lstsq(design, logs[known], rcond=None)
    centred = logs - solution[cells:]
    residual = np.full_like(logs, np.nan)
    residual[known] = logs[known] - design @ solution
    return centred, residual, len(cell) - int(rank)


@dataclass(frozen=True, slots=True)
class LatencyNoise:
    """Variance of the difference of two cells in one round, with its degrees of freedom."""

    variance: float
    degrees: int
    pooled: tuple[float, int]
    """The same from all cells of the table, whether these two scatter more or not."""


def noise(
    table: LatencyLogs, cell: int, base: int, own: tuple[float, int], *, odd: bool = False
) -> LatencyNoise:
    """Returns how much two cells of a table differ by chance in one round.

    The larger of their own variance and that of all cells, with the degrees of freedom of the
    latter; their own degrees alone where they scatter more than the others, and where there are no
    others or two rounds only.

    Args:
        table: All cells of the device and pass.
        cell: Row of the one.
        base: Row of the other.
        own: Variance of their difference between rounds, and its degrees of freedom.
        odd: Whether the base is what differs from most others. Three rounds of a noisy cell agree by
            chance too often to lend it the quiet of the others, and a base takes all cells with it.
    """
    variance, degrees = own
    shared, many = table.variance()
    pooled = 2 * shared, many
    rest, others = table.without(cell, base).variance()
    if degrees < 2 or not others:
        return LatencyNoise(max(variance, pooled[0]) if degrees else 0.0, degrees, pooled)
    # Both zero where nothing scatters at all.
    ratio = variance / 2 / rest if rest else math.inf if variance else 0.0
    bound = NOISY_FEW if others < FEW else min(_quantile(degrees, others), NOISY)
    alone = ratio > bound or (odd and degrees <= FEWEST)
    return LatencyNoise(max(variance, pooled[0]), degrees if alone else many, pooled)


def _quantile(degrees: int, others: int) -> float:
    """Returns F's quantile at 99 %."""
    from scipy.special import fdtri  # noqa: PLC0415

    return float(fdtri(degrees, others, 0.99))


def luck(rounds: int, above: tuple[int, int], others: int, wandering: int) -> float:
    """Returns how likely two states of one latency give this by chance, at worst.

    Say every round of every cell were slow with one chance π, whoever's it is: TensorRT chooses
    kernels anew, memory lies elsewhere. Then the slow rounds of the one and the fast ones of the
    other are binomial, and so are the other cells that were seen in both states. No mean and no
    variance of few rounds tells this from an effect. The most likely π is taken (unconditional, as
    Barnard, Biometrika 34, 1945).

    Args:
        rounds: K of either side.
        above: Rounds of the cell, and of its base, above the middle of the two.
        others: Further cells.
        wandering: How many of those have rounds that differ by half of the effect or more.
    """
    from scipy.special import bdtr, bdtrc  # noqa: PLC0415

    slow, base = above
    at_least = bdtrc(slow - 1, rounds, SHARES) if slow else np.ones_like(SHARES)
    both = 1 - SHARES**rounds - (1 - SHARES) ** rounds
    seen = bdtr(wandering, others, both) if wandering < others else np.ones_like(SHARES)
    return float(np.max(at_least * bdtr(base, rounds, SHARES) * seen))
