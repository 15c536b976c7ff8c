"""`trt-matrix compare` of two calibration tables: numbers, likely mistakes, and what is no table."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.unit import small_networks as networks
from tests.unit.placed_networks import minmax
from trt_matrix import cli
from trt_matrix.commands.compare.tables import compare_tables
from trt_matrix.core.qdq.explicit import place
from trt_matrix.core.qdq.options import TENSORRT
from trt_matrix.core.tables import trt_cache
from trt_matrix.core.tables.contrast import contrast
from trt_matrix.core.tables.reading import read
from trt_matrix.core.tables.table import Provenance, from_ranges, to_json
from trt_matrix.errors import ConfigError

SCALES = {f"layer{index}/out": 2.0 ** (index % 9 - 4) * (1 + index / 40) for index in range(40)}


def cache(scales: Mapping[str, float]) -> str:
    rows = (f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items())
    return "\n".join(["TRT-8503-EntropyCalibration2", *rows, ""])


def files(folder: Path, a: str | bytes, b: str | bytes, names: tuple[str, str] = ("a.cache", "b.cache")) -> tuple[Path, Path]:  # fmt: skip
    paths = []
    for name, content in zip(names, (a, b), strict=True):
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths[0], paths[1]


def told(folder: Path, a: Mapping[str, float], b: Mapping[str, float]) -> str:
    result = compare_tables(*files(folder, cache(a), cache(b)))
    assert result is not None
    return result.text()


def test_numbers_of_a_comparison(tmp_path: Path) -> None:
    names = list(SCALES)
    a = {name: scale * (1.5 if name == names[3] else 1.03 if index % 2 else 1.0) for index, (name, scale) in enumerate(SCALES.items())}  # fmt: skip
    a["mine"] = 1.0
    b = {**SCALES, "yours": 1.0}
    result = compare_tables(*files(tmp_path, cache(a), cache(b)))
    assert result is not None
    summary = result.summary()
    assert summary["both"] == 40
    assert (summary["same"], summary["within_0.5_percent"], summary["within_10_percent"]) == (20, 20, 39)  # fmt: skip
    assert summary["tensors"][0]["tensor"] == names[3]
    assert summary["tensors"][0]["ratio"] == pytest.approx(1.5)
    assert summary["ratio_median"] == pytest.approx(1.015, abs=0.016)
    assert (summary["only_a"], summary["only_b"]) == (["mine"], ["yours"])
    assert summary["mistake"] is None
    text = result.text()
    for part in ("40 tensors have a range in both", "within 0.5%: 20 (50%)", "within 10%: 39 (98%)", "only in A, 1: mine", "only in B, 1: yours", "+0.58"):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda one: 127 * one, "amax was written where a scale belongs"),
        (lambda one: 1 / one, "1 / scale"),
        (lambda one: struct.unpack("<f", struct.pack(">f", one))[0], "stand in reverse"),
        (lambda one: one * 127 / 255, "as for unsigned numbers"),
        (lambda one: 255 * one, "calibrate with the preprocessing of B"),
    ],
)
def test_a_mistake_of_either_side_is_named(
    tmp_path: Path, spoil: Callable[[float], float], said: str
) -> None:
    bad = {name: spoil(scale) for name, scale in SCALES.items()}
    text = told(tmp_path, bad, SCALES)
    assert said in text
    assert "\nA: its" in text or "\nA: the bytes" in text
    assert "matrix.yaml" not in text
    assert "reference's" not in text
    other = told(tmp_path, SCALES, bad)
    if said == "stand in reverse":
        assert "\nB: the bytes of its scales stand in reverse" in other


def test_two_calibrators_of_one_network_are_no_mistake(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    a = {name: float(scale * random.uniform(0.5, 1.1)) for name, scale in SCALES.items()}
    result = compare_tables(*files(tmp_path, cache(a), cache(SCALES)))
    assert result is not None
    assert result.contrast.mistake is None
    shuffled = dict(zip(SCALES, random.permutation(list(SCALES.values())).tolist(), strict=True))
    assert "another network's" in told(tmp_path, shuffled, SCALES)


def test_every_form_is_the_same_table(tmp_path: Path) -> None:
    model = networks.detector()
    placed = place(model, minmax(model), TENSORRT)
    table = from_ranges({name: 127 * one for name, one in placed.quantised.items()}, Provenance(algorithm="x"))  # fmt: skip
    ranges = {name: 127 * float(np.float32(table.scale(name))) for name in table.amax}
    forms: Mapping[str, str | bytes] = {
        "a.json": to_json(from_ranges(ranges, Provenance(algorithm="minmax"))),
        "a.txt": "".join(f"{name} {one!r}\n" for name, one in ranges.items()),
        "b.json": json.dumps({name: [-one, one] for name, one in ranges.items()}),
        "a.onnx": placed.model.SerializeToString(),
        "prefixed": cache({f"yolov3/{name}": one / 127 for name, one in ranges.items()}),
    }
    for name, content in forms.items():
        result = compare_tables(*files(tmp_path, content, cache({name: one / 127 for name, one in ranges.items()}), (name, "ref.cache")))  # fmt: skip
        assert result is not None
        assert len(result.contrast.tensors) >= 4
        assert all(
            tensor.ratio == pytest.approx(1, abs=1e-6) for tensor in result.contrast.tensors
        ), name
        assert "are the same" in result.text()


@pytest.mark.parametrize(
    ("a", "b", "names", "said"),
    [
        (cache(SCALES), b"\x93NUMPY", ("a.cache", "b.npy"), "b.npy, is no calibration table: it is an array; the other one is a calibration table"),
        (np.arange(64, dtype="<f4").tobytes(), cache(SCALES), ("a.bin", "b"), "give two tables, or two dumps"),
        (cache(SCALES)[:-5] + "\nx y z\n", cache(SCALES), ("a.cache", "b.cache"), "is no calibration table"),
        (b"", b"", ("a.cache", "b.cache"), "it is empty"),
        (networks.detector().SerializeToString(), cache(SCALES), ("a.onnx", "b.cache"), "it is a float network"),
    ],
)  # fmt: skip
def test_a_table_beside_something_else_is_refused(
    tmp_path: Path, a: str | bytes, b: str | bytes, names: tuple[str, str], said: str
) -> None:
    paths = files(tmp_path, a, b, names)
    with pytest.raises(ConfigError) as caught:
        compare_tables(*paths)
    assert said in " ".join(str(caught.value).split())


@pytest.mark.parametrize(
    "content",
    [
        np.linspace(-3, 3, 500, dtype="<f4").tobytes(),
        np.zeros(100, "<f4").tobytes(),
        b"",
        b"0.25\n0.5\n",
        b"0.25 0.5\n1.5 2.5\n",
        b"\x08\x01" + np.linspace(0, 9, 63, dtype="<f4").tobytes(),
    ],
)
def test_dumps_of_outputs_are_left_to_the_comparison_of_arrays(
    tmp_path: Path, content: bytes
) -> None:
    assert compare_tables(*files(tmp_path, content, content, ("a.bin", "b.bin"))) is None


def test_folders_missing_files_and_one_file_twice_are_told_as_before(tmp_path: Path) -> None:
    a, _ = files(tmp_path, cache(SCALES), cache(SCALES))
    assert compare_tables(tmp_path, tmp_path) is None
    assert compare_tables(a, tmp_path / "none") is None
    assert compare_tables(a, a) is None


def test_the_command(tmp_path: Path) -> None:
    hostile = {"a\x1b[31m: b": 1.0, **SCALES}
    a, b = files(tmp_path, cache(hostile), cache({**SCALES, "z": 0.0, "y": math.nan}))
    outcome = CliRunner().invoke(cli.app, ["compare", str(a), str(b)])
    assert outcome.exit_code == 0, outcome.output
    assert "\x1b" not in outcome.stdout
    assert "B has no range for y: amax is NaN" in outcome.stdout
    content = json.loads(CliRunner().invoke(cli.app, ["compare", str(a), str(b), "--json"]).stdout)
    assert content["both"] == content["same"] == 40
    assert set(content["unusable_b"]) == {"z", "y"}
    with pytest.raises(ConfigError, match="--shape: of arrays"):
        CliRunner().invoke(cli.app, ["compare", str(a), str(b), "--shape", "1,2"], catch_exceptions=False)  # fmt: skip


def test_nothing_in_common_is_said(tmp_path: Path) -> None:
    text = told(tmp_path, {"qqq": 1.0}, {"zzz": 1.0})
    assert "no tensor has a range in both" in text


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=12)
ANY = st.floats(width=32)


@given(st.dictionaries(NAMES, ANY, max_size=12), st.dictionaries(NAMES, ANY, max_size=12))
def test_any_two_tables_are_told(a: dict[str, float], b: dict[str, float]) -> None:
    tables = []
    for scales in (a, b):
        usable = {name: scale for name, scale in scales.items() if name.strip() and not name.startswith("\ufeff")}  # fmt: skip
        text = trt_cache.write(trt_cache.Cache(header=None, words="words", scales=usable or {"x": 1.0}))  # fmt: skip
        tables.append(read(text.encode()))
    table_contrast = contrast(*tables)
    assert table_contrast.within(math.inf) == len(table_contrast.tensors)
    assert len(table_contrast.tensors) + len(table_contrast.only_a) <= len(tables[0].names)
    if tables[0].values == tables[1].values:
        assert table_contrast.within(0) == len(table_contrast.tensors)
