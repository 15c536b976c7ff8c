"""What int8 costs in one clause: which numbers stand there, from which border on."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.unit.judgements import OWN, SHARED, cell_result, changes, head, judgement
from trt_matrix.core.answer import BEARABLE
from trt_matrix.core.answers.harm import harm
from trt_matrix.core.answers.strips import strips
from trt_matrix.core.boxes.results import ALL, AveragePrecision, BoxErrors, BoxReport, CellBoxes
from trt_matrix.core.cells import Pass, Precision
from trt_matrix.core.judgement import CellResult, Judgement
from trt_matrix.core.rules import DB
from trt_matrix.core.severity import LEAST_AP
from trt_matrix.core.verdicts.effect import Effect
from trt_matrix.core.verdicts.verdict import Kind, Verdict

SIDES = (0.99, 1.01)
GOOD, BAD = 0.008, 0.012
"""NMSE of a head that holds its gate of 20 dB, and of one that does not."""
REPORT = BoxReport(
    heads=("small",),
    shown_score=0.3,
    match_iou=0.5,
    sizes={},
    precision={ALL: AveragePrecision(ap=0.8, ap50=0.9, objects=1000)},
)
EFFECT = Effect(log=0.7, low=0.5, high=0.9, p=1e-5, builds=3)


def said(made: Judgement, *, worst_only: bool = False) -> str:
    return harm(made, strips(made), worst_only=worst_only)


def boxed(
    name: str, nmse: float, lost: float, drop: float | None, new: float, pass_: Pass = SHARED
) -> CellResult:
    errors = BoxErrors(
        changes={ALL: changes(lost, 1000.0, new, mean_iou=0.9)}, precision={}, ap_drop=drop
    )
    result = cell_result(name, pass_, [replace(head("small", nmse), boxes=errors)])
    return replace(result, boxes=CellBoxes(whole=errors, heads={"small": errors}))


def of_boxes(
    *versions: tuple[float, float | None, float],
    nmse: float = GOOD,
    report: BoxReport | None = REPORT,
) -> Judgement:
    """Returns one version for each (lost boxes, loss of AP, new boxes) of 1,000."""
    cells = [boxed(f"v{number}", nmse, *one) for number, one in enumerate(versions, 1)]
    return judgement(cells, heads=("small",), baseline="v1", boxes=report)


def of_heads(*sqnr_db: float, **more: object) -> Judgement:
    names = ("a", "b", "c", "d", "e")[: len(sqnr_db)]
    heads = [head(name, 10 ** (-db / 10)) for name, db in zip(names, sqnr_db, strict=True)]
    return judgement([cell_result("v1", SHARED, heads)], heads=names, baseline="v1", **more)


# Boxes


@pytest.mark.parametrize("share", SIDES)
def test_a_loss_of_ap_that_rounds_to_nothing_is_no_cost(share: float) -> None:
    """Where boxes are lost besides, nothing is said of it; where none is, that it is kept."""
    with_boxes = said(of_boxes((20, share * LEAST_AP, 0)))
    assert with_boxes.startswith("INT8 loses 20" if share < 1 else "INT8 costs AP 0.8")
    assert with_boxes.endswith("loses 20 of 1000 boxes in v1")
    alone = said(of_boxes((0, share * LEAST_AP, 0)), worst_only=False)
    assert alone.startswith("INT8 keeps AP 0.8"), "harmless, however much it is"
    seen = said(of_boxes((0, share * LEAST_AP, 10)))
    assert seen.startswith("INT8 keeps AP 0.8" if share < 1 else "INT8 costs AP 0.8")


def test_without_an_ap_of_the_reference_the_loss_alone_is_told() -> None:
    assert said(of_boxes((20, 0.02, 0), report=None)) == (
        "INT8 costs 0.020 AP and loses 20 of 1000 boxes in v1"
    )
    assert said(of_boxes((20, 0.99 * LEAST_AP, 0), report=None)) == (
        "INT8 loses 20 of 1000 boxes in v1"
    )


@pytest.mark.parametrize("share", SIDES)
def test_new_boxes_are_told_from_half_a_percent_on(share: float) -> None:
    told = said(of_boxes((1, 0.02, share * 5)))
    assert ("adds" in told) is (share > 1)
    assert ("adds 5.05" in told) is (share > 1)


def test_new_boxes_are_told_where_they_are_more_than_those_lost() -> None:
    assert "adds" not in said(of_boxes((20, 0.02, 20)))
    assert said(of_boxes((20, 0.02, 21))).endswith("loses 20 of 1000 boxes and adds 21 in v1")


def test_of_versions_that_differ_the_most_is_told_as_up_to() -> None:
    """Two numbers are one version's lost and new; from three on they are of several."""
    assert "up to" not in said(of_boxes((20, 0.02, 0), (20, 0.03, 0)))
    assert "up to" not in said(of_boxes((20, 0.02, 0)))
    told = said(of_boxes((20, 0.02, 0), (30, 0.01, 0)))
    assert told == (
        "INT8 costs AP 0.800 → 0.780 and loses up to 30 of 1000 boxes, at worst of 2 environments"
    )


