"""Two errors compared: the paired t-test, the jackknife by brute force, dominant images, the least effect."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trt_matrix.containers.job.reductions import compare
from trt_matrix.core.rules import DB
from trt_matrix.core.verdicts.build_noise import EXACT, Noise, build_noise
from trt_matrix.core.verdicts.contrast import Contrast, ContrastSide, contrast
from trt_matrix.core.verdicts.sample import Floats, Sample

LEAST = 0.5 * DB
UNKNOWN = Noise((0.0, 0), (0.0, 0), (0.0, 0), (0.0, 0))
IMAGES = 12


def sample(errors: object, exact: bool = False) -> Sample:
    rows = np.atleast_2d(np.asarray(errors, float))
    return Sample(rows, np.full(rows.shape[1], 1e4), exact=exact)


def exact(errors: object) -> ContrastSide:
    return ContrastSide(sample(errors, exact=True))


def built(one: Sample, other: Sample) -> Contrast:
    noise = build_noise({"h": {"one": one, "other": other}}, fixed=False)
    return contrast(ContrastSide(one, noise["h", "one"]), ContrastSide(other, noise["h", "other"]))


def test_of_the_typical_image_it_is_the_paired_t_test_of_logarithms() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.lognormal(1.3, 0.5, 20), generator.lognormal(1, 0.5, 20)
    seen = contrast(exact(first), exact(second)).image
    expected = stats.ttest_rel(np.log(first), np.log(second), alternative="greater")
    assert seen.p(0.0) == pytest.approx(expected.pvalue, rel=1e-6)
    interval = stats.ttest_rel(np.log(first), np.log(second)).confidence_interval(0.95)
    assert (seen.log - seen.half(), seen.log + seen.half()) == pytest.approx(
        (interval.low, interval.high)
    )


def test_builds_alone_are_the_two_sample_t_test() -> None:
    """Where all images move together, only the builds tell: Student's test with pooled variance."""
    first, second = np.log([5.6, 5.5, 5.9]), np.log([5.0, 5.2, 4.9])
    spread = max(first.var(ddof=1), second.var(ddof=1))
    one = sample(np.exp(first)[:, np.newaxis] * np.ones(50))
    other = sample(np.exp(second)[:, np.newaxis] * np.ones(50))
    seen = built(one, other)
    pooled = (first.var(ddof=1) + second.var(ddof=1)) / 2
    assert [pytest.approx((pooled / 3, 4))] * 2 == list(seen.sqnr.pooled)
    assert seen.sqnr.images[0] == pytest.approx(0, abs=1e-20)
    assert max(part for part, _ in seen.sqnr.builds) == pytest.approx(spread / 3)
    # One side's variance is the larger of its own and the pool's: never surer than Student.
    expected = stats.ttest_ind(first, second, alternative="greater").pvalue
    assert expected * 0.999 <= seen.sqnr.p(0.0) <= 2 * expected


