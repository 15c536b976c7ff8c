"""Names the factor behind each effect between two cells, or what is confounded."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from trt_matrix.core.cells import Status
from trt_matrix.core.evidence import good
from trt_matrix.core.factors.additions import addition
from trt_matrix.core.factors.cell_factors import (
    EffectKind,
    FactorDifference,
    Factors,
    difference,
    factors,
    title,
)
from trt_matrix.core.factors.contrasts import ChainStep, Design
from trt_matrix.core.factors.places import FactorPoint
from trt_matrix.core.records import Record
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.attribution import Addition, Attribution, FactorChange
from trt_matrix.core.verdicts.cell_errors import MeasuredHead, Noises
from trt_matrix.core.verdicts.decisions import step_found
from trt_matrix.core.verdicts.head_errors import Told
from trt_matrix.core.verdicts.latency import slower_than
from trt_matrix.core.verdicts.verdict import Kind, Verdict

QUESTIONS: Mapping[Kind, EffectKind] = {
    Kind.ENGINE_REGRESSION: EffectKind.ENGINE,
    Kind.VERSION_REGRESSION: EffectKind.CALIBRATOR,  # the engine or the calibrator
    Kind.TF32_REGRESSION: EffectKind.ENGINE,
    Kind.FP16_REGRESSION: EffectKind.ENGINE,
    Kind.BF16_REGRESSION: EffectKind.ENGINE,
    Kind.CALIBRATOR_REGRESSION: EffectKind.CALIBRATOR,
    Kind.LATENCY_REGRESSION: EffectKind.LATENCY,
}
"""The verdicts that are about a difference between two cells."""

Carries = Callable[[ChainStep], bool]
"""Whether the effect between the two cells of a step is found too."""


def attributed(
    told: Told, heads: Sequence[MeasuredHead], records: Iterable[Record], rules: Rules
) -> Told:
    """Returns the same verdicts, those about a difference between two cells with its attribution."""
    by_head = {head.head: head for head in heads}
    attributor = _Attributor(records, heads, rules)
    return {
        (cell, head): tuple(
            attributor.latency(verdict)
            if verdict.kind is Kind.LATENCY_REGRESSION
            else attributor.error(verdict, by_head[head])
            if verdict.kind in QUESTIONS and head in by_head
            else verdict
            for verdict in verdicts_
        )
        for (cell, head), verdicts_ in told.items()
    }


class _Attributor:
    """Attributes verdicts of one matrix; places are cell ids."""

    def __init__(
        self, records: Iterable[Record], heads: Sequence[MeasuredHead], rules: Rules
    ) -> None:
        self.rules = rules
        self._heads = heads
        self.records = {record.cell: record for record in records if record.status is Status.OK}
        self._factors = functools.cache(self._read)
        self._steps = functools.cache(self._chain)
        self._design = functools.cache(self._compared)
        self._added = functools.cache(self._addition)
        self._difference = functools.cache(difference)

    def error(self, verdict: Verdict, head: MeasuredHead) -> Verdict:
        """Attributes an error by the cells that a chain may use, and whether each step carries the effect."""
        cells = {cell.cell: cell for cell in head.cells}
        bad = cells[verdict.cell]
        tested = verdict.kind is Kind.CALIBRATOR_REGRESSION
        # Of tables that nobody knows, the baseline's is another too.
        any_table = verdict.kind is Kind.VERSION_REGRESSION
        same = [
            cell
            for cell, error in cells.items()
            if error.pass_ == bad.pass_
            and (any_table or (error.own if tested else error.table == bad.table))
        ]

        @functools.cache
        def carries(step: ChainStep) -> bool:
            return step_found(verdict.kind, self._noises, head, (step.start, step.end), self.rules)

        return self._attributed(verdict, same, carries)

    def latency(self, verdict: Verdict) -> Verdict:
        judged = self.records[verdict.cell]
        cells = [
            cell
            for cell, record in self.records.items()
            if (record.pass_, record.device) == (judged.pass_, judged.device)
        ]

        def carries(step: ChainStep) -> bool:
            return slower_than(step.end, step.start, self.records.values(), self.rules)

        return self._attributed(verdict, cells, carries)

    def _attributed(self, verdict: Verdict, cells: Iterable[str], carries: Carries) -> Verdict:
        question, base = QUESTIONS[verdict.kind], verdict.against
        if base is None or self._factors(base) is None or self._factors(verdict.cell) is None:
            return verdict
        known = tuple(cell for cell in cells if self._factors(cell) is not None)
        steps = self._steps(known, question, base, verdict.cell)
        why = self._attribution(verdict.cell, base, steps, carries, question)
        return replace(verdict, attribution=why)

    def _chain(
        self, cells: tuple[str, ...], question: EffectKind, start: str, end: str
    ) -> tuple[ChainStep, ...]:
        return self._design(cells, question).chain(start, end)

    def _compared(self, cells: tuple[str, ...], question: EffectKind) -> Design:
        return Design(cells, lambda one, other: self._compare(one, other, question).factors)

    def _attribution(
        self,
        cell: str,
        base: str,
        steps: Sequence[ChainStep],
        carries: Carries,
        question: EffectKind,
    ) -> Attribution:
        # Where there is one step, the verdict itself has found the effect.
        carrying = [step for step in steps if len(steps) == 1 or carries(step)]
        alone = {name for step in carrying if len(step.factors) == 1 for name in step.factors}
        together = [step for step in carrying or steps if len(step.factors) > 1]
        confounded = {name for step in together for name in step.factors}
        if not carrying:
            confounded |= {name for step in steps for name in step.factors}

        def changes(names: Iterable[str]) -> tuple[FactorChange, ...]:
            before, after = self._known(base), self._known(cell)
            return tuple(
                FactorChange(
                    factor=title(name, before, after),
                    baseline=before.values.get(name),
                    cell=after.values.get(name),
                )
                for name in sorted(names)
            )

        return Attribution(
            factors=changes(alone),
            confounded=changes(confounded - alone),
            through=tuple(step.end for step in steps[:-1]),
            separated=bool(carrying) or not steps,
            addition=self._added(together[0]) if together else None,
            harmless=tuple(sorted(self._compare(base, cell, question).harmless.items())),
        )

    def _addition(self, step: ChainStep) -> Addition:
        place, other = (self._place(cell) for cell in (step.start, step.end))
        return addition(place, other, step.factors, uniform=self._uniform)

    @functools.cached_property
    def _noises(self) -> Noises:
        return Noises(self._heads, self.rules.float_build_db)

    @functools.cached_property
    def _uniform(self) -> frozenset[str]:
        """Factors that have one value in all cells."""
        known = [factors_.values for factors_ in map(self._factors, self.records) if factors_]
        names = {name for values in known for name in values}
        return frozenset(name for name in names if len({values.get(name) for values in known}) == 1)

    def _place(self, cell: str) -> FactorPoint:
        start = good(self.records[cell])[-1].start
        assert start is not None  # noqa: S101 - only cells with factors are in a chain
        return FactorPoint(self.records[cell].environment, start)

    def _known(self, cell: str) -> Factors:
        known = self._factors(cell)
        assert known is not None  # noqa: S101 - as above
        return known

    def _read(self, cell: str) -> Factors | None:
        measured = good(self.records[cell])[-1:] if cell in self.records else []
        start = measured[0].start if measured else None
        return factors(start, measured[0].placement) if start and start.probe else None

    def _compare(self, one: str, other: str, question: EffectKind) -> FactorDifference:
        return self._difference(self._known(one), self._known(other), question)