def test_boxes_that_all_stay_are_told_so() -> None:
    assert said(of_boxes((0, None, 0))) == "INT8 loses no box in v1"


@pytest.mark.parametrize("share", SIDES)
def test_on_the_page_of_what_is_wrong_harmless_boxes_say_nothing(share: float) -> None:
    """Visible from half a percent of the boxes, or 0.01 of AP, on."""
    for made in (of_boxes((share * 5, 0, 0)), of_boxes((0, share * 0.01, 0))):
        assert bool(said(made, worst_only=True)) is (share > 1)


def test_visible_begins_at_its_border() -> None:
    assert said(of_boxes((5, 0, 0)), worst_only=True)


# Heads


def test_harmless_boxes_do_not_hide_a_gate_that_fails() -> None:
    made = of_boxes((0, 0.0, 0), nmse=BAD)
    assert (
        said(made) == said(made, worst_only=True) == "INT8 leaves small at 19.2 dB (gate 20) in v1"
    )


@pytest.mark.parametrize(
    ("sqnr_db", "told"),
    [
        ((19, 21), "a at 19.0 dB (gate 20)"),
        ((19, 18, 17), "c at 17.0 dB (gate 20), b at 18.0 dB (gate 20) and a at 19.0 dB (gate 20)"),
        ((19, 18, 17, 16), "d at 16.0 dB (gate 20), c at 17.0 dB (gate 20) and 2 more"),
        ((19, 18, 17, 16, 15), "e at 15.0 dB (gate 20), d at 16.0 dB (gate 20) and 3 more"),
    ],
)
def test_heads_below_their_gates_are_named_three_at_most(
    sqnr_db: Sequence[float], told: str
) -> None:
    assert said(of_heads(*sqnr_db)) == f"INT8 leaves {told} in v1"


def test_what_is_kept_says_what_nobody_knows() -> None:
    assert said(of_heads(20.5, 21)) == (
        "INT8 keeps 20.5 to 21.0 dB in v1; what became of boxes is not known"
    )
    assert said(of_heads(20.5), worst_only=True) == ""
    assert said(of_heads(20.5, boxless=True)) == "INT8 keeps 20.5 dB in v1"
    bare = head("a", 0.009, gate_sqnr_db=None)
    made = judgement([cell_result("v1", SHARED, [bare])], heads=("a",), baseline="v1", boxless=True)
    assert said(made).endswith("; no gate says whether that is enough")
    assert said(judgement([], heads=("a",), baseline="v1")) == ""


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.FP32])
def test_a_float_pass_that_fails_its_gate_is_not_int8s(precision: Precision) -> None:
    failing = replace(head("small", 0.5), passed=False)
    cells = [
        cell_result("v1", SHARED, [head("small", GOOD)]),
        cell_result("v1", Pass(precision=precision), [failing]),
    ]
    assert "leaves" not in said(judgement(cells, heads=("small",), baseline="v1"))


# Blame


