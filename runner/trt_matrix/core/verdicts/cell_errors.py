"""What verdicts are judged on: the errors of one head in every cell and under every table."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trt_matrix.core.cells import Precision
from trt_matrix.core.rules import DB
from trt_matrix.core.verdicts.build_noise import EXACT, Noise, assumed, build_noise
from trt_matrix.core.verdicts.contrast import ContrastSide
from trt_matrix.core.verdicts.sample import Sample

Group = tuple[str, str, str | None, bool]
"""Cells whose builds may be pooled: one pass, device, placement, and whether builds can differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellError:
    """One cell, as one head sees it."""

    cell: str
    environment: str
    device: str
    pass_: str
    precision: Precision
    sample: Sample
    placement: str | None = None
    table: str | None = None
    """Digest."""
    own: bool = False
    """The table was made by this environment."""
    integer_share: float | None = None
    """Of what its placement gives to integers: below 1 the engine ran layers in float by itself."""
    quantised: bool = True
    """False of an int8 cell that is floating point all the same."""
    implicit: bool = False
    """int8 by TensorRT's own scales, not by Q/DQ nodes."""
    held: bool = False
    """Whether the matrix holds layers of it in floating point: a remedy that is tried, and no version."""
    mixed: bool = False
    """Whether that is its whole pass: no test accuses it, and of its placement one table alone is simulated."""
    fixed: bool = False
    """Whether building again cannot give anything else: ONNX Runtime on one CPU."""

    @property
    def int8(self) -> bool:
        return self.precision is Precision.INT8

    @property
    def group(self) -> Group:
        return (self.pass_, self.device, self.placement, self.fixed)


@dataclass(frozen=True, kw_only=True)
class MeasuredHead:
    """Everything measured and simulated of one head."""

    head: str
    cells: Sequence[CellError]
    simulations: Mapping[tuple[str, str], Sample]
    """(placement, table) → the exact error of that table."""
    gate_nmse: float | None

    @functools.cached_property
    def best(self) -> Mapping[str, Sample]:
        """Placement → the limit S*: the best table, chosen on one half of the images, judged on the other.

        Chosen and judged on the same images, S* is too small by what chance gave the luckiest of the tables: a
        table as good as the others was called a problem in 19 % of matrices with 87 of them.
        """
        tables: dict[str, list[Sample]] = {}
        for (placement, _), sample in self.simulations.items():
            tables.setdefault(placement, []).append(sample)
        return {placement: _best(samples) for placement, samples in tables.items()}

    def simulation(self, cell: CellError) -> Sample | None:
        """Returns what the cell's table must cost; None where nobody knows."""
        if cell.placement is None or cell.table is None:
            return None
        return self.simulations.get((cell.placement, cell.table))


def _best(samples: Sequence[Sample]) -> Sample:
    energy = samples[0].energy
    errors = np.stack([sample.errors.mean(axis=0) for sample in samples])
    chosen = np.empty_like(energy)
    # Every other image, since neighbours in a folder are often alike.
    halves = [np.arange(start, len(energy), 2) for start in (0, 1)]
    for judged, seen in (halves, halves[::-1]):
        best = errors[:, seen if len(seen) else judged].sum(axis=1).argmin()
        chosen[judged] = errors[best, judged]
    return Sample(chosen[np.newaxis], energy, exact=True)


class Noises:
    """How builds of each cell differ, of one matrix."""

    def __init__(self, heads: Iterable[MeasuredHead], float_build_db: float) -> None:
        self._assumed = assumed(float_build_db * DB)
        samples: dict[Group, dict[str, dict[str, Sample]]] = {}
        for head in heads:
            for cell in head.cells:
                of_head = samples.setdefault(cell.group, {}).setdefault(head.head, {})
                of_head[cell.cell] = cell.sample
        self._noise = {
            group: build_noise(sample, fixed=group[-1]) for group, sample in samples.items()
        }
        self._versions = {
            group: {head: len(cells) for head, cells in sample.items()}
            for group, sample in samples.items()
        }

    def side(self, head: str, cell: CellError) -> ContrastSide:
        """Returns one cell as a side of a contrast, with the noise of its pass."""
        noise = self._noise[cell.group][head, cell.cell]
        if cell.fixed and cell.sample.repeats == 1:
            noise = EXACT
        elif not noise.known and not cell.int8:
            # Roundings of a floating-point build differ a little; a broken one differs by far more.
            noise = self._assumed
        return ContrastSide(cell.sample, noise)

    def floor_side(self, head: str, cell: CellError) -> ContrastSide:
        """Returns a floating-point cell against a level: its builds differ by what is assumed, or by more."""
        side = self.side(head, cell)
        known = self._assumed.sqnr[0]
        small = side.noise.known and max(side.noise.sqnr[0], side.noise.image[0]) <= known
        return ContrastSide(cell.sample, self._assumed) if small else side

    def noise(self, head: str, cell: CellError) -> Noise:
        return self.side(head, cell).noise
