"""Cells in which layers are tried in float hide nothing of the others, and are not accused of anything."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.unit import made_cells, test_latency_verdicts
from tests.unit.fixes import MIXED, boxes, cell
from tests.unit.judgements import BASELINE, SHARED, cell_result, judgement
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.answers.network import network_answer
from trt_matrix.core.answers.unexplained import with_unexplained
from trt_matrix.core.cells import Status
from trt_matrix.core.judgement import Judgement
from trt_matrix.core.rules import Rules
from trt_matrix.core.verdicts.budget import budgets
from trt_matrix.core.verdicts.cell_errors import CellError, Noises
from trt_matrix.core.verdicts.decisions import verdicts
from trt_matrix.core.verdicts.equivalence import equivalences
from trt_matrix.core.verdicts.latency import latency_verdicts
from trt_matrix.core.verdicts.verdict import FAULTS, Kind
from trt_matrix.errors import ExitCode
from trt_matrix.judging.outcome import Outcome
from trt_matrix.report.cards import cards
from trt_matrix.report.html import render
from trt_matrix.report.junit import junit
from trt_matrix.report.questions import PageQuestion, questions
from trt_matrix.report.summary import summary

GOOD = cell(BASELINE, small_db=26, large_db=30)
BAD = cell(BASELINE, small_db=12, whole=boxes(60, 0.2))
TRIED_WELL = cell(BASELINE, MIXED, 26, whole=boxes(0, 0.0))
TRIED_IN_VAIN = cell(BASELINE, MIXED, 12, whole=boxes(60, 0.2))


def made(*cells: object) -> Judgement:
    results = with_unexplained(cells)  # type: ignore[arg-type]
    return with_fixes(judgement(results, heads=("small", "large")))


def code(one: Judgement) -> ExitCode:
    return Outcome(one, Path("run"), Path("report.html"), {}).exit_code(strict=False)


def asked(one: Judgement) -> tuple[PageQuestion, ...]:
    return questions(one, headline(one))


def test_a_remedy_that_fails_its_gate_fails_no_run() -> None:
    alone, beside = made(GOOD), made(GOOD, TRIED_IN_VAIN)
    assert (code(alone), code(beside)) == (ExitCode.OK, ExitCode.OK)
    assert beside.gates_failed == ()
    trial = beside.cells[-1]
    assert not [v for head in trial.heads for v in head.verdicts if v.kind in FAULTS]
    assert beside.answers == alone.answers
    assert beside.network == alone.network
    assert [card.gate for card in cards(beside)] == [card.gate for card in cards(alone)]
    assert asked(beside) == asked(alone)
    assert summary(beside).split("###")[0] == summary(alone).split("###")[0]
    assert not ET.fromstring(junit(beside)).findall(".//failure")


def test_a_remedy_that_works_hides_nothing() -> None:
    alone, beside = made(BAD), made(BAD, TRIED_WELL)
    assert code(beside) is ExitCode.GATE_FAILED
    assert beside.gates_failed == alone.gates_failed
    assert beside.answers == alone.answers
    assert beside.network == alone.network
    assert beside.network
    assert "60 of 400 boxes are lost" in beside.network.text
    *answers, few_layers, custom = asked(beside)
    assert [*answers, custom] == [*asked(alone)[:4], asked(alone)[5]]
    assert (few_layers.answer, asked(alone)[4].answer) == ("Yes", "Unknown")


def test_its_gates_are_shown_all_the_same() -> None:
    page = render(made(GOOD, TRIED_IN_VAIN))
    assert "tried as a remedy, so its gates fail no run" in page
    assert "2 layers in float" in page
    assert "asked to stay in float. Fixes tells what it gains, and what ran in int8 all the" in page


def test_a_remedy_that_crashes_is_told() -> None:
    crashed = cell_result(BASELINE, MIXED, status=Status.CRASHED, reason="ended by SIGSEGV")
    one = made(GOOD, crashed)
    assert code(one) is ExitCode.COULD_NOT_RUN
    assert one.network
    assert "SIGSEGV" in one.network.text


def test_the_network_answer_does_not_take_it_for_the_best_table() -> None:
    worse = replace(BAD, passed=None)
    results = with_unexplained([worse, TRIED_WELL])
    answer = network_answer(results, (), "")
    assert answer.findings[0].cells == (worse.cell.id,)


# Tests


def tried(name: str, nmse: float, **changes: object) -> CellError:
    values: dict[str, object] = {
        "cell": f"{name}/cpu/int8-mixed", "pass_": "int8-mixed", "placement": "engine-2_in_float",
        "held": True, "mixed": True,
    }  # fmt: skip
    return made_cells.cell(name, nmse, **values | changes)


@pytest.mark.parametrize("nmse", [0.001, 0.02, 0.3])
def test_no_test_accuses_it_and_it_changes_no_other_verdict(nmse: float) -> None:
    """Beyond its gate, beyond the other versions and beyond the table's own simulation."""
    cells = [made_cells.cell("base", 0.004), made_cells.cell("new", 0.009)]
    simulated = {
        ("engine", "t"): made_cells.exact(0.004),
        ("engine", "u"): made_cells.exact(0.003),
        ("engine-2_in_float", "t"): made_cells.exact(0.0005),
    }
    alone = replace(made_cells.errors(cells), simulations=simulated)
    beside = replace(
        made_cells.errors([*cells, tried("base", 0.001), tried("new", nmse)]), simulations=simulated
    )
    found = verdicts([beside], "base", Rules())
    mixed = [verdict for verdict in found if verdict.cell.endswith("mixed")]
    assert mixed
    assert not [
        verdict for verdict in mixed if verdict.kind in FAULTS or verdict.kind is Kind.INCONCLUSIVE
    ]
    assert [verdict for verdict in found if verdict not in mixed] == list(
        verdicts([alone], "base", Rules())
    )
    assert equivalences([beside], "base", Rules()) == equivalences([alone], "base", Rules())
    noises = Noises([beside], 1.5)
    assert budgets(beside, noises).keys() == {cell.cell for cell in cells}


def test_that_floats_are_slower_is_no_finding() -> None:
    slow = {"base": [1.0, 1.0, 1.0, 1.0], "new": [2.0, 2.0, 2.0, 2.0]}
    records = test_latency_verdicts.matrix(slow)
    assert latency_verdicts(records, "base", Rules())
    mixed = [record.model_copy(update={"pass_": MIXED}) for record in records]
    assert latency_verdicts(mixed, "base", Rules()) == {}


def test_a_pass_that_excludes_layers_by_the_users_wish_is_judged() -> None:
    """It is no trial: its gate fails the run."""
    excluding = replace(SHARED, exclude=MIXED.exclude)
    assert code(made(cell(BASELINE, excluding, 12))) is ExitCode.GATE_FAILED
