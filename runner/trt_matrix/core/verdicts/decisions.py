"""Whose fault is it: hypotheses about one matrix, tested together, and the verdicts they give.

The method, its formulae and its limits are in docs/concepts/method.md.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.alike import alike
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.contrast import Contrast, ContrastView
from trt_matrix.core.verdicts.guard import builds_needed
from trt_matrix.core.verdicts.holm import holm
from trt_matrix.core.verdicts.hypotheses import HeadQuestions, Hypothesis, ask
from trt_matrix.core.verdicts.student import one_sided
from trt_matrix.core.verdicts.verdict import KINDS, MORE_REPEATS, Kind, Verdict
from trt_matrix.core.words import count

PLAUSIBLE = 0.1
"""Chance of as much without any effect, below which it is not called chance."""
TELLING_DB = 5.0
"""So much more error is looked into, however noisy the builds are."""
WORTH = 2.0
"""So many least effects between simulations are looked into where they are not decided."""
CARRIES = 0.5
"""An image with so much of the error carries the SQNR by itself."""
MOST_REPEATS = 50
"""More are not asked for."""


def verdicts(heads: Iterable[MeasuredHead], baseline: str, rules: Rules) -> tuple[Verdict, ...]:
    """Returns the verdicts of every cell and head; `ok` where nothing is found."""
    heads = list(heads)
    noises = Noises(heads, rules.float_build_db)
    hypotheses = ask(heads, baseline, noises, rules)
    decided = [
        verdict
        for kind in Kind
        for verdict in family_verdicts(
            [hypothesis for hypothesis in hypotheses if hypothesis.kind is kind], heads, rules
        )
    ]
    held = {cell.cell for head in heads for cell in head.cells if cell.held}
    told = _without_repeated_blame([*decided, *_more(alike(hypotheses, held, rules), decided)])
    spoken = {(verdict.cell, verdict.head) for verdict in told}
    for head in heads:
        asked = HeadQuestions(head, baseline, noises, rules)
        told += [
            _nothing_found(asked, cell)
            for cell in head.cells
            if (cell.cell, head.head) not in spoken
        ]
    return tuple(told)


def step_found(
    kind: Kind, noises: Noises, head: MeasuredHead, step: tuple[str, str], rules: Rules
) -> bool:
    """Says whether the effect is found between two other cells of one pass; all cells lend their noise.

    Args:
        kind: Of the effect: a regression of an engine, of a calibrator, or of both.
        noises: Of the whole matrix.
        head: The one that it was found in.
        step: Ids of two cells; the second may be worse.
        rules: When a difference counts.
    """
    cells = {cell.cell: cell for cell in head.cells}
    other, error = (cells[cell] for cell in step)
    asked = HeadQuestions(head, other.environment, noises, rules)
    if kind is Kind.CALIBRATOR_REGRESSION:
        hypothesis = asked.calibrators(error, other)
        return hypothesis is not None and hypothesis.p <= _level(kind, rules)
    hypothesis = asked.against_version(kind, error, other)
    return hypothesis.p <= _level(kind, rules) and not _held_back(hypothesis, 1, rules)


def _level(kind: Kind, rules: Rules) -> float:
    return (KINDS[kind].level or 0.0) / rules.looks


def _nothing_found(asked: HeadQuestions, cell: CellError) -> Verdict:
    """Returns `ok` with what would not have been seen."""
    base = asked.base_of(cell)
    head, gate = asked.head, asked.head.gate_nmse
    if cell.int8 and gate is not None and cell.sample.nmse > gate and not head.simulation(cell):
        return Verdict(
            kind=Kind.INCONCLUSIVE, cell=cell.cell, head=head.head, needs="its calibration table"
        )
    if base is None or (cell.int8 and (cell.table != base.table or not cell.quantised)):
        return Verdict(kind=Kind.OK, cell=cell.cell, head=head.head)
    compared = asked.versus(cell, base)
    bound = compared.bound()
    return Verdict(
        kind=Kind.OK,
        cell=cell.cell,
        head=head.head,
        against=base.cell,
        effect=compared.effect(asked.rules.least_effect),
        bound_db=bound / DB if math.isfinite(bound) else None,
    )


def _more(found: Iterable[Verdict], decided: Sequence[Verdict]) -> list[Verdict]:
    """Returns what the cells' own builds have not decided."""
    named = {(verdict.cell, verdict.head, verdict.kind) for verdict in decided}
    return [verdict for verdict in found if (verdict.cell, verdict.head, verdict.kind) not in named]


