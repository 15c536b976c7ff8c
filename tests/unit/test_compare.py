"""`trt-matrix compare`: the right numbers under the right names, and what forbids them."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trt_matrix import cli
from trt_matrix.commands.compare.comparing import compare_paths
from trt_matrix.commands.compare.options import formats
from trt_matrix.commands.compare.told import LOOP, Result, TensorComparison
from trt_matrix.errors import ConfigError

RNG = np.random.default_rng(11)
SHAPE = (2, 3, 8, 10)
REFERENCE = (RNG.normal(size=SHAPE) * 3).astype(np.float32)
OUTPUT = (REFERENCE + RNG.normal(size=SHAPE) * 0.3).astype(np.float32)


def saved(path: Path, array: np.ndarray, dtype: str = "<f4") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(array.astype(dtype).tobytes())
    return path


def compared(
    folder: Path, a: np.ndarray, b: np.ndarray, dtypes: Sequence[str] = ("<f4", "<f4"), **how: Any
) -> TensorComparison:
    paths = [saved(folder / name, x, t) for name, x, t in zip("ab", (a, b), dtypes, strict=True)]
    [found] = compare_paths(paths[0], paths[1], formats(**how)).files
    return found


def refused(a: Path, b: Path, **how: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compare_paths(a, b, formats(**how))  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


# Numbers


def expected(y: np.ndarray, r: np.ndarray, epsilon: float = 1e-3) -> dict[str, float]:
    """The metrics in plain numpy, in double."""
    y, r = y.astype(np.float64).ravel(), r.astype(np.float64).ravel()
    d = y - r
    return {
        "nmse": (d**2).sum() / (r**2).sum(),
        "sqnr_db": -10 * np.log10((d**2).sum() / (r**2).sum()),
        "mse": (d**2).mean(),
        "rmse": np.sqrt((d**2).mean()),
        "mae": np.abs(d).mean(),
        "max_abs": np.abs(d).max(),
        "cosine": (y @ r) / np.sqrt((y @ y) * (r @ r)),
        "share_over_epsilon": (np.abs(d) > epsilon).mean(),
    }


def test_every_metric_is_what_plain_numpy_gives(tmp_path: Path) -> None:
    metrics = compared(tmp_path, OUTPUT, REFERENCE).error
    for name, value in expected(OUTPUT, REFERENCE).items():
        assert getattr(metrics, name) == pytest.approx(value, rel=1e-6), name
    assert (metrics.elements, metrics.nonfinite) == (OUTPUT.size, 0)


def test_so_it_is_over_many_blocks_and_more_rows_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trt_matrix.commands.compare.comparing.AT_ONCE", 3)
    monkeypatch.setattr("trt_matrix.commands.compare.comparing.ROWS", 4)
    stages: list[str] = []
    a, b = saved(tmp_path / "a", OUTPUT), saved(tmp_path / "b", REFERENCE)
    result = compare_paths(a, b, formats(), stage=lambda _, how_far: stages.append(how_far))
    for name, value in expected(OUTPUT, REFERENCE).items():
        assert getattr(result.error, name) == pytest.approx(value, rel=1e-6), name
    assert stages[-1] in ("99%", "100%")


@settings(max_examples=60)
@given(
    st.lists(st.tuples(*[st.floats(-(2.0**60), 2.0**60, width=32)] * 2), min_size=1, max_size=40),
    st.sampled_from(["<f4", ">f4", "<f8", ">f8"]),
)
def test_any_numbers_in_any_byte_order(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[float, float]], dtype: str
) -> None:
    a, b = np.array(pairs, np.float32).T
    how = {
        "byte_order": "big" if dtype[0] == ">" else "little",
        "dtype": "float64" if dtype[2] == "8" else "float32",
    }
    metrics = compared(tmp_path_factory.getbasetemp() / "any", a, b, (dtype, dtype), **how).error
    assert metrics.elements == len(pairs)
    assert metrics.mae == pytest.approx(np.abs(a.astype("f8") - b.astype("f8")).mean(), rel=1e-5)


def test_equal_files_are_bit_identical_and_signed_zeros_are_equal(tmp_path: Path) -> None:
    assert compared(tmp_path, OUTPUT, OUTPUT).bit_identical
    zeros = compared(tmp_path, np.array([0, 1], "f4"), np.array([-0.0, 1], "f4"))
    assert not zeros.bit_identical
    assert zeros.error.identical


def test_channels_last_against_channels_first(tmp_path: Path) -> None:
    a = OUTPUT.transpose(0, 2, 3, 1)
    found = compared(tmp_path, a, REFERENCE, shape="2,3,8,10", layout="nhwc,nchw")
    assert found.error.mse == pytest.approx(expected(OUTPUT, REFERENCE)["mse"])
    suspicious = compared(tmp_path, a, REFERENCE, shape="2,3,8,10")
    assert "add --layout nhwc,nchw --shape 2,3,8,10" in suspicious.notes[0]
    assert "say --shape N,C,H,W" in compared(tmp_path, a, REFERENCE).notes[0]


def test_channels_last_of_two_shapes(tmp_path: Path) -> None:
    for name, shape in (("a", (6, 5, 2, 2)), ("b", (3, 10, 2, 2))):
        np.save(tmp_path / f"{name}.npy", np.ones(shape, np.float32))
    result = compare_paths(tmp_path / "a.npy", tmp_path / "b.npy", formats(layout="nhwc"))
    assert result.files[0].error.identical
    assert "in the order of the files" in result.files[0].notes[0]


def test_nan_and_infinity_are_counted_and_left_out(tmp_path: Path) -> None:
    broken = OUTPUT.copy()
    broken[0, 0, 0, :2] = np.nan
    broken[1, 0, 0, 0] = np.inf
    found = compared(tmp_path, broken, REFERENCE)
    kept = np.isfinite(broken)
    assert found.error.nonfinite == 3
    assert found.error.mse == pytest.approx(expected(OUTPUT[kept], REFERENCE[kept])["mse"])
    assert (found.nonfinite_a.nan, found.nonfinite_a.infinite) == (2, 1)
    assert (found.nonfinite_b.nan, found.nonfinite_b.infinite) == (0, 0)
    text = compare_paths(tmp_path / "a", tmp_path / "b", formats()).text()
    assert "3 elements are left out, because A has 2 NaN and 1 infinite values" in text


def test_nothing_but_nan(tmp_path: Path) -> None:
    found = compared(tmp_path, np.full(8, np.nan, np.float32), REFERENCE.ravel()[:8])
    assert (found.error.mse, found.error.elements, found.error.nonfinite) == (None, 0, 8)


# The loop that averaged |d| and read one value past the end

STORY = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **argv) {
  if (count != 4) return 1;
  int n = atoi(argv[3]);
  float *a = malloc((n + 1) * sizeof(float)), *b = malloc((n + 1) * sizeof(float));
  FILE *f = fopen(argv[1], "rb"), *g = fopen(argv[2], "rb");
  if (fread(a, sizeof(float), n + 1, f) != (size_t)n + 1) return 1;
  if (fread(b, sizeof(float), n + 1, g) != (size_t)n + 1) return 1;
  double sum = 0;
  int i;
  for (i = 0; i <= n; ++i) sum += fabs(a[i] - b[i]);
  printf("%.17g\\n", sum / n);
  return 0;
}
"""


