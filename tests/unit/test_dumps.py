"""Reading what somebody's own program wrote: every form, and whatever else a file may hold."""

import io
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.dump_files import VALUES, npy, only, read, written
from trt_matrix.dumps.files import files_below, shapes_that_fit, tensors
from trt_matrix.dumps.suspicions import other_dtype
from trt_matrix.dumps.tensor import ByteOrder, ChannelOrder, DType, DumpError, FileFormat, sample


def reason(path: Path, form: FileFormat | None = None) -> str:
    with pytest.raises(DumpError) as caught:
        tensors(path, form or FileFormat())
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", DType)
@pytest.mark.parametrize("order", ByteOrder)
def test_raw_numbers_of_every_type_and_byte_order(
    tmp_path: Path, dtype: DType, order: ByteOrder
) -> None:
    form = FileFormat(dtype=dtype, byte_order=order)
    sign = "<" if order is ByteOrder.LITTLE else ">"
    stored = VALUES.astype(f"{sign}f{np.dtype(dtype).itemsize}")
    tensor = only(written(tmp_path / "x.out", stored.tobytes()), form)
    assert (tensor.elements, tensor.shape) == (VALUES.size, None)
    assert read(tensor).dtype == np.float32
    np.testing.assert_array_equal(read(tensor), stored.astype(np.float32).reshape(-1))


@pytest.mark.parametrize("size", [1, 7, 119, 120, 121, 10_000])
def test_blocks_of_any_size_hold_the_same_numbers(tmp_path: Path, size: int) -> None:
    tensor = only(written(tmp_path / "x", VALUES.tobytes()))
    assert [len(block) for block in tensor.blocks(size)] == (
        [size] * (120 // size) + [120 % size] * (120 % size > 0)
    )
    np.testing.assert_array_equal(read(tensor, size), VALUES.reshape(-1))


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_npy_says_itself_what_it_is_whatever_it_is_called(tmp_path: Path, dtype: str) -> None:
    stored = VALUES.astype(dtype)
    path = written(tmp_path / "x.bin", npy(stored))
    tensor = only(path, FileFormat(byte_order=ByteOrder.BIG, dtype=DType.FLOAT16, shape=(9,)))
    assert tensor.shape == VALUES.shape
    np.testing.assert_array_equal(read(tensor), stored.astype(np.float32).reshape(-1))


def test_npy_of_version_2(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, VALUES, version=(2, 0))
    tensor = only(written(tmp_path / "x.npy", stream.getvalue()))
    np.testing.assert_array_equal(read(tensor), VALUES.reshape(-1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_holds_tensors_by_name(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "x.npz", small=VALUES, large=VALUES[:1] * 2)
    small, large = tensors(tmp_path / "x.npz", FileFormat())
    assert (small.member, large.member) == ("small.npy", "large.npy")
    assert large.where == f"{tmp_path / 'x.npz'}[large]"
    np.testing.assert_array_equal(read(small), VALUES.reshape(-1))
    np.testing.assert_array_equal(read(large), VALUES[:1].reshape(-1) * 2)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 20), (-1, 3, 4, 5)])
def test_channels_last_is_brought_in_order(tmp_path: Path, shape: tuple[int, ...]) -> None:
    planes = VALUES.reshape(shape)
    last = np.ascontiguousarray(np.moveaxis(planes, 1, -1))
    for path, form in (
        (
            written(tmp_path / "raw", last.tobytes()),
            FileFormat(shape=shape, layout=ChannelOrder.NHWC),
        ),
        (written(tmp_path / "x.npy", npy(last)), FileFormat(layout=ChannelOrder.NHWC)),
    ):
        tensor = only(path, form)
        assert tensor.shape == planes.shape
        np.testing.assert_array_equal(read(tensor, 1), VALUES.reshape(-1))
        np.testing.assert_array_equal(read(tensor, 5), VALUES.reshape(-1))


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_without_positions_there_is_nothing_to_bring_in_order(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    array = np.arange(6, dtype=np.float32).reshape(shape)
    tensor = only(written(tmp_path / "x.npy", npy(array)), FileFormat(layout=ChannelOrder.NHWC))
    np.testing.assert_array_equal(read(tensor), np.arange(6))


def test_a_shape_may_leave_values_after_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "heads", np.arange(10, dtype=">f4").tobytes())
    form = FileFormat(shape=(2, 3), longer=True, byte_order=ByteOrder.BIG)
    tensor = only(path, form)
    assert (tensor.elements, tensor.elements_after) == (6, 4)
    assert tensor.value_after_the_end() == 6.0
    np.testing.assert_array_equal(read(tensor), np.arange(6))


