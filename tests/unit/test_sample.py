"""The error of one head in one cell, and the logarithms of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.core.verdicts.sample import FLOOR, Floats, Sample, level


def sample(*rows: list[float], exact: bool = False) -> Sample:
    errors = np.array(rows, float)
    return Sample(errors, np.full(errors.shape[1], 10.0), exact=exact)


def test_nmse_is_error_over_energy_and_repeats_are_averaged() -> None:
    one = sample([1.0, 3.0], [3.0, 5.0])
    assert (one.repeats, one.images) == (2, 2)
    assert one.nmse == pytest.approx((2 + 4) / 20)
    assert one.by_repeat.tolist() == [0.2, 0.4]


def test_logarithms_are_of_the_sum_and_of_the_typical_image() -> None:
    one = sample([1.0, 3.0], [3.0, 5.0])
    assert one.sqnr_logs == pytest.approx([math.log(4), math.log(8)])
    assert one.image_logs == pytest.approx([math.log(3) / 2, math.log(15) / 2])
    assert one.of_images == pytest.approx([math.log(3) / 2, math.log(15) / 2])
    assert one.without_one == pytest.approx(
        [(math.log(3) + math.log(5)) / 2, (math.log(1) + math.log(3)) / 2]
    )


def test_weights_are_the_images_shares_of_the_error() -> None:
    one = sample([1.0, 3.0], [5.0, 5.0])
    assert one.weights == pytest.approx([(0.25 + 0.5) / 2, (0.75 + 0.5) / 2])


@given(st.lists(st.lists(st.floats(0, 1e30), min_size=4, max_size=4), min_size=1, max_size=4))
def test_weights_add_up_and_every_logarithm_is_finite(rows: list[list[float]]) -> None:
    one = sample(*rows)
    assert one.weights.sum() == pytest.approx(1)
    for logs in (one.sqnr_logs, one.image_logs, one.without_one, one.of_images):
        assert np.isfinite(logs).all()


def test_no_error_is_floored_at_120_db_of_the_energy() -> None:
    one = sample([0.0, 10.0])
    assert one.nmse == 0.5, "what is told is not floored"
    assert one.image_logs[0] == pytest.approx((math.log(FLOOR * 10) + math.log(10)) / 2)
    assert FLOOR == 1e-12
    # An image without energy has the floor of the mean one.
    empty = Sample(np.array([[0.0, 1.0]]), np.array([0.0, 10.0]))
    assert empty.of_images[0] == pytest.approx(math.log(FLOOR * 5))


def test_equal_bits_are_equal_on_every_image_of_every_build() -> None:
    assert sample([1.0, 3.0], [1.0, 3.0]).same_bits
    assert sample([1.0, 3.0]).same_bits
    assert not sample([1.0, 3.0], [3.0, 1.0]).same_bits, "the sum alone says nothing"


def energy() -> Floats:
    return np.array([1.0, 2.0, 7.0])


def test_a_level_is_the_same_share_of_every_image() -> None:
    one = level(0.01, energy())
    assert one.exact
    assert one.nmse == pytest.approx(0.01)
    assert one.errors[0] == pytest.approx(0.01 * energy())
    assert level(0.0, energy()).nmse >= 0
