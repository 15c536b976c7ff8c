"""`trt-matrix schema manifest` and `record` say what runs really wrote, old ones too."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.migrations import Call

RUNS = sorted(path.parent for path in (Path(__file__).parents[1] / "data").glob("*/manifest.json"))


def validator(call: Call, of: str) -> Draft202012Validator:
    code, out, _ = call("schema", of)
    assert code == 0
    return Draft202012Validator(json.loads(out))


def problems(schema: Draft202012Validator, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in schema.iter_errors(document)]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_recorded_runs_are_as_the_schemas_say(call: Call, run: Path) -> None:
    assert (
        problems(validator(call, "manifest"), json.loads((run / "manifest.json").read_text())) == []
    )
    records = json.loads((run / "records.json").read_text())
    schema = validator(call, "record")
    assert records
    assert [problems(schema, record) for record in records] == [[]] * len(records)


def test_they_refuse_what_no_run_wrote(call: Call) -> None:
    (record, *_) = json.loads((RUNS[0] / "records.json").read_text())
    record["status"] = "fine"
    record["mood"] = "good"
    assert [one.split(":")[0] for one in problems(validator(call, "record"), record)] == [
        "$",
        "$.status",
    ]


def test_fields_are_described(call: Call) -> None:
    schema = validator(call, "manifest").schema
    assert schema["properties"]["looks"]["description"].startswith("How often the verdicts")
    code, _, err = call("schema", "receipt")
    assert code == 2
    assert "matrix, judgement, manifest, record" in err
