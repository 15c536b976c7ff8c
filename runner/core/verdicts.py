"""Whose fault is it: hypotheses about one matrix, tested together, and the verdicts they give.

The method, its formulae and its limits are in docs/method.md.
"""

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from runner.core.attribution import Attribution
from runner.core.effects import Effect, Noise, Sample, discoveries, effect, pooled_noise


class Kind(StrEnum):
    OK = "ok"
    FP32_REGRESSION = "fp32_regression"
    ENGINE_REGRESSION = "engine_regression"
    ENGINE_LOSS = "engine_loss"
    IMPLICIT_REGRESSION = "implicit_regression"
    CALIBRATOR_REGRESSION = "calibrator_regression"
    CALIBRATION_PROBLEM = "calibration_problem"
    INT8_LIMIT = "int8_limit"
    PRECISION_FALLBACK = "precision_fallback"
    LATENCY_REGRESSION = "latency_regression"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not_comparable"


DECISIVE = 4.0
"""An effect of so many standard errors is found among some hundred hypotheses."""


MORE_REPEATS = re.compile(r"\d+ more repeats?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """When a difference counts."""

    familywise_error_rate: float = 0.005
    """Chance of any false find of a cause, over heads × cells."""
    least_effect: float = 0.01
    """Smallest difference worth telling, as a share of the error it is compared with."""
    noise_multiple: float = 1.0
    """It must also be so many noise floors: builds of one version differ by as much anyway."""
    fp32_tolerance: float = 1e-6
    """NMSE that an fp32 cell may have; 60 dB, above what TF32 costs."""
    least_slowdown: float = 0.05
    """Smallest slowdown worth telling, as a share of the baseline's latency."""
    table_factor: float = 2.0
    """Without a gate, a table is a problem where it costs so many times the best one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellError:
    """One cell, as one head sees it."""

    cell: str
    environment: str
    device: str
    pass_: str
    int8: bool
    sample: Sample
    placement: str | None = None
    table: str | None = None
    """Digest."""
    own: bool = False
    """The table was made by this environment."""
    integer_share: float | None = None
    implicit: bool = False
    """int8 by TensorRT's own scales, not by Q/DQ nodes."""
    reduced: bool = False
    """tf32 or fp16: less exact than fp32 by design."""

    @property
    def kin(self) -> Hashable:
        """Cells whose builds differ alike: ONNX Runtime on a CPU says nothing of TensorRT's spread."""
        return (self.int8, self.placement, self.device, self.implicit, self.reduced)


def noise_by_kin(cells: Iterable[CellError]) -> Mapping[Hashable, Noise]:
    """Returns the spread between builds of each kind of cell."""
    samples: dict[Hashable, list[Sample]] = {}
    for cell in cells:
        samples.setdefault(cell.kin, []).append(cell.sample)
    return {kin: pooled_noise(found) for kin, found in samples.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadErrors:
    """Everything measured and simulated of one head."""

    head: str
    cells: Sequence[CellError]
    simulations: Mapping[tuple[str, str], Sample]
    """(placement, table) → the exact error of that table."""
    gate_nmse: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    kind: Kind
    cell: str
    head: str | None
    """None where it is about the whole cell: its latency."""
    against: str | None = None
    """The cell, table or gate that it was compared with."""
    effect: Effect | None = None
    relative: float | None = None
    """The effect as a share of what it was compared with."""
    needs: str | None = None
    """What would decide it: `2 more repeats`; only where inconclusive."""
    suspected: Kind | None = None
    """What it would be then; only where inconclusive, and not always then."""
    why: str | None = None
    """Why it cannot be judged; only where not comparable, and not always then."""
    attribution: Attribution | None = None
    """Which factor an effect between two cells is named after; None where their facts are unknown."""

    @property
    def more_repeats(self) -> bool:
        """Whether more repeats would decide it."""
        return bool(self.needs and MORE_REPEATS.fullmatch(self.needs))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hypothesis:
    """`cell` costs more than something else, because of `kind`."""

    verdict: Verdict
    least: float
    """Smallest value worth telling, NMSE."""
    noise: Noise
    built: tuple[Sample, ...]
    """The sides that have build noise."""


def verdicts(heads: Iterable[HeadErrors], baseline: str, rules: Rules) -> tuple[Verdict, ...]:
    """Returns the verdicts of every cell and head; `ok` where nothing is wrong."""
    heads = list(heads)
    hypotheses = [hypothesis for head in heads for hypothesis in _hypotheses(head, baseline, rules)]
    told = [
        verdict
        for kind in Kind
        for hypothesis, discovered in _tested(hypotheses, kind, rules)
        if (verdict := _decided(hypothesis, discovered=discovered, rules=rules))
    ]
    told = _without_repeated_blame(told)
    spoken = {(verdict.cell, verdict.head) for verdict in told}
    told += [
        _nothing_found(head, cell)
        for head in heads
        for cell in head.cells
        if (cell.cell, head.head) not in spoken
    ]
    return tuple(told)


def _nothing_found(head: HeadErrors, cell: CellError) -> Verdict:
    """Returns `ok`; `inconclusive` where the gate fails and nobody knows with which table."""
    gate = head.gate_nmse
    fails = cell.int8 and gate is not None and cell.sample.nmse > gate
    if fails and _simulation(head, cell) is None:
        return Verdict(
            kind=Kind.INCONCLUSIVE, cell=cell.cell, head=head.head, needs="its calibration table"
        )
    return Verdict(kind=Kind.OK, cell=cell.cell, head=head.head)


def _without_repeated_blame(told: Sequence[Verdict]) -> list[Verdict]:
    """Drops the calibration problem of a cell whose own calibrator alone makes the table bad.

    Such a problem is one of every version alike (DESIGN section 3): the baseline has it too.
    """
    bases = {
        (one.cell, one.head): one.against for one in told if one.kind is Kind.CALIBRATOR_REGRESSION
    }
    problems = {(one.cell, one.head) for one in told if one.kind is Kind.CALIBRATION_PROBLEM}
    alone = {key for key, base in bases.items() if (base, key[1]) not in problems}
    return [
        one
        for one in told
        if one.kind is not Kind.CALIBRATION_PROBLEM or (one.cell, one.head) not in alone
    ]


def _tested(
    hypotheses: Iterable[_Hypothesis], kind: Kind, rules: Rules
) -> Iterable[tuple[_Hypothesis, bool]]:
    """Tests one cause as one family, over all heads and cells.

    Not all causes together: a bad table is found in every cell with p near 0, and each such find
    would loosen the threshold for causes that only noise speaks for.
    """
    family = [one for one in hypotheses if one.verdict.kind is kind]
    # Cells that share a table, or gave the same outputs, ask one question: it is tested once.
    tests = {(one.verdict.head, one.verdict.effect): _p(one) for one in family}
    found = discoveries(list(tests.values()), rules.familywise_error_rate)
    discovered = dict(zip(tests, found, strict=True))
    return [(one, discovered[one.verdict.head, one.verdict.effect]) for one in family]


def _p(hypothesis: _Hypothesis) -> float:
    """Returns the one-sided p-value that the effect has its sign."""
    measured = hypothesis.verdict.effect
    if measured is None:
        return 1.0
    expected = -1 if hypothesis.verdict.kind is Kind.PRECISION_FALLBACK else 1
    half = measured.p / 2
    return half if measured.value * expected > 0 else 1 - half


def _decided(hypothesis: _Hypothesis, *, discovered: bool, rules: Rules) -> Verdict | None:
    """Returns the verdict, `inconclusive`, or None where there is nothing to tell."""
    verdict = hypothesis.verdict
    measured = verdict.effect
    expected = -1 if verdict.kind is Kind.PRECISION_FALLBACK else 1
    if measured is None or measured.value * expected < hypothesis.least:
        return None
    enough = measured.noise_multiple is None or measured.noise_multiple >= rules.noise_multiple
    if measured.noise_known and discovered and enough:
        return verdict
    needs = _needs(hypothesis, measured)
    if needs is None:
        return None
    return replace(verdict, kind=Kind.INCONCLUSIVE, needs=needs, suspected=verdict.kind)


def _needs(hypothesis: _Hypothesis, measured: Effect) -> str | None:
    """Says what would decide; None where the data already say that it is chance."""
    if not measured.noise_known:
        return "2 more repeats"
    low = -measured.high if hypothesis.verdict.kind is Kind.PRECISION_FALLBACK else measured.low
    high = -measured.low if hypothesis.verdict.kind is Kind.PRECISION_FALLBACK else measured.high
    if high < hypothesis.least or (measured.p > 0.2 and low < -hypothesis.least):
        return None
    # Half of the error budget for builds, half for images.
    wanted = (abs(measured.value) / DECISIVE) ** 2 / 2
    single = hypothesis.noise.variance * sum(sample.nmse**2 for sample in hypothesis.built)
    repeats = min((sample.repeats for sample in hypothesis.built), default=1)
    if single / repeats > wanted:
        more = math.ceil(single / wanted) - repeats
        return f"{more} more repeat{'s' if more > 1 else ''}"
    return "more evaluation images"


def _hypotheses(head: HeadErrors, baseline: str, rules: Rules) -> Iterable[_Hypothesis]:
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
        simulated = _simulation(head, cell)
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
) -> Iterable[_Hypothesis]:
    if cell.table == base.table:
        # The same scales: only the engine changed.
        yield _between(
            Kind.ENGINE_REGRESSION, head, cell, cell.sample, base.sample, base.cell, noise,
            rules.least_effect,
        )  # fmt: skip
        return
    mine, other = _simulation(head, cell), _simulation(head, base)
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
) -> Iterable[_Hypothesis]:
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


def _simulation(head: HeadErrors, cell: CellError) -> Sample | None:
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
) -> _Hypothesis:
    measured = effect(one, other, noise)
    return _Hypothesis(
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
) -> _Hypothesis:
    """Is the error above a fixed level? The level is a sample without any spread."""
    fixed = Sample(level * sample.energy[np.newaxis], sample.energy, exact=True)
    return _between(kind, head, cell, sample, fixed, f"{level:.3g} NMSE", noise, 0.0)