def story(a: Path, b: Path, elements: int, folder: Path) -> float:
    """Returns what the story's loop prints: compiled where there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        y, r = (np.fromfile(path, "<f4", elements + 1) for path in (a, b))
        return math.fsum(abs(float(one)) for one in y - r) / elements
    source, program = folder / "mse.c", folder / "mse"
    source.write_text(STORY)
    subprocess.run([compiler, "-O1", "-o", program, source, "-lm"], check=True)
    command = [str(program), str(a), str(b), str(elements)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_the_number_of_the_story_is_reproduced_beside_the_right_ones(tmp_path: Path) -> None:
    # One file holds all heads, so what lies past the first head is the next one.
    a, b = (saved(tmp_path / name, x) for name, x in (("a", OUTPUT), ("b", REFERENCE)))
    elements = OUTPUT.size // 2
    result = compare_paths(a, b, formats(shape="1,3,8,10", longer=True))
    [found] = result.files
    assert LOOP.partition(" return")[0] in STORY
    assert found.off_by_one == pytest.approx(story(a, b, elements, tmp_path), rel=1e-6)
    right = expected(OUTPUT[:1], REFERENCE[:1])
    assert found.error.mae == pytest.approx(right["mae"])
    assert found.error.mse == pytest.approx(right["mse"])
    past = abs(float(OUTPUT[1].flat[0]) - float(REFERENCE[1].flat[0]))
    assert found.off_by_one is not None
    assert found.off_by_one - right["mae"] == pytest.approx(past / elements, rel=1e-4)
    text = result.text()
    assert "What is often called MSE may be MAE" in text
    assert f"{found.off_by_one:.9g}, where MAE is {found.error.mae:.9g}; a[n] = " in text
    assert LOOP in text


def test_at_the_end_of_a_file_the_loop_is_not_told(tmp_path: Path) -> None:
    found = compared(tmp_path, OUTPUT, REFERENCE)
    assert found.off_by_one is None
    assert LOOP not in compare_paths(tmp_path / "a", tmp_path / "b", formats()).text()


# What cannot be compared


def test_sizes_that_do_not_match(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a", OUTPUT[:1]), saved(tmp_path / "b", REFERENCE)
    assert "A has 240 elements, B has 480: B has 2 times as many" in refused(a, b)
    one_more = saved(tmp_path / "c", np.append(REFERENCE.ravel(), np.float32(1)))
    assert "B has one more, as a loop up to i <= n writes" in refused(b, one_more)


def test_a_file_that_is_empty_cut_or_absent(tmp_path: Path) -> None:
    b = saved(tmp_path / "b", REFERENCE)
    assert "a is empty" in refused(saved(tmp_path / "a", REFERENCE[:0]), b)
    (tmp_path / "a").write_bytes(b.read_bytes()[:-1])
    assert "1,919 bytes, no multiple of 4" in refused(tmp_path / "a", b)
    assert "none does not exist" in refused(tmp_path / "none", b)
    assert "A and B are the same" in refused(b, b)
    assert "is a folder" in refused(tmp_path, b)


def test_the_wrong_byte_order_is_suspected_from_the_magnitudes(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a", OUTPUT, ">f4"), saved(tmp_path / "b", REFERENCE)
    assert "a looks like big-endian float32" in refused(a, b)
    assert "try --byte-order big,little" in refused(a, b)
    right = compare_paths(a, b, formats(byte_order="big,little"))
    assert right.error.mse == pytest.approx(expected(OUTPUT, REFERENCE)["mse"])
    # Told for sure, it is done all the same, and said.
    result = compare_paths(a, b, formats(byte_order="little"))
    assert "looks like big-endian" in result.files[0].notes[0]


def test_doubles_are_suspected_and_read(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a", OUTPUT, "<f8"), saved(tmp_path / "b", REFERENCE)
    assert "try --dtype float64,float32" in refused(a, b)
    found = compare_paths(a, b, formats(dtype="float64,float32")).files[0]
    assert found.error.mse == pytest.approx(expected(OUTPUT, REFERENCE)["mse"])
    assert not found.bit_identical


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"shape": "1,x"}, "--shape '1,x': expected whole numbers"),
        ({"shape": "0,3"}, "expected whole numbers from 1 on"),
        ({"shape": "-1,-1"}, "one may be -1"),
        ({"byte_order": "middle"}, "--byte-order 'middle': expected little or big"),
        ({"dtype": "float32,float32,float32"}, "--dtype"),
        ({"layout": "chwn"}, "--layout 'chwn'"),
        ({"shape": "5,5", "layout": "nhwc"}, "has no height or width"),
        ({"longer": True}, "--off-by-one needs --shape"),
    ],
)
def test_words_of_the_command_line(how: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        formats(**how)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize("epsilon", [-1.0, math.nan, math.inf])
def test_an_epsilon_that_is_none(tmp_path: Path, epsilon: float) -> None:
    a, b = saved(tmp_path / "a", OUTPUT), saved(tmp_path / "b", REFERENCE)
    with pytest.raises(ConfigError, match="--epsilon"):
        compare_paths(a, b, formats(), epsilon=epsilon)


# Folders and archives


def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, array in (("a", OUTPUT), ("b", REFERENCE)):
        saved(tmp_path / name / "small/0.bin", array[:1])
        saved(tmp_path / name / "small/1.bin", array[1:])
        np.save(tmp_path / name / "large.npy", array)
    saved(tmp_path / "a" / "only.bin", OUTPUT)
    (tmp_path / "b" / "large.npy").rename(tmp_path / "b" / "large.raw")
    return tmp_path / "a", tmp_path / "b"


def test_folders_are_compared_by_the_names_of_their_files(tmp_path: Path) -> None:
    result = compare_paths(*folders(tmp_path), formats())
    assert [file.name for file in result.files] == ["large.npy", "small/0.bin", "small/1.bin"]
    assert (result.only_a, result.only_b) == (("only.bin",), ())
    assert result.error.elements == 2 * OUTPUT.size
    assert result.error.mse == pytest.approx(expected(OUTPUT, REFERENCE)["mse"])
    assert "only in A, compared with nothing: only.bin" in result.text()
    assert "\nall " in result.text()


def test_some_files_of_folders(tmp_path: Path) -> None:
    result = compare_paths(*folders(tmp_path), formats(), select=["small/*"])
    assert [file.name for file in result.files] == ["small/0.bin", "small/1.bin"]


def test_all_problems_of_folders_are_told_at_once(tmp_path: Path) -> None:
    a, b = folders(tmp_path)
    (a / "small/0.bin").write_bytes(b"")
    saved(b / "small/1.bin", REFERENCE)
    said = refused(a, b)
    assert "0.bin is empty" in said
    assert "small/1.bin: A has 240 elements, B has 480" in said


def test_folders_without_a_common_name(tmp_path: Path) -> None:
    saved(tmp_path / "a/x.bin", OUTPUT)
    saved(tmp_path / "b/y.bin", REFERENCE)
    (tmp_path / "c").mkdir()
    assert "no name is in both: A has x.bin; B has y.bin" in refused(tmp_path / "a", tmp_path / "b")
    assert "A has no files" in refused(tmp_path / "c", tmp_path / "b")


def test_archives_by_the_names_of_their_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", small=OUTPUT, large=OUTPUT[:1])
    np.savez(tmp_path / "b.npz", small=REFERENCE, large=REFERENCE[:1])
    result = compare_paths(tmp_path / "a.npz", tmp_path / "b.npz", formats())
    assert [file.name for file in result.files] == ["a.npz[small]", "a.npz[large]"]


def test_a_file_beside_an_archive_of_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", small=REFERENCE, large=REFERENCE[:1])
    said = refused(saved(tmp_path / "a", OUTPUT), tmp_path / "b.npz")
    assert "no array is in both: A has one without a name; B has small, large" in said


# The command


def run(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["trt-matrix", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_command_tells_all_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = OUTPUT.copy()
    broken[0, 0, 0, 0] = np.nan
    a, b = saved(tmp_path / "a", broken), saved(tmp_path / "b", REFERENCE)
    assert run(a, b, "--json", "--epsilon", "0.1", monkeypatch=monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    kept = np.isfinite(broken)
    assert told["all"]["share_over_epsilon"] == pytest.approx(
        expected(OUTPUT[kept], REFERENCE[kept], 0.1)["share_over_epsilon"]
    )
    [one] = told["files"]
    assert (one["name"], one["nonfinite"], one["nonfinite_a"]) == (
        "a",
        1,
        {"nan": 1, "infinite": 0},
    )
    assert one["off_by_one"] is None


def test_the_command_prints_a_table_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders(tmp_path), "-s", "small/*", monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert "SQNR" in out
    assert f"{expected(OUTPUT, REFERENCE)['sqnr_db']:.2f}" in out


def test_the_command_says_what_is_wrong_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = saved(tmp_path / "a", OUTPUT[:1]), saved(tmp_path / "b", REFERENCE)
    assert run(a, b, monkeypatch=monkeypatch) == 2
    assert "A has 240 elements" in capsys.readouterr().err
    assert run(a, b, "--dtype", "int8", monkeypatch=monkeypatch) == 2
    assert run(a, monkeypatch=monkeypatch) == 2


def test_names_of_files_stay_on_their_line(tmp_path: Path) -> None:
    for name, array in (("a", OUTPUT), ("b", REFERENCE)):
        saved(tmp_path / name / "x\ny.bin", array)
    text = compare_paths(tmp_path / "a", tmp_path / "b", formats()).text()
    assert "x[U+000A]y.bin" in text


def test_the_result_is_a_plain_value(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a", OUTPUT), saved(tmp_path / "b", REFERENCE)
    result = compare_paths(a, b, formats(shape="2,3,8,10"))
    assert isinstance(result, Result)
    assert json.loads(json.dumps(result.summary(), allow_nan=False))["files"][0]["shape"] == [
        2,
        3,
        8,
        10,
    ]
