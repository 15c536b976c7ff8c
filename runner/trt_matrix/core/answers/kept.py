"""What a cell, or a simulation, keeps; what of a cell is bad; and what one keeps more than another."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from trt_matrix.core import severity
from trt_matrix.core.answers.rows import says_something
from trt_matrix.core.collecting import present
from trt_matrix.core.diagnosis.record import Numbers, SetRecord
from trt_matrix.core.fix import KeptQuality
from trt_matrix.core.judgement import CellResult, HeadResult
from trt_matrix.core.metrics import sqnr_db
from trt_matrix.core.verdicts.verdict import FAULTS

WORTH_DB = 0.5
"""A remedy that gains less is not told, and a head that loses less by it is not worse."""
NOISES = 2.0
"""Two cells are apart by more than builds differ from so many standard deviations on."""


def of_cell(result: CellResult) -> KeptQuality:
    whole = result.whole_boxes
    changes = whole.total if whole else None
    gates = present((result.passed, *(head.passed for head in result.heads)))
    timed = result.latency if not result.latency_disturbed else None
    return KeptQuality(
        sqnr_db={head.head: head.sqnr_db for head in result.heads if says_something(head)},
        ap_drop=whole.ap_drop if whole else None,
        lost=changes.lost if changes else None,
        new=changes.new if changes else None,
        boxes=changes.reference if changes else None,
        latency_s=timed.median_s if timed else None,
        holds=all(gates) if gates else None,
    )


def of_set(record: SetRecord, *, gated: bool) -> KeptQuality:
    """Returns what a diagnosis simulated of one state.

    `gated`: whether there is any limit.
    """
    numbers = {name: head.sqnr_db for name, head in record.heads.items()}
    return of_numbers(numbers, record.whole, holds=not record.failing if gated else None)


def of_numbers(
    heads: Mapping[str, float | None], whole: Numbers, holds: bool | None
) -> KeptQuality:
    share = whole.lost_share
    return KeptQuality(
        sqnr_db=heads,
        ap_drop=whole.ap_drop,
        lost=whole.lost,
        boxes=whole.lost / share if whole.lost and share else None,
        holds=holds,
    )


def of_errors(errors: Mapping[str, float], result: CellResult) -> KeptQuality:
    """Returns what exact arithmetic keeps, and an engine that loses beyond its scales what this one does.

    `errors` are NMSE by head; `result` is the cell whose engine would run it.
    """
    reached = {
        head.head: sqnr_db(
            errors[head.head] + (max(head.budget.engine, 0.0) if head.budget else 0.0)
        )
        for head in result.heads
        if head.head in errors and says_something(head)
    }
    gates = [(head.head, gate) for head in result.heads for gate in (*head.gates, *result.gates)]
    judged = gates and all(gate.name == "sqnr_db" for _, gate in gates)
    held = ((db := reached.get(head)) is not None and db >= gate.limit for head, gate in gates)
    return KeptQuality(sqnr_db=reached, holds=all(held) if judged else None)


# What is bad


def bad_heads(result: CellResult) -> tuple[str, ...]:
    """Returns the heads of a cell that something is wrong with, and whose numbers say something."""
    return tuple(
        head.head
        for head in result.heads
        if head.sqnr_db is not None
        and says_something(head)
        and (head.passed is False or head.kinds & FAULTS or severity.of_boxes(head.boxes).matters)
    )


def is_bad(result: CellResult) -> bool:
    """Whether something is wrong with a head of a cell, or with all of its boxes together."""
    whole = severity.of_boxes(result.whole_boxes)
    return bool(bad_heads(result)) or result.passed is False or whole.matters


# What is gained


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    db: Mapping[str, float] = field(default_factory=dict)
    """Head → what it gains; negative where it loses."""
    best_db: float = 0.0
    """The most that a bad head gains; 0 without one."""
    ap: float | None = None
    """That comes back, of the whole network; None where it is not known of both."""
    boxes: float | None = None
    """Share of the reference's boxes that is no longer lost, or new beside them.

    0 where so many come or go by chance: counts of n boxes vary by √n (Poisson).
    """

    @property
    def back(self) -> int:
        """1 where anybody would see boxes come back, −1 where they go; AP says so before their number."""
        ap, boxes, _ = self.order
        seen = ap or boxes
        return (seen > 0) - (seen < 0)

    @property
    def worth(self) -> bool:
        return self.back > 0 or (self.back == 0 and self.best_db >= WORTH_DB - 1e-9)

    @property
    def spoils(self) -> bool:
        """Whether a head gains and boxes go: nothing that should be done."""
        return self.back < 0 and self.best_db >= WORTH_DB

    @property
    def worse(self) -> Mapping[str, float]:
        """Head → dB that it loses, those that lose clearly."""
        return {head: -db for head, db in self.db.items() if -db >= WORTH_DB}

    @property
    def order(self) -> tuple[float, float, float]:
        """The larger the better: AP, then boxes, then dB; of the first two what nobody would see is 0."""
        ap, boxes = (
            value if value is not None and abs(value) >= border - 1e-9 else 0.0
            for value, (border, _) in ((self.ap, severity.AP), (self.boxes, severity.LOST))
        )
        return ap, boxes, self.best_db


def gain(now: KeptQuality, reaches: KeptQuality, bad: Collection[str]) -> Gain:
    db = {
        head: value - before
        for head, before in now.sqnr_db.items()
        if before is not None and (value := reaches.sqnr_db.get(head)) is not None
    }
    both = now.ap_drop is not None and reaches.ap_drop is not None
    return Gain(
        db=db,
        best_db=max((db[head] for head in bad if head in db), default=0.0),
        ap=now.ap_drop - reaches.ap_drop if both else None,  # type: ignore[operator]
        boxes=_boxes_back(now, reaches),
    )


def _boxes_back(now: KeptQuality, reaches: KeptQuality) -> float | None:
    boxes = now.boxes or reaches.boxes
    if now.lost is None or reaches.lost is None:
        return None
    if not boxes:
        return 0.0 if now.lost == reaches.lost else None
    wrong = [now.lost, reaches.lost]
    if now.new is not None and reaches.new is not None:
        wrong = [now.lost + now.new, reaches.lost + reaches.new]
    back = wrong[0] - wrong[1]
    return back / boxes if abs(back) > sum(wrong) ** 0.5 else 0.0


def beyond_builds(now: CellResult, other: CellResult, heads: Collection[str]) -> bool | None:
    """Says whether another cell is better by more than builds differ, in one of these heads.

    None where nobody knows how they differ.
    """
    known: list[bool] = []
    for head in now.heads:
        theirs = other.head(head.head)
        if head.head not in heads or theirs is None:
            continue
        noises = present((_noise(now, head), _noise(other, theirs)))
        if len(noises) == 2:
            better = (head.error.nmse or 0.0) - (theirs.error.nmse or 0.0)
            known.append(better > NOISES * sum(noise**2 for noise in noises) ** 0.5)
    return any(known) if known else None


def _noise(result: CellResult, head: HeadResult) -> float | None:
    """Returns the standard deviation of its NMSE over builds; None where it is not known."""
    if result.fixed:
        return 0.0
    return head.budget.noise if head.budget else None
