"""What was fed: planted differences between two sets are named, and sound sets are left alone."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.calibration import fed
from trt_matrix.core.calibration.claims import set_claims
from trt_matrix.core.calibration.fed import Pixels
from trt_matrix.core.calibration.report import Concern

UNIT = Pixels(scale=1 / 255, mean=(0.0,) * 3, std=(1.0,) * 3)
CENTRED = Pixels(scale=1.0, mean=(127.0,) * 3, std=(128.0,) * 3)
BGR = Pixels(scale=1.0, mean=(127.0,) * 3, std=(128.0,) * 3, blue_first=True)


def images(seed: int, number: int, *, colour: float = 15, light: float = 110) -> np.ndarray:
    """Pixels of photographs: each of its own brightness and colour, warmer than not; (n, 16, 16, 3)."""
    random = np.random.default_rng(seed)
    brightness = random.normal(light, 0.25 * light, (number, 1, 1, 1))
    warm = random.normal(colour, 10, (number, 1, 1))
    noise = random.normal(0, 0.4 * light, (number, 16, 16, 1)) + random.normal(
        0, 8, (number, 16, 16, 3)
    )
    pixels = brightness + noise
    pixels[..., 0] += warm
    pixels[..., 2] -= warm
    return np.clip(np.round(pixels), 0, 255)


def statistics(pixels: np.ndarray, how: Pixels) -> np.ndarray:
    return np.stack([fed.statistics(how.value(pixel).astype(np.float32), how) for pixel in pixels])


def concerns(here: np.ndarray, there: np.ndarray, how: Pixels = UNIT) -> list[Concern]:
    one, other = statistics(here, how), statistics(there, how)
    claims = set_claims(fed.differences(one, other, how), fed.swapped(one, other, how))
    return [claim.concern for claim in claims]


def test_statistics_are_those_of_what_was_fed() -> None:
    pixels = np.zeros((4, 4, 3))
    pixels[:2, :, 0] = 255
    pixels[:, :, 1] = 127
    made = fed.statistics(CENTRED.value(pixels).astype(np.float32), CENTRED)
    mean, std, low, high, black, full = made.T
    np.testing.assert_allclose(mean, [(128 - 127) / 2 / 128, 0, -127 / 128], atol=1e-6)
    np.testing.assert_allclose(std[1:], 0, atol=1e-6)
    np.testing.assert_allclose(low, [-127 / 128, 0, -127 / 128], atol=1e-6)
    np.testing.assert_allclose(high, [1, 0, -127 / 128], atol=1e-6)
    assert list(black) == [0.5, 0, 1]
    assert list(full) == [0.5, 0, 0]


@pytest.mark.parametrize("draw", range(20))
@pytest.mark.parametrize("number", [4, 64])
def test_of_two_draws_of_one_kind_nothing_is_said(draw: int, number: int) -> None:
    assert concerns(images(draw, number), images(1000 + draw, 64)) == []


@pytest.mark.parametrize("how", [UNIT, CENTRED, BGR])
def test_dark_images_are_told_with_their_brightness(how: Pixels) -> None:
    one, other = (
        statistics(images(seed, 32, light=light), how) for seed, light in ((1, 11), (2, 110))
    )
    (claim,) = set_claims(fed.differences(one, other, how), fed.swapped(one, other, how))
    assert claim.concern is Concern.OTHER_IMAGES
    match_ = re.search(r"darker \(brightness (\d+) of 255, (\d+) in the evaluation\)", claim.text)
    assert match_
    assert int(match_[1]) == pytest.approx(12, abs=2)
    assert int(match_[2]) == pytest.approx(111, abs=8)


@pytest.mark.parametrize("draw", range(5))
@pytest.mark.parametrize("how", [UNIT, CENTRED])
def test_bgr_for_rgb_in_one_set_is_a_hint_and_nothing_else(draw: int, how: Pixels) -> None:
    turned = images(draw, 48)[..., ::-1]
    assert concerns(turned, images(100 + draw, 48), how) == [Concern.EXCHANGED]


def test_of_images_fed_as_bgr_red_is_still_red() -> None:
    warm = images(1, 48, colour=25)[..., ::-1]  # the first channel is blue
    cold = images(2, 48, colour=-5)[..., ::-1]
    one, other = statistics(warm, BGR), statistics(cold, BGR)
    (claim,) = set_claims(fed.differences(one, other, BGR), None)
    assert "redder" in claim.text


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({"colour": 0}, {"colour": 0}),  # grey: an exchange shows nothing
        ({"colour": -30}, {"colour": 12}),  # another scene: not the same the other way round
        ({"colour": -15, "light": 40}, {"colour": 15}),  # the sea at night
    ],
)
def test_other_colours_are_not_called_exchanged(
    here: dict[str, float], there: dict[str, float]
) -> None:
    assert Concern.EXCHANGED not in concerns(images(1, 64, **here), images(2, 64, **there))


def test_grey_images_have_no_colour() -> None:
    how = Pixels(scale=1 / 255, mean=(0.0,), std=(1.0,))
    here, there = images(1, 30)[..., :1], images(2, 30, light=20)[..., :1]
    assert concerns(here, there, how) == [Concern.OTHER_IMAGES]
    assert concerns(here, images(3, 30)[..., :1], how) == []


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
)
def test_the_share_of_pairs_is_that_counted_one_by_one(
    here: list[float], there: list[float]
) -> None:
    share, p = fed._more(np.array(here), np.array(there))
    counted = [(a > b) + 0.5 * (a == b) for a in here for b in there]
    assert share == pytest.approx(sum(counted) / len(counted))
    assert 0 <= p <= 1


def test_infinite_or_missing_images_say_nothing() -> None:
    good = statistics(images(1, 10), UNIT)
    bad = good.copy()
    bad[0, 0, 0] = np.inf
    assert fed.differences(bad, good, UNIT) == ()
    assert fed.differences(good[:0], good, UNIT) == ()
    assert fed.swapped(good[:0], good, UNIT) is None