@pytest.mark.parametrize("seed", range(5))
def test_images_are_the_delete_one_jackknife(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = generator.lognormal(0, 1, (3, IMAGES)), generator.lognormal(0, 1, (2, IMAGES))

    def difference(kept: list[int]) -> float:
        logs = [np.log(side[:, kept].sum(axis=1)).mean() for side in (one, other)]
        return float(logs[0] - logs[1])

    left_out = np.array(
        [difference([i for i in range(IMAGES) if i != out]) for out in range(IMAGES)]
    )
    expected = (IMAGES - 1) / IMAGES * ((left_out - left_out.mean()) ** 2).sum()
    seen = contrast(ContrastSide(sample(one)), ContrastSide(sample(other)))
    assert seen.sqnr.log == pytest.approx(difference(list(range(IMAGES))))
    assert seen.sqnr.images[0] == pytest.approx(expected)
    typical = np.log(one).mean(axis=0) - np.log(other).mean(axis=0)
    assert seen.image.log == pytest.approx(typical.mean())
    assert seen.image.images == pytest.approx((typical.var(ddof=1) / IMAGES, IMAGES - 1))


@pytest.mark.parametrize("share", [1 / IMAGES, 0.5, 0.9, 0.99])
def test_a_dominant_image_leaves_few_degrees(share: float) -> None:
    """Kish: 1/Σw² − 1 effective images; n − 1 where all weigh alike, one at least."""
    errors = np.full(IMAGES, (1 - share) / (IMAGES - 1))
    errors[0] = share
    degrees = contrast(exact(2 * errors), exact(errors)).sqnr.images[1]
    kish = 1 / (share**2 + (1 - share) ** 2 / (IMAGES - 1)) - 1
    assert degrees == pytest.approx(max(kish, 1.0))
    if share == 1 / IMAGES:
        assert degrees == pytest.approx(IMAGES - 1)


def test_a_dominant_image_does_not_decide_alone() -> None:
    """It has nearly all of the error and is 10 dB worse; the others scatter around nothing."""
    generator = np.random.default_rng(5)
    base = np.concatenate([[1000.0], np.ones(31)])
    worse = base * np.concatenate([[10.0], generator.lognormal(0, 0.1, 31)])
    seen = contrast(exact(worse), exact(base))
    assert seen.sqnr.log > 9 * DB
    assert seen.p(LEAST) > 0.05
    assert contrast(exact(base * 10), exact(base)).p(LEAST) == 0.0, "all images say so"


def test_a_view_counts_only_where_the_other_does_not_say_the_opposite() -> None:
    base = np.ones(32)
    for lost, counts in ((0.99 * LEAST, True), (1.01 * LEAST, False)):
        worse = np.full(32, math.exp(-lost * 32 / 31))
        worse[0] = 1.0
        seen = contrast(exact(worse), exact(base)).reversed()
        # All images but one are better there; reversed: the cell is worse, and no view objects.
        assert seen.p(LEAST) == pytest.approx(
            min(1.0, 2 * min(seen.sqnr.p(LEAST), seen.image.p(LEAST)))
        )
        heavy = np.full(32, math.exp(-lost * 32 / 31))
        heavy[0] = 1e3
        of = contrast(exact(heavy), exact(base))
        image = of.image.log
        heavy[1:] *= math.exp((-lost - image) * 32 / 31)
        of = contrast(exact(heavy), exact(base))
        assert of.image.log == pytest.approx(-lost)
        alone = min(1.0, 2 * of.sqnr.p(LEAST))
        assert of.p(LEAST) == pytest.approx(alone if counts else 1.0)


@pytest.mark.parametrize(("share", "found"), [(0.99, False), (1.01, True)])
def test_only_what_is_beyond_the_least_effect_is_found(share: float, *, found: bool) -> None:
    """Nothing varies: all images are worse by the same, and exact."""
    base = np.linspace(1, 2, IMAGES)
    seen = contrast(exact(base * math.exp(share * LEAST)), exact(base))
    assert (seen.p(LEAST) < 0.001) is found


@given(st.floats(0.0, 3.0), st.floats(0.0, 2.0))
def test_p_grows_with_the_least_effect(one: float, more: float) -> None:
    generator = np.random.default_rng(2)
    base = generator.lognormal(0, 1, IMAGES)
    seen = contrast(exact(base * generator.lognormal(1, 0.3, IMAGES)), exact(base))
    assert seen.sqnr.p(one) <= seen.sqnr.p(one + more) * (1 + 2e-4)
    assert seen.image.p(one) <= seen.image.p(one + more) * (1 + 2e-4)


def test_an_exact_side_adds_nothing() -> None:
    generator = np.random.default_rng(3)
    one = sample(generator.lognormal(0, 0.1, (3, IMAGES)))
    noise = build_noise({"h": {"one": one}}, fixed=False)["h", "one"]
    seen = contrast(ContrastSide(one, noise), exact(np.ones(IMAGES)))
    assert len(seen.sqnr.builds) == 1
    assert seen.sqnr.builds[0] == pytest.approx((noise.sqnr[0] / 3, 2))
    assert (seen.known, seen.builds) == (True, 3)
    assert contrast(exact(np.ones(3)), exact(np.ones(3))).builds == 0


def test_one_build_is_unknown_and_nothing_is_decided() -> None:
    one, other = sample(np.full(9, 5.0)), sample(np.full(9, 1.0))
    seen = contrast(ContrastSide(one, UNKNOWN), ContrastSide(other, UNKNOWN))
    assert not seen.known
    assert (seen.p(0.0), seen.bound()) == (1.0, math.inf)
    effect = seen.effect(LEAST)
    assert (effect.low, effect.high, effect.known) == (-math.inf, math.inf, False)
    assert effect.db == pytest.approx(6.99, abs=0.01), "it is told all the same"
    assert not effect.same_bits, "one build shows nothing of that"


def test_bits_that_are_equal_where_they_must_be_are_certain() -> None:
    one, other = sample(np.full((2, 9), 5.0)), sample(np.full((2, 9), 4.0))
    seen = contrast(ContrastSide(one, EXACT), ContrastSide(other, EXACT))
    assert seen.p(LEAST) == 0.0
    assert seen.effect(LEAST).same_bits
    assert seen.bound() == pytest.approx(math.log(5 / 4))
    same = contrast(ContrastSide(one, EXACT), ContrastSide(one, EXACT))
    assert same.p(0.0) == 1.0
    assert same.bound() == 0.0


def test_one_image_decides_nothing() -> None:
    seen = contrast(exact([50.0]), exact([4.0]))
    assert not seen.known
    assert seen.p(0.0) == 1.0


def test_seen_from_the_other_side_it_is_the_same() -> None:
    generator = np.random.default_rng(6)
    one, other = (sample(generator.lognormal(0, 0.5, (3, IMAGES))) for _ in range(2))
    seen = built(one, other)
    back = seen.reversed()
    for forth, turned in ((seen.sqnr, back.sqnr), (seen.image, back.image)):
        assert turned.log == -forth.log
        assert turned.images == pytest.approx(forth.images)


def test_the_bound_is_the_larger_of_both_views() -> None:
    generator = np.random.default_rng(7)
    one, other = (sample(generator.lognormal(0, 0.3, (4, IMAGES))) for _ in range(2))
    seen = built(one, other)
    assert seen.bound() == pytest.approx(
        max(view.log + view.half(0.05) for view in (seen.sqnr, seen.image))
    )
    assert seen.largest() == max(seen.sqnr.log, seen.image.log)


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        contrast(exact([1.0, 2.0]), exact([1.0]))
    one = sample([1.0, 2.0])
    with pytest.raises(ValueError, match="same images"):
        contrast(ContrastSide(one), ContrastSide(Sample(one.errors, one.energy * 1.001)))


def test_a_dead_output_is_compared_although_its_reference_is_summed_in_another_way() -> None:
    """An output of zeros leaves the range that float32 sums are trusted in; Σr² rounds otherwise."""
    reference = np.random.default_rng(3).normal(0, 1, (4, 384)).astype(np.float32)
    alive, dead = compare(reference * np.float32(1.1), reference), compare(reference * 0, reference)
    assert not np.array_equal(alive["r2"], dead["r2"])
    side, other = (
        ContrastSide(Sample(sums["d2"][np.newaxis], sums["r2"])) for sums in (dead, alive)
    )
    assert contrast(side, other).sqnr.log == pytest.approx(math.log(100), rel=1e-3)


def null(generator: np.random.Generator, share: float) -> tuple[Floats, Floats]:
    """Returns one build of each of two equal versions, with one image that has `share` of the error."""
    base = generator.lognormal(0, 0.5, 32)
    base[0] = share / (1 - share) * base[1:].sum()
    return base * generator.lognormal(0, 0.2, 32), base * generator.lognormal(0, 0.2, 32)


@pytest.mark.parametrize("share", [1 / 32, 0.9, 0.99])
def test_without_an_effect_it_holds_its_level_whatever_image_dominates(share: float) -> None:
    generator = np.random.default_rng(11)
    found = 0
    for _ in range(tries := 1500):
        one, other = null(generator, share)
        found += contrast(exact(one), exact(other)).p(0.0) <= 0.02
    assert found <= stats.binom.ppf(0.999, tries, 0.03), "0.02, and some slack for one degree"
