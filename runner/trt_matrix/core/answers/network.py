"""What concerns no single head: cells that did not run, and the boxes of all heads together."""

from collections.abc import Mapping, Sequence

from trt_matrix.core import severity
from trt_matrix.core.answer import HARM_UNKNOWN, Answer, Finding
from trt_matrix.core.answers.degree import NOT_KNOWN, NOTHING, degree, state
from trt_matrix.core.answers.plain import did_not_run
from trt_matrix.core.answers.rows import environments_of
from trt_matrix.core.answers.speaking import table_name
from trt_matrix.core.answers.sureness import SEEN
from trt_matrix.core.cells import CellPlace, TableSource
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.rounding import AP_DECIMALS, FEW, LARGE_AP
from trt_matrix.core.severity import Severity
from trt_matrix.core.verdicts.gates import WHOLE_NETWORK
from trt_matrix.core.verdicts.verdict import FAULTS, Kind
from trt_matrix.core.words import capital, count, listed

LEAST_AP = 0.005
"""By less AP no table is better than another, and of all boxes together less is not told."""


def network_answer(
    results: Sequence[CellResult], answers: Sequence[Answer], sentence: str
) -> Answer:
    """Returns the answer for the network as a whole.

    `sentence` is what its gate says.
    """
    judged = [result for result in results if not result.pass_.mixed]
    boxes = _boxes(judged, answers)
    findings = (*boxes, *did_not_run(results))
    told = [finding for finding in findings if finding.severity is not Severity.NONE]
    gated = [result.passed for result in judged if result.passed is not None]
    # A head in which nothing was found does not lead where of another one not all is known.
    worst = max(
        answers,
        key=lambda answer: (not answer.clean, _decided(answer).rank, answer.severity.rank),
        default=None,
    )
    first = next(iter(told), None)
    matters = severity.worst((*(finding.severity for finding in told), *map(_decided, answers)))
    slow = [
        result for result in results if any(verdict.kind in FAULTS for verdict in result.verdicts)
    ]
    clean = not (told or slow) and all(answer.clean for answer in answers) and False not in gated
    lead = f"{worst.fault} ({worst.head})" if worst and not worst.clean else ""
    seen = "" if first else _heads(answers)
    return Answer(
        head=WHOLE_NETWORK,
        fault=first.fault
        if first
        else lead or (NOTHING if clean else f"no error; {count(len(slow), 'cell')} slower"),
        findings=findings,
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
                for answer in answers
                if degree(answer) == NOT_KNOWN
                for what in answer.unseen
                if what in HARM_UNKNOWN
            )
        ),
    )


def _decided(answer: Answer) -> Severity:
    """Returns how bad a head is; nothing of what may yet turn out to be nothing."""
    return Severity.NONE if state(answer) == "open" else answer.severity


def _lost(result: CellResult) -> float:
    return result.whole_boxes.total.lost if result.whole_boxes else 0.0


def _heads(answers: Sequence[Answer]) -> str:
    """Returns which heads are how bad, the worst first."""
    wrong = sorted(
        (answer for answer in answers if not answer.clean),
        key=lambda answer: -answer.severity.rank,
    )
    groups = grouped((degree(answer), answer.head) for answer in wrong)
    told = [f"{how}: {listed(heads, 3)}" for how, heads in groups.items()]
    return f"{capital('; '.join(told))}." if told else ""


