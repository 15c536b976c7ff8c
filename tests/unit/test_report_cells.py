"""Every cell by itself: where it stands, what its stages took, how to run it again."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.judgements import FP32, SHARED, cell_result, head, judgement, whole
from tests.unit.new_records import new_measurement, new_record, new_start
from tests.unit.pages import parse
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.judge import _cell_run as cell_run
from trt_matrix.core.judgement import CellResult, CellRun
from trt_matrix.core.records import Measurement
from trt_matrix.report.cells import cell_anchor, command, common_facts, places, stage_s
from trt_matrix.report.html import render


def run(**stages: tuple[float, ...]) -> CellRun:
    return CellRun(
        started="2026-11-23T09:15:00.123456+00:00",
        stages=stages,
        table="ab" * 32,
        fingerprint="cd" * 32,
        engine_bytes=1_500_000,
        timing_cache="read",
    )


def cell(environment: str, pass_: Pass = SHARED, **changes: object) -> CellResult:
    return replace(cell_result(environment, pass_, [head()]), **changes)  # type: ignore[arg-type]


def test_a_cell_tells_its_stages_its_table_and_its_command() -> None:
    result = cell("v1", run=run(build=(1.0, 3.0), infer=(0.5, 0.5), odd=(0.25,)))
    section = parse(render(judgement([result, cell("v1", FP32)], heads=("small",)))).by_id("cells")
    row = section.by_id("cell-v1/cpu/int8-shared-entropy")
    assert "2.00" in row.text, "median of both repeats"
    assert "2026-11-23 09:15:00 UTCtable abababababab" in row.text
    assert "engine 1.50 MB · timing cache read" in row.text
    assert "trt-matrix run --fresh -s v1/cpu/int8-shared-entropy" in row.text
    heads = [element.text for element in section.all("table")[0].all("thead")[0].all("th")]
    assert heads[3:6] == ["build", "infer", "odd"], "a job's order, unknown stages last"
    (other,) = [element for element in section.all("tr") if element.text.startswith("fp32")]
    assert "ok 3 ––––" in other.text, "it has no stages and no run"


def test_every_planned_cell_has_its_place() -> None:
    made = whole()
    section = parse(render(made)).by_id("cells")
    ids = [element.attributes["id"] for element in section.all("tr") if "id" in element.attributes]
    assert ids == [cell_anchor(result.cell.id) for result in made.cells]


def test_a_reason_that_all_cells_of_a_place_share_is_told_once() -> None:
    gone = [
        cell_result("ngc", pass_, status=Status.UNAVAILABLE, reason="no NVIDIA driver")
        for pass_ in (FP32, SHARED)
    ]
    section = parse(render(judgement(gone, heads=("small",)))).by_id("cells")
    assert section.text.count("no NVIDIA driver") == 1
    mixed = [gone[0], cell_result("ngc", SHARED, status=Status.CRASHED, reason="killed")]
    section = parse(render(judgement(mixed, heads=("small",)))).by_id("cells")
    assert section.text.count("no NVIDIA driver") == section.text.count("killed") == 1


def test_a_place_with_a_log_is_open_and_the_others_are_not() -> None:
    crashed = cell_result("b", FP32, status=Status.CRASHED, reason="killed", log_tail="frame 0")
    section = parse(render(judgement([cell("a"), crashed], heads=("small",)))).by_id("cells")
    elements = [element for element in section.all("details") if "place" in element.classes]
    assert ["open" in element.attributes for element in elements] == [False, True]
    assert elements[1].all("pre")[0].text == "frame 0"


def test_disturbed_latencies_are_told_with_their_cell() -> None:
    result = cell("a", disturbed="1 of 2 repeats: another process used the GPU")
    text = parse(render(judgement([result], heads=("small",)))).by_id("cells").text
    assert "disturbed: 1 of 2 repeats: another process used the GPU" in text


def test_facts_that_all_share_are_told_once() -> None:
    cells = [
        cell("a", facts={"engine": "ort", "version": "1", "list": [1, 2]}),
        cell("b", facts={"engine": "ort", "version": "2", "list": [1, 2]}),
        cell("c"),
    ]
    made = judgement(cells, heads=("small",))
    common = common_facts(made)
    assert common == (("engine", "ort"), ("list", "1\n2"))
    assert [[fact.pairs for fact in place.facts] for place in places(made, common)] == [
        [(("version", "1"),)],
        [(("version", "2"),)],
        [],
    ]
    assert common_facts(judgement([cell("c")])) == ()


def test_passes_with_other_facts_are_told_apart() -> None:
    cells = [cell("a", facts={"table": "x"}), cell("a", FP32, facts={"table": "y"})]
    (place,) = places(judgement(cells), ())
    assert [fact.passes for fact in place.facts] == [("int8-shared-entropy",), ("fp32",)]


def test_a_stage_is_told_by_its_median() -> None:
    result = cell("a", run=run(build=(1.0, 9.0, 2.0)))
    assert stage_s(result, "build") == 2
    assert stage_s(result, "infer") is None
    assert stage_s(cell("a"), "build") is None


@pytest.mark.parametrize("name", ["a b", "gpu:*", "$(reboot)", "'", "-x"])
def test_a_command_survives_a_shell(name: str) -> None:
    assert shlex.split(command(f"{name}/cpu/fp32"))[-1] == f"{name}/cpu/fp32"


def test_anchors_are_plain_and_apart() -> None:
    assert cell_anchor("ort-1.32.0/gpu:*/fp32") == "cell-ort-1.32.0/gpu:*/fp32"
    names = ["a b", "a  b", "a-b", "\ud800", "\u202e", "x" * 9000, "x" * 9001, "<a>", "", "a\nb"]
    anchors = [cell_anchor(name) for name in names]
    assert len(set(anchors)) == len(names)
    for anchor in anchors:
        assert re.fullmatch(r"cell-[A-Za-z0-9._:/*-]*", anchor)
        assert len(anchor) < 140


def measurement(repeat: int, **changes: Any) -> Measurement:
    start = new_start(started="s")
    fields = {"fingerprint": f"f{repeat}", "repeat": repeat, "start": start} | changes
    return new_measurement(**fields)


def test_a_cells_run_is_told_from_its_record() -> None:
    record = new_record(
        "a",
        measurements=(
            measurement(0, stages={"build": 1.0}),
            measurement(1, stages={"build": 2.0, "time": 3.0}, table="t", build={"size_bytes": 7}),
        ),
    )
    found = cell_run(record)
    assert found
    assert found.stages == {"build": (1.0, 2.0), "time": (3.0,)}
    assert (found.table, found.fingerprint, found.started) == ("t", "f1", "s")
    assert (found.engine_bytes, found.timing_cache) == (7, None)
    odd = record.model_copy(
        update={"measurements": (measurement(0, build={"size_bytes": "big", "timing_cache": 1}),)}
    )
    told = cell_run(odd)
    assert told
    assert (told.engine_bytes, told.timing_cache) == (None, None)
    assert cell_run(record.model_copy(update={"measurements": ()})) is None