def _without_repeated_blame(told: Sequence[Verdict]) -> list[Verdict]:
    """Drops what only repeats another verdict of the same head and cell.

    A calibration problem is one of every version alike: where a cell's own calibrator
    alone makes the table bad, the baseline has none. An engine's loss is one of every version alike too:
    where the baseline has none, its regression says it. What was found is not suspected besides.
    """
    named = {(one.cell, one.head, one.kind) for one in told}
    suspected = {(one.cell, one.head, one.suspected) for one in told if one.suspected}
    by_cell = told_by_cell(told)

    def repeats(verdict: Verdict, general: Kind, special: Kind) -> bool:
        if general not in (verdict.kind, verdict.suspected):
            return False
        causes = [
            other
            for other in by_cell[verdict.cell, verdict.head]
            if special in (other.kind, other.suspected)
        ]
        return any(
            (other.against or "", verdict.head, general) not in named
            and (other.against or "", verdict.head, general) not in suspected
            for other in causes
        )

    return [
        one
        for one in told
        if (one.cell, one.head, one.suspected) not in named
        and not repeats(one, Kind.CALIBRATION_PROBLEM, Kind.CALIBRATOR_REGRESSION)
        and not repeats(one, Kind.ENGINE_LOSS, Kind.ENGINE_REGRESSION)
    ]


@dataclass(frozen=True, slots=True)
class _PooledTest:
    p: float
    pooled: float
    """Against no effect, with the noise of the whole pass."""


def family_verdicts(
    family: Sequence[Hypothesis], heads: Sequence[MeasuredHead], rules: Rules
) -> Iterable[Verdict]:
    """Tests one cause as one family, over all passes, heads and cells, and yields what is decided or left open.

    Not all causes together: a bad table is found in every cell with p near 0, and each such find
    would loosen the threshold for causes that only noise speaks for.
    """
    if not family:
        return
    kind = family[0].kind
    # Cells that share a table, or gave the same outputs, ask one question: it is tested once.
    tests: dict[object, _PooledTest] = {}
    for hypothesis in family:
        if _question(hypothesis) not in tests:
            tests[_question(hypothesis)] = _PooledTest(hypothesis.p, _pooled(hypothesis))
    level = _level(kind, rules)
    found = dict(zip(tests, holm([t.p for t in tests.values()], level), strict=True))
    likely = dict(
        zip(tests, holm([t.pooled for t in tests.values()], KINDS[kind].undecided), strict=True)
    )
    comparisons = _comparisons(family, len(heads))
    for hypothesis in family:
        key = _question(hypothesis)
        verdict = _decided(
            hypothesis,
            found=found[key],
            likely=likely[key],
            comparisons=comparisons,
            threshold=level / len(tests),
            rules=rules,
        )
        if verdict:
            yield verdict


def _question(hypothesis: Hypothesis) -> object:
    views = (
        hypothesis.contrast.sqnr.log,
        hypothesis.contrast.image.log,
        hypothesis.contrast.sqnr.builds,
    )
    return (hypothesis.head, views, tuple(also.sqnr.log for also in hypothesis.also))


def _comparisons(family: Sequence[Hypothesis], heads: int) -> int:
    """Returns how often builds that choose could look like a version: (E − 1) · H · free passes."""
    guarded = [hypothesis for hypothesis in family if hypothesis.guarded]
    versions = max((len(hypothesis.others) + 1 for hypothesis in guarded), default=1)
    return versions * heads * max(len({hypothesis.pass_ for hypothesis in guarded}), 1)


def _pooled(hypothesis: Hypothesis) -> float:
    return max(_pooled_p(each) for each in (hypothesis.contrast, *hypothesis.also))


def _pooled_p(contrast: Contrast) -> float:
    if not contrast.known:
        return 1.0
    views = (contrast.sqnr, contrast.image)
    return min(1.0, 2 * min(one_sided(v.log, v.images, *v.pooled) for v in views))


def _held_back(hypothesis: Hypothesis, comparisons: int, rules: Rules) -> bool:
    return hypothesis.guarded and comparisons * hypothesis.chance_of_builds() > rules.guard


def _decided(
    hypothesis: Hypothesis,
    *,
    found: bool,
    likely: bool,
    comparisons: int,
    threshold: float,
    rules: Rules,
) -> Verdict | None:
    """Returns the verdict, `inconclusive`, or None where there is nothing to tell."""
    if not hypothesis.large:
        return _one_image(hypothesis)
    if found:
        if not _held_back(hypothesis, comparisons, rules):
            return _verdict(hypothesis, hypothesis.kind)
        return _open(
            hypothesis, _more_builds(hypothesis, comparisons, rules), _why_held(hypothesis)
        )
    if not hypothesis.contrast.known:
        return _unknown(hypothesis, comparisons, rules)
    own = max(each.p(0.0) for each in (hypothesis.contrast, *hypothesis.also))
    telling = (
        hypothesis.contrast.sqnr.log >= TELLING_DB * DB
        and hypothesis.contrast.image.log >= hypothesis.least
    )
    # Where builds cannot differ nothing but other images is unknown: what is hardly worth it is not chased.
    worth = hypothesis.contrast.varies or hypothesis.contrast.largest() >= WORTH * hypothesis.least
    if worth and ((likely and own <= PLAUSIBLE) or telling):
        needs = _needs(hypothesis, threshold)
        if _held_back(hypothesis, comparisons, rules) and MORE_REPEATS.fullmatch(needs):
            more = max(
                int(needs.split()[0]), int(_more_builds(hypothesis, comparisons, rules).split()[0])
            )
            needs = count(more, "more repeat")
        return _open(hypothesis, needs)
    return _one_image(hypothesis)


