"""Recorded outputs of one head: their names, sizes and axes, and what is missing."""

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trt_matrix.dumps.pattern import fields, filled, matching, pattern_problem
from trt_matrix.dumps.recorded import Found, Recorded, write_head
from trt_matrix.dumps.tensor import ByteOrder, ChannelOrder, DType, DumpError, FileFormat

RNG = np.random.default_rng(3)
IMAGES = ("car", "dog", "owl")
SHAPE = (6, 4, 5)
VALUES = RNG.normal(size=(len(IMAGES), *SHAPE)).astype(np.float32)

# Names

NAMES = st.text("abz019._- {}é", min_size=1, max_size=8).filter(lambda text: "{" not in text)
VALUE = {
    "head": st.text("abz019._-()[]*+?é ", min_size=1, max_size=8),
    "image": st.text("abz019._-()[]*+?é ", min_size=1, max_size=8),
    "index": st.integers(0, 10**6),
    "repeat": st.integers(0, 99),
}
PARTS = st.sampled_from(
    [
        "{head}",
        "{image}",
        "{index}",
        "{index:04d}",
        "{repeat}",
        "{repeat:02d}",
        "/",
        "_",
        ".raw",
        "a",
    ]
)


@given(st.lists(PARTS, min_size=1, max_size=6).map("".join), st.fixed_dictionaries(VALUE))
def test_a_filled_name_matches_its_pattern_whatever_is_known(
    pattern: str, values: Mapping[str, str | int]
) -> None:
    name = filled(pattern, values)
    assert "{" not in name
    for known in ({}, {"head": values["head"]}, values):
        assert matching(pattern, known).fullmatch(name)
    assert fields(pattern) == {one for one in VALUE if f"{{{one}" in pattern}


@given(st.text("{}headimgndxrpt:0149d/._", max_size=30))
def test_any_text_is_a_pattern_or_has_a_problem(text: str) -> None:
    if pattern_problem(text) is None:
        name = filled(text, {"head": "h", "image": "i", "index": 1, "repeat": 0})
        assert not {"{", "}"} & set(name)
        assert not Path(name).is_absolute()
        assert ".." not in Path(name).parts


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "no file below the folder"),
        ("/x/{image}", "no file below the folder"),
        ("a/../../{image}", "no file below the folder"),
        ("{picture}.raw", "a placeholder that is none"),
        ("{image", "a placeholder that is none"),
        ("{image:04d}", "is a name, not a number"),
        ("{index:4}", "a placeholder that is none"),
    ],
)
def test_what_is_no_pattern(pattern: str, said: str) -> None:
    assert said in (pattern_problem(pattern) or "")


def test_a_name_with_special_letters_is_no_expression() -> None:
    assert not matching("{head}.raw", {"head": "a.b"}).fullmatch("aXb.raw")


# Files


def recorded(folder: Path, files: str, **form: object) -> Recorded:
    return Recorded(
        folder=folder,
        files=files,
        images=IMAGES,
        form=FileFormat(**form),  # type: ignore[arg-type]
        names={"large": "large", "small": "small"},
    )


def write(folder: Path, pattern: str, values: np.ndarray = VALUES, dtype: str = "<f4") -> None:
    for index, (image, one) in enumerate(zip(IMAGES, values, strict=True)):
        for repeat in (0, 1):
            known: dict[str, Any] = {
                "head": "small",
                "image": image,
                "index": index,
                "repeat": repeat,
            }
            path = folder / filled(pattern, known)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((one + repeat).astype(dtype).tobytes())


def read(
    source: Recorded, repeat: int = 0, shape: tuple[int, ...] = SHAPE
) -> tuple[np.ndarray, Found]:
    target = source.folder.parent / "read.npy"
    found = write_head(source, "small", shape, repeat, target)
    return np.load(target), found


def reason(source: Recorded, shape: tuple[int, ...] = SHAPE) -> str:
    target = source.folder.parent / "read.npy"
    with pytest.raises(DumpError) as caught:
        write_head(source, "small", shape, 0, target)
    assert not list(source.folder.parent.glob("read*"))  # whole or not at all
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize(
    "pattern",
    [
        "{head}/{image}.bin",
        "{index}_{head}",
        "{image}-{head}-{index:04d}.raw",
        "{repeat}/{head}{index}",
    ],
)
def test_a_file_an_image(folder: Path, pattern: str) -> None:
    write(folder, pattern)
    array, found = read(recorded(folder, pattern))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, VALUES if "repeat" in pattern else VALUES + 1)
    assert (found.files, found.extra, found.nonfinite) == (3, [], {})


def test_repeats_are_told_apart(folder: Path) -> None:
    write(folder, "{repeat}/{head}/{image}")
    for repeat in (0, 1):
        array, _ = read(recorded(folder, "{repeat}/{head}/{image}"), repeat)
        np.testing.assert_array_equal(array, VALUES + repeat)


@pytest.mark.parametrize("order", ByteOrder)
@pytest.mark.parametrize("dtype", DType)
def test_types_and_byte_orders(folder: Path, order: ByteOrder, dtype: DType) -> None:
    stored = np.dtype(dtype.value).newbyteorder("<" if order is ByteOrder.LITTLE else ">")
    write(folder, "{head}{image}", dtype=stored.str)
    array, _ = read(recorded(folder, "{head}{image}", dtype=dtype, byte_order=order, sure=True))
    np.testing.assert_array_equal(array, (VALUES + 1).astype(stored).astype(np.float32))


