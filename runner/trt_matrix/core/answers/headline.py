"""What every output says first; the page, summary.md, junit.xml and the terminal's last lines say it alike.

One sentence for the network, what to do, what int8's time is, six facts, and the heads, worst first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trt_matrix.core.answer import Answer, Finding
from trt_matrix.core.answers.degree import degree, how_sure, state
from trt_matrix.core.answers.fix_cost import fix_cost
from trt_matrix.core.answers.harm import harm
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.plain import operator_of
from trt_matrix.core.answers.since import since
from trt_matrix.core.answers.speed import cost
from trt_matrix.core.answers.strips import Strip, best_fix, reached, strips
from trt_matrix.core.answers.undecided import PERHAPS
from trt_matrix.core.answers.whom import FLOATS, send_to, whose
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.fix import Basis
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.verdicts.verdict import Kind
from trt_matrix.core.words import capital, count, listed

MEASURED, SIMULATED = "◆ measured", "◇ simulated"
CHECK_FIRST = "Check first"
FIX_COSTS = "The fix costs"
KEEP, OUT = "Keep ", " out of int8"
"""How the advice of a layer that builds chose begins, and ends."""
MOST = 3
"""Names in one sentence."""
LONGEST_REASON = 120
"""Characters; the matrix and the log have all."""
ORDER = ("severe", "visible", "open", "harmless", "none", "clean")


class Fact(NamedTuple):
    name: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    text: str
    """One sentence with a harm, a number and where."""
    state: str
    """As that of a strip."""
    word: str
    remedy: str
    """What to do, and what it reaches; empty where there is nothing to do."""
    measured: bool | None
    """Whether an engine showed what the remedy reaches; None where it promises no number."""
    cost: str
    """What int8's time is beside fp32's; empty where nothing was timed."""
    facts: tuple[Fact, ...]
    doubts: tuple[str, ...] = ()
    """What was likely wrong before anything ran: nothing above it may be believed before that is looked at."""
    strips: tuple[Strip, ...]

    def lines(self) -> tuple[str, ...]:
        """Returns five lines at most, and one of doubts, that say all of it, for a terminal or a mail."""
        facts = dict(self.facts)
        costs = f" {FIX_COSTS}: {facts[FIX_COSTS]}." if FIX_COSTS in facts else ""
        heads = "; ".join(strip_text(strip) for strip in self.strips[:4])
        more = f"; and {len(self.strips) - 4} more" if len(self.strips) > 4 else ""
        named = [name for name in ("Whose", "Since", "How sure", "Send to") if name in facts]
        not_run = f"Not run: {facts['Not run']}." if "Not run" in facts else ""
        lines = (
            f"[{self.word}] {self.text}",
            f"{CHECK_FIRST}: {'; '.join(self.doubts)}." if self.doubts else "",
            f"Do: {self.told_remedy}{costs}" if self.remedy else "",
            f"Heads: {heads}{more}" if self.strips else "",
            ". ".join(f"{name}: {facts[name]}" for name in named),
            " ".join(filter(None, (self.cost, not_run))),
        )
        return tuple(filter(None, lines))

    @property
    def told_remedy(self) -> str:
        mark = {True: f" ({MEASURED})", False: f" ({SIMULATED})", None: ""}[self.measured]
        return f"{self.remedy}{mark}."


def strip_text(strip: Strip) -> str:
    """Returns `small 22.7 dB, 4 of 250 boxes lost, AP −0.00, 85 % 8 bits`."""
    parts = []
    if strip.broken:
        parts.append("NaN or infinite")
    elif strip.sqnr_db is not None:
        parts.append(f"{strip.sqnr_db:z.1f} dB")
    if strip.failing:
        parts.append(f"gate fails in {strip.failing} of {strip.gated}")
    if strip.lost is not None:
        parts.append(f"{strip.lost:g} of {strip.reference:g} boxes lost")
    if strip.shown_drop is not None:
        parts.append(f"AP {-strip.shown_drop:+.3f}".replace("-", "−"))
    if strip.shares:
        parts.append(f"{strip.shares.percents[strip.shares.largest]} % {strip.shares.largest}")
    return f"{strip.head} {', '.join(parts) or 'not known'}"


def headline(judgement: Judgement) -> Headline:
    whole = judgement.network or network_answer(
        judgement.judged, judgement.answers, judgement.network_sentence
    )
    told = strips(judgement)
    answer, finding = _leading(judgement, told, whole)
    remedy, measured = _remedy(judgement, told, answer, whole)
    how = _state(told, whole)
    return Headline(
        text=_text(judgement, told, whole),
        state=how,
        word=_word(judgement, how, whole),
        remedy=remedy.rstrip("."),
        measured=measured,
        cost=cost(judgement),
        facts=tuple(_facts(judgement, told, answer, finding, whole)),
        doubts=tuple(map(str, judgement.facts.get("doubts", ()))),
        strips=told,
    )


def _word(judgement: Judgement, how: str, whole: Answer) -> str:
    if not judgement.cells:
        return "nothing planned"
    if how == "open":
        return "not decided"
    ran = any(result.status.ok for result in judgement.cells)
    return degree(whole) if ran or how != "none" else "nothing ran"


def _state(told: Sequence[Strip], whole: Answer) -> str:
    """Returns that of what concerns all heads together, or of the worst head where that is worse."""
    mine = state(whole) if whole.lead or not told or whole.passed is False else "clean"
    if mine == "clean" and not whole.clean:
        mine = "none"
    return min((mine, *(strip.state for strip in told)), key=ORDER.index)


def _leading(
    judgement: Judgement, told: Sequence[Strip], whole: Answer
) -> tuple[Answer | None, Finding | None]:
    """Returns the answer of the worst head and what it speaks of first; the whole network's where no head has any."""
    answers = present(judgement.answer(strip.head) for strip in told)
    for answer in (*answers, whole):
        if answer.lead:
            return answer, answer.lead
    # Of heads without a fault it speaks of one that somebody has yet to look at.
    unclean = (answer for answer in answers if not answer.clean)
    return next(unclean, next(iter(answers), None)), None


