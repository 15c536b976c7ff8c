"""What may be wrong with each cell of one head, each with the effect that would show it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trt_matrix.core.cells import Precision
from trt_matrix.core.qdq.placements import Weights, placed_of
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.contrast import Contrast, ContrastSide, contrast
from trt_matrix.core.verdicts.guard import chance
from trt_matrix.core.verdicts.sample import Sample, level
from trt_matrix.core.verdicts.verdict import Kind

REDUCED: Mapping[str, Kind] = {
    kind.value.partition("_")[0]: kind
    for kind in (Kind.TF32_REGRESSION, Kind.FP16_REGRESSION, Kind.BF16_REGRESSION)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypothesis:
    """`cell` costs more than something else, because of `kind`."""

    kind: Kind
    cell: str
    head: str
    against: str
    """The cell, table or level that it is compared with."""
    contrast: Contrast
    least: float
    """δ, ln: smallest effect worth a finding."""
    also: tuple[Contrast, ...] = ()
    """All of them must be as large too (intersection-union: Berger 1982)."""
    others: tuple[CellError, ...] = field(default=(), repr=False)
    """Further versions of the pass, for the guard against builds that choose; of versions alone."""
    guarded: bool = False
    these_images: bool = False
    """Whether it is about these images alone: that floating point is wrong on some of them is no chance."""
    pass_: str = ""

    @property
    def p(self) -> float:
        drawn = max(one.p(self.least) for one in (self.contrast, *self.also))
        if self.these_images:
            return min(1.0, 2 * min(drawn, self.contrast.p_of_these_images(self.least)))
        return drawn

    @property
    def large(self) -> bool:
        """Whether it reaches the least effect, in one view at least, and so do the others."""
        return all(one.largest() >= self.least for one in (self.contrast, *self.also))

    def chance_of_builds(self) -> float:
        """Returns how likely builds that choose anew look so though both versions are alike."""
        one, other = (side.sample for side in (self.contrast.one, self.contrast.other))
        # Of a cell whose layers are held the choice was taken: that its builds are alike says nothing.
        others = [cell.sample for cell in self.others if not cell.held]
        logs = [
            ([sample.sqnr_logs for sample in others], one.sqnr_logs, other.sqnr_logs),
            ([sample.image_logs for sample in others], one.image_logs, other.image_logs),
        ]
        if other.exact:
            # Against exact arithmetic, the builds of all other versions are what might have been drawn.
            return min(chance(mine, np.concatenate(rest), []) for rest, mine, _ in logs)
        return min(chance(mine, base, rest) for rest, mine, base in logs)


class HeadQuestions:
    """Asks what may be wrong with the cells of one head."""

    def __init__(self, head: MeasuredHead, baseline: str, noises: Noises, rules: Rules) -> None:
        self.head = head
        self.noises = noises
        self.rules = rules
        self.bases = {(c.device, c.pass_): c for c in head.cells if c.environment == baseline}
        # Backwards, so that the first stays: the baseline's other devices are compared with that.
        self.first = {cell.pass_: cell for cell in reversed(list(self.bases.values()))}
        self.versions: dict[tuple[str, str], list[CellError]] = {}
        for cell in head.cells:
            self.versions.setdefault((cell.pass_, cell.device), []).append(cell)
        # A twin of implicit int8 is placed as that is simulated: with a scale a channel, and float outputs.
        self.explicit: dict[tuple[str, str, str | None, str | None], CellError] = {
            (cell.environment, cell.device, cell.table, cell.placement): cell
            for cell in head.cells
            if cell.int8 and not cell.implicit and cell.table is not None
        }

    def all(self) -> Iterable[Hypothesis]:
        for cell in self.head.cells:
            if cell.mixed:
                continue
            if cell.int8:
                yield from self._int8(cell)
            else:
                yield from self._float(cell)

    def base_of(self, cell: CellError) -> CellError | None:
        """Returns what the cell is compared with; None of the baseline on its first device."""
        base = self.bases.get((cell.device, cell.pass_))
        base = self.first[cell.pass_] if base is cell else base
        return None if base is cell else base

    def side(self, cell: CellError) -> ContrastSide:
        return self.noises.side(self.head.head, cell)

    def versus(self, cell: CellError, base: CellError) -> Contrast:
        return contrast(self.side(cell), self.side(base))

    def against_version(
        self, kind: Kind, cell: CellError, base: CellError, *also: Contrast
    ) -> Hypothesis:
        """Returns the hypothesis that one version is worse than another."""
        others = [
            version
            for version in self.versions[cell.pass_, cell.device]
            if version.cell not in (cell.cell, base.cell)
        ]
        return Hypothesis(
            kind=kind,
            cell=cell.cell,
            head=self.head.head,
            against=base.cell,
            contrast=self.versus(cell, base),
            least=self.rules.least_effect,
            also=also,
            others=tuple(others),
            guarded=_may_choose(cell) or _may_choose(base),
            pass_=f"{cell.device}/{cell.pass_}",
        )

    def calibrators(self, cell: CellError, base: CellError) -> Hypothesis | None:
        """Returns the hypothesis that one version's own table is worse, in the same exact arithmetic."""
        mine, other = self.head.simulation(cell), self.head.simulation(base)
        if mine is None or other is None:
            return None
        return Hypothesis(
            kind=Kind.CALIBRATOR_REGRESSION,
            cell=cell.cell,
            head=self.head.head,
            against=base.cell,
            contrast=contrast(ContrastSide(mine), ContrastSide(other)),
            least=self.rules.least_effect,
        )

    def _of(self, kind: Kind, cell: CellError, other: ContrastSide, against: str) -> Hypothesis:
        return Hypothesis(
            kind=kind,
            cell=cell.cell,
            head=self.head.head,
            against=against,
            contrast=contrast(self.side(cell), other),
            least=self.rules.least_effect,
            pass_=f"{cell.device}/{cell.pass_}",
        )

    def _loss(self, cell: CellError, exact: ContrastSide) -> Hypothesis:
        """Returns the hypothesis that a cell costs more than exact arithmetic with its scales.

        Where some builds of other versions are better than that, builds have states, and this cell's may all be
        in the bad one by chance.
        """
        hypothesis = self._of(Kind.ENGINE_LOSS, cell, exact, "its simulation")
        others = [
            version
            for version in self.versions[cell.pass_, cell.device]
            if version.cell != cell.cell and version.table == cell.table and not version.held
        ]
        better = exact.sample.sqnr_logs[0] - self.rules.least_effect
        states = any(float(other.sample.sqnr_logs.min()) <= better for other in others)
        return replace(hypothesis, others=tuple(others), guarded=states and _may_choose(cell))

    def _floor(self, kind: Kind, cell: CellError) -> Hypothesis:
        """Returns the hypothesis that a floating-point precision is worse than its roundings explain."""
        floor_db = self.rules.floor_db(cell.precision)
        floor = ContrastSide(level(10 ** (-floor_db / 10), cell.sample.energy))
        return Hypothesis(
            kind=kind,
            cell=cell.cell,
            head=self.head.head,
            against=f"{floor_db:g} dB",
            contrast=contrast(self.noises.floor_side(self.head.head, cell), floor),
            least=0.0,
            these_images=True,
        )

    def _float(self, cell: CellError) -> Iterable[Hypothesis]:
        if cell.precision is Precision.FP32:
            yield self._floor(Kind.FP32_REGRESSION, cell)
            return
        kind = REDUCED[cell.precision.value]
        yield self._floor(kind, cell)
        if base := self.base_of(cell):
            yield self.against_version(kind, cell, base)

    def _int8(self, cell: CellError) -> Iterable[Hypothesis]:
        if not cell.quantised:
            return  # nothing was quantised: that is told, and there is nothing to compare
        simulated = self.head.simulation(cell)
        twin = self.explicit.get((cell.environment, cell.device, cell.table, cell.placement))
        if cell.implicit and twin:
            # One engine, one table, two ways to int8: what differs is how TensorRT uses the scales.
            yield self._of(Kind.IMPLICIT_REGRESSION, cell, self.side(twin), twin.cell)
        if base := self.base_of(cell):
            yield from self._against_baseline(cell, base, simulated)
        if simulated:
            exact = ContrastSide(simulated)
            if not (cell.implicit and twin):
                yield self._loss(cell, exact)
            if cell.integer_share is not None and cell.integer_share < 1:
                better = contrast(exact, self.side(cell))
                yield Hypothesis(
                    kind=Kind.PRECISION_FALLBACK,
                    cell=cell.cell,
                    head=self.head.head,
                    against="its simulation",
                    contrast=better,
                    least=self.rules.least_effect,
                )
        yield from self._table(cell, simulated)

    def _against_baseline(
        self, cell: CellError, base: CellError, simulated: Sample | None
    ) -> Iterable[Hypothesis]:
        expected = self.head.simulation(base)
        if cell.table == base.table and (cell.table is not None or not cell.own):
            # The same scales: only the engine changed.
            also: tuple[Contrast, ...] = ()
            if _spared(base, expected, self.rules):
                # The baseline ran layers in float: the others must also be worse than their scales say.
                if simulated is None:
                    return
                also = (contrast(self.side(cell), ContrastSide(simulated)),)
            yield self.against_version(Kind.ENGINE_REGRESSION, cell, base, *also)
        elif cell.own and simulated and expected:
            # The same arithmetic: only the calibrator changed.
            if hypothesis := self.calibrators(cell, base):
                yield hypothesis
        elif not _spared(base, expected, self.rules):
            # Tables that nobody knows: the engine or the calibrator.
            yield self.against_version(Kind.VERSION_REGRESSION, cell, base)

    def _table(self, cell: CellError, simulated: Sample | None) -> Iterable[Hypothesis]:
        """Is it the table, where that is known, or are 8 bits not enough with any table known?"""
        best = self.head.best.get(cell.placement or "")
        if best is None:
            return
        gate = self.head.gate_nmse
        placements = (cell.placement, self._with_a_scale_a_channel(cell))
        known = [
            simulation.nmse
            for key, simulation in self.head.simulations.items()
            if key[0] in placements
        ]
        if gate is not None and cell.sample.nmse > gate and min(known) > gate:
            # A cell that holds its gate has shown that its bits are enough; so has a scale a channel that
            # would, where each weight has one.
            yield Hypothesis(
                kind=Kind.INT8_LIMIT,
                cell=cell.cell,
                head=self.head.head,
                against="the gate",
                contrast=contrast(ContrastSide(best), ContrastSide(level(gate, best.energy))),
                least=0.0,
            )
        if simulated is not None and _costs(cell, best, self.rules):
            yield Hypothesis(
                kind=Kind.CALIBRATION_PROBLEM,
                cell=cell.cell,
                head=self.head.head,
                against="the best table",
                contrast=contrast(ContrastSide(simulated), ContrastSide(best)),
                least=self.rules.least_effect,
            )
        per_channel = self._per_channel(cell)
        if simulated is not None and per_channel is not None:
            yield Hypothesis(
                kind=Kind.PER_TENSOR_WEIGHTS,
                cell=cell.cell,
                head=self.head.head,
                against="a scale a channel",
                contrast=contrast(ContrastSide(simulated), ContrastSide(per_channel)),
                least=self.rules.least_effect,
            )

    def _per_channel(self, cell: CellError) -> Sample | None:
        """Returns what the table of a cell with one scale a weight costs with a scale a channel."""
        placement = self._with_a_scale_a_channel(cell)
        return self.head.simulations.get((placement, cell.table or "")) if placement else None

    @staticmethod
    def _with_a_scale_a_channel(cell: CellError) -> str | None:
        """Returns the placement of a cell with one scale a weight, had each channel its own; None of others."""
        placed = placed_of(cell.placement or "")
        per_tensor = placed is not None and placed.weights is Weights.PER_TENSOR
        return placed.per_channel.name if placed and per_tensor else None


def _costs(cell: CellError, best: Sample, rules: Rules) -> bool:
    """Whether what was observed is worse than the best table: a cell that is better has not paid for its own."""
    return contrast(ContrastSide(cell.sample), ContrastSide(best)).largest() >= rules.least_effect


def _may_choose(cell: CellError) -> bool:
    """Whether its builds may differ: what does differ is not fixed, whatever was declared."""
    return not (cell.fixed and cell.sample.same_bits)


def _spared(base: CellError, expected: Sample | None, rules: Rules) -> bool:
    """Whether the baseline ran layers in float, or is as good as if it had."""
    if not base.quantised or (base.integer_share is not None and base.integer_share < 1):
        return True
    if expected is None:
        return False
    better = contrast(ContrastSide(expected), ContrastSide(base.sample))
    return better.largest() >= rules.least_effect


def ask(
    heads: Sequence[MeasuredHead], baseline: str, noises: Noises, rules: Rules
) -> list[Hypothesis]:
    """Returns everything that may be wrong in a matrix."""
    return [
        hypothesis
        for head in heads
        for hypothesis in HeadQuestions(head, baseline, noises, rules).all()
    ]
