"""Which cells a large page tells in detail."""

from dataclasses import replace

import pytest

from tests.unit.judgements import BASELINE, SHARED, cell_result, head, judgement
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import CellResult
from trt_matrix.core.verdicts.verdict import Kind, Verdict
from trt_matrix.report.limits import FEW, MOST, detailed


def found(environment: str, kind: Kind) -> CellResult:
    cell = f"{environment}/cpu/{SHARED.name}"
    return cell_result(
        environment,
        SHARED,
        [head(nmse=0.001, verdicts=(Verdict(kind=kind, cell=cell, head="small"),))],
    )


CELLS = (
    cell_result("plain", SHARED, [head(nmse=0.001)]),
    cell_result("unavailable", status=Status.UNAVAILABLE, reason="no driver"),
    found("open", Kind.INCONCLUSIVE),
    cell_result("silent", status=Status.CRASHED, reason="killed for memory"),
    found("worse", Kind.ENGINE_REGRESSION),
    cell_result("below", SHARED, [head(nmse=0.5)]),
    cell_result(BASELINE, SHARED, [head(nmse=0.001)]),
)
ASKED_FOR = (BASELINE, "silent", "below", "worse", "open", "plain", "unavailable")


def told(most: int) -> set[str]:
    made = judgement(CELLS)
    kept = detailed(made, most)
    return {result.cell.environment for result in made.cells if result.cell.id in kept}


@pytest.mark.parametrize("most", range(len(CELLS) + 2))
def test_what_a_reader_asks_for_first_is_kept_longest(most: int) -> None:
    assert told(most) == set(ASKED_FOR[:most])


def test_a_failed_gate_of_the_whole_network_and_a_failing_finding_are_kept() -> None:
    lost = replace(cell_result("lost", SHARED, [head(nmse=0.001)]), passed=False)
    zero = Verdict(kind=Kind.BROKEN_OUTPUT, cell="zero", head="small", why="all zero")
    broken = cell_result("zero", SHARED, [head(nmse=0.001, gate_sqnr_db=None, verdicts=(zero,))])
    made = judgement((*CELLS[:3], CELLS[4], lost, broken, CELLS[-1]), heads=("small",))
    assert {one.split("/")[0] for one in detailed(made, 3)} == {BASELINE, "lost", "zero"}


def test_of_more_than_a_page_should_hold_few_are_told() -> None:
    plain = [cell_result(f"v{number}", SHARED, [head(nmse=0.001)]) for number in range(MOST)]
    assert len(detailed(judgement(plain))) == MOST
    more = judgement([*plain, *CELLS])
    kept = {one.split("/")[0] for one in detailed(more)}
    assert len(kept) == FEW
    assert set(ASKED_FOR[:5]) <= kept
    assert len(detailed(more, MOST + len(CELLS))) == MOST + len(CELLS)


def test_nothing_is_left_out_where_all_have_room() -> None:
    assert detailed(judgement(CELLS), len(CELLS)) == {result.cell.id for result in CELLS}
    assert detailed(judgement([]), 0) == set()