# The sentence


def _text(judgement: Judgement, told: Sequence[Strip], whole: Answer) -> str:
    if not any(result.status.ok for result in judgement.cells):
        return _nothing_ran(judgement)
    parts = distinct(_events(judgement, whole))
    shown = parts[:2]
    more = len(parts) - len(shown)
    if shown:
        rest = f", and {count(more, 'more finding')}" if more else ""
        joined = ", and ".join([shown[0], *(_small(event) for event in shown[1:])])
        return f"{capital(joined)}{rest}."
    kept = harm(judgement, told)
    open_ = _undecided(judgement)
    if open_:
        # What it keeps was measured all the same; open is only what would be to blame.
        return f"{capital(kept)}; {_small(open_)}" if kept else open_
    if whole.clean:
        if not any(map(_is_int8, judgement.cells)):
            return "Nothing is wrong in floating point; no cell of this matrix is int8."
        return f"Nothing is wrong{': ' + kept if kept else ''}."
    if kept:
        return f"{capital(kept)}."
    if not any(result.status.ok for result in judgement.cells if _is_int8(result)):
        return "No cell in int8 ran, and nothing was found in the others."
    return "Nothing was found, but not all was looked at."


def _is_int8(result: CellResult) -> bool:
    return result.pass_.is_int8


