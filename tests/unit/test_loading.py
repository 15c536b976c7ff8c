"""`trt_matrix.load` on a run that the real loop made, and on what is no run."""

import sys
from keyword import iskeyword
from pathlib import Path

import numpy as np
import pytest
from pandas.api import types

import trt_matrix
from tests.fakes.environment import ScriptedEnvironment
from tests.unit import judgements
from tests.unit.matrices import Trial
from tests.unit.new_records import new_manifest
from trt_matrix.core.manifest import HeadGate
from trt_matrix.core.tables.table import to_json
from trt_matrix.errors import StoreError
from trt_matrix.judging.judgement_file import JudgementFile
from trt_matrix.judging.loading import DOCS, Results
from trt_matrix.report.columns import COLUMNS

NAMES = ("heads", "cells", "images", "latencies", "tables")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trial = Trial(
        tmp_path_factory.mktemp("loading"),
        ScriptedEnvironment("a"),
        ScriptedEnvironment("b", refusal="no such version"),
    )
    records = trial.records()
    run, matrix = trial.run, trial.matrix
    for record in records.values():
        run.write_record(record)
    for digest, table in matrix.tables.items():
        run.write_text(f"tables/{digest[:12]}.json", to_json(table))
    run.write_manifest(
        new_manifest(
            run_id=run.id,
            baseline="a",
            heads=tuple(
                HeadGate(head=head, sqnr_db=None) for head, _ in matrix.wants.settings.heads
            ),
            images=matrix.wants.data.evaluation_images,
            cells=tuple(records),
            reference=matrix.reference,
            simulations=tuple(matrix.simulations),
            tables=matrix.used.facts(),
        )
    )
    JudgementFile(schema_version=1, judgement=judgements.judgement([])).write(run.folder)
    return run.folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Results:
    return trt_matrix.load(folder)


def test_every_column_has_its_meaning_and_every_meaning_a_column(loaded: Results) -> None:
    for name in NAMES:
        assert list(getattr(loaded, name).columns) == list(loaded.docs[name])
        assert all(doc.endswith((".", "…", ").")) for doc in DOCS[name].values())
    assert set(DOCS) == set(NAMES)
    assert list(DOCS["heads"]) == [column.name for column in COLUMNS]


def test_a_run_is_told_short_and_its_columns_can_be_spelled(loaded: Results) -> None:
    assert repr(loaded) == (
        f"<Results {loaded.run}: rows of heads 0, cells 8, "
        f"images {len(loaded.images)}, latencies {len(loaded.latencies)}, tables {len(loaded.tables)}>"
    )
    assert "<th>sqnr_db</th>" in loaded._repr_html_()
    for name in NAMES:
        assert all(doc.isidentifier() and not iskeyword(doc) for doc in loaded.docs[name])


def test_the_heads_are_those_of_the_judgement(folder: Path) -> None:
    """Also of a run whose results.parquet is of another judgement, or was never written."""
    (folder / "results.parquet").write_bytes(b"of another")
    before = (folder / "judgement.json").read_bytes()
    whole = judgements.whole()
    try:
        JudgementFile(schema_version=1, judgement=whole).write(folder)
        heads = trt_matrix.load(folder).heads
        assert len(heads) == len(whole.cells) * len(whole.heads)
        for named in ("verdicts", "gates_failed", "identical_to"):
            assert {type(head) for head in heads[named]} == {list}
            assert heads[named].map(len).max()
        assert types.is_float_dtype(heads["nmse"])
        assert types.is_bool_dtype(heads["passed"])
        assert (heads["environment"] == "ort-1.27.0").any()
    finally:
        (folder / "judgement.json").write_bytes(before)


def test_without_pandas_it_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'trt-matrix\[frames\]'"):
        trt_matrix.load(folder)


def test_a_run_that_nobody_judged_says_what_judges_it(folder: Path) -> None:
    path = folder / "judgement.json"
    before = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(StoreError, match="trt-matrix judge RUN"):
            trt_matrix.load(folder)
    finally:
        path.write_bytes(before)


def test_frames_are_tidy(loaded: Results) -> None:
    assert len(loaded.cells) == 8
    assert loaded.cells["cell"].is_unique
    assert not loaded.images.duplicated(["cell", "head", "repeat", "image"]).any()
    assert not loaded.latencies.duplicated(["cell", "repeat", "sample"]).any()
    assert not loaded.tables.duplicated(["table", "tensor"]).any()
    assert types.is_float_dtype(loaded.images["d2"])
    assert types.is_integer_dtype(loaded.images["n"])


def test_cells_that_did_not_run_are_there_with_their_reason(loaded: Results) -> None:
    refused = loaded.cells[loaded.cells["environment"] == "b"]
    assert set(refused["status"]) == {"unavailable"}
    assert set(refused["reason"]) == {"no such version"}
    assert set(refused["repeats"]) == {0}


def test_errors_can_be_made_from_the_sums(loaded: Results) -> None:
    sums = loaded.images.groupby(["cell", "head"])[["d2", "r2"]].sum()
    assert np.isfinite(sums["d2"] / sums["r2"]).all()
    assert set(loaded.latencies["seconds"]) == {0.001, 0.002}
    assert (loaded.tables["amax"] == 2.0).all()


def test_no_run_is_told_with_what_to_name(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StoreError, match="no folder of results; name one such as results/latest"):
        trt_matrix.load(tmp_path)
    with pytest.raises(StoreError, match="no finished run; runs there: "):
        trt_matrix.load(folder.parent / "other")


def test_a_damaged_table_is_named(folder: Path) -> None:
    (path,) = (folder / "tables").iterdir()
    whole = path.read_text()
    path.write_text(whole[:-20])
    try:
        with pytest.raises(StoreError, match=f"{path.name}: damaged"):
            trt_matrix.load(str(folder))
    finally:
        path.write_text(whole)


def test_the_package_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        trt_matrix.lode  # noqa: B018