def _boxes(results: Sequence[CellResult], answers: Sequence[Answer]) -> list[Finding]:
    """Returns what became of the boxes of all heads together, where anybody would see it."""
    judged = [result for result in results if result.whole_boxes and result.pass_.precision.gated]
    failed = [result for result in judged if result.passed is False]
    seen = [
        result
        for result in judged
        if severity.of_boxes(result.whole_boxes).matters and result.passed is not True
    ]
    # The cells that are named first are those that lose most.
    # Which table is the best is known of all cells, and told of what anybody would see with it.
    best = [result for result in with_best_tables(judged) if result in seen]
    worst = sorted(failed or best, key=_lost, reverse=True)
    unknown = [result for result in results if result.passed is False and result not in judged]
    if not worst:
        return [_unknown(unknown)] if unknown else []
    whole = present(result.whole_boxes for result in worst)
    lost = [errors.total.lost for errors in whole]
    ends = sorted({f"{min(lost):g}", f"{max(lost):g}"}, key=float)
    boxes = count(round(whole[0].total.reference), "box", "boxes")
    parts = [f"{' to '.join(ends)} of {boxes} are lost"] if max(lost) else []
    new = max(errors.total.new for errors in whole)
    if new > max(lost):
        parts.append(f"up to {new:g} new boxes beside {boxes}")
    drops = present(errors.shown_drop for errors in whole)
    if drops and max(drops) >= LEAST_AP:
        decimals = FEW if min(drops) >= LARGE_AP else AP_DECIMALS
        shown = {f"{max(drop, 0.0):.{decimals}f}" for drop in (min(drops), max(drops))}
        parts.append(f"AP falls by {' to '.join(sorted(shown, key=float))}")
    parts = parts or ["boxes change"]
    causes = [
        f"{answer.head}: {answer.fault}"
        for answer in answers
        if answer.findings and not answer.clean
    ]
    ids = [result.id for result in worst]
    return [
        Finding(
            kind=Kind.UNEXPLAINED_LOSS,
            fault=f"{', '.join(parts)}{'; the gate fails' if failed else ''}",
            text=f"In {listed(ids, 3)} {', and '.join(parts)}.{_beaten(seen, worst)}"
            f"{' Of its heads: ' + listed(causes, 3) + '.' if causes else ''}",
            advice="See each head below for what would help."
            if causes
            else "No head has a cause by itself: compare the boxes below.",
            environments=tuple(environments_of(worst)),
            cells=tuple(ids),
            severity=Severity.SEVERE if failed else severity.worst(map(severity.of_boxes, whole)),
            confidence=SEEN,
            fails=bool(failed),
        )
    ]


def _beaten(seen: Sequence[CellResult], results: Sequence[CellResult]) -> str:
    """Returns what tables lose that another one beats, where they lose more: nobody should use them."""
    most = max((_mean_loss([result])[1] for result in results), default=0.0)
    # A box more is no reason: what tables of one kind lose varies by as much.
    worse = [
        result
        for result in seen
        if result not in results and _mean_loss([result])[1] > most + severity.LOST[0]
    ]
    if not worse:
        return ""
    names = distinct(map(table_name, worse))
    return f" Do not use {listed(names, 3)}: up to {max(map(_lost, worse)):g} are lost with {'it' if len(names) == 1 else 'them'}."


def with_best_tables(results: Sequence[CellResult]) -> list[CellResult]:
    """Returns those with the table that loses least, of each way to int8 and each other precision."""
    ways = grouped(((result.pass_.precision, result.pass_.implicit), result) for result in results)
    best: list[CellResult] = []
    for of_way in ways.values():
        places: set[CellPlace] = set()
        for of_pass in _best_first(grouped((result.pass_.name, result) for result in of_way)):
            # Where the best table did not run, the best one that did speaks.
            new = [result for result in of_pass if result.place not in places]
            places.update(result.place for result in new)
            best += new
    return best


def _best_first(passes: Mapping[str, Sequence[CellResult]]) -> list[Sequence[CellResult]]:
    """Returns passes by what they lose: AP, where that decides; of those that keep about as much, boxes.

    Of those that lose as many the shared table comes first: it is the one in use, which fixes are told of.
    """
    losses = {name: _mean_loss(results) for name, results in passes.items()}
    least = min(drop for drop, _ in losses.values())

    def order(name: str) -> tuple[float, float, bool, float]:
        drop, lost = losses[name]
        own = passes[name][0].pass_.source is not TableSource.SHARED
        return drop if drop - least > LEAST_AP else least, lost, own, drop

    return [passes[name] for name in sorted(passes, key=order)]


def _mean_loss(results: Sequence[CellResult]) -> tuple[float, float]:
    """Returns the means of AP that is lost and of the share of boxes that are lost."""
    whole = present(result.whole_boxes for result in results)
    drops = [errors.ap_drop or 0.0 for errors in whole]
    lost = [errors.total.lost_share or 0.0 for errors in whole]
    return sum(drops) / len(whole), sum(lost) / len(whole)


def _unknown(results: Sequence[CellResult]) -> Finding:
    ids = [result.id for result in results]
    return Finding(
        kind=Kind.NOT_COMPARABLE,
        fault="the gate fails: what became of boxes is not known",
        text=f"The gate of the whole network cannot be judged in {listed(ids, 3)}, so it does not hold.",
        advice="Say how the outputs become boxes (`decode`), or give labels; see the reason below.",
        environments=tuple(environments_of(results)),
        cells=tuple(ids),
        severity=Severity.SEVERE,
        confidence=SEEN,
        fails=True,
    )
