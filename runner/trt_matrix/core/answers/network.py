"""What concerns no single head: cells that did not run, and the boxes of all heads together."""

from collections.abc import Sequence

from trt_matrix.core import severity
from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.degree import NOT_KNOWN, degree, state
from trt_matrix.core.answers.findings import HARM_UNKNOWN
from trt_matrix.core.answers.plain import did_not_run
from trt_matrix.core.answers.speaking import table_name
from trt_matrix.core.boxes.results import ALL
from trt_matrix.core.cells import TableSource
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.rounding import AP_DECIMALS, FEW, LARGE_AP
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import FAULTS, Kind
from trt_matrix.core.words import capital, count, listed

NOTHING = "nobody's: nothing is wrong"
LEAST_AP = 0.005
"""By less AP no table is better than another, and of all boxes together less is not told."""


def network_answer(
    results: Sequence[CellResult], answers: Sequence[Answer], sentence: str
) -> Answer:
    """Returns the answer for the network as a whole.

    Args:
        results: Every planned cell.
        answers: One a head.
        sentence: What its gate says.
    """
    judged = [one for one in results if not one.cell.pass_.mixed]
    boxes = _boxes(judged, answers)
    found = (*boxes, *did_not_run(results))
    told = [one for one in found if one.severity is not Severity.NONE]
    gated = [one.passed for one in judged if one.passed is not None]
    # A head in which nothing was found does not lead where of another one not all is known.
    worst = max(
        answers,
        key=lambda one: (not one.clean, _decided(one).rank, one.severity.rank),
        default=None,
    )
    first = next(iter(told), None)
    matters = severity.worst((*(one.severity for one in told), *map(_decided, answers)))
    slow = [one for one in results if any(v.kind in FAULTS for v in one.verdicts)]
    clean = not (told or slow) and all(one.clean for one in answers) and False not in gated
    lead = f"{worst.fault} ({worst.head})" if worst and not worst.clean else ""
    seen = "" if first else _heads(answers)
    return Answer(
        head=WHOLE_NETWORK,
        fault=first.fault if first else lead or (NOTHING if clean else _slower(slow)),
        findings=found,
        text=" ".join(filter(None, (first.text if first else seen, sentence))),
        advice=first.advice if first else worst.advice if worst else "",
        confidence=first.confidence if first else worst.confidence if worst and lead else "",
        passed=all(gated) if gated else None,
        severity=matters,
        clean=clean,
        # Of a head of which nobody knows whether its error matters, all together say no more.
        unseen=tuple(
            dict.fromkeys(
                what
                for one in answers
                if degree(one) == NOT_KNOWN
                for what in one.unseen
                if what in HARM_UNKNOWN
            )
        ),
    )


def _decided(answer: Answer) -> Severity:
    """Returns how bad a head is; nothing of what may yet turn out to be nothing."""
    return Severity.NONE if state(answer) == "open" else answer.severity


def _lost(one: CellResult) -> float:
    return one.boxes.whole.changes[ALL].lost if one.boxes and one.boxes.whole else 0.0


def _slower(cells: Sequence[CellResult]) -> str:
    return f"no error; {count(len(cells), 'cell')} slower"


def _heads(answers: Sequence[Answer]) -> str:
    """Returns which heads are how bad, the worst first."""
    groups: dict[str, list[str]] = {}
    for one in sorted(
        (one for one in answers if not one.clean), key=lambda one: -one.severity.rank
    ):
        groups.setdefault(degree(one), []).append(one.head)
    told = [f"{how}: {listed(heads, 3)}" for how, heads in groups.items()]
    return f"{capital('; '.join(told))}." if told else ""


