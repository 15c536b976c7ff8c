"""What stands first of each head: how much it lost at worst, whose it is, and what helps; worst first.

A head is spoken of with the best table that ran in each way to int8, at its worst over versions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.answer import Answer
from trt_matrix.core.answers.degree import degree, state
from trt_matrix.core.answers.rows import int8_of, rows_of
from trt_matrix.core.answers.speaking import speaking
from trt_matrix.core.collecting import present
from trt_matrix.core.fix import Basis, Fix
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rounding import ap_drop
from trt_matrix.core.shares import Shares

WORTH_DB = 0.05
"""A fix that gains a head less is none of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    head: str
    state: str
    """`severe`, `visible`, `harmless`, `clean`, `open` (not decided) or `none` (not known)."""
    word: str
    """The same for a reader."""
    fault: str
    nothing: bool = False
    """Whether that is only that nothing was found."""
    sqnr_db: float | None = None
    """The least of the cells that it is spoken of with."""
    broken: int = 0
    """Values that are NaN or infinite, in the cell that has most, in any precision."""
    best_db: float | None = None
    """What 8 bits keep with the best table known, in the placement of the worst cell."""
    gate_db: float | None = None
    failing: int = 0
    """Cells in which a gate of this head does not hold."""
    gated: int = 0
    lost: float | None = None
    """Boxes that are lost, at worst."""
    reference: float = 0.0
    """Boxes of the reference."""
    ap: float | None = None
    """Of the reference with this head's output alone from the worst cell."""
    ap_drop: float | None = None
    shares: Shares | None = None
    remedy: str = ""
    reaches: str = ""
    """`22.4 → 24.1 dB`; empty where nobody knows."""
    measured: bool | None = None
    """Whether an engine showed it; None where nothing is promised."""

    @property
    def shown_drop(self) -> float | None:
        """`ap_drop` of the two APs as they are shown."""
        return None if self.ap_drop is None else ap_drop(self.ap, self.ap_drop)

    @property
    def harm(self) -> tuple[int, float, float]:
        """What strips are ordered by: severity, AP lost, and the gap to the best 8 bits (or the error) in dB."""
        rank = {"severe": 4, "visible": 3, "open": 2, "harmless": 1}.get(self.state, 0)
        gap = (self.best_db or 0.0) - self.sqnr_db if self.sqnr_db is not None else -math.inf
        return rank, self.ap_drop or 0.0, gap


def strips(judgement: Judgement) -> tuple[Strip, ...]:
    """Returns one a head, the worst first."""
    every = (_strip(judgement, head, judgement.answer(head)) for head in judgement.heads)
    return tuple(sorted(every, key=lambda strip: strip.harm, reverse=True))


def _strip(judgement: Judgement, head: str, answer: Answer | None) -> Strip:
    rows = rows_of(head, judgement.judged)
    spoken = [row.head for row in speaking(int8_of(rows))]
    cell = answer.shares.cell if answer and answer.shares else None
    # The cell whose error is taken apart.
    worst = next((row.head for row in rows if row.result.id == cell), next(iter(spoken), None))
    boxes = [row.boxes for row in spoken if row.boxes and row.boxes.total.reference]
    drops = [box for box in boxes if box.ap_drop is not None]
    deepest = max(drops, key=lambda errors: errors.ap_drop or 0.0, default=None)
    gated = [row.passed for _, row in rows if row.passed is not None]
    what, reaches, measured = remedy(judgement, head, answer)
    return Strip(
        head=head,
        state=state(answer),
        word=degree(answer),
        fault=answer.fault if answer else "",
        nothing=_nothing(answer),
        sqnr_db=min(
            present(row.sqnr_db for row in (*spoken, *([worst] if worst else []))), default=None
        ),
        broken=max((row.error.nonfinite for _, row in rows), default=0),
        best_db=worst.best_db if worst else None,
        gate_db=worst.gate_sqnr_db if worst else None,
        failing=gated.count(False),
        gated=len(gated),
        lost=max((box.total.lost for box in boxes), default=None),
        reference=max((box.total.reference for box in boxes), default=0.0),
        ap=deepest.ap if deepest else None,
        ap_drop=deepest.ap_drop if deepest else None,
        shares=answer.shares if answer else None,
        remedy=what,
        reaches=reaches,
        measured=measured,
    )


