"""Where verdicts turn: every level, share and number of builds that accuses or acquits, at 0.99 and 1.01 of it.

Contrasts are made by hand, so that their p-values are those of the normal or of Student's distribution.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import t as student

from tests.unit.made_cells import cell, errors, exact
from trt_matrix.core.rules import DB, Rules
from trt_matrix.core.verdicts.alike import alike
from trt_matrix.core.verdicts.build_noise import EXACT, Noise
from trt_matrix.core.verdicts.cell_errors import CellError, MeasuredHead, Noises
from trt_matrix.core.verdicts.contrast import Contrast, ContrastSide, ContrastView
from trt_matrix.core.verdicts.decisions import family_verdicts, step_found
from trt_matrix.core.verdicts.guard import builds_needed
from trt_matrix.core.verdicts.hypotheses import Hypothesis
from trt_matrix.core.verdicts.sample import Sample
from trt_matrix.core.verdicts.student import Part
from trt_matrix.core.verdicts.verdict import TESTED, Kind, Verdict

LEAST = Rules().least_effect
NOTHING = ContrastView(0.0, (1.0, math.inf), (), ())
"""A view that says nothing: its p is 0.5 at least."""
ENERGY = np.full(10, 10.0)
UNKNOWN = Noise(*[(math.inf, 0)] * 4)
SIDES = (0.99, 1.01)


def built(*nmse: float, carried: float = 0.1) -> Sample:
    """Returns builds of ten images, of which the first has so much of the error."""
    pattern = np.array([carried, *[(1 - carried) / 9] * 9]) * 10
    return Sample(np.stack([value * ENERGY * pattern for value in nmse]), ENERGY)


def made(
    sqnr: ContrastView,
    image: ContrastView = NOTHING,
    *,
    kind: Kind = Kind.ENGINE_REGRESSION,
    samples: tuple[Sample, Sample] = (built(0.016, 0.016, 0.016), built(0.004, 0.004, 0.004)),
    noise: Noise = EXACT,
    others: Sequence[CellError] = (),
    guarded: bool = False,
    pass_: str = "int8",
    name: str = "new",
) -> Hypothesis:
    side, other = (ContrastSide(sample, noise) for sample in samples)
    return Hypothesis(
        kind=kind, cell=f"{name}/cpu/int8", head="small", against="base/cpu/int8",
        contrast=Contrast(side, other, sqnr, image), least=LEAST, others=tuple(others),
        guarded=guarded, pass_=pass_,
    )  # fmt: skip


def decided(
    *family: Hypothesis, heads: int = 1, rules: Rules | None = None
) -> list[tuple[Kind, str | None]]:
    some = [errors([cell("base", 0.004)])] * heads
    return [
        (verdict.kind, verdict.needs) for verdict in family_verdicts(family, some, rules or Rules())
    ]


def at(p: float, *variances: float, least: float = 0.0) -> float:
    """Returns the effect whose two-view p is this, where all variances are known."""
    return least - NormalDist().inv_cdf(p / 2) * math.sqrt(sum(variances))


def known(variance: float) -> Part:
    return variance, math.inf


LEVELS = {
    Kind.FP32_REGRESSION: 0.001,
    Kind.TF32_REGRESSION: 0.001,
    Kind.FP16_REGRESSION: 0.001,
    Kind.BF16_REGRESSION: 0.001,
    Kind.ENGINE_REGRESSION: 0.005,
    Kind.VERSION_REGRESSION: 0.002,
    Kind.ENGINE_LOSS: 0.002,
    Kind.IMPLICIT_REGRESSION: 0.002,
    Kind.CALIBRATOR_REGRESSION: 0.001,
    Kind.CALIBRATION_PROBLEM: 0.001,
    Kind.PER_TENSOR_WEIGHTS: 0.001,
    Kind.INT8_LIMIT: 0.001,
    Kind.PRECISION_FALLBACK: 0.001,
}
"""Of docs/concepts/method.md, for every cause that this test decides."""


def test_every_level_but_that_of_latencies_is_here() -> None:
    assert {*LEVELS, Kind.LATENCY_REGRESSION} == TESTED


@pytest.mark.parametrize("looks", [1, 5])
@pytest.mark.parametrize(("kind", "level"), LEVELS.items())
def test_a_cause_is_found_below_its_level(kind: Kind, level: float, looks: int) -> None:
    for share in SIDES:
        log = at(share * level / looks, 0.01, least=LEAST)
        found = decided(
            made(ContrastView(log, known(0.01), (), ()), kind=kind), rules=Rules(looks=looks)
        )
        assert ((kind, None) in found) is (share < 1)


@pytest.mark.parametrize("share", SIDES)
@pytest.mark.parametrize("kind", LEVELS)
def test_what_the_noise_of_the_whole_pass_speaks_for_is_looked_into(
    kind: Kind, share: float
) -> None:
    """Below 1 %, of an engine 2 %, with images and the noise of all; its own builds differ by more."""
    level = 0.02 if kind is Kind.ENGINE_REGRESSION else 0.01
    log = at(share * level, 0.02, 0.02)
    view = ContrastView(log, known(0.02), (known(0.03),), (known(0.02),))
    assert bool(decided(made(view, kind=kind))) is (share < 1)


@pytest.mark.parametrize("share", SIDES)
def test_what_its_own_noise_may_do_once_in_ten_is_called_chance(share: float) -> None:
    log = 0.5
    own = (log / at(share * 0.1, 1.0)) ** 2
    view = ContrastView(log, known(0.0), (known(own),), (known(1e-6),))
    assert bool(decided(made(view))) is (share < 1)


@pytest.mark.parametrize("share", SIDES)
def test_much_error_is_looked_into_where_the_typical_image_has_the_least_effect(
    share: float,
) -> None:
    loud = ContrastView(5 * DB, known(0), (known(100),), (known(100),))
    image = ContrastView(share * LEAST, known(0), (known(100),), (known(100),))
    assert bool(decided(made(loud, image))) is (share > 1)


# Builds that choose


def four(nmse: float) -> Sample:
    return built(*[nmse] * 4)


CHOSEN = (four(0.016), four(0.004))
CLEAR = ContrastView(1.4, known(1e-6), (), ())


@pytest.mark.parametrize(
    ("heads", "passes", "free", "found"),
    [(1, 1, 1, True), (2, 1, 1, True), (3, 1, 1, False), (1, 2, 2, True), (1, 3, 3, False),
     (2, 2, 2, False), (2, 3, 1, True)],
)  # fmt: skip
def test_every_head_and_every_free_pass_is_a_chance_for_builds_that_choose(
    heads: int, passes: int, free: int, *, found: bool
) -> None:
    """Four builds of each of two versions: 1 of 256, and the guard is 0.9 %."""
    family = [
        made(CLEAR, samples=CHOSEN, guarded=number < free, pass_=f"p{number}", name=f"v{number}")
        for number in range(passes)
    ]
    kinds = [kind for kind, _ in decided(*family, heads=heads)]
    assert kinds[0] is (Kind.ENGINE_REGRESSION if found else Kind.INCONCLUSIVE)


def test_every_version_more_is_a_chance_too_and_counts_in_what_is_asked_for() -> None:
    others = [cell(name, 0.004, sample=built(0.004, 0.02, 0.004, 0.02)) for name in ("a", "b")]
    hypothesis = made(CLEAR, samples=CHOSEN, guarded=True, others=others)
    ((kind, needs),) = decided(hypothesis)
    assert kind is Kind.INCONCLUSIVE
    needed = builds_needed(4, 3, 0.009)
    assert needed < builds_needed(2, 3, 0.009), "alike builds of others are evidence"
    assert needs == f"{max(needed - 4, 1)} more repeat"
    ((_, more),) = decided(made(CLEAR, samples=(built(0.016), built(0.004)), guarded=True))
    assert more == f"{builds_needed(2, 1, 0.009) - 1} more repeats"


# One image


def one_image(
    carried: float = 0.6, sqnr: float = 1.01 * LEAST, image: float = -1.01 * LEAST
) -> list[Verdict]:
    samples = (built(0.016, carried=carried), built(0.004))
    flat = (ContrastView(sqnr, known(100), (), ()), ContrastView(image, known(100), (), ()))
    heads = [errors([cell("base", 0.004)])]
    return list(family_verdicts([made(*flat, samples=samples)], heads, Rules()))


def test_one_image_that_contradicts_all_others_is_told() -> None:
    (verdict,) = one_image(carried=0.605)
    assert (verdict.kind, verdict.needs) == (Kind.INCONCLUSIVE, "more evaluation images")
    assert (verdict.why or "").startswith("one image has 60 % of the error and says so")
    assert (verdict.why or "").endswith("the typical image says the opposite")


@pytest.mark.parametrize("share", SIDES)
def test_it_has_half_of_the_error_and_both_views_the_least_effect(share: float) -> None:
    assert bool(one_image(carried=share * 0.5)) is (share > 1)
    assert bool(one_image(sqnr=share * LEAST)) is (share > 1)
    assert bool(one_image(image=-share * LEAST)) is (share > 1)


# One build


@pytest.mark.parametrize("share", SIDES)
def test_of_one_build_it_is_told_what_these_images_show_at_5_percent(share: float) -> None:
    log = at(share * 0.05, 0.04)
    once = (built(0.016), built(0.004))
    found = decided(made(ContrastView(log, known(0.04), (), ()), samples=once, noise=UNKNOWN))
    assert found == ([(Kind.INCONCLUSIVE, "2 more repeats")] if share < 1 else [])


# What would decide


@pytest.mark.parametrize(("log", "variance"), [(0.6, 0.004), (0.7, 0.02), (1.0, 0.03)])
def test_as_many_repeats_are_asked_for_as_decide_if_what_is_seen_goes_on(
    log: float, variance: float
) -> None:
    """Three builds with two degrees of freedom: with r of them 3/r of the variance, and r − 1 degrees."""
    view = ContrastView(log, known(0), ((variance, 2.0),), (known(1e-6),))
    ((kind, needs),) = decided(made(view))

    def p(repeats: int) -> float:
        spread = math.sqrt(variance * 3 / repeats)
        return float(2 * student.sf((log - LEAST) / spread, repeats - 1))

    enough = next(repeats for repeats in range(4, 51) if p(repeats) <= 0.005)
    assert kind is Kind.INCONCLUSIVE
    assert needs == f"{enough - 3} more repeat{'s' if enough > 4 else ''}"


# What versions show alike


def versions(*views: ContrastView, head: str = "small") -> list[Hypothesis]:
    return [
        Hypothesis(
            kind=Kind.ENGINE_LOSS, cell=f"v{number}/{head}", head=head, against="its simulation",
            contrast=Contrast(ContrastSide(built(0.016)), ContrastSide(exact(0.004)), view, NOTHING), least=LEAST,
        )
        for number, view in enumerate(views)
    ]  # fmt: skip


@pytest.mark.parametrize("share", SIDES)
@pytest.mark.parametrize(("looks", "groups"), [(1, 1), (1, 2), (3, 1)])
def test_what_versions_lose_alike_is_found_at_one_in_a_thousand(
    share: float, looks: int, groups: int
) -> None:
    """Their mean is tested by Student's t of the differences between them."""
    level = share * 0.001 / looks / groups
    mean = LEAST + float(student.isf(level / 2, 2)) * math.sqrt(0.01**2 / 3)
    views = [ContrastView(mean + apart, known(0), (), ()) for apart in (-0.01, 0.0, 0.01)]
    asked = versions(*views)
    if groups == 2:
        asked += versions(*[ContrastView(LEAST, known(1), (), ())] * 3, head="other")
    verdicts = list(alike(asked, set(), Rules(looks=looks)))
    assert [verdict.cell for verdict in verdicts] == (
        ["v0/small", "v1/small", "v2/small"] if share < 1 else []
    )
    for verdict in verdicts:
        assert (verdict.against, verdict.versions) == ("its simulation", 3)
        assert verdict.effect
        assert verdict.effect.log == pytest.approx(mean, abs=0.011)


