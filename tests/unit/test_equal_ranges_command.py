"""`migrate --to cache` of a TensorRT calibration cache: one range on both sides of what only moves values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.unit.migrations import Call
from tests.unit.small_networks import resized
from trt_matrix.core.tables.table import to_json
from trt_matrix.core.tables.trt_cache import parse, to_table
from trt_matrix.errors import ExitCode

Equalise = Callable[..., tuple[int, str, str]]
UNEQUAL = {"image": 1.0, "a": 4.0, "up": 3.0, "head": 9.0}


def written(folder: Path, first: str | None) -> Path:
    """Writes a network and its table, whose ranges around the resizing differ; returns the table."""
    onnx.save(resized(), folder / "net.onnx")
    lines = [
        f"{name}: {np.float32(value / 127).view(np.uint32):x}" for name, value in UNEQUAL.items()
    ]
    table = folder / "own.cache"
    table.write_text("\n".join([*([first] if first else []), *lines, ""]))
    return table


@pytest.fixture
def equalise(tmp_path: Path, call: Call) -> Equalise:
    """From a table and options to the exit code, what is told, and what was written."""

    def equalised(table: Path, *options: str) -> tuple[int, str, str]:
        new = tmp_path / "equal.cache"
        code, out, err = call("migrate", str(table), "--to", "cache", "-m", str(tmp_path / "net.onnx"), "-o", str(new), *options)  # fmt: skip
        return code, out + err, new.read_text() if new.exists() else ""

    return equalised


def test_a_cache_is_written_with_equal_ranges(tmp_path: Path, equalise: Equalise) -> None:
    table = written(tmp_path, "TRT-8600-EntropyCalibration2")
    code, told, new = equalise(table, "--trt", "8.5.3")
    assert code == ExitCode.OK
    assert "up: range 3 → 4" in told
    assert new.startswith("TRT-8503-EntropyCalibration2\n")
    assert to_table(parse(new), environment="").amax == pytest.approx(
        {**UNEQUAL, "up": 4.0}, rel=1e-6
    )


@pytest.mark.parametrize(
    ("first", "options", "header"),
    [
        ("TRT-8601-MinMaxCalibration", (), "TRT-8601-MinMaxCalibration"),
        ("TRT-100300-EntropyCalibration", (), "TRT-100300-EntropyCalibration"),
        ("TRT-8601-MinMaxCalibration", ("--trt", "8.5.3"), "TRT-8503-MinMaxCalibration"),
        ("TRT-8601-MinMaxCalibration", ("--algorithm", "LegacyCalibration"), "TRT-8601-LegacyCalibration"),
        ("TRT-8XXX-MinMaxCalibration", ("--trt", "8.6.1"), "TRT-8601-MinMaxCalibration"),
        ("TRT-8601-Theirs", ("--algorithm", "MinMaxCalibration"), "TRT-8601-MinMaxCalibration"),
        (None, ("--trt", "8.6.1"), "TRT-8601-EntropyCalibration2"),
    ],
)  # fmt: skip
def test_the_header_is_what_the_table_says_of_its_own(
    tmp_path: Path, equalise: Equalise, first: str | None, options: tuple[str, ...], header: str
) -> None:
    code, told, new = equalise(written(tmp_path, first), *options)
    assert code == ExitCode.OK, told
    assert new.splitlines()[0] == header


def test_the_tools_own_table_remembers_its_calibrator(tmp_path: Path, equalise: Equalise) -> None:
    table = to_table(parse(written(tmp_path, "TRT-8503-MinMaxCalibration").read_text()))
    (tmp_path / "12ab34cd56ef.json").write_text(to_json(table))
    code, told, new = equalise(tmp_path / "12ab34cd56ef.json", "--trt", "8.5.3")
    assert code == ExitCode.OK, told
    assert new.startswith("TRT-8503-MinMaxCalibration\n")


@pytest.mark.parametrize(
    ("first", "options", "said"),
    [
        (None, (), "--trt is missing, and no header says it"),
        ("TRT-8XXX-MinMaxCalibration", (), "--trt is missing, and no header says it"),
        ("TRT-8601-Theirs", (), "names the calibrator 'Theirs', which TensorRT has not"),
        ("TRT-110000-MinMaxCalibration", (), "TensorRT 11.0.0 has no calibrators"),
        ("TRT-8601-MinMaxCalibration", ("--trt", "8;6"), "is no version"),
        ("TRT-8601-MinMaxCalibration", ("--partial",), "every scale that can be one is written"),
        (
            "TRT-8601-MinMaxCalibration",
            ("--float-network", "float.onnx"),
            "--model or matrix.yaml names; leave it out",
        ),
    ],
)
def test_what_says_nothing_or_does_nothing_of_a_table_is_refused(
    tmp_path: Path, equalise: Equalise, first: str | None, options: tuple[str, ...], said: str
) -> None:
    code, told, new = equalise(written(tmp_path, first), *options)
    assert code == ExitCode.BAD_CONFIG
    assert said in " ".join(told.split())
    assert not new
