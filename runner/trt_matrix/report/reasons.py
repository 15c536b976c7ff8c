"""Why effects are there: one row for each place, verdict and attribution; pure, no markup."""

from dataclasses import dataclass

from trt_matrix.core.cells import CellPlace
from trt_matrix.core.collecting import distinct, grouped
from trt_matrix.core.factors.words import reason
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.verdicts.attribution import Attribution, FactorChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """What an effect is attributed to, and where it was found."""

    place: CellPlace
    kind: str
    heads: tuple[str, ...]
    """Empty where it is about latency."""
    attribution: Attribution

    @property
    def changes(self) -> tuple[FactorChange, ...]:
        return self.attribution.factors + self.attribution.confounded

    @property
    def state(self) -> str:
        if self.attribution.confounded:
            return "confounded" if self.attribution.separated else "undecided"
        return "alone" if self.attribution.factors else "nothing"

    @property
    def sentence(self) -> str:
        text = reason(self.attribution)
        return f"{text[:1].upper()}{text[1:]}."


def reasons(judgement: Judgement) -> tuple[Reason, ...]:
    """Returns what every attributed verdict is due to, in the order of the plan."""
    heads = grouped(
        ((result.place, str(verdict.kind), verdict.attribution), verdict.head)
        for result in judgement.cells
        for verdict in result.all_verdicts
        if verdict.attribution
    )
    return tuple(
        Reason(
            place=place,
            kind=kind,
            heads=tuple(distinct(filter(None, of_reason))),
            attribution=attribution,
        )
        for (place, kind, attribution), of_reason in heads.items()
        if attribution
    )