def test_no_value_follows_the_end_of_a_file(tmp_path: Path) -> None:
    assert only(written(tmp_path / "x", VALUES.tobytes())).value_after_the_end() is None


def test_doubles_beyond_float32_become_infinite_without_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path / "x", np.array([1e300, -1e300, 1.0]).tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = read(only(path, FileFormat(dtype=DType.FLOAT64)))
    np.testing.assert_array_equal(values, [np.inf, -np.inf, 1.0])


# Files that are refused


def test_missing_empty_and_odd_files(tmp_path: Path) -> None:
    assert "does not exist" in reason(tmp_path / "none")
    assert "no regular file" in reason(tmp_path)
    assert "is empty" in reason(written(tmp_path / "empty", b""))
    assert "13 bytes, no multiple of 4" in reason(written(tmp_path / "odd", bytes(13)))
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in reason(tmp_path / "pipe")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x", bytes(8))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read whatever the mode says
    assert "Permission denied" in reason(path)


def test_text_is_no_raw_file(tmp_path: Path) -> None:
    text = "\n".join(f"{value:.6f}" for value in VALUES.reshape(-1))
    path = written(tmp_path / "x.txt", (text + "  ")[: len(text) // 4 * 4].encode())
    assert "holds text" in reason(path)


@pytest.mark.parametrize(
    ("elements", "shape", "said"),
    [
        (480, (1, 3, 4, 5), "480 elements, --shape 1,3,4,5 needs 60: 8,3,4,5 would fit"),
        (75, (1, 3, 4, 4), "1,3,5,5 would fit"),
        (7, (1, 3, 4, 5), "is it another head?"),
        (120, (1, 3, 4, 5), "it fits as float64, try --dtype float64"),
        (30, (1, 3, 4, 5), "it fits as float16, try --dtype float16"),
        (61, (-1, 3, 4, 5), "needs a multiple of 60"),
    ],
)
def test_a_shape_that_does_not_fit(
    tmp_path: Path, elements: int, shape: tuple[int, ...], said: str
) -> None:
    path = written(tmp_path / "x", np.ones(elements, np.float32).tobytes())
    assert said in reason(path, FileFormat(shape=shape))


def test_a_file_shorter_than_the_shape_is_refused_even_if_longer_ones_are_taken(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "x", bytes(20))
    assert "5 elements, --shape 6 needs 6" in reason(path, FileFormat(shape=(6,), longer=True))


@given(st.integers(1, 10**6), st.lists(st.integers(1, 64), min_size=1, max_size=5))
def test_shapes_said_to_fit_do_fit(elements: int, shape: list[int]) -> None:
    for found in shapes_that_fit(elements, shape):
        assert np.prod(found) == elements
        assert found != tuple(shape)
        assert len(found) == len(shape)


def test_channels_last_in_a_raw_file_needs_a_shape(tmp_path: Path) -> None:
    path = written(tmp_path / "x", VALUES.tobytes())
    assert "needs --shape" in reason(path, FileFormat(layout=ChannelOrder.NHWC))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.arange(6), "holds int64"),
        (np.array(["a"]), "holds <U1"),
        (np.ones(3, [("a", "<f4")]), "holds [('a', '<f4')]"),
        (np.ones(3, np.complex64), "holds complex64"),
        (np.ones(3, np.longdouble), "holds float128"),
        (np.asfortranarray(VALUES), "Fortran order"),
        (np.empty((0, 3), np.float32), "shape (0, 3): there is nothing"),
    ],
)
def test_arrays_that_are_no_floats_in_order(tmp_path: Path, array: np.ndarray, said: str) -> None:
    assert said in reason(written(tmp_path / "x.npy", npy(array)))


def test_a_fortran_order_that_changes_nothing(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(5, dtype=np.float32).reshape(1, 5, 1))
    content = npy(array).replace(b"'fortran_order': False", b"'fortran_order': True ")
    np.testing.assert_array_equal(read(only(written(tmp_path / "x.npy", content))), np.arange(5))


def test_cut_and_damaged_npy(tmp_path: Path) -> None:
    whole = npy(VALUES)
    assert "promises 120 elements, there are bytes for 119" in reason(
        written(tmp_path / "a.npy", whole[:-1])
    )
    assert "damaged .npy header" in reason(written(tmp_path / "b.npy", whole[:20]))
    assert "does not begin like one" in reason(written(tmp_path / "c.npy", whole[1:]))
    assert "version (9, 0)" in reason(
        written(tmp_path / "d.npy", whole[:6] + b"\x09\x00" + whole[8:])
    )
    assert "bytes for" in reason(
        written(tmp_path / "e.npy", whole.replace(b"(2, 3, 4, 5)", b"(2,3,4,9999)"))
    )
    assert "nothing to compare" in reason(
        written(tmp_path / "f.npy", whole.replace(b"(2, 3, 4, 5)", b"(-2,3,-4,5) "))
    )


