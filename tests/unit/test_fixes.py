"""What would fix it: each way out by what shows it, and situations in which it would be told falsely."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.unit import h200, random_judgements
from tests.unit.fixes import (
    IMPLICIT,
    MIXED,
    PER_TENSOR,
    PLACED,
    TABLE,
    boxes,
    cell,
    diagnosis,
    kinds,
    only,
    record,
    regression,
    told,
)
from tests.unit.judgements import BASELINE, SHARED, whole
from tests.unit.passes import MINMAX
from trt_matrix.core.answers.fixes import with_fixes
from trt_matrix.core.answers.headline import headline
from trt_matrix.core.calibration.curve import Curve, Point, Trend
from trt_matrix.core.calibration.ranges import Decider
from trt_matrix.core.calibration.report import CalibrationReport, Claim, Concern, Cost, LeftOutImage
from trt_matrix.core.cells import TableSource
from trt_matrix.core.diagnosis.record import MixRecord
from trt_matrix.core.fix import Basis, FixKind, KeptQuality
from trt_matrix.core.judgement import CellResult, CellRun
from trt_matrix.report import views

# Nothing is wrong


def test_where_nothing_is_wrong_nothing_is_fixed() -> None:
    """Another table is 8 dB better, and nobody needs it."""
    judgement = told(cell(BASELINE, small_db=25), cell(BASELINE, MINMAX, 33), diagnosis=diagnosis())
    assert (judgement.fixes, judgement.no_fix) == ((), ())


def test_a_table_that_is_bad_and_not_in_use_needs_no_fix() -> None:
    assert told(cell(BASELINE, small_db=25), cell(BASELINE, MINMAX, 12)).fixes == ()


def test_boxes_that_go_are_wrong_though_every_gate_holds() -> None:
    judgement = told(
        cell(BASELINE, small_db=25, whole=boxes(30)), cell(BASELINE, MIXED, 25, whole=boxes(0))
    )
    assert kinds(judgement) == [FixKind.LAYERS]
    assert "30 to 0 of 400 boxes lost" in only(judgement).why


# Another table


def test_a_better_table_that_ran_there_is_measured() -> None:
    fix = only(told(cell(BASELINE), cell(BASELINE, MINMAX, 21, latency_s=0.02)))
    assert (fix.kind, fix.what, fix.basis) == (FixKind.TABLE, "the minmax table", Basis.MEASURED)
    assert fix.command == "calibration: {shared: minmax}"
    assert fix.now.sqnr_db["small"] == pytest.approx(16)
    assert fix.reaches.sqnr_db["small"] == pytest.approx(21)
    assert (fix.now.holds, fix.reaches.holds) == (False, True)
    assert fix.reaches.latency_s == 0.02
    assert fix.cells == (f"{BASELINE}/cpu/int8-own-minmax",)


def test_another_table_of_the_algorithm_in_use_is_told_by_who_made_it() -> None:
    """It was "use the entropy table" with `shared: entropy`, where just that was in use and lost."""
    own = replace(SHARED, source=TableSource.OWN)
    fix = only(told(cell(BASELINE), cell(BASELINE, own, 21)))
    assert (fix.what, fix.command) == ("the own entropy table", "")
    judgement = told(
        cell(BASELINE),
        errors={(PLACED.name, "cd" * 32): {"small": 0.004, "large": 0.001}},
        algorithms={"cd" * 32: "entropy"},
    )
    assert (only(judgement).what, only(judgement).command) == (
        "the entropy table that an environment of this run made",
        "",
    )


def test_a_table_that_only_another_version_ran_is_not_this_ones() -> None:
    good = cell("other", MINMAX, 21)
    assert told(cell(BASELINE), good).fixes == ()
    assert told(cell(BASELINE), cell("other", small_db=25), good).fixes == ()


def test_a_table_that_is_better_by_what_builds_differ_is_none() -> None:
    noisy: dict[str, Any] = {"noise": 0.005, "fixed": False}
    assert told(cell(BASELINE, **noisy), cell(BASELINE, MINMAX, 17, **noisy)).fixes == ()
    assert kinds(told(cell(BASELINE), cell(BASELINE, MINMAX, 17))) == [FixKind.TABLE]


def test_a_table_that_gains_decibels_and_loses_boxes_is_told_as_no_fix() -> None:
    judgement = told(
        cell(BASELINE, whole=boxes(10, 0.05)), cell(BASELINE, MINMAX, 18, whole=boxes(30, 0.11))
    )
    assert judgement.fixes == ()
    (sentence,) = judgement.no_fix
    assert "it is no fix" in sentence
    assert "AP drop 0.050 to 0.110" in sentence


def test_a_head_that_is_clearly_worse_by_it_is_told() -> None:
    fix = only(told(cell(BASELINE), cell(BASELINE, MINMAX, 21, 28)))
    assert "large loses 2.0 dB by it" in fix.why
    assert "loses" not in only(told(cell(BASELINE), cell(BASELINE, MINMAX, 21, 29.6))).why


def test_a_table_that_was_only_simulated_says_so_and_that_nobody_saw_its_boxes() -> None:
    known = {
        (PLACED.name, "m"): {"small": 0.005, "large": 0.001},
        (PLACED.name, "e"): {"small": 0.0001, "large": 0.0001},
        ("tensorrt", "t"): {"small": 0.0001, "large": 0.0001},
    }
    judgement = told(
        cell(BASELINE, whole=boxes(30)), errors=known, algorithms={"m": "minmax", "t": "mse"}
    )
    fix = only(judgement)
    assert (fix.what, fix.basis, fix.cells) == ("the minmax table", Basis.SIMULATED, ())
    assert "boxes was not looked at" in fix.why
    assert fix.reaches.sqnr_db["small"] == pytest.approx(23.01, abs=0.01)


def test_what_the_engine_loses_it_loses_with_another_table_too() -> None:
    known = {(PLACED.name, "m"): {"small": 0.005, "large": 0.001}}
    bad = cell(BASELINE, engine=0.01)
    fix = only(told(bad, errors=known, algorithms={"m": "minmax"}))
    assert fix.reaches.sqnr_db["small"] == pytest.approx(18.24, abs=0.01)
    assert fix.reaches.holds is False


def test_recorded_outputs_without_simulations_have_no_simulated_way_out() -> None:
    bare = replace(cell("app"), placed=None)
    assert told(bare).fixes == ()


# Weights


def test_a_scale_a_channel_is_measured_where_it_ran() -> None:
    judgement = told(cell(BASELINE, PER_TENSOR))
    assert judgement.fixes == ()
    # Of both the first that is planned is in use.
    fix = only(told(cell(BASELINE, PER_TENSOR), cell(BASELINE, SHARED, 22)))
    assert (fix.kind, fix.basis) == (FixKind.WEIGHTS, Basis.MEASURED)
    assert fix.command == "quantisation: {weights: per_channel}"
    assert told(cell(BASELINE, SHARED), cell(BASELINE, PER_TENSOR, 12)).fixes == ()


def test_a_scale_a_channel_is_else_simulated_with_the_same_table() -> None:
    errors = {(PLACED.name, TABLE): {"small": 0.004, "large": 0.001}}
    bad = cell(BASELINE, PER_TENSOR)
    fix = only(told(bad, errors=errors))
    assert (fix.kind, fix.basis) == (FixKind.WEIGHTS, Basis.SIMULATED)
    assert fix.reaches.sqnr_db["small"] == pytest.approx(23.98, abs=0.01)
    other = {(PLACED.name, "another table"): errors[PLACED.name, TABLE]}
    assert told(bad, errors=other).fixes == ()


# A range for each tensor


def mix(small_db: float, lost: float) -> MixRecord:
    return MixRecord(changed=3, chosen=record(30, 0), confirmed=record(small_db, lost))


def test_the_best_known_range_for_each_tensor_is_simulated() -> None:
    judgement = told(cell(BASELINE), diagnosis=diagnosis(chosen=None, mix=mix(18.5, 10)))
    fix = only(judgement)
    assert (fix.kind, fix.command) == (FixKind.TENSORS, "calibration: {shared: best}")
    assert fix.reaches.sqnr_db["small"] == 18.5
    assert "will differ" in fix.why


def test_the_mix_is_not_told_where_it_is_in_use_or_costs_boxes() -> None:
    best = replace(SHARED, algorithm="best")
    made = diagnosis(chosen=None, mix=mix(18.5, 10))
    assert told(cell(BASELINE, best), diagnosis=made).fixes == ()
    worse = told(cell(BASELINE), diagnosis=diagnosis(chosen=None, mix=mix(18.5, 40)))
    assert worse.fixes == ()
    assert "simulated" in worse.no_fix[0]
    little = told(cell(BASELINE), diagnosis=diagnosis(chosen=None, mix=mix(16.9, 10)))
    assert little.fixes == ()


def test_other_layers_in_float_are_not_another_way() -> None:
    judgement = told(cell("trt", IMPLICIT), cell("trt", SHARED, 16), cell("trt", MIXED, 25))
    assert FixKind.WAY not in kinds(judgement)


# Images


def report(**changes: Any) -> CalibrationReport:
    return CalibrationReport(images=64, evaluation_images=32, algorithm="entropy", **changes)


def cost(loss_db: float) -> Cost:
    return Cost(head="small", algorithm="entropy", kept_db=16.0, possible_db=16.0 + loss_db)


def curve(trend: Trend) -> Curve:
    points = (Point(images=16, sqnr_db=(15.0, 15.2)), Point(images=64, sqnr_db=(16.0,)))
    return Curve(head="small", points=points, trend=trend, gain_db=1.0, bound_db=0.6)


def test_other_images_are_never_said_to_have_been_tried() -> None:
    fix = only(told(cell(BASELINE), calibration=report(costs=(cost(3.0),))))
    assert (fix.kind, fix.basis, fix.reaches) == (FixKind.IMAGES, Basis.UNKNOWN, KeptQuality())
    assert "up to small 3.0 dB more" in fix.why


def test_images_that_cannot_help_are_no_row_but_a_sentence() -> None:
    claim = Claim(concern=Concern.OTHER_IMAGES, text="They are darker.", advice="Take others.")
    judgement = told(cell(BASELINE), calibration=report(costs=(cost(0.3),), claims=(claim,)))
    assert judgement.fixes == ()
    assert "Other images would hardly help" in judgement.no_fix[0]


def test_more_images_are_told_where_the_curve_still_rises_and_not_where_it_is_flat() -> None:
    rising = told(cell(BASELINE), calibration=report(curves=(curve(Trend.GAINS),)))
    assert "More calibration images still help" in only(rising).why
    flat = told(cell(BASELINE), calibration=report(curves=(curve(Trend.ENOUGH),)))
    assert flat.fixes == ()
    assert "more images of this kind will not help small" in flat.no_fix[0].lower()
    other = replace(curve(Trend.GAINS), head="large")
    assert told(cell(BASELINE), calibration=report(curves=(other,))).fixes == ()


def test_an_image_that_decides_ranges_is_simulated_without() -> None:
    decider = Decider(image=3, factor=4.0, tensors=("a", "b"), of=9, furthest=6.0)
    without = LeftOutImage(
        decider=decider, image="night.jpg", gains_db=(("small", 2.0), ("large", -0.1))
    )
    fix = only(told(cell(BASELINE), calibration=report(without=(without,))))
    assert (fix.what, fix.basis) == (
        "leave night.jpg out of the calibration images", Basis.SIMULATED,
    )  # fmt: skip
    assert fix.reaches.sqnr_db["small"] == pytest.approx(18)
    harmless = replace(without, gains_db=(("small", 0.2), ("large", 3.0)))
    assert told(cell(BASELINE), calibration=report(without=(harmless,))).fixes == ()


def test_where_the_baseline_does_well_with_the_table_no_image_is_to_blame() -> None:
    judgement = told(
        cell("old", verdicts=[regression("old")]),
        cell(BASELINE, small_db=22),
        calibration=report(costs=(cost(3.0),)),
    )
    assert kinds(judgement) == [FixKind.VERSION]


# Order, latency, gates


def test_what_is_found_comes_before_decibels() -> None:
    judgement = told(
        cell(BASELINE, whole=boxes(20, 0.1)),
        cell(BASELINE, MINMAX, 25, whole=boxes(20, 0.1)),
        cell(BASELINE, MIXED, 19, whole=boxes(1, 0.01)),
    )
    assert kinds(judgement) == [FixKind.LAYERS, FixKind.TABLE]


def test_without_boxes_a_gate_that_holds_comes_before_decibels() -> None:
    judgement = told(
        cell(BASELINE, large_db=15, small_db=10),
        cell(BASELINE, MINMAX, 28, 19),
        cell(BASELINE, MIXED, 21, 21),
    )
    assert kinds(judgement)[0] is FixKind.LAYERS
    assert judgement.fixes[0].reaches.holds


def test_one_box_more_or_less_is_chance() -> None:
    judgement = told(
        cell(BASELINE, small_db=25, whole=boxes(3)), cell(BASELINE, MIXED, 25, whole=boxes(1))
    )
    assert judgement.fixes == ()


def test_boxes_that_come_back_as_ghosts_have_not_come_back() -> None:
    judgement = told(
        cell(BASELINE, small_db=25, whole=boxes(30)),
        cell(BASELINE, MIXED, 25, whole=boxes(0, new=60)),
    )
    assert judgement.fixes == ()


def test_a_latency_that_was_disturbed_or_of_another_batch_is_not_compared() -> None:
    quiet = only(told(cell(BASELINE), cell(BASELINE, MINMAX, 21)))
    assert quiet.reaches.latency_s == pytest.approx(0.0123)
    disturbed = replace(
        cell(BASELINE, MINMAX, 21), disturbed="another process", latency_disturbed=True
    )
    assert only(told(cell(BASELINE), disturbed)).reaches.latency_s is None
    other = cell(BASELINE, MINMAX, 21)
    assert other.latency
    batched = replace(other, latency=replace(other.latency, batch=8))
    assert only(told(cell(BASELINE), batched)).reaches.latency_s is None


def test_heads_without_boxes_are_judged_by_decibels_alone() -> None:
    fix = only(told(cell(BASELINE), cell(BASELINE, MINMAX, 21)))
    assert (fix.now.lost, fix.reaches.lost, fix.now.ap_drop) == (None, None, None)
    assert "boxes" not in fix.why


def test_where_it_gains_nothing_is_never_where_it_gains() -> None:
    """Of two tables of one version it gained with one: "in trt-8.6.0 14 to 23 dB; no gain in trt-8.6.0"."""
    for fix in h200.judged(h200.ROOT / "tests/data/h200-images").fixes:
        where = fix.why.split(" ")[1]
        without = fix.why.partition("no gain in ")[2].rstrip(".").replace(" and ", ", ")
        assert where not in without.split(", "), fix.why
        ends = re.findall(r"([\d.]+) to ([\d.]+) dB", fix.why)
        assert all(before != after for before, after in ends)


def test_the_same_way_out_in_several_environments_is_one_row() -> None:
    """Told of the baseline, and that it gains nothing in one of them."""
    judgement = told(
        cell("a"), cell("a", MINMAX, 21),
        cell(BASELINE, small_db=17), cell(BASELINE, MINMAX, 21),
        cell("c"), cell("c", MINMAX, 15),
    )  # fmt: skip
    fix = only(judgement)
    assert fix.against == f"{BASELINE}/cpu/{SHARED.name}"
    assert len(fix.cells) == 2
    assert "no gain in c" in fix.why


# Over everything


@pytest.mark.parametrize("seed", range(60))
def test_a_fix_gains_or_is_not_tried(seed: int) -> None:
    """Of judgements drawn at random: no row that gains nothing, none of what is not there, no NaN in a sentence."""
    judgement = with_fixes(random_judgements.Draw(seed).judgement())
    cells = {result.cell.id for result in judgement.cells}
    for fix in judgement.fixes:
        assert fix.against in cells
        assert set(fix.cells) <= cells
        assert fix.against not in fix.cells
        assert "nan" not in fix.why and "None" not in fix.why  # noqa: PT018
        if fix.basis is Basis.MEASURED:
            assert fix.cells


def test_a_matrix_of_many_versions_is_looked_through() -> None:
    judgement = with_fixes(whole())
    assert all(fix.basis is Basis.MEASURED for fix in judgement.fixes)


@pytest.mark.parametrize(
    ("later", "watched", "known"),
    [
        ("10:02:59", True, True),
        ("10:03:01", True, False),
        ("</script>", True, False),  # no time: another machine wrote it
        ("10:00:10", False, False),  # other work on the GPU would not have been seen
        ("10:00:10", None, False),  # a processor: a busy minute made int8 three times slower once
    ],
)
def test_times_that_were_taken_at_other_times_are_not_compared(
    later: str, watched: bool | None, known: bool
) -> None:
    def at(result: CellResult, clock: str) -> CellResult:
        started = f"2026-11-29T{clock}+00:00"
        return replace(
            result,
            watched=watched,
            run=CellRun(
                started=started, table=None, fingerprint="", engine_bytes=None, timing_cache=None
            ),
        )

    plain = at(cell(BASELINE, whole=boxes(20, 0.1), latency_s=0.010), "10:00:00")
    mixed = at(cell(BASELINE, MIXED, 22.4, whole=boxes(2, 0.01), latency_s=0.2), later)
    (fix,) = [fix for fix in told(plain, mixed).fixes if fix.kind is FixKind.LAYERS]
    assert (fix.reaches.latency_s is not None) is known
    judged = told(plain, mixed)
    cost = dict(headline(judged).facts)["The fix costs"]
    assert cost.startswith(
        "+190.0 ms an inference (10.0 → 200.0)" if known else "not known: 200.0 ms"
    )
    (row,) = [one for one in views.rows(views.matrix(judged)) if one.result.cell.pass_.mixed]
    assert (row.latency_ratio(plain) is not None) is known