@pytest.mark.parametrize("share", SIDES)
def test_versions_alike_are_no_surer_of_the_images_than_the_least_sure_of_them(
    share: float,
) -> None:
    mean = at(share * 0.001, 0.04, least=LEAST)
    images = [known(0.01), (0.04, 1e9), (0.0, 2.0)]
    views = [ContrastView(mean, image, (), ()) for image in images]
    assert bool(list(alike(versions(*views), set(), Rules()))) is (share < 1)


@pytest.mark.parametrize("share", SIDES)
def test_versions_alike_are_no_surer_than_one_by_its_own_builds(share: float) -> None:
    spread = (0.0004 + 0.0002) / 1
    mean = LEAST + float(student.isf(share * 0.001 / 2, 2)) * math.sqrt(spread)
    views = [ContrastView(mean, known(0), (known(0.0004), known(0.0002)), ())] * 3
    assert bool(list(alike(versions(*views), set(), Rules()))) is (share < 1)


# A step between two cells


def test_a_calibrators_step_is_found_between_its_two_tables_and_not_from_its_engine() -> None:
    cells = [
        cell(name, nmse, own=True, table=table)
        for name, table, nmse in (("base", "t", 0.02), ("mid", "s", 0.02), ("new", "bad", 0.02))
    ]
    head = errors(cells, t=0.004, s=0.004, bad=0.016)
    noises = Noises([head], 1.5)

    def found(one: int, other: int, of: MeasuredHead = head) -> bool:
        step = (cells[one].cell, cells[other].cell)
        return step_found(Kind.CALIBRATOR_REGRESSION, noises, of, step, Rules())

    assert found(1, 2)
    assert not found(0, 1)
    assert not found(2, 1), "the better one"
    assert not found(1, 2, errors(cells, t=0.004)), "of unknown tables nothing is found"
