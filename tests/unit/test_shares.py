"""How a loss is made up, and which cells a head is judged by."""

from typing import Any

import pytest
from hypothesis import given, strategies
from hypothesis import strategies as st

from tests.unit.judgements import MINMAX, OWN, SHARED, cell_result, head
from trt_matrix.core.answers.rows import HeadRow
from trt_matrix.core.answers.speaking import speaking, table_name
from trt_matrix.core.cells import Pass, Precision, TableSource
from trt_matrix.core.shares import MOST_SPARED, shares_of
from trt_matrix.core.verdicts.budget import Budget
from trt_matrix.core.verdicts.verdict import Kind, Verdict

IMPLICIT = Pass(
    precision=Precision.INT8, source=TableSource.SHARED, algorithm="entropy", implicit=True
)


def budget(limit: float, calibration: float, engine: float) -> Budget:
    observed = limit + calibration + engine
    return Budget(
        observed=observed, limit=limit, calibration=calibration, engine=engine, noise=None
    )


def row(
    name: str, nmse: float | None, pass_: Pass = SHARED, device: str = "cpu", **changes: Any
) -> HeadRow:
    head_result = head("small", nmse, **changes)
    return HeadRow(cell_result(name, pass_, [head_result], device=device), head_result)


def test_shares_are_parts_of_what_was_observed() -> None:
    shares = shares_of("c", budget(0.002, 0.005, 0.003))
    assert shares
    assert (shares.limit, shares.table, shares.engine) == pytest.approx((0.2, 0.5, 0.3))
    assert shares.largest == "the table"
    assert shares.sentence() == "50 % the table, 30 % the engine, 20 % 8 bits"


def test_what_rounds_to_nothing_is_left_out() -> None:
    for share, told in ((0.0049, False), (0.0051, True)):
        shares = shares_of("c", budget(1 - share, share, 0.0))
        assert shares
        assert ("the table" in shares.sentence()) is told


@given(*[strategies.floats(1e-9, 1.0)] * 3)
def test_percents_are_a_hundred_together_and_each_is_within_one_of_its_share(
    limit: float, table: float, engine: float
) -> None:
    shares = shares_of("c", budget(limit, table, engine))
    if shares is None:
        return
    assert sum(shares.percents.values()) == 100
    for name, share in shares.parts:
        assert abs(shares.percents[name] - 100 * share) < 1


def test_an_engine_that_is_better_than_exact_has_no_share() -> None:
    shares = shares_of("c", budget(0.006, 0.002, -0.0005))
    assert shares
    assert (shares.limit, shares.table, shares.engine) == pytest.approx((0.75, 0.25, 0.0))


def test_a_cell_that_was_spared_has_none() -> None:
    for share, has in ((0.99, False), (1.01, True)):
        spared = budget(0.01, 0.0, 0.01 * (share * MOST_SPARED - 1))
        assert (shares_of("c", spared) is not None) is has
    assert shares_of("c", budget(0.0, 0.0, 0.0)) is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_shares_add_up_and_none_is_negative(
    limit: float, calibration: float, engine: float
) -> None:
    shares = shares_of("c", budget(limit, calibration, engine))
    if shares:
        assert sum(share for _, share in shares.parts) == pytest.approx(1)
        assert min(share for _, share in shares.parts) >= 0


# By which cells a head is judged


def test_of_each_way_to_int8_the_best_table_speaks_and_the_worst_version_of_it_first() -> None:
    rows = [
        row("old", 0.02),
        row("new", 0.01),
        row("old", 0.05, MINMAX),
        row("new", 0.05, MINMAX),
        row("old", 0.2, IMPLICIT, "gpu:0"),
    ]
    found = [(result.cell.environment, result.cell.pass_) for result, _ in speaking(rows)]
    assert found == [("old", IMPLICIT), ("old", SHARED), ("new", SHARED)]


def test_a_table_is_best_over_all_its_versions() -> None:
    """One lucky cell of a bad table does not make it speak."""
    rows = [row("a", 0.01), row("b", 0.01), row("a", 0.001, OWN), row("b", 0.5, OWN)]
    assert {result.cell.pass_ for result, _ in speaking(rows)} == {SHARED}


@pytest.mark.parametrize("kind", [Kind.NOT_COMPARABLE, Kind.BROKEN_OUTPUT, Kind.NOTHING_QUANTISED])
def test_what_says_nothing_does_not_speak(kind: Kind) -> None:
    verdict = Verdict(kind=kind, cell="c", head="small")
    best = row("old", 1e-9, MINMAX, verdicts=(verdict,))
    assert {r.cell.pass_ for r, _ in speaking([best, row("old", 0.01)])} == {SHARED}
    assert speaking([best]) == ()
    assert speaking([row("old", None)]) == ()


def test_a_table_is_named_by_who_made_it() -> None:
    assert table_name(cell_result("a", SHARED)) == "the shared entropy table"
    recorded = Pass(precision=Precision.INT8, source=TableSource.OWN)
    assert table_name(cell_result("app", recorded)) == "the own table of app"
