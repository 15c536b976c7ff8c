"""The six questions that bring people here, each with yes, no or unknown, one number, and why; pure.

`No` needs something that was looked at: what nobody has seen is `Unknown`, and says what would tell.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from trt_matrix.core.answer import BOXES, HARM_UNKNOWN, Finding
from trt_matrix.core.answers.causes import NOBODYS
from trt_matrix.core.answers.choices import tested
from trt_matrix.core.answers.findings import DECODE_SAYS, GATE_SAYS
from trt_matrix.core.answers.harm import MATTERS, harm, whole_boxes
from trt_matrix.core.answers.headline import Headline
from trt_matrix.core.answers.per_head import OF_VERSION
from trt_matrix.core.answers.since import alike, environments_of, run_of
from trt_matrix.core.answers.strips import Strip, best_fix
from trt_matrix.core.collecting import distinct, grouped, present
from trt_matrix.core.fix import Basis, FixKind
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rounding import ap_change, db_apart
from trt_matrix.core.verdicts.verdict import KINDS, Kind
from trt_matrix.core.words import capital, count, listed, verb
from trt_matrix.report import reasoning
from trt_matrix.report.formatting import MINUS, fixed

YES, NO, UNKNOWN = "Yes", "No", "Unknown"
MOST = 0.5
"""A cause with a larger share of the error is what it mostly is."""


class ToldAnswer(NamedTuple):
    answer: str
    number: str
    why: str


class PageQuestion(NamedTuple):
    question: str
    answer: str
    """`Yes`, `No` or `Unknown`."""
    number: str
    """The one that says so; a dash where there is none."""
    why: str
    """One sentence."""
    evidence: str
    """All that was seen."""
    section: str
    """Id of the part of the page that shows it."""
    title: str
    """What that part is called."""


def questions(judgement: Judgement, headline: Headline) -> tuple[PageQuestion, ...]:
    """Returns the six questions in the order in which one asks them."""
    strips = headline.strips
    sections = {
        "harm": ("matrix", "Matrix") if judgement.boxless else ("boxes", "Boxes"),
        "versions": ("matrix", "Matrix"),
        "table": ("tables", "Calibration tables"),
        "budget": ("budget", "Error budget"),
        "layers": ("layers", "Layers"),
    }
    asked = (
        ("Does it matter?", _matters(judgement, headline), reasoning.harm, "harm"),
        ("Is it a version's fault?", _version(judgement, strips), reasoning.version_or_calibration, "versions"),
        ("Is it the calibration's?", _calibration(judgement, strips), reasoning.calibration, "table"),
        ("Is it 8 bits' own?", _limit(judgement, strips), reasoning.limit, "budget"),
        ("Is it a few layers?", _layers(judgement), reasoning.layers, "layers"),
        ("Is a custom layer to blame?", _custom(judgement, strips), reasoning.custom, "layers"),
    )  # fmt: skip
    return tuple(
        PageQuestion(question, *answer, evidence(judgement), *sections[section])
        for question, answer, evidence, section in asked
    )


def _matters(judgement: Judgement, headline: Headline) -> ToldAnswer:
    failed = judgement.gates_failed
    gated = sum(strip.gated for strip in headline.strips)
    drops = present(strip.ap_drop for strip in headline.strips)
    whole, reference = whole_boxes(judgement), judgement.reference_ap
    clause = harm(judgement, headline.strips)
    why = f"{capital(clause)}." if clause else headline.text
    number = "–"
    if whole and reference is not None:
        number = _ap(max(present(errors.ap_drop for errors in whole), default=0.0), reference)
    elif failed:
        number = f"{len(failed)} of {count(max(gated, len(failed)), 'gate')}"
    elif whole:
        number = f"{max(errors.total.lost for errors in whole):g} boxes"
    elif drops:
        number = f"{MINUS}{max(drops):.3f} AP"
    elif gone := sum(result.status.failed for result in judgement.cells):
        number = f"{gone} of {count(len(judgement.cells), 'cell')}"
    if headline.state in MATTERS:
        return ToldAnswer(YES, number, why)
    if not any(
        result.status.ok and result.heads and result.pass_.is_int8 for result in judgement.cells
    ):
        none = _no_int8(judgement) if headline.state == "clean" else None
        return none or ToldAnswer(UNKNOWN, number, why)
    unknown = HARM_UNKNOWN.intersection(
        what for answer in judgement.answers for what in answer.unseen
    )
    if unknown:
        how = DECODE_SAYS if BOXES in unknown else GATE_SAYS
        return ToldAnswer(UNKNOWN, number, f"{why} To know: {how}.")
    return ToldAnswer(NO, number, why)


def _ap(drop: float, reference: float) -> str:
    """Returns `−0.007 AP`, what the headline's two numbers differ by."""
    lost = ap_change(reference, drop).drop
    return f"{MINUS if float(lost) > 0 else ''}{lost.removeprefix('-')} AP"


