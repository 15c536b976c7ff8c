"""What changed between two runs: told once each, and nothing where nothing did."""

import dataclasses
import json
from collections.abc import Callable

from tests.unit.judgements import SHARED, cell_result, head, judgement, latency, whole
from trt_matrix.core.cells import Status
from trt_matrix.core.changes import RunChange, changes
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.verdicts.gates import GateResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.judging.diff import RunDifference

CELL = "a/cpu/int8-shared-entropy"


def run(cell: CellResult | None = None, **more: object) -> Judgement:
    cells = [cell or cell_result("a", SHARED, heads=(head("small"),))]
    return judgement(cells, heads=("small",), **more)


def changed(change: Callable[[CellResult], CellResult]) -> list[RunChange]:
    before = run()
    return list(changes(before, run(change(before.cells[0]))))


def test_nothing_changed() -> None:
    assert changes(whole(), whole()) == ()
    assert RunDifference("a", "b", ()).text() == "a → b\nnothing changed"


def test_inputs_are_told_first_and_once() -> None:
    one = run(facts={"model": {"sha256": "a"}, "settings": {"repeats": 2}})
    other = run(facts={"model": {"sha256": "b"}, "settings": {"repeats": 2, "most": 3}})
    assert changes(one, other) == (
        RunChange(None, None, "model.sha256", "a", "b"),
        RunChange(None, None, "settings.most", None, 3),
    )


def test_a_cell_that_broke() -> None:
    broken = cell_result("a", SHARED, status=Status.CRASHED, reason="segmentation fault")
    found = {change.what: (change.before, change.after) for change in changed(lambda _: broken)}
    assert found["status"] == ("ok", "crashed")
    assert found["reason"] == (None, "segmentation fault")


def test_planned_cells_that_came_and_went() -> None:
    new = cell_result("b", SHARED, heads=(head("small"),))
    one, other = run(), run(new)
    assert [(c.cell, c.before, c.after) for c in changes(one, other)] == [
        ("b/cpu/int8-shared-entropy", None, "ok"),
        (CELL, "ok", None),
    ]
    text = RunDifference("x", "y", changes(one, other)).text()
    assert "b/cpu/int8-shared-entropy\n  is new" in text
    assert f"{CELL}\n  is no longer planned" in text


def test_errors_verdicts_and_gates_of_a_head() -> None:
    gate = GateResult(name="sqnr_db", limit=20.0, value=15.0, passed=False)
    verdict = Verdict(kind=Kind.ENGINE_REGRESSION, cell=CELL, head="small")
    worse = dataclasses.replace(head("small", 0.03, verdicts=(verdict,)), gates=(gate,))
    found = changed(lambda cell: dataclasses.replace(cell, heads=(worse,)))
    assert {change.what for change in found} == {"sqnr_db", "verdicts", "gates"}
    text = RunDifference("x", "y", found).text()
    assert "small: sqnr_db 19.21 dB → 15.23 dB" in text
    assert "small: verdicts none → engine_regression" in text
    assert "small: gates SQNR 19.2 dB, at least 20 dB → SQNR 15.0 dB, at least 20 dB" in text


def test_what_is_within_rounding_or_its_interval_is_no_news() -> None:
    close = head("small", 0.012 * 1.001)
    assert changed(lambda cell: dataclasses.replace(cell, heads=(close,))) == []
    overlapping = latency(0.0123 * 1.01)
    assert changed(lambda cell: dataclasses.replace(cell, latency=overlapping)) == []
    slow = changed(lambda cell: dataclasses.replace(cell, latency=latency(0.0246)))
    assert [change.what for change in slow] == ["latency_s"]
    assert "12.3 ms → 24.6 ms" in RunDifference("x", "y", slow).text()


def test_identical_outputs_became_different() -> None:
    exact = cell_result("a", SHARED, heads=(head("small", 0.0),))
    (change,) = [c for c in changes(run(exact), run()) if c.what == "sqnr_db"]
    assert (change.before, change.after) == (None, run().cells[0].heads[0].error.sqnr_db)
    assert "exact → 19.21 dB" in RunDifference("x", "y", [change]).text()


def test_hostile_values_stay_on_one_line_and_in_json() -> None:
    found = changes(run(facts={"a": "x\n" * 500}), run(facts={"a": "<script>"}))
    difference = RunDifference("x", "y", found)
    assert len(difference.text().splitlines()) == 3
    assert json.loads(json.dumps(difference.summary()))["changes"][0]["after"] == "<script>"
