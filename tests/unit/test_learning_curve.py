"""Whether more images would help is said where draws tell, and nowhere else."""

import math

import numpy as np
import pytest

from trt_matrix.core.calibration.claims import curve_claims, enough
from trt_matrix.core.calibration.curve import DRAWS, Curve, Point, Trend, counts, curve, curves

LEAST = 0.5


def drawn(seed: int, level: float, gain: float, scatter: float) -> Curve:
    """A head that keeps `level` dB with all of 64 images, `gain` less with 16; draws scatter."""
    random = np.random.default_rng(seed)
    points = [
        Point(images=4, sqnr_db=tuple(level - 3 * gain + random.normal(0, 2 * scatter, DRAWS))),
        Point(images=16, sqnr_db=tuple(level - gain + random.normal(0, scatter, DRAWS))),
        Point(images=64, sqnr_db=(level + random.normal(0, scatter / 2),)),
    ]
    made = curve("small", points, LEAST)
    assert made is not None
    return made


def test_sizes_go_down_by_four_to_one_image() -> None:
    assert counts(64) == (1, 4, 16, 64)
    assert counts(100) == (1, 6, 25, 100)
    assert counts(3) == (1, 3)
    assert counts(128) == (2, 8, 32, 128)
    assert counts(1) == (1,)


def test_a_flat_curve_says_that_more_images_will_not_help() -> None:
    made = drawn(1, 22, 0.0, 0.05)
    assert made.trend is Trend.ENOUGH
    assert list(curve_claims([made], "entropy")) == []
    told = enough([made], LEAST)
    assert told is not None
    assert told.startswith("more images of this kind will not help small: from 16 to 64 of them ")


def test_a_rising_curve_says_that_they_still_help() -> None:
    made = drawn(1, 22, 2.0, 0.2)
    assert made.trend is Trend.GAINS
    (claim,) = curve_claims([made], "entropy")
    assert claim.text.startswith(
        "More calibration images still help: from 16 to 64 of them (entropy) small +"
    )
    assert enough([made], LEAST) is None


def test_a_falling_curve_says_that_more_make_it_worse() -> None:
    """As minmax does: the more images, the larger the largest."""
    made = drawn(1, 22, -2.0, 0.2)
    assert made.trend is Trend.WORSE
    (claim,) = curve_claims([made], "minmax")
    assert "make it worse" in claim.text
    assert claim.text.endswith("dB.")
    assert "clips" in claim.advice


@pytest.mark.parametrize("gain", [0.6, -0.6, 1.0, 0.0])
def test_draws_that_scatter_decide_nothing(gain: float) -> None:
    made = drawn(3, 22, gain, 1.5)
    assert made.trend is Trend.UNDECIDED
    assert list(curve_claims([made], "entropy")) == []
    assert enough([made], LEAST) is None


@pytest.mark.parametrize("scatter", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(
    ("gain", "wrong"),
    [
        (0.0, Trend.GAINS),
        (0.0, Trend.WORSE),
        (0.5, Trend.GAINS),
        (0.5, Trend.ENOUGH),
        (-0.5, Trend.ENOUGH),
    ],
)
def test_wrong_claims_are_as_rare_as_their_level(gain: float, scatter: float, wrong: Trend) -> None:
    """At a true gain of nothing, or of just the least effect, over 400 draws."""
    trends = [drawn(seed, 22, gain, scatter).trend for seed in range(400)]
    assert trends.count(wrong) <= 0.08 * 400


def test_where_nothing_can_be_said_nothing_is() -> None:
    point = Point(images=1, sqnr_db=(20.0,))
    assert curve("small", [point], LEAST) is None
    assert curve("small", [point, Point(images=4, sqnr_db=(math.inf,))], LEAST) is None
    # A quarter with one draw has no scatter.
    two = curve("small", [point, Point(images=4, sqnr_db=(30.0,))], LEAST)
    assert two is not None
    assert two.trend is Trend.UNDECIDED
    assert curves({"a": {}, "b": {4: []}}, LEAST) == ()
    assert enough([], LEAST) is None