def test_one_file_of_all_images_with_channels_last(folder: Path) -> None:
    VALUES.transpose(0, 2, 3, 1).tofile(folder / "small.raw")
    array, found = read(recorded(folder, "{head}.raw", layout=ChannelOrder.NHWC))
    np.testing.assert_array_equal(array, VALUES)
    assert found.files == 1


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("layout", ChannelOrder)
def test_npy_with_and_without_a_batch_axis(folder: Path, batch: bool, layout: ChannelOrder) -> None:
    for image, one in zip(IMAGES, VALUES, strict=True):
        array = one if layout is ChannelOrder.NCHW else one.transpose(1, 2, 0)
        np.save(folder / f"{image}.npy", array[np.newaxis] if batch else array)
    source = Recorded(
        folder=folder, files="{image}.npy", images=IMAGES, form=FileFormat(layout=layout)
    )
    np.testing.assert_array_equal(read(source)[0], VALUES)


def test_an_array_of_an_npz_by_what_the_program_calls_it(folder: Path) -> None:
    np.savez(folder / "all.npz", out_17=VALUES, out_23=VALUES * 2)
    source = Recorded(
        folder=folder, files="all.npz", images=IMAGES, names={"small": "out_17", "large": "out_23"}
    )
    np.testing.assert_array_equal(read(source)[0], VALUES)
    (folder.parent / "read.npy").unlink()
    other = Recorded(folder=folder, files="all.npz", images=IMAGES, names={"small": "small"})
    assert "has no array 'small', only" in reason(other)


def test_a_head_without_positions(folder: Path) -> None:
    VALUES[:, :, 0, 0].tofile(folder / "small.raw")
    array, _ = read(recorded(folder, "{head}.raw", layout=ChannelOrder.NHWC), shape=(6,))
    np.testing.assert_array_equal(array, VALUES[:, :, 0, 0])


# What is wrong with them


def test_missing_files_are_named_beside_those_of_no_image(folder: Path) -> None:
    write(folder, "{head}/{image}.bin")
    for image in ("car", "owl"):
        (folder / f"small/{image}.bin").rename(folder / f"small/{image}2.bin")
    said = reason(recorded(folder, "{head}/{image}.bin"))
    assert "small/car.bin, small/owl.bin are missing, 2 of 3" in said
    assert "small/car2.bin, small/owl2.bin are there instead" in said


def test_files_of_no_image_are_noted(folder: Path) -> None:
    write(folder, "{head}/{image}.bin")
    (folder / "small/emu.bin").write_bytes(b"1234")
    (folder / "small/readme.txt").write_text("not of the pattern")
    _, found = read(recorded(folder, "{head}/{image}.bin"))
    assert found.extra == ["small/emu.bin"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((6, 4, 4), "480 bytes, expected 384: (1, 6, 4, 4) of float32"),
        ((7, 4, 4), "480 bytes, expected 448: (1, 7, 4, 4) of float32"),
        ((119,), "it has one value more, as a loop up to i <= n writes"),
        ((240,), "it fits as float16: see `dtype`"),
        ((60,), "it fits as float64: see `dtype`"),
        ((2, 4, 5), "(3, 2, 4, 5) would fit"),
    ],
)
def test_another_size(folder: Path, shape: tuple[int, ...], said: str) -> None:
    write(folder, "{head}{image}")
    assert said in reason(recorded(folder, "{head}{image}"), shape)


def test_fewer_images_than_there_should_be(folder: Path) -> None:
    VALUES[:2].tofile(folder / "small.raw")
    assert "(2, 6, 4, 5) would fit" in reason(recorded(folder, "{head}.raw"))


def test_axes_in_another_order(folder: Path) -> None:
    np.save(folder / "small.npy", VALUES.transpose(0, 2, 3, 1))
    said = reason(recorded(folder, "{head}.npy"))
    assert "has shape (3, 4, 5, 6), expected (3, 6, 4, 5) (nchw): see `layout`" in said


def test_misread_numbers(folder: Path) -> None:
    write(folder, "{head}{image}", dtype=">f4")
    assert "looks like big-endian float32" in reason(recorded(folder, "{head}{image}"))
    array, _ = read(recorded(folder, "{head}{image}", sure=True))
    assert not np.allclose(array, VALUES)  # said for sure, it is done


def test_one_file_cannot_be_two_heads_or_two_images(folder: Path) -> None:
    write(folder, "{image}")
    assert "names no {head}: which head is it?" in reason(recorded(folder, "{image}"))
    twice = Recorded(folder=folder, files="{head}{image}", images=("car", "car"))
    assert "two images have one name: use {index}" in reason(twice)


def test_nan_and_infinity_are_counted_by_file(folder: Path) -> None:
    broken = VALUES.copy()
    broken[1, 0, 0, :2] = np.nan
    broken[2, 0, 0, 0] = np.inf
    write(folder, "{head}/{image}", broken)
    array, found = read(recorded(folder, "{head}/{image}"))
    assert found.nonfinite == {"small/dog": 2, "small/owl": 1}
    np.testing.assert_array_equal(array, broken + 1)


def test_a_link_out_of_the_folder_is_not_followed_as_a_folder(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    write(elsewhere, "{head}/{image}")
    (folder / "small").symlink_to(elsewhere / "small", target_is_directory=True)
    assert "are missing" in reason(recorded(folder, "{head}/{image}"))


def test_memory_is_that_of_an_image_not_of_all(folder: Path) -> None:
    shape, images = (1, 256, 256), 64  # 256 KiB each, 16 MiB in all
    np.zeros((images, *shape), np.float32).tofile(folder / "small.raw")
    source = Recorded(
        folder=folder, files="{head}.raw", images=[str(number) for number in range(images)]
    )
    tracemalloc.start()
    try:
        read_ = write_head(source, "small", shape, 0, folder.parent / "read.npy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read_.files == 1
    assert peak < 2 << 20
