"""The six questions that bring people here, each with yes, no or unknown, one number, and why; pure.

`No` needs something that was looked at: what nobody has seen is `Unknown`, and says what would tell.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from trt_matrix.core.answer import BOXES, HARM_UNKNOWN, Answer
from trt_matrix.core.answers.causes import NOBODYS
from trt_matrix.core.answers.choices import tested
from trt_matrix.core.answers.findings import DECODE_SAYS, GATE_SAYS
from trt_matrix.core.answers.harm import harm, whole_boxes
from trt_matrix.core.answers.headline import Headline
from trt_matrix.core.answers.per_head import OF_VERSION
from trt_matrix.core.answers.since import alike, environments_of, run_of
from trt_matrix.core.answers.strips import Strip, best_fix
from trt_matrix.core.collecting import distinct
from trt_matrix.core.fix import Basis, FixKind
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rounding import ap_change, db_apart
from trt_matrix.core.severity import Severity
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
    drops = [strip.ap_drop for strip in headline.strips if strip.ap_drop is not None]
    whole, reference = whole_boxes(judgement), judgement.reference_ap
    clause = harm(judgement, headline.strips)
    why = f"{capital(clause)}." if clause else headline.text
    number = "–"
    if whole and reference is not None:
        number = _ap(
            max((errors.ap_drop for errors in whole if errors.ap_drop is not None), default=0.0),
            reference,
        )
    elif failed:
        number = f"{len(failed)} of {count(max(gated, len(failed)), 'gate')}"
    elif whole:
        number = f"{max(errors.changes['all'].lost for errors in whole):g} boxes"
    elif drops:
        number = f"{MINUS}{max(drops):.3f} AP"
    elif gone := sum(result.status.failed for result in judgement.cells):
        number = f"{gone} of {count(len(judgement.cells), 'cell')}"
    if headline.state in ("severe", "visible"):
        return ToldAnswer(YES, number, why)
    if not _measured(judgement):
        return (headline.state == "clean" and _no_int8(judgement)) or ToldAnswer(
            UNKNOWN, number, why
        )
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


def _measured(judgement: Judgement) -> bool:
    return any(
        result.status.ok and result.heads and result.pass_.is_int8 for result in judgement.cells
    )


def _version(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    order = environments_of(judgement, int8=False)
    if not order:
        return ToldAnswer(UNKNOWN, "–", "No cell gave a result.")
    apart = _apart(judgement)
    number = "–" if apart is None else f"{fixed(apart)} dB"
    named = [
        finding
        for finding in judgement.findings
        if finding.kind in (*OF_VERSION, Kind.BROKEN_OUTPUT, Kind.COULD_NOT_RUN)
        and finding.environments
        and (finding.fails or finding.severity.rank >= Severity.VISIBLE.rank)
        and not finding.beaten
    ]
    if named:
        tried = _tried(judgement)
        # What is so in all of them is none's, whatever else some of them do.
        some = [
            finding
            for finding in named
            if finding.kind in OF_VERSION or not tried.issubset(finding.environments)
        ]
        named = some or named
        faults = distinct(finding.fault for finding in named)
        bad = dict.fromkeys(name for finding in named for name in finding.environments)
        versions = f"{len(bad)} of {count(len(tried), 'version')}"
        if len(tried) > 1 and not some:
            return ToldAnswer(NO, versions, f"{capital(listed(faults, 2))}: all that were tried.")
        return ToldAnswer(
            YES if len(tried) > 1 else UNKNOWN,
            versions if apart is None else number,
            f"{capital(listed(faults, 2))}{'' if len(tried) > 1 else '; another version would tell'}.",
        )
    if any(
        choice.head in {each.head for each in strips} and tested(choice)
        for choice in judgement.choices
    ):
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
            if all(equivalence.same_bits for equivalence in equal)
            else f"within {max(equivalence.within_db for equivalence in equal):.1f} dB (95 %)"
        )
        seen = _apart(
            judgement,
            {(equivalence.head, equivalence.device, equivalence.pass_) for equivalence in equal},
        )
        told = "–" if seen is None else f"{fixed(seen)} dB"
        return ToldAnswer(
            NO, told, f"{run_of(equal[0].environments, order)} lose the same {within}."
        )
    small = [
        finding
        for finding in judgement.findings
        if finding.kind in OF_VERSION and not finding.beaten
    ]
    if small and all(finding.severity.rank <= Severity.HARMLESS.rank for finding in small):
        return ToldAnswer(NO, number, f"{capital(small[0].fault)}: real, and too small to see.")
    return ToldAnswer(
        UNKNOWN, number, f"That versions lose the same {_shown(judgement)}, and no test names one."
    )


def _tried(judgement: Judgement) -> set[str]:
    """Returns the environments of which something was started, whatever became of it."""
    return {
        result.environment
        for result in judgement.judged
        if result.status.ok or not result.status.never_started
    }


def _shown(judgement: Judgement) -> str:
    """Returns where versions were shown to lose the same, where that is not everywhere."""
    heads: dict[str, dict[str, None]] = {}
    for equivalence in judgement.equal:
        if equivalence.all:
            heads.setdefault(equivalence.pass_, {})[equivalence.head] = None
    whole = [name for name, head in heads.items() if set(head) >= set(judgement.heads)]
    if whole:
        return f"was shown in {listed(whole, 3)} alone"
    some = distinct(head for found in heads.values() for head in found)
    return f"was shown of {listed(some, 3)} alone" if some else "was not shown"


def _apart(
    judgement: Judgement, of: Collection[tuple[str, str, str]] | None = None
) -> float | None:
    """Returns the largest difference between environments of one device in one int8 pass of a head, in dB.

    `of` has the (head, device, pass) that count; None: all of them.
    """
    values: dict[tuple[str, str, str], list[float]] = {}
    for result in judgement.cells:
        if result.pass_.is_int8 and not result.pass_.mixed:
            for head in result.heads:
                key = (head.head, result.device, result.pass_.name)
                if head.sqnr_db is not None and (of is None or key in of):
                    values.setdefault(key, []).append(head.sqnr_db)
    spreads = [db_apart(max(some), min(some)) for some in values.values() if len(some) > 1]
    return max(spreads, default=None)


def _calibration(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    known = [strip for strip in strips if strip.shares]
    # What a head in which nothing is wrong lost by its table is no answer to whose fault the harm is.
    known = [strip for strip in known if strip.state not in ("clean", "none")] or known
    number = _percent(known, "the table")
    findings = [
        finding
        for finding in judgement.findings
        if finding.kind in (Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION)
    ]
    first = [answer.lead for answer in judgement.answers]
    blamed = [
        finding for finding in first if finding in findings and finding and not finding.beaten
    ]
    if blamed and not any("layer's:" in answer.fault for answer in judgement.answers):
        return ToldAnswer(YES, number, f"{capital(blamed[0].fault)}.")
    mostly = [strip.head for strip in known if strip.shares and strip.shares.table >= MOST]
    if mostly:
        return ToldAnswer(
            YES, number, f"The table is the largest part of what {listed(mostly, 3)} lost."
        )
    if not known:
        return _no_int8(judgement) or ToldAnswer(
            UNKNOWN, "–", "No table of an int8 cell could be simulated."
        )
    open_ = [answer.head for answer in judgement.answers if _perhaps_table(answer)]
    saved = "So much of the error another table could save"
    if open_:
        return ToldAnswer(
            UNKNOWN, number, f"{saved}; whether it would for {listed(open_, 3)}, is not decided."
        )
    beaten = [finding.fault.removeprefix(NOBODYS) for finding in findings if finding.beaten]
    more = f"; {beaten[0]} costs more" if beaten else ""
    return ToldAnswer(NO, number, f"{saved}{more}.")


def _perhaps_table(answer: Answer) -> bool:
    """Whether what is said first of a head is that it may be the table's."""
    first = answer.lead
    return bool(
        first
        and first.kind is Kind.INCONCLUSIVE
        and KINDS[Kind.CALIBRATION_PROBLEM].suspicion in first.fault
    )


