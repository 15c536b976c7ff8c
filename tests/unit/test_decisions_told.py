"""What is said of what is not decided: how many repeats or images would decide, why, and of which cell and head."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from tests.unit.made_cells import cell, errors, free, judged, worse
from tests.unit.test_verdict_borders import (
    CHOSEN,
    CLEAR,
    ENERGY,
    LEAST,
    SIDES,
    UNKNOWN,
    at,
    built,
    decided,
    four,
    known,
    made,
    one_image,
)
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.cell_errors import CellError, Noises
from trt_matrix.core.verdicts.contrast import ContrastView
from trt_matrix.core.verdicts.decisions import family_verdicts, step_found
from trt_matrix.core.verdicts.guard import builds_needed, chance
from trt_matrix.core.verdicts.hypotheses import Hypothesis
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.verdict import Kind, Verdict

GUARD = Rules().guard


def verdict_of(hypothesis: Hypothesis, heads: int = 1) -> Verdict:
    (verdict,) = family_verdicts([hypothesis], [errors([cell("base", 0.004)])] * heads, Rules())
    return verdict


def with_images(count: int, nmse: float, carried: float = 0.6) -> Sample:
    """Returns one build of so many images, the first of which has that share of the error."""
    shares = np.array([carried, *[(1 - carried) / (count - 1)] * (count - 1)]) if count > 1 else 1.0
    energy = np.full(count, 10.0)
    return Sample((nmse * energy.sum() * np.ones(count) * shares)[None], energy)


# Nothing found


def test_int8_beyond_the_gate_whose_table_is_unknown_asks_for_the_table() -> None:
    (verdict,) = judged(cell("base", 0.004), cell("new", 0.02), gate=0.01)["new"]
    assert verdict.kind is not Kind.OK
    alone = judged(cell("base", 0.02), gate=0.01)["base"]
    assert [(told.kind, told.cell, told.head, told.needs) for told in alone] == [
        (Kind.INCONCLUSIVE, "base/cpu/int8-shared", "small", "its calibration table")
    ]


@pytest.mark.parametrize(
    ("changes", "compared"), [({}, True), ({"table": "s"}, False), ({"quantised": False}, False)]
)
def test_well_is_bounded_against_the_baseline_with_the_same_table_alone(
    changes: dict[str, object], *, compared: bool
) -> None:
    cells = cell("base", 0.004), cell("new", 0.004, **changes)
    oks = [told for told in judged(*cells, t=0.004, s=0.004)["new"] if told.kind is Kind.OK]
    for verdict in oks:
        assert (verdict.against is not None) is compared
        assert (verdict.bound_db is not None) is compared
    assert oks or changes == {"quantised": False}


# The same told twice


def test_a_loss_that_the_baseline_is_suspected_of_too_is_told_beside_the_regression() -> None:
    """Where the baseline has none, the regression says it alone."""

    def of(base: CellError) -> list[set[Kind | None]]:
        told = judged(base, cell("new", worse(14)), gate=None, t=0.004)
        return [
            {verdict.suspected or verdict.kind for verdict in told[name]}
            for name in ("base", "new")
        ]

    assert of(cell("base", 0.004)) == [{Kind.OK}, {Kind.ENGINE_REGRESSION}]
    noisy = free("base", worse(3), worse(3.5), worse(4))
    assert of(noisy) == [{Kind.ENGINE_LOSS}, {Kind.ENGINE_REGRESSION, Kind.ENGINE_LOSS}]


# Builds that choose


def test_a_step_between_two_cells_is_one_comparison() -> None:
    """Four builds of the one and three of the other: 0.84 % by chance, and 0.9 % may be."""
    one, other = np.ones(4), np.zeros(3)
    assert chance(one, other, []) < GUARD < 2 * chance(one, other, [])
    new = free("new", *[worse(6 + 0.001 * place) for place in range(4)])
    for builds, found in ((3, True), (2, False)):
        mid = free("mid", *[worse(0.001 * place) for place in range(builds)])
        head = errors([mid, new], t=0.004)
        step = (mid.cell, new.cell)
        noises = Noises([head], 1.5)
        assert step_found(Kind.ENGINE_REGRESSION, noises, head, step, Rules()) is found


@pytest.mark.parametrize(
    ("tables", "found"), [(("s", "bad"), True), (("bad",), False), (("s",), False)]
)
def test_a_calibrators_step_needs_both_tables_known(
    tables: tuple[str, ...], *, found: bool
) -> None:
    cells = [
        cell(name, 0.02, own=True, table=table) for name, table in (("mid", "s"), ("new", "bad"))
    ]
    known_tables = {table: {"s": 0.004, "bad": 0.016}[table] for table in tables}
    head = errors(cells, **known_tables)
    step = (cells[0].cell, cells[1].cell)
    noises = Noises([head], 1.5)
    assert step_found(Kind.CALIBRATOR_REGRESSION, noises, head, step, Rules()) is found


@pytest.mark.parametrize("heads", [1, 2, 40])
def test_of_one_build_that_may_choose_as_many_are_asked_for_as_leave_no_luck(heads: int) -> None:
    """How builds differ is not known: nothing but what luck may do says how many."""
    view = ContrastView(at(0.01, 0.04), known(0.04), (), ())
    once = (built(0.016), built(0.004))
    verdict = verdict_of(made(view, samples=once, noise=UNKNOWN, guarded=True), heads)
    needed = builds_needed(2, heads, GUARD)
    assert verdict.needs == f"{needed - 1} more repeats"
    assert verdict.why == "one build says nothing of the next"
    assert [builds_needed(2, some, GUARD) for some in (1, 2, 40)] == [4, 4, 7]


def test_every_other_version_whose_builds_are_alike_saves_builds() -> None:
    others = [cell(name, 0.004, sample=four(0.004)) for name in "abcdef"]
    view = ContrastView(at(0.01, 0.04), known(0.04), (), ())
    once = (built(0.016), built(0.004))
    needs = [
        verdict_of(made(view, samples=once, noise=UNKNOWN, guarded=True, others=some), 9).needs
        for some in ([], others)
    ]
    assert needs == [f"{builds_needed(versions, 9 * (versions - 1), GUARD) - 1} more repeats" for versions in (2, 8)]  # fmt: skip
    assert needs[0] != needs[1]


@pytest.mark.parametrize(("heads", "by"), [(1, "t"), (200, "luck")])
def test_of_what_is_looked_into_both_the_noise_and_luck_say_how_many(heads: int, by: str) -> None:
    """Student's t asks for so many repeats, builds that choose for others: the larger number is asked for."""
    view = ContrastView(0.7, known(0), ((0.02, 2.0),), (known(1e-6),))
    three = (built(0.016, 0.016, 0.016), built(0.004, 0.004, 0.004))
    ((kind, plain),) = decided(made(view, samples=three), heads=heads)
    ((_, guarded),) = decided(made(view, samples=three, guarded=True), heads=heads)
    assert kind is Kind.INCONCLUSIVE
    assert plain
    assert guarded
    by_luck = builds_needed(2, heads, GUARD) - 3
    assert int(guarded.split()[0]) == max(int(plain.split()[0]), by_luck)
    assert (guarded == plain) is (by == "t")
    assert guarded.endswith(" more repeats")


