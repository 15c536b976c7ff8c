"""Ranges by image: what calibration never saw, and whose image decides; sound sets are left alone."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trt_matrix.core.calibration import ranges
from trt_matrix.core.calibration.claims import unseen_claims, without_claims
from trt_matrix.core.calibration.ranges import Decider
from trt_matrix.core.calibration.report import LeftOutImage

TENSORS = tuple(f"t{index}" for index in range(100))
HEADS = {
    name: ("small",) if index < 40 else ("large", "small") for index, name in enumerate(TENSORS)
}


def maxima(
    seed: int, images: int, *, tail: float = 0.3, shared: float = 0.5
) -> npt.NDArray[np.float64]:
    """Largest magnitudes: log-normal, an image's tensors going together, each tensor of its own size."""
    random = np.random.default_rng(seed)
    size = np.random.default_rng(1).normal(0, 1, 100)
    whole = random.normal(0, tail * np.sqrt(shared), (images, 1))
    own = random.normal(0, tail * np.sqrt(1 - shared), (images, 100))
    return np.exp(size + whole + own)


def said(calibration: npt.NDArray[np.float64], evaluation: npt.NDArray[np.float64]) -> list[str]:
    unseens = ranges.unseen(TENSORS, calibration, evaluation, HEADS)
    return [claim.text for claim in unseen_claims(unseens, len(evaluation), len(TENSORS))]


def test_tensors_that_evaluation_images_drive_further_are_named_with_their_heads() -> None:
    here, there = maxima(1, 32), maxima(2, 64)
    there[:40, :3] = 4 * here[:, :3].max(axis=0)
    unseens = ranges.unseen(TENSORS, here, there, HEADS)
    assert [unseen.tensor for unseen in unseens if unseen.sure] == ["t0", "t1", "t2"]
    assert all(
        unseen.heads == ("small",) and unseen.factor == pytest.approx(4) for unseen in unseens[:3]
    )
    assert {unseen.far for unseen in unseens[:3]} == {40}
    (text,) = said(here, there)
    assert text.startswith("3 of 100 tensors behind small reach more than 1.25 times")
    assert "t0 4.0 times what calibration showed, in 40 of 64 evaluation images" in text


@pytest.mark.parametrize("draw", range(30))
@pytest.mark.parametrize(("number", "tail"), [(4, 0.3), (32, 0.3), (128, 0.8)])
def test_of_two_draws_of_one_kind_nothing_is_said(draw: int, number: int, tail: float) -> None:
    assert said(maxima(draw, number, tail=tail), maxima(50_000 + draw, 64, tail=tail)) == []


@pytest.mark.parametrize("draw", range(10))
def test_one_odd_evaluation_image_is_no_fault_of_the_calibration_set(draw: int) -> None:
    there = maxima(2 + draw, 64)
    there[5] *= 20
    assert said(maxima(100 + draw, 64), there) == []


def test_many_images_a_little_beyond_are_no_matter() -> None:
    here, there = maxima(1, 32), maxima(2, 64)
    there[:, 0] = 1.2 * here[:, 0].max()
    assert said(here, there) == []


def test_a_tensor_that_calibration_saw_as_zeros_alone_is_told() -> None:
    here, there = maxima(1, 32), maxima(2, 64)
    here[:, 7] = 0
    (text,) = said(here, there)
    assert "t7 where calibration showed zeros alone" in text


def test_one_calibration_image_has_no_chance_of_being_typical_and_is_not_accused() -> None:
    """Of 65 images the largest 64 are evaluation images once in 65 times, of one tensor."""
    here = maxima(1, 1)
    assert said(here, maxima(2, 64, tail=0.01) * 0.9 + 0.1 * here) == []


# One image that decides


def test_the_image_that_alone_decides_ranges_is_found() -> None:
    here = maxima(1, 64)
    here[17, :30] = 3 * here[:, :30].max(axis=0)
    first = ranges.deciders(TENSORS, here)[0]
    assert (first.image, len(first.tensors), first.of) == (17, len(first.tensors), 100)
    assert set(TENSORS[:30]) <= set(first.tensors)
    assert first.furthest >= first.factor == pytest.approx(3, rel=0.05)
    assert [suspect.image for suspect in ranges.suspects(TENSORS, here)] == [17]


def test_images_of_sound_sets_are_seldom_tried_without() -> None:
    """Trying costs a simulation; nothing is said before a head changes with it."""
    suspected = [ranges.suspects(TENSORS, maxima(draw, 64)) for draw in range(40)]
    assert sum(map(bool, suspected)) <= 4


def test_two_equal_images_decide_nothing_alone() -> None:
    here = maxima(1, 64)
    here[17] = here[18] = 5 * here.max(axis=0)
    assert ranges.deciders(TENSORS, here) == ()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_sets_too_small_to_leave_one_out_have_no_suspect(number: int) -> None:
    assert ranges.suspects(TENSORS, maxima(1, number) if number else np.empty((0, 100))) == ()


def without(gains: dict[str, float]) -> LeftOutImage:
    decider = Decider(image=3, tensors=("a", "b", "c"), factor=2.0, furthest=4.0, of=20)
    return LeftOutImage(decider=decider, image="odd.jpg", gains_db=tuple(gains.items()))


def test_what_leaving_it_out_gives_decides_what_is_said() -> None:
    (gains,) = without_claims([without({"small": 3.2, "large": 0.1})], 0.5)
    assert "odd.jpg alone decides the range of 3 of 20 tensors" in gains.text
    assert "without it: small +3.2 dB." in gains.text
    assert "take it out" in gains.advice
    (loses,) = without_claims([without({"small": -2.0})], 0.5)
    assert "Add more images of its kind" in loses.advice
    # Ranges that one image decides and that no head minds are no news.
    assert list(without_claims([without({"small": 0.4, "large": -0.4})], 0.5)) == []
    assert list(without_claims([without({})], 0.5)) == []


@given(
    arrays.arrays(np.float32, (5, 4), elements=st.floats(0, 2.0**127, width=32)),
    arrays.arrays(np.float32, (3, 4), elements=st.floats(0, 2.0**127, width=32)),
)
def test_any_magnitudes_can_be_looked_at(
    here: npt.NDArray[np.float32], there: npt.NDArray[np.float32]
) -> None:
    with np.errstate(over="ignore"):
        for unseen in ranges.unseen("abcd", here, there, {}):
            assert unseen.reached > unseen.seen
            assert unseen.images >= unseen.far
        for two in ranges.deciders("abcd", here):
            column = here[:, "abcd".index(two.tensors[0])]
            assert column.argmax() == two.image
