"""The rows of *What would fix it*: what each reaches, drawn beside the others; pure, no markup."""

from typing import NamedTuple

from trt_matrix.core.answers.speed import milliseconds
from trt_matrix.core.answers.strips import ap_kept
from trt_matrix.core.collecting import present
from trt_matrix.core.fix import Basis, Fix
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rounding import AP_DECIMALS, db_apart, difference
from trt_matrix.report.formatting import ABSENT, signed

BAR = 60.0
"""Pixels of the largest gain."""
MARKS = {Basis.MEASURED: "◆ measured", Basis.SIMULATED: "◇ simulated", Basis.UNKNOWN: "? not tried"}


class FixRow(NamedTuple):
    fix: Fix
    mark: str
    gain: float | None
    """In AP where every row has that, else in dB of the head that gains most; None where it is not known."""
    width: float
    then: str
    """`0.822 → 0.825`, `small 14.7 → 22.5 dB`, of the head that it changes most."""
    gains_db: tuple[float | None, ...]
    """A head each."""
    lost: float | None
    later: str
    """`+0.10 ms`: more than now, of the two times as the headline's second line has them; a dash where not known."""


class Fixes(NamedTuple):
    unit: str
    """`AP` or `dB`."""
    rows: tuple[FixRow, ...]

    @property
    def zero(self) -> float:
        """Where bars begin: in the middle where something loses, else at the left."""
        return BAR + 5 if any((row.gain or 0.0) < 0 for row in self.rows) else 1.0

    @property
    def timed(self) -> bool:
        return any(row.later != ABSENT for row in self.rows)

    @property
    def boxed(self) -> bool:
        return any(row.lost is not None for row in self.rows)


def fixes(judgement: Judgement) -> Fixes:
    known = judgement.fixes
    ap = judgement.reference_ap is not None and any(
        fix.now.ap_drop is not None and fix.reaches.ap_drop is not None for fix in known
    )
    reference = judgement.reference_ap
    gains = [
        _ap_gain(fix, reference)
        if ap
        else max(present(_gain_of(fix, head) for head in judgement.heads), key=abs, default=None)
        for fix in known
    ]
    most = max(map(abs, present(gains)), default=0.0) or 1.0
    return Fixes(
        "AP" if ap else "dB",
        tuple(
            FixRow(
                fix=fix,
                mark=MARKS[fix.basis],
                gain=gain,
                width=0.0 if gain is None else round(BAR * abs(gain) / most, 1),
                then=_then(judgement, fix, ap=ap),
                gains_db=tuple(_gain_of(fix, head) for head in judgement.heads),
                lost=fix.reaches.lost,
                later=_later(fix.reaches.latency_s, fix.now.latency_s),
            )
            for fix, gain in zip(known, gains, strict=True)
        ),
    )


def _later(after: float | None, before: float | None) -> str:
    if after is None or before is None:
        return ABSENT
    now, then = milliseconds(before, after)
    decimals = len(now.partition(".")[2])
    return f"{signed(difference(float(then), float(now), decimals), decimals)} ms"


def _ap_gain(fix: Fix, reference: float | None) -> float | None:
    """Returns what the two that are shown differ by."""
    now, then = fix.now.ap_drop, fix.reaches.ap_drop
    before, after = ap_kept(fix, reference)
    if after:
        return difference(float(after), float(before), AP_DECIMALS)
    return None if now is None or then is None else difference(now, then, AP_DECIMALS)


def _gain_of(fix: Fix, head: str) -> float | None:
    """Returns what the two that are shown differ by."""
    now, then = fix.now.sqnr_db.get(head), fix.reaches.sqnr_db.get(head)
    return None if now is None or then is None else db_apart(then, now)


def _then(judgement: Judgement, fix: Fix, *, ap: bool) -> str:
    if not ap:
        gains = {head: _gain_of(fix, head) for head in judgement.heads if head in fix.gains_db}
        head = max(gains, key=lambda head: abs(gains[head] or 0.0), default=None)
        if head is None:
            return ""
        return f"{head} {fix.now.sqnr_db[head]:z.1f} → {fix.reaches.sqnr_db[head]:z.1f} dB"
    before, after = ap_kept(fix, judgement.reference_ap)
    if after:
        return f"{before} → {after}"
    now, then = fix.now.ap_drop, fix.reaches.ap_drop
    return "" if now is None or then is None else f"lost {now:z.3f} → {then:z.3f}"
