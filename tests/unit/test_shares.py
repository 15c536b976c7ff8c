"""How a loss is made up, which cells a head is judged by, and what each remedy alone would reach."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cells import Pass, Precision, TableSource
from runner.core.answers.remedies import WORTH_DB, remedies, speaking, table_name
from runner.core.answers.rows import Row
from runner.core.shares import MOST_SPARED, Remedy, shares_of
from runner.core.verdicts.budget import Budget
from runner.core.verdicts.verdict import Kind, Verdict
from tests.unit.judgements import BASELINE, MINMAX, OWN, SHARED, cell_result, head

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
) -> Row:
    one = head("small", nmse, **changes)
    return cell_result(name, pass_, [one], device=device), one


def test_shares_are_parts_of_what_was_observed() -> None:
    found = shares_of("c", budget(0.002, 0.005, 0.003))
    assert found
    assert (found.limit, found.table, found.engine) == pytest.approx((0.2, 0.5, 0.3))
    assert found.largest == "the table"
    assert found.sentence() == "50 % the table, 30 % the engine, 20 % 8 bits"


def test_less_than_a_hundredth_is_left_out() -> None:
    for share, told in ((0.0099, False), (0.0101, True)):
        found = shares_of("c", budget(1 - share, share, 0.0))
        assert found
        assert ("the table" in found.sentence()) is told


def test_an_engine_that_is_better_than_exact_has_no_share() -> None:
    found = shares_of("c", budget(0.006, 0.002, -0.0005))
    assert found
    assert (found.limit, found.table, found.engine) == pytest.approx((0.75, 0.25, 0.0))


def test_a_cell_that_was_spared_has_none() -> None:
    for share, has in ((0.99, False), (1.01, True)):
        spared = budget(0.01, 0.0, 0.01 * (share * MOST_SPARED - 1))
        assert (shares_of("c", spared) is not None) is has
    assert shares_of("c", budget(0.0, 0.0, 0.0)) is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_shares_add_up_and_none_is_negative(
    limit: float, calibration: float, engine: float
) -> None:
    found = shares_of("c", budget(limit, calibration, engine))
    if found:
        assert sum(share for _, share in found.parts) == pytest.approx(1)
        assert min(share for _, share in found.parts) >= 0


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


# Remedies


def reached(target: Row, *others: Row) -> dict[str, float]:
    return {one.what: one.reaches_db for one in remedies(target, [target, *others])}


def test_another_table_that_ran_there_was_measured() -> None:
    bad = row(BASELINE, 0.02, MINMAX, limit=0.006, calibration=0.01)
    (one,) = remedies(bad, [bad, row(BASELINE, 0.01)])
    assert one.what == "the shared entropy table"
    assert (one.reaches_db, one.measured, one.holds) == (pytest.approx(20), True, True)
    assert one.sentence() == "the shared entropy table → 20.0 dB (measured, holds)"


def test_the_best_table_known_is_computed_where_no_better_one_ran() -> None:
    bad = row(BASELINE, 0.02, limit=0.006, calibration=0.01, gate_sqnr_db=21)
    (one,) = remedies(bad, [bad])
    assert (one.what, one.measured, one.holds) == ("the best table known", False, False)
    assert one.reaches_db == pytest.approx(-10 * math.log10(0.01))


def test_a_better_version_is_named() -> None:
    found = reached(row("old", 0.02, calibration=0), row(BASELINE, 0.01, calibration=0))
    assert found == {BASELINE: pytest.approx(20)}
    assert reached(row(BASELINE, 0.01, calibration=0), row("old", 0.02, calibration=0)) == {}


def test_implicit_scales_are_compared_with_qdq_nodes_of_the_same_version() -> None:
    bad = row("trt", 0.1, IMPLICIT, "gpu:0", calibration=0.0)
    what = "Q/DQ nodes in place of implicit scales"
    assert what not in reached(bad, row("other", 0.01, device="gpu:0"))
    assert what not in reached(bad, row("trt", 0.01, device="gpu:1"))
    assert reached(bad, row("trt", 0.01, device="gpu:0"))[what] == pytest.approx(20)


@pytest.mark.parametrize(("share", "told"), [(0.99, False), (1.01, True)])
def test_what_gains_hardly_anything_is_no_remedy(share: float, *, told: bool) -> None:
    better = 0.02 * 10 ** (-share * WORTH_DB / 10)
    found = reached(row("old", 0.02, calibration=0), row(BASELINE, better, calibration=0))
    assert (BASELINE in found) is told


def test_the_best_remedy_stands_first() -> None:
    bad = row("old", 0.1, limit=0.001, calibration=0.05)
    found = remedies(bad, [bad, row(BASELINE, 0.01)])
    assert [one.reaches_db for one in found] == sorted(
        (one.reaches_db for one in found), reverse=True
    )
    assert len(found) == 2


def test_without_a_gate_nobody_says_whether_it_holds() -> None:
    one = Remedy(what="x", reaches_db=-0.04, measured=False, holds=None)
    assert one.sentence() == "x → 0.0 dB (computed)"


def test_a_table_is_named_by_who_made_it() -> None:
    assert table_name(cell_result("a", SHARED)) == "the shared entropy table"
    recorded = Pass(precision=Precision.INT8, source=TableSource.OWN)
    assert table_name(cell_result("app", recorded)) == "the own table of app"
