"""Images fitted into the network's input: where they lie, how they are resized, what becomes of a pixel."""

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trt_matrix.config.data import Filter, Preprocess
from trt_matrix.inputs.images import ImagePlacement, fit, placement


@pytest.mark.parametrize("filter_", ["bilinear", "linear", "lanczos", "nearest"])
def test_colours_are_resized_whatever_is_opaque(filter_: Filter) -> None:
    """As a plain array of four channels is; weighed by the fourth, the red would be 200 throughout."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, :2] = (200, 0, 0, 255)
    settings = Preprocess(resize="stretch", color="rgba", scale=1, filter=filter_)
    values, _ = fit(Image.fromarray(pixels), (8, 8), settings)
    plain, _ = fit(
        Image.fromarray(pixels[..., 0]),
        (8, 8),
        Preprocess(resize="stretch", color="gray", scale=1, filter=filter_),
    )
    assert values.shape == (8, 8, 4)
    assert values[..., 0].tolist() == plain[..., 0].tolist()


def test_nothing_is_beside_an_image_with_four_channels() -> None:
    settings = Preprocess(color="bgra", scale=1, pad=51, mean=(1, 0, 0, 0))
    values, _ = fit(Image.new("RGBA", (4, 2), (10, 20, 30, 40)), (4, 4), settings)
    assert values[1, 0].tolist() == [29, 20, 10, 40]
    assert values[0, 0].tolist() == [50, 51, 51, 0]


# Fitting


def test_a_letterboxed_image_keeps_its_proportions() -> None:
    assert placement((640, 480), (320, 320), Preprocess(resize="letterbox")) == ImagePlacement(
        width=640, height=480, inner_width=320, inner_height=240, left=0, top=40
    )
    assert placement((10, 30), (8, 12), Preprocess(resize="letterbox")) == ImagePlacement(
        width=10, height=30, inner_width=3, inner_height=8, left=4, top=0
    )


def test_a_letterboxed_image_may_lie_at_the_top_left() -> None:
    settings = Preprocess(position="top_left", pad=0, scale=1)
    for size in ((640, 480), (480, 640)):
        image_placement = placement(size, (320, 320), settings)
        assert (image_placement.left, image_placement.top) == (0, 0)
        assert {image_placement.inner_width, image_placement.inner_height} == {320, 240}
    values, place = fit(Image.new("RGB", (40, 20), "white"), (30, 30), settings)
    assert (values[:15] == 255).all()
    assert (values[15:] == 0).all()
    assert (place.scale_x, place.left, place.top) == (0.75, 0, 0)


def linear(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float64]:
    """OpenCV's INTER_LINEAR, one pixel at a time: four neighbours, edges repeated."""
    rows, columns = pixels.shape[:2]
    made = np.empty((height, width, 3))
    for y, x in np.ndindex(height, width):
        v, u = (y + 0.5) * rows / height - 0.5, (x + 0.5) * columns / width - 0.5
        top, left = math.floor(v), math.floor(u)
        total = np.zeros(3)
        for j, i in np.ndindex(2, 2):
            weight = (1 - abs(v - top - j)) * (1 - abs(u - left - i))
            row, column = (min(max(top + j, 0), rows - 1), min(max(left + i, 0), columns - 1))
            total += weight * pixels[row, column]
        made[y, x] = total
    return made


@pytest.mark.parametrize(("height", "width"), [(40, 60), (7, 11), (20, 30), (3, 90), (1, 1)])
def test_linear_looks_at_four_pixels_however_much_it_shrinks(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    settings = Preprocess(resize="stretch", scale=1, filter="linear")
    values, _ = fit(Image.fromarray(pixels), (height, width), settings)
    assert np.abs(values - linear(pixels, height, width)).max() <= 0.501
    grey, _ = fit(
        Image.fromarray(pixels[..., 0]),
        (height, width),
        settings.model_copy(update={"color": "gray"}),
    )
    np.testing.assert_array_equal(grey[..., 0], values[..., 0])


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("nearest", 255, 255),
        ("box", 85, 85),
        ("bilinear", 85, 85),
        ("hamming", 100, 150),
        ("linear", 255, 255),
    ],
)
def test_each_filter_has_its_own_share_of_a_white_pixel(
    name: Filter, least: int, most: int
) -> None:
    """Nine pixels, the fifth white, become three: box and triangle give a third."""
    line = np.zeros((1, 9), np.uint8)
    line[0, 4] = 255
    settings = Preprocess(resize="stretch", scale=1, color="gray", filter=name)
    values, _ = fit(Image.fromarray(line), (1, 3), settings)
    assert least <= values[0, 1, 0] <= most
    assert values[0, 0, 0] == values[0, 2, 0] <= 10
    same, _ = fit(Image.fromarray(line), (1, 9), settings)
    np.testing.assert_array_equal(same[0, :, 0], line[0])


