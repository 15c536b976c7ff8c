"""judgement.json: whole, of a known form, and enough to make everything that a run writes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.judgements import whole
from tests.unit.random_judgements import Draw
from trt_matrix.cli import main
from trt_matrix.core.judgement import Judgement
from trt_matrix.errors import StoreError
from trt_matrix.judging.judgement_file import JudgementFile, schema
from trt_matrix.judging.run import rendered
from trt_matrix.report.html import render

SCHEMA = Path(__file__).parents[2] / "runner" / "judgement.schema.json"
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def written(folder: Path, judgement: Judgement, **more: Any) -> Path:
    return JudgementFile(schema_version=1, judgement=judgement, **more).write(folder)


def test_the_committed_schema_is_that_of_the_types() -> None:
    assert json.loads(SCHEMA.read_text()) == schema(), "run `make schema`"


def odd() -> Judgement:
    """Numbers that JSON has no way to write, and text that somebody else's parser would take for more."""
    judgement = whole()
    cell = next(result for result in judgement.cells if result.heads)
    heads = (replace(cell.heads[0], integer_share=math.inf), *cell.heads[1:])
    cells = (replace(cell, heads=heads, log_tail='"]}\u2028</script>\x00'), *judgement.cells[1:])
    return replace(judgement, cells=cells)


@pytest.mark.parametrize("make", [whole, odd])
def test_a_file_is_as_its_schema_says_and_gives_the_judgement_back(
    make: Any, tmp_path: Path
) -> None:
    path = written(tmp_path, make(), pictures={"a.png": PICTURE}, seconds={"wall": 1.5})
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [
        error.message[:200] for error in validator.iter_errors(json.loads(path.read_text()))
    ] == []
    judgement_file = JudgementFile.read(tmp_path)
    assert judgement_file.judgement == make()
    assert (judgement_file.pictures, judgement_file.seconds) == ({"a.png": PICTURE}, {"wall": 1.5})


def test_a_schema_refuses_what_is_no_judgement(tmp_path: Path) -> None:
    document = json.loads(written(tmp_path, whole()).read_text())
    document["judgement"]["cells"][0]["heads"][0]["error"]["nmse"] = "much"
    del document["judgement"]["heads"]
    found = Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(document)
    assert len(list(found)) == 2


def test_any_judgement_comes_back(tmp_path: Path) -> None:
    for seed in range(12):
        judgement = Draw(seed).judgement()
        assert JudgementFile.read(written(tmp_path, judgement)).judgement == judgement


def test_facts_of_many_cells_are_written_once(tmp_path: Path) -> None:
    judgement = whole()
    stored = json.loads(written(tmp_path, judgement).read_text())
    different = {
        json.dumps(result.facts, sort_keys=True) for result in judgement.cells if result.facts
    }
    assert (
        len(stored["facts"])
        == len(different)
        < len([result for result in judgement.cells if result.facts])
    )


def test_everything_is_made_of_the_file_alone(tmp_path: Path) -> None:
    """In an empty folder: no store, no outputs, no network, no engine."""
    judgement = replace(whole(), name="alone")
    (tmp_path / "there").mkdir()
    path = written(tmp_path / "there", judgement, pictures={}, seconds={"wall": 61.0})
    done = rendered(path, tmp_path / "here")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {
        "report.html", "summary.md", "junit.xml", "results.csv", "results.parquet",
    }  # fmt: skip
    assert (tmp_path / "here" / "report.html").read_text() == render(judgement, {})
    assert "61.0 s" in done.text()


def test_the_command_renders_a_run_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["trt-matrix", "report", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    run = tmp_path / "results" / "run"
    run.mkdir(parents=True)
    path = written(run, whole())
    assert call("run", "--results", str(run.parent)) == 1
    assert call(str(path), "--to", str(tmp_path / "to" / "there")) == 1
    assert f"report: {tmp_path}/to/there/report.html" in capsys.readouterr().out
    assert (run / "report.html").read_text() == (tmp_path / "to/there/report.html").read_text()
    assert call("gone", "--results", str(run.parent)) == 5
    assert "gone: no finished run; " in capsys.readouterr().err
    assert call(str(tmp_path / "gone.json")) == 5
    assert "there is no such judgement; `trt-matrix judge RUN`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[:-40], "the whole: Invalid JSON"),
        (lambda text: text.replace('"schema_version":1', '"schema_version":2'), "schema_version"),
        (lambda text: text.replace('"run_id"', '"run_it"'), "Field required"),
        (
            lambda text: text.replace('{"schema', '{"pictures":{"a":"https://x.invalid"},"schema'),
            "pictures.a: String should match pattern",
        ),
        (
            lambda text: text.replace(
                '{"schema',
                '{"fed":{"a":{"picture":"https://x.invalid","order":"rgb","width":1,"height":1,"low":0,"high":1}},"schema',
            ),
            "fed.a.picture: String should match pattern",
        ),
        (lambda text: text.replace('"at":0', '"at":999'), "facts of a cell"),
        (lambda text: text.replace('"at":0', '"at":"0"'), "facts of a cell"),
        (lambda text: text.replace('"at":0', '"to":0'), "facts of a cell"),
    ],
)
def test_what_is_damaged_is_refused(damage: Any, told: str, tmp_path: Path) -> None:
    path = written(tmp_path, whole())
    before = path.read_text()
    assert '"schema_version":1' in before
    after = damage(before)
    assert after != before
    path.write_text(after)
    with pytest.raises(StoreError, match=told) as caught:
        JudgementFile.read(path)
    assert str(path) in str(caught.value)
    assert "trt-matrix judge RUN" in str(caught.value)


def test_a_file_of_long_ago_gives_a_page_of_today(tmp_path: Path) -> None:
    """tests/data/judgement/version-1.json is never written again: what reads it may change, it may not."""
    done = rendered(Path(__file__).parents[1] / "data" / "judgement" / "version-1.json", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert 'id="network"' in page
    assert "1.5" in page[page.index('class="net by-cost"') :]
    assert "61.5 s" in done.text()
    assert (tmp_path / "model-explorer" / "sensitivity.json").is_file()
