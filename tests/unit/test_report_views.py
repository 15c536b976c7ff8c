"""Which rows the tables have, and which cells a row is read against."""

import dataclasses

import pytest

from tests.unit.judgements import (
    BASELINE,
    FP32,
    MINMAX,
    SHARED,
    cell_result,
    fp32_head,
    head,
    judgement,
)
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.report.views import matrix


def test_only_places_where_all_passes_ended_alike_are_collapsed() -> None:
    def gone(
        name: str, pass_: Pass, reason: str = "no driver", log_tail: str | None = None
    ) -> CellResult:
        return cell_result(name, pass_, status=Status.UNAVAILABLE, reason=reason, log_tail=log_tail)

    groups = matrix(
        judgement(
            [
                gone("a", FP32),
                gone("a", SHARED),
                gone("b", FP32),
                gone("b", SHARED),
                gone("c", FP32),
                gone("c", SHARED, "disk full"),
                gone("d", FP32, "disk full"),
                gone("d", SHARED, "disk full"),
                gone("e", FP32, log_tail="see here"),
                cell_result("f", FP32, [fp32_head()]),
                gone("f", SHARED),
            ]
        )
    )
    shown = [[row.result.cell.environment for row in group.rows] for group in groups]
    assert shown == [["c", "e", "f"], ["c", "f"]]


def test_rows_are_read_against_the_baseline_of_their_own_device_and_pass() -> None:
    cells = [
        cell_result(name, pass_, [head(nmse=nmse)], device=device, latency_s=seconds)
        for name, device, pass_, nmse, seconds in (
            (BASELINE, "cpu", SHARED, 0.01, 0.010),
            (BASELINE, "gpu:0", SHARED, 0.02, 0.001),
            ("other", "gpu:0", SHARED, 0.04, 0.002),
            ("other", "gpu:1", SHARED, 0.04, 0.002),
            ("other", "gpu:0", MINMAX, 0.04, 0.002),
        )
    ]
    by_id = {row.result.cell.id: row for group in matrix(judgement(cells)) for row in group.rows}
    row = by_id["other/gpu:0/int8-shared-entropy"]
    assert row.change_db("small") == pytest.approx(-3.0103, abs=1e-4)
    assert row.latency_ratio(row.baseline) == pytest.approx(2.0)
    assert by_id["other/gpu:1/int8-shared-entropy"].baseline is None
    assert by_id["other/gpu:0/int8-own-minmax"].change_db("small") is None
    assert by_id[f"{BASELINE}/cpu/int8-shared-entropy"].baseline is None


def test_latencies_of_different_batches_have_no_ratio() -> None:
    base, other = cell_result(heads=[head()]), cell_result("other", heads=[head()])
    assert other.latency
    other = dataclasses.replace(other, latency=dataclasses.replace(other.latency, batch=8))
    (group,) = matrix(judgement([base, other]))
    assert group.rows[1].latency_ratio(group.rows[1].baseline) is None


def test_bit_identical_cells_are_named_by_what_tells_them_apart() -> None:
    others = (
        "mine/cpu/int8-own-entropy",
        "other/cpu/int8-shared-entropy",
        "other/gpu:0/fp32",
    )
    (group,) = matrix(judgement([cell_result("mine", SHARED, [head(identical_to=others)])]))
    assert group.rows[0].twins("small") == ("other", "int8-own-entropy", "other/gpu:0/fp32")
    assert group.rows[0].twins("large") == ()