@pytest.mark.parametrize("name", get_args(Filter))
def test_cubics_alone_overshoot_an_edge(name: Filter) -> None:
    line = np.array([[100, 100, 200, 200]], np.uint8)
    settings = Preprocess(resize="stretch", scale=1, color="gray", filter=name)
    values, _ = fit(Image.fromarray(line), (1, 8), settings)
    assert (values.min() < 100) == (values.max() > 200) == (name in ("bicubic", "lanczos"))


def test_what_is_at_its_default_is_not_written_down() -> None:
    """Images, tables and measurements of before are known by the same key."""
    assert Preprocess().recorded().keys() == {
        "resize",
        "size",
        "scale",
        "mean",
        "std",
        "color",
        "pad",
    }
    other = Preprocess(filter="linear", position="top_left").recorded()
    assert (other["filter"], other["position"]) == ("linear", "top_left")


def test_a_stretched_image_fills_the_input() -> None:
    image_placement = placement((640, 480), (240, 320), Preprocess(resize="stretch"))
    assert (
        image_placement.scale_x,
        image_placement.scale_y,
        image_placement.left,
        image_placement.top,
    ) == (0.5, 0.5, 0, 0)
    assert placement((1, 7), (240, 320), Preprocess(resize="stretch")).inner_width == 320


SIDE = st.integers(1, 5000)


@given(SIDE, SIDE, st.integers(1, 700), st.integers(1, 700))
def test_every_image_fits(width: int, height: int, rows: int, columns: int) -> None:
    image_placement = placement((width, height), (rows, columns), Preprocess(resize="letterbox"))
    assert 1 <= image_placement.inner_width <= columns
    assert 1 <= image_placement.inner_height <= rows
    assert image_placement.inner_width == columns or image_placement.inner_height == rows
    assert 0 <= columns - image_placement.inner_width - 2 * image_placement.left <= 1
    assert 0 <= rows - image_placement.inner_height - 2 * image_placement.top <= 1
    # To the pixel, in exact arithmetic; a very long image is still one pixel wide.
    factor = min(Fraction(columns, width), Fraction(rows, height))
    for inner, side in (
        (image_placement.inner_width, width),
        (image_placement.inner_height, height),
    ):
        assert inner == 1 or abs(inner - side * factor) <= Fraction(1, 2) + Fraction(1, 10**6)


def test_a_point_is_mapped_there_and_back() -> None:
    # A white square in the middle of a black image, found again by the formula of Placement.
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:30, 20:60] = 255
    values, place = fit(Image.fromarray(pixels), (64, 64), Preprocess(pad=0))
    rows, columns = np.nonzero(values[:, :, 0] > 0.5)
    assert columns.min() == 20 * place.scale_x + place.left
    assert columns.max() + 1 == 60 * place.scale_x + place.left
    assert rows.min() == 10 * place.scale_y + place.top
    assert rows.max() + 1 == 30 * place.scale_y + place.top


def test_what_is_beside_the_image_has_the_padding_value() -> None:
    values, _ = fit(Image.new("RGB", (4, 2), "white"), (4, 4), Preprocess(pad=51))
    assert values[0].ravel() == pytest.approx(0.2)
    assert values[1:3].ravel() == pytest.approx(1)
    assert values[3].ravel() == pytest.approx(0.2)


def test_values_are_pixel_times_scale_less_mean_by_std() -> None:
    settings = Preprocess(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    values, _ = fit(Image.new("RGB", (2, 2), (255, 128, 0)), (2, 2), settings)
    expected = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]
    assert values.dtype == np.float32
    assert values[0, 0] == pytest.approx(expected, rel=1e-6)


def test_bgr_turns_the_channels_before_mean_and_std() -> None:
    settings = Preprocess(color="bgr", scale=1, mean=(1, 2, 3))
    values, _ = fit(Image.new("RGB", (1, 1), (10, 20, 30)), (1, 1), settings)
    assert values[0, 0].tolist() == [29, 18, 7]


def test_resizing_is_bilinear() -> None:
    ramp = Image.fromarray(np.array([[0, 100]], np.uint8))
    values, _ = fit(ramp, (1, 4), Preprocess(resize="stretch", color="gray", scale=1))
    assert values[0, :, 0].tolist() == [0, 25, 75, 100]


def triangle(length: int, wanted: int) -> npt.NDArray[np.float64]:
    """Returns the matrix (wanted, length) of linear interpolation, widened where it shrinks."""
    scale = length / wanted
    centres = (np.arange(wanted)[:, None] + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(length) + 0.5 - centres) / max(scale, 1), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("height", "width"), [(40, 60), (7, 11), (20, 30), (3, 90)])
def test_resizing_is_antialiased_where_it_shrinks(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    settings = Preprocess(resize="stretch", scale=1)
    values, _ = fit(Image.fromarray(pixels), (height, width), settings)
    rows, columns = triangle(20, height), triangle(30, width)
    expected = np.einsum("ih,hwc,jw->ijc", rows, pixels, columns)
    # Pillow rounds to 8 bits after each direction.
    assert np.abs(values - expected).max() < 1.01
