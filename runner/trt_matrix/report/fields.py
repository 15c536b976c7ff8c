"""One field of the matrix: its text, what is missing, how much that is, and all of it in words; pure, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass

from trt_matrix.core.collecting import distinct
from trt_matrix.core.judgement import HeadResult
from trt_matrix.core.latency import Latency
from trt_matrix.core.rounding import db_apart
from trt_matrix.core.verdicts.verdict import FAULTS, Kind
from trt_matrix.core.words import count
from trt_matrix.report.formatting import MINUS, duration, fixed, percent, signed, unseen
from trt_matrix.report.views import Row, pass_title

SAME_DB = 0.05
"""Rows nearer than this in every head read the same."""
HEAT_DB = (0.5, 1.0, 3.0, 6.0)
"""From which loss on a cell is coloured, and how much."""
HEAT_AP = (0.01, 0.05, 0.15, 0.3)
HEAT_LOST = (0.005, 0.02, 0.05, 0.2)
HEAT_TIME = (1.1, 1.5, 3.0, 10.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One field of a row."""

    text: str
    note: str = ""
    level: int = 0
    """0 to 4: how much is lost."""
    failed: bool = False


def loss_db(head: HeadResult) -> float | None:
    """Returns by how many dB it is below the best 8 bits of its own placement; None where that is not known."""
    best, kept = head.best_db, head.sqnr_db
    return None if best is None or kept is None else best - kept


def level(value: float | None, borders: Sequence[float]) -> int:
    return 0 if value is None else sum(value >= border for border in borders)


def head_shown(row: Row, name: str) -> Shown:
    head = row.head(name)
    if head is None:
        return Shown(text="–", note="no reference")
    failed = head.passed is False
    if head.error.nonfinite:
        return Shown(text="NaN", note=count(head.error.nonfinite, "value"), level=4, failed=failed)
    if head.error.identical:
        return Shown(text="exact", failed=failed)
    if head.sqnr_db is None:
        return Shown(text="undefined", level=4, failed=failed)
    if Kind.NOT_COMPARABLE in head.kinds:
        return Shown(text=fixed(head.sqnr_db), note="not judged", failed=failed)
    best, loss = head.best_db, loss_db(head)
    note = ""
    if loss is None:
        # Of floating point no 8 bits are the measure, but what a test says that it lost.
        told = (v.effect.db for v in head.verdicts if v.kind in FAULTS and v.effect)
        loss = max(told, default=None)
    if best is not None and loss is not None and abs(loss) >= SAME_DB:
        apart = db_apart(head.sqnr_db, best)
        note = signed(apart) if apart else ""
    return Shown(text=fixed(head.sqnr_db), note=note, level=level(loss, HEAT_DB), failed=failed)


def ap_shown(row: Row) -> Shown:
    whole = row.result.whole_boxes
    if whole is None or whole.ap is None:
        return Shown(text="–")
    return Shown(
        text=fixed(whole.ap, 3),
        note=signed(-whole.shown_drop, 3) if whole.shown_drop else "",
        level=level(whole.ap_drop, HEAT_AP),
        failed=_gate(row, ("ap_drop", "ap50_drop")),
    )


def lost_shown(row: Row) -> Shown:
    whole = row.result.whole_boxes
    if whole is None:
        return Shown(text="–")
    changes = whole.total
    share = changes.lost_share if changes.reference else None
    return Shown(
        text=f"{changes.lost:g}",
        note=percent(share) if share else "",
        level=level(share, HEAT_LOST),
        failed=_gate(row, ("lost", "iou")),
    )


def a_batch(latency: Latency) -> str:
    """Returns what a time is of, where that is several images: `batch 8, 1.54 ms an image`."""
    return (
        f"batch {latency.batch}, {duration(latency.image_s)} an image" if latency.batch != 1 else ""
    )