def _version(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    order = environments_of(judgement, int8=False)
    if not order:
        return ToldAnswer(UNKNOWN, "–", "No cell gave a result.")
    number = _apart(judgement)
    named = [
        finding
        for finding in judgement.findings
        if finding.kind in (*OF_VERSION, Kind.BROKEN_OUTPUT, Kind.COULD_NOT_RUN)
        and finding.environments
        and (finding.fails or finding.severity.matters)
        and not finding.beaten
    ]
    if named:
        return _of_named(judgement, named, number)
    heads = {strip.head for strip in strips}
    if any(choice.head in heads and tested(choice) for choice in judgement.choices):
        return ToldAnswer(
            NO,
            number,
            "Builds of one version with one table differ by the layers that they chose to run in int8.",
        )
    if len(order) < 2:
        return ToldAnswer(UNKNOWN, "1 version", "Another version would tell.")
    equal = alike(judgement, judgement.heads)
    if equal:
        within = (
            "to the bit"
            if all(same.same_bits for same in equal)
            else f"within {max(same.within_db for same in equal):.1f} dB (95 %)"
        )
        apart = _apart(judgement, {(same.head, same.device, same.pass_) for same in equal})
        return ToldAnswer(
            NO, apart, f"{run_of(equal[0].environments, order)} lose the same {within}."
        )
    small = [
        finding
        for finding in judgement.findings
        if finding.kind in OF_VERSION and not finding.beaten
    ]
    if small and not any(finding.severity.matters for finding in small):
        return ToldAnswer(NO, number, f"{capital(small[0].fault)}: real, and too small to see.")
    return ToldAnswer(
        UNKNOWN, number, f"That versions lose the same {_shown(judgement)}, and no test names one."
    )


def _of_named(judgement: Judgement, named: Sequence[Finding], number: str) -> ToldAnswer:
    """Returns whether findings that name versions make it a version's fault."""
    tried = {result.environment for result in judgement.judged if not result.status.never_started}
    # What is so in all of them is none's, whatever else some of them do.
    of_some = [
        finding
        for finding in named
        if finding.kind in OF_VERSION or not tried.issubset(finding.environments)
    ]
    named = of_some or named
    faults = capital(listed(distinct(finding.fault for finding in named), 2))
    bad = {name for finding in named for name in finding.environments}
    versions = f"{len(bad)} of {count(len(tried), 'version')}"
    if len(tried) < 2:
        shown = versions if number == "–" else number
        return ToldAnswer(UNKNOWN, shown, f"{faults}; another version would tell.")
    if not of_some:
        return ToldAnswer(NO, versions, f"{faults}: all that were tried.")
    return ToldAnswer(YES, versions if number == "–" else number, f"{faults}.")


def _shown(judgement: Judgement) -> str:
    """Returns where versions were shown to lose the same, where that is not everywhere."""
    heads = grouped((same.pass_, same.head) for same in judgement.equal if same.all)
    whole = [name for name, shown in heads.items() if set(shown) >= set(judgement.heads)]
    if whole:
        return f"was shown in {listed(whole, 3)} alone"
    some = distinct(head for shown in heads.values() for head in shown)
    return f"was shown of {listed(some, 3)} alone" if some else "was not shown"


def _apart(judgement: Judgement, of: Collection[tuple[str, str, str]] | None = None) -> str:
    """Returns the largest difference between environments of one device in one int8 pass of a head, in dB.

    `of` has the (head, device, pass) that count; None: all of them.
    """
    values = grouped(
        (key, head.sqnr_db)
        for result in judgement.judged
        if result.pass_.is_int8
        for head in result.heads
        for key in [(head.head, result.device, result.pass_.name)]
        if head.sqnr_db is not None and (of is None or key in of)
    )
    spreads = [db_apart(max(some), min(some)) for some in values.values() if len(some) > 1]
    return f"{fixed(max(spreads))} dB" if spreads else "–"


def _calibration(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    divided = [strip for strip in strips if strip.shares]
    # What a head in which nothing is wrong lost by its table is no answer to whose fault the harm is.
    divided = [strip for strip in divided if strip.state not in ("clean", "none")] or divided
    number = _percent(divided, "the table")
    findings = [
        finding
        for finding in judgement.findings
        if finding.kind in (Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION)
    ]
    leads = present(answer.lead for answer in judgement.answers)
    blamed = [finding for finding in leads if finding in findings and not finding.beaten]
    if blamed and not any("layer's:" in answer.fault for answer in judgement.answers):
        return ToldAnswer(YES, number, f"{capital(blamed[0].fault)}.")
    mostly = [strip.head for strip in divided if strip.shares and strip.shares.table >= MOST]
    if mostly:
        return ToldAnswer(
            YES, number, f"The table is the largest part of what {listed(mostly, 3)} lost."
        )
    if not divided:
        return _no_int8(judgement) or ToldAnswer(
            UNKNOWN, "–", "No table of an int8 cell could be simulated."
        )
    open_ = [
        answer.head
        for answer in judgement.answers
        if answer.lead
        and answer.lead.kind is Kind.INCONCLUSIVE
        and KINDS[Kind.CALIBRATION_PROBLEM].suspicion in answer.lead.fault
    ]
    saved = "So much of the error another table could save"
    if open_:
        return ToldAnswer(
            UNKNOWN, number, f"{saved}; whether it would for {listed(open_, 3)}, is not decided."
        )
    beaten = [finding.fault.removeprefix(NOBODYS) for finding in findings if finding.beaten]
    more = f"; {beaten[0]} costs more" if beaten else ""
    return ToldAnswer(NO, number, f"{saved}{more}.")


def _no_int8(judgement: Judgement) -> ToldAnswer | None:
    """Returns that nothing is quantised, of a matrix that has no int8 at all."""
    if any(result.pass_.is_int8 for result in judgement.cells):
        return None
    return ToldAnswer(NO, "0", "No cell of this matrix is int8.") if judgement.cells else None


def _limit(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    shares = {strip.head: strip.shares.limit for strip in strips if strip.shares}
    if not shares:
        return _no_int8(judgement) or ToldAnswer(UNKNOWN, "–", _undivided(strips))
    number = _percent(strips, "8 bits")
    mostly = [head for head, share in shares.items() if share >= MOST]
    rest = [head for head in shares if head not in mostly]
    if not rest:
        return ToldAnswer(
            YES, number, "Most of what every head lost, 8 bits lose with the best table known."
        )
    if mostly:
        answer = YES if strips[0].head in mostly else NO
        return ToldAnswer(
            answer, number, f"It is for {listed(mostly, 3)}, not for {listed(rest, 3)}."
        )
    return ToldAnswer(NO, number, f"{listed(rest, 3)} lost more than 8 bits must cost.")


def _undivided(strips: Sequence[Strip]) -> str:
    """Returns why no head's error has shares."""
    for strip in strips:
        if strip.best_db is not None:
            told = f"In exact 8-bit arithmetic the best table known keeps {strip.best_db:.1f} dB of {strip.head}"
            if strip.sqnr_db is None:
                return f"{told}; what was measured was not divided."
            measured = f"{told}, and {strip.sqnr_db:.1f} were measured"
            if db_apart(strip.sqnr_db, strip.best_db) > 0:
                return f"{measured}: more than that, so it was not divided."
            return f"{measured}: that was not divided."
    return "What 8 bits must cost was not computed: no table of an int8 cell is known."


def _percent(strips: Sequence[Strip], part: str) -> str:
    """Returns `14 to 97 %`: the share of one part in each head, with the numbers that the bars have."""
    told = [strip.shares.percents[part] for strip in strips if strip.shares]
    if not told:
        return "–"
    return f"{min(told)} %" if min(told) == max(told) else f"{min(told)} to {max(told)} %"


def _layers(judgement: Judgement) -> ToldAnswer:
    of = f" of {len(judgement.layers.network.layers)}" if judgement.layers else ""
    chosen = [choice for choice in judgement.choices if tested(choice)]
    names = distinct(name for choice in chosen or judgement.choices for name in choice.layers)
    number = f"{len(names)}{of}"
    if chosen:
        return ToldAnswer(YES, number, f"{listed(names, 3)}: held in float, every build recovered.")
    fix = best_fix([fix for fix in judgement.fixes if fix.kind is FixKind.LAYERS])
    if fix:
        how = "An engine showed it" if fix.basis is Basis.MEASURED else "Simulated, not yet run"
        words = [word for word in fix.what.split() if word.isdigit()]
        return ToldAnswer(YES, f"{words[0]}{of}" if words else "–", f"{capital(fix.what)}. {how}.")
    if judgement.diagnosis:
        search = judgement.diagnosis.search
        if search.chosen:
            return ToldAnswer(YES, f"{len(search.chosen.layers)}{of}", search.sentence)
        return ToldAnswer(NO, "0", search.sentence)
    if not judgement.choices:
        return ToldAnswer(
            UNKNOWN, "–", "No layer was tried alone: `trt-matrix diagnose latest` tries them."
        )
    return ToldAnswer(
        UNKNOWN,
        number,
        f"Builds that ran {listed(names, 3)} in int8 are worse; holding it in float would tell.",
    )


def _custom(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    if not judgement.custom:
        known = judgement.layers is not None or bool(judgement.facts)
        return ToldAnswer(NO if known else UNKNOWN, "0" if known else "–", "The network has none.")
    number = str(len(judgement.custom))
    if any(answer.fault.startswith("a custom layer's") for answer in judgement.answers):
        return ToldAnswer(YES, number, "Builds are worse where it runs in int8.")
    if judgement.blamed_on_custom:
        heads = listed(judgement.blamed_on_custom, 3)
        return ToldAnswer(
            UNKNOWN,
            number,
            f"The bad heads, and only they, lie behind it: {heads}. Holding it in float would tell.",
        )
    behind = judgement.behind_custom
    bad = [strip.head for strip in strips if strip.state in MATTERS]
    if not bad:
        return ToldAnswer(
            NO, number, f"{listed(behind, 3)} {verb('is', behind)} behind it, and no head is bad."
        )
    elsewhere = [head for head in bad if head not in behind]
    if elsewhere:
        return ToldAnswer(NO, number, f"{listed(elsewhere, 3)} is bad, and not behind it.")
    return ToldAnswer(
        UNKNOWN, number, f"{count(len(behind), 'head')} behind it, bad and good ones alike."
    )