def _small(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _nothing_ran(judgement: Judgement) -> str:
    if not judgement.cells:
        return "Nothing was planned."
    reasons = distinct(
        (result.reason or str(result.status).replace("_", " ")).split("\n")[0].rstrip(".")
        for result in judgement.cells
    )
    return f"Nothing ran: {'; '.join(reasons[:MOST])}."


def _undecided(judgement: Judgement) -> str:
    """Returns of which heads what is not decided; empty where nothing is open. What would decide it is the remedy."""
    leads = [(answer.head, answer.lead) for answer in judgement.answers]
    heads = grouped(
        (finding.fault.partition(PERHAPS)[2], head)
        for head, finding in leads
        if finding and finding.kind is Kind.INCONCLUSIVE
    )
    if not heads:
        return ""
    whose, names = next(iter(heads.items()))
    loses = f"{listed(names, 3)} lose{'s' if len(names) == 1 else ''} by"
    return f"{f'Whether {loses} {whose}' if whose else f'What {loses}'} is not decided."


def _events(judgement: Judgement, whole: Answer) -> Iterable[str]:
    """Yields what is wrong, in the order in which a person must deal with it."""
    by_kind = grouped(
        (finding.kind, (answer.head, finding))
        for answer in judgement.answers
        for finding in answer.findings
    )
    broken = by_kind.get(Kind.BROKEN_OUTPUT, ())
    for text, heads in grouped((finding.fault, head) for head, finding in broken).items():
        yield f"{text} ({listed(heads, MOST)})"
    fp32 = by_kind.get(Kind.FP32_REGRESSION, ())
    for names, heads in grouped(
        (listed(finding.environments, MOST), head) for head, finding in fp32
    ).items():
        yield f"FP32 is already wrong in {names} ({listed(heads, MOST)})"
    loses = harm(judgement, strips(judgement), worst_only=True)
    if loses:
        yield loses
    failed = [
        finding.fault
        for finding in whole.findings
        if finding.kind is Kind.COULD_NOT_RUN and not finding.planned
    ]
    if failed:
        yield listed(failed, 2)
    for kind, name in FLOATS.items():
        if kind in by_kind:
            heads = distinct(head for head, _ in by_kind[kind])
            yield f"{name} loses more than its rounding in {_places(by_kind[kind])} ({listed(heads, MOST)})"
    if Kind.NOTHING_QUANTISED in by_kind:
        yield f"nothing ran in INT8 in {_places(by_kind[Kind.NOTHING_QUANTISED])}: no gain, no loss"


def _places(findings: Iterable[tuple[str, Finding]]) -> str:
    return listed(distinct(name for _, finding in findings for name in finding.environments), MOST)


# What to do


def _remedy(
    judgement: Judgement, told: Sequence[Strip], answer: Answer | None, whole: Answer
) -> tuple[str, bool | None]:
    fix = best_fix(judgement.fixes)
    if fix and whole.severity.matters:
        return (
            f"{capital(fix.action)}: {reached(judgement, fix, [strip.head for strip in told])}",
            fix.basis is Basis.MEASURED,
        )
    if whole.clean:
        return "", None
    held = [strip for strip in told if strip.measured and strip.remedy.startswith(KEEP)]
    if held:
        names = [strip.remedy.removeprefix(KEEP).removesuffix(OUT) for strip in held[:MOST]]
        reach = ", ".join(f"{strip.head} {strip.reaches}" for strip in held[:MOST])
        return f"{KEEP}{listed(names)}{OUT}: {reach}", True
    first = next((strip for strip in told if strip.reaches), None)
    if first and first.state in ("severe", "visible"):
        return f"{capital(first.remedy)}: {first.head} {first.reaches}", first.measured
    advice = answer.advice if answer else whole.advice
    return ("" if advice.startswith("Nothing to do") else advice), None


# Facts


def _facts(
    judgement: Judgement,
    told: Sequence[Strip],
    answer: Answer | None,
    finding: Finding | None,
    whole: Answer,
) -> Iterable[Fact]:
    fix = best_fix(judgement.fixes)
    facts = (
        Fact("Whose", whose(told, whole)),
        Fact("Since", since(judgement, answer, finding)),
        Fact("How sure", how_sure(answer) if answer else ""),
        Fact(FIX_COSTS, fix_cost(judgement, fix) if fix and whole.severity.matters else ""),
        Fact("Not run", _not_run(judgement)),
        Fact("Send to", send_to(judgement, answer, finding, whole)),
    )
    return (fact for fact in facts if fact.text)


def _not_run(judgement: Judgement) -> str:
    """Returns how many cells were not run and why; empty of a matrix without cells."""
    left = judgement.facts.get("unselected")
    rest = ""
    if isinstance(left, int) and left:
        rest = f"{count(left, 'cell')} of matrix.yaml not selected"
    idle = [result for result in judgement.cells if not result.status.ok]
    if not idle:
        return (rest or "nothing was left out") if judgement.cells else ""
    reasons = distinct(
        f"{str(result.status).replace('_', ' ')}: {_brief(result)}" for result in idle
    )
    more = [f"{len(reasons) - 2} more reasons"] if len(reasons) > 2 else []
    parts = (*reasons[:2], *more, *([rest] if rest else []))
    return f"{len(idle)} of {count(len(judgement.cells), 'cell')}: {'; '.join(parts)}"


def _brief(result: CellResult) -> str:
    """Returns at which operator it stopped, where the engine says so: two versions say that in two ways."""
    if operator := operator_of(result):
        return f"at {operator}"
    line = (result.reason or "no reason recorded").strip().split("\n")[0].rstrip(".")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"
