"""What would fix it, as the terminal, summary.md and the page show it; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.answers.kept import WORTH_DB
from trt_matrix.core.fix import Basis, Fix, KeptQuality
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.words import count, listed
from trt_matrix.report.formatting import ABSENT, duration, fixed

TITLE = "What would fix it"
MOST = 8
"""Ways out that a terminal shows; the page has all."""
MOST_ON_CARD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class FixLine:
    """One way out, its numbers as text: `14.7 → 22.4`."""

    fix: Fix
    sqnr_db: tuple[str, ...]
    """By head of the judgement."""
    predicted_db: tuple[str, ...]
    """The same of what was simulated of it; empty where nothing was."""
    ap_drop: str
    lost: str
    latency: str
    """How many times as long one inference takes."""
    gates: str
    shown_by: str


def fix_rows(judgement: Judgement) -> tuple[FixLine, ...]:
    return tuple(_row(fix, judgement.heads) for fix in judgement.fixes)


def _row(fix: Fix, heads: Sequence[str]) -> FixLine:
    now, reaches = fix.now, fix.reaches
    known = fix.basis is not Basis.UNKNOWN
    predicted = fix.predicted.sqnr_db if fix.predicted else {}
    return FixLine(
        fix=fix,
        sqnr_db=tuple(
            _change(now.sqnr_db.get(head), reaches.sqnr_db.get(head), 1, known=known)
            for head in heads
        ),
        predicted_db=tuple(
            ABSENT if (db := predicted.get(head)) is None else fixed(db) for head in heads
        )
        if predicted
        else (),
        ap_drop=_change(now.ap_drop, reaches.ap_drop, 3, known=known),
        lost=_change(now.lost, reaches.lost, 0, known=known),
        latency=_latency(now, reaches),
        gates={True: "hold", False: "do not hold", None: ABSENT}[reaches.holds],
        shown_by={
            Basis.MEASURED: f"measured in {listed(fix.cells, 1)}",
            Basis.SIMULATED: "simulated",
            Basis.UNKNOWN: "not tried",
        }[fix.basis],
    )


def _change(now: float | None, reaches: float | None, decimals: int, *, known: bool) -> str:
    """Returns `14.7 → 22.4`; what nobody knows of a way out is not told of what there is now either."""
    if now is None or reaches is None or not known:
        return ABSENT
    return f"{now:z.{decimals}f} → {reaches:z.{decimals}f}"


def _latency(now: KeptQuality, reaches: KeptQuality) -> str:
    if not now.latency_s or reaches.latency_s is None:
        return ABSENT
    ratio = reaches.latency_s / now.latency_s
    return f"{duration(reaches.latency_s)} ({ratio:.2f} ×)"


def on_card(judgement: Judgement, head: str) -> tuple[str, ...]:
    """Returns what would help one head, the most first: `ort-1.32.0: 15.2 to 22.4 dB (measured)`."""
    helping = [
        fix for fix in judgement.fixes if fix.needed and fix.gains_db.get(head, 0.0) >= WORTH_DB
    ]
    helping.sort(key=lambda fix: -fix.gains_db[head])
    return tuple(
        f"{fix.what}: {fix.now.sqnr_db[head]:z.1f} to {fix.reaches.sqnr_db[head]:z.1f} dB ({fix.basis}; {fix.against})"
        for fix in helping[:MOST_ON_CARD]
    )


def lines(judgement: Judgement) -> list[str]:
    """Returns what a terminal shows; nothing where there is nothing to fix."""
    rows = fix_rows(judgement)
    if not rows:
        return list(judgement.no_fix)
    told = [f"{TITLE.lower()}, most first:"]
    for number, row in enumerate(rows[:MOST], 1):
        more = [f"{row.latency} an inference"] if row.latency != ABSENT else []
        more += [f"gates {row.gates}"] if row.gates != ABSENT else []
        told.append(f"  {number}. {row.fix.what} ({'; '.join((row.shown_by, *more))})")
        told.append(f"     {row.fix.why}")
        if row.fix.command:
            told.append(f"     {row.fix.command}")
    if len(rows) > MOST:
        told.append(f"  and {count(len(rows) - MOST, 'way')} more in the report")
    return [*told, *(f"  {sentence}" for sentence in judgement.no_fix)]
