"""Which engine's layer times are taken, of the builds recorded on an H200, and which answers are none."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.new_records import remeasured
from trt_matrix.core.layers.engine_layers import LayerTimes
from trt_matrix.core.records import Record
from trt_matrix.core.tables.table import Table, from_json
from trt_matrix.diagnosis.measured import timed
from trt_matrix.execution.answer_models import LayersAnswer

DATA = Path(__file__).parents[1] / "data" / "h200-mixed"
TRT = "trt-8.5.3.1"
TOLD = LayerTimes(runs=20, layers=())


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [
        Record.model_validate(content)
        for content in json.loads((DATA / "records.json").read_text())
    ]


@pytest.fixture(scope="module")
def table() -> Table:
    return from_json((DATA / "tables" / "7301ca8fe2ff.json").read_text())


def cell(records: list[Record], table: Table, environments: tuple[str, ...] = (TRT,)) -> str | None:
    cell_times = timed(records, environments, TRT, table, lambda _: TOLD)
    return cell_times.cell if cell_times else None


def changed(records: list[Record], **start: Any) -> list[Record]:
    return [remeasured(record, lambda _: start, "start") for record in records]


def test_q_dq_comes_before_implicit_and_what_was_held_tells_nothing(
    records: list[Record], table: Table
) -> None:
    assert cell(records, table) == f"{TRT}/gpu:*/int8-shared-file"
    implicit = [record for record in records if record.pass_.implicit]
    assert cell(implicit, table) == f"{TRT}/gpu:*/int8-implicit-shared-file"
    assert cell([record for record in records if record.pass_.mixed], table) is None


def test_another_engine_a_disturbed_start_and_held_layers_tell_nothing(
    records: list[Record], table: Table
) -> None:
    assert cell(records, table, ("ort-1.32.0",)) is None
    assert cell(changed(records, disturbed="another process ran"), table) is None
    probe = {"engine": {"options": {"fp32_layers": ["neck8/upsample/Resize"]}}}
    assert cell(changed(records, probe=probe), table) is None
    assert timed(records, [TRT], TRT, table, lambda _: None) is None


@pytest.mark.parametrize(
    "times",
    [
        [],
        {"runs": 20},
        {"runs": -1, "layers": []},
        {"runs": 20, "layers": [{"name": "a", "seconds": 1.0}]},
        {"runs": 20, "layers": [{"name": "a", "tensors": [], "seconds": -1.0}]},
        {"runs": 20, "layers": [{"name": "a", "tensors": [], "seconds": float("nan")}]},
        {"runs": 20, "layers": [{"name": "a", "tensors": "abc", "seconds": 1.0}]},
    ],
)
def test_times_that_are_none_are_refused(times: object) -> None:
    with pytest.raises(ValidationError):
        LayersAnswer.model_validate({"schema_version": 1, "layers": [], "times": times})
