"""Copies, frames and mirrored images are found; pictures of different things never are."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw, ImageEnhance

from trt_matrix.core.calibration import alike
from trt_matrix.core.calibration.claims import likeness_claims
from trt_matrix.core.calibration.report import Concern

DEMO = Path(__file__).parents[2] / "demo" / "images"
DRAWS = range(5)


def levels(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image.convert("L"), np.float64)


def descriptions(images: list[Image.Image]) -> alike.Floats:
    return np.stack([alike.describe(levels(image)) for image in images])


def scene(seed: int, size: int = 200) -> Image.Image:
    """A picture of coloured shapes, unlike every other."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), tuple(map(int, random.integers(0, 256, 3))))
    draw = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = random.integers(-20, size, 2)
        w, h = random.integers(10, size // 2, 2)
        draw.ellipse((x, y, x + w, y + h), fill=tuple(map(int, random.integers(0, 256, 3))))
    return image


def demo(part: str, number: int) -> list[Image.Image]:
    return [
        Image.open(path).convert("RGB") for path in sorted((DEMO / part).glob("*.jpg"))[:number]
    ]


def found(images: list[Image.Image], other: list[Image.Image]) -> alike.Likeness:
    return alike.likeness(descriptions(images), descriptions(other))


def concerns(like: alike.Likeness) -> set[Concern]:
    names = [f"{index}.jpg" for index in range(like.compared[0])]
    others = [f"e{index}.jpg" for index in range(like.compared[1])]
    return {claim.concern for claim in likeness_claims(like, names, others)}


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image, np.float64)
    noise = np.random.default_rng(0).normal(0, 10, values.shape)
    return Image.fromarray(np.clip(values + noise, 0, 255).astype(np.uint8))


SAME: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the file copied": lambda image: image,
    "another quality": lambda image: jpeg(image, 30),
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2)),
    "half as bright": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "without colour": lambda image: image.convert("L"),
    "noisy": noisy,
}


@pytest.mark.parametrize("how", SAME)
def test_an_evaluation_image_that_is_a_calibration_image_is_named(how: str) -> None:
    calibration = demo("calibration", 20)
    evaluation = demo("evaluation", 10)
    evaluation[3] = SAME[how](calibration[7])
    like = found(calibration, evaluation)
    assert [(twins.one, twins.other, twins.mirrored) for twins in like.across] == [(7, 3, False)]
    assert like.across[0].cosine >= alike.COPY
    (claim,) = likeness_claims(like, [f"c{i}" for i in range(20)], [f"e{i}" for i in range(10)])
    assert claim.text.startswith("1 of 10 evaluation images is nearly the same picture")
    assert "e3 as c7" in claim.text


def test_a_mirrored_copy_is_found_and_called_that() -> None:
    calibration = demo("calibration", 20)
    evaluation = demo("evaluation", 10)
    evaluation[3] = calibration[7].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    like = found(calibration, evaluation)
    assert [(twins.one, twins.other, twins.mirrored) for twins in like.across] == [(7, 3, True)]
    exact = alike.describe(levels(evaluation[3]))
    turned = alike.mirrored(descriptions([calibration[7]]))[0]
    # The grid's areas of 320 pixels are not symmetric to the pixel.
    assert float(exact @ turned) > 0.95


def test_mirroring_twice_changes_nothing() -> None:
    every = descriptions([scene(seed) for seed in range(4)])
    np.testing.assert_array_equal(alike.mirrored(alike.mirrored(every)), every)


# False alarms


def test_pictures_that_are_alike_on_purpose_are_no_copies() -> None:
    """The demo's: digits of the same kind on photographs."""
    like = found(demo("calibration", 128), demo("evaluation", 128))
    assert (like.across, like.scenes, like.evaluation_scenes, like.flat) == ((), (), (), ())
    assert concerns(like) == set()


@pytest.mark.parametrize("draw", DRAWS)
def test_made_up_scenes_are_no_copies(draw: int) -> None:
    images = [scene(1000 * draw + index) for index in range(80)]
    like = found(images[:40], images[40:])
    assert (like.across, like.scenes, like.evaluation_scenes) == ((), (), ())


@pytest.mark.parametrize("draw", DRAWS)
def test_dark_images_are_flat_and_no_copies_of_each_other(draw: int) -> None:
    random = np.random.default_rng(draw)
    dark = [
        Image.fromarray(random.integers(0, 7, (200, 200, 3), dtype=np.uint8)) for _ in range(30)
    ]
    lit = [scene(2000 * (draw + 1) + index) for index in range(30)]
    like = found(dark, lit)
    assert (like.across, like.scenes) == ((), ())
    assert like.flat == tuple(range(30))
    assert concerns(like) == {Concern.FLAT}
    # Where the evaluation is as dark, that is what is to be judged.
    assert concerns(found(dark[:15], dark[15:])) == set()


