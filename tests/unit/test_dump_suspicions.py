"""Dumps that are read wrongly: what their numbers give away."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.dump_files import RNG, VALUES, only, written
from trt_matrix.dumps.suspicions import looks_like_text, other_dtype, other_layouts
from trt_matrix.dumps.tensor import sample

# Suspicions

HEAD = (RNG.normal(size=20_000) * 3).astype(np.float32)

SCORES = (1 / (1 + np.exp(-HEAD.astype(np.float64) * 3))).astype(np.float32)


@pytest.mark.parametrize("values", [HEAD, SCORES, np.round(HEAD * 8), np.maximum(HEAD, 0)])
@pytest.mark.parametrize("stored", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("read_as", ["<f4", ">f4"])
def test_misread_bytes_are_told_from_their_magnitudes(
    values: np.ndarray, stored: str, read_as: str
) -> None:
    found = other_dtype(values.astype(stored).tobytes(), np.dtype(read_as))
    if stored == read_as:
        assert found is None
    elif not (stored.endswith("8") and np.array_equal(values, np.round(values))):
        assert found == np.dtype(stored)  # integers as doubles have empty lower halves


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(100, np.float32),
        RNG.integers(0, 256, 40_000, dtype=np.uint8),
        np.exp(-np.abs(HEAD) * 20).astype(np.float32),  # softmax: many are below 1e-12
        np.full(100, np.nan, np.float32),
    ],
)
def test_unusual_numbers_alone_raise_no_suspicion(values: np.ndarray) -> None:
    assert other_dtype(values.tobytes(), np.dtype("<f4")) is None


def test_a_sample_reaches_the_end_of_a_large_file(tmp_path: Path) -> None:
    values = np.zeros(1 << 18, np.float32)
    values[-1] = 7
    taken = sample(only(written(tmp_path / "x", values.tobytes())))
    assert len(taken) == 16 * 4096
    assert np.frombuffer(taken, np.float32)[-1] == 7


def test_text_is_told_from_numbers() -> None:
    assert looks_like_text(b"0.125\n-3.5\n" * 9)
    assert not looks_like_text(HEAD[:100].tobytes())
    assert not looks_like_text(b"1 2 3 4 ")  # too short to say


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 3, 20)])
def test_exchanged_axes_are_found_in_both_directions(shape: tuple[int, ...]) -> None:
    planes = VALUES[:1].reshape(shape)
    last = np.moveaxis(planes, 1, -1)
    noisy = last + np.float32(0.05)
    for one, other in ((planes, noisy), (noisy, planes)):
        for told in (planes.shape, last.shape):
            found = other_layouts(one.reshape(-1), other.reshape(-1), told)
            assert found is not None
            layouts, channels_first = found
            in_order = [
                array.reshape(-1)
                if layout == "nchw"
                else np.moveaxis(array.reshape(-1, channels_first[1]), 1, 0).reshape(-1)
                for array, layout in zip((one, other), layouts, strict=True)
            ]
            np.testing.assert_allclose(in_order[0], in_order[1], atol=0.051)
            if len(shape) == 4:  # with 3 axes the other way round says the same
                assert channels_first == planes.shape


def test_tensors_that_only_differ_have_no_exchanged_axes() -> None:
    a, b = RNG.normal(size=(2, 60)).astype(np.float32)
    assert other_layouts(a, b, (1, 3, 4, 5)) is None
    assert other_layouts(a, a, (1, 3, 4, 5)) is None
    assert other_layouts(a, np.zeros_like(a), (1, 3, 4, 5)) is None
