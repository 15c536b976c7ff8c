"""Images found, read and written as one array; how they fit is test_image_fitting.py."""

import hashlib
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.experiments import image
from trt_matrix.config.data import Preprocess
from trt_matrix.errors import ConfigError
from trt_matrix.inputs.images import (
    BROKEN,
    content_hashes,
    decode,
    fit,
    image_files,
    overlap,
    preprocess,
)

RGB = Preprocess()

RGBA = Preprocess(color="rgba")


GRAY = Preprocess(color="gray")


def save(path: Path, pixels: object, **options: Any) -> Path:
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def colours(*values: tuple[int, ...]) -> np.ndarray:
    """Returns one row of pixels."""
    return np.array([values], np.uint8)


# Finding


def test_images_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b.png", "a.JPG", "B.webp", "10.bmp", "9.tiff", "c.jpeg", "c.tif"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    files, problems = image_files(tmp_path)
    assert [path.name for path in files] == sorted(names)
    assert problems == ()


def test_what_is_no_image_by_its_name_is_a_problem(tmp_path: Path) -> None:
    for name in ("a.png", "notes.txt", "noname"):
        (tmp_path / name).write_bytes(b"x")
    files, problems = image_files(tmp_path)
    assert [path.name for path in files] == ["a.png"]
    assert [problem.split(":")[0].split("/")[-1] for problem in problems] == ["noname", "notes.txt"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".a.png").write_bytes(b"x")
    (tmp_path / "more.png").mkdir()
    assert image_files(tmp_path) == ((), ())


def test_a_link_to_nowhere_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    files, (problem,) = image_files(tmp_path)
    assert files == ()
    assert problem.endswith("a.png: a link to a file that is not there")


def test_hashes_are_those_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    found = content_hashes([tmp_path / "b", tmp_path / "a"])
    assert found == (hashlib.sha256(b"2").hexdigest(), hashlib.sha256(b"1").hexdigest())


def test_an_image_in_both_sets_is_found_whatever_it_is_called(tmp_path: Path) -> None:
    for name, seed in (("c1", 1), ("c2", 2), ("e1", 2), ("e2", 3)):
        image(tmp_path / f"{name}.png", seed)
    c1, c2, e1, e2 = (tmp_path / f"{name}.png" for name in ("c1", "c2", "e1", "e2"))
    assert overlap([c1, c2], [e1, e2]) == ((c2, e1),)
    assert overlap([c1], [e2]) == ()


# Decoding


def pixels_of(path: Path, settings: Preprocess = RGB) -> list[object]:
    return np.asarray(decode(path, settings))[0].tolist()


def test_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", colours((255, 0, 10), (1, 2, 3)))
    assert pixels_of(path) == [[255, 0, 10], [1, 2, 3]]


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[7, 200]], np.uint8))
    assert pixels_of(path) == [[7, 7, 7], [200, 200, 200]]
    assert pixels_of(path, GRAY) == [7, 200]


def test_colours_become_grey_by_luma(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", colours((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    assert pixels_of(path, GRAY) == [76, 150, 29]  # ITU-R 601: 0.299, 0.587, 0.114


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_are_scaled_down(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, np.array([[0, 32768, 65535]], np.uint16))
    assert pixels_of(path, GRAY) == [0, 128, 255]
    assert pixels_of(path) == [[0] * 3, [128] * 3, [255] * 3]


def test_sixteen_bits_of_the_other_byte_order(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], ">u2")
    Image.frombytes("I;16B", (3, 1), values.tobytes()).save(tmp_path / "a.tiff")
    assert pixels_of(tmp_path / "a.tiff", GRAY) == [0, 1, 255]


def test_a_float_image_lies_between_0_and_1(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", np.array([[-1, 0, 0.5, 1, 2, np.nan, np.inf]], np.float32))
    assert pixels_of(path, GRAY) == [0, 0, 128, 255, 255, 0, 255]


def test_transparency_is_laid_over_the_padding(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", colours((255, 0, 0, 255), (255, 0, 0, 0), (255, 255, 255, 128)))
    assert pixels_of(path) == [[255, 0, 0], [114, 114, 114], [185, 185, 185]]
    assert pixels_of(path, Preprocess(pad=0))[1] == [0, 0, 0]
    assert pixels_of(path, GRAY)[1] == 114


def test_grey_with_transparency(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[9, 9]], np.uint8))
    grey.putalpha(Image.fromarray(np.array([[255, 0]], np.uint8)))
    grey.save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png") == [[9, 9, 9], [114, 114, 114]]


def test_how_opaque_a_pixel_is_is_a_channel_where_that_is_asked_for(tmp_path: Path) -> None:
    clear = save(tmp_path / "a.png", colours((255, 0, 0, 7), (9, 8, 7, 0)))
    assert pixels_of(clear, RGBA) == [[255, 0, 0, 7], [9, 8, 7, 0]]
    assert pixels_of(save(tmp_path / "b.png", colours((1, 2, 3))), RGBA) == [[1, 2, 3, 255]]
    assert pixels_of(save(tmp_path / "c.png", np.array([[5]], np.uint8)), RGBA) == [[5, 5, 5, 255]]


