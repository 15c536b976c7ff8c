"""How calibration tables differ."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.new_records import new_manifest, new_measurement, new_record
from tests.unit.passes import OWN, SHARED
from trt_matrix.core.cells import Pass, Status
from trt_matrix.core.manifest import Manifest
from trt_matrix.core.records import Record
from trt_matrix.core.tables.differences import TableReport, table_report

A, B, C, LIMIT = "a" * 64, "b" * 64, "c" * 64, "d" * 64
RANGES: Mapping[str, Mapping[str, float]] = {
    A: {"image": 1.0, "up": 4.0, "small": 10.0},
    B: {"image": 1.0, "up": 1.0, "small": 11.0},
    C: {"image": 1.0, "up": 8.0},
    LIMIT: {"image": 1.0, "up": 100.0, "small": 10.0},
}
HEADS = {"image": ("large", "small"), "up": ("small",), "small": ("small",)}


def stated(algorithm: str, **more: Any) -> Mapping[str, Any]:
    return {"algorithm": algorithm, "images_sha256": "i", "note": None, "unusable": {}} | more


def manifest(**tables: Mapping[str, Any]) -> Manifest:
    return new_manifest(baseline="v2", tables={name * 64: table for name, table in tables.items()})


def record(environment: str, pass_: Pass, table: str | None, status: Status = Status.OK) -> Record:
    measurement = new_measurement(name=pass_.name, status=status, table=table)
    return new_record(environment, pass_, (measurement, measurement), status=status)


def report(*records: Record, ranges: Mapping[str, Mapping[str, float]] = RANGES) -> TableReport:
    facts = manifest(
        d=stated("entropy", note="for the limit", images_sha256="evaluation"),
        c=stated("minmax"),
        b=stated("entropy", unusable={"dead": "all zero"}),
        a=stated("entropy"),
    )
    return table_report(facts, records, ranges, HEADS, {})


RUN = (
    record("v1", SHARED, A),
    record("v1", OWN, B),
    record("v2", SHARED, A),
    record("v2", OWN, A),
    record("v3", OWN, C, Status.CRASHED),
)


def test_tables_are_compared_with_the_shared_one() -> None:
    found = report(*RUN)
    assert found.against == A
    assert [table.digest for table in found.tables] == [A, B, LIMIT, C]
    shared, own, limit, _ = found.tables
    assert (shared.shared, shared.own_of, shared.compared) == (True, ("v2",), 0)
    assert shared.furthest is None
    assert shared.cells == (
        "v1/cpu/int8-shared-entropy",
        "v2/cpu/int8-shared-entropy",
        "v2/cpu/int8-own-entropy",
    )
    assert (own.shared, own.own_of) == (False, ("v1",))
    assert (own.compared, own.differing, own.unusable) == (3, 2, 1)
    assert (own.furthest, own.furthest_ratio) == ("up", 0.25)
    assert own.median_ratio == 1.0
    assert (limit.cells, limit.note) == ((), "for the limit")


def test_what_is_clipped_is_told_by_the_minmax_table_of_the_same_images() -> None:
    shared, own, limit, minmax = report(*RUN).tables
    assert shared.kept == pytest.approx((1 + 4 / 8) / 2)
    assert own.kept == pytest.approx((1 + 1 / 8) / 2)
    assert minmax.kept == 1
    assert limit.kept is None, "it is of other images"


def test_the_tensors_that_differ_most_come_first_with_the_heads_they_feed() -> None:
    all_ranges = report(*RUN).tensors
    assert [(ranges.tensor, ranges.heads, ranges.spread) for ranges in all_ranges] == [
        ("up", ("small",), 4.0),
        ("small", ("small",), 1.1),
    ]
    assert all_ranges[0].amax == {A: 4.0, B: 1.0}, "the limit's table ran nowhere"


def test_without_a_shared_table_the_baselines_own_is_what_others_are_compared_with() -> None:
    assert report(record("v1", OWN, B), record("v2", OWN, A)).against == A
    assert report(record("v1", OWN, B)).against == B
    nothing = report()
    assert nothing.against is None
    assert all(table.compared == 0 and table.median_ratio is None for table in nothing.tables)
    assert nothing.tensors == ()


def test_tables_that_cannot_be_read_are_named() -> None:
    found = report(*RUN, ranges={A: RANGES[A]})
    assert found.missing == (LIMIT, C, B)
    assert [table.digest for table in found.tables] == [A]
    assert found.tables[0].kept is None


def test_ranges_at_the_ends_of_float32_are_compared_too() -> None:
    tiny, huge = {"up": 1e-38, "small": 1.0}, {"up": 3e38, "small": 1.0}
    found = report(*RUN, ranges={A: tiny, B: huge})
    assert found.tables[1].furthest == "up"
    assert found.tensors[0].spread == pytest.approx(3e76)
    assert found.tensors[0].tensor == "up"