def _verdict(hypothesis: Hypothesis, kind: Kind, **more: object) -> Verdict:
    return Verdict(
        kind=kind,
        cell=hypothesis.cell,
        head=hypothesis.head,
        against=hypothesis.against,
        effect=hypothesis.contrast.effect(hypothesis.least),
        **more,  # type: ignore[arg-type]
    )


def _open(hypothesis: Hypothesis, needs: str, why: str | None = None) -> Verdict:
    return _verdict(hypothesis, Kind.INCONCLUSIVE, needs=needs, why=why, suspected=hypothesis.kind)


def _one_image(hypothesis: Hypothesis) -> Verdict | None:
    """Returns that one image says one thing, and the others another; None where it is not so."""
    seen = hypothesis.contrast
    sides = [side.sample for side in (seen.one, seen.other)]
    carried = max(float(sample.weights.max()) for sample in sides)
    if (
        sides[0].images < 2
        or carried < CARRIES
        or seen.sqnr.log < hypothesis.least
        or seen.image.log > -hypothesis.least
    ):
        return None
    why = (
        f"one image has {math.floor(100 * carried)} % of the error and says so, the typical image says the "
        "opposite"
    )
    return _open(hypothesis, "more evaluation images", why)


def _unknown(hypothesis: Hypothesis, comparisons: int, rules: Rules) -> Verdict | None:
    """With one build, nobody knows what the next one does; it is told where these images show it."""
    views: tuple[ContrastView, ContrastView] = (hypothesis.contrast.sqnr, hypothesis.contrast.image)
    if hypothesis.contrast.one.sample.images < 2:
        return _open(hypothesis, "more evaluation images", "one image says nothing of others")
    if 2 * min(one_sided(view.log, view.images) for view in views) > PLAUSIBLE / 2:
        return _one_image(hypothesis)
    return _open(
        hypothesis,
        _more_builds(hypothesis, comparisons, rules),
        "one build says nothing of the next",
    )


def _why_held(hypothesis: Hypothesis) -> str:
    cell, other = (side.sample for side in (hypothesis.contrast.one, hypothesis.contrast.other))
    whole = "all" if cell.sqnr_logs.min() > other.sqnr_logs.max() else "most of the"
    builds = f"the {other.repeats} of {hypothesis.against.split('/')[0]}"
    than = "exact arithmetic, and builds of other versions are better" if other.exact else builds
    often = max(round(1 / hypothesis.chance_of_builds()), 1)
    return (
        f"{whole} {count(cell.repeats, 'build')} are worse than {than}; builds that choose anew do this up "
        f"to 1 time in {often}"
    )


def _more_builds(hypothesis: Hypothesis, comparisons: int, rules: Rules) -> str:
    versions = len(hypothesis.others) + 2
    least = builds_needed(versions, comparisons, rules.guard) if hypothesis.guarded else 3
    have = max(hypothesis.contrast.builds, 1)
    return count(max(max(least, 3) - have, 1), "more repeat")


def _needs(hypothesis: Hypothesis, threshold: float) -> str:
    """Returns what would decide: repeats, if so many more of the same kind would; else images.

    Where the images say it already, and builds differ too much, more images are no help either.
    """
    have = max(hypothesis.contrast.builds, 1)
    contrasts = (hypothesis.contrast, *hypothesis.also)
    for repeats in range(have + 1, MOST_REPEATS + 1):
        if max(_with_repeats(each, repeats, hypothesis.least) for each in contrasts) <= threshold:
            return count(repeats - have, "more repeat")
    if max(_of_images(each, hypothesis.least) for each in contrasts) <= threshold:
        return f"more than {MOST_REPEATS} repeats"
    return "more evaluation images"


def _of_images(contrast: Contrast, least: float) -> float:
    """Returns p, if builds did not differ at all."""
    views = (contrast.sqnr, contrast.image)
    return min(1.0, 2 * min(one_sided(view.log - least, view.images) for view in views))


def _with_repeats(contrast: Contrast, repeats: int, least: float) -> float:
    """Returns p, if there were so many repeats and nothing else changed."""

    def grown(view: ContrastView) -> float:
        have = max(contrast.builds, 1)
        builds = [
            (variance * have / repeats, max(degrees, 1) * (repeats - 1) / max(have - 1, 1))
            for variance, degrees in view.builds
        ]
        return one_sided(view.log - least, view.images, *builds)

    return min(1.0, 2 * min(grown(contrast.sqnr), grown(contrast.image)))


def told_by_cell(found: Iterable[Verdict]) -> Mapping[tuple[str, str | None], tuple[Verdict, ...]]:
    """Returns (cell, head) → its verdicts."""
    told: dict[tuple[str, str | None], tuple[Verdict, ...]] = {}
    for verdict in found:
        told[verdict.cell, verdict.head] = (*told.get((verdict.cell, verdict.head), ()), verdict)
    return told