def test_palettes_are_resolved(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    indexed.putpalette([10, 20, 30, 40, 50, 60])
    indexed.save(tmp_path / "a.png")
    indexed.save(tmp_path / "t.png", transparency=1)
    assert pixels_of(tmp_path / "a.png") == [[10, 20, 30], [40, 50, 60]]
    assert pixels_of(tmp_path / "t.png") == [[10, 20, 30], [114, 114, 114]]


def test_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png") == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((2, 3, 3), np.uint8)
    upright[0, 0] = 255
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", np.ascontiguousarray(undo[orientation](upright)), exif=exif)
    assert np.array_equal(np.asarray(decode(path, RGB)), upright)


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (1, 1), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert pixels_of(tmp_path / "a.png") == [[255, 0, 0]]


def fails(tmp_path: Path, content: bytes, name: str = "bad.png") -> str:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        preprocess([tmp_path / name], (3, 4, 4), RGB, tmp_path / "out.npy")
    (problem,) = caught.value.problems
    assert problem.startswith(str(tmp_path / name))
    return problem


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 1, (50, 50))
    image(tmp_path / "a.jpg", 1, (50, 50))
    for name in ("a.png", "a.jpg"):
        whole = (tmp_path / name).read_bytes()
        assert "a broken image" in fails(tmp_path, whole[: len(whole) // 2])
    assert "not an image of a known format" in fails(tmp_path, b"")
    assert "not an image of a known format" in fails(tmp_path, b"hello")


def test_a_format_that_starts_another_program_is_not_opened(tmp_path: Path) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    assert "not an image of a known format" in fails(tmp_path, postscript)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 8_000)).save(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    assert len(content) < 100_000
    assert "20000×8000 pixels are more than 100000000; make it smaller" in fails(tmp_path, content)


def test_a_larger_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("1", (20_000, 8_000)).save(tmp_path / "bomb.bmp")
    content = bytearray((tmp_path / "bomb.bmp").read_bytes()[:200])
    content[18:26] = (60_000).to_bytes(4, "little") * 2
    assert "make it smaller" in fails(tmp_path, bytes(content))


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.png: .*No such file"):
        preprocess([tmp_path / "gone.png"], (3, 4, 4), RGB, tmp_path / "out.npy")


def test_all_bad_images_are_named_at_once(tmp_path: Path) -> None:
    image(tmp_path / "1.png", 1)
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError) as caught:
        preprocess(sorted(tmp_path.glob("*.png")), (3, 4, 4), RGB, tmp_path / "out.npy")
    assert [problem.split(":")[0][-5:] for problem in caught.value.problems] == ["0.png", "2.png"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tiff"])
def test_damaged_images_raise_what_is_expected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    image(path, 1, (30, 20))
    whole = path.read_bytes()
    chance = random.Random(suffix)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(4):
            content[chance.randrange(min(200, len(content)))] = chance.randrange(256)
        path.write_bytes(content[: chance.randrange(1, len(content))])
        try:
            decode(path, RGB)
        except BROKEN:
            refused += 1
    assert refused > 75


# The array


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_array_holds_every_image_in_order(tmp_path: Path, channels_last: bool) -> None:
    files = []
    for index in range(3):
        files.append(tmp_path / f"{index}.png")
        image(files[-1], index, (9 + index, 5))
    target = tmp_path / "out.npy"
    places = preprocess(files, (3, 6, 8), RGB, target, channels_last=channels_last)
    array = np.load(target)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.shape == ((3, 6, 8, 3) if channels_last else (3, 3, 6, 8))
    for index, path in enumerate(files):
        values, place = fit(decode(path, RGB), (6, 8), RGB)
        expected = values if channels_last else values.transpose(2, 0, 1)
        assert np.array_equal(array[index], expected)
        assert places[index] == place


def test_grey_images_for_a_grey_network(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 1)
    preprocess([tmp_path / "a.png"], (1, 4, 4), GRAY, tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == (1, 1, 4, 4)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_an_image_of_one_pixel(tmp_path: Path, resize: str) -> None:
    path = save(tmp_path / "a.png", colours((255, 255, 255)))
    settings = Preprocess.model_validate({"resize": resize})
    preprocess([path], (3, 4, 4), settings, tmp_path / "out.npy")
    assert np.all(np.load(tmp_path / "out.npy") == 1)


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg", 1)
    for name in ("x.npy", "y.npy"):
        preprocess([tmp_path / "a.jpg"], (3, 8, 8), RGB, tmp_path / name)
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "y.npy").read_bytes()


def peak(files: Sequence[Path], target: Path) -> int:
    """Returns the most memory, in bytes, that Python and numpy held at once."""
    tracemalloc.start()
    try:
        preprocess(files, (3, 64, 64), RGB, target)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 1)
    target = tmp_path / "x.npy"
    few, many = [tmp_path / "a.png"] * 2, [tmp_path / "a.png"] * 60
    peak(few, target)  # what is made once
    assert peak(many, target) - peak(few, target) < 3 * 64 * 64 * 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_broken_image(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(2)]
    for path in files:
        image(path, 1)
    with pytest.raises(OSError, match="No space left"):
        preprocess(files, (3, 64, 64), RGB, Path("/dev/full"))
