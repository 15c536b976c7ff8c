import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from job.reductions import compare
from runner.core.verdicts.effects import Noise, Sample, discoveries, effect, pooled_noise
from runner.core.verdicts.student import p_value


def sample(*rows: list[float], exact: bool = False) -> Sample:
    errors = np.array(rows, float)
    return Sample(errors, np.full(errors.shape[1], 10.0), exact=exact)


def test_nmse_is_error_over_energy_and_repeats_are_averaged() -> None:
    one = sample([1.0, 3.0], [3.0, 5.0])
    assert one.nmse == pytest.approx((2 + 4) / 20)
    assert one.by_repeat.tolist() == [0.2, 0.4]


def test_between_two_simulations_it_is_the_paired_t_test() -> None:
    """With equal energies the ratio estimator is the mean, so scipy's paired test must agree."""
    generator = np.random.default_rng(1)
    first, second = generator.normal(5, 1, 20), generator.normal(4.5, 1, 20)
    measured = effect(
        sample(list(first), exact=True), sample(list(second), exact=True), Noise(0.0, 0)
    )
    expected = stats.ttest_rel(first, second)
    assert measured.value == pytest.approx((first - second).mean() / 10)
    assert measured.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (measured.low * 10, measured.high * 10) == pytest.approx((interval.low, interval.high))


def test_builds_alone_are_the_two_sample_t_test() -> None:
    """Where all images move together, only the repeats tell: Student's test with pooled variance."""
    first, second = [5.0, 5.2, 4.9], [5.6, 5.5, 5.9]
    one = sample(*[[value] * 50 for value in first])
    other = sample(*[[value] * 50 for value in second])
    noise = pooled_noise([one, other])
    assert noise.degrees == 4
    measured = effect(one, other, noise)
    expected = stats.ttest_ind(first, second)
    # v is relative to each mean, Student's pools the variances themselves: close, not equal.
    assert measured.p == pytest.approx(expected.pvalue, rel=0.3)
    floor = 1.96 * math.sqrt(noise.variance * (one.nmse**2 + other.nmse**2))
    assert measured.noise_multiple == pytest.approx(abs(measured.value) / floor)


def test_many_images_do_not_lend_the_few_builds_their_degrees_of_freedom() -> None:
    """Unequal variances without any effect: Banerjee's test holds its level, Satterthwaite's does not."""
    generator = np.random.default_rng(4)
    level, few, many = 0.001, 2, 31
    found = {"banerjee": 0, "satterthwaite": 0}
    for _ in range(tries := 8000):
        s = generator.chisquare(few) / few
        z = 0.02 * generator.chisquare(many) / many
        value = generator.normal(0, math.sqrt(1.02))
        degrees = (s + z) ** 2 / (s**2 / few + z**2 / many)
        found["banerjee"] += p_value(value, (s, few), (z, many)) < level
        found["satterthwaite"] += 2 * stats.t.sf(abs(value) / math.sqrt(s + z), degrees) < level
    assert found["banerjee"] <= stats.binom.ppf(0.999, tries, level)
    assert found["satterthwaite"] > stats.binom.ppf(0.999, tries, level)


@given(
    st.floats(1e-6, 1e6),
    st.tuples(st.floats(1e-9, 1e3), st.integers(1, 300)),
    st.tuples(st.floats(1e-9, 1e3), st.integers(1, 300)),
)
def test_the_p_value_is_the_level_whose_interval_reaches_zero(
    value: float, one: tuple[float, int], other: tuple[float, int]
) -> None:
    p = p_value(value, one, other)
    assert p == p_value(-value, other, one)
    if 1e-11 < p < 0.999:  # above, the width falls to 0 faster than p is exact

        def width(level: float) -> float:
            parts = (s * stats.t.isf(level / 2, degrees) ** 2 for s, degrees in (one, other))
            return math.sqrt(sum(parts))

        assert width(p * (1 + 1e-5)) <= value <= width(p * (1 - 1e-5))
    alone = p_value(value, one)
    assert alone == pytest.approx(2 * stats.t.sf(value / math.sqrt(one[0]), one[1]), rel=1e-6)
    assert p >= alone * (1 - 1e-6)


def test_one_repeat_leaves_the_noise_unknown() -> None:
    one, other = sample([5.0] * 9), sample([1.0] * 9)
    measured = effect(one, other, pooled_noise([one, other]))
    assert not measured.noise_known
    assert measured.p == 1.0
    assert (measured.low, measured.high) == (-math.inf, math.inf)


def test_identical_builds_are_certain() -> None:
    one, other = sample([5.0] * 9, [5.0] * 9), sample([4.0] * 9, [4.0] * 9)
    measured = effect(one, other, pooled_noise([one, other]))
    assert measured.p == 0.0
    assert measured.noise_multiple == math.inf
    same = effect(one, one, pooled_noise([one]))
    assert (same.value, same.p, same.noise_multiple) == (0.0, 1.0, None)


def test_equal_repeats_have_no_noise_whatever_their_value() -> None:
    for value in (0.1, 0.3, 1 / 3, 0.7):
        assert pooled_noise([sample([value] * 7, [value] * 7, [value] * 7)]).variance == 0.0


def test_one_image_decides_nothing() -> None:
    one, other = sample([5.0], [5.0]), sample([4.0], [4.0])
    assert effect(one, other, pooled_noise([one, other])).p > 0.05


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        effect(sample([1.0, 2.0]), sample([1.0]), Noise(0.0, 1))
    one = sample([1.0, 2.0])
    with pytest.raises(ValueError, match="same images"):
        effect(one, Sample(one.errors, one.energy * 1.001), Noise(0.0, 1))


def test_a_dead_output_is_compared_although_its_reference_is_summed_in_another_way() -> None:
    """An output of zeros leaves the range that float32 sums are trusted in; Σr² rounds otherwise."""
    reference = np.random.default_rng(3).normal(0, 1, (4, 384)).astype(np.float32)
    alive, dead = compare(reference * np.float32(1.1), reference), compare(reference * 0, reference)
    assert not np.array_equal(alive["r2"], dead["r2"])
    one, other = (Sample(sums["d2"][np.newaxis], sums["r2"]) for sums in (dead, alive))
    assert effect(one, other, Noise(0.0, 1)).value == pytest.approx(0.99, rel=1e-3)


@given(st.lists(st.floats(0, 1), max_size=7), st.floats(0.001, 0.5))
def test_discoveries_are_those_of_the_closed_bonferroni_test(
    p_values: list[float], rate: float
) -> None:
    """Marcus, Peritz and Gabriel (1976): rejected where every set that holds it is rejected."""
    everything = range(len(p_values))
    sets = [c for size in everything for c in combinations(everything, size + 1)]

    def rejected(one: tuple[int, ...]) -> bool:
        return min(p_values[index] for index in one) <= rate / len(one)

    expected = tuple(all(rejected(one) for one in sets if index in one) for index in everything)
    assert discoveries(p_values, rate) == expected


def test_noise_pools_what_is_relative() -> None:
    """A cell with ten times the error has ten times the spread: one coefficient for both."""
    small = sample([1.0] * 4, [1.2] * 4)
    large = sample([10.0] * 4, [12.0] * 4)
    exact = sample([100.0] * 4, exact=True)
    both = pooled_noise([small, large, exact])
    assert both.degrees == 2
    assert both.variance == pytest.approx(pooled_noise([small]).variance)