def regression(name: str, kind: Kind = Kind.ENGINE_REGRESSION) -> Verdict:
    return Verdict(
        kind=kind, cell=f"{name}/cpu/{SHARED.name}", head="small",
        against=f"v1/cpu/{SHARED.name}", effect=EFFECT,
    )  # fmt: skip


def test_versions_that_lose_against_the_baseline_are_named_with_their_dB() -> None:  # noqa: N802
    cells = [
        cell_result("v1", SHARED, [head("small", 0.004)]),
        cell_result("v2", SHARED, [head("small", 0.016, verdicts=(regression("v2"),))]),
        cell_result("v3", SHARED, [head("small", 0.020, verdicts=(regression("v3"),))]),
        cell_result("v4", SHARED, [head("small", 0.030)]),
        cell_result("v3", OWN, [head("small", 0.030)]),
    ]
    made = judgement(cells, heads=("small",), baseline="v1")
    low, high = (10 * math.log10(nmse / 0.004) for nmse in (0.016, 0.020))
    assert said(made) == f"v2 and v3 lose {low:.1f} to {high:.1f} dB on small in INT8 against v1"
    one = judgement(cells[:2], heads=("small",), baseline="v1")
    assert said(one) == "v2 loses 6.0 dB on small in INT8 against v1"


def test_a_loss_is_beside_the_baseline_of_the_same_pass() -> None:
    cells = [
        cell_result("v1", SHARED, [head("small", 0.011)]),
        cell_result("v1", OWN, [head("small", 0.004)]),
        cell_result("v2", SHARED, [head("small", 0.0125, verdicts=(regression("v2"),))]),
    ]
    db = 10 * math.log10(0.0125 / 0.011)
    assert said(judgement(cells, heads=("small",), baseline="v1")) == (
        f"v2 loses {db:.1f} dB on small in INT8 against v1"
    )


def test_without_a_gate_a_loss_that_is_visible_is_told() -> None:
    """Half a dB to three; the regression itself says whose it is."""
    effect = replace(EFFECT, log=1.4 * DB, low=1.2 * DB, high=1.6 * DB)
    verdict = replace(regression("v2"), effect=effect)
    cells = [
        cell_result("v1", SHARED, [head("small", 0.0040, gate_sqnr_db=None)]),
        cell_result("v2", SHARED, [head("small", 0.0055, verdicts=(verdict,), gate_sqnr_db=None)]),
    ]
    assert said(judgement(cells, heads=("small",), baseline="v1")) == (
        "v2 loses 1.4 dB on small in INT8 against v1"
    )


def test_of_heads_that_no_gate_judges_harmless_boxes_say_nothing() -> None:
    made = of_boxes((0, 0.0, 0))
    (answer,) = made.answers
    unjudged = replace(answer, unseen=(BEARABLE,), passed=None)
    assert said(replace(made, answers=(unjudged,))).endswith(
        " in v1; no gate says whether the error of small matters"
    )
    assert said(replace(made, answers=(replace(unjudged, passed=True),))).endswith(" in v1")
    seen = replace(of_boxes((20, 0.02, 0)), answers=(unjudged,))
    assert said(seen).endswith("loses 20 of 1000 boxes in v1"), (
        "that matters, whatever the error is"
    )
    assert said(replace(made, answers=(replace(unjudged, unseen=()),))).endswith(" in v1")


def test_where_a_table_is_to_blame_the_clause_is_of_that_table() -> None:
    verdict = regression("v1", Kind.CALIBRATION_PROBLEM)
    cells = [cell_result("v1", SHARED, [head("small", 0.016, verdicts=(verdict,))])]
    assert said(judgement(cells, heads=("small",), baseline="v1")) == (
        "INT8 with the shared entropy table leaves small at 18.0 dB (gate 20) in v1"
    )
    other = regression("v1", Kind.ENGINE_LOSS)
    cells = [cell_result("v1", SHARED, [head("small", 0.016, verdicts=(other,))])]
    assert said(judgement(cells, heads=("small",), baseline="v1")) == (
        "INT8 leaves small at 18.0 dB (gate 20) in v1"
    )