def test_npz_without_arrays_with_two_of_one_name_and_pickled(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "none.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "without arrays" in reason(tmp_path / "none.npz")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    assert "without arrays" in reason(tmp_path / "empty.npz")
    with zipfile.ZipFile(tmp_path / "two.npz", "w") as archive:
        archive.writestr("a.npy", npy(VALUES))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", npy(VALUES))
    assert "two arrays of one name" in reason(tmp_path / "two.npz")
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], object))
    assert "holds object" in reason(tmp_path / "pickled.npz")


def test_a_damaged_member_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=VALUES)
    content = bytearray(path.read_bytes())
    content[content.index(VALUES.tobytes()[:16]) + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DumpError, match="Bad CRC-32"):
        read(only(path))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_member_shorter_than_it_says(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "x.npz"
    (np.savez_compressed if compressed else np.savez)(path, a=VALUES)
    tensor = only(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DumpError, match="damaged"):
        read(tensor)


def test_a_file_that_shrinks_or_goes_away_meanwhile(tmp_path: Path) -> None:
    path = written(tmp_path / "x", VALUES.tobytes())
    tensor = only(path)
    path.write_bytes(VALUES.tobytes()[:100])
    with pytest.raises(DumpError, match="ended after 25 of 120 elements"):
        read(tensor)
    path.unlink()
    with pytest.raises(DumpError, match="No such file"):
        read(tensor)


# Whatever the bytes are

BEGINNINGS = [b"", b"\x93NUMPY\x01\x00v\x00", b"\x93NUMPY\x02\x00", b"PK\x03\x04", npy(VALUES)[:80]]


def survives(path: Path, form: FileFormat) -> None:
    """Reads all of a file, or raises the declared error."""
    try:
        for tensor in tensors(path, form):
            for block in tensor.blocks(3 * tensor.elements_at_once):
                assert block.dtype == np.float32
            tensor.value_after_the_end()
            other_dtype(sample(tensor), tensor.dtype)
    except DumpError as error:
        assert str(path) in str(error)  # noqa: PT017 - either way is right


FORMS = st.builds(
    FileFormat,
    shape=st.sampled_from([None, (2, 3), (1, 2, 3), (-1, 2, 2)]),
    dtype=st.sampled_from(DType),
    byte_order=st.sampled_from(ByteOrder),
    layout=st.sampled_from(ChannelOrder),
    longer=st.booleans(),
)


@settings(max_examples=300)
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=200), FORMS)
def test_random_bytes_raise_nothing_but_the_declared_error(
    tmp_path_factory: pytest.TempPathFactory, beginning: bytes, rest: bytes, form: FileFormat
) -> None:
    folder = tmp_path_factory.getbasetemp()
    survives(written(folder / "fuzz.bin", beginning + rest), form)


HEADERS = st.text(
    alphabet="{}()[]'\": ,descrfortan_ohpTFul<>f48iVO|0123456789-\\x\n\t", max_size=120
)


@settings(max_examples=300)
@given(HEADERS, st.binary(max_size=64))
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", b"")
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }", b"abcd")
@example("{'descr': '<f4', 'fortran_order': False, 'shape': (3L,), }", bytes(12))
@example("(" * 110, b"")
@example("{'descr': [('a', '<f4')], 'fortran_order': 1, 'shape': ()}", b"abcd")
def test_any_npy_header(tmp_path_factory: pytest.TempPathFactory, header: str, rest: bytes) -> None:
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + rest
    survives(written(tmp_path_factory.getbasetemp() / "fuzz.npy", content), FileFormat())


@settings(max_examples=300)
@given(st.data())
def test_any_damage_to_an_archive(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    compressed = data.draw(st.booleans())
    (np.savez_compressed if compressed else np.savez)(path, a=VALUES[0, 0], b=VALUES[0, 1])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    survives(written(path, bytes(content[: data.draw(st.integers(4, len(content)))])), FileFormat())


# Folders


def test_files_below_a_folder_have_relative_names(tmp_path: Path) -> None:
    for name in ("b.bin", "a/x.bin", "a/y.npy", ".hidden", ".git/z.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list(files_below(tmp_path, [])) == ["a/x.bin", "a/y.npy", "b.bin"]
    assert list(files_below(tmp_path, ["*.npy", "b*"])) == ["a/y.npy", "b.bin"]


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="cannot read .*none: No such file"):
        files_below(tmp_path / "none", [])
