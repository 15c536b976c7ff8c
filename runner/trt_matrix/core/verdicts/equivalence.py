"""Do versions lose the same? A finding with a test of its own, not the absence of a difference.

Of versions with the same table, each is compared with the baseline. U is how far apart the two may be with an
error of 5 %, in both views and either direction; "the same" is U below a margin: two one-sided tests, Schuirmann
1987, of which each version's own is told.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.contrast import contrast


@dataclass(frozen=True, kw_only=True, slots=True)
class Equivalence:
    """Versions that lose the same in one head, with one table."""

    head: str
    device: str
    pass_: str
    baseline: str
    environments: tuple[str, ...]
    """The baseline with them."""
    within_db: float
    """The largest difference that the data still allow."""
    same_bits: bool
    """Whether all of them gave the same errors on every image."""
    all: bool
    """Whether no version with this table is left out."""
    builds: int | None = None
    """Fewest of a version; None where builds cannot differ. What builds rarely do, no number here excludes."""


def equivalences(
    heads: Sequence[MeasuredHead], baseline: str, rules: Rules
) -> tuple[Equivalence, ...]:
    """Returns what int8 cells with the baseline's table share with it, for each head and pass."""
    noises = Noises(heads, rules.float_build_db)
    found = []
    for head in heads:
        for base in head.cells:
            if base.environment == baseline and base.int8:
                equivalence = _equal(head, base, noises, rules)
                if equivalence:
                    found.append(equivalence)
    return tuple(found)


def _equal(head: MeasuredHead, base: CellError, noises: Noises, rules: Rules) -> Equivalence | None:
    others = [
        cell
        for cell in head.cells
        if (cell.pass_, cell.device) == (base.pass_, base.device)
        and cell.table == base.table
        and (cell.table is not None or not cell.own)
        and cell.cell != base.cell
        and not cell.held
    ]
    apart = {cell.environment: _apart(head, cell, base, noises) for cell in others}
    same = {name: value for name, value in apart.items() if value < rules.equivalence_db * DB}
    if not same:
        return None
    equal = [cell for cell in others if cell.environment in same]
    return Equivalence(
        head=head.head,
        device=base.device,
        pass_=base.pass_,
        baseline=base.environment,
        environments=(base.environment, *same),
        within_db=max(same.values()) / DB,
        same_bits=all(
            cell.sample.errors.shape[1] == base.sample.images
            and bool((cell.sample.errors == base.sample.errors[:1]).all())
            for cell in (base, *equal)
        ),
        all=len(same) == len(others),
        builds=None
        if all(cell.fixed for cell in (base, *equal))
        else min(cell.sample.repeats for cell in (base, *equal)),
    )


def _apart(head: MeasuredHead, cell: CellError, base: CellError, noises: Noises) -> float:
    """Returns how far apart the two may be, ln; infinite where nobody knows."""
    compared = contrast(noises.side(head.head, cell), noises.side(head.head, base))
    if not compared.known:
        return math.inf
    return max(abs(view.log) + view.half(0.05) for view in (compared.sqnr, compared.image))