@pytest.mark.parametrize("draw", DRAWS)
def test_pictures_with_the_same_black_bars_or_horizon_are_no_copies(draw: int) -> None:
    """A strong edge at the same place in all of them is not what a picture shows."""
    random = np.random.default_rng(draw)
    images = []
    for index in range(60):
        image = scene(3000 * (draw + 1) + index)
        drawing = ImageDraw.Draw(image)
        if index % 2:
            drawing.rectangle((0, 0, 200, 30), fill=0)
            drawing.rectangle((0, 170, 200, 200), fill=0)
        else:
            drawing.rectangle((0, 0, 200, 60), fill=(235, 235, int(random.integers(200, 255))))
        images.append(image)
    like = found(images[:30], images[30:])
    assert (like.across, like.scenes) == ((), ())


@pytest.mark.parametrize("draw", DRAWS)
def test_one_camera_that_sees_different_things_makes_no_copies(draw: int) -> None:
    """Half of every picture is the same view; a copy among them is found all the same."""
    view = scene(77 + draw)
    images = []
    for index in range(60):
        image = view.copy()
        other = scene(4000 * (draw + 1) + index).crop((0, 0, 150, 150))
        image.paste(other, (25, 40))
        images.append(image)
    like = found(images[:30], images[30:])
    assert (like.across, like.scenes) == ((), ())
    images[40] = jpeg(images[5], 50)
    like = found(images[:30], images[30:])
    assert [(twins.one, twins.other) for twins in like.across] == [(5, 10)]


# Frames


def film(seed: int, frames: int) -> list[Image.Image]:
    """A camera that moves slowly over one scene."""
    whole = scene(seed, 400)
    return [whole.crop((step, step, 300 + step, 300 + step)) for step in range(0, 2 * frames, 2)]


def test_frames_of_a_video_are_one_scene() -> None:
    calibration = [*film(1, 20), *film(2, 12), scene(5), scene(6)]
    like = found(calibration, [scene(100 + index) for index in range(20)])
    assert like.scenes == (tuple(range(20)), tuple(range(20, 32)))
    (claim,) = likeness_claims(like, [f"{i}.jpg" for i in range(34)], ["e"] * 20)
    assert claim.concern is Concern.SCENES
    assert "34 calibration images show 4 scenes" in claim.text
    assert "20 nearly identical images, mostly neighbours by name" in claim.text


def test_a_video_cut_into_both_sets_is_told_as_that() -> None:
    frames = film(3, 20)
    like = found(
        [*frames[::2], *(scene(50 + i) for i in range(20))],
        [*frames[1::2], *(scene(90 + i) for i in range(20))],
    )
    assert {twins.other for twins in like.across} == set(range(10))
    assert Concern.OVERLAP in concerns(like)


def test_a_few_frames_among_many_scenes_are_not_worth_a_word() -> None:
    calibration = [*film(1, 3), *(scene(200 + index) for index in range(40))]
    like = found(calibration, [scene(300 + index) for index in range(20)])
    assert like.scenes == ((0, 1, 2),)
    assert concerns(like) == set()


# Hostile


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=32),
    )
)
def test_any_picture_has_a_description_of_length_one_or_none(
    picture: npt.NDArray[np.float64],
) -> None:
    with np.errstate(all="ignore"):
        made = alike.describe(picture)
    assert made.shape == (alike.LENGTH,)
    assert np.isfinite(made).all()
    length = float(np.linalg.norm(made))
    assert length == pytest.approx(1, abs=1e-5) or length == 0


def test_sets_of_one_image_or_none_are_compared() -> None:
    none = np.empty((0, alike.LENGTH), np.float32)
    one = descriptions([scene(1)])
    for here, there in ((none, none), (one, none), (none, one)):
        like = alike.likeness(here, there)
        assert (like.across, like.scenes) == ((), ())
    assert alike.likeness(one, one).across[0].cosine == pytest.approx(1)


def test_of_too_many_images_some_are_compared_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alike, "MOST", 20)
    every = descriptions([scene(index) for index in range(30)])
    like = alike.likeness(every, every[:5])
    assert like.compared == (10, 5)
    # The indices are those of the images, not of what was compared.
    assert {(twins.one, twins.other) for twins in like.across} <= {(i, i) for i in range(30)}
    assert like.across


def test_a_long_film_is_one_scene_in_little_time_and_memory() -> None:
    """6,000 frames that are all alike: 18 million pairs."""
    random = np.random.default_rng(1)
    base = alike.describe(levels(scene(1)))
    frames = base + random.normal(0, 0.005, (6000, alike.LENGTH)).astype(np.float32)
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    tracemalloc.start()
    like = alike.likeness(frames, frames[:1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(group) for group in like.scenes] == [6000]
    assert most < 300e6
