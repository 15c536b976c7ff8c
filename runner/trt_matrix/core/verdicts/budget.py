"""The error budget of one head: what 8 bits, the table and the engine each cost, with intervals.

    observed Q = S* + (S(T) − S*) + (Q − S(T))        limit + calibration + engine

The intervals are percentile bootstraps (Efron and Tibshirani 1993, ch. 13) over images: each draw
takes the same images, with replacement, for the cell, for its simulation and for every other table,
so all differences are paired, and S* is the minimum of that draw. Images cannot tell one build from
the next, so an observed error also moves by its build noise, s·Q/√K times Student's t with the
degrees of freedom that s was estimated with (`build_noise`). `observed`, `limit` and
`calibration` are at least 0 in every draw, and so are their intervals; `engine` has a sign.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.sample import Floats, Sample
from trt_matrix.core.verdicts.student import Part

DRAWS = 2000
SEED = 20190617
CELLS_AT_ONCE = 256
"""Bounds the memory: 4 MB for every array of draws."""

Key = tuple[str, str]
"""(placement, table digest)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """observed = limit + calibration + engine, all NMSE against the reference."""

    observed: float
    limit: float
    """S*: the smallest simulated error over all candidate tables."""
    calibration: float
    """S(T) − S*."""
    engine: float
    """Q(v, T) − S(T); negative where layers ran in higher precision than simulated."""
    noise: float | None
    """Spread (standard deviation) of the observed NMSE over repeats; None with one repeat."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Part (`observed`, `limit`, …) → its 95 % bootstrap interval; absent where it is unknown."""


def budgets(head: MeasuredHead, noises: Noises) -> Mapping[str, Budget]:
    """Returns cell id → its budget, for every int8 cell whose table was simulated.

    Not of a mixed one: of its placement one table alone was, so no limit is known.

    With one image there are no intervals; with one repeat everywhere there are none of `observed`
    and `engine`, whose build noise is unknown then.
    """
    cells = [(cell, key) for cell in head.cells if (key := _key(cell)) in head.simulations]
    if not cells:
        return {}
    draws = _Draws(head)
    parts = {cell.cell: noises.noise(head.head, cell).sqnr for cell, _ in cells}
    budgets_: dict[str, Budget] = {}
    for degrees in sorted({part[1] for part in parts.values()}):
        alike = [pair for pair in cells if parts[pair[0].cell][1] == degrees]
        for start in range(0, len(alike), CELLS_AT_ONCE):
            chunk = alike[start : start + CELLS_AT_ONCE]
            budgets_ |= draws.budgets(chunk, [parts[cell.cell] for cell, _ in chunk])
    return budgets_


def _key(cell: CellError) -> Key:
    known = cell.int8 and not cell.mixed
    return (cell.placement or "", cell.table or "") if known else ("", "")


class _Draws:
    """All bootstrap draws of one head."""

    def __init__(self, head: MeasuredHead) -> None:
        self.simulations = head.simulations
        energy = next(iter(head.simulations.values())).energy
        images = len(energy)
        generator = np.random.default_rng(SEED)
        counts = generator.multinomial(images, np.full(images, 1 / images), DRAWS)
        totals = counts @ energy
        usable = totals > 0
        self.weights: Floats = counts[usable] / totals[usable, np.newaxis]
        self.known = images > 1
        self.column = {key: index for index, key in enumerate(head.simulations)}
        self.simulated = self._nmse(list(head.simulations.values()))
        self.limits: dict[str, Floats] = {}
        self.limit: dict[str, float] = {}
        for placement in {key[0] for key in head.simulations}:
            keys = [key for key in head.simulations if key[0] == placement]
            self.limits[placement] = self.simulated[:, [self.column[key] for key in keys]].min(
                axis=1
            )
            self.limit[placement] = min(head.simulations[key].nmse for key in keys)

    def _nmse(self, samples: Sequence[Sample]) -> Floats:
        """Returns the NMSE of each sample in each draw, shape (draws, samples)."""
        errors = np.stack([sample.errors.mean(axis=0) for sample in samples], axis=1)
        return np.asarray(self.weights @ errors, np.float64)

    def budgets(
        self, cells: Sequence[tuple[CellError, Key]], noise: Sequence[Part]
    ) -> dict[str, Budget]:
        """Returns the budgets of cells whose noise has equally many degrees of freedom."""
        degrees = noise[0][1]
        # One value of t a draw for all cells: adding a cell changes no other cell's interval.
        generator = np.random.default_rng([SEED, int(min(degrees, 1000))])
        student = generator.standard_t(min(max(degrees, 1), 1000), len(self.weights))
        observed = self._nmse([cell.sample for cell, _ in cells])
        spread = np.sqrt(
            [part / cell.sample.repeats for (part, _), (cell, _) in zip(noise, cells, strict=True)]
        )
        # With few degrees of freedom t can take away more than there is; no error is below 0.
        observed *= np.maximum(1 + student[:, np.newaxis] * spread, 0.0)
        expected = self.simulated[:, [self.column[key] for _, key in cells]]
        limit = np.stack([self.limits[placement] for _, (placement, _) in cells], axis=1)
        parts = {"limit": limit, "calibration": expected - limit}
        if degrees:
            parts |= {"observed": observed, "engine": observed - expected}
        known = parts if self.known else {}
        ends = {name: np.percentile(part, [2.5, 97.5], axis=0).T for name, part in known.items()}
        by_cell = {}
        for i, (cell, key) in enumerate(cells):
            intervals = {name: (float(end[i, 0]), float(end[i, 1])) for name, end in ends.items()}
            by_cell[cell.cell] = self._budget(cell.sample, key, intervals)
        return by_cell

    def _budget(
        self, sample: Sample, key: Key, intervals: Mapping[str, tuple[float, float]]
    ) -> Budget:
        limit, expected = self.limit[key[0]], self.simulations[key].nmse
        return Budget(
            observed=sample.nmse,
            limit=limit,
            calibration=expected - limit,
            engine=sample.nmse - expected,
            noise=float(np.std(sample.by_repeat, ddof=1)) if sample.repeats > 1 else None,
            intervals=intervals,
        )
