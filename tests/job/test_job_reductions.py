import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from job.reductions import BLOCK, ROW, SUMS, compare

EPSILON = 1e-3


def expected(y: np.ndarray, r: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """The definition, on whole images in float64."""
    rows = []
    for image_y, image_r in zip(y, r, strict=True):
        finite = np.isfinite(image_y) & np.isfinite(image_r)
        a, b = image_y[finite].astype(np.float64), image_r[finite].astype(np.float64)
        d = a - b
        rows.append(
            (
                (d**2).sum(),
                np.abs(d).sum(),
                np.abs(d).max(initial=0),
                (b**2).sum(),
                (a**2).sum(),
                (a * b).sum(),
                d.size,
                (np.abs(d) > epsilon).sum(),
                finite.size - d.size,
            )
        )
    return np.array(rows, SUMS)


def assert_close(sums: np.ndarray, wanted: np.ndarray) -> None:
    for name in ("n", "nonfinite"):
        np.testing.assert_array_equal(sums[name], wanted[name])
    for name in ("d2", "d1", "dmax", "r2", "y2"):
        np.testing.assert_allclose(sums[name], wanted[name], rtol=2e-5, atol=1e-300, err_msg=name)
    # ry may cancel; its error is bounded by the product of the norms.
    limit = 2e-5 * np.sqrt(wanted["r2"]) * np.sqrt(wanted["y2"])
    assert (np.abs(sums["ry"] - wanted["ry"]) <= limit + 1e-300).all()


@pytest.mark.parametrize(
    "elements", [1, ROW - 1, ROW, ROW + 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + ROW + 3]
)
def test_agrees_with_the_definition_around_every_boundary(elements: int) -> None:
    rng = np.random.default_rng(elements)
    r = rng.standard_normal((3, elements)).astype(np.float32)
    y = r + rng.normal(0, 1e-3, r.shape).astype(np.float32)
    sums = compare(y, r)
    assert_close(sums, expected(y, r))
    np.testing.assert_array_equal(sums["over"], expected(y, r)["over"])
    for name in ("d2", "r2", "y2"):  # usual data are far better than the bound
        np.testing.assert_allclose(sums[name], expected(y, r)[name], rtol=1e-6)


any_float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)
pairs = hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=6).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=any_float32),
        hnp.arrays(np.float32, shape, elements=any_float32),
    )
)


@given(pairs)
def test_any_float32_values(pair: tuple[np.ndarray, np.ndarray]) -> None:
    y, r = pair
    sums = compare(y, r, EPSILON)
    assert_close(sums, expected(y, r))
    low, high = (expected(y, r, EPSILON * factor)["over"] for factor in (1 + 1e-6, 1 - 1e-6))
    assert ((low <= sums["over"]) & (sums["over"] <= high)).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e-15, 1.0, 1e15, 1e20, 1e30])
def test_squares_beyond_float32(scale: float) -> None:
    rng = np.random.default_rng(0)
    r = (scale * rng.standard_normal((2, 5000))).astype(np.float32)
    y = (r * np.float32(1.01)).astype(np.float32)
    assert_close(compare(y, r), expected(y, r))


def test_tiny_differences_of_ordinary_values_do_not_vanish() -> None:
    r = np.zeros((1, 1000), np.float32)
    r[0, :10] = 1
    y = r.copy()
    y[0, 500] = 1e-25  # its square is below float32
    assert compare(y, r)["d2"][0] == pytest.approx(1e-50, rel=1e-6)


def test_error_bound_holds_where_adding_in_float32_is_worst() -> None:
    r = np.full((1, ROW), 2.0**-12.5, np.float32)  # squares of 2**-25: lost beside 1 one by one
    r[0, 0] = 1
    exact = (r.astype(np.float64) ** 2).sum()
    assert abs(compare(r, r)["r2"][0] / exact - 1) <= ROW * 2.0**-24


def test_identical_arrays() -> None:
    r = np.random.default_rng(0).standard_normal((2, 70_000)).astype(np.float32)
    sums = compare(r, r.copy())
    for name in ("d2", "d1", "dmax", "over", "nonfinite"):
        assert not sums[name].any()
    np.testing.assert_array_equal(sums["ry"], sums["r2"])
    np.testing.assert_array_equal(sums["y2"], sums["r2"])


def test_non_finite_elements_are_counted_and_left_out_of_their_image_only() -> None:
    r = np.ones((3, BLOCK + 5), np.float32)
    y = r + np.float32(0.5)
    y[1, 0], y[1, BLOCK + 1], r[1, 3], r[1, 0] = np.nan, np.inf, -np.inf, np.nan
    sums = compare(y, r)
    assert sums["nonfinite"].tolist() == [0, 3, 0]
    assert sums["n"].tolist() == [BLOCK + 5, BLOCK + 2, BLOCK + 5]
    assert sums["d2"].tolist() == [0.25 * n for n in sums["n"]]


def test_image_without_a_finite_element() -> None:
    y = np.full((1, 4), np.nan, np.float32)
    (row,) = compare(y, y)
    assert row.tolist() == (0, 0, 0, 0, 0, 0, 0, 0, 4)


def test_no_images_and_empty_images() -> None:
    assert compare(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)).shape == (0,)
    assert compare(np.empty((2, 0), np.float32), np.empty((2, 0), np.float32))["n"].tolist() == [
        0,
        0,
    ]


def test_rows_depend_on_their_own_image_only() -> None:
    rng = np.random.default_rng(2)
    y, r = rng.standard_normal((2, 4, 3, 50, 60)).astype(np.float32)
    together = compare(y, r)
    apart = np.concatenate([compare(y[i : i + 1], r[i : i + 1]) for i in range(4)])
    np.testing.assert_array_equal(together, apart)


def test_memory_layout_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    y, r = rng.standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    np.save(tmp_path / "y.npy", np.asfortranarray(y))
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    wide = np.repeat(r, 2, axis=-1)[..., ::2]
    np.testing.assert_array_equal(compare(mapped, wide), compare(y, r))


def test_memory_is_constant(tmp_path: Path) -> None:
    r = np.random.default_rng(4).standard_normal((20, 300_000)).astype(np.float32)
    np.save(tmp_path / "r.npy", r)
    mapped = np.load(tmp_path / "r.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        compare(mapped, mapped)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000 < r.nbytes / 10


@pytest.mark.parametrize(
    ("y", "r", "epsilon", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), np.float32), 0.1, "y is float64, expected float32"),
        (np.zeros((2, 3), "f4"), np.zeros((2, 3), "f2"), 0.1, "r is float16"),
        (np.zeros((2, 3), "f4"), np.zeros((2, 3), ">f4"), 0.1, "r is >f4"),
        (np.zeros((2, 3), "f4"), np.zeros((3, 2), "f4"), 0.1, r"\(2, 3\), r has \(3, 2\)"),
        (np.zeros((1, 3), "f4"), np.zeros((2, 3), "f4"), 0.1, "every axis"),
        (np.float32(1), np.float32(1), 0.1, "axis of images"),
        (np.zeros((2, 3), "f4"), np.zeros((2, 3), "f4"), -1, "epsilon is -1"),
        (np.zeros((2, 3), "f4"), np.zeros((2, 3), "f4"), float("nan"), "epsilon is nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    y: np.ndarray, r: np.ndarray, epsilon: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(y, r, epsilon)
