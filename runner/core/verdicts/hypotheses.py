"""What may be wrong with each cell of one head, each with the effect that would show it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from runner.core.rules import Rules
from runner.core.verdicts.cell_errors import CellError, HeadErrors, noise_by_kin
from runner.core.verdicts.effects import Noise, Sample, effect
from runner.core.verdicts.verdict import Kind, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypothesis:
    """`cell` costs more than something else, because of `kind`."""

    verdict: Verdict
    least: float
    """Smallest value worth telling, NMSE."""
    noise: Noise
    built: tuple[Sample, ...]
    """The sides that have build noise."""


def hypotheses(head: HeadErrors, baseline: str, rules: Rules) -> Iterable[Hypothesis]:
    noises = noise_by_kin(head.cells)
    best = _best(head)
    bases = {(cell.device, cell.pass_): cell for cell in head.cells if cell.environment == baseline}
    # Backwards, so that the first stays: the baseline's other devices are compared with that.
    first = {cell.pass_: cell for cell in reversed(list(bases.values()))}
    explicit = {
        (cell.environment, cell.device, cell.table): cell
        for cell in head.cells
        if cell.int8 and not cell.implicit
    }
    for cell in head.cells:
        noise = noises[cell.kin]
        if not cell.int8:
            if not cell.reduced:
                yield _against_level(
                    Kind.FP32_REGRESSION, head, cell, cell.sample, rules.fp32_tolerance, noise
                )
            continue
        twin = explicit.get((cell.environment, cell.device, cell.table))
        if cell.implicit and twin:
            # One engine, one table, two ways to int8: what differs is how TensorRT uses the scales.
            yield _between(
                Kind.IMPLICIT_REGRESSION, head, cell, cell.sample, twin.sample, twin.cell, noise,
                rules.least_effect,
            )  # fmt: skip
        base = bases.get((cell.device, cell.pass_))
        if base is cell:
            base = first[cell.pass_]
        if base and base is not cell:
            yield from _against_baseline(head, cell, base, noise, rules)
        simulated = simulation(head, cell)
        if simulated and not (cell.implicit and twin) and _fails_alike(head, cell, base, simulated):
            yield _between(
                Kind.ENGINE_LOSS, head, cell, cell.sample, simulated, "its simulation", noise,
                rules.least_effect,
            )  # fmt: skip
        if simulated and cell.integer_share is not None and cell.integer_share < 1:
            yield _between(
                Kind.PRECISION_FALLBACK, head, cell, cell.sample, simulated,
                "its simulation", noise, rules.least_effect,
            )  # fmt: skip
        if limit := best.get(cell.placement or ""):
            yield from _table(head, cell, simulated, limit, rules)


def _fails_alike(head: HeadErrors, cell: CellError, base: CellError | None, exact: Sample) -> bool:
    """Whether the gate fails where exact arithmetic holds it, and in the baseline alike.

    Where the baseline holds it, the difference between the two is the question.
    """
    gate = head.gate_nmse
    if gate is None or not exact.nmse <= gate < cell.sample.nmse:
        return False
    return base is None or base is cell or base.sample.nmse > gate


def _against_baseline(
    head: HeadErrors, cell: CellError, base: CellError, noise: Noise, rules: Rules
) -> Iterable[Hypothesis]:
    if cell.table == base.table:
        # The same scales: only the engine changed.
        yield _between(
            Kind.ENGINE_REGRESSION, head, cell, cell.sample, base.sample, base.cell, noise,
            rules.least_effect,
        )  # fmt: skip
        return
    mine, other = simulation(head, cell), simulation(head, base)
    if cell.own and mine and other:
        # The same arithmetic: only the calibrator changed.
        yield _between(
            Kind.CALIBRATOR_REGRESSION, head, cell, mine, other, base.cell, noise,
            rules.least_effect,
        )  # fmt: skip


def _table(
    head: HeadErrors,
    cell: CellError,
    simulated: Sample | None,
    best: Sample,
    rules: Rules,
) -> Iterable[Hypothesis]:
    """Is it the table, where that is known, or are 8 bits not enough with any table known?"""
    exact = Noise(0.0, 0)
    gate = head.gate_nmse
    if gate is not None:
        yield _against_level(Kind.INT8_LIMIT, head, cell, best, gate, exact)
    if simulated is None:
        return
    fails = simulated.nmse > gate if gate is not None else True
    reachable = best.nmse <= gate if gate is not None else True
    if fails and reachable and simulated is not best:
        least = 0.0 if gate is not None else rules.table_factor - 1
        yield _between(
            Kind.CALIBRATION_PROBLEM, head, cell, simulated, best, "the best table", exact, least
        )


def _best(head: HeadErrors) -> Mapping[str, Sample]:
    """Returns placement → the simulation with the smallest error: the limit S*."""
    best: dict[str, Sample] = {}
    for (placement, _), sample in head.simulations.items():
        if placement not in best or sample.nmse < best[placement].nmse:
            best[placement] = sample
    return best


def simulation(head: HeadErrors, cell: CellError) -> Sample | None:
    if cell.placement is None or cell.table is None:
        return None
    return head.simulations.get((cell.placement, cell.table))


def _between(
    kind: Kind,
    head: HeadErrors,
    cell: CellError,
    one: Sample,
    other: Sample,
    against: str,
    noise: Noise,
    least: float,
) -> Hypothesis:
    measured = effect(one, other, noise)
    return Hypothesis(
        verdict=Verdict(
            kind=kind,
            cell=cell.cell,
            head=head.head,
            against=against,
            effect=measured,
            relative=measured.value / other.nmse if other.nmse > 0 else None,
        ),
        least=max(least * other.nmse, math.ulp(0.0)),
        noise=noise,
        built=tuple(sample for sample in (one, other) if not sample.exact),
    )


def _against_level(
    kind: Kind, head: HeadErrors, cell: CellError, sample: Sample, level: float, noise: Noise
) -> Hypothesis:
    """Is the error above a fixed level? The level is a sample without any spread."""
    fixed = Sample(level * sample.energy[np.newaxis], sample.energy, exact=True)
    return _between(kind, head, cell, sample, fixed, f"{level:.3g} NMSE", noise, 0.0)