def remedy(judgement: Judgement, head: str, answer: Answer | None) -> tuple[str, str, bool | None]:
    """Returns what to do for this head, what it reaches, and whether an engine showed that."""
    # Where no harm was seen there is nothing to mend, whatever else a fix gains there.
    unharmed = answer is not None and state(answer) in ("clean", "none")
    fix = None if unharmed else best_fix(judgement.fixes, head)
    if fix:
        before, after = fix.now.sqnr_db.get(head), fix.reaches.sqnr_db.get(head)
        reaches = f"{_db(before)} → {_db(after)} dB{_against(judgement, fix)}"
        return fix.action, reaches, fix.basis is Basis.MEASURED
    if answer is None or answer.clean:
        return "", "", None
    held = next(
        (choice for choice in judgement.choices if choice.head == head and choice.held_db), None
    )
    if held and answer.advice.startswith("Keep "):
        least, back = min(held.worse_db), min(held.held_db)
        return answer.advice.split(":")[0], f"{_db(least)} → {_db(back)} dB", True
    if state(answer) == "open":
        return answer.advice, "", None
    return ("", "", None) if _nothing(answer) else (answer.advice, "", None)


def _nothing(answer: Answer | None) -> bool:
    return answer is None or answer.lead is None


def best_fix(fixes: Sequence[Fix], head: str | None = None) -> Fix | None:
    """Returns the first fix of what is wrong that gains something that is known: in a head, or in anything."""
    known = (fix for fix in fixes if fix.needed and fix.basis is not Basis.UNKNOWN)
    return next((fix for fix in known if _gains(fix, head)), None)


def _against(judgement: Judgement, fix: Fix, *, with_pass: bool = False) -> str:
    """Returns ` in v1`, ` in v1, int8-shared-entropy`, where another could be meant: beside it the worst is told."""
    cells = {result.id: result.cell for result in judgement.judged if result.pass_.is_int8}
    now = cells.get(fix.against)
    if now is None:
        return ""
    parts = [now.environment] if len({cell.environment for cell in cells.values()}) > 1 else []
    if with_pass and len({cell.pass_ for cell in cells.values()}) > 1:
        parts.append(now.pass_.name)
    return f" in {', '.join(parts)}" if parts else ""


def reached(judgement: Judgement, fix: Fix, order: Sequence[str]) -> str:
    """Returns what a fix reaches, in AP, lost boxes and dB as far as both are known, and where.

    `order` has the heads, the worst first: of those that gain half as much as any the first is told.
    """
    parts = []
    now, then = fix.now, fix.reaches
    if now.ap_drop is not None and then.ap_drop is not None:
        before, after = ap_kept(fix, judgement.reference_ap)
        lost = f"AP lost {now.ap_drop:z.3f} → {then.ap_drop:z.3f}"
        parts.append(f"AP {before} → {after}" if after else lost)
    if now.lost is not None and then.lost is not None:
        parts.append(f"boxes lost {now.lost:g} → {then.lost:g}")
    if gains := fix.gains_db:
        least = min(max(gains.values()), max(gains.values()) / 2)
        head = next(head for head in (*order, *gains) if gains.get(head, -math.inf) >= least)
        parts.append(f"{head} {_db(now.sqnr_db[head])} → {_db(then.sqnr_db[head])} dB")
    # Whoever does it for the gate's sake must know that it is not enough.
    short = fix.now.holds is False and fix.reaches.holds is False
    still = "; a gate fails all the same" if short else ""
    return f"{', '.join(parts)}{_against(judgement, fix, with_pass=True)}{still}"


def ap_kept(fix: Fix, reference: float | None) -> tuple[str, str]:
    """Returns AP now and then; nothing of what was simulated: it had other images, with another AP."""
    now, then = fix.now.ap_drop, fix.reaches.ap_drop
    if reference is None or now is None or then is None or fix.basis is not Basis.MEASURED:
        return "", ""
    return f"{reference - now:.3f}", f"{reference - then:.3f}"


def _gains(fix: Fix, head: str | None) -> bool:
    if head is not None:
        return fix.gains_db.get(head, 0.0) >= WORTH_DB
    before, after = fix.now.ap_drop, fix.reaches.ap_drop
    better = before is not None and after is not None and before - after > 0
    return better or any(gain >= WORTH_DB for gain in fix.gains_db.values())


def _db(value: float | None) -> str:
    return "?" if value is None else f"{value:z.1f}"