def test_why_it_is_held_back_names_the_builds_and_how_often_luck_does_it() -> None:
    def why(samples: tuple[Sample, Sample], *others: CellError) -> str | None:
        hypothesis = made(CLEAR, samples=samples, guarded=True, others=others)
        return verdict_of(hypothesis, heads=3).why

    said = "builds that choose anew do this up to 1 time in"
    assert why(CHOSEN) == f"all 4 builds are worse than the 4 of base; {said} 256"
    some = (built(0.016, 0.016, 0.016, 0.003), four(0.004))
    often = round(1 / chance(np.log([0.016, 0.016, 0.016, 0.003]), np.log([0.004] * 4), []))
    assert why(some) == f"most of the 4 builds are worse than the 4 of base; {said} {often}"
    touching = (built(0.016, 0.004), built(0.004, 0.004))
    assert (why(touching) or "").startswith("most of the 2 builds are worse than the 2 of base;")
    simulated = (four(0.016), Sample(np.stack([0.004 * ENERGY]), ENERGY, exact=True))
    assert (why(simulated, cell("other", 0.004, sample=four(0.004))) or "").startswith(
        "all 4 builds are worse than exact arithmetic, and builds of other versions are better; "
    )


# One image


def test_one_image_says_nothing_of_others_and_two_do() -> None:
    log = at(0.01, 0.04)
    views = (ContrastView(log, known(0.04), (), ()), ContrastView(log, known(0.04), (), ()))

    def asked(images: int) -> Verdict:
        samples = (with_images(images, 0.016), with_images(images, 0.004))
        return verdict_of(made(*views, samples=samples, noise=UNKNOWN))

    alone = asked(1)
    assert (alone.kind, alone.needs) == (Kind.INCONCLUSIVE, "more evaluation images")
    assert alone.why == "one image says nothing of others"
    assert asked(2).why == "one build says nothing of the next"