def time_shown(row: Row) -> Shown:
    latency = row.result.latency
    if latency is None:
        return Shown(text="–", note="not timed" if row.result.status.ok else "")
    ratio = row.latency_ratio(row.fp32)
    slower = any(verdict.kind is Kind.LATENCY_REGRESSION for verdict in row.result.verdicts)
    apart = bool(ratio and ratio > 1 and row.fp32 and not row.overlaps(row.fp32))
    notes = [
        f"{fixed(ratio, 2 if ratio < 10 else 1)}× fp32" if ratio is not None else "",
        "slower" if slower else "",
        "disturbed" if row.result.latency_disturbed else "",
        "incomplete" if row.result.reason else "",
        a_batch(latency),
    ]
    return Shown(
        text=duration(latency.median_s),
        note=" · ".join(filter(None, notes)),
        level=level(ratio, HEAT_TIME) if apart else 0,
    )


def spanned(shown: Sequence[Shown]) -> Shown:
    """Returns what a row for several says: one text where all say it, else the ends."""
    texts = distinct(field.text for field in shown)
    notes = distinct(field.note for field in shown)
    if len(texts) > 1:
        texts = sorted(texts, key=_number)
        texts = [f"{texts[0].split()[0]} to {texts[-1]}"]
    if len(notes) > 1:
        notes = sorted(filter(None, notes), key=_number)
        if len(notes) > 1:
            notes = [f"{notes[0].split(chr(215))[0]} to {notes[-1]}"]
    worst = max(field.level for field in shown)
    return Shown(text=texts[0], note=notes[0], level=worst, failed=shown[0].failed)


def _number(text: str) -> float:
    start = text.replace(MINUS, "-").replace(",", "").split()[0] if text.strip() else ""
    digits = "".join(character for character in start if character in "+-.0123456789")
    try:
        value = float(digits)
    except ValueError:
        return float("inf")
    return value * (1e-3 if "µs" in text else 1e3 if text.endswith(" s") else 1.0)


def _gate(row: Row, names: Sequence[str]) -> bool:
    return any(gate.name in names and not gate.passed for gate in row.result.gates)


def words(row: Row, name: str) -> str:
    """Returns all that the matrix knows of one head in one cell, in words."""
    head = row.head(name)
    cell = row.result.cell
    parts = [f"{cell.environment} on {cell.device}, {pass_title(cell.pass_)}, {name}"]
    if head is None:
        return f"{parts[0]}: no reference to compare with"
    error = head.error
    parts.append(
        "equal to the reference"
        if error.identical
        else f"{fixed(error.sqnr_db)} dB"
        if error.sqnr_db is not None
        else "undefined"
    )
    best, loss = head.best_db, loss_db(head)
    if best is not None and error.sqnr_db is not None and loss is not None and loss >= SAME_DB:
        parts.append(
            f"{fixed(db_apart(best, error.sqnr_db))} dB below the best 8 bits of its placement"
        )
    if row.is_bit_identical_to_baseline(name):
        parts.append("bit-identical to the baseline")
    elif row.change_db(name) is not None:
        parts.append(f"{signed(row.change_db(name))} dB to the baseline")
    parts += [f"{'✓' if gate.passed else '✗'} {gate.text()}" for gate in head.gates]
    if row.is_int8 and head.integer_share is not None:
        parts.append(f"{percent(head.integer_share)} integer")
    parts += [
        f"{verdict.kind.replace('_', ' ')}"
        + (f" {signed(verdict.effect.db)} dB" if verdict.effect else "")
        for verdict in head.verdicts
        if verdict.kind is not Kind.OK
    ]
    parts += [told for verdict in head.verdicts if (told := unseen(verdict))]
    if error.nonfinite:
        parts.append(f"{count(error.nonfinite, 'value')} NaN or infinite")
    return f"{parts[0]}: {'; '.join(parts[1:])}"


def spanned_heads(rows: Sequence[Row], name: str) -> Shown:
    return spanned([head_shown(row, name) for row in rows])


def spanned_by(rows: Sequence[Row], field: str) -> Shown:
    """Returns what all rows say of `ap`, `lost` or `time`."""
    of = {"ap": ap_shown, "lost": lost_shown, "time": time_shown}[field]
    return spanned([of(row) for row in rows])
