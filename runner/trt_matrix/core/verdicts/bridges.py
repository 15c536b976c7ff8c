"""May a table move from TensorRT's implicit int8 to Q/DQ nodes? Both ways, with the same scales, compared.

The explicit cell is one of the same environment, or of one that has no implicit int8 (TensorRT 11). "The same"
is the margin of `equivalence`: two one-sided tests, in both views.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.contrast import contrast


class BridgeOutcome(StrEnum):
    SAME = "same"
    BETTER = "better"
    """The explicit one loses less: zero lies outside the interval."""
    WORSE = "worse"
    UNDECIDED = "undecided"
    """Neither the same nor different, as far as builds and images show."""
    UNKNOWN = "unknown"
    """Nobody knows how builds differ: there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bridge:
    """One head of one table, both ways."""

    head: str
    implicit: str
    """Id of the cell."""
    explicit: str
    passes: tuple[str, str]
    """Of both, in that order."""
    environments: tuple[str, str]
    worse_db: float
    """By how much the explicit one loses more, in dB of its SQNR; negative where it loses less."""
    low_db: float
    """Ends of its interval, 95 %; infinite where nobody knows how builds differ."""
    high_db: float
    within_db: float
    """How far apart the two may be, with an error of 5 %, in either view and direction."""
    same: bool
    """Whether that is below the margin."""
    same_bits: bool
    builds: int
    """Fewest of both sides."""

    @property
    def outcome(self) -> BridgeOutcome:
        if self.same:
            return BridgeOutcome.SAME
        if not math.isfinite(self.within_db):
            return BridgeOutcome.UNKNOWN
        if self.low_db > 0:
            return BridgeOutcome.WORSE
        return BridgeOutcome.BETTER if self.high_db < 0 else BridgeOutcome.UNDECIDED


def bridges(heads: Sequence[MeasuredHead], rules: Rules) -> tuple[Bridge, ...]:
    """Returns every implicit cell with a known table, against the explicit ones with it."""
    noises = Noises(heads, rules.float_build_db)
    return tuple(
        _bridge(head, implicit, explicit, noises, rules)
        for head in heads
        for implicit, explicit in _pairs(head)
    )


def _pairs(head: MeasuredHead) -> Iterator[tuple[CellError, CellError]]:
    implicit = [cell for cell in head.cells if _usable(cell) and cell.implicit]
    both = {(cell.environment, cell.device) for cell in head.cells if cell.implicit}
    for cell in implicit:
        for other in head.cells:
            same = (other.table, other.device) == (cell.table, cell.device)
            placed = cell.placement in (None, other.placement)
            lacks = (other.environment, other.device) not in both
            beside = other.environment == cell.environment or lacks
            if _usable(other) and not other.implicit and same and placed and beside:
                yield cell, other


def _usable(cell: CellError) -> bool:
    return cell.int8 and cell.quantised and not cell.held and cell.table is not None


def _bridge(
    head: MeasuredHead, implicit: CellError, explicit: CellError, noises: Noises, rules: Rules
) -> Bridge:
    apart = contrast(noises.side(head.head, explicit), noises.side(head.head, implicit))
    half, within = (apart.sqnr.half() if apart.known else math.inf), apart.within()
    return Bridge(
        head=head.head,
        implicit=implicit.cell,
        explicit=explicit.cell,
        passes=(implicit.pass_, explicit.pass_),
        environments=(implicit.environment, explicit.environment),
        worse_db=apart.sqnr.log / DB,
        low_db=(apart.sqnr.log - half) / DB,
        high_db=(apart.sqnr.log + half) / DB,
        within_db=within / DB,
        same=within < rules.equivalence_db * DB,
        same_bits=all(cell.sample.same_as(implicit.sample) for cell in (implicit, explicit)),
        builds=min(implicit.sample.repeats, explicit.sample.repeats),
    )
