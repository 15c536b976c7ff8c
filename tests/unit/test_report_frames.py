"""The long table and its two files."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.unit.judgements import (
    FP32,
    HEADS,
    SHARED,
    cell_result,
    fp32_head,
    head,
    judgement,
    whole,
)
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.latency import Latency
from trt_matrix.core.metrics import Metrics
from trt_matrix.core.rules import DB
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.core.words import visible
from trt_matrix.judging.loading import frame_of
from trt_matrix.report import frames
from trt_matrix.report.columns import COLUMNS, NAMES, NUMBER
from trt_matrix.report.frames import write

ROOT = Path(__file__).parents[2]


def long_table(judgement: Judgement) -> pd.DataFrame:
    return frame_of(frames.long_table(judgement))


def test_one_row_a_cell_and_head_in_the_order_of_the_plan() -> None:
    made = whole()
    frame = long_table(made)
    expected = [(cell.cell.id, name) for cell in made.cells for name in HEADS]
    assert list(zip(frame["cell"], frame["head"], strict=True)) == expected


def test_a_row_holds_the_numbers_of_its_cell_and_head() -> None:
    result = head(
        "small", 0.012, limit=0.006, calibration=0.002, identical_to=("a/cpu/x", "b/cpu/x")
    )
    cell = cell_result(heads=[head("large", 0.001), result], version="1.32.0", reused=True)
    frame = long_table(judgement([cell], heads=("large", "small")))
    row = frame.iloc[1]
    assert row["cell"] == "ort-1.32.0/cpu/int8-shared-entropy"
    assert (row["precision"], row["table_source"], row["algorithm"]) == (
        "int8",
        "shared",
        "entropy",
    )
    assert row["is_baseline"]
    assert row["reused"]
    assert row["sqnr_db"] == pytest.approx(19.208, abs=0.001)
    assert row["nmse"] == 0.012
    assert row["limit_nmse"] + row["calibration_nmse"] + row["engine_nmse"] == pytest.approx(0.012)
    assert not row["passed"]
    assert frame["passed"].tolist() == [True, False]
    assert row["latency_low_s"] < row["latency_median_s"] == 0.0123 < row["latency_high_s"]
    assert list(row["identical_to"]) == ["a/cpu/x", "b/cpu/x"]
    assert row["reason"] is pd.NA


def test_a_row_says_how_much_what_was_found_matters_and_what_it_costs() -> None:
    effect = Effect(log=4.0 * DB, low=3.0 * DB, high=5.0 * DB, p=0.0, typical=3.5 * DB, builds=5)
    loss = Verdict(kind=Kind.ENGINE_LOSS, cell="bad", head="small", effect=effect)
    fine = Verdict(kind=Kind.OK, cell="ok", head="small", bound_db=0.3)
    cells = [
        cell_result("bad", heads=[head("small", gate_sqnr_db=None, verdicts=(loss,))]),
        cell_result("ok", heads=[head("small", gate_sqnr_db=None, verdicts=(fine,))]),
    ]
    frame = long_table(judgement(cells, heads=("small",)))
    assert frame["severity"].tolist() == ["severe", pd.NA]
    row = frame.iloc[0]
    found = [row[name] for name in ("effect_low_db", "effect_db", "effect_high_db")]
    assert found == pytest.approx([3.0, 4.0, 5.0])
    assert row["effect_typical_db"] == pytest.approx(3.5)
    assert frame["unseen_db"].tolist()[1] == 0.3
    assert frame["effect_db"].isna().tolist() == [False, True]


def test_a_cell_that_did_not_run_has_its_status_and_empty_numbers() -> None:
    cell = cell_result("ngc-26.08-py3", status=Status.UNAVAILABLE, reason="no NVIDIA driver")
    frame = long_table(judgement([cell]))
    assert list(frame["head"]) == list(HEADS)
    assert set(frame["status"]) == {"unavailable"}
    assert set(frame["reason"]) == {"no NVIDIA driver"}
    numbers = [column.name for column in COLUMNS if column.type == NUMBER]
    assert frame[numbers].isna().all(axis=None)
    assert frame[["passed", "batch", "integer_share"]].isna().all(axis=None)
    assert [list(layer) for layer in frame["float_layers"]] == [[]] * len(frame)


def test_identical_outputs_have_no_sqnr_and_no_error() -> None:
    frame = long_table(
        judgement([cell_result(pass_=FP32, heads=[fp32_head("small", 0.0)])], heads=("small",))
    )
    assert frame["sqnr_db"].isna().all()
    assert frame.loc[0, "nmse"] == 0
    assert frame["table_source"].isna().all()


def test_dtypes_do_not_depend_on_the_content() -> None:
    empty, full = long_table(judgement([])), long_table(whole())
    assert list(empty.dtypes) == list(full.dtypes)
    assert list(empty.columns) == [column.name for column in COLUMNS]


def test_every_field_of_the_contract_has_a_column() -> None:
    """A quantity added to the judgement must reach the table."""
    names = {column.name for column in COLUMNS}
    assert {field.name for field in dataclasses.fields(Metrics)} <= names
    parts = {field.name for field in dataclasses.fields(Budget)} - {"intervals"}
    assert {f"{part}_nmse" for part in parts} <= names
    ends = {f"{part}_{end}_nmse" for part in parts - {"noise"} for end in ("low", "high")}
    assert ends <= names
    latencies = {"batch"} | {
        f"latency_{field.name}"
        for field in dataclasses.fields(Latency)
        if field.name not in ("batch", "rounds_s")
    }
    assert latencies <= names
    assert all(column.doc.endswith(".") or column.name == "sqnr_db" for column in COLUMNS)


def test_both_files_hold_the_table(tmp_path: Path) -> None:
    frame = long_table(whole())
    csv, parquet = write(frames.long_table(whole()), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results.csv", "results.parquet"}
    assert pq.read_table(parquet).to_pylist() == frames.long_table(whole())
    assert pq.read_table(parquet).num_rows > 0
    read = pd.read_csv(csv)
    assert list(read.columns) == list(frame.columns)
    pd.testing.assert_series_equal(read["nmse"], frame["nmse"])
    several = [column.name for column in COLUMNS if column.type == NAMES]
    assert any(len(one) > 1 for name in several for one in frame[name])
    texts = pd.read_csv(csv, dtype=str, keep_default_na=False)
    for name in several:
        assert list(texts[name]) == ["; ".join(one) for one in frame[name]]
    described = pq.read_schema(parquet).field("nmse").metadata
    assert described[b"description"].startswith(b"sum d^2 / sum r^2")


def test_the_same_judgement_gives_the_same_bytes(tmp_path: Path) -> None:
    path, two = tmp_path / "one", tmp_path / "two"
    for folder in (path, two):
        write(frames.long_table(whole()), folder)
    for name in ("results.csv", "results.parquet"):
        assert (path / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize(
    "hostile",
    ['a,"b"\nc', "\ud800 lone", "x" * 10_000, "=1+1", "\u202e", "zero \x00 byte", "日本 ü"],
)
def test_hostile_text_survives_both_files(tmp_path: Path, hostile: str) -> None:
    cell = cell_result(pass_=SHARED, status=Status.CRASHED, reason=hostile)
    csv, parquet = write(frames.long_table(judgement([cell], heads=(hostile,))), tmp_path)
    expected = hostile.replace("\ud800", "\\ud800")
    assert pd.read_parquet(parquet).loc[0, "reason"] == expected
    assert visible(expected).replace('"', '""') in csv.read_text("utf-8")


def test_an_unwritable_folder_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        write(frames.long_table(judgement([])), blocked)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_pyarrow_there_is_no_parquet_file_least_of_all_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an earlier judgement beside a new results.csv would be another run's table."""
    csv, parquet = write(frames.long_table(judgement([])), tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert write(frames.long_table(whole()), tmp_path) == (csv,)
    assert not parquet.exists()
    monkeypatch.undo()
    assert len(pd.read_csv(csv)) == len(frames.long_table(whole()))


def test_the_parquet_file_is_of_one_form_whatever_it_holds(tmp_path: Path) -> None:
    path, two = tmp_path / "one", tmp_path / "two"
    for folder, made in ((path, judgement([])), (two, whole())):
        folder.mkdir()
        write(frames.long_table(made), folder)
    assert pq.read_schema(path / "results.parquet").equals(
        pq.read_schema(two / "results.parquet"), check_metadata=True
    )


def test_writing_the_table_does_not_import_pandas(tmp_path: Path) -> None:
    """It takes a second, which is a third of what an unchanged run may take."""
    code = """
import pathlib, sys
from trt_matrix.report import frames
from tests.unit.judgements import whole
frames.write(frames.long_table(whole()), pathlib.Path(sys.argv[1]))
sys.exit("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == 0
