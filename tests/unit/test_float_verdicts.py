"""Verdicts on FP32, TF32, FP16 and BF16: each has a level of its own."""

import numpy as np
import pytest
from scipy import stats

from tests.unit.made_cells import IMAGES, builds, floating, judged, told
from trt_matrix.core.cells import Precision
from trt_matrix.core.verdicts.verdict import Kind

# Three builds that are assumed to differ by 1.5 dB; 0.001 one-sided, half of it for each of two views.
MARGIN = float(stats.norm.isf(0.0005)) * 1.5 / 3**0.5


@pytest.mark.parametrize(("share", "found"), [(0.0, False), (0.99, False), (1.01, True)])
@pytest.mark.parametrize(
    ("precision", "floor", "kind"),
    [
        (Precision.FP32, 60, Kind.FP32_REGRESSION),
        (Precision.TF32, 40, Kind.TF32_REGRESSION),
        (Precision.FP16, 40, Kind.FP16_REGRESSION),
        (Precision.BF16, 24, Kind.BF16_REGRESSION),
    ],
)
def test_each_floating_precision_has_a_level_of_its_own(
    precision: Precision, floor: float, kind: Kind, share: float, *, found: bool
) -> None:
    one = floating("base", floor - share * MARGIN, precision)
    seen = [(v.kind, v.against) for v in judged(one)["base"]]
    assert ((kind, f"{floor} dB") in seen) is found
    if not share:
        assert seen == [(Kind.OK, None)]


def test_fp32_that_is_wrong_on_a_few_images_is_not_ok() -> None:
    """41 dB in fp32: 3 of 40 images are at 30 dB, the others are exact."""
    pattern = np.full(IMAGES, 1e-10)
    pattern[[3, 17, 30]] = 1e-3
    one = floating("base", 40, Precision.FP32, sample=builds(1, 1, 1, pattern=pattern))
    assert told(one)["base"] == {Kind.FP32_REGRESSION}


def test_a_reduced_precision_is_compared_with_the_baseline_too() -> None:
    base = floating("base", 60, Precision.FP16)
    found = judged(base, floating("new", 55, Precision.FP16))
    assert [(one.kind, one.against) for one in found["new"]] == [
        (Kind.FP16_REGRESSION, "base/cpu/fp16")
    ]
    assert {one.kind for one in found["base"]} == {Kind.OK}
    assert told(base, floating("new", 59.6, Precision.FP16))["new"] == {Kind.OK}
    fp32 = told(floating("base", 140, Precision.FP32), floating("new", 100, Precision.FP32))
    assert fp32["new"] == {Kind.OK}, (
        "of fp32 only the level matters: both are far more exact than int8"
    )


def test_below_its_level_and_below_the_baseline_is_told_as_both() -> None:
    found = judged(floating("base", 60, Precision.FP16), floating("new", 30, Precision.FP16))
    assert {one.against for one in found["new"]} == {"40 dB", "base/cpu/fp16"}


def test_one_build_in_floating_point_is_judged_with_an_assumed_noise() -> None:
    """1.5 dB a build: a broken one is far beyond that, and a build that just misses is not."""
    once = {"sample": builds(1e-3), "fixed": False}
    broken = floating("base", 30, Precision.FP32, **once)
    assert told(broken)["base"] == {Kind.FP32_REGRESSION}
    near = {"sample": builds(10**-5.9), "fixed": False}
    assert Kind.FP32_REGRESSION not in told(floating("base", 59, Precision.FP32, **near))["base"]