def _no_int8(judgement: Judgement) -> ToldAnswer | None:
    """Returns that nothing is quantised, of a matrix that has no int8 at all."""
    if any(result.pass_.is_int8 for result in judgement.cells):
        return None
    return ToldAnswer(NO, "0", "No cell of this matrix is int8.") if judgement.cells else None


def _limit(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    shares = [(strip.head, strip.shares.limit) for strip in strips if strip.shares]
    if not shares:
        return _no_int8(judgement) or ToldAnswer(UNKNOWN, "–", _undivided(strips))
    number = _percent(strips, "8 bits")
    mostly = [head for head, share in shares if share >= MOST]
    if len(mostly) == len(shares):
        return ToldAnswer(
            YES, number, "Most of what every head lost, 8 bits lose with the best table known."
        )
    if mostly:
        rest = [head for head, _ in shares if head not in mostly]
        worst = strips[0].head
        answer = YES if worst in mostly else NO
        return ToldAnswer(
            answer, number, f"It is for {listed(mostly, 3)}, not for {listed(rest, 3)}."
        )
    return ToldAnswer(
        NO, number, f"{listed([head for head, _ in shares], 3)} lost more than 8 bits must cost."
    )


def _undivided(strips: Sequence[Strip]) -> str:
    """Returns why no head's error has shares."""
    known = next((strip for strip in strips if strip.best_db is not None), None)
    if known is None or known.best_db is None:
        return "What 8 bits must cost was not computed: no table of an int8 cell is known."
    told = f"In exact 8-bit arithmetic the best table known keeps {known.best_db:.1f} dB of {known.head}"
    if known.sqnr_db is None:
        return f"{told}; what was measured was not divided."
    if db_apart(known.sqnr_db, known.best_db) > 0:
        return (
            f"{told}, and {known.sqnr_db:.1f} were measured: more than that, so it was not divided."
        )
    return f"{told}, and {known.sqnr_db:.1f} were measured: that was not divided."


def _percent(strips: Sequence[Strip], part: str) -> str:
    """Returns `14 to 97 %`: the share of one part in each head, with the numbers that the bars have."""
    told = [strip.shares.percents[part] for strip in strips if strip.shares]
    if not told:
        return "–"
    return f"{min(told)} %" if min(told) == max(told) else f"{min(told)} to {max(told)} %"


def _layers(judgement: Judgement) -> ToldAnswer:
    of = f" of {len(judgement.layers.network.layers)}" if judgement.layers else ""
    chosen = [choice for choice in judgement.choices if tested(choice)]
    if chosen:
        names = distinct(name for choice in chosen for name in choice.layers)
        return ToldAnswer(
            YES, f"{len(names)}{of}", f"{listed(names, 3)}: held in float, every build recovered."
        )
    fix = best_fix([one for one in judgement.fixes if one.kind is FixKind.LAYERS])
    if fix:
        how = "An engine showed it" if fix.basis is Basis.MEASURED else "Simulated, not yet run"
        return ToldAnswer(YES, _count_of(fix.what, of), f"{capital(fix.what)}. {how}.")
    diagnosis = judgement.diagnosis
    if diagnosis and diagnosis.search.chosen:
        number = len(diagnosis.search.chosen.layers)
        return ToldAnswer(YES, f"{number}{of}", diagnosis.search.sentence)
    if diagnosis:
        return ToldAnswer(NO, "0", diagnosis.search.sentence)
    if not any(choice.head for choice in judgement.choices):
        return ToldAnswer(
            UNKNOWN, "–", "No layer was tried alone: `trt-matrix diagnose latest` tries them."
        )
    names = distinct(name for choice in judgement.choices for name in choice.layers)
    return ToldAnswer(
        UNKNOWN,
        f"{len(names)}{of}",
        f"Builds that ran {listed(names, 3)} in int8 are worse; holding it in float would tell.",
    )


def _count_of(what: str, of: str) -> str:
    words = [one for one in what.split() if one.isdigit()]
    return f"{words[0]}{of}" if words else "–"


def _custom(judgement: Judgement, strips: Sequence[Strip]) -> ToldAnswer:
    custom = judgement.custom
    if not custom:
        known = judgement.layers is not None or bool(judgement.facts)
        return ToldAnswer(NO if known else UNKNOWN, "0" if known else "–", "The network has none.")
    number = str(len(custom))
    if any(answer.fault.startswith("a custom layer's") for answer in judgement.answers):
        return ToldAnswer(YES, number, "Builds are worse where it runs in int8.")
    blamed = [
        lineage
        for lineage in judgement.lineage
        if any(each.custom for suspects in lineage.suspects for each in suspects.operators)
    ]
    if blamed:
        return ToldAnswer(
            UNKNOWN,
            number,
            f"The bad heads, and only they, lie behind it: {listed(blamed[0].bad, 3)}. Holding it in float would tell.",
        )
    behind = distinct(head for layer in custom for head in layer.heads)
    bad = [strip.head for strip in strips if strip.state in ("severe", "visible")]
    if not bad:
        return ToldAnswer(
            NO, number, f"{listed(behind, 3)} {verb('is', behind)} behind it, and no head is bad."
        )
    if any(head not in behind for head in bad):
        return ToldAnswer(
            NO,
            number,
            f"{listed([one for one in bad if one not in behind], 3)} is bad, and not behind it.",
        )
    return ToldAnswer(
        UNKNOWN, number, f"{count(len(behind), 'head')} behind it, bad and good ones alike."
    )