def test_of_two_images_one_may_say_the_opposite_of_the_other() -> None:
    views = (
        ContrastView(1.01 * LEAST, known(100), (), ()),
        ContrastView(-1.01 * LEAST, known(100), (), ()),
    )
    samples = (with_images(2, 0.016), with_images(2, 0.004))
    assert (verdict_of(made(*views, samples=samples)).why or "").startswith("one image has 60 %")
    assert one_image(), "as of ten"


# What would decide

LOUD = 1.3
"""5.6 dB: looked into, however noisy the builds are."""
QUIET = ContrastView(1.01 * LEAST, known(100), (known(100),), ())


def p_of(variance: float, builds: int, repeats: int, degrees: float) -> float:
    """Returns p of LOUD with so many repeats, by Student's t."""
    spread = math.sqrt(variance * builds / repeats)
    freedom = degrees * (repeats - 1) / max(builds - 1, 1)
    return float(2 * student.sf((LOUD - LEAST) / spread, freedom))


@pytest.mark.parametrize("share", SIDES)
def test_fifty_repeats_are_the_most_that_are_asked_for(share: float) -> None:
    """Of three builds, whose variance is such that fifty would just decide, or just not."""
    variance = share * 50 / 3 * ((LOUD - LEAST) / float(student.isf(0.0025, 49))) ** 2
    assert (p_of(variance, 3, 50, 2) <= 0.005) is (share < 1)
    assert p_of(variance, 3, 49, 2) > 0.005
    view = ContrastView(LOUD, known(0), ((variance, 2.0),), ())
    ((_, needs),) = decided(made(view, QUIET))
    assert needs == ("47 more repeats" if share < 1 else "more than 50 repeats")


@pytest.mark.parametrize("share", SIDES)
def test_images_are_asked_for_where_no_number_of_builds_would_decide(share: float) -> None:
    """The images alone say it at so much of the level; builds differ by far too much."""
    images = ((LOUD - LEAST) / at(share * 0.005, 1.0)) ** 2
    view = ContrastView(LOUD, known(images), ((1e4, 2.0),), ())
    ((_, needs),) = decided(made(view, QUIET))
    assert needs == ("more than 50 repeats" if share < 1 else "more evaluation images")


def test_images_that_would_decide_are_asked_for_though_builds_may_choose() -> None:
    view = ContrastView(LOUD, known(0.2), ((1e4, 2.0),), ())
    ((kind, needs),) = decided(made(view, QUIET, guarded=True), heads=200)
    assert (kind, needs) == (Kind.INCONCLUSIVE, "more evaluation images")


@pytest.mark.parametrize(("builds", "degrees"), [(1, 1.0), (2, 1.0), (3, 2.0)])
@pytest.mark.parametrize("variance", [0.05, 0.2])
def test_repeats_are_counted_from_those_there_are(
    builds: int, degrees: float, variance: float
) -> None:
    samples = (built(*[0.016] * builds), built(*[0.004] * builds))
    view = ContrastView(LOUD, known(0), ((variance, degrees),), ())
    ((kind, needs),) = decided(made(view, QUIET, samples=samples))
    more = next(
        repeats for repeats in range(builds + 1, 51)
        if p_of(variance, builds, repeats, degrees) <= 0.005
    ) - builds  # fmt: skip
    assert kind is Kind.INCONCLUSIVE
    assert needs == f"{more} more repeat{'s' if more > 1 else ''}"