def _boxes(results: Sequence[CellResult], answers: Sequence[Answer]) -> list[Finding]:
    """Returns what became of the boxes of all heads together, where anybody would see it."""
    judged = [
        one for one in results if one.boxes and one.boxes.whole and one.cell.pass_.precision.gated
    ]
    failed = [one for one in judged if one.passed is False]
    seen = [
        one
        for one in judged
        if severity.of_boxes(one.boxes.whole if one.boxes else None).rank >= Severity.VISIBLE.rank
        and one.passed is not True
    ]
    # The cells that are named first are those that lose most.
    # Which table is the best is known of all cells, and told of what anybody would see with it.
    best = [one for one in with_best_tables(judged) if one in seen]
    told = sorted(failed or best, key=_lost, reverse=True)
    unknown = [one for one in results if one.passed is False and one not in judged]
    if not told:
        return [_unknown(unknown)] if unknown else []
    whole = [one.boxes.whole for one in told if one.boxes and one.boxes.whole]
    changes = [one.changes[ALL] for one in whole]
    lost = [one.lost for one in changes]
    ends = sorted({f"{min(lost):g}", f"{max(lost):g}"}, key=float)
    boxes = count(round(changes[0].reference), "box", "boxes")
    parts = [f"{' to '.join(ends)} of {boxes} are lost"] if max(lost) else []
    new = max(one.new for one in changes)
    if new > max(lost):
        parts.append(f"up to {new:g} new boxes beside {boxes}")
    drops = [one.shown_drop for one in whole if one.shown_drop is not None]
    if drops and max(drops) >= LEAST_AP:
        decimals = FEW if min(drops) >= LARGE_AP else AP_DECIMALS
        shown = (min(drops), max(drops))
        ends = sorted({f"{max(one, 0.0):.{decimals}f}" for one in shown}, key=float)
        parts.append(f"AP falls by {' to '.join(ends)}")
    parts = parts or ["boxes change"]
    beaten = _beaten(seen, told)
    causes = [f"{one.head}: {one.fault}" for one in answers if one.findings and not one.clean]
    return [
        Finding(
            kind=Kind.UNEXPLAINED_LOSS,
            fault=f"{', '.join(parts)}{'; the gate fails' if failed else ''}",
            text=f"In {listed([one.cell.id for one in told], 3)} {', and '.join(parts)}.{beaten}"
            f"{' Of its heads: ' + listed(causes, 3) + '.' if causes else ''}",
            advice="See each head below for what would help."
            if causes
            else "No head has a cause by itself: compare the boxes below.",
            environments=tuple(dict.fromkeys(one.cell.environment for one in told)),
            cells=tuple(one.cell.id for one in told),
            severity=Severity.SEVERE
            if failed
            else severity.worst(severity.of_boxes(one) for one in whole),
            confidence="seen, not inferred",
            fails=bool(failed),
        )
    ]


def _beaten(seen: Sequence[CellResult], told: Sequence[CellResult]) -> str:
    """Returns what tables lose that another one beats, where they lose more: nobody should use them."""
    ids = {one.cell.id for one in told}
    others = [one for one in seen if one.cell.id not in ids and one.boxes and one.boxes.whole]
    most = max((_mean_loss([one])[1] for one in told), default=0.0)
    # A box more is no reason: what tables of one kind lose varies by as much.
    worse = [one for one in others if _mean_loss([one])[1] > most + severity.LOST[0]]
    if not worse:
        return ""
    lost = max(one.boxes.whole.changes[ALL].lost for one in worse if one.boxes and one.boxes.whole)
    names = list(dict.fromkeys(table_name(one) for one in worse))
    return f" Do not use {listed(names, 3)}: up to {lost:g} are lost with {'it' if len(names) == 1 else 'them'}."


def with_best_tables(results: Sequence[CellResult]) -> list[CellResult]:
    """Returns those with the table that loses least, of each way to int8 and each other precision."""
    ways: dict[tuple[str, bool], dict[str, list[CellResult]]] = {}
    for one in results:
        pass_ = one.cell.pass_
        passes = ways.setdefault((str(pass_.precision), pass_.implicit), {})
        passes.setdefault(pass_.name, []).append(one)
    best: list[CellResult] = []
    for passes in ways.values():
        seen: set[tuple[str, str]] = set()
        for some in _best_first(list(passes.values())):
            # Where the best table did not run, the best one that did speaks.
            new = [one for one in some if (one.cell.environment, one.cell.device) not in seen]
            seen.update((one.cell.environment, one.cell.device) for one in new)
            best += new
    return best


def _best_first(passes: Sequence[Sequence[CellResult]]) -> list[Sequence[CellResult]]:
    """Returns passes by what they lose: AP, where that decides; of those that keep about as much, boxes.

    Of those that lose as many the shared table comes first: it is the one in use, which fixes are told of.
    """
    losses = [_mean_loss(some) for some in passes]
    least = min(drop for drop, _ in losses)

    def order(place: int) -> tuple[float, float, bool, float]:
        drop, lost = losses[place]
        own = passes[place][0].cell.pass_.source is not TableSource.SHARED
        return drop if drop - least > LEAST_AP else least, lost, own, drop

    return [passes[place] for place in sorted(range(len(passes)), key=order)]


def _mean_loss(results: Sequence[CellResult]) -> tuple[float, float]:
    """Returns the means of AP that is lost and of the share of boxes that are lost."""
    whole = [one.boxes.whole for one in results if one.boxes and one.boxes.whole]
    drops = [one.ap_drop or 0.0 for one in whole]
    lost = [one.changes[ALL].lost_share or 0.0 for one in whole]
    return sum(drops) / len(whole), sum(lost) / len(whole)


def _unknown(results: Sequence[CellResult]) -> Finding:
    ids = [one.cell.id for one in results]
    return Finding(
        kind=Kind.NOT_COMPARABLE,
        fault="the gate fails: what became of boxes is not known",
        text=f"The gate of the whole network cannot be judged in {listed(ids, 3)}, so it does not hold.",
        advice="Say how the outputs become boxes (`decode`), or give labels; see the reason below.",
        environments=tuple(dict.fromkeys(one.cell.environment for one in results)),
        cells=tuple(ids),
        severity=Severity.SEVERE,
        confidence="seen, not inferred",
        fails=True,
    )
